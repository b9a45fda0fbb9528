"""Answers written down beforehand."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from tests.loopback.answers import Answer, NoAnswer, Params, ServiceError
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
