"""A learner who builds and cleans up a knowledge base, live, in an account that keeps state."""

import gc
import re
import shutil
from collections import Counter
from contextlib import contextmanager, redirect_stdout, suppress
from datetime import UTC, datetime
from hashlib import md5
from io import StringIO
from types import SimpleNamespace

import matplotlib.pyplot as plt
import nbformat
import pytest
from botocore.client import BaseClient
from opensearchpy import Urllib3HttpConnection

from helpers import workshop as set_up
from helpers.explain import explain
from helpers.language import WorkshopError
from helpers.settings import ROOT, settings
from tests.loopback.account import Account
from tests.loopback.account.together import together
from tools.notebooks import FOLDER

both_stores = pytest.mark.parametrize("store", ["opensearch", "s3vectors"])
LETTERS = ("AMZN-2020-digest.pdf", "AMZN-2021-digest.pdf")  # two are enough to be killed between them
ID = "abcd1234"
MAKES = ("Create", "PUT", "StartIngestionJob")
READS = re.compile(r"Get|List|BatchGet|Head|HEAD|Retrieve")


def code(lesson, first, last):
    """What a lesson imports before the cell with `first`, and its code from there to the last cell with `last`."""
    cells = [cell.source for cell in nbformat.read(FOLDER / f"{lesson}.ipynb", 4).cells if cell.cell_type == "code"]
    start = next(number for number, source in enumerate(cells) if first in source)
    end = max(number for number, source in enumerate(cells) if last in source)
    imports = re.findall(r"^(?:from|import) .+", "\n".join(cells[:start]), re.MULTILINE)
    return compile("\n".join([*imports, *cells[start : end + 1]]), lesson, "exec")


BUILD = code("03_create_knowledge_base", "BUILD_IT", "What the ingestion job did")
CLEAN = code("99_clean_up", "kb.Workshop", "clean.left")


class Killed(BaseException):
    """The process ends here."""


def killing(send, spared):
    """`send`, which kills after the first call that changes something and is not `spared`, its answer unread."""

    def sending(*args, **named):
        step = f"{args[1]} {md5(repr(args[1:]).encode()).hexdigest()}"
        if READS.match(step) or step in spared:
            return send(*args, **named)
        with suppress(Exception):  # whether it was answered or refused
            send(*args, **named)
        raise Killed(step)

    return sending


class Workshop:
    """One learner's workshop in an account: builds and cleans up, and may be killed while it does."""

    def __init__(self, service, folder, store):
        self.service, self.account, self._store, self._given = service, service.account, store, {}
        self.state, self.letters = folder / "workshop.json", folder / "letters"
        self.letters.mkdir(exist_ok=True)
        for name in LETTERS:
            shutil.copy(ROOT / "data" / "letters" / name, self.letters)

    def run(self, what, cut=None, **env):
        """The `error` that it ends in, the call at which it is `cut`, what is `printed`, what the cells find `left`."""
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
        came = SimpleNamespace(error="", cut="")
        scope = {"__name__": "__main__", "PDFS": sorted(self.letters.iterdir())}
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as printed:
            for name, value in given.items():
                patch.setenv(name, value)
            patch.setattr("time.sleep", lambda seconds: None)  # nothing takes time there, so nobody waits
            patch.setattr(set_up, "figure", lambda *_: plt.close())  # looked at elsewhere (test_account_lessons, nbval)
            patch.setattr("botocore.useragent.UserAgentString.to_string", lambda self: "x")  # a third of a call's time
            for kind, method in ((BaseClient, "_make_api_call"), (Urllib3HttpConnection, "perform_request")):
                if cut is not None:
                    patch.setattr(kind, method, killing(getattr(kind, method), cut))
            settings.cache_clear()
            if given != self._given:
                set_up.start("lesson")  # with new clients, which take longer than a run
            self._given = given
            try:
                exec(what, scope)
            except Killed as killed:
                came.cut = str(killed)
            except Exception as problem:
                told = problem if isinstance(problem, WorkshopError) else explain(problem) or problem
                came.error = f"{type(told).__name__}: {told}"
        settings.cache_clear()
        came.printed, came.left = printed.getvalue(), scope.get("left")
        return came

    def works(self, what, **env):
        came = self.run(what, **env)
        assert came.error == "" and not came.cut
        return came

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
    gc.freeze()  # so that nobody looks again and again through what all tests have loaded
    with together(account, *faults, off=off) as service:
        yield Workshop(service, folder, store)
