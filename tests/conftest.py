"""Every test starts from the default settings and with no recording chosen."""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import botocore.loaders
import botocore.session
import pytest

from helpers import replay, workshop
from helpers.settings import PREFIX, ROOT, settings
from tests.loopback import Script, Service

_LETTERS = [os.environ.get("WORKSHOP_LETTERS_DIR"), ROOT.parent / "shared/letters", ROOT / "data/letters/originals"]
_LOADER = botocore.loaders.create_loader()
botocore.session.create_loader = lambda *_: _LOADER  # reads each service model once, not for each session


def pytest_configure(config):
    """One folder for what this run of the tests remembers (remembered.py), also of the processes that it starts."""
    if "TESTS_REMEMBERED" not in os.environ:
        os.environ["TESTS_REMEMBERED"] = folder = tempfile.mkdtemp(prefix="workshop-tests-")
        config.add_cleanup(lambda: shutil.rmtree(folder))


@pytest.fixture(autouse=True)
def clean_settings(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith((PREFIX, "AWS_"))]:
        monkeypatch.delenv(name)
    # Live-mode tests talk to services on this machine: nobody's own AWS files or proxies may play a part.
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("WORKSHOP_MODE", "replay")
    monkeypatch.setenv("WORKSHOP_STATE_FILE", str(tmp_path / "workshop.json"))
    settings.cache_clear()
    yield
    settings.cache_clear()
    replay._active = None


@pytest.fixture(scope="session")
def real_letters():
    """The folder of Amazon's own letters, or a skip where no copy is at hand."""
    for folder in map(Path, filter(None, _LETTERS)):
        if len(list(folder.glob("AMZN-20??-Shareholder-Letter.pdf"))) >= 4:
            return folder.resolve()
    pytest.skip("needs Amazon's letters: `make letters`, or WORKSHOP_LETTERS_DIR")


@pytest.fixture
def report(record_property):
    """Lines for the end of the test run, from whichever process ran the test."""
    return lambda text: record_property("report", text)


def pytest_terminal_summary(terminalreporter):
    """Print what tests reported."""
    outcomes = terminalreporter.stats
    for each in (*outcomes.get("passed", []), *outcomes.get("failed", [])):
        for name, text in each.user_properties:
            if name == "report" and each.when == "call":
                terminalreporter.write_line(f"\n{text}")


@pytest.fixture
def change(monkeypatch):
    """Set settings for one test: change(mode="live")."""

    def set_them(**values):
        for name, value in values.items():
            monkeypatch.setenv(PREFIX + name.upper(), str(value))
        settings.cache_clear()

    return set_them


@pytest.fixture
def live(change, monkeypatch):
    """Mode live, against a service that answers so: `with live(answers, *faults, **settings) as service`."""

    @contextmanager
    def start(answers, *faults, **more):
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "x")
        change(**{"mode": "live", "region": "us-west-2", **more})
        with Service(Script(answers), *faults) as service:
            monkeypatch.setenv("AWS_ENDPOINT_URL", service.url)
            workshop.start("lesson")
            yield service

    return start
