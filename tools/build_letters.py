"""Build the digest PDFs in data/letters from their Markdown sources.

    python tools/build_letters.py            write data/letters/AMZN-YYYY-digest.pdf
    python tools/build_letters.py --check    write nothing; exit 1 if a PDF is not what its source gives

A source holds one `# title`, a `> note` on its origin, `## headings`, paragraphs, `- lists` and `| tables |`.
The PDFs use the fonts every PDF reader has and hold no compressed stream, so that the same source gives the
same bytes on every system, whatever its fonts and its zlib.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, cast

from fpdf import FPDF
from fpdf.enums import MethodReturnValue

LETTERS = Path(__file__).resolve().parents[1] / "data" / "letters"
WORKSHOP = "Claude on Amazon Bedrock workshop"
CREATED = datetime(2026, 1, 1, tzinfo=UTC)  # fixed: the clock must not change the file

MARGIN = 25.0  # mm, as all lengths here
BODY, LINE = 11.0, 5.2  # font size in points, line height
HEADING, TABLE = 12.5, 10.0  # font sizes in points
INK, BLUE, GREY, RULE, TINT = (34, 34, 34), (24, 78, 119), (110, 110, 110), (190, 200, 208), (238, 243, 247)

Kind = Literal["title", "heading", "note", "paragraph", "list", "table"]


class SourceError(ValueError):
    """Raised when a source cannot be built; the message names the file and the line."""


@dataclass(frozen=True)
class Block:
    """One block of a source: its kind and its lines without markup (table cells separated by tabs)."""

    kind: Kind
    lines: tuple[str, ...]


def parse(text: str, name: str) -> list[Block]:
    """Return the blocks of a digest source; raise SourceError on markup that would not be rendered."""
    blocks: list[Block] = []
    for match in re.finditer(r"(?:^.*\S.*$\n?)+", text, flags=re.MULTILINE):
        lines = match.group().splitlines()
        where = f"{name}, line {text.count(chr(10), 0, match.start()) + 1}"
        blocks.append(_block(lines, where))
        try:
            match.group().encode("cp1252")
        except UnicodeEncodeError as error:
            raise SourceError(f"{where}: the PDF fonts have no {error.object[error.start]!r}.") from error
    kinds = [block.kind for block in blocks]
    if kinds[:2] != ["title", "note"]:
        raise SourceError(f"{name}: start with '# title' and then '> note' on where the text comes from.")
    if kinds.count("title") > 1:
        raise SourceError(f"{name}: only one '# title', please.")
    return blocks


def _block(lines: list[str], where: str) -> Block:
    for marker, kind in (("# ", "title"), ("## ", "heading"), ("> ", "note")):
        if lines[0].startswith(marker):
            if len(lines) > 1:
                raise SourceError(f"{where}: leave an empty line after this one.")
            return Block(kind, (lines[0].removeprefix(marker),))  # type: ignore[arg-type]
    if all(line.startswith("- ") for line in lines):
        return Block("list", tuple(line.removeprefix("- ") for line in lines))
    if all(line.startswith("| ") and line.endswith(" |") for line in lines):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        if any(len(row) != 2 for row in rows):
            raise SourceError(f"{where}: a table row needs two cells.")
        return Block("table", tuple("\t".join(row) for row in rows))
    if re.match(r"[#>|*+-]|\d+\.\s", lines[0]) or re.search(r"\*\*|`|\]\(", " ".join(lines)):
        raise SourceError(f"{where}: this markup is not supported; write plain text.")
    return Block("paragraph", (" ".join(lines),))


class Digest(FPDF):
    """An A4 document with the digest's header and footer on every page."""

    def __init__(self, title: str) -> None:
        super().__init__(format="A4")
        self.heading_line = _latin(title)
        self.set_margin(MARGIN)
        self.set_auto_page_break(False)
        self.set_compression(False)
        self.set_title(title)
        self.set_author(WORKSHOP)
        self.set_subject("A digest written for the workshop; not Amazon's text")
        self.set_producer("fpdf2")
        self.set_lang("en")
        self.set_creation_date(CREATED)

    @property
    def bottom(self) -> float:
        """The lowest y in mm that body text may reach."""
        return self.h - MARGIN

    def header(self) -> None:
        """Draw the running header: the workshop at the left, the digest at the right, a rule below."""
        self.set_font("Helvetica", size=8)
        self.set_text_color(*GREY)
        self.set_y(13)
        self.cell(0, 4, WORKSHOP)
        self.set_x(MARGIN)
        self.cell(0, 4, self.heading_line, align="R")
        self.set_draw_color(*RULE)
        self.set_line_width(0.2)
        self.line(MARGIN, 18.5, self.w - MARGIN, 18.5)
        self.set_y(MARGIN)

    def footer(self) -> None:
        """Draw the page number."""
        self.set_font("Helvetica", size=8)
        self.set_text_color(*GREY)
        self.set_y(-16)
        self.cell(0, 4, f"Page {self.page_no()} of {{nb}}", align="C")

    def ensure(self, height: float) -> None:
        """Start a new page unless `height` mm are left on this one."""
        if self.get_y() + height > self.bottom:
            self.add_page()

    def wrap(self, text: str, width: float) -> list[str]:
        """Return `text` broken into lines of at most `width` mm in the current font."""
        lines = self.multi_cell(width, LINE, _latin(text), dry_run=True, output=MethodReturnValue.LINES)
        return [line.strip() for line in cast(list[str], lines)]

    def body_font(self) -> None:
        """Select the font of running text."""
        self.set_font("Times", size=BODY)
        self.set_text_color(*INK)

    def flow(self, text: str, indent: float = 0.0) -> None:
        """Write one paragraph, never leaving a single line of it alone on a page."""
        lines = self.wrap(text, self.epw - indent)
        for number, line in enumerate(lines):
            left = len(lines) - number
            alone = (number == 0 and left > 1) or left == 2
            self.ensure(2 * LINE if alone else LINE)
            self.set_x(MARGIN + indent)
            self.cell(0, LINE, line, new_x="LMARGIN", new_y="NEXT")


def _latin(text: str) -> str:
    # The standard fonts are encoded as Windows-1252; fpdf2 takes their codes as Latin-1 characters.
    return text.encode("cp1252").decode("latin-1")


def _title(pdf: Digest, block: Block) -> None:
    pdf.set_font("Helvetica", style="B", size=19)
    pdf.set_text_color(*BLUE)
    for line in pdf.wrap(block.lines[0], pdf.epw):
        pdf.cell(0, 9, line, new_x="LMARGIN", new_y="NEXT")
    pdf.ln(3)


def _note(pdf: Digest, block: Block) -> None:
    pdf.set_font("Helvetica", size=9)
    pdf.set_text_color(*INK)
    lines = pdf.wrap(block.lines[0], pdf.epw - 10)
    pdf.set_fill_color(*TINT)
    top, height = pdf.get_y(), 4.6 * len(lines) + 6
    pdf.rect(MARGIN, top, pdf.epw, height, style="F")
    pdf.set_fill_color(*BLUE)
    pdf.rect(MARGIN, top, 1.2, height, style="F")
    pdf.set_y(top + 3)
    for line in lines:
        pdf.set_x(MARGIN + 5)
        pdf.cell(0, 4.6, line, new_x="LMARGIN", new_y="NEXT")
    pdf.set_y(top + height + 3)


def _heading(pdf: Digest, block: Block, following: Block | None) -> None:
    if pdf.get_y() > MARGIN:
        pdf.ln(2.5)
    pdf.ensure(7 + (_table_height(following) if following and following.kind == "table" else 3 * LINE))
    pdf.start_section(block.lines[0])
    pdf.set_font("Helvetica", style="B", size=HEADING)
    pdf.set_text_color(*BLUE)
    pdf.cell(0, 7, _latin(block.lines[0]), new_x="LMARGIN", new_y="NEXT")


def _table_height(block: Block) -> float:
    return 6.0 * len(block.lines) + 3


def _table(pdf: Digest, block: Block) -> None:
    pdf.ensure(_table_height(block))
    pdf.set_draw_color(*RULE)
    first = pdf.epw * 0.62
    for number, row in enumerate(block.lines):
        pdf.set_font("Helvetica", style="B" if number == 0 else "", size=TABLE)
        pdf.set_text_color(*INK)
        pdf.set_fill_color(*TINT)
        for text, width, x in zip(row.split("\t"), (first, pdf.epw - first), (MARGIN, MARGIN + first), strict=True):
            if pdf.get_string_width(_latin(text)) > width - 2 * pdf.c_margin:
                raise SourceError(f"the table cell {text!r} is too wide; shorten it.")
            pdf.set_x(x)
            pdf.cell(width, 6, _latin(text), border="B", fill=number == 0)
        pdf.ln(6)
    pdf.ln(3)


def _list(pdf: Digest, block: Block) -> None:
    pdf.body_font()
    for item in block.lines:
        pdf.ensure(LINE * min(2, len(pdf.wrap(item, pdf.epw - 6))))
        pdf.set_x(MARGIN + 1.5)
        pdf.cell(4.5, LINE, _latin("\N{BULLET}"))
        pdf.flow(item, indent=6)
        pdf.ln(0.8)
    pdf.ln(1.2)


def _with_next(blocks: Sequence[Block]) -> Iterator[tuple[Block, Block | None]]:
    return zip(blocks, [*blocks[1:], None], strict=True)


def build(source: Path) -> bytes:
    """Return the PDF of one digest source, the same bytes every time; raise SourceError on a bad source."""
    blocks = parse(source.read_text(encoding="utf-8"), source.name)
    pdf = Digest(blocks[0].lines[0])
    pdf.add_page()
    for block, following in _with_next(blocks):
        match block.kind:
            case "title":
                _title(pdf, block)
            case "note":
                _note(pdf, block)
            case "heading":
                _heading(pdf, block, following)
            case "table":
                _table(pdf, block)
            case "list":
                _list(pdf, block)
            case "paragraph":
                pdf.body_font()
                pdf.flow(block.lines[0])
                pdf.ln(2)
    return bytes(pdf.output())


def main(argv: Sequence[str] | None = None) -> int:
    """Build (or check) every digest; return the exit code."""
    parser = argparse.ArgumentParser(description="Build the digest PDFs in data/letters from their sources.")
    parser.add_argument("--check", action="store_true", help="exit 1 where a PDF is out of date")
    check: bool = parser.parse_args(argv).check
    stale: list[str] = []
    sources = sorted((LETTERS / "source").glob("[0-9][0-9][0-9][0-9].md"))
    if not sources:
        print(f"No sources found in {LETTERS / 'source'}.", file=sys.stderr)
        return 1
    for source in sources:
        try:
            content = build(source)
        except SourceError as error:
            print(error, file=sys.stderr)
            return 1
        target = LETTERS / f"AMZN-{source.stem}-digest.pdf"
        current = target.exists() and target.read_bytes() == content
        if current or check:
            stale += [] if current else [target.name]
            continue
        half = target.with_suffix(".part")
        half.write_bytes(content)
        half.replace(target)
        print(f"wrote {target.name}")
    if stale:
        print(f"out of date: {', '.join(stale)}. Run `make letters-digest`.", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
