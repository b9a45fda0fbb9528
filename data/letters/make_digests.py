"""The digest PDFs, from their Markdown in `source/` and `zh/source/`: `make letters-digest`."""

import re
import sys
from datetime import UTC, datetime
from pathlib import Path

from fpdf import FPDF
from markdown_it import MarkdownIt

LETTERS = Path(__file__).parent
FONT = LETTERS.parent / "fonts" / "WorkshopSansSC-Regular.ttf"
WORKSHOP = {"": "Claude on Amazon Bedrock workshop", "zh": "Amazon Bedrock 上的 Claude 工作坊"}
PAGE = {"": "Page {} of {{nb}}", "zh": "第 {} 页，共 {{nb}} 页"}
WIDE, OPENING, CLOSING = "\u3001-\u30ff\u3400-\u9fff\uff00-\uffef“”", "（《“", "，。、；：？！）》”·"
BREAK = "\u200b"  # where a line may break, of no width
BREAKS = rf"(?<=[{WIDE}])(?<![{OPENING}])(?=[^\s{CLOSING}])|(?<=[^\s{OPENING}])(?=[{WIDE}])(?![{CLOSING}])"


class Digest(FPDF):
    """An A4 page with the workshop and the title above, and its number below."""

    def __init__(self, language: str) -> None:
        super().__init__(format="A4")
        self.language, self.small, self.body = language, "Helvetica", "Times"
        if language:
            self.small = self.body = "chinese"
            self.add_font(self.body, fname=FONT)
            self.fonts[self.body].cw[ord(BREAK)] = 0
            self.set_lang("zh-CN")

    def header(self) -> None:
        self.set_font(self.small, size=8)
        self.cell(0, 4, WORKSHOP[self.language])
        self.cell(0, 4, self.title, align="R", new_x="LMARGIN", new_y="NEXT")
        self.ln(6)

    def footer(self) -> None:
        self.set_y(-16)
        self.set_font(self.small, size=8)
        self.cell(0, 4, PAGE[self.language].format(self.page_no()), align="C")


def build(source: Path, language: str = "") -> bytes:
    """The PDF of one source, the same bytes everywhere: no text compressed, a fixed date; "zh" embeds its font."""
    text = source.read_text(encoding="utf-8")
    pdf = Digest(language)
    pdf.set_title(text.partition("\n")[0].removeprefix("# "))
    pdf.set_author(WORKSHOP[language])
    pdf.set_producer("fpdf2")
    pdf.set_margin(25)
    pdf.set_compression(False)
    pdf.set_creation_date(datetime(2026, 1, 1, tzinfo=UTC))
    pdf.add_page()
    pdf.set_font(pdf.body, size=11)
    text = re.sub(BREAKS, BREAK, text) if language else text.encode("cp1252").decode("latin-1")  # as the fonts want it
    html = MarkdownIt("commonmark").enable("table").render(text)
    if language:  # its font has no bold, and fills its lines
        html = re.sub("<(p|ul)>", r'<\1 line-height="1.4">', re.sub("(</?)th>", r"\1td>", html))
    for section in re.split("(?=<h2>)", html):
        if pdf.will_page_break(30):  # mm: no heading alone at the end of a page
            pdf.add_page()
        pdf.write_html(section)
    if language:
        pdf.fonts[pdf.body].missing_glyphs.remove(ord(BREAK))  # fpdf2 warns of those that are left
    return bytes(pdf.output())


if __name__ == "__main__":
    folder = Path(sys.argv[1] if sys.argv[1:] else LETTERS)
    for language in WORKSHOP:
        (folder / language).mkdir(exist_ok=True)
        for source in sorted((LETTERS / language / "source").glob("*.md")):
            (folder / language / f"AMZN-{source.stem}-digest.pdf").write_bytes(build(source, language))
