"""Download the original letters named in data/letters/originals.json into data/letters/originals.

    python tools/fetch_letters.py             download what is missing, and check it
    python tools/fetch_letters.py --record    also write size and SHA-256 into originals.json

A download that stopped goes on where it ended. An entry is {name, url, bytes, sha256, marks}. Where size and
SHA-256 are known, the file must have them. Where they are null (nobody has confirmed them yet), the file must
be a readable PDF whose text holds every one of the marks.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import re
import ssl
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import OpenerDirector, ProxyHandler, Request, build_opener

from pypdf import PdfReader
from tqdm import tqdm  # type: ignore[import-untyped]

LETTERS = Path(__file__).resolve().parents[1] / "data" / "letters"
TIMEOUT = 30.0  # seconds without a byte
CHUNK = 1 << 16  # bytes
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
USER_AGENT = "claude-on-bedrock-workshop/1.0 (fetch_letters)"


class FetchError(Exception):
    """Raised when a letter could not be fetched; the message is one line that says what to do next."""


@dataclass(frozen=True)
class Original:
    """One file to fetch; `bytes` and `sha256` are None until somebody has confirmed them."""

    name: str
    url: str
    bytes: int | None
    sha256: str | None
    marks: tuple[str, ...]


def read_list(path: Path) -> list[Original]:
    """Return the entries of originals.json; raise FetchError where one is unusable."""
    try:
        entries = [
            Original(e["name"], e["url"], e["bytes"], e["sha256"], tuple(e["marks"]))
            for e in json.loads(path.read_text(encoding="utf-8"))
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FetchError(f"{path}: cannot be used ({error!r}); restore it from the repository.") from error
    for entry in entries:
        parts = urlsplit(entry.url)
        if parts.scheme != "https" and parts.hostname not in LOOPBACK:
            raise FetchError(f"{path}: {entry.name}: the address must start with https://.")
        if not re.fullmatch(r"[\w-][\w.-]*", entry.name):
            raise FetchError(f"{path}: {entry.name!r} is not a plain file name.")
        if (entry.bytes is None) != (entry.sha256 is None) or not (entry.sha256 or entry.marks):
            raise FetchError(f"{path}: {entry.name}: needs both bytes and sha256, or neither and some marks.")
    return entries


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def problem(entry: Original, path: Path) -> str | None:
    """Return what is wrong with the file at `path` as a copy of `entry`, or None if it is right."""
    if entry.sha256 is not None:
        size = path.stat().st_size
        if size != entry.bytes:
            return f"has {size} bytes instead of {entry.bytes}"
        found = sha256_of(path)
        return None if found == entry.sha256 else f"has SHA-256 {found} instead of {entry.sha256}"
    try:
        text = "".join("".join(page.extract_text() for page in PdfReader(path).pages).split())
    except Exception as error:  # pypdf raises many types on a file that is not a PDF
        return f"is not a readable PDF ({type(error).__name__})"
    missing = [mark for mark in entry.marks if "".join(mark.split()) not in text]
    return f"does not contain {missing[0]!r}" if missing else None


def _opener(url: str) -> OpenerDirector:
    # A proxy cannot reach this machine's own loopback address, whatever the environment says.
    return build_opener(ProxyHandler({})) if urlsplit(url).hostname in LOOPBACK else build_opener()


def download(url: str, part: Path, label: str) -> None:
    """Fetch `url` into `part`, continuing at its end if the server can; raise FetchError if incomplete."""
    have = part.stat().st_size if part.exists() else 0
    early = f"{label}: the connection ended early. Run `make letters` again to continue."
    headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        with _opener(url).open(Request(url, headers=headers), timeout=TIMEOUT) as response:
            start = _start(response, have)
            length = response.headers.get("Content-Length")
            total = start + int(length) if length else None
            part.parent.mkdir(parents=True, exist_ok=True)
            with (
                part.open("ab" if start else "wb") as file,
                tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=label, disable=None) as bar,
            ):
                while chunk := response.read(CHUNK):
                    file.write(chunk)
                    bar.update(len(chunk))
    except HTTPError as error:
        if error.code == 416 and have:
            # The part is as long as the file, or longer: let the caller check it, and drop it if it is wrong.
            return
        raise FetchError(f"{label}: the server answered {error.code} {error.reason} for {url}.") from error
    except http.client.IncompleteRead as error:
        raise FetchError(early) from error
    except (URLError, ConnectionError, TimeoutError, ssl.SSLError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise FetchError(
            f"{label}: cannot reach {urlsplit(url).hostname} ({reason}). Check the connection and run "
            "`make letters` again; the workshop itself does not need these files."
        ) from error
    except OSError as error:
        raise FetchError(f"{label}: {part} cannot be written ({error.strerror}).") from error
    if total is not None and part.stat().st_size < total:
        raise FetchError(early)


def _start(response: Any, have: int) -> int:
    """Return the byte at which the body of `response` starts: `have`, or 0 if Range was ignored."""
    if response.status != 206:
        return 0
    content_range = response.headers.get("Content-Range", "")
    if not content_range.startswith(f"bytes {have}-"):
        raise http.client.HTTPException(f"the server sent the range {content_range!r}, not the one asked for")
    return have


def fetch(entry: Original, folder: Path) -> str:
    """Make sure that `folder` holds a right copy of `entry`; return what was done, or raise FetchError."""
    target, part = folder / entry.name, folder / f"{entry.name}.part"
    if target.exists():
        wrong = problem(entry, target)
        if wrong:
            raise FetchError(f"{target}: {wrong}. Delete it and run `make letters` again.")
        return "already there"
    resumed = part.exists()
    download(entry.url, part, entry.name)
    wrong = problem(entry, part)
    if wrong and resumed:
        # The file may have changed on the server between the two runs: one fresh download settles it.
        part.unlink()
        download(entry.url, part, entry.name)
        wrong = problem(entry, part)
    if wrong:
        part.unlink()
        raise FetchError(f"{entry.name}: the file from {entry.url} {wrong}; it was not kept.")
    part.replace(target)
    return "downloaded"


def record(entries: Sequence[Original], folder: Path, listing: Path) -> None:
    """Write size and SHA-256 of every file in `folder` into the list; the write is atomic."""
    measured = [replace(e, bytes=(folder / e.name).stat().st_size, sha256=sha256_of(folder / e.name)) for e in entries]
    half = listing.with_suffix(".part")
    half.write_text(json.dumps([asdict(e) for e in measured], indent=2) + "\n", encoding="utf-8")
    half.replace(listing)


def main(argv: Sequence[str] | None = None, letters: Path = LETTERS) -> int:
    """Fetch every original; return 0 if all are there and right, 1 after one clear line if not."""
    parser = argparse.ArgumentParser(description="Download the original shareholder letters.")
    parser.add_argument("--record", action="store_true", help="write size and SHA-256 into originals.json")
    record_sums: bool = parser.parse_args(argv).record
    listing, folder = letters / "originals.json", letters / "originals"
    try:
        entries = read_list(listing)
        for entry in entries:
            done = fetch(entry, folder)
            checked = "SHA-256 right" if entry.sha256 else "text checked; SHA-256 not confirmed yet"
            print(f"{entry.name}: {done} ({checked})")
    except FetchError as error:
        print(error, file=sys.stderr)
        return 1
    if record_sums:
        record(entries, folder, listing)
        print(f"wrote size and SHA-256 into {listing.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
