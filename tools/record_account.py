"""Recordings of the lessons that build and remove a knowledge base, made without an AWS account.

    python -m tools.record_account

The lessons run in record mode against the stateful stand-in of tests/loopback and moto. What answers is
written from the service's API model, and each entry says so (`api-model`). Then `make outputs` renews what
the notebooks print.
"""

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from helpers.offline_index import open_index
from helpers.recordings.file import Recording
from helpers.settings import ROOT, Settings
from tests.loopback.account import Account
from tests.loopback.account.together import together
from tools.notebooks import FOLDER, environment, execute
from tools.run_notebooks import line

LESSONS = ("03_create_knowledge_base", "99_clean_up")
STORES = ("opensearch", "s3vectors")
RECORDINGS: Path = Settings.model_fields["recordings_dir"].default
DAY = "2026-11-22"
# What differs from run to run in moto's answers: moments, request ids, and the headers' dates.
_MOMENT = re.compile(r"20\d\d-\d\d-\d\d(T|\s)\d\d:\d\d:\d\d(\.\d+)?Z?")
_REQUEST = re.compile(r"<(RequestId|HostId)>[^<]*<")


def main() -> int:
    """Record both lessons for both stores; the number of runs that failed, at most 1."""
    index = open_index(ROOT / "data/letters", ROOT / "build/cache")
    for store in STORES:
        account = Account(polls=2, forbidden=1, not_ready=["role"], retrieve=index.retrieve)
        with together(account) as service, tempfile.TemporaryDirectory() as folder:
            for lesson in LESSONS:
                env = {
                    **environment("record"),
                    **service.environment(),
                    "WORKSHOP_STORE": store,
                    "WORKSHOP_RECORDINGS_DIR": folder,
                    "WORKSHOP_STATE_FILE": f"{folder}/workshop.json",
                }
                # Nothing takes time there, so nobody waits.
                fast = "from helpers.knowledge_base import waiting; waiting.EVERY = 0.0"
                outcome = execute(FOLDER / f"{lesson}.ipynb", env, preamble=fast)
                print(line(outcome))
                if outcome.error:
                    return 1
                keep(Recording(Path(folder) / f"{lesson}.{store}.new.json"), f"{lesson}.{store}")
            if left := service.left():
                print(f"left behind: {left}")
                return 1
    return 0


def keep(fresh: Recording, name: str) -> None:
    """Save `fresh` as the recording `name`, its entries marked with where they come from."""
    for entry in fresh.entries:
        entry["origin"] = "index" if entry["call"].endswith(".Retrieve") else "api-model"
        entry["body"] = _steady(entry["body"])
    fresh.path, fresh.date = RECORDINGS / f"{name}.json", DAY
    fresh.save()


def _steady(body: dict[str, Any]) -> dict[str, Any]:
    text = _MOMENT.sub(f"{DAY}T09:00:00Z", json.dumps(body, ensure_ascii=False))
    found: dict[str, Any] = json.loads(_REQUEST.sub(r"<\1>recorded<", text))
    return found


if __name__ == "__main__":
    sys.exit(main())
