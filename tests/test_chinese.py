"""The Chinese edition is the English one in other words: catalogs, notebooks, what a learner reads."""

import re

import nbformat
import pytest
from babel.messages.catalog import Message

from helpers.settings import ROOT
from tools import chinese
from tools.notebooks import all_notebooks, normalise, without_outputs, write

SOURCES = [(name, path) for name in chinese.names() if name != "helpers" for path in chinese.sources(name)]
CHINESE = all_notebooks("zh")


def bare(path):
    notebook = without_outputs(path)
    normalise(notebook)
    return notebook


@pytest.mark.parametrize("name", chinese.names())
def test_nothing_is_missing_fuzzy_or_broken(name):
    assert list(chinese.problems(name)) == []


@pytest.mark.parametrize(("name", "path"), SOURCES, ids=lambda each: getattr(each, "name", ""))
def test_what_is_stored_is_what_is_built(name, path):
    stored = chinese.target(path)
    there = bare(stored) if path.suffix == ".ipynb" else stored.read_text(encoding="utf-8")
    assert there == chinese.built(path, chinese.speaker(name)), "make chinese"


def test_every_source_has_its_edition_and_no_edition_is_without_a_source():
    assert {chinese.target(path) for path in all_notebooks()} == set(CHINESE)
    made = set((ROOT / "data").glob("*/zh/*.*")) - set((ROOT / "data" / "recordings").glob("zh/*"))
    by_hand = {path for path in made if path.suffix == ".pdf" or path.name == "questions.json"}
    assert made - by_hand == {chinese.target(path) for _, path in SOURCES} & made


# A small edition of its own, to break
@pytest.fixture
def edition(tmp_path, monkeypatch):
    """A notebook, its catalog, and two functions: one to write other cells, one to translate (English to Chinese)."""
    path = tmp_path / "notebooks" / "small.ipynb"
    monkeypatch.setattr(chinese, "FOLDER", tmp_path / "notebooks")
    monkeypatch.setattr(chinese, "sources", lambda name: [path])
    monkeypatch.setattr(chinese, "GLOSSARY", {})
    monkeypatch.setattr(chinese, "LOCALE", tmp_path)

    def has(text="# One thing\n\nA long\nsentence with **bold words**.", code='print(f"It is {x} of them")'):
        made = [nbformat.v4.new_markdown_cell(text), nbformat.v4.new_code_cell(code)]
        write(nbformat.v4.new_notebook(cells=made), path)

    def translate(**words):
        chinese.update("small")
        catalog = chinese.catalog("small")
        for each in catalog:
            if each.id:
                each.string = words.get(str(each.id).split()[0], each.string)
        chinese.store("small", catalog)
        return list(chinese.problems("small"))

    has()
    assert translate(One="一件事", A="一个带**粗体词**的长句。", It="有 {x} 个") == []
    chinese.build("small")
    has.translate, has.target = translate, chinese.target(path)
    return has


def test_the_small_edition_is_chinese_and_a_paragraph_wrapped_otherwise_stays_current(edition):
    notebook = nbformat.read(edition.target, 4)
    assert [cell.source for cell in notebook.cells] == ["# 一件事\n\n一个带**粗体词**的长句。", 'print(f"有 {x} 个")']
    edition("# One thing\n\nA long sentence\nwith **bold\nwords**.")
    assert list(chinese.problems("small")) == []


def test_control_a_changed_sentence_is_missing_then_fuzzy_and_keeps_its_old_words(edition):
    edition("# One thing\n\nA rather long sentence with **bold words**.")
    (found,) = chinese.problems("small")
    assert "not translated" in found
    chinese.update("small")
    (found,) = chinese.problems("small")
    assert "its English has changed" in found
    chinese.build("small")
    assert "A rather long" in nbformat.read(edition.target, 4).cells[0].source


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ({"It": "有几个"}, "other {fields}"),
        ({"A": "一个带**粗体词。**的长句"}, "does not become bold"),
        ({"A": "您有一个带粗体词的长句。"}, "write 你"),
        ({"A": "一个带 `code` 的长句。"}, "other code"),
        ({"One": ""}, "not translated"),
    ],
)
def test_control_what_a_translation_lost_is_said(edition, words, problem):
    assert problem in "".join(edition.translate(**words))


def test_control_smuggled_code_is_refused(edition):
    edition.translate(It='{x}" + open("/etc/passwd").read() + f"')
    with pytest.raises(ValueError, match="changes the code"):
        chinese.build("small")


def test_control_an_inserted_cell_is_not_what_is_built(edition):
    built = chinese.built(chinese.sources("small")[0], chinese.speaker("small"))
    assert bare(edition.target) == built
    built.cells.insert(1, nbformat.v4.new_code_cell("import os"))
    assert bare(edition.target) != built


def test_control_another_term_than_the_glossary_has_is_said():
    assert list(chinese.broken(Message("Two passages", "两个片段"))) == ["passage is 段落"]


# What a learner reads
SERVICE = re.compile(r"(?s)```.*?(?:```|\Z)|`[^`]*`|<[^>]*>|https?://\S+|\S+\.(?:ipynb|json|pdf|py|po|md)\b")
FOUR_WORDS = re.compile(r"[A-Za-z][A-Za-z'’]+(?:,? [A-Za-z'’]{2,}){3,}")
# English that stays.
STAYS = (
    "vertical trace below|just above and right",  # verdicts over the boards, which both editions share
    "Tuple should have|items after validation",  # pydantic's words
    "rows sum to one|same seed, same output",  # names in data/tutor/check_layers.py, a program that both share
    "Who followed Bezos",  # a question in English
)


def english_in(path):
    """Four English words in a row, in an output of the notebook, outside of code."""
    for output in [output for cell in nbformat.read(path, 4).cells for output in cell.get("outputs", [])]:
        data = output.get("data", {})
        said = [output.get("text", ""), *(data.get(f"text/{kind}", "") for kind in ("markdown", "html", "plain"))]
        said += re.findall(r'alt="([^"]*)"', data.get("text/html", ""))
        text = "\n".join(each for each in said if "Markdown object" not in each)
        yield from FOUR_WORDS.findall(SERVICE.sub(" ", text))


@pytest.mark.parametrize("path", CHINESE, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_no_english_sentence_is_in_an_output(path):
    assert [each for each in english_in(path) if not any(re.search(form, each) for form in STAYS)] == []
