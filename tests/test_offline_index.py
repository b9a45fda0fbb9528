"""The index behind Retrieve: wire shape, filters, paging, odd questions and PDFs, large folders."""

import subprocess
import sys
from pathlib import Path

import pytest
from fpdf import FPDF
from fpdf.enums import EncryptionMethod

from helpers.language import WorkshopError
from helpers.replay import index as module
from helpers.replay.index import open_index
from helpers.settings import ROOT

FILLER = "The orchard keeps quiet records about gardens and rivers near the hill. " * 3
OLD, NEW, NONE = "harbour-2019.pdf", "harbour-2020.pdf", "undated.pdf"


def write_pdf(file, *pages, password=None):
    pdf = FPDF()
    if password is not None:
        pdf.set_encryption("owner", password, encryption_method=EncryptionMethod.RC4)
    pdf.set_font("Helvetica", size=11)
    for text in pages:
        pdf.add_page()
        pdf.multi_cell(0, 6, text)
    pdf.output(str(file))


def ask(index, text, token="0", **search):
    how = {"vectorSearchConfiguration": search}
    return index.retrieve({"retrievalQuery": {"text": text}, "retrievalConfiguration": how, "nextToken": token})


def texts(answer):
    return [result["content"]["text"] for result in answer["retrievalResults"]]


def files(answer):
    return {Path(hit["location"]["s3Location"]["uri"]).name for hit in answer["retrievalResults"]}


def fill(folder):
    pages = "Harbour sales came to $386B in 2019. ", "Growth was 37% and 100,000 vans were ordered. "
    write_pdf(folder / OLD, *(page + FILLER for page in pages))
    write_pdf(folder / NEW, "Harbour sales came to $400B in 2020. " + FILLER)
    write_pdf(folder / NONE, "The lighthouse has a red lamp. " + FILLER)
    return folder


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return open_index(fill(tmp_path_factory.mktemp("letters")))


def test_passages_come_best_first_and_say_where_they_stand(index):
    """Their form is that of the service: test_provenance compares what is recorded of the index with both."""
    text = "How many vans were ordered in the harbour?"
    hybrid, semantic = (ask(index, text, overrideSearchType=kind) for kind in ("HYBRID", "SEMANTIC"))
    for answer in (hybrid, semantic):
        scores = [hit["score"] for hit in answer["retrievalResults"]]
        assert len(scores) > 1 and scores == sorted(scores, reverse=True) and 0 < scores[-1] <= scores[0] <= 1
    assert ask(index, text) == hybrid != semantic
    first = hybrid["retrievalResults"][0]
    assert "100,000 vans" in first["content"]["text"]
    assert first["location"]["s3Location"]["uri"] == "s3://claude-workshop-letters/harbour-2019.pdf"
    assert first["metadata"]["x-amz-bedrock-kb-document-page-number"] == 1.0  # the second


YEAR, URI = "year", "x-amz-bedrock-kb-source-uri"


@pytest.mark.parametrize(
    ("operator", "key", "value", "found"),
    [
        ("equals", YEAR, 2019, {OLD}),
        ("notEquals", YEAR, 2019, {NEW, NONE}),
        ("greaterThan", YEAR, 2019, {NEW}),
        ("in", YEAR, [2020, 2021], {NEW}),
        ("notIn", YEAR, [2020], {OLD, NONE}),
        ("startsWith", URI, "s3://claude-workshop-letters/u", {NONE}),
        ("stringContains", URI, "dated", {NONE}),
    ],
)
def test_a_filter_and_its_place_in_others(index, operator, key, value, found):
    wanted, newer = {operator: {"key": key, "value": value}}, {"equals": {"key": YEAR, "value": 2020}}
    for filters, those in (
        (wanted, found),
        ({"andAll": [wanted, newer]}, found & {NEW}),
        ({"orAll": [wanted, newer]}, found | {NEW}),
    ):
        assert files(ask(index, "orchard records about gardens", numberOfResults=100, filter=filters)) == those


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"filter": {"listContains": {"key": "year", "value": 2019}}}, "listContains"),
        ({"filter": {"equals": {}, "in": {}}}, "one operator"),
        ({"filter": {"startsWith": {"key": "year", "value": "2019"}}}, "compares year"),
        ({"numberOfResults": 101}, "1 to 100"),
        ({"rerankingConfiguration": {"type": "BEDROCK_RERANKING_MODEL"}}, "rerankingConfiguration"),
    ],
)
def test_what_it_cannot_do_is_said(index, search, said):
    with pytest.raises(WorkshopError, match=said):
        ask(index, "harbour", **search)


def test_pages_of_results_join_to_the_whole(index):
    whole, joined, token = ask(index, "orchard records", numberOfResults=100), [], "0"
    while token is not None:
        page = ask(index, "orchard records", token, numberOfResults=1)
        joined, token = joined + texts(page), page.get("nextToken")
    assert joined == texts(whole) and len(joined) > 2 and "nextToken" not in whole


def test_a_question_without_a_known_word_finds_nothing(index):
    for question in ("", "\0", "\ud800", "((((", "🙂", "إيرادات"):
        assert texts(ask(index, question)) == []
        assert "Harbour" in texts(ask(index, f"{question} harbour sales", overrideSearchType="SEMANTIC"))[0]


def test_odd_pdfs_are_named_and_skipped(tmp_path, capfd):
    folder = fill(tmp_path)
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


def test_a_changed_folder_is_read_again_and_only_then(tmp_path):
    with pytest.raises(WorkshopError, match="no PDF in"):
        open_index(tmp_path)
    (tmp_path / NONE).write_bytes(b"")
    before = open_index(tmp_path)
    assert open_index(tmp_path) is before and texts(ask(before, "lamp")) == []
    write_pdf(tmp_path / NONE, "The lighthouse has a green lamp.")
    assert "green" in texts(ask(open_index(tmp_path), "lighthouse lamp"))[0]


def test_calls_that_meet_a_folder_at_once_build_its_index_once():
    """In a process of its own: what it is about, PDFium in several threads, ends the process."""
    code = """if True:
        from multiprocessing.pool import ThreadPool
        from pathlib import Path
        from helpers.replay.index import open_index
        print(len({id(each) for each in ThreadPool(4).map(open_index, [Path("data/letters")] * 4)}))"""
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True) == "1\n"


def test_in_a_large_folder_the_bounds_hold_and_each_file_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FEATURES", 1000)
    monkeypatch.setattr(module, "FITTED", 20)
    for number in range(30):
        write_pdf(tmp_path / f"{number}.pdf", f"Walrus{number} sleeps. " + FILLER, FILLER)
    index = open_index(tmp_path)
    found = [files(ask(index, f"Walrus{number}", numberOfResults=1)) for number in range(30)]
    assert found == [{f"{number}.pdf"} for number in range(30)]
