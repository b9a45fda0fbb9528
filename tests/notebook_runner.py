"""Runs the code of a notebook in forked processes, and kills one at the AWS call that a test chooses.

A program that has imported everything and forks a child for each line of its input:

    {"notebook": "03_create_knowledge_base", "env": {...}, "from": "BUILD_IT", "cut": 7}

The answer is a line too: {"calls": the child's AWS calls so far, "error": "", "cut": whether it was killed}.
"""

import json
import os
import sys
import traceback
from typing import Any

import botocore.endpoint
import nbformat
import opensearchpy
import opensearchpy.connection.http_urllib3

from helpers import clients, errors, recordings
from helpers import knowledge_base as kb  # noqa: F401  imported before the fork, so that each child starts warm
from helpers.knowledge_base import waiting
from tools.notebooks import FOLDER

CUT = 99


def cells(name: str, first: str, last: str) -> list[str]:
    """The set-up cell, then the code from the first cell with `first` in it to the first with `last`."""
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    start = next(number for number, source in enumerate(code) if first in source)
    end = next(number for number, source in enumerate(code) if last in source)
    return [code[0], *code[max(start, 1) : end + 1]]


def child(order: dict[str, Any], out: int) -> None:
    """Run the cells of `order`; the process ends at AWS call number `cut`, its answer unread."""
    os.environ.update(order["env"])
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    waiting.EVERY = 0.0
    count = 0

    def counted(send: Any) -> Any:
        def sending(*args: Any, **named: Any) -> Any:
            nonlocal count
            answer = send(*args, **named)
            count += 1
            if count == order.get("cut"):
                os.write(out, json.dumps({"calls": count, "error": "", "cut": True}).encode())
                os._exit(CUT)
            return answer

        return sending

    botocore.endpoint.Endpoint._send = counted(botocore.endpoint.Endpoint._send)
    connection = opensearchpy.connection.http_urllib3.Urllib3HttpConnection
    connection.perform_request = counted(connection.perform_request)
    error, scope = "", {"__name__": "__main__"}
    exec(order.get("before", ""), scope)
    try:
        for source in cells(order["notebook"], order["from"], order["to"]):
            exec(compile(source, "cell", "exec"), scope)
    except errors.WorkshopError as problem:
        error = f"WorkshopError: {problem}"
    except Exception as problem:
        error = f"{type(problem).__name__}: {problem}"
        traceback.print_exc()
    os.write(out, json.dumps({"calls": count, "error": error, "cut": False}).encode())
    os._exit(0)


def main() -> None:
    """Serve orders until the input ends."""
    import matplotlib.pyplot

    matplotlib.use("agg")
    assert clients and recordings
    for line in sys.stdin:
        inward, outward = os.pipe()
        process = os.fork()
        if not process:
            child(json.loads(line), outward)
        os.close(outward)
        answer = b""
        while piece := os.read(inward, 65536):
            answer += piece
        os.close(inward)
        os.waitpid(process, 0)
        print(answer.decode() or '{"calls": 0, "error": "died", "cut": false}', flush=True)


if __name__ == "__main__":
    main()
