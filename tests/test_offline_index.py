"""The index behind Retrieve: wire shape, filters, paging, odd questions and PDFs, Chinese, large folders."""

import json
import os
import subprocess
import sys
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

from helpers.language import WorkshopError
from helpers.replay import index as module
from helpers.replay.index import Index, open_index
from helpers.settings import ROOT

FILLER = "The orchard keeps quiet records about gardens and rivers near the hill. " * 3
QUESTIONS_OF_BOTH = ["What was the revenue of AWS?", "员工有多少人？"]
QUESTIONS = json.loads((ROOT / "tests" / "questions_chinese.json").read_text(encoding="utf-8"))


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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pages = "Harbour sales came to $386B in 2019. ", "Growth was 37% and 100,000 vans were ordered. "
    write_pdf(tmp_path / "harbour-2019.pdf", *(page + FILLER for page in pages))
    write_pdf(tmp_path / "harbour-2020.pdf", "Harbour sales came to $400B in 2020. " + FILLER)
    write_pdf(tmp_path / "undated.pdf", "The lighthouse has a red lamp. " + FILLER)
    return tmp_path


@pytest.fixture
def index(folder: Path) -> Index:
    return open_index(folder)


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


URI = "x-amz-bedrock-kb-source-uri"
OLD, NEW, NONE = "harbour-2019.pdf", "harbour-2020.pdf", "undated.pdf"


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"equals": {"key": "year", "value": 2019}}, {OLD}),
        ({"notEquals": {"key": "year", "value": 2019}}, {NEW, NONE}),
        ({"greaterThan": {"key": "year", "value": 2019}}, {NEW}),
        ({"greaterThanOrEquals": {"key": "year", "value": 2019}}, {OLD, NEW}),
        ({"lessThan": {"key": "year", "value": 2020}}, {OLD}),
        ({"lessThanOrEquals": {"key": "year", "value": 2020}}, {OLD, NEW}),
        ({"in": {"key": "year", "value": [2020, 2021]}}, {NEW}),
        ({"notIn": {"key": "year", "value": [2020]}}, {OLD, NONE}),
        ({"startsWith": {"key": URI, "value": "s3://claude-workshop-letters/u"}}, {NONE}),
        ({"stringContains": {"key": URI, "value": "dated"}}, {NONE}),
        ({"andAll": [{"notIn": {"key": "year", "value": [2020]}}, {"in": {"key": "year", "value": [2019]}}]}, {OLD}),
        ({"orAll": [{"equals": {"key": "year", "value": y}} for y in (2019, 2020)]}, {OLD, NEW}),
    ],
)  # fmt: skip
def test_filter(index, wanted, found):
    assert files(ask(index, "orchard records about gardens", numberOfResults=100)) == {OLD, NEW, NONE}
    assert files(ask(index, "orchard records about gardens", numberOfResults=100, filter=wanted)) == found


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"filter": {"listContains": {"key": "year", "value": 2019}}}, "listContains"),
        ({"filter": {"equals": {}, "in": {}}}, "one operator"),
        ({"filter": {"greaterThan": {"key": "year", "value": "2019"}}}, "compares year"),
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


@settings(deadline=None, max_examples=40)  # the first question reads the dictionary
@given(question=st.text(max_size=60))
def test_any_text_is_a_question(question, tmp_path_factory):
    place = tmp_path_factory.getbasetemp() / "one"
    if not place.exists():
        place.mkdir()
        write_pdf(place / "one.pdf", "Harbour sales came to $386B. " + FILLER)
    assert len(texts(ask(open_index(place), question))) <= 1


def test_odd_pdfs_are_named_and_skipped(folder, capfd):
    good = (folder / "undated.pdf").read_bytes()
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
    write_pdf(folder / "undated.pdf", "The lighthouse has a green lamp.")
    assert "green" in texts(ask(open_index(folder), "lighthouse lamp"))[0]


def test_the_same_answer_whatever_the_threads_and_the_hash_seed():
    code = (
        "import json; from helpers.replay.index import open_index; from helpers.settings import settings;"
        "print(json.dumps([open_index(settings().letters_dir).retrieve({'retrievalQuery': {'text': text}})"
        f" for text in {QUESTIONS_OF_BOTH}]))"
    )
    env = os.environ | {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2", "PYTHONHASHSEED": "2"}
    there = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, check=True, capture_output=True).stdout
    index = open_index(ROOT / "data" / "letters")
    assert json.loads(there) == [index.retrieve({"retrievalQuery": {"text": text}}) for text in QUESTIONS_OF_BOTH]


def test_in_a_large_folder_the_bounds_hold_and_each_file_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FEATURES", 2000)
    monkeypatch.setattr(module, "FITTED", 40)
    for number in range(60):
        write_pdf(tmp_path / f"{number}.pdf", f"Walrus{number} sleeps. " + FILLER, FILLER)
    index = open_index(tmp_path)
    found = [files(ask(index, f"Walrus{number}", numberOfResults=1)) for number in range(60)]
    assert found == [{f"{number}.pdf"} for number in range(60)]


def hits(index: Index, rows: list[dict[str, Any]]) -> float:
    """The share of questions with a passage of the right file and page, that holds the key, among the first five."""

    def right(hit: dict[str, Any], row: dict[str, Any]) -> bool:
        page = hit["metadata"]["x-amz-bedrock-kb-document-page-number"] + 1
        return (
            hit["metadata"][URI].endswith(row["file"]) and page in row["pages"] and row["key"] in hit["content"]["text"]
        )

    answers = [(row, ask(index, row["question"])["retrievalResults"]) for row in rows]
    return sum(any(right(hit, row) for hit in found) for row, found in answers) / len(rows)


def test_chinese_questions_over_english_letters(report, monkeypatch):
    index = open_index(ROOT / "data" / "letters")
    figure = hits(index, QUESTIONS)
    report(f"Retrieve offline, {len(QUESTIONS)} Chinese questions over the English digests: hit@5 {figure:.3f}")
    assert len(QUESTIONS) >= 40 and figure >= 0.80
    monkeypatch.setattr(module, "english_words", lambda text: "")  # a control: without the dictionary
    assert hits(index, QUESTIONS) < 0.5


def test_chinese_questions_over_chinese_letters(report):
    rows = json.loads((ROOT / "tests" / "questions_chinese_letters.json").read_text(encoding="utf-8"))
    index = open_index(ROOT / "data" / "letters" / "zh")
    figure = hits(index, rows)
    report(f"Retrieve offline, {len(rows)} Chinese questions over the Chinese digests: hit@5 {figure:.3f}")
    assert len(rows) >= 44 and figure >= 0.90
    others = [row | {"question": other["question"]} for row, other in zip(rows, rows[20:] + rows[:20], strict=True)]
    assert hits(index, others) < 0.5  # a control: the question of another row
