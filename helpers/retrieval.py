"""Passages from a knowledge base: asking for them, putting them into a prompt, opening their page."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from helpers import clients, replay
from helpers.language import WorkshopError, say
from helpers.settings import settings

REPLAY_KNOWLEDGE_BASE = "WORKSHOPKB"
_SOURCE = "x-amz-bedrock-kb-source-uri"
_PAGE = "x-amz-bedrock-kb-document-page-number"


@dataclass(frozen=True)
class Passage:
    """A piece of a document: its text, file name, page (1 is the first) and score (higher is nearer).

    `page` is None where the service gives none, as with chunking NONE.
    """

    text: str
    source: str
    page: int | None
    score: float

    @property
    def place(self) -> str:
        """File and page in words."""
        return self.source if self.page is None else say("{file}, page {page}", file=self.source, page=self.page)


def knowledge_base_id() -> str:
    """The knowledge base to ask: WORKSHOP_KNOWLEDGE_BASE_ID, else the one in workshop.json."""
    if replay.active().offline:
        return REPLAY_KNOWLEDGE_BASE
    if not (found := settings().knowledge_base_id):
        from helpers.knowledge_base import names  # only here: a lesson in replay loads nothing of it

        found = getattr(names.read(), "knowledge_base_id", "")
    if not found:
        raise WorkshopError(
            "There is no knowledge base yet. Build one with 03_create_knowledge_base, or put the id of yours "
            "into .env: WORKSHOP_KNOWLEDGE_BASE_ID=..."
        )
    replay.active().stand_in(found, REPLAY_KNOWLEDGE_BASE)
    return found


def search_types(knowledge_base: str) -> list[str]:
    """The kinds of search that the knowledge base's store offers: S3 Vectors has no HYBRID."""
    if replay.active().offline:
        return ["HYBRID", "SEMANTIC"]
    found = clients.client("bedrock-agent").get_knowledge_base(knowledgeBaseId=knowledge_base)
    store = found["knowledgeBase"].get("storageConfiguration", {}).get("type")
    return ["SEMANTIC"] if store == "S3_VECTORS" else ["HYBRID", "SEMANTIC"]


def search_settings(count: int = 5, search: str = "", years: Sequence[int] = ()) -> dict[str, Any]:
    """`vectorSearchConfiguration` of Retrieve: how many, HYBRID or SEMANTIC, only letters of `years`."""
    config: dict[str, Any] = {"numberOfResults": min(count, 100)}
    if search:
        config["overrideSearchType"] = search
    # `in` is documented for lists of strings, the year is a number. orAll takes two conditions or more.
    one_of = [{"equals": {"key": "year", "value": year}} for year in years]
    if one_of:
        config["filter"] = one_of[0] if len(one_of) == 1 else {"orAll": one_of}
    return config


def retrieve(
    client: Any, knowledge_base: str, question: str, count: int = 5, search: str = "", years: Sequence[int] = ()
) -> list[Passage]:
    """The `count` best passages for `question`, over as many pages of results as that takes."""
    request = {
        "knowledgeBaseId": knowledge_base,
        "retrievalQuery": {"text": question},
        "retrievalConfiguration": {"vectorSearchConfiguration": search_settings(count, search, years)},
    }
    pages = client.get_paginator("retrieve").paginate(**request, PaginationConfig={"MaxItems": count})
    return [passage_of(result) for result in pages.build_full_result()["retrievalResults"]]


def passage_of(found: Any) -> Passage:
    """One item of `retrievalResults`, or one LangChain `Document` of its retriever, as a `Passage`."""
    if not isinstance(found, dict):
        told = {"content": {"text": found.page_content}, "metadata": found.metadata.get("source_metadata")}
        found = found.metadata | told
    metadata = found.get("metadata") or {}
    uri = found.get("location", {}).get("s3Location", {}).get("uri") or metadata.get(_SOURCE, say("unknown source"))
    page = metadata.get(_PAGE)  # a float, and 0 is the first
    text, score = found["content"].get("text", ""), float(found.get("score", 0.0))
    return Passage(text, uri.rpartition("/")[2], None if page is None else int(page) + 1, score)


def load_pdf(path: Path | str) -> list[Any]:
    """One LangChain `Document` a page of the PDF at `path`, by PyPDFLoader.

    langchain-community announces its own end at every import, here kept quiet. What stays is pypdf under it.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*langchain-community.*")
        from langchain_community.document_loaders import PyPDFLoader
    return list(PyPDFLoader(str(path)).load())


def contexts(passages: Sequence[Passage]) -> str:
    """The passages as numbered XML elements for a prompt; text and names are escaped."""
    return "\n".join(
        f'<passage number="{number}" source={quoteattr(each.place)}>\n{escape(each.text)}\n</passage>'
        for number, each in enumerate(passages, 1)
    )


def sources(passages: Sequence[Passage]) -> str:
    """A numbered Markdown list of where the passages stand."""
    return "\n".join(
        say("{number}. {place} (score {score:.2f})", number=number, place=each.place, score=each.score)
        for number, each in enumerate(passages, 1)
    )


def table(passages: Sequence[Passage]) -> str:
    """A Markdown table of the passages: number, score, file, page and the first words."""
    rows = [say("| | score | file | page | begins with |"), "|---|---|---|---|---|"]
    for number, each in enumerate(passages, 1):
        words = " ".join(each.text.split())[:70].replace("|", "\\|")
        rows.append(f"| {number} | {each.score:.2f} | {each.source} | {each.page or '-'} | {words}… |")
    return "\n".join(rows)
