"""Lessons 03 and 99 as notebooks: live against the account they print what replay prints; recorded again, the same."""

import nbformat
import pytest

from helpers.replay.recording import Recording
from tests.remembered import PREAMBLE
from tests.test_live_notebooks import as_live, comparable
from tools import record_account
from tools.notebooks import FOLDER, environment, execute


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize(("store", "edition"), [("opensearch", ""), ("s3vectors", ""), ("opensearch", "zh")])
def test_live_outputs_are_those_of_replay_and_the_recording_is_the_committed_one(store, edition, tmp_path, report):
    outcomes, left, met = record_account.run(store, tmp_path, edition, PREAMBLE)
    assert left == {} and [outcome.error for outcome in outcomes] == ["", ""]
    report(f"rules of the service that 03 and 99 meet ({store}): {', '.join(map(str, sorted(met)))}")
    assert met == {6, 8, 10}  # 11 refuses nobody: lesson 03 makes the role first
    for lesson, outcome in zip(record_account.LESSONS, outcomes, strict=True):
        path = FOLDER / edition / f"{lesson}.ipynb"
        if store == "opensearch":
            stored = nbformat.read(path, 4)
        else:
            replayed = execute(path, {**environment(), "WORKSHOP_STORE": store}, preamble=PREAMBLE)
            assert not replayed.error
            stored = replayed.notebook
        for before, after in zip(code(stored)[1:], code(outcome.notebook)[1:], strict=True):
            assert [as_live(text) for text in comparable(before)] == comparable(after), before.source
        name = f"{lesson}.{store}"
        made, committed = (folder / edition / f"{name}.json" for folder in (tmp_path, record_account.RECORDINGS))
        record_account.keep(Recording(made.with_suffix(".new.json")), made)
        assert made.read_bytes() == committed.read_bytes(), name
