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

import psutil
import pytest

from helpers import sandbox
from helpers.sandbox import run
from helpers.settings import ROOT

linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's walls are Linux's")
WALLS = {"Landlock": "libc.syscall(446", "seccomp": "libc.prctl(22"}


def running(mark):
    """The processes whose command line or environment holds the mark."""
    others = [each for each in psutil.process_iter(["cmdline", "environ"]) if each.pid != os.getpid()]
    return [each for each in others if str(mark) in str(each.info)]


@pytest.fixture(autouse=True)
def scratch(tmp_path_factory, monkeypatch):
    """Put scratch folders into a folder of this test, and hold that no process and no file stays."""
    folder = tmp_path_factory.mktemp("s")  # without the test's name: 2,000 nested folders must fit into a path
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert running(folder) == list(folder.iterdir()) == []


@pytest.fixture
def outside(tmp_path):
    """A folder that is none of the code's business, with a file; it must stay as it is."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.txt").write_text("secret")
    yield folder
    (file,) = folder.iterdir()
    assert (file.name, file.read_text(), file.stat().st_mode & 0o777) == ("secret.txt", "secret", 0o644)


def test_good_code_gives_its_text_and_arrays():
    code = "import sys\nimport numpy as np\nvalue = np.arange(3.0)\nprint('héllo', __name__)\nsys.exit()"
    result = run(code, "results.update(twice=2 * answer.value, names=[['ä', 'b']], found=[True])")
    assert (result.ended, result.stdout) == ("ok", "héllo __main__\n")
    assert result.arrays["twice"].tolist() == [0.0, 2.0, 4.0]
    assert result.arrays["names"].tolist() == [["ä", "b"]] and result.arrays["found"].dtype == bool
    assert result.guards[:2] == ("audit hook", "resource limits")


def test_a_child_that_never_started_has_no_guards(monkeypatch, tmp_path):
    monkeypatch.setattr(sandbox, "CHILD", tmp_path / "none.py")
    result = run("x = 1")
    assert result.ended.startswith(EARLY) and result.guards == ()


def test_the_usual_libraries_work_whatever_the_environment_says(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "module://nowhere")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-for-you")
    code = """
        import os, tempfile, shutil, pathlib, threading, asyncio, sqlite3
        import matplotlib.pyplot as plt
        plt.plot([1, 2]); plt.savefig("figure.png"); plt.show()
        os.makedirs("a/b"); pathlib.Path("a/b/x").write_text("1"); shutil.copytree("a", "c"); shutil.rmtree("a")
        with tempfile.TemporaryFile() as file, tempfile.TemporaryDirectory() as folder: file.write(b"x")
        thread = threading.Thread(target=print, args=(1,)); thread.start(); thread.join()
        asyncio.run(asyncio.sleep(0)); sqlite3.connect("base").execute("create table x(y)")
        print(plt.get_backend(), sorted(os.listdir("c/b")), "AWS" in str(os.environ), os.path.exists("figure.png"))"""
    assert run(textwrap.dedent(code)).stdout == "1\nAgg ['x'] False True\n"


# What goes wrong by itself: the code, the checks after it, how its end is told.
EARLY = "its process ended before"
ENDINGS = [
    ("x = (1\ny = 2", "", "SyntaxError: '(' was never closed"),
    ("\0", "", "SyntaxError: source code string cannot contain null bytes"),
    ("x = '\ud800'", "", "UnicodeEncodeError"),
    ("print('\\ud800')", "", "ok"),
    ("x = 1\n\n1 / 0", "", "ZeroDivisionError: division by zero (line 3)"),
    ("def f():\n    f()\nf()", "", "RecursionError: maximum recursion depth exceeded (line 2)"),
    ("import sys\nsys.exit('no data')", "", "SystemExit: no data (line 2)"),
    ("import helpers", "", "PermissionError: open outside the scratch folder is refused"),
    ("raise KeyboardInterrupt", "", "KeyboardInterrupt (line 1)"),
    ("x = bytearray(10 * 2**30)", "", "MemoryError (line 1)"),
    ("import os\nos._exit(0)", "", EARLY + " its last line (exit status 0)"),
    ("eval((lambda: 0).__code__.replace(co_code=bytes([100, 255] * 8)))", "", EARLY),
    ("class E(Exception):\n    def __str__(self): return 1 / 0\nraise E", "", "E: <exception str() failed> (line 3)"),
    ("x = 1", "answer.y", "AttributeError: module '__main__' has no attribute 'y'"),
    ("", "results['object'] = object", "AttributeError"),
    ("", "results['large'] = 'x' * 2**24", EARLY + " its last line (exit status 1)"),
]


@pytest.mark.parametrize(("code", "checks", "told"), ENDINGS)
def test_an_ending_is_told_in_one_line(code, checks, told):
    result = run(code, checks)
    assert result.ended.startswith(told) and "\n" not in result.ended and result.arrays == {}


# Hostile programs; each has `out`, a folder that is not its own. These are refused, one after the other in one process.
REFUSED = {
    "TCP": "socket.create_connection(('127.0.0.1', 9))",
    "UDP": "socket.socket(2, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))",
    "read a secret": "print(open(out + '/secret.txt').read())",
    "read by a link": "os.symlink(out + '/secret.txt', 'l'); print(open('l').read())",
    "read by /proc": "print(open('/proc/self/root' + out + '/secret.txt').read())",
    "read variables": "print(open(f'/proc/{os.getppid()}/environ').read())",
    "list a folder": "print(os.listdir(out))",
    "list from there": "os.chdir(out); print(os.listdir())",
    "write": "open(out + '/new', 'w')",
    "write by a handle": "os.open('new', os.O_CREAT, dir_fd=os.open(sys.prefix, os.O_RDONLY))",
    "write a database": "sqlite3.connect(out + '/new').execute('create table x(y)')",
    "write into Python": "open(sys.prefix + '/new', 'w')",
    "make a folder there": "os.mkdir(sys.prefix + '/new')",
    "delete": "os.remove(out + '/secret.txt')",
    "change a mode": "os.chmod(out + '/secret.txt', 0)",
    "move in": "os.rename(out + '/secret.txt', 'mine')",
    "hard link": "os.link(out + '/secret.txt', 'mine'); open('mine', 'w')",
    "fork bomb": "while True: os.fork()",
    "shell": "subprocess.run('sleep 60 &', shell=True, start_new_session=True)",
    "pool of processes": "import multiprocessing; multiprocessing.get_context('fork').Pool()",
    "kill its parent": "os.kill(os.getppid(), 9)",
    "C library": "ctypes.CDLL(None).fork()",
    "lift its limits": "import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
}
# These undo the hook first; then only the kernel refuses.
UNDO = """
frame = sys._getframe()
while "hook" not in frame.f_globals: frame = frame.f_back
frame.f_globals["hook"] = lambda *_: None
libc = ctypes.CDLL(None, use_errno=True)
def call(done):
    if done == -1: raise PermissionError(os.strerror(ctypes.get_errno()))
"""
UNDONE = {
    "fork": "call(libc.fork())",
    "daemon": "if os.fork() == 0 and os.setsid() and os.fork() == 0: input()",
    "program": "call(libc.execl(b'/bin/sh', b'sh', b'-c', b'echo out', None))",
    "read": "print(open(out + '/secret.txt').read())",
    "write": "open(out + '/new', 'w')",
    "delete": "os.remove(out + '/secret.txt')",
    "TCP": "socket.socket()",
    "memory": "call(libc.memfd_create(b'x', 0))",
    "shared memory": "call(libc.shmget(0, 1 << 30, 0o1600))",
    "unmount": "os.chdir('/'); call(libc.umount2(os.environ['HOME'].encode(), 2))",
    "namespaces": "call(libc.unshare(0x10000000))",
}
# Each in a process of its own, with a limit of 1 s: how it ends.
EACH_FILE = "import contextlib\nfor n in range(3, 40):\n  with contextlib.suppress(OSError): "
TIME, SPACE = "stopped at its time limit", r"OSError: \[Errno 28\] No space left"
FILES = r"(PermissionError|OSError: \[Errno 24\])"  # refused, or at most 40 of 16 MB
ENDS = {
    "loop": ("while True: pass", TIME),
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
    "2,000 nested folders": ("for i in range(2000): os.mkdir('d'); os.chdir('d')", f"(ok|{TIME}|left more)"),
    "locked folder": ("os.makedirs('d/e'); os.chmod('d', 0); os.chmod('.', 0)", "ok"),
    "no streams": ("os.closerange(0, 40)", EARLY),
    "no report": (EACH_FILE + "os.ftruncate(n, 0); os.pwrite(n, b'{[junk\\n', 0)", EARLY),
    "forged report": (EACH_FILE + "os.write(n, b'[\"ok \\\\ud800\", {\"a\": [[1], 2]}]')\nos._exit(0)", EARLY),
    "own modules": ("for name in [*sys.modules]: sys.modules[name] = None", ""),
}  # fmt: skip
MODES = {  # the walls that are off, and what then is free where the hook is undone: all else is stopped by two walls
    "every wall": ((), ()),
    "no namespaces": (("namespaces",), ()),
    "no Landlock": (("Landlock",), ("read", "write", "delete")),
    "no seccomp": (("seccomp",), ("fork", "daemon", "memory", "shared memory", "TCP", "namespaces")),
    "the hook alone": (("namespaces", "Landlock", "seccomp"), (*UNDONE,)),  # as the docstring of helpers.sandbox says
}
TRY = """
for name, code in {programs!r}.items():
    os.chdir(os.environ["HOME"])
    try:
        exec(code)
    except OSError as error:
        results.setdefault("refused", []).append(name)
"""


def attempt(code, outside, checks="", timeout=20.0):
    """Run a hostile program; what holds in every mode is asserted here."""
    start = time.monotonic()
    header = f"import ctypes, os, socket, sqlite3, subprocess, sys\nout = {str(outside)!r}\n"
    result = run(header + code, header + checks, timeout=timeout)
    assert time.monotonic() - start < 20  # generous, for the machine may be busy; a miss takes a minute or more
    assert "secret" not in result.stdout
    assert len(result.stdout) <= sandbox.OUTPUT
    assert result.ended and "\n" not in result.ended
    return result


@linux
@pytest.mark.parametrize("mode", MODES)
def test_hostile_programs_meet_walls(mode, outside, tmp_path, monkeypatch, report):
    off, free = MODES[mode]
    text = sandbox.CHILD.read_text(encoding="utf-8")
    for wall in WALLS.keys() & off:
        assert text.count(WALLS[wall]) == 1
        text = text.replace(WALLS[wall], f"None and {WALLS[wall]}")
    (tmp_path / "child.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr(sandbox, "CHILD", tmp_path / "child.py")
    if "namespaces" in off:
        monkeypatch.setattr(sandbox, "_namespaces", tuple)
    guards = run("").guards
    assert not {*off} & {*guards}
    if missing := {"namespaces", *WALLS} - {*off, *guards}:
        pytest.skip(f"this machine does not permit {missing}")

    groups = [({name: code for name, code in UNDONE.items() if name not in free}, UNDO)]
    groups += [(REFUSED, "")] if mode in ("every wall", "the hook alone") else []
    for programs, before in groups:
        tried = {**programs, "control": "open('mine', 'w')"}
        result = attempt("", outside, before + TRY.format(programs=tried))
        assert (result.ended, [*result.arrays.get("refused", [])]) == ("ok", [*programs])
    # What no wall has a part in is tried against all of them only.
    tried = {"every wall": "", "the hook alone": SPACE}.get(mode, "none")
    ends = {name: how for name, how in ENDS.items() if tried in how[1]}
    wrong = {}
    for name, (code, ending) in ends.items():
        result = attempt(code, outside, "results['mine'] = [1.0]", timeout=0.4 if ending == TIME else 1)
        ending = ending if "namespaces" in guards or ending != SPACE else "left more than"
        late = ending not in ("ok", EARLY) and result.ended.startswith(TIME)  # as may be on a busy machine
        if not (late or re.match(ending, result.ended)) or result.arrays not in ({}, {"mine": [1.0]}):
            wrong[name] = result
    held = len(ends) - len(wrong) + sum(len(programs) for programs, _ in groups)
    report(f"hostile programs against {', '.join(guards)}: {held} held")
    assert wrong == {}


# The caller's side
@linux
def test_a_killed_kernel_takes_the_child_and_its_folder_along(scratch):
    for walls in ("", "sandbox._namespaces = tuple; "):
        code = "open('x', 'w')\nwhile True: pass"
        caller = f"from helpers import sandbox; {walls}sandbox.run({code!r}, timeout=60)"
        process = subprocess.Popen([sys.executable, "-c", caller], env={**os.environ, "TMPDIR": str(scratch)})
        while not any("child.py" in str(each.info["cmdline"]) for each in running(scratch)):
            time.sleep(0.02)
        assert list(scratch.iterdir())  # both are the controls of the fixture
        time.sleep(0.5)  # the caretaker is told a moment later
        process.kill()
        process.wait()
        deadline = time.monotonic() + 30
        while (list(scratch.iterdir()) or running(scratch)) and time.monotonic() < deadline:
            time.sleep(0.02)  # the fixture says what stays


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
