"""The decks: what goes on which slide, and the speaker's notes. The browser test looks at those of the lessons."""

import re

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from helpers.language import WorkshopError
from tools import slides


def made(*cells, **notes):
    """The cells of the deck of a notebook with these cells after a set-up cell, and their slide types."""
    deck = slides.slides(new_notebook(cells=[new_markdown_cell("# T"), new_code_cell("set up"), *cells]), notes)
    return [(cell.metadata.slideshow.slide_type, cell) for cell in deck.cells]


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


def test_a_note_is_under_its_slide_and_one_without_a_slide_is_an_error():
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
