"""The file of recorded answers: reading, finding, saving, and saying what is missing."""

import difflib
import json
import os
import re
import threading
from collections import Counter, defaultdict
from datetime import date
from pathlib import Path

from helpers.errors import WorkshopError
from helpers.recordings.scrub import scrub
from helpers.recordings.wire import Json


class RecordingMissing(WorkshopError):
    """Replay has no answer for this request."""


class Recording:
    """The answers of one notebook: `data/recordings/<name>.json`."""

    def __init__(self, path: Path):
        """Read `path`; a missing file is an empty recording, a broken one a `WorkshopError`."""
        self.path = path
        self.used: set[int] = set()
        self._lock = threading.RLock()
        self._position: Counter[str] = Counter()
        self._by_key: dict[str, list[int]] = defaultdict(list)
        try:
            stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        except ValueError as error:
            raise WorkshopError(
                f"{path} is not valid JSON ({error}). Restore it: git checkout {path.name}."
            ) from error
        self.date: str = stored.get("date", date.today().isoformat())
        self.entries: list[dict[str, Json]] = stored.get("entries", [])
        for number, entry in enumerate(self.entries):
            self._by_key[key(entry)].append(number)

    def find(self, call: str, request: Json) -> dict[str, Json] | None:
        """The n-th entry for the n-th same request; the last one repeats, as polling needs."""
        wanted = key({"call": call, "request": request})
        with self._lock:
            numbers = self._by_key.get(wanted)
            if not numbers:
                return None
            number = numbers[min(self._position[wanted], len(numbers) - 1)]
            self._position[wanted] += 1
            self.used.add(number)
            return self.entries[number]

    def add(self, entry: dict[str, Json]) -> None:
        """Append one entry."""
        with self._lock:
            self._by_key[key(entry)].append(len(self.entries))
            self.entries.append(entry)

    def save(self, secrets: tuple[str, ...] = ()) -> None:
        """Write the whole file at once, sorted and scrubbed: readers see the old file or the new one."""
        with self._lock:
            streams: list[str] = []
            entries = [_with_stream_apart(entry, streams) for entry in sorted(self.entries, key=key)]
            head = {"notebook": self.path.stem.removesuffix(".new"), "date": self.date}
            text = json.dumps({**head, "entries": entries}, ensure_ascii=False, indent=1)
            text = _STREAM.sub(lambda found: streams[int(found[1])], text)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            beside = self.path.with_suffix(f".{os.getpid()}.part")
            beside.write_text(scrub(text, secrets) + "\n", encoding="utf-8")
            os.replace(beside, self.path)

    def missing(self, call: str, request: Json) -> RecordingMissing:
        """The error for a request without an entry: what differs from the nearest one, and the ways on."""
        same_call = [entry["request"] for entry in self.entries if entry["call"] == call]
        if not same_call:
            return RecordingMissing(f"There is no recorded answer to {call} in {self.path.name}. {_WAYS_ON}")
        now = _flat(request)
        nearest = min((_flat(other) for other in same_call), key=lambda other: _distance(other, now))
        where = next(name for name in sorted(nearest | now) if nearest.get(name) != now.get(name))
        recorded, wanted = _around_difference(str(nearest.get(where, "-")), str(now.get(where, "-")))
        return RecordingMissing(
            f"There is no recorded answer to this {call}.\n  It differs at {where.lstrip('.')}"
            f"\n    recorded: {recorded}\n    now:      {wanted}\n{_WAYS_ON}"
        )


_WAYS_ON = (
    "Two ways on: undo the edit and run the cell again, or ask the real service with WORKSHOP_MODE=live "
    "(00_setup_check tells how)."
)
_STREAM = re.compile(r'"~stream (\d+)~"')


def _with_stream_apart(entry: dict[str, Json], streams: list[str]) -> dict[str, Json]:
    """`entry` with a mark for its events, which go into `streams` as text with one event a line."""
    if "events" not in entry.get("body", {}):
        return entry
    lines = ",\n     ".join(json.dumps(event, ensure_ascii=False) for event in entry["body"]["events"])
    streams.append(f"[\n     {lines}\n    ]")
    return {**entry, "body": {"events": f"~stream {len(streams) - 1}~"}}


def key(entry: dict[str, Json]) -> str:
    """What an entry is found by: service, operation and canonical parameters."""
    return f"{entry['call']} {json.dumps(entry['request'], sort_keys=True, ensure_ascii=False)}"


def _flat(value: Json, name: str = "") -> dict[str, Json]:
    if isinstance(value, dict):
        parts = [_flat(item, f"{name}.{part}") for part, item in value.items()]
    elif isinstance(value, list):
        parts = [_flat(item, f"{name}[{number}]") for number, item in enumerate(value)]
    else:
        return {name: value}
    return {path: leaf for part in parts for path, leaf in part.items()}


def _distance(one: dict[str, Json], other: dict[str, Json]) -> float:
    names = [name for name in one | other if one.get(name) != other.get(name)]
    alike = sum(
        difflib.SequenceMatcher(None, str(one[name])[:2000], str(other[name])[:2000]).quick_ratio()
        for name in names
        if name in one and name in other
    )
    return len(names) - alike


def _around_difference(recorded: str, now: str, width: int = 60) -> tuple[str, str]:
    first = next(
        (i for i, (a, b) in enumerate(zip(recorded, now, strict=False)) if a != b),
        min(len(recorded), len(now)),
    )
    start = max(0, first - width // 3)

    def cut(text: str) -> str:
        piece = text[start : start + width]
        return ("…" if start else "") + repr(piece)[1:-1] + ("…" if start + width < len(text) else "")

    return cut(recorded), cut(now)
