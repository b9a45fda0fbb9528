"""The file of recorded answers: how a request is found in it, what an answer's bytes are, what is missing."""

import base64
import binascii
import hashlib
import json
import re
import struct
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from itertools import count
from os.path import commonprefix
from pathlib import Path
from typing import Any

from helpers.language import N_, WorkshopError, say

Json = Any
Params = dict[str, Any]
_NEW_EACH_TIME = {"ClientToken", "clientToken", "clientRequestToken", "ClientRequestToken"}
_SPOKEN = re.compile("bedrock-(agent-)?runtime")  # calls that answer in a language
_SHOWN = 20  # recorded requests that an error lists
_WAYS_ON = N_(
    "Ways on: ask what is recorded (undo the edit, or choose from the list), let a model server of yours answer "
    "(WORKSHOP_MODE=server, see README.md), or ask the real service (WORKSHOP_MODE=live, 00_setup_check tells how)."
)


class RecordingMissing(WorkshopError):
    """Replay has no answer for this request."""


class Recording:
    """The answers of one notebook: `data/recordings/<name>.json`; the format is in data/recordings/README.md.

    What a notebook of another edition lacks, it shares with the English one.
    """

    def __init__(self, path: Path, shared: Path | None = None):
        """Read `path`, and `shared`; a missing file is an empty recording, one of another form a `WorkshopError`."""
        self.shared = Recording(shared) if shared else None
        self.path, self.entries = path, list[dict[str, Json]]()
        self._turns: dict[str, Iterator[int]] = defaultdict(count)  # next() is one step, whatever the threads
        self.by_key: dict[str, list[dict[str, Json]]] = defaultdict(list)
        try:
            stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            self.date = date.fromisoformat(stored["date"]) if "date" in stored else date.today()
            for entry in stored.get("entries", []):  # a part that is missing is a KeyError here and not at the call
                self.add({**entry, "call": entry["call"], "request": entry["request"], "body": entry["body"]})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            told = N_('{file} is not a recording ({problem}). Restore it: git checkout "{file}".')
            problem = f"{type(error).__name__}: {error}"
            raise WorkshopError(told, file=path, problem=problem) from error
        if self.shared and not self.entries:
            self.date = self.shared.date

    def add(self, entry: dict[str, Json]) -> None:
        """Append one entry."""
        self.by_key[key(entry)].append(entry)
        self.entries.append(entry)

    def of_this_edition(self) -> list[dict[str, Json]]:
        """Its own entries, and those shared ones that are in no language: what a model or an index says is not."""
        shared = self.shared.entries if self.shared else []
        return self.entries + [entry for entry in shared if not _SPOKEN.match(entry["call"])]

    def find(self, call: str, request: Json, shared: bool = True) -> dict[str, Json] | None:
        """The n-th entry for the n-th same request; the last one repeats, as polling needs.

        One of its own, or else (if `shared`) of the English edition.
        """
        wanted = key({"call": call, "request": request})
        number = next(self._turns[wanted])
        others = self.shared.by_key if shared and self.shared else {}
        found = self.by_key.get(wanted) or others.get(wanted)
        return found[min(number, len(found) - 1)] if found else None

    def missing(self, call: str, request: Json) -> RecordingMissing:
        """The error for a request without an entry: where the nearest one differs, what there is, the ways on."""
        entries = self.entries + (self.shared.entries if self.shared else [])
        others = [entry["request"] for entry in entries if entry["call"] == call]
        if not others:
            none = say("There is no recorded answer to {call} in {file}.", call=call, file=self.path.name)
            return RecordingMissing(f"{none} {say(_WAYS_ON)}")
        now = _text(request)
        near = max(map(_text, others), key=lambda other: _alike(other, now))
        start = _alike(near, now)
        recorded, changed = (repr(text[max(0, start - 20) : start + 40])[1:-1] for text in (near, now))
        asked, told = _in_short(request), [each for each in map(_in_short, others) if each[1]]
        same = [] if asked in told else [rules[-90:] for rules, words in told if words == asked[1]]
        choice = [say("the same, with the system prompt …{rules}", rules=each) for each in same]
        choice = list(dict.fromkeys([*choice, *(words for _, words in told)]))
        lines = [
            say("There is no recorded answer to this {call}.", call=call),
            say("The nearest request differs here:"),
            say("  recorded: …{text}…", text=recorded),
            say("  now:      …{text}…", text=changed),
        ]
        lines += [say("Recorded for this call:")] * bool(choice) + [f"  - {each}" for each in choice[:_SHOWN]]
        lines += [say("  and {count} more", count=len(choice) - _SHOWN)] * (len(choice) > _SHOWN)
        return RecordingMissing("\n".join([*lines, say(_WAYS_ON)]))


def key(entry: dict[str, Json]) -> str:
    """What an entry is found by: service, operation and canonical parameters."""
    return f"{entry['call']} {_text(entry['request'])}"


def request_of(params: Params) -> Json:
    """The canonical request that an entry is keyed on: sorted, without tokens that are new in every run."""
    return canonical({name: it for name, it in params.items() if name not in _NEW_EACH_TIME and it is not None})


def canonical(value: Any) -> Json:
    """API parameters as sorted JSON: bytes and files become a digest, JSON strings are opened."""
    if isinstance(value, dict):
        return {str(name): canonical(value[name]) for name in sorted(value, key=str)}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    if hasattr(value, "read"):  # a file, as which botocore sends bytes too
        start, content = value.tell(), value.read()
        value.seek(start)
        return canonical(content)
    if isinstance(value, bytes | bytearray):
        return _opened(value) or {"sha256": hashlib.sha256(value).hexdigest()[:16], "bytes": len(value)}
    if isinstance(value, str):
        return (value[:1] == "{" and _opened(value)) or value
    return value if isinstance(value, bool | int | float | None) else str(value)


def _opened(text: str | bytes | bytearray) -> dict[str, Json] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return {"json": canonical(value)} if isinstance(value, dict) else None


def raw(body: dict[str, Json]) -> tuple[str, bytes]:
    """Content type and bytes of an entry's body, which holds events, json, text or base64."""
    match body:
        case {"events": events}:
            return "application/vnd.amazon.eventstream", b"".join(map(_event, events))
        case {"json": value}:
            return "application/json", json.dumps(value).encode()
        case {"text": text}:
            return "text/xml", str(text).encode()
        case {"base64": text}:
            return "application/octet-stream", base64.b64decode(text)
    raise ValueError(f"a body holds events, json, text or base64, not {sorted(body)}")


def _event(event: dict[str, Json]) -> bytes:
    """One message of application/vnd.amazon.eventstream.

    Layout: https://docs.aws.amazon.com/transcribe/latest/dg/event-stream.html
    """
    data, kind = event["data"], "exception" if "exception" in event else "event"
    if "chunk" in data:  # InvokeModelWithResponseStream wraps its JSON in base64
        data = {"bytes": base64.b64encode(json.dumps(data["chunk"]).encode()).decode()}
    headers = {f":{kind}-type": event[kind], ":content-type": "application/json", ":message-type": kind}
    head, payload = b"", json.dumps(data).encode()
    for name, value in ((name.encode(), value.encode()) for name, value in headers.items()):
        head += struct.pack(">B", len(name)) + name + struct.pack(">BH", 7, len(value)) + value  # 7: a string
    prelude = struct.pack(">II", 16 + len(head) + len(payload), len(head))
    prelude += struct.pack(">I", binascii.crc32(prelude))
    return prelude + head + payload + struct.pack(">I", binascii.crc32(prelude + head + payload))


def _text(request: Json) -> str:
    return json.dumps(request, sort_keys=True, ensure_ascii=False)


def _alike(one: str, other: str) -> int:
    return len(commonprefix([one, other]))  # noqa: RUF071  of characters, from the beginning


def _in_short(request: Json) -> tuple[str, str]:
    """The system prompt, and the end of what a prompt says with its limit; "" for a request that is no prompt."""
    try:
        body = request.get("body", {}).get("json", request)
        system, content = body.get("system", ""), (body.get("messages") or [{}])[-1].get("content", "")
        rules, words = map(_words, (system, content))
        limit = body.get("max_tokens") or body.get("inferenceConfig", {}).get("maxTokens")
    except (AttributeError, KeyError, TypeError):  # a body that no model would take
        return "", ""
    return rules, words and say("…{words} (at most {limit} tokens)", words=words[-90:], limit=limit)


def _words(content: Json) -> str:
    """The text of a content, be it a string or a list of parts, in one line."""
    parts = [content] if isinstance(content, str) else [part.get("text", "") for part in content]
    return " ".join(" ".join(filter(None, parts)).split())
