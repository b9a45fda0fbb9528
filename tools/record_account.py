"""Recordings of the lessons that build and remove a knowledge base, made without an AWS account.

The lessons are recorded against the stateful stand-in of tests/loopback and moto. What answers is
written from the service's API model, and each entry says so (`api-model`).
"""

import itertools
import json
import re
import sys
import tempfile
from datetime import date
from pathlib import Path

from helpers.knowledge_base.workshop import RECORDED_ID
from helpers.replay.recording import Recording, key
from helpers.settings import Settings
from tests.loopback.account import Account
from tests.loopback.account.together import together
from tests.loopback.rules import TOO_NEW
from tools.notebooks import EDITIONS, FOLDER, Outcome, edition_of, environment, execute
from tools.recorder import save
from tools.run import line

LESSONS = ("03_create_knowledge_base", "99_clean_up")
STORES = ("opensearch", "s3vectors")
RECORDINGS: Path = Settings.model_fields["recordings_dir"].default
DAY = date(2026, 11, 22)
_STEADY = {  # what differs from run to run: moments and request ids in moto's answers, the port of the stand-in
    r"20\d\d-\d\d-\d\d(T|\s)\d\d:\d\d:\d\d(\.\d+)?Z?": f"{DAY}T09:00:00Z",
    r"http://127\.0\.0\.1:\d+/_aoss/\w+": "https://workshopcollection00.us-east-1.aoss.amazonaws.com",
    r"<(RequestId|HostId)>[^<]*<": r"<\1>recorded<",
}


def main() -> None:
    """Record both lessons for both stores, in both editions; it ends where a run failed or left something."""
    for edition, store in itertools.product(EDITIONS, STORES):
        with tempfile.TemporaryDirectory() as folder:
            outcomes, left, _ = run(store, Path(folder), edition)
            print(*map(line, outcomes), sep="\n")
            if left or any(outcome.error for outcome in outcomes):
                sys.exit(f"left behind: {left}")
            for lesson in LESSONS:
                fresh = Recording(Path(folder) / edition / f"{lesson}.{store}.new.json")
                keep(fresh, RECORDINGS / edition / f"{lesson}.{store}.json")


def run(store: str, folder: Path, edition: str = "") -> tuple[list[Outcome], dict, set[int]]:
    """Both lessons live and recorded, one after the other; what the account holds then, and the rules that were met."""
    with together(Account(polls=2, forbidden=1, not_ready=[TOO_NEW[0]]), edition=edition) as service:
        own = {"store": store, "id": RECORDED_ID, "agree": True}
        own |= {"recordings_dir": folder, "state_file": folder / "workshop.json"}
        env = environment("live", **own) | service.environment()
        # Nothing takes time there, so nobody waits.
        before = "from helpers.knowledge_base import waiting; waiting.EVERY = 0.0\n"
        before += "from tools import recorder; recorder.install()"
        outcomes = [execute(FOLDER / edition / f"{lesson}.ipynb", env, preamble=before) for lesson in LESSONS]
        return outcomes, service.left(), service.account.rules.met


def keep(fresh: Recording, path: Path) -> None:
    """Save `fresh` at `path`, its entries each marked with its origin; in Chinese only what is not as in English."""
    for entry in fresh.entries:
        found = entry["body"].get("json", {}).get("retrievalResults")  # an empty answer is the service's way
        entry["origin"] = "index" if found else "api-model"
        text = json.dumps(entry["body"], ensure_ascii=False)
        for changing, steady in _STEADY.items():
            text = re.sub(changing, steady, text)
        entry["body"] = json.loads(text)
    fresh.date = DAY
    if edition_of(path):
        english = Recording(RECORDINGS / path.name).by_key
        fresh.entries = [each for each in fresh.entries if fresh.by_key[key(each)] != english.get(key(each))]
    if fresh.entries:
        save(fresh, path)


if __name__ == "__main__":
    main()
