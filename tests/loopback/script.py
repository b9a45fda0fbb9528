"""Answers written down beforehand."""

from collections.abc import Callable, Mapping
from typing import Any

from tests.loopback.answers import Answer, NoAnswer, Params, ServiceError
from tests.loopback.replies import Reply

Line = Answer | Reply | ServiceError | Callable[[Params], Any]


class Script:
    """A source: `{"bedrock-runtime.Converse": line}`.

    A line is a result, a `Reply`, a `Raw`, a `ServiceError`, or a function of the parameters returning one.
    """

    def __init__(self, lines: Mapping[str, Line]):
        """`lines` by "service.Operation"."""
        self._lines = lines

    def __call__(self, service: str, operation: str, params: Params) -> Answer:
        """The line for this operation; `NoAnswer` when the script has none."""
        name = f"{service}.{operation}"
        if name not in self._lines:
            raise NoAnswer(f"no answer to {name} in the script, only to {', '.join(self._lines) or 'nothing'}")
        line = self._lines[name]
        if callable(line):
            line = line(params)
        if isinstance(line, ServiceError):
            raise ServiceError(line.code, line.status, line.message)
        return line.result(operation, params) if isinstance(line, Reply) else line
