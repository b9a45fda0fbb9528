"""Retrieve (bedrock-agent-runtime) over a folder of PDFs on this machine.

A stand-in to learn on, from scikit-learn's parts: tf-idf for the words, latent semantic analysis for the meaning,
as far as these PDFs teach it. A knowledge base has a trained embedding model.
"""

import hashlib
import operator
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from helpers.language import N_, WorkshopError, say
from helpers.replay.chinese import english_words, synonyms

BUCKET = "claude-workshop-letters"
CHARACTERS, OVERLAP = 1500, 400  # of a passage, about 300 tokens as in 03; shared with the one before
WIDE = 3  # a Chinese character counts for so many: in the digests it says as much as 3.5 letters of English
DIMENSIONS, FITTED = 100, 2000  # of the latent space; passages at most that it is fitted on
FEATURES = 50_000  # the most frequent words and pairs, and as many runs of letters: a bound for large folders
CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3"  # scripts without spaces: each character counts as a word
MARKS = "\u3000-\u303f\uff00-\uffef“”…—"  # their punctuation
_ENDS = [r"(?<=[.!?])[”’\"')\]]*\s+(?=[A-Z“‘\"'($€£\d•◦])", r"(?<=[。！？])", r"\s", ""]  # where a passage may end
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "equals": operator.eq,
    "notEquals": operator.ne,
    "greaterThan": operator.gt,
    "greaterThanOrEquals": operator.ge,
    "lessThan": operator.lt,
    "lessThanOrEquals": operator.le,
    "in": lambda found, wanted: found in wanted,
    "notIn": lambda found, wanted: found not in wanted,
    "startsWith": str.startswith,
    "stringContains": operator.contains,
}


class Index:
    """Answers Retrieve over `files`, cut into passages; `skipped` has the reason for each PDF without text, by name."""

    def __init__(self, files: tuple[Path, ...], characters: int = CHARACTERS, overlap: int = OVERLAP) -> None:
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.preprocessing import FunctionTransformer

        common = {"sublinear_tf": True, "preprocessor": _plain, "max_features": FEATURES}
        word = rf"\w\w+|[{CJK}]"
        words = TfidfVectorizer(ngram_range=(1, 2), stop_words="english", token_pattern=word, **common)
        letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(4, 4), **common)  # German is near Germany
        self.files = files
        self.skipped: dict[str, str] = {}
        self._size: dict[str, Any] = {"chunk_size": characters, "chunk_overlap": overlap, "length_function": _length}
        self._known = words.build_analyzer()
        self._hits = [_hit(*each) for file in files for each in self._passages(file) if self._known(each[2])]
        if not self._hits:
            return
        self._vectorizers, texts = (words, letters), [hit["content"]["text"] for hit in self._hits]
        self._by_words = _joined(each.fit_transform(texts) for each in self._vectorizers)
        fitted = self._by_words[:: -(-len(self._hits) // FITTED)]
        svd = TruncatedSVD(min(DIMENSIONS, fitted.shape[0] - 1), algorithm="arpack", random_state=0)
        as_it_is = FunctionTransformer()  # one passage spans no space
        self._meaning = (svd if len(self._hits) > 1 else as_it_is).fit(fitted)
        self._by_meaning = self._meaning.transform(self._by_words)

    def retrieve(self, params: dict[str, Any]) -> dict[str, Any]:
        """The JSON body that Retrieve would answer to `params`; `WorkshopError` for what it cannot do.

        Scores are 0 to 1, best first, comparable within one answer. SEMANTIC: the cosine of question and passage
        in the latent space (Deerwester et al. 1990). HYBRID, the default: the mean of that and of the cosine of
        their tf-idf.
        """
        question, first = params["retrievalQuery"].get("text"), params.get("nextToken", "0")
        settings = dict(params.get("retrievalConfiguration", {}).get("vectorSearchConfiguration", {}))
        count, kind = settings.pop("numberOfResults", 5), settings.pop("overrideSearchType", "HYBRID")
        wanted = settings.pop("filter", None)
        if others := settings.keys() | (params.keys() & {"guardrailConfiguration", "userContext"}):
            raise WorkshopError("The offline index has no {names}: leave it out, or go live.", names=", ".join(others))
        fits = isinstance(question, str) and 1 <= count <= 100 and first.isdecimal()
        if not (fits and kind in ("HYBRID", "SEMANTIC")):
            raise WorkshopError(
                "Give a question as text, numberOfResults 1 to 100, overrideSearchType HYBRID or SEMANTIC, "
                "a nextToken as it came."
            )
        scored = zip(self._hits, self._scores(question, kind), strict=True)
        found = [hit | {"score": score} for hit, score in scored if score > 0]
        found = [hit for hit in found if wanted is None or _matches(wanted, hit["metadata"])]
        found.sort(key=lambda hit: -hit["score"])
        end = int(first) + count
        more = {"nextToken": str(end)} if end < len(found) else {}
        return {"retrievalResults": found[int(first) : end]} | more

    def _scores(self, question: str, kind: str) -> list[float]:
        """A score for each passage, rounded so that it is the same on every machine."""
        from sklearn.metrics.pairwise import cosine_similarity

        if not self._hits:
            return []
        said, others = f"{question} {english_words(question)}", synonyms(self._known(question))
        asked, beside = (_joined(each.transform([text]) for each in self._vectorizers) for text in (said, others))
        asked += beside / 2
        scores = cosine_similarity(self._meaning.transform(asked), self._by_meaning)[0]
        if kind == "HYBRID":
            scores = (scores + cosine_similarity(asked, self._by_words)[0]) / 2
        return [min(round(float(score), 4), 1.0) for score in scores]

    def _passages(self, file: Path) -> Iterator[tuple[str, int, str]]:
        """File name, page and text of each passage; a PDF without text goes into `skipped`."""
        import pypdfium2
        from langchain_text_splitters import RecursiveCharacterTextSplitter

        name = unicodedata.normalize("NFC", file.name)  # macOS stores it in another form
        try:
            with pypdfium2.PdfDocument(file.read_bytes()) as pdf:
                pages = [page.get_textpage().get_text_range(errors="replace") for page in pdf]
        except (pypdfium2.PdfiumError, OSError) as error:
            self.skipped[name] = say("broken, empty or locked by a password: {error}", error=error)
            return
        if not any(page.strip() for page in pages):
            self.skipped[name] = say("no text, perhaps scanned: run text recognition (OCR) first")
        splitter = RecursiveCharacterTextSplitter(_ENDS, **self._size, is_separator_regex=True, keep_separator="end")
        for number, page in enumerate(pages, 1):  # pages count from 1
            text = re.sub(r"(-|\ufffe)\s*\n(?=[a-z])|\ufffe", "-", page)  # \ufffe: a hyphen at the end of a line
            text = " ".join(_unbroken(text.replace("\0", " ")).split())
            yield from ((name, number, passage) for passage in splitter.split_text(text))


def open_index(folder: Path) -> Index:
    """The index of the PDFs in `folder`, built once, and again when one of them has changed."""
    files = [file for file in folder.glob("[!.]*") if file.suffix.lower() == ".pdf" and file.exists()]
    if not files:
        told = N_("There is no PDF in {folder}: put one there, or correct WORKSHOP_LETTERS_DIR.")
        raise WorkshopError(told, folder=folder)
    files.sort(key=lambda file: unicodedata.normalize("NFC", file.name))
    return _built(tuple(files), tuple((file.stat().st_mtime_ns, file.stat().st_size) for file in files))


@lru_cache(maxsize=2)
def _built(files: tuple[Path, ...], changed: tuple[tuple[int, int], ...]) -> Index:
    return Index(files)


def _joined(parts: Iterable[Any]) -> Any:
    """Rows of tf-idf side by side, each of length 1. scikit-learn's FeatureUnion warns when threads use it at once."""
    from scipy.sparse import hstack
    from sklearn.preprocessing import normalize

    return normalize(hstack(list(parts), format="csr"), copy=False)


def _length(text: str) -> int:
    return len(text) + (WIDE - 1) * len(re.findall(f"[{CJK}]", text))


def _unbroken(page: str) -> str:
    """A page where Chinese goes on without a space below a full line; below a heading or a row the space stays."""
    full = 0.7 * max(map(_length, page.splitlines()), default=0)
    ends = rf"(.*[{CJK}{MARKS}])\s*\n\s*(?=[{CJK}{MARKS}])"
    return re.sub(ends, lambda line: line[1] if _length(line[1]) > max(full, len(line[1])) else line[0], page)


def _plain(text: str) -> str:
    return re.sub(rf"([{CJK}])", r" \1 ", unicodedata.normalize("NFKC", text).lower())


def _hit(file: str, page: int, text: str) -> dict[str, Any]:
    """One of `retrievalResults`, still without its score."""
    uri, year = f"s3://{BUCKET}/{file}", re.search(r"(?<!\d)(?:19|20)\d\d(?!\d)", file)
    metadata: dict[str, Any] = {
        "x-amz-bedrock-kb-source-uri": uri,
        "x-amz-bedrock-kb-document-page-number": float(page - 1),  # the service counts from 0
        "x-amz-bedrock-kb-chunk-id": hashlib.sha256(f"{file} {page} {text}".encode()).hexdigest()[:20],
        "x-amz-bedrock-kb-data-source-id": "OFFLINEPDF",
    }
    metadata |= {"year": float(year[0])} if year else {}
    location = {"type": "S3", "s3Location": {"uri": uri}}
    return {"content": {"text": text, "type": "TEXT"}, "location": location, "metadata": metadata}


def _matches(wanted: dict[str, Any], metadata: dict[str, Any]) -> bool:
    """Whether a passage passes a filter of Retrieve; without the attribute only notEquals and notIn do."""
    name, value = next(iter(wanted.items())) if len(wanted) == 1 else (say("none or several"), {})
    if name in ("andAll", "orAll"):
        return (all if name == "andAll" else any)(_matches(part, metadata) for part in value)
    if name not in _OPERATORS:
        told = N_("A filter has one operator, here: {name}. Offline there are {known}.")
        raise WorkshopError(told, name=name, known=", ".join(["andAll", "orAll", *_OPERATORS]))
    if value["key"] not in metadata:
        return name in ("notEquals", "notIn")
    try:
        return _OPERATORS[name](metadata[value["key"]], value["value"])
    except TypeError as error:
        told = N_("The filter compares {name} with a wrong type: {error}")
        raise WorkshopError(told, name=value["key"], error=error) from error
