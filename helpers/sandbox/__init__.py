"""Run Python code that a model wrote in a separate, limited process, never in the notebook's kernel.

Everywhere: a fresh interpreter in a scratch folder, none of your variables, limits on time, output and files, and an
audit hook that refuses networks, processes, C code, and files outside; but for Windows, the system's limits on memory
and file sizes (macOS: not memory). Linux adds the kernel's own walls, which bind native code too, each where permitted:
Landlock (files, programs), seccomp (processes, networks), namespaces with a disk of 64 MB. `Run.guards` says what was
on; what stays open stands in README, SECURITY: above all, code that attacks on purpose can undo an audit hook.
"""

import functools
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen, call
from typing import Any

import numpy as np
from numpy.typing import NDArray

from helpers.language import WorkshopError, say

OUTPUT, DISK, MEMORY = 256_000, 64_000_000, 1 << 30  # bytes
CHILD = Path(__file__).with_name("child.py")
# The caretaker waits until its stdin is closed, be it that this process was killed: then nothing stays.
CARETAKER = """read group; kill -9 "-$group"; for try in 1 2 3 4 5 6 7 8 9
do rm -rf "$0" && exit; chmod -R u+rwx "$0"; sleep 0.1; done"""


class _Arrays(dict[str, NDArray[Any]]):
    def __missing__(self, name: str) -> NDArray[Any]:
        raise WorkshopError("The program left no {name!r}: ask for it by name, or take another model.", name=name)


@dataclass(frozen=True)
class Run:
    """How the code ended ("ok", or why not, in a line), what it printed, the arrays of `results`, what guarded it."""

    ended: str
    stdout: str = ""
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=_Arrays)
    guards: tuple[str, ...] = ()


def run(code: str, checks: str = "", *, timeout: float = 20.0) -> Run:
    """Run code in a separate process and say how it ended; it never raises for what the code does.

    `checks` is code of yours that runs after it in the same process: `answer` is the module the code made, and arrays
    or lists of numbers or text in the dict `results` come back. `timeout`: seconds, for both together.
    """
    job, ended, arrays = json.dumps([code, checks, MEMORY]).encode(), "", _Arrays()
    try:
        with tempfile.TemporaryFile(buffering=0) as report, tempfile.TemporaryFile(buffering=0) as out:
            report.write(job)
            report.seek(0)  # the child reads its job from its stdin, and writes the report behind it
            with _child(stdin=report, stdout=out, stderr=out) as (process, folder):
                deadline = time.monotonic() + timeout
                while process.poll() is None and not ended:
                    if time.monotonic() > deadline:
                        ended = say("stopped at its time limit, {seconds:g} s", seconds=timeout)
                    elif os.fstat(out.fileno()).st_size > OUTPUT:
                        ended = say("printed more than {size} kB", size=OUTPUT // 1000)
                    elif _used(folder) > DISK:
                        ended = say("left more than {size} MB or 1,000 files", size=DISK // 10**6)
                    time.sleep(0.02)
            report.seek(len(job))
            guards, _, told = report.read(1 << 24).decode(errors="replace").partition("\n")
            _, printed = out.seek(0), out.read(OUTPUT).decode(errors="replace")
    except OSError as error:
        return Run(say("could not be started: {error}", error=error))
    try:  # the code could have written a report of its own: JSON does no harm, and half a character is replaced
        if not ended:
            ended, results = json.loads(json.dumps(json.loads(told), ensure_ascii=False).encode(errors="replace"))
            arrays.update({name: np.array(value) for name, value in results.items()})
    except Exception:
        ended = say("its process ended before its last line (exit status {status})", status=process.returncode)
    return Run(ended, printed, arrays, tuple(map(say, filter(None, guards.split(", ")))))


@contextmanager
def _child(**streams: Any) -> Iterator[tuple[Popen[bytes], str]]:
    """Start the child in a scratch folder; both are gone at the end, also if this process is killed."""
    env = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH") if name in os.environ}
    env |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with tempfile.TemporaryDirectory(prefix="workshop-sandbox-", ignore_cleanup_errors=True) as folder:
        env |= dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP"), folder) | {"MPLBACKEND": "Agg"}
        command = [*_namespaces(), sys.executable, "-I", "-B", "-u", "-X", "utf8", str(CHILD), folder]
        waiting = ("sh", "-c", CARETAKER, folder) if os.name == "posix" else (sys.executable, "-c", "input()")
        with ExitStack() as after, Popen(waiting, stdin=PIPE, stderr=DEVNULL, start_new_session=True) as caretaker:
            process = after.enter_context(Popen(command, cwd=folder, env=env, start_new_session=True, **streams))
            after.callback(process.kill)  # after the caretaker: until then nobody else can get this number
            os.write(caretaker.stdin.fileno(), str(process.pid).encode())  # type: ignore[union-attr]
            yield process, folder


def _used(folder: str) -> int:
    """Return the bytes in the folder; each file or folder counts for 64 kB at least."""
    used = 0
    with suppress(RecursionError):
        for place, folders, files in os.walk(folder):
            for name in (*folders, *files):
                with suppress(OSError):
                    used += max(1 << 16, os.lstat(os.path.join(place, name)).st_size)
    return used


@functools.cache
def _namespaces() -> tuple[str, ...]:
    """Return the command that gives a process its own network, processes and mounts; () if it is not permitted."""
    command = ("unshare", "--user", "--map-root-user", "--net", "--pid", "--ipc", "--mount", "--fork", "--kill-child")
    return command if shutil.which("unshare") and call([*command, "true"], stderr=DEVNULL) == 0 else ()
