"""The offline index: wire shape, filters, paging, odd questions and PDFs, cache, two builders at once."""

import json
import logging
import multiprocessing
import os
import sqlite3
from itertools import pairwise
from pathlib import Path
from typing import Any

import botocore.session
import pypdf
import pytest
from botocore.parsers import create_parser
from botocore.validate import validate_parameters
from fpdf import FPDF
from fpdf.enums import EncryptionMethod
from hypothesis import given
from hypothesis import strategies as st

from helpers import offline_index
from helpers.errors import WorkshopError
from helpers.offline_index import OfflineIndex, open_index
from helpers.offline_index.pdf_passages import LONGEST_SENTENCE, WORDS, passages
from helpers.offline_index.search_words import other_words

FILLER = "The orchard keeps quiet records about gardens and rivers near the hill. "


def write_pdf(file: Path, *pages: str) -> None:
    pdf = FPDF()
    pdf.set_font("Helvetica", size=11)
    for text in pages:
        pdf.add_page()
        pdf.multi_cell(0, 6, text)
    pdf.output(str(file))


def ask(index: OfflineIndex, text: str, token: str | None = None, **search: Any) -> dict[str, Any]:
    params: dict[str, Any] = {"knowledgeBaseId": "ABCDEFGHIJ", "retrievalQuery": {"text": text}}
    if search:
        params["retrievalConfiguration"] = {"vectorSearchConfiguration": search}
    if token:
        params["nextToken"] = token
    return index.retrieve(params)


def texts(answer: dict[str, Any]) -> list[str]:
    return [result["content"]["text"] for result in answer["retrievalResults"]]


def files(answer: dict[str, Any]) -> set[str]:
    return {result["location"]["s3Location"]["uri"].rpartition("/")[2] for result in answer["retrievalResults"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "pdfs"
    place.mkdir()
    write_pdf(
        place / "harbour-2019.pdf",
        "Harbour sales came to $386B in 2019. " + FILLER * 3,
        "Growth was 37% and 100,000 vans were ordered. " + FILLER * 3,
    )
    write_pdf(place / "harbour-2020.pdf", "Harbour sales came to $400B in 2020. " + FILLER * 3)
    write_pdf(place / "undated.pdf", "The lighthouse has a red lamp. " + FILLER * 3)
    return place


@pytest.fixture
def index(folder: Path, tmp_path: Path) -> OfflineIndex:
    return open_index(folder, tmp_path / "cache")


def test_answer_fits_the_service_model(index: OfflineIndex) -> None:
    """The body as it goes over the wire comes back from botocore's own parser without a loss."""
    session = botocore.session.get_session()
    model = session.get_service_model("bedrock-agent-runtime").operation_model("Retrieve")
    body = ask(index, "harbour sales", numberOfResults=2)
    raw = {"status_code": 200, "headers": {}, "body": json.dumps(body).encode()}
    parsed = create_parser(model.metadata["protocol"]).parse(raw, model.output_shape)
    parsed.pop("ResponseMetadata")
    assert parsed == body
    validate_parameters(body, model.output_shape)

    first = body["retrievalResults"][0]
    assert first["content"] == {"text": first["content"]["text"], "type": "TEXT"}
    assert first["location"] == {
        "type": "S3",
        "s3Location": {"uri": first["metadata"]["x-amz-bedrock-kb-source-uri"]},
    }
    assert first["location"]["s3Location"]["uri"].startswith("s3://claude-workshop-letters/harbour-20")
    assert isinstance(first["metadata"]["x-amz-bedrock-kb-document-page-number"], float)
    assert first["metadata"]["year"] in (2019, 2020)
    assert {"x-amz-bedrock-kb-chunk-id", "x-amz-bedrock-kb-data-source-id"} < first["metadata"].keys()
    assert "year" not in ask(index, "lighthouse lamp")["retrievalResults"][0]["metadata"]


@pytest.mark.parametrize("kind", ["HYBRID", "SEMANTIC"])
def test_scores_fall_within_0_and_1(index: OfflineIndex, kind: str) -> None:
    scores = [hit["score"] for hit in ask(index, "harbour vans", overrideSearchType=kind)["retrievalResults"]]
    assert len(scores) > 1
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)


def test_hybrid_is_the_default(index: OfflineIndex) -> None:
    assert ask(index, "harbour vans") == ask(index, "harbour vans", overrideSearchType="HYBRID")
    assert ask(index, "harbour vans") != ask(index, "harbour vans", overrideSearchType="SEMANTIC")


def test_hybrid_is_the_mean_of_two_rankings_with_one_maximum(index: OfflineIndex) -> None:
    """Where both rankings agree on the best passage, its score is that of SEMANTIC."""
    hybrid = ask(index, "red lighthouse lamp")["retrievalResults"]
    semantic = ask(index, "red lighthouse lamp", overrideSearchType="SEMANTIC")["retrievalResults"]
    assert hybrid[0] == semantic[0]


@pytest.mark.parametrize(
    "question, wanted",
    [
        ("$386B", "$386B"),
        ("386 billion", "$386B"),
        ("37%", "37%"),
        ("37 percent", "37%"),
        ("100,000", "100,000"),
        ("100000", "100,000"),
    ],
)
def test_figures_are_found_in_either_spelling(index: OfflineIndex, question: str, wanted: str) -> None:
    assert wanted in texts(ask(index, question, numberOfResults=1))[0]


def test_page_of_the_passage(index: OfflineIndex) -> None:
    hit = ask(index, "How many vans were ordered?")["retrievalResults"][0]
    assert hit["metadata"]["x-amz-bedrock-kb-document-page-number"] == 2.0


def test_thesaurus_gives_the_other_words_of_a_group() -> None:
    assert "revenue" in other_words("sales").split()
    assert other_words("lighthouse") == ""


@pytest.mark.parametrize(
    "wanted, found",
    [
        ({"equals": {"key": "year", "value": 2019}}, {"harbour-2019.pdf"}),
        ({"notEquals": {"key": "year", "value": 2019}}, {"harbour-2020.pdf", "undated.pdf"}),
        ({"greaterThan": {"key": "year", "value": 2019}}, {"harbour-2020.pdf"}),
        ({"greaterThanOrEquals": {"key": "year", "value": 2019}}, {"harbour-2019.pdf", "harbour-2020.pdf"}),
        ({"lessThan": {"key": "year", "value": 2020}}, {"harbour-2019.pdf"}),
        ({"lessThanOrEquals": {"key": "year", "value": 2020}}, {"harbour-2019.pdf", "harbour-2020.pdf"}),
        ({"in": {"key": "year", "value": [2020, 2021]}}, {"harbour-2020.pdf"}),
        ({"notIn": {"key": "year", "value": [2020]}}, {"harbour-2019.pdf", "undated.pdf"}),
        (
            {"startsWith": {"key": "x-amz-bedrock-kb-source-uri", "value": "s3://claude-workshop-letters/u"}},
            {"undated.pdf"},
        ),
        ({"stringContains": {"key": "x-amz-bedrock-kb-source-uri", "value": "dated"}}, {"undated.pdf"}),
        (
            {
                "andAll": [
                    {"greaterThan": {"key": "year", "value": 2000}},
                    {"notEquals": {"key": "year", "value": 2020}},
                ]
            },
            {"harbour-2019.pdf"},
        ),
        (
            {
                "orAll": [
                    {"equals": {"key": "year", "value": 2020}},
                    {"stringContains": {"key": "x-amz-bedrock-kb-source-uri", "value": "undated"}},
                ]
            },
            {"harbour-2020.pdf", "undated.pdf"},
        ),
    ],
)
def test_filter(index: OfflineIndex, wanted: dict[str, Any], found: set[str]) -> None:
    everything = ask(index, "orchard records about gardens", numberOfResults=100)
    assert files(everything) == {"harbour-2019.pdf", "harbour-2020.pdf", "undated.pdf"}
    assert files(ask(index, "orchard records about gardens", numberOfResults=100, filter=wanted)) == found


@pytest.mark.parametrize(
    "search, said",
    [
        ({"filter": {"listContains": {"key": "year", "value": 2019}}}, "listContains"),
        ({"filter": {}}, "one operator"),
        ({"filter": {"equals": {}, "in": {}}}, "equals, in"),
        ({"filter": {"greaterThan": {"key": "year", "value": "2019"}}}, "cannot compare year"),
        ({"numberOfResults": 101}, "1 to 100"),
        ({"numberOfResults": 0}, "1 to 100"),
        ({"overrideSearchType": "LEXICAL"}, "HYBRID or SEMANTIC"),
        ({"rerankingConfiguration": {"type": "BEDROCK_RERANKING_MODEL"}}, "rerankingConfiguration"),
    ],
)
def test_what_it_cannot_do_is_said(index: OfflineIndex, search: dict[str, Any], said: str) -> None:
    with pytest.raises(WorkshopError, match=said):
        ask(index, "harbour", **search)


def test_question_must_be_text_of_at_most_20000_characters(index: OfflineIndex) -> None:
    with pytest.raises(WorkshopError, match="20,000"):
        ask(index, "x" * 20_001)
    with pytest.raises(WorkshopError, match="as text"):
        index.retrieve({"knowledgeBaseId": "ABCDEFGHIJ", "retrievalQuery": {"type": "IMAGE"}})


def test_pages_of_results_join_to_the_whole(index: OfflineIndex) -> None:
    whole = ask(index, "orchard records", numberOfResults=100)
    assert "nextToken" not in whole
    joined: list[str] = []
    token: str | None = None
    while True:
        page = ask(index, "orchard records", token, numberOfResults=1)
        joined += texts(page)
        if not (token := page.get("nextToken")):
            break
    assert joined == texts(whole)
    assert len(joined) > 2


def test_a_token_of_another_question_is_refused(index: OfflineIndex) -> None:
    token = ask(index, "orchard records", numberOfResults=1)["nextToken"]
    for wrong in (token, "nonsense", "1-"):
        with pytest.raises(WorkshopError, match="nextToken"):
            ask(index, "harbour sales", wrong, numberOfResults=1)


ODD_QUESTIONS = [
    "",
    " ",
    '"',
    "AND",
    "harbour AND OR NOT *",
    'NEAR("harbour" sales, 3)',
    "text:harbour ^x {y} -z +w",
    "((((",
    "\0harbour\0",
    "\ud800harbour",
    "'; DROP TABLE passage; --",
    "how many of the",
    "(" * 20_000,
    " ".join(f"w{number}" for number in range(4000))[:20_000],
    "亚马逊的收入增长了多少？",
    "إيرادات",
    "🙂",
]


@pytest.mark.parametrize("kind", ["HYBRID", "SEMANTIC"])
@pytest.mark.parametrize("question", ODD_QUESTIONS, ids=range(len(ODD_QUESTIONS)))
def test_no_question_breaks_the_search(index: OfflineIndex, question: str, kind: str) -> None:
    found = texts(ask(index, question, overrideSearchType=kind, numberOfResults=1))
    if "harbour" in question:
        assert "Harbour" in found[0]
    elif not any(sign.isascii() and sign.isalnum() for sign in question) or question in (
        "AND",
        "how many of the",
    ):
        assert found == []


@pytest.fixture(scope="module")
def small_index(tmp_path_factory: pytest.TempPathFactory) -> OfflineIndex:
    place = tmp_path_factory.mktemp("small")
    write_pdf(place / "one.pdf", "Harbour sales came to $386B. " + FILLER)
    return open_index(place, place / "cache")


@given(question=st.text(max_size=60))
def test_any_text_is_a_question(small_index: OfflineIndex, question: str) -> None:
    assert len(ask(small_index, question)["retrievalResults"]) <= 1


def test_a_text_without_spaces_is_found_by_its_signs(folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    chinese = "公司的云服务收入增长了。员工人数减少了。" * 30
    monkeypatch.setattr(offline_index, "read_pages", lambda file: [(1, chinese), (2, "仓库在北方。")])
    found = ask(open_index(folder, tmp_path / "cache"), "仓库在哪里？")
    assert "仓库在北方" in texts(found)[0]


def test_passages_are_bounded_overlap_and_lose_nothing() -> None:
    one = [f"Sentence number {number} of the first page is here." for number in range(100)]
    run_on = "Word " + "word " * 449
    found = list(passages([(1, " ".join(one)), (2, run_on), (3, "")]))
    assert {page for page, _ in found} == {1, 2}
    assert all(len(text.split()) <= WORDS + LONGEST_SENTENCE for _, text in found)
    first_page = [text for page, text in found if page == 1]
    assert all(any(sentence in text for text in first_page) for sentence in one)
    assert all(set(a.split(". ")) & set(b.split(". ")) for a, b in pairwise(first_page))
    assert sum(text.lower().split().count("word") for page, text in found if page == 2) >= 450


def test_a_sentence_over_a_page_end_stays_whole_on_its_first_page() -> None:
    found = list(passages([(4, "A plain start. The fee is five"), (5, "dollars a month. Another matter follows.")]))
    assert found == [
        (4, "A plain start. The fee is five dollars a month."),
        (5, "Another matter follows."),
    ]


def test_odd_pdfs_are_named_and_skipped(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    good = (folder / "undated.pdf").read_bytes()
    (folder / "empty.pdf").write_bytes(b"")
    (folder / "noise.PDF").write_bytes(b"this is not a PDF at all")
    (folder / "cut.pdf").write_bytes(good[: len(good) // 2])
    (folder / "._undated.pdf").write_bytes(b"what macOS leaves beside a file")
    (folder / "folder.pdf").mkdir()
    blank = FPDF()
    blank.add_page()
    blank.rect(10, 10, 50, 50)
    blank.output(str(folder / "scanned.pdf"))
    for name, password in (("locked.pdf", "secret"), ("no-password.pdf", "")):
        pdf = FPDF()
        pdf.set_encryption("owner", password, encryption_method=EncryptionMethod.RC4)
        pdf.add_page()
        pdf.set_font("Helvetica", size=11)
        pdf.multi_cell(0, 6, "The walrus sleeps on the pier.")
        pdf.output(str(folder / name))

    for _ in ("built", "from the cache"):
        index = open_index(folder, tmp_path / "cache")
        reasons = index.skipped
        assert set(reasons) == {"empty.pdf", "noise.PDF", "cut.pdf", "scanned.pdf", "locked.pdf"}
        assert "empty" in reasons["empty.pdf"]
        assert "broken" in reasons["noise.PDF"]
        assert "broken" in reasons["cut.pdf"]
        assert "scanned" in reasons["scanned.pdf"]
        assert "encrypted" in reasons["locked.pdf"]
        assert "walrus" in texts(ask(index, "walrus", numberOfResults=1))[0]
    assert capfd.readouterr() == ("", "")


def test_only_odd_pdfs_give_an_empty_index(tmp_path: Path) -> None:
    (tmp_path / "empty.pdf").write_bytes(b"")
    index = open_index(tmp_path, tmp_path / "cache")
    assert ask(index, "harbour") == {"retrievalResults": []}


def test_remarks_of_pypdf_stay_out_of_the_notebook(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A page that warns as pypdf does, through its logger, which is as before afterwards."""

    def extract_text(self: Any) -> str:
        logging.getLogger("pypdf._cmap").warning("odd font")
        return "Harbour."

    monkeypatch.setattr(pypdf.PageObject, "extract_text", extract_text)
    open_index(folder, tmp_path / "cache")
    assert caplog.messages == []
    logging.getLogger("pypdf._cmap").warning("heard again")
    assert caplog.messages == ["heard again"]


def test_a_folder_without_pdfs_says_so(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "absent"):
        with pytest.raises(WorkshopError, match="no PDF in"):
            open_index(place, tmp_path / "cache")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the PDFs that were read, in order."""
    names: list[str] = []
    real = offline_index.read_pages

    def counted(file: Path) -> list[tuple[int, str]]:
        names.append(file.name)
        return real(file)

    monkeypatch.setattr(offline_index, "read_pages", counted)
    return names


def test_pdfs_are_read_again_only_after_a_change(folder: Path, tmp_path: Path, reads: list[str]) -> None:
    cache = tmp_path / "cache"
    before = ask(open_index(folder, cache), "lighthouse lamp")
    assert len(reads) == 3
    os.utime(folder / "undated.pdf", (1, 1))  # a new date is no change
    assert ask(open_index(folder, cache), "lighthouse lamp") == before
    assert len(reads) == 3
    write_pdf(folder / "undated.pdf", "The lighthouse has a green lamp.")
    assert "green" in texts(ask(open_index(folder, cache), "lighthouse lamp"))[0]
    assert len(reads) == 6
    assert len(list(cache.iterdir())) == 1  # the outdated file is gone
    (folder / "harbour-2019.pdf").unlink()
    assert "harbour-2019.pdf" not in files(ask(open_index(folder, cache), "harbour", numberOfResults=100))


def test_another_way_to_cut_passages_is_another_index(
    folder: Path, tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    open_index(folder, tmp_path / "cache")
    monkeypatch.setattr(offline_index, "WORDS", 90)
    open_index(folder, tmp_path / "cache")
    assert len(reads) == 6


def test_two_folders_share_a_cache(folder: Path, tmp_path: Path, reads: list[str]) -> None:
    other = tmp_path / "other"
    other.mkdir()
    write_pdf(other / "one.pdf", "A walrus.")
    for _ in range(2):
        open_index(folder, tmp_path / "cache")
        open_index(other, tmp_path / "cache")
    assert len(reads) == 4


@pytest.mark.parametrize("damage", [b"", b"not a database", None])
def test_a_damaged_cache_is_built_again(folder: Path, tmp_path: Path, damage: bytes | None) -> None:
    wanted = ask(open_index(folder, tmp_path / "cache"), "harbour")
    (stored,) = (tmp_path / "cache").iterdir()
    stored.write_bytes(stored.read_bytes()[:5000] if damage is None else damage)
    assert ask(open_index(folder, tmp_path / "cache"), "harbour") == wanted
    assert sqlite3.connect(stored).execute("SELECT count(*) FROM passage").fetchone()[0] > 0


def test_a_cache_that_cannot_be_written_leaves_the_index_in_memory(folder: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "cache"
    blocked.write_text("a file where the folder should be")
    assert "lighthouse" in texts(ask(open_index(folder, blocked), "lighthouse"))[0]
    assert blocked.read_text() == "a file where the folder should be"


def test_a_failed_save_leaves_nothing_behind(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError("in use")

    monkeypatch.setattr(os, "replace", refuse)
    assert ask(open_index(folder, tmp_path / "cache"), "harbour")["retrievalResults"]
    assert list((tmp_path / "cache").iterdir()) == []


def _answer(folder: Path, cache: Path, barrier: Any, results: Any) -> None:
    barrier.wait(60)
    results.put(json.dumps(ask(open_index(folder, cache), "harbour vans")))


def test_two_processes_build_at_once(folder: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    arguments = (folder, tmp_path / "cache", barrier, results)
    workers = [context.Process(target=_answer, args=arguments) for _ in range(2)]
    for worker in workers:
        worker.start()
    answers = {results.get(timeout=120) for _ in workers}
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert answers == {json.dumps(ask(open_index(folder, tmp_path / "elsewhere"), "harbour vans"))}
    assert [file.suffix for file in (tmp_path / "cache").iterdir()] == [".sqlite"]
