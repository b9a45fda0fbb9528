"""Recording: AWS answers, and each answer is written down, scrubbed, as soon as it is there.

It runs in the kernel of a notebook in live mode: `install` puts `Record` in the place of `Live`.
"""

import base64
import json
import os
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import botocore.session
from botocore.eventstream import EventStreamBuffer
from botocore.response import StreamingBody

from helpers import replay, workshop
from helpers.replay.recording import Json, Params, Recording, key, request_of
from helpers.settings import settings
from tools.scrub import scrub

_KEPT_HEADERS = {"content-type", "etag", "x-amzn-errortype", "x-amz-bucket-region"}
_SIGN_IN = re.compile(r"(sso|sso-oidc|signin|cognito-identity)\.|sts\.(?!GetCallerIdentity)")
_EVENT = re.compile(r'"~event (?:[^"\\]|\\.)*"')


def install() -> None:
    """From now on live mode records."""
    workshop.MODES["live"] = Record


class Record(replay.Live):
    """AWS answers, and `<name>.new.json` beside the recording keeps what it says."""

    def __init__(self, name: str):
        """Begin an empty file beside the recording of the notebook `name`."""
        self.path = settings().recordings_dir / f"{name}.new.json"
        self.path.parent.mkdir(parents=True, exist_ok=True)  # the Chinese edition has a folder of its own
        self.recording = Recording(self.path)
        self._stand_ins, self._secrets = dict[str, str](), tuple[str, ...]()
        self._saving = threading.Lock()
        # The entry of each call that a thread is in: signing in may call another service in between.
        self._pending = threading.local()

    def __str__(self) -> str:
        return "Recording: calls go to your AWS account and cost money; each answer is written down."

    def stand_in(self, name: str, kept: str) -> None:
        self._stand_ins[name] = kept

    def attach(self, session: botocore.session.Session) -> None:
        found = session.get_credentials()
        self._secrets = tuple(filter(None, found.get_frozen_credentials()[:3])) if found else ()
        session.register("before-parameter-build", self._remember)
        session.register("before-parse", self._take_down)

    def opensearch(self, call: str, params: Params, send: Callable[[], Any]) -> Any:
        status, headers, text = send()
        kind = headers.get("content-type", "application/json")
        entry = {"call": call, "origin": "service", "request": request_of(params), "status": status}
        entry |= {"headers": {"content-type": kind}, "body": readable(kind, text.encode())}
        self._keep(self._named(entry))
        return status, headers, text

    def _keep(self, entry: dict[str, Json] | None = None) -> None:
        """Save the file, with one entry more."""
        with self._saving:
            if entry:
                self.recording.add(entry)
            save(self.recording, self.path, self._secrets)

    def _named(self, entry: dict[str, Json]) -> dict[str, Json]:
        text = scrub(json.dumps(entry), self._secrets)
        for name, kept in self._stand_ins.items():
            text = text.replace(name, kept)
        return json.loads(text)

    def _remember(self, event_name: str, params: Params, **_: Any) -> None:
        call = event_name.partition(".")[2]
        asked = request_of(request_of(params))  # twice: then digests are sorted too, as they stand in the files
        setattr(self._pending, call, self._named({"call": call, "origin": "service", "request": asked}))

    def _take_down(self, event_name: str, response_dict: dict[str, Any], operation_model: Any, **_: Any) -> None:
        call = event_name.partition(".")[2]
        entry = getattr(self._pending, call)
        if _SIGN_IN.match(call):
            return
        body = response_dict["body"]
        content = body if isinstance(body, bytes) else body.read()
        if operation_model.has_event_stream_output:
            response_dict["body"] = replay.body(content)
        elif operation_model.has_streaming_output:
            response_dict["body"] = StreamingBody(replay.body(content), len(content))
        headers = {name.lower(): value for name, value in response_dict["headers"].items()}
        answer = {
            "status": response_dict["status_code"],
            "headers": {name: headers[name] for name in sorted(_KEPT_HEADERS & headers.keys())},
            "body": readable(headers.get("content-type", ""), content),
        }
        tried = "status" in entry  # a retry of the same call: only its last answer counts
        entry.update(self._named(answer))
        self._keep(None if tried else entry)


def save(recording: Recording, path: Path, secrets: tuple[str, ...] = ()) -> None:
    """Write the whole file at once, sorted, scrubbed, an event a line: readers see the old file or the new."""
    entries = [dict(entry) for entry in sorted(recording.entries, key=key)]
    for entry in (entry for entry in entries if "events" in entry["body"]):
        marked = [f"~event {json.dumps(event, ensure_ascii=False)}" for event in entry["body"]["events"]]
        entry["body"] = {"events": marked}
    head = {"notebook": path.name.partition(".json")[0].removesuffix(".new"), "date": recording.date.isoformat()}
    text = json.dumps({**head, "entries": entries}, ensure_ascii=False, indent=1)
    text = _EVENT.sub(lambda found: json.loads(found[0]).removeprefix("~event "), text)
    beside = path.with_suffix(f".{os.getpid()}.part")
    text = scrub(text, secrets) + "\n"
    beside.write_bytes(text.encode("utf-8", "backslashreplace"))  # half a character becomes \udXXX, as in JSON
    os.replace(beside, path)


def readable(content_type: str, content: bytes) -> dict[str, Json]:
    """A response body as one of {"events"}, {"json"}, {"text"}, {"base64"}."""
    if "eventstream" in content_type:
        buffer = EventStreamBuffer()
        buffer.add_data(content)
        return {"events": [_event(message.headers, message.payload) for message in buffer]}
    with suppress(ValueError):  # JSON that is empty, or a page of a proxy
        return {"json": json.loads(content)} if "json" in content_type else {"text": content.decode()}
    with suppress(ValueError):
        return {"text": content.decode()}
    return {"base64": base64.b64encode(content).decode()}


def _event(headers: dict[str, Any], payload: bytes) -> dict[str, Json]:
    data = json.loads(payload or b"{}")
    data.pop("p", None)  # padding of random length that hides the size of the text: noise in a file
    if "bytes" in data:  # InvokeModelWithResponseStream wraps its JSON in base64
        data = {"chunk": json.loads(base64.b64decode(data["bytes"]))}
    if headers[":message-type"] == "exception":
        return {"exception": headers[":exception-type"], "data": data}
    return {"event": headers[":event-type"], "data": data}
