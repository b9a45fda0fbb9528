"""From a PDF to passages: the text of its pages, cut at sentence ends, each passage with its page."""

import io
import logging
import re
import warnings
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path

from helpers.offline_index.search_words import CJK, storable

WORDS, OVERLAP, LONGEST_SENTENCE = (
    180,
    40,
    100,
)  # per passage, shared with the passage before, before it is cut

_UNIT = re.compile(rf"[{CJK}]|[^\s{CJK}]+")
_SENTENCE_END = re.compile(r"[.!?][”’\"')\]]*\s+(?=[A-Z“‘\"'($€£\d•◦])|[。！？][”」』]?\s*")


class UnreadableError(Exception):
    """Why a PDF gives no text."""


def read_pages(file: Path) -> list[tuple[int, str]]:
    """Page number (from 1) and text of each page of a PDF; an odd PDF raises with the reason."""
    import pypdf

    log = logging.getLogger("pypdf")
    level = log.level
    log.setLevel(logging.CRITICAL + 1)  # its remarks about odd fonts are not for the notebook
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data = file.read_bytes()
            if not data:
                raise UnreadableError("the file is empty")
            reader = pypdf.PdfReader(io.BytesIO(data))
            if reader.is_encrypted and not reader.decrypt(""):
                raise UnreadableError("encrypted: save a copy without a password")
            pages = [(number, page.extract_text() or "") for number, page in enumerate(reader.pages, 1)]
    except UnreadableError:
        raise
    except Exception as error:  # pypdf raises many kinds on a broken file
        raise UnreadableError(f"broken: {type(error).__name__}: {error}"[:200]) from error
    finally:
        log.setLevel(level)
    if not any(text.strip() for _, text in pages):
        raise UnreadableError("no text, perhaps scanned: run text recognition (OCR) first")
    return pages


def passages(pages: Sequence[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Passages of about WORDS words and the page they start on: whole sentences, equal parts, overlapping.

    A sentence that runs over the end of a page stays whole and belongs to the page where it starts.
    """
    by_page: dict[int, list[tuple[str, int]]] = {}
    for page, sentence in _sentences(pages):
        by_page.setdefault(page, []).append((sentence, len(_UNIT.findall(sentence))))
    for page, sentences in by_page.items():
        total = sum(size for _, size in sentences)
        parts = max(1, round(total / (WORDS - OVERLAP)))
        for part in range(parts):
            start, end = part * total / parts - (OVERLAP if part else 0), (part + 1) * total / parts
            middle, chosen = 0.0, []
            for sentence, size in sentences:
                if start <= middle + size / 2 < end:
                    chosen.append(sentence)
                middle += size
            if chosen:
                yield page, " ".join(chosen)


def _sentences(pages: Sequence[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    text, starts = "", []
    for _, raw in pages:
        starts.append(len(text))
        text += " ".join(re.sub(r"-\n(?=[a-z])", "-", storable(raw)).split()) + " "
    begin = 0
    for end in [*(found.end() for found in _SENTENCE_END.finditer(text)), len(text)]:
        units = list(_UNIT.finditer(text, begin, end))
        for number in range(0, len(units), LONGEST_SENTENCE):
            piece = units[number : number + LONGEST_SENTENCE]
            yield (
                pages[bisect_right(starts, piece[0].start()) - 1][0],
                text[piece[0].start() : piece[-1].end()],
            )
        begin = end
