"""How often the offline index finds the answer to our questions, over each set of letters."""

import json

import nbformat
import pytest
from IPython.display import Markdown

from helpers.replay import index as module
from helpers.replay.index import open_index
from helpers.retrieval import passage_of
from helpers.settings import ROOT
from tools.notebooks import FOLDER

ENGLISH = ROOT / "data" / "letters"
QUESTIONS = {  # the list of questions and the letters that are asked: hit@5 at least
    ("real_letters", "Amazon's own"): 0.90,
    ("chinese", "English"): 0.80,
    ("chinese_letters", "Chinese"): 0.90,
}


@pytest.fixture(params=QUESTIONS, ids=lambda pair: pair[0])
def asked(request):
    """The name, the questions with the file, the pages and the key of each, and the index of the letters."""
    name, letters = request.param
    rows = json.loads((ROOT / "tests" / f"questions_{name}.json").read_text(encoding="utf-8"))
    if letters == "Amazon's own":
        folder = request.getfixturevalue("real_letters")
    else:
        folder = ENGLISH / ("zh" if letters == "Chinese" else "")
    return request.param, rows, open_index(folder)


def found(index, question):
    return [passage_of(each) for each in index.retrieve({"retrievalQuery": {"text": question}})["retrievalResults"]]


def first_right(index, row):
    """Which passage is the first of the right file and page that holds the key; 6 if none of five."""
    right = [
        number
        for number, passage in enumerate(found(index, row["question"]), 1)
        if passage.source == row["file"] and passage.page in row["pages"]
        if row["key"].casefold() in passage.text.casefold()
    ]
    return min(right, default=6)


def test_a_passage_with_the_answer_is_among_the_first_five(asked, report, monkeypatch):
    (name, letters), rows, index = asked
    ranks = [(first_right(index, row), row.get("set", "all")) for row in rows]
    for part in sorted({"all", *(part for _, part in ranks)}):
        some = [rank for rank, of in ranks if part in (of, "all")]
        one, five = (sum(rank <= most for rank in some) / len(some) for most in (1, 5))
        report(f"Retrieve offline, {name} over {letters} letters, {part} {len(some)}: hit@1 {one:.3f} hit@5 {five:.3f}")
    assert sum(rank <= 5 for rank, _ in ranks) / len(rows) >= QUESTIONS[name, letters]
    if (name, letters) == ("chinese", "English"):  # a control: without the dictionary
        monkeypatch.setattr(module, "english_words", lambda text: "")
        assert sum(first_right(index, row) <= 5 for row in rows[:20]) < 10
    # A control: the question of another row.
    others = [row | {"question": other["question"]} for row, other in zip(rows[:20], rows[20:40], strict=True)]
    assert sum(first_right(index, row) <= 5 for row in others) < 10


def test_the_list_is_sound(asked):
    """Each key is on its page, so that a miss is the index's; keys are figures or names, not sentences."""
    _, rows, index = asked
    pages = {}
    for passage in map(passage_of, index._hits):
        place = passage.source, passage.page
        pages[place] = pages.get(place, "") + " " + passage.text.casefold()
    assert len({row["question"] for row in rows}) == len(rows) >= 40
    for row in rows:
        assert len(row["key"].split()) <= 4, row
        assert all(row["key"].casefold() in pages[row["file"], page] for page in row["pages"]), row


def test_only_facts_that_are_ranked_low_are_not_found():
    index, held = open_index(ENGLISH / "zh"), {}
    for row in json.loads((ENGLISH / "zh" / "questions.json").read_text(encoding="utf-8")):
        passages = found(index, row["question"])
        for fact in row["facts"]:
            there = [each.text for each in passages if each.source == fact["file"] and each.page in fact["pages"]]
            held.setdefault(row["kind"], []).append(any(form in text for text in there for form in fact["text"]))
    assert not any(held["ranked low"]) and all(held["figure"]) and all(held["English"])


def test_the_retrieval_part_of_the_finance_lesson_runs_over_the_real_letters(real_letters, change, capsys):
    change(letters_dir=real_letters)
    lesson = nbformat.read(FOLDER / "04_financial_rag.ipynb", as_version=4)
    code = [cell.source for cell in lesson.cells if cell.cell_type == "code"]
    opening = "\n".join(line for line in code[1].splitlines() if line.startswith(("QUESTION", "found")))
    asking = [cell for cell in code[2:] if "retrieval.retrieve(" in cell and "exam" not in cell and "ask(" not in cell]
    shown = []
    scope = {"display": shown.append}
    for cell in [code[0], f"KB = retrieval.knowledge_base_id()\n{opening}", *asking]:
        exec(cell, scope)
    assert len(asking) >= 3 and "Bar chart" in capsys.readouterr().out
    assert isinstance(shown[0], Markdown)
    assert "| AMZN-2022-Shareholder-Letter.pdf | 6 |" in shown[0].data.splitlines()[2]
