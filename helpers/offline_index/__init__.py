"""Passages of a folder of PDFs behind request and response of Retrieve (bedrock-agent-runtime), offline.

A stand-in to learn on: BM25 (SQLite FTS5) for the words, and for the meaning latent semantic analysis, which
knows only what these PDFs and a small thesaurus teach it. A knowledge base has a trained embedding model.
"""

import contextlib
import hashlib
import json
import math
import operator
import os
import re
import sqlite3
import tempfile
import unicodedata
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import Any

from helpers.errors import WorkshopError
from helpers.offline_index.latent_space import DIMENSIONS, features, latent_space
from helpers.offline_index.pdf_passages import (
    LONGEST_SENTENCE,
    OVERLAP,
    WORDS,
    UnreadableError,
    passages,
    read_pages,
)
from helpers.offline_index.search_words import TOKENIZER, canonical, content_words, other_words, storable

BUCKET = "claude-workshop-letters"
FORMAT = 1  # raise it when passages, features or tables change, so that old cache files are not used

_SCHEMA = f"""
CREATE TABLE passage(id INTEGER PRIMARY KEY, file TEXT, page INTEGER, text TEXT, vector BLOB);
CREATE TABLE feature(name TEXT PRIMARY KEY, vector BLOB) WITHOUT ROWID;
CREATE TABLE skipped(file TEXT PRIMARY KEY, reason TEXT) WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5(text, content='', tokenize='{TOKENIZER}');
"""
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "equals": operator.eq,
    "notEquals": operator.ne,
    "greaterThan": operator.gt,
    "greaterThanOrEquals": operator.ge,
    "lessThan": operator.lt,
    "lessThanOrEquals": operator.le,
    "in": lambda found, wanted: found in wanted,
    "notIn": lambda found, wanted: found not in wanted,
    "startsWith": lambda found, wanted: bool(found.startswith(wanted)),
    "stringContains": lambda found, wanted: wanted in found,
}


class OfflineIndex:
    """Answers Retrieve from one index; `skipped` maps a file name to the reason why its PDF is not in it."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database, self._lock = database, Lock()
        skipped = database.execute("SELECT file, reason FROM skipped ORDER BY file")
        self.skipped: dict[str, str] = dict(skipped)
        rows = database.execute("SELECT id, file, page, text, vector FROM passage ORDER BY id").fetchall()
        self._passages: list[tuple[str, int, str]] = [row[1:4] for row in rows]
        self._vectors = b"".join(row[4] for row in rows)  # float64, (passages, dimensions)
        self._metadata = [_metadata(*passage, number) for number, passage in enumerate(self._passages)]
        self._key = hashlib.sha256("\0".join(f"{row[1]}\0{row[3]}" for row in rows).encode()).hexdigest()

    def retrieve(self, params: dict[str, Any]) -> dict[str, Any]:
        """The JSON body that Retrieve would answer to `params`; `WorkshopError` for what it cannot do.

        Scores are 0 to 1, best first, comparable within one answer. SEMANTIC: cosine of question and passage
        in the latent space. HYBRID, the default: the mean of that and of BM25 scaled to the same maximum,
        a convex combination (Bruch, Gai, Ingber 2023).
        """
        question = params.get("retrievalQuery", {}).get("text")
        settings = dict((params.get("retrievalConfiguration") or {}).get("vectorSearchConfiguration") or {})
        count, kind = settings.pop("numberOfResults", 5), settings.pop("overrideSearchType", "HYBRID")
        wanted = settings.pop("filter", None)
        others = {"guardrailConfiguration", "userContext"} & params.keys() | settings.keys()
        others |= (params.get("retrievalConfiguration") or {}).keys() - {"vectorSearchConfiguration"}
        if others:
            names = ", ".join(sorted(others))
            raise WorkshopError(f"The offline index has no {names}: leave it out, or go live.")
        if not isinstance(question, str) or len(question) > 20_000:
            raise WorkshopError("The offline index takes a question as text of at most 20,000 characters.")
        if not 1 <= count <= 100 or kind not in ("HYBRID", "SEMANTIC"):
            raise WorkshopError("Give numberOfResults 1 to 100 and overrideSearchType HYBRID or SEMANTIC.")
        request = json.dumps([self._key, question, kind, wanted], sort_keys=True, default=str)
        key = hashlib.sha256(request.encode()).hexdigest()[:16]
        first, _, token_key = str(params.get("nextToken") or f"0-{key}").partition("-")
        if token_key != key or not first.isdecimal():
            raise WorkshopError("This nextToken is of another request: ask again without it, then page on.")
        ranked = self._ranked(question, kind)
        if wanted is not None:
            ranked = [hit for hit in ranked if _matches(wanted, self._metadata[hit[0]])]
        start, end = int(first), int(first) + count
        body: dict[str, Any] = {
            "retrievalResults": [
                {
                    "content": {"text": self._passages[number][2], "type": "TEXT"},
                    "location": {"type": "S3", "s3Location": {"uri": _uri(self._passages[number][0])}},
                    "metadata": dict(self._metadata[number]),
                    "score": score,
                }
                for number, score in ranked[start:end]
            ]
        }
        return body | ({"nextToken": f"{end}-{key}"} if end < len(ranked) else {})

    def _ranked(self, question: str, kind: str) -> list[tuple[int, float]]:
        """Passage numbers with their scores, best first; rounding makes them the same on every machine."""
        others = other_words(question)  # what the thesaurus adds counts half
        with self._lock:
            scores = self._cosines(question, others)
            words = self._bm25(question)
            for number, score in self._bm25(others).items():
                words[number] = words.get(number, 0.0) + score / 2
        if kind == "HYBRID":
            best = max(scores.values(), default=0.1)  # no feature known: BM25 alone, at a low score
            scale = best / max(words.values(), default=1.0)
            found = scores.keys() | words.keys()
            scores = {n: (scores.get(n, 0.0) + scale * words.get(n, 0.0)) / 2 for n in found}
        rounded = [(number, min(round(score, 4), 1.0)) for number, score in scores.items()]
        return sorted((hit for hit in rounded if hit[1] > 0), key=lambda hit: (-hit[1], hit[0]))

    def _bm25(self, text: str) -> dict[int, float]:
        """BM25 of the passages that share a word with the text (Robertson, Zaragoza 2009; k1 1.2, b 0.75)."""
        match = " OR ".join(f'"{word}"' for word in dict.fromkeys(content_words(text)))
        query = "SELECT rowid, -bm25(words) FROM words WHERE words MATCH ?"
        return dict(self._database.execute(query, (match,))) if match else {}

    def _cosines(self, *texts: str) -> dict[int, float]:
        """Cosine (if above 0) of each passage with two texts in the latent space; the second counts half."""
        import numpy as np

        vectors = np.frombuffer(self._vectors).reshape(len(self._passages) or 1, -1)
        asked = np.zeros(vectors.shape[1])
        for weight, counter in zip((1.0, 0.5), features(texts), strict=True):
            vector = np.zeros_like(asked)
            for name, count in sorted(counter.items()):
                for (row,) in self._database.execute("SELECT vector FROM feature WHERE name = ?", (name,)):
                    vector += math.log1p(count) * np.frombuffer(row)
            asked += weight * vector / (np.linalg.norm(vector) or 1.0)
        cosines = vectors @ asked / (np.linalg.norm(asked) or 1.0)
        return {number: float(cosine) for number, cosine in enumerate(cosines) if cosine > 0}


def open_index(folder: Path, cache: Path) -> OfflineIndex:
    """The index of the PDFs in `folder`, read from `cache` or built (and kept there if it can be written)."""
    found = [file for file in folder.glob("*") if file.suffix.lower() == ".pdf" and file.name[0] != "."]
    files = sorted((file for file in found if file.is_file()), key=_name)
    if not files:
        raise WorkshopError(f"There is no PDF in {folder}: put one there, or correct WORKSHOP_LETTERS_DIR.")
    made_by = (FORMAT, version("pypdf"), WORDS, OVERLAP, LONGEST_SENTENCE, DIMENSIONS)
    digest = hashlib.sha256(repr(made_by).encode())
    for file in files:
        digest.update(b"\0" + _name(file).encode() + b"\0")
        with contextlib.suppress(OSError):  # read_pages names it
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    prefix = hashlib.sha256(str(folder.resolve()).encode("utf-8", "replace")).hexdigest()[:8]
    stored = cache / f"letters-{prefix}-{digest.hexdigest()[:24]}.sqlite"
    with contextlib.suppress(sqlite3.Error, OSError):  # a damaged cache file is built again
        if stored.is_file():
            return OfflineIndex(_loaded(stored))
    database = _built(files)
    with contextlib.suppress(sqlite3.Error, OSError):  # not writable: it stays in memory
        _save(database, stored)
        for old in cache.glob(f"letters-{prefix}-*.sqlite"):
            if old != stored:
                old.unlink()
    return OfflineIndex(database)


def _loaded(stored: Path) -> sqlite3.Connection:
    """A copy in memory, so that no open file keeps another process from replacing it (Windows)."""
    database = sqlite3.connect(":memory:", check_same_thread=False)
    with contextlib.closing(sqlite3.connect(stored)) as source:
        source.backup(database)
    return database


def _save(database: sqlite3.Connection, stored: Path) -> None:
    """Written beside and moved into place: readers see a whole file or none; the last builder wins."""
    stored.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(suffix=".partial", dir=stored.parent)
    os.close(handle)
    try:
        with contextlib.closing(sqlite3.connect(name)) as target:
            database.backup(target)
        os.replace(name, stored)
    finally:
        Path(name).unlink(missing_ok=True)


def _built(files: Sequence[Path]) -> sqlite3.Connection:
    database = sqlite3.connect(":memory:", check_same_thread=False)
    database.executescript(_SCHEMA)
    kept: list[tuple[str, int, str]] = []
    for file in files:
        name = _name(file)
        try:
            kept += [(name, page, text) for page, text in passages(read_pages(file))]
        except UnreadableError as error:
            database.execute("INSERT INTO skipped VALUES (?, ?)", (name, str(error)))
    directions, vectors = latent_space(features([text for _, _, text in kept]))
    for number, (passage, vector) in enumerate(zip(kept, vectors, strict=True)):
        database.execute("INSERT INTO passage VALUES (?, ?, ?, ?, ?)", (number, *passage, vector))
        database.execute("INSERT INTO words(rowid, text) VALUES (?, ?)", (number, canonical(passage[2])))
    database.executemany("INSERT INTO feature VALUES (?, ?)", directions.items())
    database.commit()
    return database


def _metadata(file: str, page: int, text: str, number: int) -> dict[str, Any]:
    chunk = hashlib.sha256(f"{file}\0{number}\0{text}".encode()).hexdigest()[:20]
    year = re.search(r"(?<!\d)(?:19|20)\d\d(?!\d)", file)
    return {
        "x-amz-bedrock-kb-source-uri": _uri(file),
        "x-amz-bedrock-kb-document-page-number": float(page),
        "x-amz-bedrock-kb-chunk-id": chunk,
        "x-amz-bedrock-kb-data-source-id": "OFFLINEPDF",
    } | ({"year": float(year[0])} if year else {})


def _matches(wanted: dict[str, Any], metadata: dict[str, Any]) -> bool:
    """Whether a passage passes a filter of Retrieve; without the attribute only notEquals and notIn do."""
    name = next(iter(wanted), "none")
    if len(wanted) != 1 or name not in {"andAll", "orAll", *_OPERATORS}:
        given, known = ", ".join(wanted) or "none", ", ".join(["andAll", "orAll", *_OPERATORS])
        raise WorkshopError(f"A filter has one operator, here it has: {given}. Offline there are {known}.")
    if name in ("andAll", "orAll"):
        return (all if name == "andAll" else any)([_matches(part, metadata) for part in wanted[name]])
    key, value = wanted[name]["key"], wanted[name]["value"]
    if key not in metadata:
        return name in ("notEquals", "notIn")
    try:
        return _OPERATORS[name](metadata[key], value)
    except (TypeError, AttributeError) as error:
        problem = f"cannot compare {key}, here {metadata[key]!r}, by {name} with {value!r}"
        raise WorkshopError(f"The filter {problem}: give a value of the same type.") from error


def _name(file: Path) -> str:
    """The file name in one Unicode form, as macOS and others store it differently."""
    return storable(unicodedata.normalize("NFC", file.name))


def _uri(file: str) -> str:
    return f"s3://{BUCKET}/{file}"
