"""Run notebooks offline.

    python -m tools.run [--in-place] [notebook ...]

Executed copies and HTML pages go under build/; with --in-place the stored outputs are rewritten instead.
"""

import argparse
import os
import re
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, unquote

import nbformat
from markdown_it import MarkdownIt
from nbconvert import HTMLExporter
from tqdm import tqdm

from helpers.settings import ROOT
from tools.notebooks import FOLDER, Outcome, all_notebooks, both, edition_of, environment, execute, write

BUILD = ROOT / "build"
AT_ONCE = min(4, os.cpu_count() or 1)  # notebooks; a kernel takes up to half a gigabyte
# As in JupyterLab: a code font for code inside a Markdown output. Long lines wrap, those of an output between words.
STYLE = (
    "<style>.jp-RenderedMarkdown pre { font-family: var(--jp-code-font-family) }"
    " .jp-InputArea .highlight pre { white-space: pre-wrap; overflow-wrap: anywhere }"
    " .jp-OutputArea-output pre { word-break: normal; overflow-wrap: anywhere }</style>"
)
INDEX_STYLE = "<style>body { font: 16px sans-serif; margin: 2em auto; max-width: 60em } td { padding: 5px 1em }</style>"
INDEX_HEADS = {"": "English\n\n| page | the job | minutes |", "zh": "中文版\n\n| 页面 | 任务 | 分钟 |"}
# No addresses of scripts: a page must open with no network, and the lessons hold no formulas.
PAGES = HTMLExporter(mathjax_url="", require_js_url="", jquery_url="", mermaid_js_url="", embed_images=True)
_LINK = re.compile(r'href="(?!\w+:)([^"]+)"')
_JOB = r"\*\*(?:The job:\*\* |本课任务\*\*：)(.*)"


def main(arguments: list[str] | None = None) -> int:
    """Run the notebooks named in `arguments`, or all; 1 if one failed, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--in-place", action="store_true", help="rewrite the stored outputs of the notebooks")
    options = parser.parse_args(arguments)
    paths = [path.resolve() for path in options.notebooks] or both(all_notebooks)
    if missing := [str(path) for path in paths if not path.is_file()]:
        parser.error(f"there is no {', '.join(missing)}")
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=5).close()
    except OSError as error:
        sys.exit(f"Notebooks need the loopback interface to talk to their kernels: {error}. Try: ip link set lo up")
    # Away from the main thread nbclient leaves Ctrl-C to us; a kernel ends by itself when its parent is gone.
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, paths, options.in_place)
        try:
            return running.result()
        except KeyboardInterrupt:
            where = "in the notebooks" if options.in_place else "under build/"
            print(f"\nStopped; what was finished is {where}.", flush=True)
            os._exit(130)


def run(paths: list[Path], in_place: bool) -> int:
    """Run `paths`, as many at once as there are processors, with a line for each in their order; 1 if one failed."""
    cells = sum(1 for path in paths for cell in nbformat.read(path, 4).cells if cell.cell_type == "code")
    start, failed = time.perf_counter(), 0
    bar = tqdm(total=cells, unit="cell", leave=False, disable=None, dynamic_ncols=True)
    with bar, ThreadPoolExecutor(AT_ONCE) as pool:
        for outcome in pool.map(lambda path: execute(path, environment(), on_cell=bar.update), paths):
            failed += bool(outcome.error)
            keep(outcome, in_place)
            with bar.external_write_mode(file=sys.stdout):
                print(line(outcome), flush=True)
    seconds = time.perf_counter() - start
    if not in_place:
        write_index([path for path in both(all_notebooks) if (BUILD / "html" / place(path, ".html")).exists()])
    where = "" if in_place else f" Pages to look at: {os.path.relpath(BUILD / 'html' / 'index.html')}"
    print(f"{len(paths) - failed} of {len(paths)} notebooks ok, {cells} cells in {seconds:.0f} s.{where}")
    return min(failed, 1)


def line(outcome: Outcome) -> str:
    """The one line that `make run` prints for a notebook."""
    name = place(outcome.path, "").as_posix()
    problem = outcome.error.partition("\n")[0]
    result = f"FAILED after {outcome.cells} cells: {problem}" if outcome.error else "ok"
    return f"{name:<39}{outcome.cells:>4} cells {outcome.seconds:>6.1f} s  {result}"


def keep(outcome: Outcome, in_place: bool) -> None:
    """Write the executed notebook: over the original if it ran through, or with an HTML page under build/."""
    if in_place:
        if not outcome.error:
            write(outcome.notebook, outcome.path)
        return
    write(outcome.notebook, BUILD / "notebooks" / place(outcome.path, ".ipynb"))
    page, _ = PAGES.from_notebook_node(outcome.notebook, {"metadata": {"name": outcome.path.stem}})
    target = BUILD / "html" / place(outcome.path, ".html")
    target.parent.mkdir(parents=True, exist_ok=True)
    page = _LINK.sub(lambda found: f'href="{moved(found[1], outcome.path, target.parent)}"', page)
    if edition_of(outcome.path):
        page = page.replace('lang="en"', 'lang="zh-CN"', 1)
    target.write_text(page.replace("</head>", f"{STYLE}</head>", 1), encoding="utf-8")


def place(path: Path, suffix: str) -> Path:
    """Where a notebook goes below build/: as it lies below notebooks/, for a solution has the name of its lesson."""
    return Path(path.relative_to(FOLDER) if path.is_relative_to(FOLDER) else path.name).with_suffix(suffix)


def moved(link: str, notebook: Path, folder: Path) -> str:
    """A link of `notebook` for its page in `folder`: to the page of another notebook, or to the file itself."""
    path, mark, anchor = unquote(link).partition("#")
    target = (notebook.parent / path).resolve()
    if not path or not target.exists():
        return link
    if target.suffix == ".ipynb":
        target = BUILD / "html" / place(target, ".html")
    return quote(os.path.relpath(target, folder)) + mark + anchor


def write_index(paths: list[Path]) -> None:
    """build/html/index.html: the pages of `paths`, lessons in order, with job and minutes, English and Chinese."""
    tables = dict[str, str]()
    for path in paths:
        opening, page = nbformat.read(path, 4).cells[0].source, place(path, ".html").as_posix()
        found = [re.search(form, opening) for form in (r"^# (.*)", _JOB, r"(?:Minutes: |时长：)(\d+)")]
        title, job, minutes = (each[1] if each else "" for each in found)
        edition = edition_of(path)
        tables.setdefault(edition, f"\n## {INDEX_HEADS[edition]}\n|---|---|---|\n")
        tables[edition] += f"| [{title}]({page}) | {job} | {minutes} |\n"
    words = "# Claude on Amazon Bedrock: the workshop\n" + "".join(tables.values())
    text = f'<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>Workshop</title>{INDEX_STYLE}'
    text += MarkdownIt().enable("table").render(words)
    (BUILD / "html" / "index.html").write_text(f"{text}</html>\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
