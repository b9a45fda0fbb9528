"""A reveal.js deck from a lesson: headings become slides, code and outputs the pages below them."""

import base64
import math
import re
import struct
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbconvert import SlidesExporter
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

from helpers.settings import ROOT
from tools.slides import vendor
from tools.slides.marks import REMARK, headings, mark

NOTES = ROOT / "data" / "slides"
TEMPLATES = Path(__file__).parent / "template"
ROOM = 590  # px under the line at the top of a page of 1280 x 720
CODE_LINE, BODY_LINE, CODE_WIDTH, BODY_WIDTH = 24, 33, 108, 98  # px and characters of the smallest letters
FENCE_LINES = 16  # of a program inside an answer
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<target>[^)\s]+)\)")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z*`(])")
_FENCE = re.compile(r"^(?P<open>```.*\n)(?P<body>.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass
class Page:
    """What is on the wall at one time; `heading` is that of the slide it belongs to."""

    slide_type: str
    heading: str
    cells: list[NotebookNode]
    layout: str = ""
    kicker: str = ""
    size: int = field(default=0)


def deck(notebook: NotebookNode, notes: dict[str, str], title: str) -> str:
    """The HTML of the deck of an executed `notebook`, in one file; `notes` holds what to say, by heading."""
    html, _ = SlidesExporter(
        template_name="workshop", extra_template_basedirs=[str(TEMPLATES)]
    ).from_notebook_node(_for_nbconvert(pages(notebook), notes), {"deck": {"title": title, **_assets()}})
    return str(html)


def pages(notebook: NotebookNode) -> list[Page]:
    """The pages of the deck in order."""
    notebook = deepcopy(notebook)
    mark(notebook)
    result: list[Page] = []
    for cell in notebook.cells:
        slide_type = cell.metadata.slideshow.slide_type
        if slide_type in ("skip", "notes"):
            continue
        if cell.cell_type == "markdown":
            for piece in _pieces(cell.source):
                result.append(_prose(piece, result, slide_type))
        elif cell.cell_type == "code":
            _add_code(result, cell, joined=slide_type == "-")
    return result


def read_notes(path: Path) -> dict[str, str]:
    """Speaker notes in Markdown by heading; no file, no notes."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    sections = re.split(r"^## +(.+?) *$", text, flags=re.MULTILINE)[1:]
    if len(set(sections[::2])) != len(sections[::2]):
        raise ValueError(f"{path} has a heading twice.")
    return {heading: notes.strip() for heading, notes in zip(sections[::2], sections[1::2], strict=True)}


def _pieces(source: str) -> Iterator[str]:
    starts = [match.start() for match in headings(source)]
    for start, end in zip([0, *starts], [*starts, len(source)], strict=True):
        if source[start:end].strip():
            yield source[start:end].strip()


def _prose(piece: str, before: list[Page], slide_type: str) -> Page:
    cell = nbformat.v4.new_markdown_cell(_LINK.sub(_link, piece))
    heading = before[-1].heading if before else ""
    if found := headings(piece):
        text = found[0]["text"]
        alone = found[0].end() == len(piece)
        layout = "title" if not before else "part" if alone else ""
        return Page("subslide" if slide_type == "subslide" else "slide", text, [cell], layout)
    if remark := REMARK.match(piece):
        return _remark(f"### {remark['lead']}", cell.source[remark.end() :], heading, before)
    return Page("subslide", heading, [cell], kicker=heading, size=_markdown_height(piece))


def _remark(lead: str, text: str, heading: str, before: list[Page]) -> Page:
    """Sentence by sentence, on a click; beside the picture it speaks of, if there is one above."""
    paragraphs = [_SENTENCE.split(" ".join(paragraph.split())) for paragraph in text.split("\n\n")]
    body = nbformat.v4.new_markdown_cell(
        "\n".join(f"- {sentence}" for paragraph in paragraphs for sentence in paragraph if sentence)
    )
    body.metadata["slideshow"] = {"slide_type": "fragment"}
    outputs = [output for cell in before[-1].cells for output in cell.get("outputs", [])]
    if picture := next((output for output in reversed(outputs) if _png(output)), None):
        shown = nbformat.v4.new_code_cell("", outputs=[picture])
        body.source = f"{lead}\n\n{body.source}"
        return Page("subslide", heading, [shown, body], "beside", heading)
    return Page("subslide", heading, [nbformat.v4.new_markdown_cell(lead), body], "remark", heading)


def _link(match: re.Match[str]) -> str:
    """Links to the web stay; one to a lesson leads to its deck; files of the repository are named only."""
    target = match["target"]
    if "://" in target:
        return match[0]
    if re.fullmatch(r"\w+\.ipynb", target):
        return f"[{match['text']}]({target.removesuffix('.ipynb')}.html)"
    return match["text"]


def _add_code(result: list[Page], cell: NotebookNode, joined: bool) -> None:
    heading = result[-1].heading if result else ""
    if not (joined and result):
        result.append(Page("subslide", heading, [], kicker=heading))
    parts = [nbformat.v4.new_code_cell(cell.source)] if cell.source.strip() else []
    for output in cell.outputs:
        parts += [nbformat.v4.new_code_cell("", outputs=[each]) for each in _shown(output)]
    for part in parts:
        size = _text_height(part.source, 20) if part.source else _output_height(part.outputs[0])
        if result[-1].cells and result[-1].size + size > ROOM:
            result.append(Page("subslide", heading, [], kicker=heading))
        if part.outputs and _markdown(part.outputs[0]):
            part.metadata["cut"] = _shorten(part.outputs[0])
        result[-1].cells.append(part)
        result[-1].size += size + 14


def _shown(output: NotebookNode) -> list[NotebookNode]:
    """The output as it goes on pages: a long answer in two, a progress bar not at all."""
    if output.output_type == "stream":
        output.text = output.text.strip("\n")
        return [output] if output.text else []
    text = _markdown(output)
    if not text and not _png(output):
        return [] if "text/html" in output.get("data", {}) else [output]
    if not text or _markdown_height(text) <= ROOM:
        return [output]
    blocks, first = re.split(r"\n\s*\n(?!\s)", text), 0
    while first < len(blocks) and _markdown_height("\n\n".join(blocks[: first + 1])) <= ROOM - 60:
        first += 1
    halves = ["\n\n".join(blocks[:first]), "\n\n".join(blocks[first:])]
    whole = [half for half in halves if half.strip()]
    if "```" in text or len(whole) < 2:
        return [output]
    return [nbformat.v4.new_output("display_data", {"text/markdown": half}) for half in whole]


def _shorten(output: NotebookNode) -> bool:
    """Cut programs inside an answer to what a page can hold; True if something went."""
    text = _markdown(output)

    def cut(fence: re.Match[str]) -> str:
        return fence["open"] + "".join(fence["body"].splitlines(keepends=True)[:FENCE_LINES]) + "```"

    output.data["text/markdown"] = _FENCE.sub(cut, text)
    return bool(output.data["text/markdown"] != text)


def _output_height(output: NotebookNode) -> int:
    if output.output_type == "stream":
        return _text_height(output.text, 8)
    if png := _png(output):
        width, height = struct.unpack(">II", base64.b64decode(png[:64])[16:24])
        return min(max(1200 * height // width, 260), 440)
    text = _markdown(output)
    return _markdown_height(text) if text else _text_height(output.get("data", {}).get("text/plain", ""), 8)


def _text_height(text: str, margin: int) -> int:
    rows = sum(max(1, math.ceil(len(line) / CODE_WIDTH)) for line in text.splitlines())
    return rows * CODE_LINE + margin


def _markdown_height(text: str) -> int:
    height = 0
    for line in re.sub(r"(?<=[^\n|])\n(?=[^\n|\-*#\d`])", " ", text).splitlines():
        rows = max(1, math.ceil(len(line) / BODY_WIDTH))
        height += rows * BODY_LINE + 10 if line.strip() else 6
    return height


def _png(output: NotebookNode) -> str:
    return str(output.get("data", {}).get("image/png", ""))


def _markdown(output: NotebookNode) -> str:
    return str(output.get("data", {}).get("text/markdown", ""))


def _for_nbconvert(found: list[Page], notes: dict[str, str]) -> NotebookNode:
    """A notebook for the slides exporter: each page's cells in a row, the notes of its slide last."""
    notebook = nbformat.v4.new_notebook(metadata={"language_info": {"name": "python"}})
    for page in found:
        cells = list(page.cells)
        if page.heading in notes:
            cells.append(nbformat.v4.new_markdown_cell(notes[page.heading]))
            cells[-1].metadata["slideshow"] = {"slide_type": "notes"}
        for number, cell in enumerate(cells):
            kept = cell.metadata.get("slideshow", {}).get("slide_type", "-")
            cell.metadata["slideshow"] = {"slide_type": page.slide_type if number == 0 else kept}
            note = "… cut here: the whole output is in the notebook" if cell.metadata.get("cut") else ""
            about = f"Output under “{page.heading}”"
            cell.metadata["deck"] = {"layout": page.layout, "kicker": page.kicker, "cut": note, "alt": about}
        notebook.cells += cells
    return notebook


def _assets() -> dict[str, object]:
    reset, style, script, speaker = vendor.reveal(
        "dist/reset.css", "dist/reveal.css", "dist/reveal.js", "dist/plugin/notes.js"
    )
    own = TEMPLATES / "workshop"
    colours = HtmlFormatter(style="xcode").get_style_defs(".highlight")
    return {
        "version": vendor.VERSION,
        "styles": [reset, style, colours, (own / "deck.css").read_text(encoding="utf-8")],
        "scripts": [
            _inside_html(js) for js in (script, speaker, (own / "fit.js").read_text(encoding="utf-8"))
        ],
    }


def _inside_html(script: str) -> str:
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")
