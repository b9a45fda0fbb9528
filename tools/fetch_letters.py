"""Download Amazon's letters, named in data/letters/originals.json, into data/letters/originals: `make letters`.

Where originals.json has no SHA-256 (nobody has confirmed one yet), a file must be a PDF whose text holds every mark.
"""

import hashlib
import http.client
import json
import sys
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pypdfium2

from helpers.settings import ROOT

LETTERS = ROOT / "data" / "letters"
TIMEOUT = 30  # seconds without a byte


def problem(entry: dict[str, Any], content: bytes) -> str:
    """What is wrong with `content` as the file of `entry`; "" if nothing is."""
    if entry["sha256"]:
        found = hashlib.sha256(content).hexdigest()
        return "" if found == entry["sha256"] else f"has SHA-256 {found} instead of {entry['sha256']}"
    try:
        with pypdfium2.PdfDocument(content) as pdf:
            text = "".join("".join(page.get_textpage().get_text_range().split()) for page in pdf)
    except pypdfium2.PdfiumError:
        return "is not a readable PDF"
    missing = [mark for mark in entry["marks"] if "".join(mark.split()) not in text]
    return f"does not contain {missing[0]!r}" if missing else ""


def fetch(entry: dict[str, Any], target: Path) -> str:
    """One line on what was done; a whole and right file stands at `target` or none does. ValueError, OSError."""
    url = entry["url"]
    if target.exists():
        if wrong := problem(entry, target.read_bytes()):
            raise ValueError(f"{target} {wrong}: delete it, then run `make letters` again.")
        return "already there"
    try:
        with urlopen(Request(url, headers={"User-Agent": "workshop"}), timeout=TIMEOUT) as answer:
            content = answer.read()
    except (OSError, http.client.HTTPException) as error:  # cut off, or no answer at all
        raise ValueError(f"{target.name}: {url} gave no whole answer ({error}). Are you online?") from error
    if wrong := problem(entry, content):
        raise ValueError(f"{target.name}: the file from {url} {wrong}; it was not kept.")
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(content)
    return "downloaded"


def main(letters: Path = LETTERS) -> int:
    """Fetch every letter; 1 after one line on stderr if one failed."""
    for entry in json.loads((letters / "originals.json").read_text(encoding="utf-8")):
        try:
            print(f"{entry['name']}: {fetch(entry, letters / 'originals' / entry['name'])}")
        except (OSError, ValueError) as error:
            print(error, file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
