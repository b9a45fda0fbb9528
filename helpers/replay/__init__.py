"""Who answers the calls of a notebook: chosen once, asked by everything that calls AWS."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import date
from io import BytesIO
from typing import Any

import botocore.session
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from urllib3 import HTTPResponse

from helpers.language import N_, WorkshopError, say
from helpers.replay.recording import Json, Params, Recording, raw, request_of
from helpers.settings import ROOT, settings

RETRIEVE = "bedrock-agent-runtime.Retrieve"
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

    offline = False  # True: AWS is not asked, so no credentials and no region of one's own
    attempts = 8  # of a call
    whose = ""  # who answers the prompts, in English, where it is not the model that was asked for

    def __str__(self) -> str:
        """The first line of a notebook."""
        return say("Mode live: calls go to your AWS account and cost money.")

    def attach(self, session: botocore.session.Session) -> None:
        """Listen to `session`, and so to every client that it makes."""

    def opensearch(self, call: str, params: Params, send: Callable[[], Any]) -> Any:
        """Status, headers and text of the answer to a call that does not pass botocore; `send()` asks the service."""
        return send()

    def stand_in(self, name: str, kept: str) -> None:
        """A recording holds `kept` in place of `name`, which is somebody's own."""

    def today(self) -> date:
        """Today; in replay the day of the recording, so that a lesson reads the same next year."""
        return date.today()

    def sleep(self, seconds: float) -> None:
        """Wait between two looks; in replay there is nothing to wait for."""
        time.sleep(seconds)


class Replay(Live):
    """Answers from the recording of a notebook; what it lacks of Retrieve, from the index over the PDFs."""

    offline = True
    attempts = 1  # a recorded error is shown, never slept on
    whose = N_("a Claude model outside Bedrock, one try each")

    def __init__(self, name: str):
        """`name` is that of the recording; "zh/" before it is the Chinese edition, which shares what it lacks."""
        folder, (edition, _, lesson) = settings().recordings_dir, name.rpartition("/")
        self.recording = Recording(folder / f"{name}.json", folder / f"{lesson}.json" if edition else None)
        self._own_documents = settings().letters_dir != ROOT / "data" / "letters" / edition
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

    def opensearch(self, call: str, params: Params, send: Callable[[], Any]) -> Any:
        """From the recording too."""
        entry = self.answer(call, params)
        return entry["status"], entry["headers"], raw(entry["body"])[1].decode()

    def today(self) -> date:
        """The day of the recording."""
        return self.recording.date

    def sleep(self, seconds: float) -> None:
        """Nothing."""

    def answer(self, call: str, params: Params) -> dict[str, Json]:
        """The entry that answers `call`; `RecordingMissing` when there is none."""
        asked = request_of(params)
        entry = self.recording.find(call, asked, shared=call != RETRIEVE)  # others' documents, others' answers
        if call == RETRIEVE and (entry is None or self._own_documents):
            from helpers.replay.index import open_index  # only here: a recorded lesson loads nothing of it

            return {"origin": "index", "body": {"json": open_index(settings().letters_dir).retrieve(params)}}
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
    return AWSResponse(url, entry.get("status", 200), headers, body(content))


def body(content: bytes) -> HTTPResponse:
    """`content` as botocore reads it from a connection."""
    return HTTPResponse(BytesIO(content), preload_content=False)


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
