"""A reveal.js deck from a lesson: headings become slides, code and outputs the pages below them."""

import base64
import math
import re
import struct
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
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
ROOM = 640  # px of a page of 1280 x 720 without its margins
TOP = 50  # px of the line at the top
CODE_LINE, BODY_LINE, CODE_WIDTH, BODY_WIDTH = 24, 33, 108, 98  # px and characters of the smallest letters
FENCE_LINES = 16  # of a program inside an answer
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<target>[^)\s]+)\)")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z*`(])")
_FENCE = re.compile(r"^(?P<open>```[^\n]*\n)(?P<body>.*?)^```", re.DOTALL | re.MULTILINE)


@dataclass
class Page:
    """What is on the wall at one time; `heading` is that of the slide it belongs to."""

    slide_type: str
    heading: str
    cells: list[NotebookNode]
    layout: str = ""
    kicker: str = ""
    size: int = 0


def deck(notebook: NotebookNode, notes: dict[str, str], title: str) -> str:
    """The HTML of the deck of an executed `notebook`, in one file; `notes` holds what to say, by heading."""
    html, _ = SlidesExporter(template_name="workshop", extra_template_basedirs=[str(TEMPLATES)]).from_notebook_node(
        _for_nbconvert(pages(notebook), notes), {"deck": {"title": title, **_assets()}}
    )
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
                if not _beneath(piece, result):
                    result += _prose(piece, result, slide_type)
        elif cell.cell_type == "code":
            _add_code(result, cell)
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


def _beneath(piece: str, before: list[Page]) -> bool:
    """Put a sentence or two that speak of a picture under it; they come on a click."""
    fits = before and not headings(piece) and not REMARK.match(piece) and len(piece) < 200
    if not fits or before[-1].layout or not any(_png(out) for out in before[-1].cells[-1].get("outputs", [])):
        return False
    cell = nbformat.v4.new_markdown_cell(_LINK.sub(_link, piece))
    cell.metadata["slideshow"] = {"slide_type": "fragment"}
    before[-1].cells.append(cell)
    return True


def _prose(piece: str, before: list[Page], slide_type: str) -> list[Page]:
    """One page of words, or as many as they need; a cut is only made between blocks."""
    heading = before[-1].heading if before else ""
    if remark := None if headings(piece) else REMARK.match(piece):
        return [_remark(f"### {remark['lead']}", _LINK.sub(_link, piece[remark.end() :]), heading, before)]
    place, layout, kicker = "subslide", "step", heading
    if found := headings(piece):
        heading, kicker = found[0]["text"], ""
        place = "subslide" if slide_type == "subslide" else "slide"
        layout = "title" if not before else "part" if found[0].end() == len(piece) else "step"
    result: list[Page] = []
    for text in _portions(piece):
        cell = nbformat.v4.new_markdown_cell(_LINK.sub(_link, text))
        result.append(Page(place, heading, [cell], layout, kicker, TOP + _markdown_height(text)))
        place, layout, kicker = "subslide", "step", heading
    return result


def _portions(text: str) -> Iterator[str]:
    taken: list[str] = []
    for block in re.split(r"\n\s*\n(?!\s)", text):
        if taken and "```" not in text and _markdown_height("\n\n".join([*taken, block])) > ROOM - TOP:
            yield "\n\n".join(taken)
            taken = []
        taken.append(block)
    yield "\n\n".join(taken)


def _remark(lead: str, text: str, heading: str, before: list[Page]) -> Page:
    """Sentence by sentence, on a click; beside the picture it speaks of, if there is one above."""
    paragraphs = [_SENTENCE.split(" ".join(paragraph.split())) for paragraph in text.split("\n\n")]
    body = nbformat.v4.new_markdown_cell(
        "\n".join(f"- {sentence}" for paragraph in paragraphs for sentence in paragraph if sentence)
    )
    body.metadata["slideshow"] = {"slide_type": "fragment"}
    outputs = [output for cell in before[-1].cells for output in cell.get("outputs", [])]
    picture = next((output for output in reversed(outputs) if _png(output)), None)
    if picture and _markdown_height(body.source) < ROOM - 2 * TOP - 260:
        shown = nbformat.v4.new_code_cell("", outputs=[picture])
        width, height = _png_size(picture)
        layout = "beside" if width < 1.7 * height and len(text) < 450 else "remark"
        body.source = f"{lead}\n\n{body.source}"
        return Page("subslide", heading, [shown, body], layout, heading)
    return Page("subslide", heading, [nbformat.v4.new_markdown_cell(lead), body], "remark", heading)


def _link(match: re.Match[str]) -> str:
    """Links to the web stay; one to a lesson leads to its deck; files of the repository are named only."""
    target = match["target"]
    if "://" in target:
        return match[0]
    if re.fullmatch(r"\w+\.ipynb", target):
        return f"[{match['text']}]({target.removesuffix('.ipynb')}.html)"
    return match["text"]


def _add_code(result: list[Page], cell: NotebookNode) -> None:
    """Under the words before it where there is room, else on pages of its own."""
    heading = result[-1].heading if result else ""
    if not result or result[-1].layout != "step" or result[-1].cells[-1].cell_type == "code":
        result.append(Page("subslide", heading, [], kicker=heading, size=TOP))
    source = re.sub(r"\n{3,}", "\n\n", cell.source.strip())
    parts = [nbformat.v4.new_code_cell(source)] if source else []
    for output in cell.outputs:
        parts += [nbformat.v4.new_code_cell("", outputs=[each]) for each in _shown(output)]
    for part in parts:
        size = 14 + (_text_height(part.source, 20) if part.source else _output_height(part.outputs[0]))
        crowded = part.outputs and _png(part.outputs[0]) and result[-1].layout == "step"
        if result[-1].cells and (crowded or result[-1].size + size > ROOM):
            result.append(Page("subslide", heading, [], kicker=heading, size=TOP))
        if part.outputs and _markdown(part.outputs[0]):
            part.metadata["cut"] = _shorten(part.outputs[0])
        result[-1].cells.append(part)
        result[-1].size += size


def _shown(output: NotebookNode) -> list[NotebookNode]:
    """The output as it goes on pages: a long answer in two, a progress bar not at all."""
    if output.output_type == "stream":
        output.text = output.text.strip("\n")
        return [output] if output.text else []
    text = _markdown(output)
    if not text and not _png(output):
        return [] if "text/html" in output.get("data", {}) else [output]
    if not text or "```" in text or _markdown_height(text) <= ROOM - TOP:
        return [output]
    halves = _in_two(text)
    return [nbformat.v4.new_output("display_data", {"text/markdown": half}) for half in halves]


def _in_two(text: str) -> list[str]:
    """Cut a long answer in two: before a block in the second half of the page, else before a list item."""
    lines = text.strip().splitlines()
    blocks, items = [], []
    for number, line in enumerate(lines[1:], 1):
        above = [each for each in lines[:number] if each.strip()][-1]
        height = _markdown_height("\n".join(lines[:number]))
        if height > ROOM - TOP - 20 or above.endswith(":") or re.fullmatch(r"\*\*[^*]+\*\*|#+ .*", above):
            continue
        if re.match(r"[-*] |\d+\. ", line):
            items.append(number)
        elif not lines[number - 1].strip() and line[:1].strip() and 2 * height > ROOM - TOP:
            blocks.append(number)
    best = max(blocks, default=max(items, default=0))
    return ["\n".join(lines[:best]), "\n".join(lines[best:])] if best else [text]


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
    if _png(output):
        width, height = _png_size(output)
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


def _png_size(output: NotebookNode) -> tuple[int, int]:
    width, height = struct.unpack(">II", base64.b64decode(_png(output)[:64])[16:24])
    return width, height


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
        "scripts": [_inside_html(js) for js in (script, speaker, (own / "fit.js").read_text(encoding="utf-8"))],
    }


def _inside_html(script: str) -> str:
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")
