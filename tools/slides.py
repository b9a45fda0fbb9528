"""The lessons as slides: python -m tools.slides [notebook ...] writes build/slides/NAME.html, or zh/NAME.html.

nbconvert's SlidesExporter makes the decks; a copy of reveal.js lies beside them, so that they open with no network. A
heading begins a slide; what does not fit goes on below it, as the browser measures (deck/index.html.j2). The speaker's
notes are data/slides/NAME.md.
"""

import base64
import hashlib
import io
import os
import re
import sys
import tarfile
import tempfile
import textwrap
import urllib.request
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

import nbformat
from nbconvert import SlidesExporter
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from helpers.language import WorkshopError
from helpers.settings import ROOT
from tools.notebooks import both, edition_of, lessons, pictures

BUILD, NOTES, TEMPLATES = ROOT / "build" / "slides", ROOT / "data" / "slides", Path(__file__).parent
REVEAL, REGISTRY = "/reveal.js/-/reveal.js-6.0.2.tgz", "https://registry.npmjs.org"
SHA512 = "JYIg5D9aoxoaLeb84O+OvAwsKWdIavVgEDScxtYEXFCT6t6TQrhNtSgogcjdCpdLsWglhJn3zyE3fUOwiH5KEg=="
HEADING = re.compile(r"^#{1,3} +(.+?) *$", re.MULTILINE)
TO_LESSON = re.compile(r"\]\((\w+)\.ipynb\)")
TO_FILE = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|\w+\.html\))[^)\s]+\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
WRAPPER = textwrap.TextWrapper(76, replace_whitespace=False, drop_whitespace=False)  # characters of a line on a slide
CUT = {"": "… (the whole is in the notebook)", "zh": "……（全文见笔记本）"}  # by edition


def main(paths: list[Path]) -> None:
    """Write the decks of the notebooks at `paths`, or of all lessons; ends in a message if one cannot be made."""
    try:
        for path in paths or both(lessons):
            print(os.path.relpath(build(path)), flush=True)
    except WorkshopError as error:
        sys.exit(str(error))
    print("Open one in a browser: space goes on, S shows the speaker's window, Esc the overview.")


def build(path: Path, folder: Path = BUILD) -> Path:
    """Write the deck of the executed lesson at `path` into the folder, and say where it is."""
    reveal(folder / "reveal.js")
    edition = edition_of(path)
    said = NOTES / edition / f"{path.stem}.md"  # a section a slide, "## " and the slide's heading above it
    sections = HEADING.split(said.read_text(encoding="utf-8"))[3:] if said.exists() else []
    notes = dict(zip(sections[::2], sections[1::2], strict=True))
    deck = slides(nbformat.read(path, as_version=4), notes, CUT[edition])
    exporter = SlidesExporter(template_name="deck", extra_template_basedirs=[str(TEMPLATES)])
    exporter.reveal_url_prefix, exporter.reveal_theme = "../reveal.js" if edition else "reveal.js", "white"
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    css = (TEMPLATES / "deck" / "deck.css").read_text(encoding="utf-8")
    html, _ = exporter.from_notebook_node(deck, {"deck_css": css, "metadata": {"name": path.stem}})
    target = folder / edition / f"{path.stem}.html"
    target.parent.mkdir(exist_ok=True)
    target.write_text(html.replace('lang="en"', 'lang="zh-CN"', 1) if edition else html, encoding="utf-8")
    return target


def reveal(folder: Path) -> None:
    """Put reveal.js, one pinned version, into the folder; NPM_CONFIG_REGISTRY may name a mirror of npm."""
    if folder.exists():
        return
    url = (os.environ.get("NPM_CONFIG_REGISTRY") or REGISTRY).rstrip("/") + REVEAL
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            package = response.read()
    except (OSError, ValueError, HTTPException) as error:  # also no address at all, and a download that was cut
        hint = "The first `make slides` needs the network, or NPM_CONFIG_REGISTRY set to a mirror; later ones do not."
        raise WorkshopError(f"Cannot fetch {url} ({error}). {hint}") from error
    if (found := base64.b64encode(hashlib.sha512(package).digest()).decode()) != SHA512:
        raise WorkshopError(f"{url} is not the file that was pinned: SHA-512 {found} instead of {SHA512}.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as part:
        archive = tarfile.open(fileobj=io.BytesIO(package))  # noqa: SIM115
        archive.extractall(part, [each for each in archive if "package/dist/" in each.name], filter="data")
        with suppress(OSError):  # somebody else was first
            Path(part, "package").rename(folder)


def slides(notebook: NotebookNode, notes: dict[str, str], gap: str) -> NotebookNode:
    """Return a notebook of cells that are marked for nbconvert; `gap` stands for what is left out of an output.

    A note without its slide is a `WorkshopError`.
    """
    cells: list[NotebookNode] = []
    heading, left = "", dict(notes)
    set_up = next((cell for cell in notebook.cells if cell.cell_type == "code"), None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            if cell is not set_up or "slide-subslide" in cell.metadata.get("tags", []):
                cells.append(marked(shorter(cell, gap), "-"))
            continue
        linked = TO_FILE.sub(r"\1", TO_LESSON.sub(r"](\1.html)", cell.source))  # files are named only
        for chapter in filter(str.strip, re.split(r"(?m)^(?=#{1,3} )", linked)):
            found = HEADING.match(chapter)
            heading = found[1] if found else heading
            cells += [] if found else [marked(new_markdown_cell(f"###### {heading}"), "subslide")]
            cells.append(marked(new_markdown_cell(chapter), "slide" if found else "-"))
            cells += [marked(new_markdown_cell(notes[heading]), "notes")] if heading in notes else []
            left.pop(heading, None)
    if left:
        raise WorkshopError(f"data/slides: no slide has the heading {min(left)!r}.")
    return new_notebook(metadata=notebook.metadata, cells=cells)


def marked(cell: NotebookNode, slide_type: str) -> NotebookNode:
    cell.metadata["slideshow"] = {"slide_type": slide_type}
    return cell


def shorter(cell: NotebookNode, gap: str) -> NotebookNode:
    """A copy of a code cell without progress bars, and with `gap` for the middle of what is long in its outputs."""
    outputs = []
    for output in cell.outputs:
        data = output.get("data", {})
        if "text/markdown" in data:
            text = FENCE.sub(lambda program: cut(program[0].splitlines(), 15, 1, gap), data["text/markdown"])
            outputs.append(new_output("display_data", {"text/markdown": text}))
        elif data.keys() & {"text/html", "image/png"}:
            outputs += [output] if pictures(NotebookNode(outputs=[output])) else []
        elif text := (output.get("text", "") or data.get("text/plain", "")).strip("\n"):
            lines = [part for line in text.splitlines() for part in WRAPPER.wrap(line) or [""]]
            outputs.append(new_output("stream", text=cut(lines, 8, 8, gap) if len(lines) > 17 else text))
    return new_code_cell(re.sub(r"\n{3,}", "\n\n", cell.source), outputs=outputs)


def cut(lines: list[str], first: int, last: int, gap: str) -> str:
    """The first lines and the last, which often hold the result, if there are more."""
    return "\n".join([*lines[:first], gap, *lines[-last:]] if len(lines) > first + last + 1 else lines)


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
