"""The decks: what goes on which slide, and the speaker's notes. The browser test looks at those of the lessons."""

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from helpers.language import WorkshopError
from tools import slides

GAP = slides.CUT["zh"]


def made(*cells, **notes):
    """The cells of the deck of a notebook with these cells after a set-up cell, and their slide types."""
    deck = slides.slides(new_notebook(cells=[new_markdown_cell("# T"), new_code_cell("set up"), *cells]), notes, GAP)
    return [(cell.metadata.slideshow.slide_type, cell) for cell in deck.cells]


def test_a_heading_begins_a_slide_and_other_text_goes_on_below_it():
    found = made(new_markdown_cell("**What to notice.** A.\n\n## Part\n\n### Step\n\nWhy."), new_code_cell("1"))
    assert [(kind, cell.source.strip()) for kind, cell in found] == [
        ("slide", "# T"), ("subslide", "###### T"), ("-", "**What to notice.** A."), ("slide", "## Part"),
        ("slide", "### Step\n\nWhy."), ("-", "1"),
    ]  # fmt: skip


def test_of_a_long_output_the_middle_is_left_out_and_of_a_long_program_in_an_answer_the_end():
    table = "| a |\n|---|\n" + "\n".join(f"| {number} |" for number in range(40))
    program = "```python\n" + "\n".join(f"line_{number}" for number in range(50)) + "\n```"
    outputs = [new_output("display_data", {"text/markdown": f"{table}\n\n{program}\n\nDone."})]
    outputs.append(
        new_output("display_data", {"text/html": "<div class='workshop-bar'></div>", "text/plain": "[==] 2/2"})
    )
    outputs.append(new_output("stream", text="\n".join(f"printed {number}" for number in range(99))))
    answer, text = made(new_code_cell("x", outputs=outputs))[-1][1].outputs
    shown = answer.data["text/markdown"]
    assert table in shown and f"line_13\n{GAP}\n```\n\nDone." in shown and "line_14" not in shown
    lines = text.text.splitlines()
    assert (lines[0], lines[8], lines[-1]) == ("printed 0", GAP, "printed 98") and len(lines) == 17


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
