"""Who answers the calls of a notebook: chosen once, asked by everything that calls AWS."""

import io
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import botocore.session
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from helpers.language import N_, WorkshopError, say
from helpers.replay.recording import Json, Params, Recording, raw, request_of

ORIGINS = {
    "model": N_("{count} from a Claude model outside Amazon Bedrock"),
    "index": N_("{count} from the offline index over the PDFs"),
    "api-model": N_("{count} written from the service's API model"),
    "service": N_("{count} captured from the live service"),
}
REFUSED = "x-workshop-refused"  # response header: a learner's own server said no, in words of its own
_ESTIMATES = "x-workshop-estimated"  # response header: the fields that nobody measured


class Live:
    """AWS answers, in the learner's account. Other ways to answer have the same interface."""

    offline = False  # True: no credentials, no region of one's own, nothing costs money
    attempts = 8  # of a call
    whose = ""  # who answers the prompts, in English, where it is not the model that was asked for

    def __str__(self) -> str:
        """The first line of a notebook."""
        return say("Mode live: calls go to your AWS account and cost money.")

    def attach(self, session: botocore.session.Session) -> None:
        """Listen to `session`, and so to every client that it makes."""

    def connection(self) -> type:
        """The connection class of opensearch-py, whose calls do not pass botocore."""
        from opensearchpy import Urllib3HttpConnection

        return Urllib3HttpConnection

    def stand_in(self, name: str, kept: str) -> None:
        """A recording holds `kept` in place of `name`, which is somebody's own."""

    def today(self) -> date:
        """Today; in replay the day of the recording, so that a lesson reads the same next year."""
        return date.today()

    def sleep(self, seconds: float) -> None:
        """Wait between two looks; in replay there is nothing to wait for."""
        time.sleep(seconds)


class Replay(Live):
    """Answers from `recording`; where it has none, the operations in `computed` from a function.

    With `fresh` the function comes first: the recording was made over other documents.
    """

    offline = True
    attempts = 1  # a recorded error is shown, never slept on
    whose = N_("a Claude model outside Bedrock, one try each")

    def __init__(self, recording: Recording, computed: dict[str, Callable[[Params], Json]], fresh: bool = False):
        """`computed` maps "service.Operation" to a function from parameters to the JSON of the answer."""
        self.recording, self.computed, self._fresh = recording, computed, fresh
        self._asked = threading.local()  # the parameters of a call, on the thread that sends it

    def __str__(self) -> str:
        counts = Counter(entry.get("origin", "unknown") for entry in self.recording.of_this_edition())
        parts = [say(text, count=counts[name]) for name, text in ORIGINS.items() if counts[name]]
        said = say(", ").join(parts) or say("none recorded")
        return say("Mode replay: no account, no network, no cost. Answers: {said}.", said=said)

    def attach(self, session: botocore.session.Session) -> None:
        """Answer before anything is sent; botocore still checks each request and parses each answer."""
        session.register("before-parameter-build", self._remember)
        session.register("before-send", self._send)

    def connection(self) -> type:
        """A connection class that is answered from the recording too."""
        from helpers.replay.opensearch import answered_by

        return answered_by(lambda call, params, send: self.answer(call, params))

    def today(self) -> date:
        """The day of the recording."""
        return date.fromisoformat(self.recording.date)

    def sleep(self, seconds: float) -> None:
        """Nothing."""

    def answer(self, call: str, params: Params) -> dict[str, Json]:
        """The entry that answers `call`; `RecordingMissing` when there is none."""
        asked = request_of(params)
        entry = self.recording.find(call, asked, shared=call not in self.computed)  # others' documents, others' answers
        if call in self.computed and (entry is None or self._fresh):
            return {"origin": "index", "body": {"json": self.computed[call](params)}}
        if entry is None:
            raise self.recording.missing(call, asked)
        return entry

    def _remember(self, params: Params, **_: Any) -> None:
        self._asked.params = params

    def _send(self, event_name: str, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        return response(request.url, self.answer(event_name.partition(".")[2], self._asked.params))


def response(url: str, entry: dict[str, Json]) -> AWSResponse:
    """An entry as botocore's HTTP response."""
    kind, content = raw(entry["body"])
    headers = {"content-type": kind, **entry.get("headers", {}), "content-length": str(len(content))}
    if entry.get("estimated"):
        headers[_ESTIMATES] = ", ".join(entry["estimated"])
    return AWSResponse(url, entry.get("status", 200), headers, Body(content))


class Body(io.BytesIO):
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


_active: Live | None = None


def choose(mode: Live) -> None:
    """From now on `mode` answers."""
    global _active
    _active = mode


def active() -> Live:
    """Who answers; `WorkshopError` before `workshop.start` has chosen."""
    if _active is None:
        raise WorkshopError("Nobody answers yet. Run the set-up cell first: workshop.start('<notebook>').")
    return _active


def estimated(answer: dict[str, Any]) -> bool:
    """Whether numbers in a boto3 response (token counts, latency) are estimates of a replayed answer."""
    return _ESTIMATES in answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
