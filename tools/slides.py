"""The lessons as slides: python -m tools.slides [notebook ...] writes build/slides/NAME.html, or zh/NAME.html.

nbconvert's SlidesExporter makes the decks; a copy of reveal.js lies beside them, so that they open with no network. A
heading begins a slide, and what does not fit goes on below it. The speaker's notes are data/slides/NAME.md.
"""

import base64
import hashlib
import io
import math
import os
import re
import sys
import tarfile
import tempfile
import textwrap
import unicodedata
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import nbformat
from nbconvert import SlidesExporter
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from PIL import Image

from helpers.language import WorkshopError
from helpers.settings import ROOT
from tools.notebooks import both, lessons, pictures

BUILD, NOTES, TEMPLATES = ROOT / "build" / "slides", ROOT / "data" / "slides", Path(__file__).parent
REVEAL, REGISTRY = "/reveal.js/-/reveal.js-6.0.2.tgz", "https://registry.npmjs.org"
SHA512 = "JYIg5D9aoxoaLeb84O+OvAwsKWdIavVgEDScxtYEXFCT6t6TQrhNtSgogcjdCpdLsWglhJn3zyE3fUOwiH5KEg=="
HEADING = re.compile(r"^#{1,3} +(.+?) *$", re.MULTILINE)
TO_LESSON = re.compile(r"\]\((\w+)\.ipynb\)")
TO_FILE = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|\w+\.html\))[^)\s]+\)")
ROOM, CODE, PROSE, ROW = 650, (31, 80), (38, 86), (40, 84)  # px of a slide; px and characters of a line
CUT = "… (the whole is in the notebook)"


def main(paths: list[Path]) -> int:
    """Write the decks of the notebooks at `paths`, or of all lessons; 1 if one cannot be made."""
    try:
        for path in paths or both(lessons):
            print(os.path.relpath(build(path)), flush=True)
    except WorkshopError as error:
        print(error, file=sys.stderr)
        return 1
    print("Open one in a browser: space goes on, S shows the speaker's window, Esc the overview.")
    return 0


def build(path: Path, folder: Path = BUILD, notes: Path = NOTES) -> Path:
    """Write the deck of the executed lesson at `path` into the folder, and say where it is."""
    reveal(folder / "reveal.js")
    edition = path.parent.name if path.parent.name == "zh" else ""
    said = notes / edition / f"{path.stem}.md"  # a section a slide, "## " and the slide's heading above it
    sections = HEADING.split(said.read_text(encoding="utf-8"))[3:] if said.exists() else []
    deck = slides(nbformat.read(path, as_version=4), dict(zip(sections[::2], sections[1::2], strict=True)))
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
    url = os.environ.get("NPM_CONFIG_REGISTRY", REGISTRY).rstrip("/") + REVEAL
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            package = response.read()
    except OSError as error:
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


def slides(notebook: NotebookNode, notes: dict[str, str]) -> NotebookNode:
    """Return a notebook of cells that fit on slides, marked for nbconvert; a note without its slide is an error."""
    cells: list[NotebookNode] = []
    heading, used, left = "", 0, dict(notes)
    first = [cell for cell in notebook.cells if cell.cell_type == "code"][:1]
    left_out = [cell for cell in first if "slide-subslide" not in cell.metadata.get("tags", [])]  # the set-up
    for cell, height in (part for whole in notebook.cells if whole not in left_out for part in parts(whole)):
        prose = cell.cell_type == "markdown"
        found = HEADING.match(cell.source) if prose else None
        if found or used + height > ROOM or (prose and used):
            heading, used = found[1] if found else heading, 0 if found else 50
            cells += [] if found else [marked(new_markdown_cell(f"###### {heading}"), "subslide")]
            note = [marked(new_markdown_cell(notes[heading]), "notes")] if heading in notes else []
            cells += [marked(cell, "slide" if found else "-"), *note]
            left.pop(heading, None)
        else:
            cells.append(marked(cell, "-"))
        used += height
    if left:
        raise WorkshopError(f"data/slides: no slide has the heading {min(left)!r}.")
    return nbformat.v4.new_notebook(metadata=notebook.metadata, cells=cells)


def marked(cell: NotebookNode, slide_type: str) -> NotebookNode:
    cell.metadata["slideshow"] = {"slide_type": slide_type}
    return cell


def parts(cell: NotebookNode) -> Iterator[tuple[NotebookNode, int]]:
    """Yield cells, each at most a slide high, and their heights in px."""
    if cell.cell_type == "markdown":
        linked = TO_FILE.sub(r"\1", TO_LESSON.sub(r"](\1.html)", cell.source))  # files are named only
        for chapter in re.split(r"(?m)^(?=#{1,3} )", linked):
            yield from ((new_markdown_cell(text), height_of(text)) for text in portions(chapter))
        return
    source = re.sub(r"\n{3,}", "\n\n", cell.source)
    for text in in_turn(source.splitlines(), rows(source, *CODE)):
        yield new_code_cell(text), 26 + rows(text, *CODE)
    for output in cell.outputs:
        data = output.get("data", {})
        text = output.get("text", "") or (
            "" if data.keys() & {"text/html", "image/png"} else data.get("text/plain", "")
        )
        for coded, _ in pictures(NotebookNode(outputs=[output])):
            width, height = Image.open(io.BytesIO(coded)).size
            yield shown(output), min(1200 * height // width, 400)
        if "text/markdown" in data:
            for portion in portions(data["text/markdown"]):
                yield shown(new_output("display_data", {"text/markdown": portion})), 10 + height_of(portion)
        elif lines := text.strip("\n").splitlines():
            if rows(text, *CODE) > 17 * CODE[0]:
                wrapper = textwrap.TextWrapper(76, replace_whitespace=False, drop_whitespace=False)
                whole = [part for line in lines for part in wrapper.wrap(line) or [""]]
                lines = [*whole[:8], CUT, *whole[-8:]]  # the end of an output often holds the result
            yield shown(new_output("stream", text="\n".join(lines))), 10 + rows("\n".join(lines), *CODE)


def shown(output: NotebookNode) -> NotebookNode:
    """A cell with the output and no code."""
    return new_code_cell(outputs=[output], metadata={"transient": {"remove_source": True}})


def portions(text: str) -> Iterator[str]:
    """Yield Markdown that fits on a slide, cut between blocks, and long tables and lists between lines."""
    taken: list[str] = []
    for block in blocks_of(text):
        lines = block.splitlines()
        head = lines[:2] if block.startswith("|") else []
        for part in in_turn(lines[len(head) :], 0 if block.startswith("```") else height_of(block)):
            whole = "\n".join([*head, part])
            if taken and height_of("\n\n".join([*taken, whole])) > ROOM - 60:
                yield "\n\n".join(taken)
                taken = []
            taken.append(whole)
    if taken:
        yield "\n\n".join(taken)


def blocks_of(text: str) -> Iterator[str]:
    """Split at empty lines, those inside fences left out; of a long program inside an answer, the beginning."""
    for fence, prose in re.findall(r"(?ms)(^```.*?^```)|((?:(?!^```).)+)", text):
        lines = fence.splitlines()
        yield from ["\n".join([*lines[:15], CUT, "```"] if len(lines) > 17 else lines)] if fence else []
        yield from (block.strip("\n") for block in re.split(r"\n\s*\n", prose) if block.strip())


def in_turn(lines: list[str], height: int) -> Iterator[str]:
    """Yield the lines in groups of nearly the same size, so that none of a text of that height is too high."""
    count = max(1, math.ceil(height / (ROOM - 90)))
    for number in range(count if lines else 0):
        yield "\n".join(lines[len(lines) * number // count : len(lines) * (number + 1) // count])


def rows(text: str, line: int, width: int) -> int:
    """Return the height in px of a text, from the height and the characters of a line."""
    return line * sum(max(1, math.ceil(columns(each) / width)) for each in text.splitlines())


def columns(text: str) -> int:
    """Return the columns that a line takes: a Chinese character takes two."""
    return len(text) + sum(unicodedata.east_asian_width(each) in "WF" for each in text)


def height_of(text: str) -> int:
    """Return the height in px of Markdown."""
    total = 0
    for block in blocks_of(text):
        line = {"`": CODE, "|": ROW}.get(block[0], PROSE)
        total += 16 + rows(block if line is CODE else re.sub(r"\n(?![-*|\d#])", " ", block), *line)
    return total + 25 * text.startswith("#")


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]]))
