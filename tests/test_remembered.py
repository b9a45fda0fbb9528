"""What is remembered in a run of the tests is the answer to the same question, and only lessons get it."""

import pytest

from helpers import sandbox
from tests import remembered


def test_the_same_question_is_worked_out_once_and_another_one_anew(tmp_path, monkeypatch):
    monkeypatch.setenv(remembered.PLACE, str(tmp_path))
    asked = []

    def double(values, by=2):
        asked.append(by)
        return [by * each for each in values]

    known = remembered.remembering(double)
    first = known([1, 2])
    first.append("changed by a cell")
    assert known([1, 2]) == [2, 4] and asked == [2]
    assert known([1, 2], by=3) == [3, 6] and known([1]) == [2] and asked == [2, 3, 2]
    monkeypatch.delenv(remembered.PLACE)
    assert known([1, 2]) == [2, 4] and asked == [2, 3, 2, 2]


def test_control_nothing_is_remembered_where_the_sandbox_is_tried():
    assert not hasattr(sandbox.run, "__wrapped__")
    with pytest.raises(AssertionError):
        remembered.begin()
