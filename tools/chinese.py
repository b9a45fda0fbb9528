"""The Chinese edition: the English sources and the catalogs of locale/zh (gettext) make it.

    python -m tools.chinese [NAME ...]       names of catalogs, such as 04_financial_rag, README, helpers; else all

New and changed English goes into the catalogs. If something is missing, fuzzy or broken, that is said; otherwise
notebooks/zh and the other derived files are written, and the notebooks run. A Chinese cell is the English cell with
some of its strings and comments exchanged: nobody writes code in Chinese.
"""

import ast
import io
import json
import os
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po
from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode
from nbformat import NotebookNode

from helpers.settings import ROOT
from tools.notebooks import FOLDER, lessons, normalise, without_outputs, write
from tools.run import run

LOCALE, CODE = ROOT / "locale" / "zh", "code"  # msgctxt of a string or a comment in a cell, and of JSON
GLOSSARY = tomllib.loads((LOCALE / "glossary.toml").read_text(encoding="utf-8"))  # English: Chinese terms
GUIDES = {"README": ROOT / "README.md", "INSTRUCTOR": ROOT / "INSTRUCTOR.md"}
WORDS = ("prompts.json", "variations.json", "trust.json")  # JSON that holds what learners read
Say = Callable[[str, str], str]  # English and what it is ("", "string" or "comment") -> Chinese
HEADER = """msgid ""
msgstr ""
"Language: zh\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"

"""  # without a date, so that only words make a difference

_PARSER = MarkdownIt("commonmark").enable("table")
_LETTERS = re.compile(r"[A-Za-z]{2}")
_TWO_WORDS = re.compile(r"[A-Za-z'’]{2,}[,.:;)?]*\s+\(?[A-Za-z{*]|\}[,:;)]*\s+[a-z]{2}|[a-z]{2,}:?\s+\{|\*\*[A-Za-z]")
_PARTS = re.compile(  # of code, from left to right: a starter's code, a comment, any string; named is what has words
    r"# starter: (?P<starter>\S.*)|# (?!starter:)(?P<comment>.*)|#.*"
    r"""|(?<![bB])(?P<quote>\"""|")(?P<string>(?:\\(?s:.)|(?!(?P=quote))(?s:.))*)(?P=quote)|'(?:\\.|[^'])*'"""
)


# Markdown
def in_chinese(markdown: str, say: Say) -> str:
    """The Markdown with its units translated: headings, paragraphs, list items, table rows and lines of HTML.

    A paragraph is one unit on one line, so that wrapping it otherwise changes nothing; in Chinese it stays on one line,
    for a line break between two Chinese letters would be a gap.
    """
    lines, made = markdown.splitlines(), []  # made: first line, line after the last, the translation
    for node in SyntaxTreeNode(_PARSER.parse(markdown)).walk():
        start, end = (not node.is_root and node.map) or (0, 0)
        if node.type == "tr":
            units = [(start, start + 1, "", lines[start].strip())]
        elif node.type == "inline" and node.parent.type not in ("th", "td"):
            before = lines[start].partition(node.content.split("\n")[0])[0]
            units = [(start, end, before, " ".join(node.content.split()))]
        else:
            units = [(at, at + 1, "", lines[at]) for at in range(start, end) if node.type == "html_block"]
        made += [(*at, before + say(words, "")) for *at, before, words in units if _LETTERS.search(words)]
    for start, end, text in reversed(made):
        lines[start:end] = [text]
    return "\n".join(lines) + "\n" * markdown.endswith("\n")


# Python and JSON
def exchanged(source: str, say: Say) -> str:
    """The cell with its strings and comments exchanged; `ValueError` if anything but words would change."""

    def other(found: re.Match[str]) -> str:
        if (kind := found.lastgroup) is None:
            return found[0]
        start, end = (place - found.start() for place in found.span(kind))
        new = _starter(found[kind], say) if kind == "starter" else say(found[kind], kind)
        return found[0][:start] + new + found[0][end:]

    program, new = skeleton(source), _PARTS.sub(other, source)
    with suppress(SyntaxError):
        if skeleton(new) == program:
            return new
    raise ValueError(f"a translation changes the code of this cell:\n{new}")


def _starter(code: str, say: Say) -> str:
    with suppress(SyntaxError):  # a line of several
        return exchanged(code, say)
    return code


class _Blank(ast.NodeTransformer):
    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Constant("") if isinstance(node.value, str) else node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        inside = [part for part in node.values if isinstance(part, ast.FormattedValue)]
        return ast.Tuple(sorted(inside, key=ast.dump))  # their order may change; their own strings may not


def skeleton(source: str) -> str:
    """The program without its words: two cells with the same skeleton run the same code."""
    return ast.dump(_Blank().visit(ast.parse(source)))


def with_strings(value: Any, say: Say) -> Any:
    """JSON with its names and texts exchanged."""
    if isinstance(value, dict):
        return {say(name, "string"): with_strings(each, say) for name, each in value.items()}
    if isinstance(value, list):
        return [with_strings(each, say) for each in value]
    return say(value, "string") if isinstance(value, str) else value


# Where things are
def sources(name: str) -> list[Path]:
    """What one catalog covers: a guide; or the lesson, its solution, its speaker notes, and the words it loads."""
    if name in GUIDES:
        return [GUIDES[name]]
    places = [FOLDER / f"{name}.ipynb", FOLDER / "solutions" / f"{name}.ipynb", ROOT / "data" / "slides" / f"{name}.md"]
    there = [path for path in places if path.exists()]
    code = "".join(path.read_text(encoding="utf-8") for path in there)
    return there + [ROOT / each for each in sorted(set(re.findall(rf"data/\w+/(?:{'|'.join(WORDS)})", code)))]


def target(path: Path) -> Path:
    """Where the Chinese edition of a source lies."""
    if path.is_relative_to(FOLDER):
        return FOLDER / "zh" / path.relative_to(FOLDER)
    return path.with_suffix(".zh.md") if path in GUIDES.values() else path.parent / "zh" / path.name


def names() -> list[str]:
    """All catalogs."""
    return ["helpers", *GUIDES, *(path.stem for path in lessons())]


def relinked(text: str, path: Path) -> str:
    """Links of the Chinese edition of `path`: to the Chinese edition where there is one, from where it lies."""

    def moved(found: re.Match[str]) -> str:
        there = Path(os.path.normpath(path.parent / found[1]))
        edition = there in GUIDES.values() or there.suffix == ".ipynb" or there.name in (*WORDS, "questions.json")
        return f"]({os.path.relpath(target(there) if edition else there, target(path).parent)}{found[2]})"

    return re.sub(r"\]\((?![a-z]+:|#)([^)#\s]+)([^)]*)\)", moved, text)


# Catalogs
def catalog(name: str) -> Catalog:
    """The stored catalog; empty where there is none yet."""
    path = LOCALE / f"{name}.po"
    return read_po(io.BytesIO(path.read_bytes()), locale="zh") if path.exists() else Catalog(locale="zh")


def store(name: str, what: Catalog) -> None:
    """Write a catalog without line numbers."""
    out = io.BytesIO()
    write_po(out, what, width=0, no_location=True, omit_header=True, ignore_obsolete=True)
    (LOCALE / f"{name}.po").write_text(HEADER + out.getvalue().decode(), encoding="utf-8")


def template(name: str, old: Catalog) -> Catalog:
    """Every unit of English of one catalog, in reading order, without its translation."""
    found = Catalog(locale="zh")
    if name == "helpers":
        marks = dict.fromkeys(("say", "N_", "WorkshopError"))
        marked = extract_from_dir(ROOT / "helpers", [("**.py", "python")], keywords=marks)
        failures = tomllib.loads((ROOT / "data/words/failures.toml").read_text(encoding="utf-8"))
        told = (each["say"] for entries in failures.values() for each in entries)
        for text in (*(text for _, _, text, _, _ in marked), *told):
            found.add(text)

    def collect(text: str, kind: str) -> str:
        looks_like_words = _TWO_WORDS.search(re.sub(r"\{[^{}]*\}", "{x}", text))
        if kind != "string" or looks_like_words or old.get(text, CODE):
            found.add(text, context=CODE if kind else None)
        return text

    for path in sources(name):
        built(path, collect)
    return found


def speaker(name: str) -> Say:
    """Looks words up in one catalog; a fuzzy or missing one stays English."""
    stored = catalog(name)

    def say(text: str, kind: str) -> str:
        message = stored.get(text, CODE if kind else None)
        return text if message is None or message.fuzzy or not message.string else str(message.string)

    return say


# The Chinese edition
def built(path: Path, say: Say) -> NotebookNode | str:
    """The Chinese edition of one source; a notebook is without outputs."""
    if path.suffix == ".json":
        words = with_strings(json.loads(path.read_text(encoding="utf-8")), say)
        return json.dumps(words, ensure_ascii=False, indent=1) + "\n"
    if path.suffix == ".md":
        return relinked(in_chinese(path.read_text(encoding="utf-8"), say), path)
    notebook = without_outputs(path)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = relinked(in_chinese(cell.source, say), path)
        else:
            cell.source = exchanged(cell.source, lambda body, kind: own(body, path) or say(body, kind))
    normalise(notebook)
    return notebook


def own(body: str, path: Path) -> str:
    """What of a cell is not words and has an edition of its own: the name of the lesson, files of words."""
    if body == path.stem:
        return f"zh/{body}"
    place = target(ROOT / body) if re.fullmatch(r"data/[\w/]+\.json", body) else None
    return place.relative_to(ROOT).as_posix() if place and place.exists() else ""


def build(name: str) -> None:
    """Write what the catalog makes; a cell that is as it was keeps its outputs."""
    for path in sorted(sources(name), key=lambda path: path.suffix == ".ipynb"):  # the words before who loads them
        made, place = built(path, speaker(name)), target(path)
        if isinstance(made, str):
            place.parent.mkdir(exist_ok=True)
            place.write_text(made, encoding="utf-8")
            continue
        before = {cell.source: cell for cell in nbformat.read(place, 4).cells} if place.exists() else {}
        for cell in made.cells:
            if cell.cell_type == "code" and cell.source in before:
                cell.outputs, cell.execution_count = before[cell.source].outputs, before[cell.source].execution_count
        write(made, place)


# Checks
def problems(name: str) -> Iterator[str]:
    """What is wrong with one catalog, a line each."""
    stored = catalog(name)
    for message in template(name, stored):
        if message.id:
            there = stored.get(message.id, message.context)
            short = f"{name}: {message.id[:70]!r}"
            if there is None or not there.string:
                yield f"{short} is not translated"
            elif there.fuzzy:
                yield f"{short}: its English has changed, look at it again"
            else:
                yield from (f"{short}: {wrong}" for wrong in broken(there))


def broken(message: Message) -> Iterator[str]:
    """What a translation lost on the way."""
    english, chinese = str(message.id), str(message.string)
    fields, forms = r"\{[^{}]*\}", [r"`[^`]+`", r"\]\(([^)#]+)"]
    if sorted(re.findall(fields, english)) != sorted(re.findall(fields, chinese)):
        yield "other {fields}"
    if "您" in chinese:
        yield "您: write 你"
    words = re.sub(r"`[^`]*`|\]\([^)]*\)|\{[^{}]*\}", " ", english)
    for term, known in () if chinese == english else GLOSSARY.items():  # a key of the program stays as it is
        if re.search(rf"\b{term}(?:s|ed|ing)?\b", words, re.IGNORECASE) and not any(each in chinese for each in known):
            yield f"{term} is {' or '.join(known)}"
    if message.context != CODE:
        if any(sorted(re.findall(form, english)) != sorted(re.findall(form, chinese)) for form in forms):
            yield "other code or another link"
        if "**" in re.sub(r"<code>.*?</code>", "", _PARSER.render(chinese)):
            yield "** that does not become bold: keep full-width punctuation outside"


def update(name: str) -> None:
    """Take the English of today into the stored catalog."""
    old = catalog(name)
    old.update(template(name, old))
    store(name, old)


def main(chosen: list[str]) -> int:
    """Update these catalogs, build their edition and run it; 1 if something is missing, fuzzy or broken, or fails."""
    if unknown := set(chosen) - set(names()):
        print(f"There is no catalog {', '.join(sorted(unknown))}; there are {', '.join(names())}.")
        return 1
    for name in chosen:
        update(name)
    if found := [line for name in chosen for line in problems(name)]:
        print(*found, sep="\n")
        return 1
    for name in chosen:
        build(name)
    built_notebooks = [target(path) for name in chosen for path in sources(name) if path.suffix == ".ipynb"]
    return run(built_notebooks, in_place=True) if built_notebooks else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or names()))
