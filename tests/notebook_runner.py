"""Runs the code of a notebook in forked processes, and kills one at the AWS call that a test chooses.

A program that has imported everything and forks a child for each order, a line of its input:

    {"notebook": "03_create_knowledge_base", "env": {...}, "from": "BUILD_IT", "to": "left", "cut": ["after", [...]]}

With `cut` the process dies at its first call that changes something and is not listed: before it is sent, or after it
is answered, its answer unread. For each order a line comes back: {"cut": that call or "", "error": "", "printed": what
the cells wrote, "left": their variable of that name}.
"""

import gc
import io
import json
import linecache
import os
import re
import sys
import time
from collections.abc import Callable
from functools import cache
from hashlib import md5
from typing import Any

import botocore.client
import botocore.loaders
import botocore.session
import matplotlib.pyplot as plt
import nbformat
from opensearchpy import Urllib3HttpConnection

from helpers import clients, knowledge_base, retrieval, workshop  # noqa: F401  so that every child starts warm
from helpers.explain import explain
from helpers.language import WorkshopError
from tools.notebooks import FOLDER

SERVICES = ("sts", "s3", "iam", "opensearchserverless", "s3vectors", "bedrock-agent")
_READS = re.compile(r"Get|List|BatchGet|Head|HEAD|Retrieve")


@cache
def code_of(name: str) -> list[str]:
    """The code cells of a notebook; read before the fork, for that takes longer than a run."""
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def imports(code: list[str]) -> str:
    """The lines that import something."""
    return "\n".join(re.findall(r"^(?:from|import) .+", "\n".join(code), re.MULTILINE))


def cells(name: str, first: str, last: str) -> list[str]:
    """The set-up cell, the code from the first cell with `first` in it to the last one with `last`.

    Of the cells between the two only what they import.
    """
    code = code_of(name)
    start = next(number for number, source in enumerate(code) if first in source)
    end = max(number for number, source in enumerate(code) if last in source)
    return [code[0], imports(code[1:start]), *code[max(start, 1) : end + 1]]


def watch(kind: type, method: str, cut: tuple[str, list[str]] | None, tell: Callable[..., None]) -> None:
    """End the process by `tell` at the first call of the method that changes something and is not in `cut`."""
    send = getattr(kind, method)

    def sending(self: Any, *args: Any, **named: Any) -> Any:
        step = f"{args[0]} {md5(repr(args).encode()).hexdigest()}"
        here = cut and not _READS.match(step) and step not in cut[1] and cut[0]
        if here == "before":
            tell(cut=step)
        try:
            return send(self, *args, **named)
        finally:  # whether it was answered or refused
            if here:
                tell(cut=step)

    setattr(kind, method, sending)


def child(order: dict[str, Any]) -> None:
    """Run the cells of `order` in this process, tell what came of it and end it."""
    os.environ.update(order["env"])
    time.sleep = lambda seconds: None  # nothing takes time there, so nobody waits
    sys.stdout = printed = io.StringIO()
    scope: dict[str, Any] = {"__name__": "__main__"}

    def tell(error: str = "", cut: str = "") -> None:
        words = {"error": error, "cut": cut, "printed": printed.getvalue(), "left": scope.get("left")}
        os.write(1, json.dumps(words).encode() + b"\n")
        os._exit(9)

    for kind, method in ((botocore.client.BaseClient, "_make_api_call"), (Urllib3HttpConnection, "perform_request")):
        watch(kind, method, order.get("cut"), tell)
    try:
        exec(order["before"], scope)
        for number, source in enumerate(cells(order["notebook"], order["from"], order["to"])):
            name = f"cell {number}"
            linecache.cache[name] = (len(source), None, source.splitlines(True), name)  # for inspect.getsource
            exec(compile(source, name, "exec"), scope)
    except Exception as problem:
        told = problem if isinstance(problem, WorkshopError) else explain(problem)
        tell(f"{type(told or problem).__name__}: {told or problem}")
    tell()


def warm_loader() -> None:
    """Read the service models once, before the fork: a child that reads them takes a second longer."""
    loader = botocore.loaders.create_loader()
    botocore.session.create_loader = lambda *_: loader  # type: ignore[attr-defined]
    for service in SERVICES:
        botocore.session.Session().create_client(service, "us-east-1", aws_access_key_id="x", aws_secret_access_key="x")


def main() -> None:
    """Serve orders until the input ends."""
    plt.switch_backend("agg")
    warm_loader()
    for name in ("03_create_knowledge_base", "99_clean_up"):
        exec(imports(code_of(name)), {})
    gc.freeze()  # so that no child looks through what it did not make
    for line in sys.stdin:
        if not os.fork():
            child(json.loads(line))
        os.wait()


if __name__ == "__main__":
    main()
