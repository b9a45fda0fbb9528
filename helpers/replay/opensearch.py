"""Recorded answers for opensearch-py, whose calls do not pass botocore."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from opensearchpy import Urllib3HttpConnection

from helpers.replay.recording import Json, Params, raw


def answered_by(answer: Callable[[str, Params], dict[str, Json]]) -> type[Urllib3HttpConnection]:
    """A connection class that asks `answer(call, params)` for the entry of each request."""

    class Answered(Urllib3HttpConnection):
        def perform_request(
            self,
            method: str,
            url: str,
            params: Mapping[str, Any] | None = None,
            body: bytes | None = None,
            timeout: float | None = None,
            ignore: Collection[int] = (),
            headers: Mapping[str, str] | None = None,
        ) -> Any:
            entry = answer(f"opensearch.{method}", {"path": url, "params": dict(params or {}), "body": body})
            status, text = entry["status"], raw(entry["body"])[1].decode()
            if not 200 <= status < 300 and status not in ignore:
                self._raise_error(status, text, entry["headers"]["content-type"])
            return status, entry["headers"], text

    return Answered
