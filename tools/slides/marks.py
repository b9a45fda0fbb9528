"""Which place each cell has in the deck, by rule, written as nbconvert's and JupyterLab's `slideshow.slide_type`.

The marks are derived: whoever runs a notebook with `make outputs` gets them written. To choose by hand, give the
cell a tag `slide-<type>`, such as `slide-skip`; the tag stays, and the mark follows it.
"""

import re

from nbformat import NotebookNode

TYPES = ("slide", "subslide", "fragment", "skip", "notes", "-")
HEADING = re.compile(r"^#{1,3} +(?P<text>.+?) *$", re.MULTILINE)
REMARK = re.compile(r"\*\*(?P<lead>What [^*]+?)\.?\*\*\s*")  # "**What to notice.** ..." after an output


def mark(notebook: NotebookNode) -> None:
    """Write the place of every cell into its metadata."""
    for cell, slide_type in zip(notebook.cells, slide_types(notebook), strict=True):
        cell.metadata["slideshow"] = NotebookNode(slide_type=slide_type)


def slide_types(notebook: NotebookNode) -> list[str]:
    """One of `TYPES` for every cell of `notebook`."""
    types: list[str] = []
    set_up = next((cell for cell in notebook.cells if cell.cell_type == "code"), None)
    lead = False  # the cell before is a line of text that belongs to the code below it
    for cell in notebook.cells:
        prose = cell.cell_type == "markdown"
        types.append(
            _by_hand(cell) or ("skip" if cell is set_up else _of_prose(cell.source) if prose else _below(lead))
        )
        lead = prose and types[-1] == "subslide"
    return types


def _by_hand(cell: NotebookNode) -> str:
    tags = [tag.removeprefix("slide-") for tag in cell.metadata.get("tags", []) if tag.startswith("slide-")]
    if any(tag not in TYPES for tag in tags) or len(tags) > 1:
        raise ValueError(
            f"Cell {cell.get('id')!r} has the tags {tags}; use one of: {', '.join('slide-' + t for t in TYPES)}."
        )
    return tags[0] if tags else ""


def _of_prose(source: str) -> str:
    if headings(source):
        return "slide"
    return "fragment" if REMARK.match(source) else "subslide"


def _below(lead: bool) -> str:
    return "-" if lead else "subslide"


def headings(source: str) -> list[re.Match[str]]:
    """The headings of levels 1 to 3 in Markdown, those inside code fences left out."""
    hidden = re.sub(r"^```.*?^```", lambda fence: "." * len(fence[0]), source, flags=re.DOTALL | re.MULTILINE)
    return [match for match in HEADING.finditer(source) if hidden[match.start()] == "#"]
