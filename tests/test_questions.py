"""How often the offline index finds the answer to our questions, over each set of letters."""

import json

import pytest

from helpers.replay import index as module
from helpers.replay.index import open_index
from helpers.retrieval import passage_of
from helpers.settings import ROOT

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
    folder = ENGLISH / "zh" if letters == "Chinese" else ENGLISH
    if letters == "Amazon's own":
        folder = request.getfixturevalue("real_letters")
    return request.param, rows, open_index(folder)


def first_right(index, row):
    """Which passage is the first of the right file and page that holds the key; 6 if none of five."""
    answer = index.retrieve({"retrievalQuery": {"text": row["question"]}})
    for number, passage in enumerate(map(passage_of, answer["retrievalResults"]), 1):
        at_place = passage.source == row["file"] and passage.page in row["pages"]
        if at_place and row["key"].casefold() in passage.text.casefold():
            return number
    return 6


def test_a_passage_with_the_answer_is_among_the_first_five(asked, report, monkeypatch):
    (name, letters), rows, index = asked
    ranks = [first_right(index, row) for row in rows]
    one, five = (sum(rank <= most for rank in ranks) / len(ranks) for most in (1, 5))
    report(f"Retrieve offline, {name} over {letters} letters, {len(ranks)}: hit@1 {one:.3f} hit@5 {five:.3f}")
    assert five >= QUESTIONS[name, letters]
    assert len({row["question"] for row in rows}) == len(rows) >= 40
    # Controls: the question of another row; and without the dictionary.
    others = [row | {"question": other["question"]} for row, other in zip(rows[:20], rows[20:40], strict=True)]
    assert sum(first_right(index, row) <= 5 for row in others) < 10
    if (name, letters) == ("chinese", "English"):
        monkeypatch.setattr(module, "english_words", lambda text: "")
        assert sum(first_right(index, row) <= 5 for row in rows[:20]) < 10
