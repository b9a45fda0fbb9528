"""The same recordings for opensearch-py, whose calls do not pass botocore."""

from collections.abc import Collection, Mapping
from typing import Any

from opensearchpy import Urllib3HttpConnection

from helpers.recordings import Seam, request_of, wire


def connection(seam: Seam) -> type[Urllib3HttpConnection]:
    """A connection class that asks `seam` before the network, and tells it afterwards."""

    class RecordedConnection(Urllib3HttpConnection):
        def perform_request(
            self,
            method: str,
            url: str,
            params: Mapping[str, Any] | None = None,
            body: bytes | None = None,
            timeout: int | float | None = None,
            ignore: Collection[int] = (),
            headers: Mapping[str, str] | None = None,
        ) -> Any:
            live = super().perform_request
            if seam.mode == "live":
                return live(method, url, params, body, timeout, ignore, headers)
            call = f"opensearch.{method}"
            asked = {"path": url, "params": dict(params or {}), "body": body}
            if seam.mode == "replay":
                entry = seam.answer(call, asked)
            else:
                # Errors are answers too: take every status, raise below as a live connection does.
                status, sent, text = live(method, url, params, body, timeout, range(1000), headers)
                kind = sent.get("content-type", "application/json")
                content = {"status": status, "headers": {"content-type": kind}}
                entry = {"call": call, "origin": "service", "request": request_of(asked), **content}
                entry["body"] = wire.readable(kind, text.encode())
                seam.keep(entry)
            status, text = entry["status"], wire.raw(entry["body"]).decode()
            if not 200 <= status < 300 and status not in ignore:
                self._raise_error(status, text, entry["headers"]["content-type"])
            return status, entry["headers"], text

    return RecordedConnection
