"""The sandbox: whatever a program does, its run ends in one line, and nothing of it stays or gets out."""

import _thread
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import pytest

from helpers import sandbox
from helpers.sandbox import run
from helpers.settings import ROOT

linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's walls are Linux's")
WALLS = {"Landlock": "libc.syscall(446", "seccomp": "libc.prctl(22"}


def running(mark: str) -> list[str]:
    """Return the processes whose command line or environment holds the mark (Linux)."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            text = (place / "cmdline").read_bytes() + (place / "environ").read_bytes()
            found += [place.name] if mark.encode() in text and place.name != str(os.getpid()) else []
        except OSError:
            continue
    return found


@pytest.fixture(autouse=True)
def scratch(tmp_path_factory, monkeypatch):
    """Put scratch folders into a folder of this test, and hold that no process and no file stays."""
    folder = tmp_path_factory.mktemp("s")  # without the test's name: 2,000 nested folders must fit into a path
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert running(str(folder)) == []
    assert list(folder.iterdir()) == []


@pytest.fixture
def outside(tmp_path):
    """A folder that is none of the code's business, with a file; it must stay as it is."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.txt").write_text("secret")
    yield folder
    (file,) = folder.iterdir()
    assert (file.name, file.read_text(), file.stat().st_mode & 0o777) == ("secret.txt", "secret", 0o644)


@pytest.fixture
def without(tmp_path, monkeypatch):
    """Switch walls of the kernel off: without("Landlock", "namespaces")."""

    def switch_off(*walls):
        text = sandbox.CHILD.read_text(encoding="utf-8")
        for wall in walls:
            if wall == "namespaces":
                monkeypatch.setattr(sandbox, "_namespaces", lambda: ())
            else:
                assert text.count(WALLS[wall]) == 1
                text = text.replace(WALLS[wall], f"None and {WALLS[wall]}")
        (tmp_path / "child.py").write_text(text, encoding="utf-8")
        monkeypatch.setattr(sandbox, "CHILD", tmp_path / "child.py")
        guards = run("").guards
        assert not set(walls) & set(guards)
        return guards

    return switch_off


def test_good_code_gives_its_text_and_arrays():
    code = "import sys\nimport numpy as np\nvalue = np.arange(3.0)\nprint('héllo', __name__)\nsys.exit()"
    result = run(code, "results.update(twice=2 * answer.value, names=[['ä', 'b']], found=[True])")
    assert (result.ended, result.stdout, result.stderr) == ("ok", "héllo __main__\n", "")
    assert result.arrays["twice"].tolist() == [0.0, 2.0, 4.0]
    assert result.arrays["names"].tolist() == [["ä", "b"]] and result.arrays["found"].dtype == bool
    assert result.guards[:2] == ("audit hook", "resource limits")


@linux
def test_the_scan_for_processes_sees_a_run(scratch):
    thread = threading.Thread(target=run, args=("import time\ntime.sleep(2)",))
    thread.start()
    wait_until(lambda: running(str(scratch)) and list(scratch.iterdir()))  # the controls of the fixture
    thread.join()


def test_the_usual_libraries_work_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "module://nowhere")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-for-you")
    code = """
        import os, tempfile, shutil, pathlib, threading, asyncio
        import matplotlib.pyplot as plt
        from sklearn.datasets import load_digits
        plt.plot([1, 2]); plt.savefig("figure.png"); plt.show()
        os.makedirs("a/b"); pathlib.Path("a/b/x").write_text("1"); shutil.copytree("a", "c"); shutil.rmtree("a")
        with tempfile.TemporaryFile() as file, tempfile.TemporaryDirectory() as folder: file.write(b"x")
        thread = threading.Thread(target=print, args=(load_digits().images.shape,)); thread.start(); thread.join()
        asyncio.run(asyncio.sleep(0))
        print(plt.get_backend(), sorted(os.listdir("c/b")), "AWS" in str(os.environ), os.path.exists("figure.png"))"""
    assert run(textwrap.dedent(code)).stdout == "(1797, 8, 8)\nAgg ['x'] False True\n"


# What goes wrong by itself
ENDINGS = {
    "x = (1\ny = 2": "SyntaxError: '(' was never closed",
    "x = 1\n\n1 / 0": "ZeroDivisionError: division by zero (line 3)",
    "def f():\n    f()\nf()": "RecursionError: maximum recursion depth exceeded (line 2)",
    "import sys\nsys.exit('no data')": "SystemExit: no data (line 2)",
    "import helpers": "PermissionError: open outside the scratch folder is refused",
    "raise KeyboardInterrupt": "KeyboardInterrupt (line 1)",
    "x = bytearray(10 * 2**30)": "MemoryError (line 1)",
    "print('\\ud800')": "ok",
    "import os\nos._exit(0)": "its process ended before its last line (exit status 0)",
    "eval((lambda: 0).__code__.replace(co_code=bytes([100, 255] * 8)))": "its process ended before its last line",
    "class E(Exception):\n    def __str__(self): return 1 / 0\nraise E": "E: <exception str() failed> (line 3)",
}


@pytest.mark.parametrize("code", ENDINGS)
def test_an_ending_is_told_in_one_line(code):
    assert run(code).ended.startswith(ENDINGS[code])


def test_an_error_of_the_checks_is_told_too():
    result = run("x = 1", "answer.y")
    assert result.ended == "AttributeError: module '__main__' has no attribute 'y'" and result.arrays == {}


def test_results_that_are_too_large_or_late_do_not_come_back():
    large = "import numpy as np\nresults['large'] = np.zeros(4 * 10**6)"  # 32 MB
    assert run("", large).ended in (EARLY + " its last line (exit status 1)", "MemoryError")
    assert run("", large, timeout=0.5).ended == "stopped at its time limit, 0.5 s"
    assert run("", "results['object'] = object").ended.startswith("AttributeError")


# Hostile programs. Each has `out`, a folder that is not its own, and a limit of 1 s; then what its end says.
UNDO = """
frame = sys._getframe()
while "hook" not in frame.f_globals: frame = frame.f_back
frame.f_globals["hook"] = lambda *_: None
libc = ctypes.CDLL(None, use_errno=True)
def call(done): print(done, os.strerror(ctypes.get_errno()))
"""
EACH_FILE = "import contextlib\nfor n in range(3, 40):\n  with contextlib.suppress(OSError): "
REFUSED, TIME, OK = "PermissionError", "stopped at its time limit", "ok"
FILES = r"(PermissionError|OSError: \[Errno 24\])"  # refused, or at most 40 of 16 MB
EARLY, SPACE = "its process ended before", r"OSError: \[Errno 28\] No space left"
HOSTILE = {
    "TCP": ("socket.create_connection(('127.0.0.1', 9))", REFUSED),
    "UDP": ("socket.socket(2, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))", REFUSED),
    "download": ("import urllib.request as u; u.urlopen('https://example.com')", ".*Error"),
    "read passwords": ("print(open('/etc/passwd').read())", REFUSED),
    "read a secret": ("print(open(out + '/secret.txt').read())", REFUSED),
    "read by a link": ("os.symlink(out + '/secret.txt', 'l'); print(open('l').read())", REFUSED),
    "read variables": ("print(open(f'/proc/{os.getppid()}/environ').read())", REFUSED),
    "read by /proc": ("print(open('/proc/self/root/etc/passwd').read())", REFUSED),
    "list a folder": ("print(os.listdir(out))", REFUSED),
    "write": ("open(out + '/new', 'w')", REFUSED),
    "write by a handle": ("os.open('new', os.O_CREAT, dir_fd=os.open(out, os.O_RDONLY))", REFUSED),
    "delete": ("os.remove(out + '/secret.txt')", REFUSED),
    "change a mode": ("os.chmod(out + '/secret.txt', 0)", REFUSED),
    "move in": ("os.rename(out + '/secret.txt', 'mine')", REFUSED),
    "hard link": ("os.link(out + '/secret.txt', 'mine'); open('mine', 'w')", REFUSED),
    "fork bomb": ("while True: os.fork()", REFUSED),
    "shell": ("subprocess.run('sleep 60 &', shell=True, start_new_session=True)", REFUSED),
    "pool of processes": ("import multiprocessing; multiprocessing.get_context('fork').Pool()", REFUSED),
    "kill its parent": ("os.kill(os.getppid(), 9)", REFUSED),
    "C library": ("ctypes.CDLL(None).fork()", REFUSED),
    "lift its limits": ("import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))", REFUSED),
    "loop": ("while True: pass", TIME),
    "sleep": ("import time; time.sleep(60)", TIME),
    "stubborn loop": ("import signal\nfor s in {*signal.Signals} - {9, 19}: signal.signal(s, signal.SIG_IGN)\n"
                      "while True:\n  try:\n    while True: pass\n  except BaseException: pass", TIME),
    "sleep at the end": ("import atexit, time; atexit.register(time.sleep, 60)", TIME),
    "threads": ("import threading as t\nwhile True: t.Thread(target=input, daemon=True).start()", ""),
    "memory at once": ("import numpy as np; x = np.ones(2**32)", "numpy._core._exceptions._ArrayMemoryError"),
    "memory bit by bit": ("x = []\nwhile True: x.append(bytes(10**6))", "MemoryError"),
    "memory in files": ("f = []\nwhile True: f.append(os.memfd_create('x')); os.write(f[-1], bytes(10**7))", FILES),
    "flood of text": ("while True: print('x' * 1000)", "printed more than 256 kB"),
    "flood of errors": ("while True: os.write(2, b'x' * 10**6)", "printed more than 256 kB|OSError"),
    "large file": ("f = open('x', 'wb')\nwhile True: f.write(bytes(10**6))", r"OSError: \[Errno 27\] File too large"),
    "many files": ("for i in range(10**6): open(str(i), 'w').close()", SPACE),
    "full disk": ("for i in range(99): open(str(i), 'wb').write(bytes(10**7))", SPACE),
    "deleted files": ("f = []\nwhile True: f.append(open('x', 'wb', 0)); f[-1].write(bytes(10**7)); os.remove('x')",
                      r"OSError: \[Errno (24|28)\]"),
    "100,000 folders": ("for i in range(10**5): os.mkdir(str(i))", SPACE),
    "2,000 nested folders": ("for i in range(2000): os.mkdir('d'); os.chdir('d')", f"({OK}|{TIME}|left more)"),
    "locked folder": ("os.makedirs('d/e'); os.chmod('d', 0); os.chmod('.', 0)", OK),
    "no streams": ("os.closerange(0, 40)", EARLY),
    "no report": (EACH_FILE + "os.ftruncate(n, 0); os.pwrite(n, b'{[junk\\n', 0)", EARLY),
    "forged report": (EACH_FILE + "os.write(n, b'[\"ok \\\\ud800\", {\"a\": [[1], 2]}]')\nos._exit(0)", EARLY),
    "own modules": ("for name in [*sys.modules]: sys.modules[name] = None", ""),
    "undo, fork": (UNDO + "call(libc.fork())", OK),
    "undo, daemon": (UNDO + "if os.fork() == 0 and os.setsid() and os.fork() == 0: input()", REFUSED),
    "undo, program": (UNDO + "call(libc.execl(b'/bin/sh', b'sh', b'-c', b'echo out', None))", OK),
    "undo, read": (UNDO + "print(open(out + '/secret.txt').read())", REFUSED),
    "undo, write": (UNDO + "open(out + '/new', 'w')", REFUSED),
    "undo, delete": (UNDO + "os.remove(out + '/secret.txt')", REFUSED),
    "undo, TCP": (UNDO + "socket.socket()", REFUSED),
    "undo, memory": (UNDO + "call(libc.memfd_create(b'x', 0)); call(libc.shmget(0, 1 << 30, 0o1600))", OK),
    "undo, unmount": (UNDO + "os.chdir('/'); call(libc.umount2(os.environ['HOME'].encode(), 2))", OK),
    "undo, namespaces": (UNDO + "call(libc.unshare(0x10000000))", OK),
}  # fmt: skip


MODES = {
    "every wall": (),
    "no namespaces": ("namespaces",),
    "no Landlock": ("Landlock",),
    "no seccomp": ("seccomp",),
    "the hook alone": ("namespaces", "Landlock", "seccomp"),
}
# What each wall alone stops, once the hook is undone; all else is stopped by two.
ALONE = {
    "Landlock": ("undo, read", "undo, write", "undo, delete"),
    "seccomp": ("undo, fork", "undo, daemon", "undo, memory", "undo, TCP", "undo, namespaces"),
}


def attempt(name, outside):
    """Run a hostile program; what holds in every mode is asserted here."""
    start = time.monotonic()
    header = f"import ctypes, os, socket, subprocess, sys\nout = {str(outside)!r}\n"
    code, ending = HOSTILE[name]
    timeout = 0.4 if ending == TIME else 1
    result = run(header + code, "results['mine'] = [1.0]", timeout=timeout)
    assert time.monotonic() - start < 20  # generous, for the machine may be busy; a miss takes a minute or more
    assert "secret" not in result.stdout and "root:" not in result.stdout
    assert max(len(result.stdout), len(result.stderr)) <= sandbox.OUTPUT
    assert result.ended and "\n" not in result.ended
    assert result.arrays == {} or result.arrays["mine"].tolist() == [1.0]
    return result


@linux
@pytest.mark.parametrize("mode", MODES)
def test_hostile_programs_meet_walls(mode, outside, without, report):
    guards = without(*MODES[mode])
    if missing := {"namespaces", "Landlock", "seccomp"} - set(MODES[mode]) - set(guards):
        pytest.skip(f"this machine does not permit {missing}")
    spared = {name for wall in MODES[mode] for name in ALONE.get(wall, ())}
    if mode == "the hook alone":  # it does not hold what undoes it: the module's docstring says so
        spared = {name for name in HOSTILE if name.startswith("undo")}
    # The whole list against all walls and against none but the hook; what undoes the hook against each wall less.
    every = mode in ("every wall", "the hook alone")
    names = [name for name in HOSTILE if name not in spared and (every or name.startswith("undo"))]
    wrong = {}
    for name in names:
        result, ending = attempt(name, outside), HOSTILE[name][1]
        disk = "namespaces" in guards or SPACE not in ending
        told = re.match(ending if disk else "left more than", result.ended)
        if ending not in (OK, REFUSED, EARLY):  # on a busy machine the time limit may come first
            told = told or result.ended.startswith(TIME)
        if not told or (name.startswith("undo, ") and ending == OK and "-1 " not in result.stdout):
            wrong[name] = result
    report(f"{len(names)} hostile programs against {', '.join(guards)}: {len(names) - len(wrong)} held")
    assert wrong == {}


# The caller's side
@linux
def test_a_killed_kernel_takes_the_child_and_its_folder_along(scratch):
    for walls in ("", "sandbox._namespaces = tuple; "):
        code = "open('x', 'w')\nwhile True: pass"
        caller = f"from helpers import sandbox; {walls}sandbox.run({code!r}, timeout=60)"
        process = subprocess.Popen([sys.executable, "-c", caller], env={**os.environ, "TMPDIR": str(scratch)})
        wait_until(lambda: any("child.py" in command(each) for each in running(str(scratch))))
        time.sleep(0.5)  # the caretaker is told a moment later
        process.kill()
        process.wait()
        wait_until(lambda: not list(scratch.iterdir()) and not running(str(scratch)))


def command(number):
    try:
        return Path(f"/proc/{number}/cmdline").read_text()
    except OSError:
        return ""


def wait_until(true):
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_interrupted_run_leaves_nothing():
    threading.Timer(0.3, _thread.interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        run("while True: pass")


@linux
@pytest.mark.skipif(not sandbox._namespaces(), reason="it takes a mount to make a full disk")
def test_a_full_folder_for_temporary_files_is_said(tmp_path):
    caller = f"import tempfile; tempfile.tempdir = '{tmp_path}'; from helpers.sandbox import run; print(run('x = 1'))"
    script = f'mount -t tmpfs -o size=4k tmpfs {tmp_path}; cat /dev/zero >{tmp_path}/full; {sys.executable} -c "$0"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, caller]
    told = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert "Run(ended='could not be started: [Errno 28] No space left on device" in told.stdout


def test_text_of_the_code_may_be_anything():
    assert run("x = '\ud800'").ended.startswith("UnicodeEncodeError")
    assert run("\0").ended == "SyntaxError: source code string cannot contain null bytes"
