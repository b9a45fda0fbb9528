"""The sandbox: every kind of bad answer gives a clear verdict, harms nothing, and leaves nothing running."""

import ast
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from helpers import sandbox
from helpers.sandbox import Run, Verdict, run_answer, run_python

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX calls")


def running(mark: str) -> list[str]:
    """Return the processes whose command line or environment holds the mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
                text = " ".join([*process.cmdline(), *process.environ().values()])
                found += [text] if mark in text else []
        except psutil.Error:
            continue
    return found


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Put scratch folders into a folder of this test, and hold that no process and no file stays."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert running(str(folder)) == []
    assert list(folder.iterdir()) == []


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "kept.txt").write_text("kept")
    return folder


def test_the_scan_for_processes_sees_a_run(scratch: Path) -> None:
    seen: list[list[str]] = []
    run_python(
        "print(1, flush=True); import time; time.sleep(0.2)",
        on_output=lambda _: seen.append(running(str(scratch))),
    )
    assert seen and seen[0]


def test_good_code_gives_its_output_files_and_arrays() -> None:
    code = "import numpy as np\nprint('héllo')\nopen('note.txt', 'w').write('done')\nvalue = np.arange(3.0)"
    run = run_python(
        code, harness="results['twice'] = 2 * answer.value", files={"in.txt": "x", "sub/in.bin": b"\0"}
    )
    assert (run.verdict, run.stdout, run.stderr) == (Verdict.OK, "héllo\n", "")
    assert run.sentence == "The code ran to its end."
    assert run.files == {"note.txt": b"done", "in.txt": b"x", "sub/in.bin": b"\0"}
    assert run.arrays["twice"].tolist() == [0.0, 2.0, 4.0]
    assert run.refused == () and "audit hook" in run.guards and 0 < run.seconds < 20


def test_the_usual_program_runs_as_a_script() -> None:
    code = (
        "import sys\ndef main():\n    print(__name__)\n    sys.exit()\nif __name__ == '__main__':\n    main()"
    )
    run = run_python(code, harness="results['ran'] = [callable(answer.main)]")
    assert (run.verdict, run.stdout, run.arrays["ran"].tolist()) == (Verdict.OK, "__main__\n", [True])


def test_figures_come_back_as_pictures() -> None:
    run = run_python("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()")
    assert (run.verdict, run.stderr, run.refused) == (Verdict.OK, "", ())
    assert run.files["figure_1.png"].startswith(b"\x89PNG")


def test_scikit_learn_fits_into_the_limits() -> None:
    run = run_python("from sklearn.datasets import load_digits\nprint(load_digits().images.shape)")
    assert (run.verdict, run.stdout, run.refused) == (Verdict.OK, "(1797, 8, 8)\n", ())


def test_secrets_and_the_workshop_are_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-for-you")
    run = run_python(
        "import os\nprint(dict(os.environ))\ntry:\n    input()\nexcept EOFError:\n    print('no stdin')"
    )
    assert "not-for-you" not in run.stdout and "AWS" not in run.stdout and run.stdout.endswith("no stdin\n")
    assert run_python("import helpers").verdict in (Verdict.ERROR, Verdict.READ_REFUSED)


# Answers in Markdown


def answer(*blocks: str) -> str:
    return "Here it is.\n" + "\n".join(f"```python\n{block}\n```" for block in blocks)


def test_an_answer_without_code() -> None:
    run = run_answer("I would rather explain.\n```\ninput -> conv -> output\n```")
    assert (run.verdict, run.sentence) == (Verdict.NO_CODE, "The answer has no Python code block.")


def test_an_answer_with_two_blocks_runs_as_one_program() -> None:
    run = run_answer(answer("def f():\n    return 7", "print(f())") + "\n```bash\nrm -rf /\n```")
    assert (run.verdict, run.stdout) == (Verdict.OK, "7\n")


def test_an_answer_cut_in_its_block_is_not_run() -> None:
    run = run_answer("```python\nprint('ran')\nx = (")
    assert (run.verdict, run.stdout) == (Verdict.INCOMPLETE, "")
    assert run.sentence == "The answer stops inside a code block: get the rest of it first."


# What goes wrong by itself


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("x = (1\ny = 2", "The code stopped with SyntaxError: '(' was never closed (line 1)."),
        ("x = 1\n\n1 / 0", "The code stopped with ZeroDivisionError: division by zero (line 3)."),
        (
            "def f():\n    f()\nf()",
            "The code stopped with RecursionError: maximum recursion depth exceeded (line 2).",
        ),
        ("import sys\nsys.exit(3)", "The code stopped with SystemExit: 3 (line 2)."),
        ("import sys\nsys.exit('no data')", "The code stopped with SystemExit: no data (line 2)."),
        (
            "import nosuchmodule",
            "The code stopped with ModuleNotFoundError: No module named 'nosuchmodule' (line 1).",
        ),
        (
            "import os\nos._exit(0)",
            "The code stopped with the end of its process before its last line (exit status 0).",
        ),
        ("raise KeyboardInterrupt", "The code stopped with KeyboardInterrupt (line 1)."),
    ],
)
def test_an_error_is_told_with_its_line(code: str, sentence: str) -> None:
    run = run_python(code)
    assert (run.verdict, run.sentence, run.refused) == (Verdict.ERROR, sentence, ())
    assert "child.py" not in run.stderr


def test_a_crash_of_the_interpreter_is_an_error() -> None:
    run = run_python("eval((lambda: 0).__code__.replace(co_code=bytes([100, 255] * 8)))")
    assert run.verdict is Verdict.ERROR and "the end of its process" in run.sentence


def test_an_error_of_the_harness_is_told_too() -> None:
    run = run_python("x = 1", harness="answer.y")
    assert (run.verdict, run.arrays) == (Verdict.ERROR, {})
    assert "has no attribute 'y'" in run.sentence


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("while True: pass", id="loop"),
        pytest.param("import time\ntime.sleep(60)", id="sleep"),
        pytest.param(
            "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()", id="thread"
        ),
        pytest.param(
            "import threading as t\ndef f():\n    while 1: pass\nfor _ in 'abc': t.Thread(target=f).start()",
            id="threads",
        ),
        pytest.param(
            "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
            id="catches everything",
        ),
        pytest.param(
            "from signal import *\nfor s in set(Signals) - {9, 19}:\n    signal(s, SIG_IGN)\nwhile 1: pass",
            id="ignores signals",
            marks=posix,
        ),
        pytest.param("import atexit, time\natexit.register(time.sleep, 60)", id="at exit"),
        pytest.param(
            "class A:\n    def __del__(self):\n        while True: pass\na = A()\ndel a", id="destructor"
        ),
    ],
)
def test_endless_code_is_stopped_and_what_it_printed_is_kept(code: str) -> None:
    started = time.monotonic()
    run = run_python("print('begun')\n" + code, timeout=0.6)
    assert (run.verdict, run.stdout) == (Verdict.TIMED_OUT, "begun\n")
    assert run.sentence == "The code was stopped at its time limit, 0.6 s."
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("x = bytearray(10 * 2**30)", id="bytearray"),
        pytest.param("import numpy as np\nx = np.ones(10 * 2**27)", id="numpy"),
        pytest.param("x = []\nwhile True: x.append(bytes(10**6))", id="bit by bit"),
        pytest.param(
            "x = []\ntry:\n    x = 'a' * 10 * 2**30\nexcept MemoryError as e:\n    raise RuntimeError from e",
            id="wrapped",
        ),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel enforces the memory limit on Linux only")
def test_too_much_memory(code: str) -> None:
    run = run_python(code, memory_mb=384)
    assert (run.verdict, run.sentence) == (
        Verdict.OUT_OF_MEMORY,
        "The code needed more memory than its limit, 384 MB.",
    )


def test_memory_is_watched_where_the_kernel_sets_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_LINUX", False)
    run = run_python("x = b'x' * (400 << 20)\nwhile True: pass", memory_mb=200, timeout=10)
    assert run.verdict is Verdict.OUT_OF_MEMORY


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("while True: print('x' * 1000)", id="stdout"),
        pytest.param("import sys\nwhile True: print('x' * 1000, file=sys.stderr)", id="stderr"),
        pytest.param("import os\nwhile True: os.write(1, b'x' * 10**6)", id="descriptor"),
        pytest.param(
            "with open('big', 'wb') as f:\n    while True: f.write(bytes(10**6))", id="one file", marks=posix
        ),
        pytest.param(
            "import itertools\nfor i in itertools.count(): open(str(i), 'w').close()", id="many files"
        ),
    ],
)
def test_too_much_output(code: str) -> None:
    run = run_python(code)
    assert run.verdict is Verdict.TOO_MUCH_OUTPUT
    assert len(run.stdout) <= 2 * sandbox.OUTPUT_KB * 1024 and len(run.stderr) <= sandbox.OUTPUT_KB * 1024


# What reaches outside


@pytest.mark.parametrize(
    "code",
    [
        "import socket\nsocket.create_connection(('127.0.0.1', 9))",
        "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))",
        "import socket\nsocket.create_server(('127.0.0.1', 0))",
        "import urllib.request\nurllib.request.urlopen('https://example.com')",
        "from urllib.request import *\ntry:\n    urlopen('http://a.com')\nexcept OSError:\n    exit(1)",
        "import http.client\nhttp.client.HTTPConnection('127.0.0.1', 9).request('GET', '/')",
    ],
)
def test_the_network_is_refused(code: str) -> None:
    run = run_python(code)
    assert run.verdict is Verdict.NETWORK_REFUSED
    assert run.sentence.startswith("The code tried to use the network: socket.")


def test_a_refusal_that_the_code_catches_is_told() -> None:
    run = run_python(
        "import socket\ntry:\n    socket.gethostbyname('example.com')\nexcept OSError:\n    print('offline')"
    )
    assert (run.verdict, run.stdout, run.refused) == (
        Verdict.OK,
        "offline\n",
        ("network refused: socket.gethostbyname",),
    )
    assert run.sentence.endswith(
        "One call was not allowed on the way: network refused: socket.gethostbyname."
    )


WRITES = [
    "open(out + '/new.txt', 'w')",
    "open(out + '/kept.txt', 'a').write('!')",
    "open(out + '/kept.txt', 'r+')",
    "os.open(out + '/new.txt', os.O_CREAT | os.O_WRONLY)",
    "os.open('new.txt', os.O_CREAT | os.O_RDWR, dir_fd=os.open(out, os.O_RDONLY))",
    "pathlib.Path(out, 'new.txt').write_text('x')",
    "pathlib.Path(out, 'new.txt').touch()",
    "pathlib.Path(out, 'kept.txt').unlink()",
    "os.path.relpath(out); open(os.path.relpath(out) + '/new.txt', 'w')",
    "os.chdir(out); open('new.txt', 'w')",
    "shutil.copy('own.txt', out)",
    "shutil.move('own.txt', out)",
    "os.rename('own.txt', out + '/new.txt')",
    "os.replace('own.txt', out + '/kept.txt')",
    "os.rename(out + '/kept.txt', 'mine.txt')",
    "os.symlink(out + '/kept.txt', 'link'); open('link', 'w')",
    "os.symlink(out, 'link'); open('link/new.txt', 'w')",
    "os.symlink('own.txt', out + '/link')",
    "os.link(out + '/kept.txt', 'hard'); open('hard', 'w')",
    "os.mkdir(out + '/new')",
    "os.rmdir(out)",
    "os.truncate(out + '/kept.txt', 0)",
    "os.chmod(out + '/kept.txt', 0)",
    "os.utime(out + '/kept.txt', (0, 0))",
    "os.mkfifo(out + '/new')",
    "import numpy as np; np.save(out + '/new.npy', np.ones(3))",
    "import numpy as np; np.memmap(out + '/new.bin', mode='w+', shape=(3,))",
    "sqlite3.connect(out + '/new.db')",
    "tempfile.mkstemp(dir=out)",
]


@posix
@pytest.mark.parametrize("code", WRITES)
def test_a_write_outside_the_scratch_folder_is_refused(code: str, outside: Path) -> None:
    before = (outside / "kept.txt").stat()
    start = f"import os, pathlib, shutil, sqlite3, tempfile\nout = {str(outside)!r}\n"
    run = run_python(start + code, files={"own.txt": "own"})
    assert run.verdict in (Verdict.WRITE_REFUSED, Verdict.READ_REFUSED), run.stderr
    assert run.sentence.startswith(("The code tried to write outside", "The code tried to read outside"))
    assert [path.name for path in outside.iterdir()] == ["kept.txt"]
    after = (outside / "kept.txt").stat()
    assert (after.st_size, after.st_mode, after.st_mtime_ns) == (
        before.st_size,
        before.st_mode,
        before.st_mtime_ns,
    )
    assert after.st_nlink == 1 and (outside / "kept.txt").read_text() == "kept"


def test_the_scratch_folder_itself_is_free_to_use() -> None:
    code = """
import os, pathlib, shutil, tempfile
os.makedirs("a/b"); pathlib.Path("a/b/x.txt").write_text("1"); shutil.copytree("a", "c"); shutil.rmtree("a")
os.rename("c/b/x.txt", "y.txt"); os.symlink("y.txt", "z"); print(open("z").read(), file=open(os.devnull, "w"))
with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as file:
    file.write(b"x"); os.listdir(folder)
"""
    run = run_python(code)
    assert (run.verdict, run.refused, run.stderr) == (Verdict.OK, (), "")
    assert run.files == {"y.txt": b"1"}  # no links


@pytest.mark.parametrize(
    "code",
    [
        "open('{out}/kept.txt')",
        "import os\nos.open('{out}/kept.txt', os.O_RDONLY)",
        "import os\nos.listdir('{out}')",
        "import pathlib\nlist(pathlib.Path('{out}').iterdir())",
        "import os\nos.symlink('{out}/kept.txt', 'link')\nprint(open('link').read())",
        "open('{home}/.aws/credentials')",
        "import os, pwd\nopen(pwd.getpwuid(os.getuid()).pw_dir + '/.aws/credentials')",
        "open('/proc/{parent}/environ')",
    ],
)
@posix
def test_a_read_outside_is_refused(code: str, outside: Path) -> None:
    run = run_python(code.format(out=outside, home=Path.home(), parent=os.getpid()))
    assert (run.verdict, run.stdout) == (Verdict.READ_REFUSED, "")


def test_the_home_folder_of_the_code_is_its_scratch_folder() -> None:
    run = run_python("import os\nprint(os.path.samefile(os.path.expanduser('~'), os.getcwd()))")
    assert run.stdout == "True\n"


@posix
@pytest.mark.parametrize(
    "code",
    [
        pytest.param("import os\nwhile True: os.fork()", id="fork bomb"),
        pytest.param("import os\nos.system(':(){ :|:& };:')", id="shell fork bomb"),
        pytest.param(
            "import multiprocessing as m\nm.get_context('fork').Process(target=print).start()", id="fork"
        ),
        pytest.param(
            "import multiprocessing as m\nm.get_context('spawn').Process(target=print).start()", id="spawn"
        ),
        pytest.param(
            "import multiprocessing as m\nm.get_context('forkserver').Process(target=print).start()",
            id="server",
        ),
        pytest.param("import subprocess\nsubprocess.run(['sleep', '60'])", id="subprocess"),
        pytest.param(
            "import subprocess\nsubprocess.Popen('sleep 60 &', shell=True, start_new_session=True)",
            id="shell",
        ),
        pytest.param("import os\nos.popen('ls')", id="popen"),
        pytest.param("import os\nos.execv('/bin/ls', ['ls'])", id="exec"),
        pytest.param("import os\nos.posix_spawn('/bin/ls', ['ls'], {})", id="posix_spawn"),
        pytest.param("import pty\npty.spawn('/bin/sh')", id="terminal"),
        pytest.param(
            "import os\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        os.read(0)",
            id="daemon",
        ),
        pytest.param("import os, signal\nos.kill(os.getppid(), signal.SIGKILL)", id="kill"),
        pytest.param("import os, signal\nos.killpg(0, signal.SIGTERM)", id="kill the group"),
        pytest.param("import ctypes\nctypes.CDLL(None).fork()", id="C library"),
        pytest.param("import ctypes\nctypes.pythonapi.system", id="loaded C library"),
        pytest.param("import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))", id="lift limits"),
    ],
)
def test_other_processes_are_refused(code: str) -> None:
    run = run_python(code, timeout=5)
    assert run.verdict is Verdict.PROCESS_REFUSED, (run.sentence, run.stderr)
    assert run.sentence.startswith("The code tried to reach outside its own process: ")


# Behind the audit hook's back: the second line of defence

FORK = """
import sys, threading, time
del sys.modules["_posixsubprocess"]
sys.audit = lambda *_: None
import subprocess, os
def stay():
    os.setsid()
    os.write(1, b"forked")
    time.sleep(60)
fork = lambda: subprocess.Popen(["x"], preexec_fn=stay)
threading.Thread(target=fork, daemon=True).start()
time.sleep(0.4)
"""


@posix
@pytest.mark.parametrize("isolated", [True, False])
def test_a_daemon_started_behind_the_hook_is_ended(isolated: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not isolated:
        monkeypatch.setattr(sandbox, "_isolation", lambda: ())
    elif not sandbox._isolation():
        pytest.skip("this machine permits no namespaces")
    run = run_python(FORK)
    assert (run.verdict, run.stdout) == (
        Verdict.OK,
        "forked",
    )  # it did start; the fixture holds that it is gone
    assert ("namespaces" in run.guards) is isolated


def kernel_holds(run: Run, guard: str) -> None:
    if guard not in run.guards:
        pytest.skip(f"this machine has no {guard}")


def test_the_kernel_refuses_writes_of_native_code(outside: Path) -> None:
    code = f"import sqlite3\nsqlite3.connect('').execute('attach ? as x', [{str(outside / 'new.db')!r}])"
    run = run_python(code)
    kernel_holds(run, "Landlock")
    assert run.verdict is Verdict.ERROR and "unable to open database" in run.sentence
    assert [path.name for path in outside.iterdir()] == ["kept.txt"]


def test_the_kernel_refuses_programs() -> None:
    run = run_python(FORK.partition("def stay")[0] + "subprocess.run(['/bin/ls', '/'], cwd='.')")
    kernel_holds(run, "Landlock")
    assert (run.verdict, run.stdout) == (Verdict.ERROR, "") and "PermissionError" in run.sentence


# The caller's side


def test_an_interrupted_run_leaves_nothing() -> None:
    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_python("print('x')\nwhile True: pass", on_output=interrupt)


def test_output_comes_while_the_code_runs() -> None:
    pieces: list[str] = []
    run = run_python(
        "import time\nfor i in range(3):\n    print(i)\n    time.sleep(0.15)", on_output=pieces.append
    )
    assert "".join(pieces) == run.stdout == "0\n1\n2\n" and len(pieces) == 3


def test_a_file_name_outside_the_scratch_folder_is_an_error() -> None:
    with pytest.raises(ValueError, match="lies outside the scratch folder"):
        run_python("x = 1", files={"../x": "y"})


def test_arrays_with_objects_do_not_come_back() -> None:
    run = run_python(
        "class A: pass", harness="import numpy as np\nresults['a'] = np.array([answer.A()], object)"
    )
    assert "a" not in run.arrays
    good = run_python("", harness="results['a'] = [1.5]")
    assert np.array_equal(good.arrays["a"], [1.5])


def test_the_child_needs_the_standard_library_only() -> None:
    tree = ast.parse(sandbox._CHILD.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names
