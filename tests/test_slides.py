"""The decks: what goes on which slide, nothing lost and nothing loaded from elsewhere, and the speaker's notes."""

import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from helpers.language import WorkshopError
from tools import slides
from tools.notebooks import both, lessons

DECKS = both(lessons)
ADDRESS = re.compile(r"""<(?:script|link|img|iframe)[^>]*?(?:src|href)=["']?([^"'> ]+)|url\(["']?([^"')]+)|@import""")


def folder_for_decks(folder: Path) -> Path:
    """A folder with a copy of reveal.js, fetched once."""
    slides.reveal(slides.BUILD / "reveal.js")
    (folder / "reveal.js").symlink_to(slides.BUILD / "reveal.js")
    return folder


@pytest.fixture(scope="module")
def decks(tmp_path_factory):
    folder = folder_for_decks(tmp_path_factory.mktemp("decks"))
    return {path: slides.build(path, folder).read_text(encoding="utf-8") for path in DECKS}


def made(*cells, **notes):
    """The cells of the deck of a notebook with these cells after a set-up cell, and their slide types."""
    deck = slides.slides(new_notebook(cells=[new_markdown_cell("# T"), new_code_cell("set up"), *cells]), notes)
    return [(cell.metadata.slideshow.slide_type, cell) for cell in deck.cells]


def foreign(html):
    found = [next(filter(None, match.groups()), "@import") for match in ADDRESS.finditer(html)]
    return [each for each in found if not each.startswith(("data:", "reveal.js/", "../reveal.js/", "#"))]


@pytest.mark.parametrize("path", DECKS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_deck_loads_nothing_from_elsewhere_and_loses_no_row_of_a_table(decks, path):
    assert foreign(decks[path]) == []
    text = "\n".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown")
    outputs = [out.get("data", {}) for cell in nbformat.read(path, 4).cells for out in cell.get("outputs", [])]
    tables = [text, *(data["text/markdown"] for data in outputs if "text/markdown" in data)]
    rows = [row for table in tables for row in re.findall(r"(?m)^\|.*\|$", table) if not re.match(r"\| ?-", row)]
    heads = sum(len(re.findall(r"(?m)^\| ?-", table)) for table in tables)
    assert decks[path].count("<tr") - decks[path].count("<thead") >= len(rows) - heads


def test_control_an_address_elsewhere_is_noticed():
    assert foreign('<img alt="" src="http://workshop.invalid/a.png">') == ["http://workshop.invalid/a.png"]
    assert foreign("<style>@import url(https://workshop.invalid/a.css)</style>")


def test_a_heading_begins_a_slide_and_what_does_not_fit_goes_on_below():
    tall = new_code_cell("1", outputs=[new_output("stream", text="line\n" * 17)])
    found = made(new_markdown_cell("**What to notice.** A.\n\n## Part\n\n### Step\n\nWhy."), tall)
    assert [(kind, cell.source) for kind, cell in found] == [
        ("slide", "# T"), ("subslide", "###### T"), ("-", "**What to notice.** A."), ("slide", "## Part"),
        ("slide", "### Step\n\nWhy."), ("-", "1"), ("subslide", "###### Step"), ("-", ""),
    ]  # fmt: skip


def test_long_code_tables_and_answers_go_on_and_long_text_is_cut_in_the_middle():
    code = "\n".join(f"line_{number}" for number in range(50))
    table = "| a |\n|---|\n" + "\n".join(f"| {number} |" for number in range(40))
    answer = "\n\n".join(f"Paragraph {number}. " + "word " * 60 for number in range(9))
    outputs = [new_output("display_data", {"text/markdown": each}) for each in (table, answer)]
    outputs.append(new_output("stream", text="\n".join(f"printed {number}" for number in range(99))))
    found = made(new_markdown_cell("## S"), new_code_cell(code, outputs=outputs))
    assert "\n".join(cell.source for _, cell in found if cell.cell_type == "code" and cell.source) == code
    shown = [cell.outputs[0] for _, cell in found if cell.get("outputs")]
    markdown = [out.data["text/markdown"] for out in shown if "data" in out]
    tables = [each for each in markdown if each.startswith("|")]
    assert len(tables) > 1 and all(each.startswith("| a |\n|---|\n|") for each in tables)
    assert re.findall(r"\| (\d+) \|", "".join(tables)) == [str(number) for number in range(40)]
    assert "\n\n".join(each for each in markdown if each not in tables).split() == answer.split()
    lines = shown[-1].text.splitlines()
    assert (lines[0], lines[8], lines[-1]) == ("printed 0", slides.CUT, "printed 98") and len(lines) == 17


def test_links_to_files_are_named_and_links_to_lessons_lead_to_decks():
    text = "[next](02_coding_tutor.ipynb), [code](../helpers/show.py), [web](https://example.com/)"
    assert (
        made(new_markdown_cell(text))[-1][1].source == "[next](02_coding_tutor.html), code, [web](https://example.com/)"
    )


def test_notes_are_under_their_slide_and_a_note_without_one_is_an_error(decks, tmp_path):
    for path, html in decks.items():
        said = re.findall("(?m)^## ", (slides.NOTES / f"{path.stem}.md").read_text(encoding="utf-8"))
        assert said and html.count('<aside class="notes">') >= len(said)
    assert [kind for kind, _ in made(new_markdown_cell("## S"), S="Say this.")] == ["slide", "slide", "notes"]
    with pytest.raises(WorkshopError, match="no slide has the heading 'Z'"):
        made(Z="Say that.")


def test_only_the_pinned_reveal_js_is_taken(monkeypatch, tmp_path):
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", tmp_path.as_uri())
    with pytest.raises(WorkshopError, match="needs the network, or NPM_CONFIG_REGISTRY"):
        slides.reveal(tmp_path / "deck" / "reveal.js")
    package = tmp_path / slides.REVEAL.strip("/")
    package.parent.mkdir(parents=True)
    package.write_bytes(b"something else")
    with pytest.raises(WorkshopError, match="is not the file that was pinned"):
        slides.reveal(tmp_path / "deck" / "reveal.js")
    assert not (tmp_path / "deck").exists()
