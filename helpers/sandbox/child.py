"""The child of `helpers.sandbox`, a script of its own: lock the doors, run the code, write a report."""

import builtins
import contextlib
import ctypes
import errno
import importlib
import json
import os
import signal
import struct
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

# fmt: off
SYSTEM = (
    "/usr", "/lib", "/lib64", "/etc", "/opt", "/nix", "/dev/null", "/dev/zero", "/dev/random", "/dev/urandom",
    "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys/devices/system",
    "/System", "/Library", "C:\\Windows",
)
PROCESS = (
    "os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.startfile",
    "os.startfile/2", "os.kill", "os.killpg", "pty.spawn", "subprocess.Popen", "_winapi.CreateProcess",
    "_winapi.OpenProcess", "ctypes.dlopen", "ctypes.dlsym", "ctypes.dlsym/handle", "ctypes.call_function",
    "resource.setrlimit", "resource.prlimit",
)
HARMLESS = ("socket.__new__", "socket.gethostname")  # an event loop makes a socket pair of its own
WRITE = (
    "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.chmod", "os.chown", "os.chflags", "os.utime",
    "os.setxattr", "os.removexattr", "os.rename", "os.link", "os.symlink", "sqlite3.connect",
)
UNAUDITED = (
    ("process", "_posixsubprocess", "fork_exec"), ("write", "_posixshmem", "shm_open"),
    ("write", "posix", "mkfifo"), ("write", "posix", "mknod"),
    ("write", "os", "mkfifo"), ("write", "os", "mknod"),
)
# fmt: on


class Refused(PermissionError):
    """A call that the sandbox does not allow."""

    def __init__(self, kind: str, what: str) -> None:
        super().__init__(f"{kind} refused: {what}")
        self.kind, self.what = kind, what


def main(folder: Path) -> None:
    """Run folder/work/answer.py as job.json asks, and leave report.json and arrays.npz in the folder."""
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    work = folder / "work"
    source = (work / "answer.py").read_text(encoding="utf-8")
    refused: list[str] = []
    guards = ["audit hook"]
    report = (folder / "report.json").open("w", encoding="utf-8")
    arrays = (folder / "arrays.npz").open("wb")

    def finish(verdict: str, detail: str = "") -> None:
        json.dump({"verdict": verdict, "detail": detail, "refused": refused[:20], "guards": guards}, report)
        report.close()

    def out_of_time(*_: object) -> NoReturn:
        finish("timed out")
        os._exit(1)

    interpreter = {os.path.realpath(place) for place in (sys.prefix, sys.base_prefix, sys.exec_prefix)}
    readable = [*interpreter, sys.prefix, *SYSTEM, os.path.realpath("/proc/self"), os.path.realpath(__file__)]
    sys.path[:] = [place for place in sys.path if _inside(place, readable)]
    if _limit_resources(job, out_of_time):
        guards.append("resource limits")
    if os.getpid() == 1:
        guards.append("namespaces")
    if _landlock(str(work), readable):
        guards.append("Landlock")
    sys.addaudithook(_hook(str(work), readable, refused))
    _replace_unaudited(refused)

    answer = sys.modules["__main__"] = ModuleType("__main__")
    answer.__dict__.update(__builtins__=builtins, __file__=str(work / "answer.py"))
    results: dict[str, Any] = {}
    try:
        _execute(compile(source, "answer.py", "exec", dont_inherit=True), answer.__dict__)
        if job["harness"]:
            scope = {"__name__": "harness", "answer": answer, "results": results}
            _execute(compile(job["harness"], "harness.py", "exec", dont_inherit=True), scope)
        if pyplot := sys.modules.get("matplotlib.pyplot"):
            for number in pyplot.get_fignums():
                pyplot.figure(number).savefig(work / f"figure_{number}.png")
        if results:
            importlib.import_module("numpy").savez(arrays, **results)
    except BaseException as error:
        answer.__dict__.clear()  # give memory back before the report needs some
        results.clear()
        traceback.clear_frames(error.__traceback__)
        finish(*_verdict(error))
        with contextlib.suppress(Exception):  # the code may have closed or replaced the streams
            print(_traceback(error), end="", file=sys.stderr, flush=True)
            sys.stdout.flush()
        os._exit(1)
    arrays.close()
    finish("ok")


def _execute(code: Any, scope: dict[str, Any]) -> None:
    try:
        exec(code, scope)
    except SystemExit as error:
        if error.code not in (None, 0):
            raise


def _verdict(error: BaseException) -> tuple[str, str]:
    """Name the verdict of an exception, or of one it came from, and the line that led to it."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == "answer.py"]
    place = f" (line {lines[-1]})" if lines else ""
    link: BaseException | None = error
    while link:
        if isinstance(link, Refused):
            return f"{link.kind} refused", link.what + place
        if isinstance(link, MemoryError):
            return "out of memory", ""
        if isinstance(link, OSError) and link.errno == errno.EFBIG:
            return "too much output", ""
        link = link.__cause__ or link.__context__
    if isinstance(error, SyntaxError):
        return "error", f"{type(error).__name__}: {error.msg} (line {error.lineno})"
    return "error", traceback.format_exception_only(error)[-1].strip() + place


def _traceback(error: BaseException) -> str:
    """Return the traceback without the frames of this file: the learner's begins in the answer."""
    whole = traceback.TracebackException.from_exception(error, lookup_lines=False)
    link: traceback.TracebackException | None = whole
    while link:
        link.stack[:] = [frame for frame in link.stack if frame.filename != __file__]
        link = link.__cause__ or link.__context__
    return "".join(whole.format())


def _inside(path: str, roots: list[str]) -> bool:
    path = os.path.normcase(os.path.abspath(path))
    return any(path == root or path.startswith(root + os.sep) for root in map(os.path.normcase, roots))


def _hook(work: str, readable: list[str], refused: list[str]) -> Callable[[str, tuple[Any, ...]], None]:
    """Return the audit hook (PEP 578) that refuses what leaves the scratch folder."""

    def deny(kind: str, what: str) -> NoReturn:
        refused.append(f"{kind} refused: {what}")
        raise Refused(kind, what)

    def check(kind: str, event: str, path: Any) -> None:
        if isinstance(path, int):  # a file that is open already
            return
        path = os.fsdecode("." if path is None else path)
        real = os.path.realpath(path)
        if _inside(real, [work, *(readable if kind == "read" else [os.devnull])]):
            return
        if kind == "write" or not _inside(path, readable):  # a link inside Python's own folders is trusted
            deny(kind, f"{event} {path}")

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = args
            writing = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
            handle = mode is None and os.path.isdir(path)  # of a folder: it could serve as dir_fd
            check("write" if writing or handle else "read", event, path)
        elif event in WRITE:
            first, last = {"os.rename": (0, 2), "os.link": (0, 2), "os.symlink": (1, 2)}.get(event, (0, 1))
            for path in args[first:last]:
                check("write", event, path)
        elif event in ("os.listdir", "os.scandir"):
            check("read", event, args[0])
        elif event in PROCESS:
            deny("process", event)
        elif event.startswith("socket.") and event not in HARMLESS:
            deny("network", event)

    return hook


def _replace_unaudited(refused: list[str]) -> None:
    """Refuse the calls that start a process or make a file without raising an audit event."""
    for kind, module, name in UNAUDITED:

        def refuse(*_: object, kind: str = kind, what: str = f"{module}.{name}", **__: object) -> NoReturn:
            refused.append(f"{kind} refused: {what}")
            raise Refused(kind, what)

        with contextlib.suppress(ImportError):
            vars(importlib.import_module(module))[name] = refuse


def _limit_resources(job: dict[str, Any], out_of_time: Callable[..., NoReturn]) -> bool:
    if sys.platform == "win32":
        return False
    import resource

    cpu = int(job["seconds"]) + 2
    limits = {"CORE": 0, "NOFILE": 256, "FSIZE": job["file_mb"] << 20, "CPU": cpu}
    if job["linux"]:
        limits["AS"] = job["memory_mb"] << 20
    if os.getpid() == 1:
        limits["NPROC"] = 64  # counted within the namespace; it does not hold for root
    for name, wanted in limits.items():
        with contextlib.suppress(ValueError, OSError):
            number = getattr(resource, f"RLIMIT_{name}")
            hard = resource.getrlimit(number)[1]
            value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(number, (value, value if name != "CPU" else value + 2))
    signal.signal(signal.SIGXCPU, out_of_time)
    signal.signal(signal.SIGALRM, out_of_time)
    signal.setitimer(signal.ITIMER_REAL, job["seconds"] + 5)  # in case the notebook is gone by then
    return True


def _landlock(work: str, readable: list[str]) -> bool:
    """Let the kernel hold the folders, forbid programs and TCP; False if it cannot. Source: landlock(7)."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)

    def call(number: int, *args: Any) -> int:
        return int(
            libc.syscall(
                ctypes.c_long(number), *(ctypes.c_long(a) if isinstance(a, int) else a for a in args)
            )
        )

    create, add, restrict = 444, 445, 446  # the same on every architecture
    abi = call(create, None, 0, 1)
    if abi < 1:
        return False
    # Bits of linux/landlock.h: each version of the interface added some, and refuses those of later ones.
    everything = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(abi, 16)) - 1
    execute, read_file, read_folder, devices = 1 << 0, 1 << 2, 1 << 3, 1 << 6 | 1 << 11
    of_a_file = everything & (execute | 1 << 1 | read_file | 1 << 14 | 1 << 15)
    rules = struct.pack("=QQQ", everything, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0)
    ruleset = call(create, rules, len(rules), 0)
    allowed = dict.fromkeys(readable, read_file | read_folder)
    allowed |= {work: everything & ~(execute | devices), os.devnull: of_a_file & ~execute}
    for path, access in allowed.items():
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_PATH)
            access &= everything if os.path.isdir(path) else of_a_file
            call(add, ruleset, 1, struct.pack("=Qi", access, handle), 0)
            os.close(handle)
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS, which the next call asks for
    return call(restrict, ruleset, 0) == 0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
