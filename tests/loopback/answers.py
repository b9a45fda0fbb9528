"""What an answer is, and who gives it."""

from collections.abc import Callable
from typing import Any

from werkzeug.wrappers import Response

Params = dict[str, Any]
Result = dict[str, Any]


class Raw(Response):
    """A response that goes out as it is, for what no service model describes."""

    default_mimetype = "application/json"


Answer = Result | Raw
"""A result as boto3 returns it, or a raw response.

In a result, events are an iterable of `{name: members}` under the member that boto3 gives the stream in
(exceptions are events too).
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


class Dropped(ConnectionError):
    """The connection ends here, without another byte."""
