"""Answers written down beforehand, in a test or in a JSON file."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.loopback.answers import Answer, NoAnswer, Params, ServiceError
from tests.loopback.faults import KINDS, On
from tests.loopback.replies import Reply

Line = Answer | Reply | ServiceError | Callable[[Params], Any]


class Script:
    """A source: `{"bedrock-runtime.Converse": line}`, or a list of lines, one a call; the last repeats.

    A line is a result, a `Reply`, a `Raw`, a `ServiceError`, or a function of the parameters returning one.
    """

    def __init__(self, lines: Mapping[str, Line | list[Any]]):
        """`lines` by "service.Operation"."""
        self._lines = {name: line if isinstance(line, list) else [line] for name, line in lines.items()}
        self._asked: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, service: str, operation: str, params: Params) -> Answer:
        """The next line for this operation; `NoAnswer` when the script has none."""
        name = f"{service}.{operation}"
        lines = self._lines.get(name)
        if not lines:
            raise NoAnswer(f"no answer to {name} in the script, only to {', '.join(self._lines) or 'nothing'}")
        with self._lock:
            line = lines[min(self._asked[name], len(lines) - 1)]
            self._asked[name] += 1
        if callable(line):
            line = line(params)
        if isinstance(line, ServiceError):
            raise ServiceError(line.code, line.status, line.message)
        return line.result(operation, params) if isinstance(line, Reply) else line


def load(path: Path) -> tuple[Script, list[On], int]:
    """The answers, faults and seed of a JSON file.

    {"answers": {"bedrock-runtime.Converse": [{"reply": {"text": "Yes."}}, {"error": ["Code", 400, "why"]}]},
     "faults": [{"fault": "refused", "with": ["per day"], "operation": "Converse", "calls": [1]}],
     "seed": 0}
    """
    stored = json.loads(path.read_text(encoding="utf-8"))
    answers = {
        name: [_line(line) for line in (lines if isinstance(lines, list) else [lines])]
        for name, lines in stored.get("answers", {}).items()
    }
    faults = []
    for rule in stored.get("faults", []):
        make = KINDS[rule.pop("fault")]
        faults.append(On(make(*rule.pop("with", [])), **rule))
    return Script(answers), faults, stored.get("seed", 0)


def _line(stored: Any) -> Line:
    match stored:
        case {"reply": reply}:
            return Reply(**reply)
        case {"error": [code, status, message]}:
            return ServiceError(code, status, message)
    result: Answer = stored
    return result
