"""A recording as the source of a service's answers: live mode then sees what replay sees."""

import json
from pathlib import Path

from helpers.replay.index import open_index
from helpers.replay.recording import Recording, request_of
from helpers.settings import Settings
from tests.loopback.answers import Answer, NoAnswer, Params, Raw, ServiceError

LETTERS: Path = Settings.model_fields["letters_dir"].default


class Recorded:
    """Answers from the recording at `path`; Retrieve from the offline index over the shipped letters."""

    def __init__(self, path: Path):
        """`path` is a file of data/recordings."""
        self._recording = Recording(path)

    def __call__(self, service: str, operation: str, params: Params) -> Answer:
        """The recorded answer to `params`; `NoAnswer` where the lesson asked something else."""
        call = f"{service}.{operation}"
        if operation == "Retrieve":
            return open_index(LETTERS).retrieve(params)
        entry = self._recording.find(call, request_of(params))
        if entry is None:
            raise NoAnswer(str(self._recording.missing(call, request_of(params))))
        if entry.get("status", 200) >= 400:
            code = entry["headers"]["x-amzn-errortype"].partition(":")[0]
            raise ServiceError(code, entry["status"], entry["body"]["json"].get("message", ""))
        match entry["body"]:
            case {"events": events} if operation == "ConverseStream":
                return {"stream": [{event["event"]: event["data"]} for event in events]}
            case {"json": message} if operation == "InvokeModel":
                return {"body": message, "contentType": "application/json"}
            case {"json": result}:
                return json.loads(json.dumps(result))
        return Raw(json.dumps(entry["body"]).encode(), 500)
