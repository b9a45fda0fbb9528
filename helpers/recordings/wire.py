"""Bodies of AWS responses as readable JSON and back, event streams included."""

import base64
import binascii
import hashlib
import io
import json
import struct
from collections.abc import Iterator
from typing import Any

from botocore.eventstream import EventStreamBuffer

Json = Any


def canonical(value: Any) -> Json:
    """API parameters as sorted JSON: bytes and files become a digest, JSON strings are opened."""
    if isinstance(value, dict):
        return {str(key): canonical(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    if hasattr(value, "read") and hasattr(value, "seek"):
        start = value.tell()
        content = value.read()
        value.seek(start)
        return canonical(content)
    if isinstance(value, bytes | bytearray):
        opened = _open_json(value)
        return opened or {"sha256": hashlib.sha256(value).hexdigest()[:16], "bytes": len(value)}
    if isinstance(value, str):
        return (value[:1] == "{" and _open_json(value)) or value
    return value if isinstance(value, bool | int | float | None) else str(value)


def _open_json(text: str | bytes | bytearray) -> dict[str, Json] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return {"json": canonical(value)} if isinstance(value, dict) else None


def readable(content_type: str, raw: bytes) -> dict[str, Json]:
    """A response body as one of {"events"}, {"json"}, {"text"}, {"base64"}."""
    if "eventstream" in content_type:
        buffer = EventStreamBuffer()
        buffer.add_data(raw)
        return {"events": [_event_out(message.headers, message.payload) for message in buffer]}
    try:
        text = raw.decode()
        return {"json": json.loads(text)} if "json" in content_type and text else {"text": text}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode()}
    except json.JSONDecodeError:
        return {"text": text}


def raw(body: dict[str, Json]) -> bytes:
    """The bytes that `readable` was made from, up to white space and the order of keys."""
    match body:
        case {"events": events}:
            return b"".join(_event_in(event) for event in events)
        case {"json": value}:
            return json.dumps(value, ensure_ascii=False).encode()
        case {"text": text}:
            return str(text).encode()
        case {"base64": text}:
            return base64.b64decode(text)
    raise ValueError(f"a body holds events, json, text or base64, not {sorted(body)}")


def _event_out(headers: dict[str, Any], payload: bytes) -> dict[str, Json]:
    data = json.loads(payload or b"{}")
    data.pop("p", None)  # padding of random length that hides the size of the text: noise in a file
    if "bytes" in data:  # InvokeModelWithResponseStream wraps its JSON in base64
        data = {"chunk": json.loads(base64.b64decode(data["bytes"]))}
    if headers[":message-type"] == "exception":
        return {"exception": headers[":exception-type"], "data": data}
    return {"event": headers[":event-type"], "data": data}


def _event_in(event: dict[str, Json]) -> bytes:
    data = event["data"]
    if "chunk" in data:
        data = {"bytes": base64.b64encode(json.dumps(data["chunk"], ensure_ascii=False).encode()).decode()}
    kind = "exception" if "exception" in event else "event"
    headers = {f":{kind}-type": event[kind], ":content-type": "application/json", ":message-type": kind}
    return encode_message(headers, json.dumps(data, ensure_ascii=False).encode())


def encode_message(headers: dict[str, str], payload: bytes) -> bytes:
    """One message of application/vnd.amazon.eventstream with string headers.

    Layout: https://docs.aws.amazon.com/transcribe/latest/dg/event-stream.html
    """
    head = b"".join(
        struct.pack(">B", len(name))
        + name.encode()
        + struct.pack(">BH", 7, len(value.encode()))
        + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    prelude += struct.pack(">I", binascii.crc32(prelude))
    message = prelude + head + payload
    return message + struct.pack(">I", binascii.crc32(message))


class RawBody(io.BytesIO):
    """Bytes that botocore reads as if they came from urllib3."""

    def stream(self, amt: int = 1024, decode_content: bool | None = None) -> Iterator[bytes]:
        """Pieces of at most `amt` bytes."""
        while piece := self.read(amt):
            yield piece

    def read(self, amt: int | None = None, decode_content: bool | None = None) -> bytes:
        """At most `amt` bytes, or all that is left."""
        return super().read(-1 if amt is None else amt)

    def release_conn(self) -> None:
        """Nothing to give back: there is no connection."""
