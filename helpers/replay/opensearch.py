"""The calls of opensearch-py, which do not pass botocore: answered from a recording, or sent and taken down."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from opensearchpy import Urllib3HttpConnection

from helpers.replay.recording import Json, Params, raw

Send = Callable[[], tuple[int, Mapping[str, str], str]]


def answered_by(answer: Callable[[str, Params, Send], dict[str, Json]]) -> type[Urllib3HttpConnection]:
    """A connection class that asks `answer(call, params, send)` for the entry of each request.

    `send()` sends the request, and gives status, headers and text of the answer; no status is an error there.
    """

    class Answered(Urllib3HttpConnection):
        def perform_request(self, method: str, url: str, params: Any = None, body: Any = None, **more: Any) -> Any:  # type: ignore[override]
            send = partial(super().perform_request, method, url, params, body, **more | {"ignore": range(1000)})
            asked = {"path": url, "params": dict(params or {}), "body": body}
            entry = answer(f"opensearch.{method}", asked, send)
            status, text = entry["status"], raw(entry["body"])[1].decode()
            if not 200 <= status < 300 and status not in (more.get("ignore") or ()):
                self._raise_error(status, text, entry["headers"]["content-type"])
            return status, entry["headers"], text

    return Answered
