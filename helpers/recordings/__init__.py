"""Replay, record or go live: the one switch, on botocore's own events.

Every client made by `helpers.clients` passes here, LangChain's included. The file format is in
data/recordings/README.md.
"""

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import date
from typing import Any

import botocore.session
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.response import StreamingBody

from helpers import explain
from helpers.errors import WorkshopError
from helpers.recordings import wire
from helpers.recordings.file import Recording
from helpers.recordings.scrub import scrub
from helpers.recordings.wire import Json
from helpers.settings import ROOT, settings

ORIGINS = {
    "model": "from a Claude model outside Amazon Bedrock",
    "index": "from the offline index over the PDFs",
    "api-model": "written from the service's API model",
    "service": "captured from the live service",
}
ESTIMATES = "x-workshop-estimated"  # response header in replay: the fields that nobody measured

_IDEMPOTENCY = {"ClientToken", "clientToken", "clientRequestToken", "ClientRequestToken"}  # new in every run
_KEPT_HEADERS = {"content-type", "etag", "x-amzn-errortype", "x-amz-bucket-region"}
_SIGN_IN = re.compile(r"(sso|sso-oidc|signin|cognito-identity)\.|sts\.(?!GetCallerIdentity)")


class Seam:
    """Where a botocore session meets a recording; one for all clients and threads of a process."""

    def __init__(self, mode: str, recording: Recording):
        """`mode` is replay, record or live."""
        self.mode, self.recording = mode, recording
        self.computed: dict[str, Callable[[dict[str, Any]], Json]] = {}
        self.secrets: tuple[str, ...] = ()
        self.stand_ins: dict[
            str, str
        ] = {}  # record: names of things in the account, and what is kept for them
        self.only = ""  # record: renew only requests with this text; the others are answered from `old`
        self.old: Recording | None = None
        self._local = threading.local()

    def attach(self, session: botocore.session.Session) -> None:
        """Listen to `session`, and so to every client that it makes."""
        if self.mode == "live":
            return
        session.register("before-parameter-build", self._remember)
        if self.mode == "replay":
            session.register("before-send", self._replay)
        else:
            session.register("before-send", self._keep_old)
            session.register("before-parse", self._record)

    def answer(self, call: str, params: dict[str, Any]) -> dict[str, Json]:
        """The entry that replays `call`; `RecordingMissing` when there is none."""
        request = request_of(params)
        entry = self.recording.find(call, request)
        if call in self.computed and (entry is None or not _documents_are_the_shipped_ones()):
            entry = {"origin": "index", "body": {"json": self.computed[call](params)}}
        if entry is None:
            raise self.recording.missing(call, request)
        return entry

    def keep(self, entry: dict[str, Json]) -> None:
        """Take down one answer of the live service and save the file."""
        self.recording.add(entry)
        self.recording.save(self.secrets)

    def _remember(self, event_name: str, params: dict[str, Any], **_: Any) -> None:
        # Sending happens on the same thread, but signing in may call another service in between. A file is
        # read while it is sent, so what it holds is taken down now.
        kept = {name: wire.canonical(it) if hasattr(it, "read") else it for name, it in params.items()}
        self._pending()[event_name.partition(".")[2]] = (kept, None)

    def _pending(self) -> dict[str, tuple[dict[str, Any], dict[str, Json] | None]]:
        if not hasattr(self._local, "pending"):
            self._local.pending = {}
        found: dict[str, tuple[dict[str, Any], dict[str, Json] | None]] = self._local.pending
        return found

    def _replay(self, event_name: str, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        call = event_name.partition(".")[2]
        return _response(request, self.answer(call, self._pending()[call][0]))

    def _keep_old(self, event_name: str, request: AWSPreparedRequest, **_: Any) -> AWSResponse | None:
        """In a recording of some requests only: the old answer to each of the others, kept as it is."""
        call = event_name.partition(".")[2]
        if self.old is None or call not in self._pending():
            return None
        params, tried = self._pending()[call]
        asked = self._named({"call": call, "request": request_of(params)})
        if tried is not None or self.only in json.dumps(asked, ensure_ascii=False):
            return None
        entry = self.old.find(call, asked["request"])
        if entry is None:
            return None
        if not _holds(self.recording, entry):
            self.keep(entry)
        self._pending()[call] = (params, entry)
        return _response(request, entry)

    def _named(self, entry: dict[str, Json]) -> dict[str, Json]:
        text = json.dumps(entry, ensure_ascii=False)
        for name, stand_in in self.stand_ins.items():
            text = text.replace(name, stand_in)
        named: dict[str, Json] = json.loads(text)
        return named

    def _record(self, event_name: str, response_dict: dict[str, Any], operation_model: Any, **_: Any) -> None:
        call = event_name.partition(".")[2]
        if _SIGN_IN.match(call):
            return
        params, entry = self._pending()[call]
        if self.old is not None and _holds(self.old, entry):
            return
        body = response_dict["body"]
        content = body if isinstance(body, bytes) else body.read()
        if operation_model.has_event_stream_output:
            response_dict["body"] = wire.RawBody(content)
        elif operation_model.has_streaming_output:
            response_dict["body"] = StreamingBody(wire.RawBody(content), len(content))
        headers = {name.lower(): value for name, value in response_dict["headers"].items()}
        answer = {
            "status": response_dict["status_code"],
            "headers": {name: headers[name] for name in sorted(_KEPT_HEADERS & headers.keys())},
            "body": wire.readable(headers.get("content-type", ""), content),
        }
        if entry is not None:  # a retry of the same call: only its last answer counts
            entry.update(self._named(answer))
            self.recording.save(self.secrets)
            return
        entry = self._named({"call": call, "origin": "service", "request": request_of(params), **answer})
        self._pending()[call] = (params, entry)
        self.keep(entry)


def _holds(recording: Recording, entry: dict[str, Json] | None) -> bool:
    return any(each is entry for each in recording.entries)


def _response(request: AWSPreparedRequest, entry: dict[str, Json]) -> AWSResponse:
    content = wire.raw(entry["body"])
    headers = {"content-type": _content_type(entry["body"]), **entry.get("headers", {})}
    headers["content-length"] = str(len(content))
    if entry.get("estimated"):
        headers[ESTIMATES] = ", ".join(entry["estimated"])
    return AWSResponse(request.url, entry.get("status", 200), headers, wire.RawBody(content))


def request_of(params: dict[str, Any]) -> Json:
    """The canonical, scrubbed request that an entry is keyed on."""
    kept = {name: value for name, value in params.items() if name not in _IDEMPOTENCY and value is not None}
    return json.loads(scrub(json.dumps(wire.canonical(kept), ensure_ascii=False)))


def _content_type(body: dict[str, Json]) -> str:
    if "events" in body:
        return "application/vnd.amazon.eventstream"
    return (
        "application/json" if "json" in body else "text/xml" if "text" in body else "application/octet-stream"
    )


def _documents_are_the_shipped_ones() -> bool:
    return settings().letters_dir == ROOT / "data" / "letters"


_active: Seam | None = None
_only = ""


def renew_only(text: str) -> None:
    """In record mode, ask the service only for requests that contain `text`, or that have no answer yet."""
    global _only
    _only = text


def use(name: str, variant: str = "") -> Seam:
    """Choose the recording of notebook `name`, and say in one line where its answers come from.

    A lesson whose calls depend on a setting has one recording for each `variant` of it.
    """
    global _active
    mode = settings().mode
    folder = settings().recordings_dir
    name = f"{name}.{variant}" if variant else name
    recording = Recording(folder / f"{name}.json")
    if mode == "record":
        recording = Recording(folder / f"{name}.new.json")
        recording.entries.clear()
    _active = Seam(mode, recording)
    if mode == "record" and _only:
        _active.old, _active.only = Recording(folder / f"{name}.json"), _only
    if mode == "replay":
        _active.computed["bedrock-agent-runtime.Retrieve"] = _retrieve_offline
    explain.show_in_notebook()
    print(_first_line(mode, recording))
    return _active


def active() -> Seam:
    """The seam chosen by `use`; `WorkshopError` before that."""
    if _active is None:
        raise WorkshopError(
            "No recording is chosen. Run the set-up cell first: recordings.use('<notebook name>')."
        )
    return _active


def _first_line(mode: str, recording: Recording) -> str:
    if mode != "replay":
        return f"Mode {mode}: calls go to your AWS account and cost money."
    counts = Counter(entry.get("origin", "unknown") for entry in recording.entries)
    parts = ", ".join(f"{counts[name]} {text}" for name, text in ORIGINS.items() if counts[name])
    return f"Mode replay: no account, no network, no cost. Answers: {parts or 'none recorded'}."


def _retrieve_offline(params: dict[str, Any]) -> Json:
    from helpers.replay.index import open_index

    return open_index(settings().letters_dir).retrieve(params)


def estimated(response: dict[str, Any]) -> bool:
    """Whether numbers in a boto3 response (token counts, latency) are estimates of a replayed answer."""
    return ESTIMATES in response.get("ResponseMetadata", {}).get("HTTPHeaders", {})


def today() -> date:
    """Today's date, or in replay the date of the recording, so that a lesson reads the same next year."""
    return date.fromisoformat(active().recording.date) if active().mode == "replay" else date.today()


def sleep(seconds: float) -> None:
    """Wait between two polls; in replay there is nothing to wait for."""
    if active().mode != "replay":
        time.sleep(seconds)
