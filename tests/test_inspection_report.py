"""Scores of inspected boards."""

import json

import pytest

from helpers.inspection import Box
from helpers.inspection_report import TYPES, Score, batch_problems, confusion, score

SPUR = {"type": "spur", "box": [10, 10, 20, 20]}
SHORT = {"type": "short", "box": [50, 50, 70, 60]}
TRUTH = {"one": {"defects": [SPUR]}, "two": {"defects": [SPUR, SHORT]}, "good": {"defects": []}}
RIGHT = [("spur", Box(10, 10, 20, 20))]


def test_all_right_is_all_right():
    found = {"one": RIGHT, "two": [*RIGHT, ("short", Box(50, 50, 70, 60))], "good": []}
    assert score(found, TRUTH) == Score(boards=3, verdicts=3, defects=3, typed=3, hits=3, false_boxes=0)
    table = confusion(found, TRUTH)
    assert table.trace() == table.sum() == 4


def test_each_kind_of_mistake_is_counted():
    wrong_type, wrong_place = ("open_circuit", Box(10, 10, 20, 20)), ("spur", Box(200, 200, 220, 220))
    found = {"one": [wrong_type], "two": [wrong_place], "good": [wrong_place]}
    assert score(found, TRUTH) == Score(boards=3, verdicts=2, defects=3, typed=1, hits=1, false_boxes=2)
    table = confusion(found, TRUTH)
    spur, short, good = TYPES.index("spur"), TYPES.index("short"), len(TYPES)
    assert table[spur, TYPES.index("open_circuit")] == 1
    assert table[spur, spur] == 1 and table[short, spur] == 1 and table[good, spur] == 1


def test_missed_defects_stand_under_nothing():
    table = confusion({"one": [], "good": []}, TRUTH)
    assert table[TYPES.index("spur"), -1] == 1 and table[-1, -1] == 1 and table.sum() == 2


def line(name, **body):
    return json.dumps({"recordId": name, "modelInput": {"anthropic_version": "x", "max_tokens": 1, **body}})


def test_batch_lines_are_checked():
    good = [line(f"board{number}", messages=[]) for number in range(100)]
    assert batch_problems(good) == []
    assert batch_problems(good[:3]) == ["3 lines are too few: a job takes at least 100"]
    assert batch_problems([*good, good[0]]) == ["line 101 needs a recordId of its own"]
    assert batch_problems([*good, line("last")]) == ["line 101 has no messages"]
    with pytest.raises(ValueError, match="Expecting"):
        batch_problems(["{"])
