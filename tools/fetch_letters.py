"""Download Amazon's letters, named in data/letters/originals.json, into data/letters/originals: `make letters`.

Where originals.json has no SHA-256 (nobody has confirmed one yet), a file must be a PDF whose text holds every mark.
"""

import hashlib
import json
import sys
from http.client import HTTPException
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


def main(letters: Path = LETTERS) -> str | None:
    """Fetch every letter; what went wrong, in a line. A whole and right file stands in the folder or none does."""
    folder = letters / "originals"
    folder.mkdir(exist_ok=True)
    for entry in json.loads((letters / "originals.json").read_text(encoding="utf-8")):
        target, url = folder / entry["name"], entry["url"]
        if target.exists():
            if wrong := problem(entry, target.read_bytes()):
                return f"{target} {wrong}: delete it, then run `make letters` again."
            print(f"{target.name}: already there")
            continue
        try:
            with urlopen(Request(url, headers={"User-Agent": "workshop"}), timeout=TIMEOUT) as answer:
                content = answer.read()
        except (OSError, HTTPException) as error:  # cut off, or no answer at all
            return f"{target.name}: {url} gave no whole answer ({error}). Are you online?"
        if wrong := problem(entry, content):
            return f"{target.name}: the file from {url} {wrong}; it was not kept."
        (part := target.with_suffix(".part")).write_bytes(content)
        part.replace(target)
        print(f"{target.name}: downloaded")


if __name__ == "__main__":
    sys.exit(main())
