"""Lessons 03 and 99 as notebooks: live against the account they print what replay prints; recorded again, the same."""

import pytest

from helpers.replay.recording import Recording
from tests.remembered import PREAMBLE
from tests.test_live_notebooks import as_live, code, comparable, kernel
from tools import record_account
from tools.notebooks import FOLDER, environment


@pytest.mark.parametrize(("store", "edition"), [("opensearch", ""), ("s3vectors", ""), ("opensearch", "zh")])
def test_live_outputs_are_those_of_replay_and_the_recording_is_the_committed_one(store, edition, tmp_path, report):
    outcomes, left, met = record_account.run(store, tmp_path, edition, PREAMBLE)
    assert left == {} and [outcome.error for outcome in outcomes] == ["", ""]
    report(f"rules of the service that 03 and 99 meet ({store}): {', '.join(map(str, sorted(met)))}")
    assert met == {6, 8, 10}  # 11 refuses nobody: lesson 03 makes the role first
    replayed = [code(FOLDER / edition / f"{lesson}.ipynb") for lesson in record_account.LESSONS]
    if store == "s3vectors":  # which is not what is stored in the notebooks
        with kernel({**environment(), "WORKSHOP_STORE": store}) as run:
            assert {run(cell) for cells in replayed for cell in ("%reset -f", PREAMBLE, *cells)} == {"done"}
    for lesson, before, outcome in zip(record_account.LESSONS, replayed, outcomes, strict=True):
        after = [cell for cell in outcome.notebook.cells if cell.cell_type == "code"]
        for stored, cell in zip(before[1:], after[1:], strict=True):
            assert [as_live(text) for text in comparable(stored)] == comparable(cell), cell.source
        name = f"{lesson}.{store}"
        made, committed = (folder / edition / f"{name}.json" for folder in (tmp_path, record_account.RECORDINGS))
        record_account.keep(Recording(made.with_suffix(".new.json")), made)
        assert made.read_bytes() == committed.read_bytes(), name
