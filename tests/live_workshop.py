"""A learner who builds and cleans up a knowledge base, live, in an account that keeps state."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache

import pytest

from helpers.settings import ROOT
from tests.loopback.account import Account
from tests.loopback.account.together import together

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="a killed process is forked: POSIX only")
both_stores = pytest.mark.parametrize("store", ["opensearch", "s3vectors"])
BUILD = {"notebook": "03_create_knowledge_base", "from": "BUILD_IT", "to": "What the ingestion job did"}
CLEAN = {"notebook": "99_clean_up", "from": "kb.Workshop", "to": "clean.left"}
LETTERS = ("AMZN-2020-digest.pdf", "AMZN-2021-digest.pdf")  # two are enough to be killed between them
# The pictures are looked at elsewhere (test_account_lessons, nbval).
BEFORE = """
from helpers import workshop
from helpers.settings import settings
workshop.figure = lambda *_: None
PDFS = sorted(settings().letters_dir.iterdir())
"""
ID = "abcd1234"
MAKES = ("Create", "PUT", "StartIngestionJob")


@cache
def runner():
    """A program that runs notebooks; it ends when this process closes its input."""
    command = [sys.executable, "-m", "tests.notebook_runner"]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ordered(order):
    """What the runner tells of one run."""
    runner().stdin.write(json.dumps(order) + "\n")
    runner().stdin.flush()
    return json.loads(runner().stdout.readline())


class Workshop:
    """One learner's workshop in an account: builds and cleans up, and may be killed while it does."""

    def __init__(self, service, folder, store):
        self.service, self.account, self._store = service, service.account, store
        self.state, self.letters = folder / "workshop.json", folder / "letters"
        self.letters.mkdir(exist_ok=True)
        for name in LETTERS:
            shutil.copy(ROOT / "data" / "letters" / name, self.letters)

    def run(self, what, cut=None, before="", **env):
        given = {
            **self.service.environment(),
            "WORKSHOP_MODE": "live",
            "WORKSHOP_AGREE": "true",
            "WORKSHOP_STATE_FILE": str(self.state),
            "WORKSHOP_LETTERS_DIR": str(self.letters),
            "WORKSHOP_STORE": self._store,
            "WORKSHOP_ID": ID,
            **env,
        }
        return ordered({**what, "before": BEFORE + before, "env": given, "cut": cut})

    def works(self, what, **env):
        outcome = self.run(what, **env)
        assert outcome["error"] == "" and not outcome["cut"]
        return outcome

    def cleans(self, **env):
        """Clean up, after which nothing is left."""
        self.works(CLEAN, **env)
        assert self.left() == {} and not self.state.exists()

    def left(self):
        """All that the account still holds."""
        return self.service.left()

    def calls(self, since=0):
        return self.service.service.calls[since:]

    def made(self, since=0):
        """How often each thing was made, by operation and name; the service-linked role is the account's."""
        return Counter(
            (call.operation, call.params.get("type", ""))
            for call in self.calls(since)
            if call.operation.startswith(MAKES) and call.outcome == "answered" and "Linked" not in call.operation
        )


@contextmanager
def workshop(folder, store="opensearch", *faults, off=(), **account):
    account = Account(**{"polls": 1, "clock": lambda: datetime.now(UTC), **account})
    with together(account, *faults, off=off) as service:
        yield Workshop(service, folder, store)
