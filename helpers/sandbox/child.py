"""The child of `helpers.sandbox`, a script of its own: put up the walls, run the code, report."""

import ctypes
import json
import os
import struct
import sys
import traceback
from contextlib import suppress
from types import ModuleType
from typing import Any

N_ = str  # as in helpers.language: the parent translates these words
PYTHON = (sys.prefix, sys.base_prefix, sys.exec_prefix)
# fmt: off
READABLE: tuple[str, ...] = (
    *PYTHON, "/usr", "/lib", "/lib64", "/opt", "/nix", "/System", "/Library", "C:\\Windows", "/etc/ld.so.cache",
    "/etc/localtime", "/etc/fonts", os.devnull, "/dev/zero", "/dev/random", "/dev/urandom", "/proc/self",
    "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys/devices/system",
)
READABLE += tuple(map(os.path.realpath, READABLE))
REFUSED = (
    "socket.", "subprocess.", "_winapi.", "pty.", "os.fork", "os.exec", "os.posix_spawn", "os.spawn", "os.system",
    "os.startfile", "os.kill", "ctypes.dl", "ctypes.call_function", "resource.setrlimit", "resource.prlimit",
)
READS = ("os.listdir", "os.scandir", "os.walk", "os.fwalk", "os.getxattr", "os.listxattr", "os.add_dll_directory")
# Each machine's number, its clone, and what is refused: socket, vfork, execve, execveat, shmget, memfd_create,
# memfd_secret, ptrace, process_vm_readv and _writev, io_uring_setup, mount, umount2, unshare, setns; fork.
CALLS = {
    "x86_64": (0xC000003E, 56, 41, 58, 59, 322, 29, 319, 447, 101, 310, 311, 425, 165, 166, 272, 308, 57),
    "aarch64": (0xC00000B7, 220, 198, 221, 281, 194, 279, 447, 117, 270, 271, 425, 40, 39, 97, 268),
}
# fmt: on


def main(work: str) -> None:
    """Run the job on stdin, and write behind it a line with the guards and a line of JSON, [ended, results]."""
    code, checks, memory = json.load(sys.stdin)
    report = os.fdopen(os.dup(0), "w", newline="\n")  # on Windows too: the parent cuts there
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    guards = [N_("audit hook")]
    with suppress(ImportError):
        import resource

        # 40 files of 16 MB bound what deleted files can hold where the scratch folder has no disk of its own.
        for name, limit in {"AS": memory, "FSIZE": 16 << 20, "NOFILE": 40, "CORE": 0}.items():
            with suppress(ValueError, OSError):  # macOS takes none for memory
                resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (limit, limit))
        guards.append(N_("resource limits"))
    if sys.platform == "linux":
        guards += kernel_walls(ctypes.CDLL(None), work)
    os.chdir(work)
    sys.addaudithook(lambda event, args: hook(event, args, work))
    print(", ".join(guards), file=report, flush=True)

    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    answer = sys.modules["__main__"] = ModuleType("__main__")
    given: dict[str, Any] = {"answer": answer, "results": {}}
    try:
        for source, name, scope in ((code, "answer.py", vars(answer)), (checks, "checks.py", given)):
            try:
                exec(compile(source, name, "exec", dont_inherit=True), scope)
            except SystemExit as end:
                if end.code:
                    raise
        text = json.dumps(["ok", given["results"]], default=lambda array: array.tolist())
    except BaseException as error:
        vars(answer).clear()  # give memory back before the report needs some
        traceback.clear_frames(error.__traceback__)
        trace = traceback.extract_tb(error.__traceback__)
        lines = [f" (line {at.lineno})" for at in trace if at.filename == "answer.py"]
        said = " ".join(traceback.format_exception_only(error)[-1].split())[:300]
        text = json.dumps([said + "".join(lines[-1:]), {}])
    print(text, file=report, flush=True)


def hook(event: str, args: tuple[Any, ...], work: str) -> None:
    """Refuse what leaves the scratch folder (PEP 578)."""
    if event.startswith(REFUSED) and event not in ("socket.__new__", "socket.gethostname"):  # asyncio wants these
        raise PermissionError(f"{event} is refused here")
    if event not in ("open", "sqlite3.connect") and not event.startswith("os."):
        return
    writing = event not in READS
    if event == "open":  # a handle of a folder could serve as dir_fd
        changes = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
        writing = bool(args[2] & changes) or (args[1] is None and os.path.isdir(args[0]))
    paths = {"os.rename": args[:2], "os.link": args[:2], "os.symlink": args[1:2]}.get(event, args[:1])
    for path in ("." if path is None else os.fsdecode(path) for path in paths if not isinstance(path, int)):
        allowed = [(os.path.realpath(path), (work, os.devnull, *(() if writing else READABLE)))]
        allowed += [] if writing else [(os.path.abspath(path), PYTHON)]  # a link inside Python's own folders is trusted
        if not any((place + os.sep).startswith(root + os.sep) for place, roots in allowed for root in roots):
            raise PermissionError(f"{event} outside the scratch folder is refused: {path}")


def kernel_walls(libc: Any, work: str) -> list[str]:
    """Put up what the kernel permits. Sources: tmpfs(5), linux/landlock.h, seccomp(2), linux/bpf_common.h."""
    libc.syscall.argtypes = libc.prctl.argtypes = [ctypes.c_long] * 5
    flags = ctypes.c_ulong(2 | 4 | 8)  # no set-uid, no devices, no programs
    disk = (b"tmpfs", work.encode(), b"tmpfs", flags, b"size=64m,nr_inodes=4096")
    guards = [N_("namespaces"), N_("a disk of 64 MB")] if os.getpid() == 1 and libc.mount(*disk) == 0 else []
    libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS, which the next two ask for

    # Landlock holds the folders, and refuses programs, TCP, and signals to others.
    abi = libc.syscall(444, 0, 0, 1, 0)
    rights = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(abi, 16)) - 1  # each version of the interface added some
    rules = ctypes.create_string_buffer(struct.pack("=QQQ", rights, 3 * (abi >= 4), 3 * (abi >= 6)))
    ruleset = libc.syscall(444, ctypes.addressof(rules), 24, 0, 0)
    program, read, of_a_file = 0b1, 0b1100, 0b1100000000000111
    for path, access in (dict.fromkeys(READABLE, read) | {work: ~program, os.devnull: ~program}).items():
        with suppress(OSError):
            place = os.open(path, os.O_PATH)
            access &= rights if os.path.isdir(path) else rights & of_a_file
            rule = ctypes.create_string_buffer(struct.pack("=Qi", access, place))
            libc.syscall(445, ruleset, 1, ctypes.addressof(rule), 0)
            os.close(place)
    guards += ["Landlock"] if libc.syscall(446, ruleset, 0, 0, 0) == 0 else []

    # seccomp refuses processes (threads may start), networks, and memory outside the limit.
    machine, clone, *refused = CALLS.get(os.uname().machine, (0, 0))
    load, equal, at_least, any_bit, end = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, deny, unknown = ((end, 0, 0, what) for what in (0x7FFF0000, 0x50000 | 1, 0x50000 | 38))
    steps = [(load, 0, 0, 4), (equal, 1, 0, machine), deny, (load, 0, 0, 0), (at_least, 0, 1, 1 << 30), deny]
    steps += [step for number in refused for step in ((equal, 0, 1, number), deny)]
    steps += [(equal, 0, 1, 435), unknown]  # clone3 hides its flags from a filter: the C library then takes clone
    steps += [(equal, 0, 3, clone), (load, 0, 0, 16), (any_bit, 1, 0, 0x10000), deny, allow]  # CLONE_THREAD
    filters = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program_ = ctypes.create_string_buffer(struct.pack("HP", len(steps), ctypes.addressof(filters)))
    guards += ["seccomp"] if machine and libc.prctl(22, 2, ctypes.addressof(program_), 0, 0) == 0 else []
    return guards


if __name__ == "__main__":
    main(os.path.realpath(sys.argv[1]))
