"""The Chinese digests: the figures of the English ones, section by section; whole lines; a font with all letters."""

import calendar
import json
import re
import runpy
from decimal import Decimal

import pypdfium2
import pytest
from fontTools.ttLib import TTFont

from helpers.replay.index import CJK, open_index
from helpers.retrieval import passage_of
from helpers.settings import ROOT
from tests.test_letters import WORDS, YEARS, pages, questions_over, source

CHINESE, FONTS = ROOT / "data" / "letters" / "zh", ROOT / "data" / "fonts"
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "K": 10**3, "M": 10**6, "B": 10**9}
SCALES |= {"": 1, "千": 10**3, "万": 10**4, "亿": 10**8, "万亿": 10**12}
UNITS = {"美元": "$", "加元": "$", "英镑": "£", "欧元": "€"}
MONTHS = list(calendar.month_name)  # of 1 to 12
DIGITS = {digit: value for value, digit in enumerate("一二三四五六七八九", 1)}
SIZES = {"十": 10, "百": 100} | {each: SCALES[each] for each in "千万亿"}
NUMBER = r"(?<![A-Za-z\d.,])([$£€]?)(\d[\d,]*(?:\.\d+)?)(?:-(\d+))?\s?({})?\s?({})?"
ENGLISH = re.compile(NUMBER.format(r"thousand|million|billion|trillion|[KMB]\b", "%"))
IN_CHINESE = re.compile(NUMBER.format(r"万亿|[千万亿]|[KMB]\b", f"%|月|{'|'.join(UNITS)}"))
NAME = re.compile(r"\b[A-Za-z]+\d+\b", re.ASCII)  # Graviton2, x86: the same in both languages
Figures = set[tuple[Decimal | str, str]]


def chinese(year: int) -> str:
    return (CHINESE / "source" / f"{year}.md").read_text(encoding="utf-8")


def in_digits(number: re.Pattern[str], text: str) -> Figures:
    """Value and unit of each figure in digits, and the names that hold one."""
    found: Figures = {(name.lower(), "") for name in NAME.findall(text)}
    for currency, low, high, scale, unit in number.findall(text):
        for value in filter(None, (low, high)):
            found.add((Decimal(value.replace(",", "")) * SCALES[scale], currency or UNITS.get(unit, unit)))
    return found


def english_figures(text: str) -> Figures:
    """Those in digits, the words from three up, and the months."""
    text = text.replace("COVID-19", "COVID")
    words = re.findall(rf"\b({'|'.join(WORDS)})\b(?: (thousand|million|billion)\b)?", text.lower())
    months = {(Decimal(MONTHS.index(month)), "月") for month in re.findall(rf"\b({'|'.join(MONTHS[1:])})\b", text)}
    return in_digits(ENGLISH, text) | {(Decimal(WORDS[word] * SCALES[scale]), "") for word, scale in words} | months


def chinese_figures(text: str) -> Figures:
    """Those in digits, and the numbers in characters."""
    text = re.sub("第([一四])季度", lambda quarter: f" Q{DIGITS[quarter[1]]} ", text)
    found = in_digits(IN_CHINESE, text)
    for run in re.findall("[一二三四五六七八九十百千万亿]+", text):
        value = digit = 0
        for each in run:
            digit, value = (DIGITS[each], value) if each in DIGITS else (0, value + (digit or 1) * SIZES[each])
        found.add((Decimal(value + digit), ""))
    return found


def sections(text: str) -> list[str]:
    return re.split("^## ", text, flags=re.MULTILINE)


def lost(english: str, translated: str) -> Figures:
    """The figures of an English section that its translation lacks; a bare one may have a unit there."""
    there = chinese_figures(translated)
    values = {value for value, _ in there}
    return {figure for figure in english_figures(english) - there if figure[1] or figure[0] not in values}


def added(english: str, translated: str) -> Figures:
    """The figures in digits of a translation that the English section lacks."""
    values = {value for value, _ in english_figures(english)}
    return {figure for figure in in_digits(IN_CHINESE, translated) if figure[0] not in values}


@pytest.mark.parametrize("year", YEARS)
def test_each_section_has_the_figures_of_the_english_one(year):
    pairs = list(zip(sections(source(year)), sections(chinese(year)), strict=True))
    assert [(lost(*pair), added(*pair)) for pair in pairs] == [(set(), set())] * len(pairs)
    assert sum(len(english_figures(english)) for english, _ in pairs) > 60
    for english, translated in pairs:
        rows = [text.count("\n|") + text.count("\n- ") + text.count("\n\n") for text in (english, translated)]
        assert rows[0] == rows[1], translated[:20]  # as many paragraphs, rows and items


@pytest.mark.parametrize(
    ("english", "translated", "missing", "invented"),
    [
        ("$21.3 billion in 2020", "2020 年为 213 亿美元", set(), set()),
        ("$21.3 billion in 2020", "2020 年为 213 亿英镑", {(Decimal(21_300_000_000), "$")}, set()),
        ("840,000 people", "84 亿人", {(Decimal(840_000), "")}, {(Decimal(8_400_000_000), "")}),
        ("six hours, ten thousand vans, in April", "六小时，1 万辆，在 4 月", set(), set()),
        ("six hours in April", "七小时，在 5 月", {(Decimal(6), ""), (Decimal(4), "月")}, {(Decimal(5), "月")}),
        ("300-400 million by Graviton2", "Graviton2 有 3 亿到 4 亿", set(), set()),
        ("37% with Graviton2", "Graviton3 有 37", {("graviton2", ""), (Decimal(37), "%")}, {("graviton3", "")}),
    ],
)
def test_a_changed_figure_is_found(english, translated, missing, invented):
    assert (lost(english, translated), added(english, translated)) == (missing, invented)


@pytest.mark.parametrize("year", YEARS)
def test_the_pages_have_the_text_of_the_source(year):
    found, body = pages(CHINESE / f"AMZN-{year}-digest.pdf"), ""
    headings = set(re.findall("^## (.+)$", chinese(year), re.MULTILINE))
    for number, page in enumerate(found, 1):
        above, *lines, last, below = page.splitlines()
        assert above == f"Amazon Bedrock 上的 Claude 工作坊 亚马逊 {year} 年股东信摘要"
        assert below == f"第 {number} 页，共 {len(found)} 页" and last not in headings
        body += "".join([*lines, last])
    text = re.sub(r"^(# |## |> |\|[-|]+\n)", "", chinese(year), flags=re.MULTILINE)
    text = re.sub("^- ", "\N{BULLET}", text.replace("|", ""), flags=re.MULTILINE)
    assert "".join(body.split()) == "".join(text.split()) and len(found) == 4


@pytest.mark.parametrize("year", YEARS)
def test_lines_are_full_and_no_mark_stands_at_the_wrong_end(year):
    with pypdfium2.PdfDocument(CHINESE / f"AMZN-{year}-digest.pdf") as pdf:
        lines = [line.strip() for page in pdf for line in page.get_textpage().get_text_range().splitlines()]
    assert [line for line in lines if re.match("[，。、；：？！）》”·%]", line) or re.search("[（《“]$", line)] == []
    assert sum(len(line) > 38 for line in lines) > 60  # a control: not broken at spaces alone


def test_a_passage_of_the_index_has_no_space_where_a_line_ended():
    texts = [hit["content"]["text"] for hit in open_index(CHINESE)._hits]
    gaps = [
        text[found.start() - 9 : found.end() + 9] for text in texts for found in re.finditer(f"[{CJK}] [{CJK}]", text)
    ]
    written = "\n".join(chinese(year) for year in YEARS)
    assert [gap for gap in gaps if gap.replace(" ", "") in written] == [] and 30 < len(texts) < 60
    assert any("股东信摘要 新目标：" in text for text in texts)  # below a heading the space stays
    assert any("为股东创造的财富 自上市以来" in text for text in texts)


def test_the_font_has_every_character_that_is_written():
    font = TTFont(FONTS / "WorkshopSansSC-Regular.ttf")
    wanted = runpy.run_path(str(FONTS / "make_font.py"))["characters"]()
    assert {letter for letter in wanted if ord(letter) not in font.getBestCmap()} == set(), (
        "run data/fonts/make_font.py"
    )
    assert len(wanted) > 6800 and str(font["name"].getDebugName(1)) == "Workshop Sans SC"


def test_each_fact_of_the_questions_stands_on_its_pages():
    questions = questions_over(CHINESE)
    assert len(questions) >= 24
    assert sum(row["kind"] == "figure" for row in questions) == 10


def test_only_facts_that_are_ranked_low_are_not_found():
    index, found = open_index(CHINESE), {}
    for row in json.loads((CHINESE / "questions.json").read_text(encoding="utf-8")):
        answer = index.retrieve({"retrievalQuery": {"text": row["question"]}})
        passages = [passage_of(each) for each in answer["retrievalResults"]]
        for fact in row["facts"]:
            there = [each.text for each in passages if each.source == fact["file"] and each.page in fact["pages"]]
            held = any(form in text for text in there for form in fact["text"])
            found.setdefault(row["kind"], []).append(held)
    assert not any(found["ranked low"]) and all(found["figure"]) and all(found["English"])
