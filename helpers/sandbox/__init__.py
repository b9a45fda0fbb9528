"""Run Python code that a model wrote in a separate, limited process, never in the notebook's kernel.

The guards, from the most portable to the strongest. Each works without the others:

* everywhere: a fresh interpreter (`python -I`) in a scratch folder, an environment without your variables,
  no stdin, limits on time, memory, text and files; and an audit hook that refuses network calls, other
  processes, C code through ctypes, writes outside the scratch folder, and reads outside of it, of Python's
  folders and of the system's;
* Linux and macOS: the operating system's resource limits. macOS does not enforce the one for memory: there
  and on Windows the process is watched instead, so a fast allocation can pass the limit for a moment;
* Linux, where permitted: Landlock (files, starting programs, TCP) and `unshare` (no network device; a tree of
  processes that ends as a whole). These two are the kernel's own and bind native code as well.

`Run.guards` lists what was active. This protects against the mistakes and the runaway code of an answer. It
is no wall against someone who attacks it on purpose, for Python code can undo an audit hook, and nothing here
limits the number of processes of native code run as root. Run hostile code in a container or virtual machine.
"""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from helpers.sandbox.code_blocks import python_blocks

FILES_MB = 64  # what the code may leave in its scratch folder
OUTPUT_KB = 256  # what it may print
_SMALLEST = 1 << 16  # bytes that a file counts for at least: a thousand empty files are too much as well
_CHILD = Path(__file__).with_name("child.py")
_MARK = "WORKSHOP_SANDBOX"  # the variable that all processes of a run inherit
_LINUX = sys.platform == "linux"  # where the kernel enforces the memory limit


class Verdict(StrEnum):
    """How a run ended."""

    OK = "ok"
    ERROR = "error"
    TIMED_OUT = "timed out"
    OUT_OF_MEMORY = "out of memory"
    TOO_MUCH_OUTPUT = "too much output"
    NETWORK_REFUSED = "network refused"
    WRITE_REFUSED = "write refused"
    READ_REFUSED = "read refused"
    PROCESS_REFUSED = "process refused"
    NO_CODE = "no code"
    INCOMPLETE = "incomplete block"


_SENTENCES = {
    Verdict.OK: "The code ran to its end.",
    Verdict.ERROR: "The code stopped with {detail}.",
    Verdict.TIMED_OUT: "The code was stopped at its time limit, {timeout:g} s.",
    Verdict.OUT_OF_MEMORY: "The code needed more memory than its limit, {memory_mb} MB.",
    Verdict.TOO_MUCH_OUTPUT: f"The code printed over {OUTPUT_KB} kB or left {FILES_MB} MB or 1,000 files.",
    Verdict.NETWORK_REFUSED: "The code tried to use the network: {detail}. It has none here.",
    Verdict.WRITE_REFUSED: "The code tried to write outside its scratch folder: {detail}.",
    Verdict.READ_REFUSED: "The code tried to read outside its scratch folder: {detail}.",
    Verdict.PROCESS_REFUSED: "The code tried to reach outside its own process: {detail}.",
}


@dataclass(frozen=True)
class Run:
    """What came back: a verdict, its sentence, text, seconds of wall time, files, the harness's arrays."""

    verdict: Verdict
    sentence: str
    stdout: str = ""
    stderr: str = ""
    seconds: float = 0.0
    files: Mapping[str, bytes] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    refused: tuple[str, ...] = ()  # every refused call, also where the code caught the error and went on
    guards: tuple[str, ...] = ()


def run_answer(markdown: str, **options: Any) -> Run:
    """Run the Python code of a model's Markdown answer; the options are those of `run_python`."""
    blocks = python_blocks(markdown)
    if not blocks:
        return Run(Verdict.NO_CODE, "The answer has no Python code block.")
    if not all(block.complete for block in blocks):
        return Run(Verdict.INCOMPLETE, "The answer stops inside a code block: get the rest of it first.")
    return run_python("\n".join(block.code for block in blocks), **options)


def run_python(
    code: str,
    *,
    harness: str | None = None,
    files: Mapping[str, str | bytes] | None = None,
    timeout: float = 20.0,
    memory_mb: int = 1024,
    on_output: Callable[[str], object] | None = None,
) -> Run:
    """Run code in a separate process and say how it ended; it never raises for what the code does.

    `harness` is code of yours that runs after it in the same process: `answer` is the module the code made,
    and arrays in the dict `results` come back as `Run.arrays`. `files` go into the scratch folder first;
    what is there at the end comes back as `Run.files`, open matplotlib figures as figure_1.png and so on.
    `on_output` gets what the code prints, as it comes. `timeout` is in seconds, code and harness together.
    Raises ValueError for the name of a file that would lie outside the scratch folder.
    """
    marker = f"workshop-sandbox-{uuid.uuid4().hex}"
    with tempfile.TemporaryDirectory(prefix=marker, ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        work = folder / "work"
        _fill(work, {"answer.py": code, **(files or {})})
        job = {
            "harness": harness,
            "seconds": timeout,
            "memory_mb": memory_mb,
            "file_mb": FILES_MB,
            "linux": _LINUX,
        }
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        started = time.monotonic()
        verdict, stdout, status = _watch(folder, marker, timeout, memory_mb, on_output)
        seconds = time.monotonic() - started
        with (folder / "stderr").open(encoding="utf-8", errors="replace") as stream:
            stderr = stream.read(OUTPUT_KB * 1024)
        try:
            report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
            report = {"verdict": "error", "detail": f"the end of its process before its last line ({how})"}
        verdict = verdict or Verdict(report["verdict"])
        sentence = _SENTENCES[verdict].format(detail=report["detail"], timeout=timeout, memory_mb=memory_mb)
        refused, guards = tuple(report.get("refused", ())), tuple(report.get("guards", ()))
        if refused and verdict is Verdict.OK:
            sentence += f" One call was not allowed on the way: {refused[0]}."
        kept = {path: (work / path).read_bytes() for path, size in _contents(work) if size <= FILES_MB << 20}
        kept = {path: data for path, data in kept.items() if path != "answer.py" and not path.startswith(".")}
        return Run(verdict, sentence, stdout, stderr, seconds, kept, _arrays(folder), refused, guards)


def _fill(work: Path, files: Mapping[str, str | bytes]) -> None:
    work.mkdir()
    for name, content in files.items():
        path = (work / name).resolve()
        if not path.is_relative_to(work):
            raise ValueError(f"{name!r} lies outside the scratch folder: give a name such as 'digits.npz'.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    import matplotlib.font_manager  # makes its list of fonts if there is none: lend it, for it takes seconds

    (work / ".matplotlib").mkdir()
    for cache in Path(matplotlib.get_cachedir()).glob("fontlist-*.json"):
        shutil.copy(cache, work / ".matplotlib")


def _watch(
    folder: Path, marker: str, timeout: float, memory_mb: int, on_output: Callable[[str], object] | None
) -> tuple[Verdict | None, str, int]:
    """Start the child, stop it at a limit; return the limit's verdict (None if none), stdout and status."""
    work, stdout = folder / "work", ""
    options = ["-I", "-B", "-u", "-X", "utf8", "-W", "ignore:FigureCanvasAgg is non-interactive"]
    with (
        (folder / "stdout").open("wb") as out,
        (folder / "stderr").open("wb") as err,
        (folder / "stdout").open(encoding="utf-8", errors="replace") as printed,
    ):
        process = subprocess.Popen(
            [*_isolation(), sys.executable, *options, str(_CHILD), str(folder)],
            cwd=work,
            env=_environment(work) | {_MARK: marker},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        verdict, ended, deadline = None, False, time.monotonic() + timeout
        try:
            while not (ended or verdict):
                ended = process.poll() is not None
                text = printed.read(OUTPUT_KB * 1024)
                stdout += text
                if text and on_output:
                    on_output(text)
                printed_bytes = max(len(stdout), os.fstat(err.fileno()).st_size)
                file_bytes = sum(max(size, _SMALLEST) for _, size in _contents(work))
                if printed_bytes >= OUTPUT_KB * 1024 or file_bytes > FILES_MB << 20:
                    verdict = Verdict.TOO_MUCH_OUTPUT
                elif not ended and time.monotonic() > deadline:
                    verdict = Verdict.TIMED_OUT
                elif not (ended or _LINUX) and _resident(process.pid) > memory_mb << 20:
                    verdict = Verdict.OUT_OF_MEMORY
                elif not ended:
                    time.sleep(0.02)
        finally:
            _stop(process, marker)
    return verdict, stdout, process.returncode


def _environment(work: Path) -> dict[str, str]:
    keep = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH")  # what an interpreter may need to start
    threads = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")  # each more reserves memory
    return (
        {name: os.environ[name] for name in keep if name in os.environ}
        | dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP"), str(work))
        | dict.fromkeys(threads, "1")
        | {"MPLBACKEND": "Agg", "MPLCONFIGDIR": str(work / ".matplotlib")}
    )


@functools.cache
def _isolation() -> tuple[str, ...]:
    """Return the command that gives a process its own network and process namespaces, () if refused."""
    command = ("unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child")
    with suppress(OSError):
        if subprocess.run([*command, "true"], capture_output=True).returncode == 0:
            return command
    return ()


def _stop(process: subprocess.Popen[bytes], marker: str) -> None:
    """Kill the child and all that carries its marker in the environment, also what left its session."""
    process.kill()
    process.wait()
    for _ in range(100):
        left = [other for other in psutil.process_iter() if _carries(other, marker)]
        for other in left:
            with suppress(psutil.Error):
                other.kill()
        if not left:
            return
        psutil.wait_procs(left, timeout=0.1)
    raise RuntimeError(f"Processes of the code still run; end them by hand: {[other.pid for other in left]}")


def _carries(process: psutil.Process, marker: str) -> bool:
    with suppress(psutil.Error, OSError):
        return process.status() != psutil.STATUS_ZOMBIE and bool(process.environ().get(_MARK) == marker)
    return False


def _resident(pid: int) -> int:
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        return sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))
    return 0


def _contents(work: Path) -> Iterator[tuple[str, int]]:
    """Yield name and bytes of each regular file; links are left out, for they may point anywhere."""
    for folder, _, names in os.walk(work):
        for path in (Path(folder, name) for name in names):
            with suppress(OSError):
                if path.is_file() and not path.is_symlink():
                    yield path.relative_to(work).as_posix(), path.stat().st_size


def _arrays(folder: Path) -> dict[str, NDArray[Any]]:
    with (
        suppress(OSError, ValueError, EOFError),
        np.load(folder / "arrays.npz", allow_pickle=False) as arrays,
    ):
        return dict(arrays)
    return {}
