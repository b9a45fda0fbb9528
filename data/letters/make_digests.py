"""The digest PDFs, from their Markdown in `source/`: `make letters-digest`."""

import re
import sys
from datetime import UTC, datetime
from pathlib import Path

from fpdf import FPDF
from markdown_it import MarkdownIt

LETTERS = Path(__file__).parent
WORKSHOP = "Claude on Amazon Bedrock workshop"


class Digest(FPDF):
    """An A4 page with the workshop and the title above, and its number below."""

    def header(self) -> None:
        self.set_font("Helvetica", size=8)
        self.cell(0, 4, WORKSHOP)
        self.cell(0, 4, self.title, align="R", new_x="LMARGIN", new_y="NEXT")
        self.ln(6)

    def footer(self) -> None:
        self.set_y(-16)
        self.set_font("Helvetica", size=8)
        self.cell(0, 4, f"Page {self.page_no()} of {{nb}}", align="C")


def build(source: Path) -> bytes:
    """The PDF of one source, the same bytes everywhere: standard fonts, nothing compressed, a fixed date."""
    text = source.read_text(encoding="utf-8").encode("cp1252").decode("latin-1")  # as the standard fonts want it
    pdf = Digest(format="A4")
    pdf.set_title(text.partition("\n")[0].removeprefix("# "))
    pdf.set_author(WORKSHOP)
    pdf.set_producer("fpdf2")
    pdf.set_margin(25)
    pdf.set_compression(False)
    pdf.set_creation_date(datetime(2026, 1, 1, tzinfo=UTC))
    pdf.add_page()
    pdf.set_font("Times", size=11)
    html = MarkdownIt("commonmark").enable("table").render(text)
    for section in re.split("(?=<h2>)", html):
        if pdf.will_page_break(30):  # mm: no heading alone at the end of a page
            pdf.add_page()
        pdf.write_html(section)
    return bytes(pdf.output())


if __name__ == "__main__":
    for source in sorted(LETTERS.glob("source/*.md")):
        (Path(sys.argv[1] if sys.argv[1:] else LETTERS) / f"AMZN-{source.stem}-digest.pdf").write_bytes(build(source))
