"""Recordings as the source of a service's answers: live mode then sees what replay sees."""

from typing import Any

from helpers.replay.index import open_index
from helpers.replay.recording import Recording, request_of
from helpers.settings import Settings
from tests.loopback.answers import Answer, Params, Source
from tests.loopback.replies import json_body

FIELDS = Settings.model_fields
RECORDINGS, LETTERS = FIELDS["recordings_dir"].default, FIELDS["letters_dir"].default


class Recorded:
    """Answers from the recordings of these lessons; Retrieve from the offline index over the shipped letters."""

    def __init__(self, *lessons: str, otherwise: Source):
        """`otherwise` is asked what none of them has."""
        self._recordings = [Recording(RECORDINGS / f"{lesson}.json") for lesson in lessons]
        self._otherwise = otherwise

    def __call__(self, service: str, operation: str, params: Params) -> Answer:
        """The recorded answer to `params`."""
        if operation == "Retrieve":
            return open_index(LETTERS).retrieve(params)
        for recording in self._recordings:
            if entry := recording.find(f"{service}.{operation}", request_of(params)):
                body = entry["body"]
                if operation == "ConverseStream":
                    return {"stream": [{event["event"]: event["data"]} for event in body["events"]]}
                return json_body(body["json"]) if operation == "InvokeModel" else body["json"]
        return self._otherwise(service, operation, params)


def text_of(entry: dict[str, Any]) -> str:
    """The text of a recorded answer, in whichever form of the operations it is."""
    body, events = entry["body"].get("json", {}), entry["body"].get("events", [])
    parts = body.get("output", {}).get("message", body).get("content", [])
    return "".join(part.get("text", "") for part in [*parts, *(event["data"].get("delta", {}) for event in events)])
