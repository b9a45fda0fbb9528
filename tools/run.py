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

import nbformat
from nbconvert import HTMLExporter
from tqdm import tqdm

from helpers.settings import ROOT
from tools.notebooks import FOLDER, Outcome, all_notebooks, environment, execute, write

BUILD = ROOT / "build"
# nbconvert's page shows code inside a Markdown output in a proportional font, JupyterLab does not.
STYLE = "<style>.jp-RenderedMarkdown pre { font-family: var(--jp-code-font-family) }</style>"
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


def main(arguments: list[str] | None = None) -> int:
    """Run the notebooks named in `arguments`, or all; 1 if one failed, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--in-place", action="store_true", help="rewrite the stored outputs of the notebooks")
    options = parser.parse_args(arguments)
    paths = [path.resolve() for path in options.notebooks] or all_notebooks()
    if missing := [str(path) for path in paths if not path.is_file()]:
        parser.error(f"there is no {', '.join(missing)}")
    if problem := no_loopback():
        print(problem, file=sys.stderr)
        return 1
    # Away from the main thread nbclient leaves Ctrl-C to us; a kernel ends by itself when its parent is gone.
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run, paths, options.in_place)
        try:
            return running.result()
        except KeyboardInterrupt:
            print("\nStopped; what was finished is under build/.", flush=True)
            os._exit(130)


def no_loopback() -> str:
    """Why no kernel can be talked to on this machine; "" if one can."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=5).close()
    except OSError as error:
        told = f"Notebooks need the loopback interface (127.0.0.1) to talk to their kernels: {error}."
        return f"{told} In a namespace of your own: ip link set lo up."
    return ""


def run(paths: list[Path], in_place: bool) -> int:
    """Run `paths` one after the other, with a line for each; 1 if one failed."""
    cells = sum(1 for path in paths for cell in nbformat.read(path, 4).cells if cell.cell_type == "code")
    start, failed = time.perf_counter(), 0
    with tqdm(total=cells, unit="cell", leave=False, disable=None, dynamic_ncols=True) as bar:
        for path in paths:
            bar.set_description(path.stem)
            outcome = execute(path, environment(), on_cell=lambda: bar.update(1))
            failed += bool(outcome.error)
            keep(outcome, in_place)
            with bar.external_write_mode(file=sys.stdout):
                print(line(outcome), flush=True)
    seconds = time.perf_counter() - start
    where = "" if in_place else f" Pages to look at: {os.path.relpath(BUILD / 'html')}/"
    print(f"{len(paths) - failed} of {len(paths)} notebooks ok, {cells} cells in {seconds:.0f} s.{where}")
    return min(failed, 1)


def line(outcome: Outcome) -> str:
    """The one line that `make run` prints for a notebook."""
    folder = "" if outcome.path.parent == FOLDER else f"{outcome.path.parent.name}/"
    problem = _ANSI.sub("", outcome.error).partition("\n")[0]
    result = f"FAILED after {outcome.cells} cells: {problem}" if outcome.error else "ok"
    return f"{folder + outcome.path.stem:<36}{outcome.cells:>4} cells {outcome.seconds:>6.1f} s  {result}"


def keep(outcome: Outcome, in_place: bool) -> None:
    """Write the executed notebook: over the original if it ran through, or with an HTML page under build/."""
    if in_place:
        if not outcome.error:
            write(outcome.notebook, outcome.path)
        return
    # A solution has the name of its lesson, so it goes into a folder of its own.
    place = Path("solutions") if outcome.path.parent == FOLDER / "solutions" else Path()
    write(outcome.notebook, BUILD / "notebooks" / place / outcome.path.name)
    # No addresses of scripts: the page must open with no network, and the lessons hold no formulas.
    page, _ = HTMLExporter(
        mathjax_url="", require_js_url="", jquery_url="", mermaid_js_url="", embed_images=True
    ).from_notebook_node(outcome.notebook, {"metadata": {"name": outcome.path.stem}})
    target = BUILD / "html" / place / f"{outcome.path.stem}.html"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page.replace("</head>", f"{STYLE}</head>", 1), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
