"""Lessons 03 and 99 as notebooks: live against the account they print what replay prints; recorded again, the same."""

from helpers.replay.recording import Recording
from tests.remembered import PREAMBLE
from tests.test_live_notebooks import as_live, comparable, kernel
from tools import record_account
from tools.notebooks import Outcome, environment, without_outputs

# In Chinese a recording has what is not as in the English one, so that with OpenSearch both are compared.
RUNS = (("opensearch", "zh"), ("s3vectors", ""))
WITH = """import os; os.environ.clear(); os.environ.update({})
from helpers.settings import settings; settings.cache_clear()"""


def test_live_outputs_are_those_of_replay_and_the_recording_is_the_committed_one(tmp_path, monkeypatch):
    with kernel(environment()) as run:  # one for all: what the lessons import takes longer than they do
        assert run(PREAMBLE) == "done"

        def execute(path, env, preamble=""):
            book = without_outputs(path)
            code = [cell for cell in book.cells if cell.cell_type == "code"]
            assert {run(cell) for cell in (WITH.format(env), preamble, *code)} == {"done"}
            return Outcome(path, book, len(code), 0.0)

        monkeypatch.setattr(record_account, "execute", execute)
        for store, edition in RUNS:
            outcomes, left, met = record_account.run(store, tmp_path, edition)
            assert left == {}
            assert met == {6, 8, 10}  # 11 refuses nobody: lesson 03 makes the role first
            for live in outcomes:
                replayed = execute(live.path, {**environment(), "WORKSHOP_STORE": store})
                both = list(zip(replayed.notebook.cells, live.notebook.cells, strict=True))
                for before, after in [pair for pair in both if pair[0].cell_type == "code"][1:]:
                    assert [as_live(text) for text in comparable(before)] == comparable(after), after.source
                name = f"{live.path.stem}.{store}"
                made, committed = (top / edition / f"{name}.json" for top in (tmp_path, record_account.RECORDINGS))
                record_account.keep(Recording(made.with_suffix(".new.json")), made)
                assert made.read_bytes() == committed.read_bytes(), name
