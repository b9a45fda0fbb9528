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

from helpers.knowledge_base.names import document
from helpers.settings import ROOT
from tests.loopback.account import Account
from tests.loopback.account.together import together

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="a killed process is forked: POSIX only")
STORES = ("opensearch", "s3vectors")
BUILD = {"notebook": "03_create_knowledge_base", "from": "BUILD_IT", "to": "What the ingestion job did"}
CLEAN = {"notebook": "99_clean_up", "from": "kb.Workshop", "to": "clean.left"}
LETTERS = ("AMZN-2020-digest.pdf", "AMZN-2021-digest.pdf")  # two are enough to be killed between them
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
def runner():
    """A program that runs notebooks; it ends when this process closes its input."""
    command = [sys.executable, "-m", "tests.notebook_runner"]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ordered(*orders):
    """What the runner tells of one run, or of several at once."""
    runner().stdin.write(json.dumps(orders) + "\n")
    runner().stdin.flush()
    told = [json.loads(runner().stdout.readline()) for _ in orders]
    return told if len(told) > 1 else told[0]


def pairs(tags, key="Key", value="Value"):
    """Tags as a list, which most services want."""
    return [{key: name, value: text} for name, text in tags.items()]


def make(service, kind, names, tags, mark=""):
    """One thing by hand, under the name that a workshop's would have; what its service answers."""
    name, small, client = names.common, pairs(tags, "key", "value"), service.client
    if kind == "bucket":
        client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"Tags": pairs(tags)})
        return client("s3").put_object(Bucket=name, Key="theirs.pdf", Body=b"theirs")
    if kind == "role":
        trust = json.dumps(document("role-trust", account="1", region="us-east-1"))
        return client("iam").create_role(RoleName=names.role, AssumeRolePolicyDocument=trust, Tags=pairs(tags))
    if kind == "vector bucket":
        return client("s3vectors").create_vector_bucket(vectorBucketName=name, tags=tags)
    if kind == "collection":
        return client("opensearchserverless").create_collection(name=name, type="VECTORSEARCH", tags=small)
    if kind == "guardrail":  # made by a cell of lesson 05, never by 03
        said = {"blockedInputMessaging": "no", "blockedOutputsMessaging": "no"}
        return client("bedrock").create_guardrail(name=name, tags=small, **said)
    family = kind.removesuffix(" policy")
    role = f"arn:aws:iam::{service.account.account_id}:role/{names.role}"
    who = {"collection": name, "builder": service.account.caller, "role": role}
    text = json.dumps(document(f"collection-{family}", **who))
    create = f"create_{'access' if family == 'data' else 'security'}_policy"
    return getattr(client("opensearchserverless"), create)(type=family, name=name, policy=text, description=mark)


class Workshop:
    """One learner's workshop in an account: builds and cleans up, and may be killed while it does."""

    def __init__(self, service, folder, store):
        self.service, self.account, self._store = service, service.account, store
        self.state, self.letters = folder / "workshop.json", folder / "letters"
        self.letters.mkdir(exist_ok=True)
        for name in LETTERS:
            shutil.copy(ROOT / "data" / "letters" / name, self.letters)

    def run(self, what, cut=None, times=1, **env):
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
        return ordered(*[{"before": BEFORE, **what, "env": given, "cut": cut}] * times)

    def works(self, what, **env):
        outcome = self.run(what, **env)
        assert outcome["error"] == "" and not outcome["cut"]
        return outcome

    def cleans(self, **env):
        """Clean up, after which nothing is left."""
        outcome = self.works(CLEAN, **env)
        assert self.service.left() == {} and not self.state.exists()
        return outcome

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
def workshop(folder, store, *faults, **account):
    account = Account(**{"polls": 1, "clock": lambda: datetime.now(UTC), **account})
    with together(account, *faults) as service:
        yield Workshop(service, folder, store)


class Switch:
    """The calls that a fault meets: all while it is on, none while it is off."""

    on = False

    def __contains__(self, number):
        return self.on
