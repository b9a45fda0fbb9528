"""Lessons 03 and 99 as notebooks: live against the account they print what replay prints; recorded again, the same."""

import nbformat
import pytest

from tests.test_live_notebooks import as_live, comparable
from tools import record_account
from tools.notebooks import FOLDER, environment, execute


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("store", record_account.STORES)
def test_live_outputs_are_those_of_replay_cell_by_cell(store, tmp_path):
    outcomes, left = record_account.run(store, tmp_path)
    assert left == {} and [outcome.error for outcome in outcomes] == ["", ""]
    for lesson, outcome in zip(record_account.LESSONS, outcomes, strict=True):
        path = FOLDER / f"{lesson}.ipynb"
        replayed = execute(path, {**environment(), "WORKSHOP_STORE": store})
        assert not replayed.error
        stored = nbformat.read(path, 4) if store == "opensearch" else replayed.notebook
        for before, after in zip(code(stored), code(outcome.notebook), strict=True):
            lived = comparable(after, lesson)
            assert [as_live(text) for text in comparable(before, lesson)] == lived, before.source


def test_a_second_recording_is_the_committed_one_byte_for_byte(tmp_path):
    assert record_account.main(tmp_path) == 0
    made = sorted(tmp_path.glob("*.json"))
    assert len(made) == len(record_account.LESSONS) * len(record_account.STORES)
    for path in made:
        assert path.read_bytes() == (record_account.RECORDINGS / path.name).read_bytes(), path.name
