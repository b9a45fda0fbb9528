"""A learner who builds and cleans up a knowledge base, live, in an account that keeps state."""

import json
import os
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
STORES = ("opensearch", "s3vectors")
BUILD = {"notebook": "03_create_knowledge_base", "from": "BUILD_IT", "to": "What the ingestion job did"}
CLEAN = {"notebook": "99_clean_up", "from": "kb.Workshop", "to": "clean.left"}
# The pictures are looked at elsewhere (test_account_lessons, nbval).
BEFORE = """
from helpers import workshop
from helpers.settings import settings
workshop.figure = lambda *_: None
PDFS = sorted(settings().letters_dir.glob("*.pdf"))
"""
ID = "abcd1234"
MAKES = ("Create", "PUT", "StartIngestionJob")


@cache
def runner(number=0):
    """A program that runs notebooks, one at a time; it ends when this process closes its input."""
    command = [sys.executable, "-m", "tests.notebook_runner"]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ordered(order, by=0):
    """What the runner number `by` tells of one run."""
    runner(by).stdin.write(json.dumps(order) + "\n")
    runner(by).stdin.flush()
    return json.loads(runner(by).stdout.readline())


class Workshop:
    """One learner's workshop in an account: builds and cleans up, and may be killed while it does."""

    def __init__(self, service, folder, store):
        self.service, self.account, self._store = service, service.account, store
        self.state = folder / "workshop.json"

    def run(self, what, cut=None, by=0, **env):
        given = {
            **self.service.environment(),
            "WORKSHOP_MODE": "live",
            "WORKSHOP_AGREE": "true",
            "WORKSHOP_STATE_FILE": str(self.state),
            "WORKSHOP_STORE": self._store,
            "WORKSHOP_ID": ID,
            **env,
        }
        return ordered({"before": BEFORE, **what, "env": given, "cut": cut}, by)

    def works(self, what, **env):
        outcome = self.run(what, **env)
        assert outcome["error"] == "" and not outcome["cut"]
        return outcome

    def made(self, since=0):
        """How often each thing was made, by operation and name; the service-linked role is the account's."""
        return Counter(
            (call.operation, call.params.get("type", ""))
            for call in self.service.service.calls[since:]
            if call.operation.startswith(MAKES) and call.outcome == "answered" and "Linked" not in call.operation
        )


@contextmanager
def workshop(folder, store, *faults, **account):
    account = Account(**{"polls": 1, "clock": lambda: datetime.now(UTC), **account})
    with together(account, *faults) as service:
        yield Workshop(service, folder, store)


class Switch:
    """The calls that a fault meets: all while it is on, none while it is off."""

    def __init__(self):
        self.on = False

    def __contains__(self, number):
        return self.on
