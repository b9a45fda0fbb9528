"""The index behind Retrieve: wire shape, filters, paging, odd questions and PDFs, large folders."""

import json
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.parsers import create_parser
from botocore.validate import validate_parameters
from fpdf import FPDF
from fpdf.enums import EncryptionMethod
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from helpers.language import WorkshopError
from helpers.replay import index as module
from helpers.replay.index import Index, open_index
from helpers.settings import ROOT

FILLER = "The orchard keeps quiet records about gardens and rivers near the hill. " * 3
OLD, NEW, NONE = "harbour-2019.pdf", "harbour-2020.pdf", "undated.pdf"


def write_pdf(file: Path, *pages: str, password: str | None = None) -> None:
    pdf = FPDF()
    if password is not None:
        pdf.set_encryption("owner", password, encryption_method=EncryptionMethod.RC4)
    pdf.set_font("Helvetica", size=11)
    for text in pages:
        pdf.add_page()
        pdf.multi_cell(0, 6, text)
    pdf.output(str(file))


def ask(index: Index, text: str, token: str = "", **search: Any) -> dict[str, Any]:
    params: dict[str, Any] = {"knowledgeBaseId": "ABCDEFGHIJ", "retrievalQuery": {"text": text}}
    params |= {"retrievalConfiguration": {"vectorSearchConfiguration": search}} if search else {}
    return index.retrieve(params | ({"nextToken": token} if token else {}))


def texts(answer: dict[str, Any]) -> list[str]:
    return [result["content"]["text"] for result in answer["retrievalResults"]]


def files(answer: dict[str, Any]) -> set[str]:
    return {Path(hit["location"]["s3Location"]["uri"]).name for hit in answer["retrievalResults"]}


def fill(folder: Path) -> Path:
    pages = "Harbour sales came to $386B in 2019. ", "Growth was 37% and 100,000 vans were ordered. "
    write_pdf(folder / OLD, *(page + FILLER for page in pages))
    write_pdf(folder / NEW, "Harbour sales came to $400B in 2020. " + FILLER)
    write_pdf(folder / NONE, "The lighthouse has a red lamp. " + FILLER)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fill(tmp_path)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return open_index(fill(tmp_path_factory.mktemp("letters")))


def test_answer_fits_the_service_model(index):
    session = botocore.session.get_session()
    model = session.get_service_model("bedrock-agent-runtime").operation_model("Retrieve")
    body = ask(index, "How many vans were ordered?", numberOfResults=2)
    raw = {"status_code": 200, "headers": {}, "body": json.dumps(body).encode()}
    parsed = create_parser(model.metadata["protocol"]).parse(raw, model.output_shape)
    assert {name: value for name, value in parsed.items() if name != "ResponseMetadata"} == body
    validate_parameters(body, model.output_shape)
    first = body["retrievalResults"][0]
    assert "100,000 vans" in first["content"]["text"] and first["content"]["type"] == "TEXT"
    assert first["location"]["s3Location"]["uri"] == "s3://claude-workshop-letters/harbour-2019.pdf"
    assert first["metadata"]["x-amz-bedrock-kb-document-page-number"] == 1.0  # the second
    assert first["metadata"]["year"] == 2019
    assert "year" not in ask(index, "lighthouse lamp")["retrievalResults"][0]["metadata"]


def test_scores_fall_and_hybrid_is_the_default(index):
    hybrid, semantic = (ask(index, "harbour vans", overrideSearchType=kind) for kind in ("HYBRID", "SEMANTIC"))
    for answer in (hybrid, semantic):
        scores = [hit["score"] for hit in answer["retrievalResults"]]
        assert len(scores) > 1 and scores == sorted(scores, reverse=True) and 0 < scores[-1] <= scores[0] <= 1
    assert ask(index, "harbour vans") == hybrid != semantic


YEAR, URI = "year", "x-amz-bedrock-kb-source-uri"


@pytest.mark.parametrize(
    ("operator", "key", "value", "found"),
    [
        ("equals", YEAR, 2019, {OLD}),
        ("notEquals", YEAR, 2019, {NEW, NONE}),
        ("greaterThan", YEAR, 2019, {NEW}),
        ("greaterThanOrEquals", YEAR, 2019, {OLD, NEW}),
        ("lessThan", YEAR, 2020, {OLD}),
        ("lessThanOrEquals", YEAR, 2020, {OLD, NEW}),
        ("in", YEAR, [2020, 2021], {NEW}),
        ("notIn", YEAR, [2020], {OLD, NONE}),
        ("startsWith", URI, "s3://claude-workshop-letters/u", {NONE}),
        ("stringContains", URI, "dated", {NONE}),
    ],
)
def test_a_filter_and_its_place_in_others(index, operator, key, value, found):
    wanted = {operator: {"key": key, "value": value}}
    for filters, those in (
        (wanted, found),
        ({"andAll": [wanted, {"equals": {"key": YEAR, "value": 2020}}]}, found & {NEW}),
        ({"orAll": [wanted, {"equals": {"key": YEAR, "value": 2020}}]}, found | {NEW}),
    ):
        assert files(ask(index, "orchard records about gardens", numberOfResults=100, filter=filters)) == those


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"filter": {"listContains": {"key": "year", "value": 2019}}}, "listContains"),
        ({"filter": {"equals": {}, "in": {}}}, "one operator"),
        ({"filter": {"greaterThan": {"key": "year", "value": "2019"}}}, "compares year"),
        ({"filter": {"startsWith": {"key": "year", "value": "2019"}}}, "compares year"),
        ({"numberOfResults": 101}, "1 to 100"),
        ({"overrideSearchType": "LEXICAL"}, "HYBRID or SEMANTIC"),
        ({"rerankingConfiguration": {"type": "BEDROCK_RERANKING_MODEL"}}, "rerankingConfiguration"),
        ({"token": "nonsense"}, "nextToken"),
    ],
)
def test_what_it_cannot_do_is_said(index, search, said):
    with pytest.raises(WorkshopError, match=said):
        ask(index, "harbour", **search)


def test_pages_of_results_join_to_the_whole(index):
    whole, joined, token = ask(index, "orchard records", numberOfResults=100), [], ""
    while token is not None:
        page = ask(index, "orchard records", token, numberOfResults=1)
        joined, token = joined + texts(page), page.get("nextToken")
    assert joined == texts(whole) and len(joined) > 2 and "nextToken" not in whole


@pytest.mark.parametrize("question", ["", " ", "\0", "\ud800", "((((", "🙂", "إيرادات"])
def test_a_question_without_a_known_word_finds_nothing(index, question):
    assert texts(ask(index, question)) == []
    assert "Harbour" in texts(ask(index, f"{question} harbour sales", overrideSearchType="SEMANTIC"))[0]


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """An index of one passage."""
    folder = tmp_path_factory.mktemp("one")
    write_pdf(folder / "one.pdf", "Harbour sales came to $386B. " + FILLER)
    return open_index(folder)


@settings(deadline=None, max_examples=40)  # the first question reads the dictionary
@given(question=st.text(max_size=60))
def test_any_text_is_a_question(one, question):
    assert len(texts(ask(one, question))) <= 1 == len(texts(ask(one, question + " harbour sales")))


def test_odd_pdfs_are_named_and_skipped(folder, capfd):
    good = (folder / NONE).read_bytes()
    for name, content in {"empty.pdf": b"", "noise.PDF": b"no PDF", "cut.pdf": good[: len(good) // 3]}.items():
        (folder / name).write_bytes(content)
    (folder / "._undated.pdf").write_bytes(b"what macOS leaves beside a file")
    (folder / "folder.pdf").mkdir()
    (folder / "gone.pdf").symlink_to(folder / "nowhere.pdf")
    write_pdf(folder / "scanned.pdf", "")
    write_pdf(folder / "of the.pdf", "of the and")
    write_pdf(folder / "locked.pdf", "The walrus sleeps.", password="secret")
    write_pdf(folder / "open.pdf", "The walrus sleeps on the pier.", password="")
    index = open_index(folder)
    assert set(index.skipped) == {"empty.pdf", "noise.PDF", "cut.pdf", "folder.pdf", "scanned.pdf", "locked.pdf"}
    assert "scanned" in index.skipped["scanned.pdf"] and "password" in index.skipped["locked.pdf"]
    assert "walrus" in texts(ask(index, "walrus"))[0] and capfd.readouterr() == ("", "")


def test_a_folder_without_readable_pdfs(tmp_path):
    for place in (tmp_path, tmp_path / "absent"):
        with pytest.raises(WorkshopError, match="no PDF in"):
            open_index(place)
    (tmp_path / "empty.pdf").write_bytes(b"")
    assert ask(open_index(tmp_path), "harbour") == {"retrievalResults": []}


def test_a_changed_folder_is_read_again_and_only_then(folder):
    before = open_index(folder)
    assert open_index(folder) is before
    write_pdf(folder / NONE, "The lighthouse has a green lamp.")
    assert "green" in texts(ask(open_index(folder), "lighthouse lamp"))[0]


def test_the_same_answer_whatever_the_threads():
    """With two threads here; the recorded answers (test_provenance) and the lessons (nbval) are compared with one."""
    letters = ROOT / "data" / "letters"
    with threadpool_limits(2):
        there = Index(tuple(sorted(letters.glob("*.pdf"))))
        for text in ("What was the revenue of AWS?", "员工有多少人？"):
            assert ask(there, text) == ask(open_index(letters), text)


def test_in_a_large_folder_the_bounds_hold_and_each_file_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FEATURES", 1000)
    monkeypatch.setattr(module, "FITTED", 20)
    for number in range(30):
        write_pdf(tmp_path / f"{number}.pdf", f"Walrus{number} sleeps. " + FILLER, FILLER)
    index = open_index(tmp_path)
    found = [files(ask(index, f"Walrus{number}", numberOfResults=1)) for number in range(30)]
    assert found == [{f"{number}.pdf"} for number in range(30)]
