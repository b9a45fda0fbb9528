"""The digests in data/letters: built as committed, readable, true to the letters and each other, in our own words."""

import json
import re
import runpy
from decimal import Decimal
from functools import cache

import pytest
from fontTools.ttLib import TTFont
from pypdf import PdfReader

from helpers.settings import ROOT

LETTERS, FONTS = ROOT / "data" / "letters", ROOT / "data" / "fonts"
EACH_YEAR = pytest.mark.parametrize("year", YEARS := (2019, 2020, 2021, 2022))
EACH_LANGUAGE = pytest.mark.parametrize("language", ["", "zh"], ids=["English", "Chinese"])
RUN = 8  # words in a row that count as copied
# Years that a digest names and its letter calls "last" and "next".
ELSEWHERE = {2019: {2019, 2020}, 2020: {2022}, 2021: set(), 2022: set()}


def source(year, language=""):
    return (LETTERS / language / "source" / f"{year}.md").read_text(encoding="utf-8")


@cache
def pages(path):
    return [page.extract_text() for page in PdfReader(path).pages]


@pytest.fixture
def letter(real_letters, year):
    """The text of the letter of that year."""
    return "\n".join(pages(real_letters / f"AMZN-{year}-Shareholder-Letter.pdf"))


@EACH_LANGUAGE
def test_the_sources_give_the_committed_bytes(language):
    build = runpy.run_path(str(LETTERS / "make_digests.py"))["build"]
    for year in YEARS:
        stored = (LETTERS / language / f"AMZN-{year}-digest.pdf").read_bytes()
        built = build(LETTERS / language / "source" / f"{year}.md", language)
        assert built == stored, "run `make letters-digest`"
        assert (b"FlateDecode" in stored) == bool(language)  # the font of the Chinese ones


@EACH_YEAR
@EACH_LANGUAGE
def test_the_text_of_the_pages_is_the_source_word_for_word(language, year):
    found, text = pages(LETTERS / language / f"AMZN-{year}-digest.pdf"), source(year, language)
    lines = [line for page in found for line in page.splitlines()[1:-1]]  # what is above and below is on each page
    text = re.sub(r"^(# |## |> |\|[-|]+\n)", "", text, flags=re.MULTILINE)
    text = re.sub(r"^- ", "\N{BULLET} ", text.replace("|", " "), flags=re.MULTILINE)
    assert 3 <= len(found) <= 5
    between = "" if language else " "  # a line of Chinese ends anywhere
    assert between.join(" ".join(lines).split()) == between.join(text.split())


@EACH_LANGUAGE
def test_each_fact_of_the_questions_stands_on_its_pages(language):
    questions = json.loads((LETTERS / language / "questions.json").read_text(encoding="utf-8"))
    for fact in (fact for row in questions for fact in row["facts"]):
        texts = [" ".join(page.split()) for page in pages(LETTERS / language / fact["file"])]
        for page in fact["pages"]:
            assert any(form in texts[page - 1] for form in fact["text"]), fact
    assert all(bool(row["facts"]) != (row["kind"] == "no answer") for row in questions)
    assert len({row["question"] for row in questions}) == len(questions) >= 24


SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "K": 10**3, "M": 10**6, "B": 10**9, "": 1}
FIGURE = re.compile(
    r"(?<![A-Za-z\d.,])([$£€]?)(\d[\d,]*(?:\.\d+)?)(?:-(\d[\d,]*))?\s?(thousand|million|billion|[KMB]\b)?\s?(%)?"
)
NAME = re.compile(r"\b[A-Za-z]+\d+\b", re.ASCII)  # Graviton2, x86


def figures(text):
    """Value and unit of each figure in digits, and the names that hold one."""
    text = re.sub(r"-\s*\n\s*", "-", text).replace("COVID-19", "COVID")
    found = {(name.lower(), "") for name in NAME.findall(text)}
    for currency, low, high, scale, unit in FIGURE.findall(text):
        for value in filter(None, (low, high)):
            found.add((Decimal(value.replace(",", "")) * SCALES[scale], currency or unit))
    return found


def runs(text):
    """The runs of RUN words in a row."""
    words = re.findall(r"[a-z0-9]+", re.sub(r"['’]", "", re.sub(r"-\s*\n\s*", "-", text)).lower())
    return {" ".join(words[i : i + RUN]) for i in range(len(words) - RUN + 1)}


@EACH_YEAR
def test_every_figure_is_in_the_letter_and_no_run_of_words_is(year, letter):
    known = figures(letter)
    assert figures(source(year)) - known == {(Decimal(each), "") for each in ELSEWHERE[year]}
    assert len(figures(source(year))) > 50
    assert runs(source(year)) & runs(letter) == set()
    # Controls: true, but not in the letter; in another scale, currency, unit; a copied sentence.
    for invented in ("$386 billion in 2022", "$434 million", "434B of revenue", "27,000%", "Graviton9"):
        assert figures(invented) - known
    assert runs(f"Ours: {letter[3000:3300]}") & runs(letter)


@EACH_YEAR
def test_each_share_in_percent_is_the_same_in_chinese(year):
    ours, theirs = ({each for each in figures(source(year, edition)) if each[1] == "%"} for edition in ("", "zh"))
    assert ours == theirs and len(ours) > 3
    assert ours != {each for each in figures(source(2019 + (year - 2018) % 4, "zh")) if each[1] == "%"}  # a control


def test_the_font_has_every_character_that_is_written():
    font = TTFont(FONTS / "WorkshopSansSC-Regular.ttf")
    wanted = runpy.run_path(str(FONTS / "make_font.py"))["characters"]()
    missing = {letter for letter in wanted if ord(letter) not in font.getBestCmap()}
    assert missing == set(), "run data/fonts/make_font.py"
    assert len(wanted) > 6800 and str(font["name"].getDebugName(1)) == "Workshop Sans SC"
