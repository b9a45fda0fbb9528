"""The digests in data/letters: built as committed, readable, true to the letters, and in our own words."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest
from pypdf import PdfReader

from helpers.settings import ROOT

LETTERS = ROOT / "data" / "letters"
YEARS = (2019, 2020, 2021, 2022)
RUN = 8  # words in a row that count as copied
# Figures of a digest that its letter does not print: years it calls "last" and "next", and one count.
ELSEWHERE = {2019: {"2019", "2020"}, 2020: {"2022", "four"}, 2021: set(), 2022: set()}


def source(year: int) -> str:
    return (LETTERS / "source" / f"{year}.md").read_text(encoding="utf-8")


@cache
def pages(path: Path) -> list[str]:
    return [page.extract_text() for page in PdfReader(path).pages]


def digest(year: int) -> list[str]:
    return pages(LETTERS / f"AMZN-{year}-digest.pdf")


def letter_file(year: int) -> Path:
    """The real letter, or a skip where no copy is at hand."""
    folders = [os.environ.get("WORKSHOP_LETTERS_DIR") or ROOT.parent / "shared" / "letters", LETTERS / "originals"]
    found = [path for folder in folders if (path := Path(folder) / f"AMZN-{year}-Shareholder-Letter.pdf").is_file()]
    if not found:
        pytest.skip("needs Amazon's letters: `make letters`, or WORKSHOP_LETTERS_DIR")
    return found[0]


def letter(year: int) -> str:
    return "\n".join(pages(letter_file(year)))


def test_the_sources_give_the_committed_bytes(tmp_path):
    subprocess.run([sys.executable, LETTERS / "make_digests.py", tmp_path], check=True)
    built, stored = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("AMZN-*-digest.pdf")}
        for folder in (tmp_path, LETTERS)
    )
    assert built == stored and len(built) == 2 * len(YEARS), "run `make letters-digest`"
    assert {path.parent.name for path, content in built.items() if b"FlateDecode" in content} == {"zh"}  # its font


@pytest.mark.parametrize("year", YEARS)
def test_the_text_of_the_pages_is_the_source_word_for_word(year):
    headings, body = set(re.findall("^## (.+)$", source(year), re.MULTILINE)), []
    for number, page in enumerate(digest(year), 1):
        above, *lines, last, below = page.splitlines()
        assert above == f"Claude on Amazon Bedrock workshop Digest of Amazon's {year} shareholder letter"
        assert below == f"Page {number} of {len(digest(year))}" and last not in headings
        body += " ".join([*lines, last]).split()
    text = re.sub(r"^(# |## |> |\|[-|]+\n)", "", source(year), flags=re.MULTILINE)
    assert 3 <= len(digest(year)) <= 5 and len(headings) >= 10
    assert body == re.sub(r"^- ", "\N{BULLET} ", text.replace("|", " "), flags=re.MULTILINE).split()


def questions_over(folder):
    """The questions of an edition, each fact of which stands on its pages."""
    questions = json.loads((folder / "questions.json").read_text(encoding="utf-8"))
    for fact in (fact for row in questions for fact in row["facts"]):
        texts = [" ".join(page.split()) for page in pages(folder / fact["file"])]
        for page in fact["pages"]:
            assert any(form in texts[page - 1] for form in fact["text"]), fact
    assert len({row["question"] for row in questions}) == len(questions)
    assert all(bool(row["facts"]) != (row["kind"] == "no answer") for row in questions)
    return questions


def test_each_fact_of_the_questions_stands_on_its_pages():
    assert len(questions_over(LETTERS)) == 50


SCALES = {"K": 10**3, "M": 10**6, "B": 10**9, "million": 10**6, "billion": 10**9, "trillion": 10**12}
TEENS = "thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty"
NAMES = f"three four five six seven eight nine ten eleven twelve {TEENS}"
WORDS = {name: number for number, name in enumerate(NAMES.split(), 3)}
WORDS |= {"thirty": 30, "forty": 40, "fifty": 50, "hundred": 100, "thousand": 1000}
NUMBER = re.compile(r"([$£€]?)(\d[\d,]*(?:\.\d+)?)(?:-([$£€]?\d[\d,]*))?(%|[KMB])?")


def figures(text: str) -> Iterator[tuple[str, tuple[str, Decimal | str, str]]]:
    """Each token with a digit, or a number word from three up, and its meaning: currency, value or name, "%"."""
    tokens = re.split(r"[\s—–|]+", re.sub(r"-\s*\n\s*", "-", text).replace("’", "'"))
    for here, after in zip(tokens, [*tokens[1:], ""], strict=True):
        token = here.strip(".,;:\"'“”/") if "(" in here[1:] else here.strip(".,;:\"'“”/()")
        word = token.lower().partition("-")[0]  # "four" and "four-year"
        if word in WORDS:
            yield token, ("", Decimal(WORDS[word]), "")
        if not re.search(r"\d", token):
            continue
        match = NUMBER.fullmatch(token.removesuffix("-plus"))
        if not match:
            yield token, ("", token.lower(), "")
            continue
        currency, low, high, unit = match.groups()
        scale = SCALES.get(unit or after.strip(".,;:()"), 1)
        for value in filter(None, (low, high)):
            yield token, (currency, Decimal(value.replace(",", "")) * scale, "%" if unit == "%" else "")


def unknown(text: str, year: int) -> set[str]:
    """The figures of `text` that the letter of that year does not hold."""
    known = {figure for _, figure in figures(letter(year))}
    return {token for token, figure in figures(text) if figure not in known}


def copied(text: str, year: int) -> list[str]:
    """The runs of RUN words that a text shares with the letter of that year."""

    def runs(text: str) -> list[tuple[str, ...]]:
        words = re.findall(r"[a-z0-9]+", re.sub(r"['’]", "", re.sub(r"-\s*\n\s*", "-", text)).lower())
        return [tuple(words[i : i + RUN]) for i in range(len(words) - RUN + 1)]

    theirs = set(runs(letter(year)))
    return [" ".join(run) for run in runs(text) if run in theirs]


@pytest.mark.parametrize("year", YEARS)
def test_every_figure_is_in_the_letter_and_no_run_of_words_is(year):
    assert unknown(source(year), year) == ELSEWHERE[year] and sum(1 for _ in figures(source(year))) > 60
    assert copied(source(year), year) == []
    assert copied(f"Ours: {letter(year)[3000:3300]}", year)  # a control


@pytest.mark.parametrize(
    ("text", "caught"),
    [
        ("Revenue was $386 billion in 2022, about $435B.", {"$386", "$435B"}),  # one true, but not in the letter
        ("$434 million and 434B of revenue, 27,000%", {"$434", "434B", "27,000%"}),  # wrong scale, currency, unit
        ("27,001 roles, Graviton9 and Q3, 2008-2011, eighteen", {"27,001", "Graviton9", "Q3", "2008-2011", "eighteen"}),
        ("$434B, $434 billion, 27,000, 40%, Graviton3, 2008-2009 and Q4", set()),
    ],
)
def test_an_invented_figure_is_caught(text, caught):
    assert unknown(text, 2022) == caught
