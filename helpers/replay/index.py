"""Retrieve (bedrock-agent-runtime) offline: passages of a folder of PDFs, found by their words.

A stand-in to learn on, made of scikit-learn's parts: tf-idf for the words, latent semantic analysis for the
meaning, as far as these PDFs teach it. A knowledge base has a trained embedding model.
"""

import hashlib
import operator
import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from helpers.errors import WorkshopError
from helpers.replay.chinese import english_words

BUCKET = "claude-workshop-letters"
CHARACTERS, OVERLAP = 1400, 400  # of a passage, as 300 tokens in lesson 03; shared with the one before
DIMENSIONS = 100
CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3"  # scripts without spaces: each character is a word
_ENDS = [r"(?<=[.!?])[”’\"')\]]*\s+(?=[A-Z“‘\"'($€£\d•◦])", r"(?<=[。！？])", r"\s", ""]
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
    """Answers Retrieve over `files`; `skipped` maps the name of a PDF without text to the reason."""

    def __init__(self, files: tuple[Path, ...]) -> None:
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.pipeline import make_pipeline, make_union
        from sklearn.preprocessing import Normalizer

        self.skipped: dict[str, str] = {}
        self._hits = [_hit(*passage) for file in files for passage in self._passages(file)]
        texts = [hit["content"]["text"] for hit in self._hits]
        if not texts:
            return
        common = {"sublinear_tf": True, "preprocessor": _spaced}
        words = TfidfVectorizer(ngram_range=(1, 2), stop_words="english", token_pattern=rf"\w\w+|[{CJK}]", **common)
        letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(4, 5), **common)  # German is near Germany
        self._words = make_pipeline(make_union(words, letters), Normalizer())
        self._by_words = self._words.fit_transform(texts)
        if len(texts) == 1:
            self._meaning = Normalizer()  # one passage spans no space
        else:
            svd = TruncatedSVD(min(DIMENSIONS, len(texts) - 1), algorithm="arpack", random_state=0)
            self._meaning = make_pipeline(svd, Normalizer())
        self._by_meaning = self._meaning.fit_transform(self._by_words)

    def retrieve(self, params: dict[str, Any]) -> dict[str, Any]:
        """The JSON body that Retrieve would answer to `params`; `WorkshopError` for what it cannot do.

        Scores are 0 to 1, comparable within one answer. SEMANTIC: cosine of question and passage in the latent
        space. HYBRID, the default: the mean of that and of the cosine of their tf-idf.
        """
        question = params["retrievalQuery"]["text"]
        settings = dict((params.get("retrievalConfiguration") or {}).get("vectorSearchConfiguration") or {})
        count, kind = settings.pop("numberOfResults", 5), settings.pop("overrideSearchType", "HYBRID")
        wanted = settings.pop("filter", None)
        if settings or "guardrailConfiguration" in params:
            names = ", ".join(settings) or "guardrailConfiguration"
            raise WorkshopError(f"The offline index has no {names}: leave it out, or go live.")
        hits = zip(self._scores(question, kind), self._hits, strict=True)
        ranked = sorted((hit for hit in hits if hit[0] > 0), key=lambda hit: -hit[0])  # stable: as in the PDFs
        found = [hit | {"score": score} for score, hit in ranked if not wanted or _matches(wanted, hit["metadata"])]
        return {"retrievalResults": found[:count]}

    def _scores(self, question: str, kind: str) -> list[float]:
        if not self._hits:
            return []
        asked = self._words.transform([f"{question} {english_words(question)}"])
        cosines = self._meaning.transform(asked) @ self._by_meaning.T
        scores = cosines.toarray()[0] if len(self._hits) == 1 else cosines[0]
        if kind == "HYBRID":
            scores = (scores + (asked @ self._by_words.T).toarray()[0]) / 2
        return [min(round(float(score), 4), 1.0) for score in scores]  # rounded: the same on every machine

    def _passages(self, file: Path) -> Iterator[tuple[str, int, str]]:
        """File name, page (from 1) and text of each passage."""
        import pypdfium2
        from langchain_text_splitters import RecursiveCharacterTextSplitter

        cutter = RecursiveCharacterTextSplitter(
            _ENDS, chunk_size=CHARACTERS, chunk_overlap=OVERLAP, is_separator_regex=True, keep_separator="end"
        )
        name = unicodedata.normalize("NFC", file.name)  # macOS stores it differently
        try:
            with pypdfium2.PdfDocument(file) as pdf:
                pages = [page.get_textpage().get_text_range() for page in pdf]
        except (pypdfium2.PdfiumError, OSError) as error:
            self.skipped[name] = f"broken or encrypted: {error}"
            return
        if not any(page.strip() for page in pages):
            self.skipped[name] = "no text, perhaps scanned: run text recognition (OCR) first"
        for number, page in enumerate(pages, 1):
            text = " ".join(re.sub(r"(-|\ufffe)\s*\n(?=[a-z])|\ufffe", "-", page).replace("\0", " ").split())
            yield from ((name, number, piece) for piece in cutter.split_text(text))


def open_index(folder: Path) -> OfflineIndex:
    """The index of the PDFs in `folder`, built again when one of them has changed."""
    files = [file for file in sorted(folder.glob("*")) if file.suffix.lower() == ".pdf" and file.name[0] != "."]
    if not files:
        raise WorkshopError(f"There is no PDF in {folder}: put one there, or correct WORKSHOP_LETTERS_DIR.")
    return _built(tuple(files), tuple(file.stat().st_mtime_ns for file in files))


@lru_cache(maxsize=2)
def _built(files: tuple[Path, ...], changed: tuple[int, ...]) -> OfflineIndex:
    return OfflineIndex(files)


def _spaced(text: str) -> str:
    return re.sub(rf"([{CJK}])", r" \1 ", unicodedata.normalize("NFKC", text).lower())


def _hit(file: str, page: int, text: str) -> dict[str, Any]:
    """One of `retrievalResults`, still without its score."""
    uri, year = f"s3://{BUCKET}/{file}", re.search(r"(?<!\d)(?:19|20)\d\d(?!\d)", file)
    metadata: dict[str, Any] = {
        "x-amz-bedrock-kb-source-uri": uri,
        "x-amz-bedrock-kb-document-page-number": float(page),
        "x-amz-bedrock-kb-chunk-id": hashlib.sha256(f"{file} {page} {text}".encode()).hexdigest()[:20],
        "x-amz-bedrock-kb-data-source-id": "OFFLINEPDF",
    } | ({"year": float(year[0])} if year else {})
    location = {"type": "S3", "s3Location": {"uri": uri}}
    return {"content": {"text": text, "type": "TEXT"}, "location": location, "metadata": metadata}


def _matches(wanted: dict[str, Any], metadata: dict[str, Any]) -> bool:
    """Whether a passage passes a filter of Retrieve; without the attribute only notEquals and notIn do."""
    [(name, value)] = wanted.items()
    if name in ("andAll", "orAll"):
        return (all if name == "andAll" else any)(_matches(part, metadata) for part in value)
    if name not in _OPERATORS:
        raise WorkshopError(f"The offline index has no {name}; it has andAll, orAll, {', '.join(_OPERATORS)}.")
    if value["key"] not in metadata:
        return name in ("notEquals", "notIn")
    try:
        return _OPERATORS[name](metadata[value["key"]], value["value"])
    except (TypeError, AttributeError) as error:
        raise WorkshopError(f"The filter compares {value['key']} with a value of another type: {error}") from error
