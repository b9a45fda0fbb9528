"""The digests in data/letters: built as committed, readable, true to the letters, and in our own words."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest
from pypdf import PdfReader

ROOT = Path(__file__).resolve().parents[1]
LETTERS = ROOT / "data" / "letters"
YEARS = (2019, 2020, 2021, 2022)
SIGNED_BY = {2019: "Jeffrey P. Bezos", 2020: "Jeffrey P. Bezos", 2021: "Andy Jassy", 2022: "Andy Jassy"}
RUN = 8  # words in a row that count as copied

# Figures of a digest that its letter does not print, each with where it comes from.
ELSEWHERE: dict[int, dict[str, str]] = {
    2019: {
        "2019": "the fiscal year, in the letter's file name; the letter says 'last year'",
        "2020": "the year it was published in; the letter says 'March' and 'April'",
    },
    2020: {
        "2022": "the letter, of 2021, says 'next year'",
        "four": "counted: shareholders, employees, sellers, customers",
    },
    2021: {},
    2022: {},
}


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


build_letters = _load("build_letters")


def source(year: int) -> Path:
    return LETTERS / "source" / f"{year}.md"


def digest(year: int) -> Path:
    return LETTERS / f"AMZN-{year}-digest.pdf"


@cache
def pages(path: Path) -> list[str]:
    return [page.extract_text() for page in PdfReader(path).pages]


@cache
def letter(year: int) -> str:
    """Text of the real letter, or a skip where no copy is at hand."""
    name = f"AMZN-{year}-Shareholder-Letter.pdf"
    named = os.environ.get("WORKSHOP_LETTERS_DIR")
    folders = [Path(named)] if named else []
    for folder in [*folders, ROOT.parent / "shared" / "letters", LETTERS / "originals"]:
        if (folder / name).is_file():
            return "\n".join(pages(folder / name))
    pytest.skip(f"needs {name}: run `make letters`, or set WORKSHOP_LETTERS_DIR to a folder that holds it")


# --- built as committed --------------------------------------------------------------


@pytest.mark.parametrize("year", YEARS)
def test_source_gives_the_committed_bytes(year: int) -> None:
    assert build_letters.build(source(year)) == digest(year).read_bytes(), "run `make letters-digest`"


def test_every_source_and_every_pdf_is_covered() -> None:
    assert sorted(p.stem for p in (LETTERS / "source").iterdir()) == [str(year) for year in YEARS]
    assert sorted(LETTERS.glob("*.pdf")) == [digest(year) for year in YEARS]


def test_no_compressed_stream_so_that_zlib_does_not_matter() -> None:
    assert not any(b"FlateDecode" in digest(year).read_bytes() for year in YEARS)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("# T\n\nno note\n", "> note"),
        ("# T\n\n> n\n\n**bold**\n", "line 5"),
        ("# T\n\n> n\n\n1. numbered\n", "not supported"),
        ("# T\n\n> n\n\n## heading\nglued\n", "empty line"),
        ("# T\n\n> n\n\n| one cell |\n", "two cells"),
        ("# T\n\n> n\n\n漢字\n", "no '漢'"),
    ],
)
def test_markup_that_would_not_be_rendered_is_refused(text: str, says: str) -> None:
    with pytest.raises(build_letters.SourceError, match=re.escape(says)):
        build_letters.parse(text, "x.md")


def test_check_notices_a_changed_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "source").mkdir()
    monkeypatch.setattr(build_letters, "LETTERS", tmp_path)
    changed = tmp_path / "source" / "2022.md"
    changed.write_text(source(2022).read_text(encoding="utf-8"), encoding="utf-8")
    assert build_letters.main(["--check"]) == 1
    assert build_letters.main([]) == 0
    assert build_letters.main(["--check"]) == 0
    changed.write_text(changed.read_text(encoding="utf-8").replace("27,000", "28,000"), encoding="utf-8")
    assert build_letters.main(["--check"]) == 1


# --- readable ------------------------------------------------------------------------


@pytest.mark.parametrize("year", YEARS)
def test_pages_are_few_and_numbered(year: int) -> None:
    texts = pages(digest(year))
    assert 3 <= len(texts) <= 5
    for number, text in enumerate(texts, 1):
        assert text.rstrip().endswith(f"Page {number} of {len(texts)}")


@pytest.mark.parametrize("year", YEARS)
def test_first_page_says_what_the_document_is(year: int) -> None:
    first = " ".join(pages(digest(year))[0].split())
    assert "digest written for the Claude on Amazon Bedrock workshop" in first
    assert "It is not Amazon's text." in first
    assert f"for fiscal year {year}, which" in first
    assert f"wrote in April {year + 1}." in first
    assert SIGNED_BY[year] in first


@pytest.mark.parametrize("year", YEARS)
def test_extracted_text_is_the_source_text(year: int) -> None:
    """Word for word, in order: no broken ligature, split word or lost line; only the page frame is added."""
    body: list[str] = []
    for text in pages(digest(year)):
        lines = text.splitlines()
        assert lines[0].startswith("Claude on Amazon Bedrock workshop") and lines[-1].startswith("Page ")
        body += [word for line in lines[1:-1] for word in line.split()]
    markup = re.sub(r"^(?:# |## |> |\| )", "", source(year).read_text(encoding="utf-8"), flags=re.MULTILINE)
    markup = re.sub(r"^- ", "\N{BULLET} ", markup, flags=re.MULTILINE)
    assert body == re.sub(r" \|(?= |$)", "", markup, flags=re.MULTILINE).split()


@pytest.mark.parametrize("year", YEARS)
def test_headings_stand_on_their_own_line_and_never_end_a_page(year: int) -> None:
    headings = re.findall(r"^## (.+)$", source(year).read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(headings) >= 10
    lines_by_page = [text.splitlines() for text in pages(digest(year))]
    for heading in headings:
        places = [lines.index(heading) - len(lines) for lines in lines_by_page if heading in lines]
        assert len(places) == 1, heading
        assert places[0] <= -4, f"{heading!r} has fewer than two lines below it"


def test_no_heading_and_no_single_line_is_left_alone_wherever_the_page_ends(tmp_path: Path) -> None:
    """Each shift moves the page ends on, so that they fall at every place in a section."""
    text, built = tmp_path / "2000.md", tmp_path / "2000.pdf"
    sections = [f"## Section {n}\n\n" + "word " * (18 * (2 + n * 3 % 5)) + "end" for n in range(9)]
    for shift in range(20):
        text.write_text("\n\n".join(["# T", "> n", *["end"] * shift, *sections]), encoding="utf-8")
        built.write_bytes(build_letters.build(text))
        bodies = [page.splitlines()[1:-1] for page in pages.__wrapped__(built)]
        assert len(bodies) > 1
        for above, below in pairwise(bodies):
            assert not any(line.startswith("Section ") for line in above[-2:]), (shift, above[-3:])
            split = not above[-1].endswith("end")
            assert not (split and below[0].endswith("end")), (shift, "one line at the top of a page")
            assert not (split and above[-2].endswith("end")), (shift, "one line at the end of a page")


# --- true to the letter --------------------------------------------------------------

SCALES = {"K": 10**3, "M": 10**6, "B": 10**9, "million": 10**6, "billion": 10**9, "trillion": 10**12}
WORDS = {
    word: number
    for number, word in enumerate(
        (
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
            "twenty",
        ),
        start=3,
    )
}
WORDS |= {"thirty": 30, "forty": 40, "fifty": 50, "hundred": 100, "thousand": 1000}
NUMBER = re.compile(r"([$£€]?)(\d[\d,]*(?:\.\d+)?)(?:-([$£€]?\d[\d,]*))?(%|[KMB])?")

Figure = tuple[str, Decimal | str, str]  # currency, value or name, "%" or ""


def figures(text: str) -> Iterator[tuple[str, Figure]]:
    """Yield each token of a text that holds a digit or is a number word from three up, and its meaning."""
    text = re.sub(r"-\s*\n\s*", "-", text).replace("’", "'")
    tokens = re.split(r"[\s—–|]+", text)
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
            number = Decimal(value.replace(",", "")) * scale
            yield token, (currency, number, "%" if unit == "%" else "")


def unknown(text: str, year: int) -> list[str]:
    """The figures of `text` that neither the letter of that year nor the list above holds."""
    known = {figure for _, figure in figures(letter(year))}
    return [token for token, figure in figures(text) if figure not in known and token not in ELSEWHERE[year]]


@pytest.mark.parametrize("year", YEARS)
def test_every_figure_is_in_the_letter(year: int) -> None:
    text = source(year).read_text(encoding="utf-8")
    assert sum(1 for _ in figures(text)) > 60
    assert unknown(text, year) == []


@pytest.mark.parametrize("year", YEARS)
def test_every_exception_is_needed(year: int) -> None:
    known = {figure for _, figure in figures(letter(year))}
    needed = {token for token, figure in figures(source(year).read_text(encoding="utf-8")) if figure not in known}
    assert needed == set(ELSEWHERE[year])


@pytest.mark.parametrize(
    ("text", "caught"),
    [
        ("Revenue was $386 billion in 2022.", ["$386"]),  # true, but not in the letter
        ("about $435B", ["$435B"]),
        ("$434 million", ["$434"]),  # right number, wrong scale
        ("434B of revenue", ["434B"]),  # no currency
        ("27,000%", ["27,000%"]),  # wrong unit
        ("27,001 roles, Graviton9 and Q3", ["27,001", "Graviton9", "Q3"]),
        ("2008-2011", ["2008-2011"]),
        ("eleven regions", []),  # the letter has 11 inches: a figure is looked up, not understood
        ("eighteen regions", ["eighteen"]),
        ("$434B, $434 billion, 27,000, 40%, Graviton3, 2008-2009 and Q4", []),
    ],
)
def test_an_invented_figure_is_caught(text: str, caught: list[str]) -> None:
    assert unknown(text, 2022) == caught


# --- in our own words ----------------------------------------------------------------


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", re.sub(r"['’]", "", re.sub(r"-\s*\n\s*", "-", text)).lower())


def copied(text: str, year: int) -> list[str]:
    """The runs of RUN words that a text shares with the letter of that year."""
    ours, theirs = words(text), words(letter(year))
    runs = {tuple(theirs[i : i + RUN]) for i in range(len(theirs) - RUN + 1)}
    mine = (tuple(ours[i : i + RUN]) for i in range(len(ours) - RUN + 1))
    return [" ".join(run) for run in mine if run in runs]


@pytest.mark.parametrize("year", YEARS)
def test_no_run_of_words_is_copied(year: int) -> None:
    assert copied(source(year).read_text(encoding="utf-8"), year) == []


@pytest.mark.parametrize("year", YEARS)
def test_a_copied_run_is_caught(year: int) -> None:
    theirs = words(letter(year))[500:600]
    assert copied(" ".join(["Ours:", *theirs[: RUN - 1], "ours"]), year) == []
    assert copied(" ".join(["Ours:", *theirs[:RUN], "ours"]), year) == [" ".join(theirs[:RUN])]
