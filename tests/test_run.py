"""`make run` and the environment under it: interrupted, half-made, moved."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from helpers.settings import ROOT
from tools.notebooks import environment, execute, write
from tools.run import AT_ONCE


def notebook(path: Path, *cells: str) -> Path:
    """A notebook with these code cells."""
    write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells]), path)
    return path


def test_an_interrupt_is_one_line_and_nothing_starts_after(tmp_path):
    mark = tmp_path / "second"
    waits = f"import os, time\nos.mkdir(f'{tmp_path}/on{{os.getpid()}}')\ntime.sleep(60)"
    first = [notebook(tmp_path / f"{number}.ipynb", waits) for number in range(AT_ONCE)]
    second = notebook(tmp_path / "second.ipynb", f"open({str(mark)!r}, 'w')")
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.run", *map(str, first), str(second)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    waited_for(lambda: len([*tmp_path.glob("on*")]) == AT_ONCE)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the kernel gets it too
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.endswith("\nStopped; what was finished is under build/.\n")
    assert "FAILED" not in said and "Error" not in said
    assert not mark.exists()


def test_a_notebook_that_fails_says_after_how_many_cells(tmp_path):
    outcome = execute(notebook(tmp_path / "x.ipynb", "1", "1 / 0", "2"), environment())
    assert outcome.cells == 2 and outcome.error == "ZeroDivisionError: division by zero"


def test_without_the_loopback_interface_it_says_so_at_once(tmp_path):
    namespace = ["unshare", "--user", "--map-root-user", "--net"]
    if not shutil.which("unshare") or subprocess.run([*namespace, "true"], capture_output=True).returncode:
        pytest.skip("this system gives no namespace")
    command = [*namespace, sys.executable, "-m", "tools.run", str(notebook(tmp_path / "x.ipynb", "1"))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "loopback interface" in done.stderr


# The environment, made by a Python that only notes what it is asked


STUB = """#!/bin/sh
echo "$@" >> log
case "$*" in
*"-m venv"*) mkdir -p .venv/bin && cp python .venv/bin/python ;;
*"uv pip install"*) if [ -e slow ]; then sleep 5; fi ;;
esac
"""


@pytest.fixture
def project(tmp_path):
    """A folder with make_env.sh, lock files, and a stub of Python; `make()` runs the script."""
    folder = tmp_path / "project"
    (folder / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "tools" / "make_env.sh", folder / "tools")
    for name in ("requirements.lock", "requirements-dev.lock", "pyproject.toml"):
        (folder / name).write_text("x")
    stub = folder / "python"
    stub.write_text(STUB)
    stub.chmod(0o755)
    (folder / "log").touch()

    def make(what="run", background=False, where=folder):
        command = ["sh", str(where / "tools" / "make_env.sh"), what]
        options = {"env": {**os.environ, "PYTHON": "./python"}, "stderr": subprocess.PIPE, "text": True}
        if background:
            return subprocess.Popen(command, start_new_session=True, **options)
        (where / "log").write_text("")
        done = subprocess.run(command, timeout=60, **options)
        assert done.returncode == 0, done.stderr
        return (where / "log").read_text()

    make.folder = folder
    return make


def made(log):
    """How often an environment was made, and how often packages were installed."""
    return log.count("-m venv"), log.count("uv pip install")


def waited_for(there):
    """Wait until `there()` is true, half a minute at most."""
    limit = time.monotonic() + 30
    while not there() and time.monotonic() < limit:
        time.sleep(0.02)


def test_an_environment_is_made_once_and_renewed_when_the_lock_changes(project):
    assert made(project()) == (1, 2) and made(project()) == (0, 0)
    assert made(project("dev")) == (0, 1) and made(project("dev")) == (0, 0)
    (project.folder / "requirements.lock").write_text("y")
    assert made(project()) == (0, 2)


def test_an_environment_that_is_half_made_or_was_moved_is_made_again(project):
    python = project.folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to("/bin/false")
    assert made(project()) == (1, 2)
    assert made(project(where=project.folder.rename(project.folder.parent / "renamed"))) == (1, 2)


def test_an_interrupted_first_run_does_not_break_the_next(project):
    (project.folder / "slow").touch()
    process = project(background=True)
    waited_for(lambda: "uv pip install" in (project.folder / "log").read_text())
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(30) != 0
    (project.folder / "slow").unlink()
    assert made(project())[1] == 2 and made(project()) == (0, 0)
