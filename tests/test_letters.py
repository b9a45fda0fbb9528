"""The digests in data/letters: built as committed, readable, true to the letters and each other, in our own words."""

import calendar
import json
import re
import runpy
from decimal import Decimal
from functools import cache

import pytest
from fontTools.ttLib import TTFont
from pypdf import PdfReader

from helpers.replay.index import CJK, open_index
from helpers.settings import ROOT

LETTERS, FONTS = ROOT / "data" / "letters", ROOT / "data" / "fonts"
EACH_YEAR = pytest.mark.parametrize("year", YEARS := (2019, 2020, 2021, 2022))
EACH_LANGUAGE = pytest.mark.parametrize("language", ["", "zh"], ids=["English", "Chinese"])
RUN = 8  # words in a row that count as copied
# Figures of a digest that its letter does not print: years it calls "last" and "next", and one count.
ELSEWHERE = {2019: {2019, 2020}, 2020: {2022, 4}, 2021: set(), 2022: set()}


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


SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "K": 10**3, "M": 10**6, "B": 10**9}
SCALES |= {"": 1, "千": 10**3, "万": 10**4, "亿": 10**8, "万亿": 10**12}
NAMES = "three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen"
WORDS = {name: number for number, name in enumerate(NAMES.split(), 3)}
WORDS |= {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "hundred": 100, "thousand": 1000}
UNITS = {"美元": "$", "加元": "$", "英镑": "£", "欧元": "€"}
MONTHS = list(calendar.month_name)  # of 1 to 12
DIGITS = {digit: value for value, digit in enumerate("一二三四五六七八九", 1)}
SIZES = {"十": 10, "百": 100} | {each: SCALES[each] for each in "千万亿"}
NUMBER = r"(?<![A-Za-z\d.,])([$£€]?)(\d[\d,]*(?:\.\d+)?)(?:-(\d[\d,]*))?\s?({})?\s?({})?"
ENGLISH = re.compile(NUMBER.format(r"thousand|million|billion|trillion|[KMB]\b", "%"))
CHINESE = re.compile(NUMBER.format(r"万亿|[千万亿]|[KMB]\b", f"%|月|{'|'.join(UNITS)}"))
NAME = re.compile(r"\b[A-Za-z]+\d+\b", re.ASCII)  # Graviton2, x86: the same in both languages


def in_digits(number, text):
    """Value and unit of each figure in digits, and the names that hold one."""
    found = {(name.lower(), "") for name in NAME.findall(text)}
    for currency, low, high, scale, unit in number.findall(text):
        for value in filter(None, (low, high)):
            found.add((Decimal(value.replace(",", "")) * SCALES[scale], currency or UNITS.get(unit, unit)))
    return found


def english_figures(text):
    """Those in digits, the words from three up, and the months."""
    text = re.sub(r"-\s*\n\s*", "-", text).replace("COVID-19", "COVID")
    words = re.findall(rf"\b({'|'.join(WORDS)})\b(?:\s(thousand|million|billion)\b)?", text.lower())
    months = {(Decimal(MONTHS.index(month)), "月") for month in re.findall(rf"\b({'|'.join(MONTHS[1:])})\b", text)}
    return in_digits(ENGLISH, text) | {(Decimal(WORDS[word] * SCALES[scale]), "") for word, scale in words} | months


def chinese_figures(text):
    """Those in digits, and the numbers in characters."""
    text = re.sub("第([一四])季度", lambda quarter: f" Q{DIGITS[quarter[1]]} ", text)
    found = in_digits(CHINESE, text)
    for run in re.findall("[一二三四五六七八九十百千万亿]+", text):
        value = digit = 0
        for each in run:
            digit, value = (DIGITS[each], value) if each in DIGITS else (0, value + (digit or 1) * SIZES[each])
        found.add((Decimal(value + digit), ""))
    return found


def unknown(text, letter):
    """The figures of `text`, months apart, that the letter does not hold."""
    return {figure for figure in english_figures(text) - english_figures(letter) if figure[1] != "月"}


def runs(text):
    """The runs of RUN words in a row."""
    words = re.findall(r"[a-z0-9]+", re.sub(r"['’]", "", re.sub(r"-\s*\n\s*", "-", text)).lower())
    return {" ".join(words[i : i + RUN]) for i in range(len(words) - RUN + 1)}


@EACH_YEAR
def test_every_figure_is_in_the_letter_and_no_run_of_words_is(year, letter):
    assert unknown(source(year), letter) == {(Decimal(each), "") for each in ELSEWHERE[year]}
    assert len(english_figures(source(year))) > 60
    assert runs(source(year)) & runs(letter) == set()
    assert runs(f"Ours: {letter[3000:3300]}") & runs(letter)  # a control


@pytest.mark.parametrize("year", [2022])
def test_an_invented_figure_is_caught(letter):
    for text, caught in {
        "$434B, $434 billion, 27,000, 40%, Graviton3, 2008-2009 and Q4": set(),
        "Revenue was $386 billion in 2022": {386 * 10**9},  # true, but not in the letter
        "$434 million and 434B of revenue, 27,000%": {434 * 10**6, 434 * 10**9, 27_000},  # wrong scale, currency, unit
        "27,001 roles, Graviton9 and Q3, 2008-2011, eighteen": {27_001, "graviton9", "q3", 2011, 18},
    }.items():
        assert {value for value, _ in unknown(text, letter)} == caught


def lost_and_added(english, chinese):
    """The figures of an English section that its translation lacks, and those in digits that only that one has.

    A bare figure may have a unit in the translation.
    """
    ours, theirs = english_figures(english), chinese_figures(chinese)
    lost = {each for each in ours - theirs if each[1] or each[0] not in {value for value, _ in theirs}}
    return lost, {each for each in in_digits(CHINESE, chinese) if each[0] not in {value for value, _ in ours}}


@EACH_YEAR
def test_each_section_in_chinese_has_the_figures_of_the_english_one(year):
    sections = [re.split("^## ", source(year, language), flags=re.MULTILINE) for language in ("", "zh")]
    for pair in zip(*sections, strict=True):
        assert lost_and_added(*pair) == (set(), set())
        rows = [text.count("\n|") + text.count("\n- ") + text.count("\n\n") for text in pair]
        assert rows[0] == rows[1], pair  # as many paragraphs, rows and items


def test_a_changed_figure_is_found():
    for english, translated, lost, added in [
        ("six hours, ten thousand vans, in April", "六小时，1 万辆，在 4 月", set(), set()),
        ("300-400 million by Graviton2", "Graviton2 有 3 亿到 4 亿", set(), set()),
        ("$21.3 billion in 2020", "2020 年为 213 亿英镑", {(Decimal(21_300_000_000), "$")}, set()),
        ("840,000 people", "84 亿人", {(Decimal(840_000), "")}, {(Decimal(8_400_000_000), "")}),
        ("six hours in April", "七小时，在 5 月", {(Decimal(6), ""), (Decimal(4), "月")}, {(Decimal(5), "月")}),
        ("37% with Graviton2", "Graviton3 有 37", {("graviton2", ""), (Decimal(37), "%")}, {("graviton3", "")}),
    ]:
        assert lost_and_added(english, translated) == (lost, added)


def test_a_chinese_passage_of_the_index_has_no_space_where_a_line_ended():
    texts = [hit["content"]["text"] for hit in open_index(LETTERS / "zh")._hits]
    written = "\n".join(source(year, "zh") for year in YEARS)
    gaps = [(text, found.start()) for text in texts for found in re.finditer(f"(?<=[{CJK}]) (?=[{CJK}])", text)]
    around = [text[max(0, at - 10) : at] + text[at + 1 : at + 11] for text, at in gaps]
    assert [gap for gap in around if gap.replace(" ", "") in written] == [] and 30 < len(texts) < 60
    assert any("股东信摘要 新目标：" in text for text in texts)  # below a heading the space stays
    assert any("为股东创造的财富 自上市以来" in text for text in texts)


def test_the_font_has_every_character_that_is_written():
    font = TTFont(FONTS / "WorkshopSansSC-Regular.ttf")
    wanted = runpy.run_path(str(FONTS / "make_font.py"))["characters"]()
    missing = {letter for letter in wanted if ord(letter) not in font.getBestCmap()}
    assert missing == set(), "run data/fonts/make_font.py"
    assert len(wanted) > 6800 and str(font["name"].getDebugName(1)) == "Workshop Sans SC"
