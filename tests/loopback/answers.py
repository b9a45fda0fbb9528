"""What an answer is, and who gives it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Params = dict[str, Any]
Result = dict[str, Any]


@dataclass(frozen=True)
class Raw:
    """A response that goes out as it is, for what no service model describes."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})


Answer = Result | Raw
"""A result as boto3 returns it, or a raw response.

In a result, events are an iterable of `{name: members}` under the member that boto3 gives the stream in
(exceptions are events too), and a blob may be a JSON value, which is sent as its text.
"""

Source = Callable[[str, str, Params], Answer]
"""Answers `(service, operation, params)`, from many threads at once; raises `ServiceError` to refuse.

Names are botocore's ("bedrock-runtime", "Converse"), `params` what the caller gave to boto3, blobs as bytes.
"""


class ServiceError(Exception):
    """An error that the service answers with, on the wire in the form of the service's protocol."""

    def __init__(self, code: str, status: int, message: str):
        """`code` as in botocore's `ClientError`, `status` of HTTP."""
        super().__init__(code, status, message)
        self.code, self.status, self.message = code, status, message


class NoAnswer(ServiceError):
    """The source has no answer to this call; `first_of` then asks the next source."""

    def __init__(self, message: str):
        """Status 501 stands for no fault of the real service and is not retried by botocore."""
        super().__init__("LoopbackNoAnswer", 501, message)


class Dropped(Exception):
    """The connection ends here, without another byte."""


def first_of(*sources: Source) -> Source:
    """A source that asks each source in turn until one does not raise `NoAnswer`."""

    def answer(service: str, operation: str, params: Params) -> Answer:
        for source in sources[:-1]:
            try:
                return source(service, operation, params)
            except NoAnswer:
                continue
        return sources[-1](service, operation, params)

    return answer
