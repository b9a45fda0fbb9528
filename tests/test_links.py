"""Links in Markdown files, notebooks and their pages: relative ones lead somewhere, external ones go by https."""

import html
import re
from functools import cache
from itertools import pairwise
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from markdown_it import MarkdownIt

from helpers.settings import ROOT
from tools import run
from tools.notebooks import FOLDER, Outcome, all_notebooks, both

LEFT_OUT = {"build", "node_modules", "originals"}  # made on this machine, or not ours
_ATTRIBUTE = re.compile(r"(?:href|src)=[\"']([^\"']+)[\"']")


def documents(root):
    """Markdown files and notebooks below `root`, without hidden folders."""
    found = [path.relative_to(root) for kind in ("*.md", "*.ipynb") for path in root.rglob(kind)]
    kept = [path for path in found if not any(part.startswith(".") or part in LEFT_OUT for part in path.parts)]
    return [root / path for path in sorted(kept)]


@cache
def parts(path):
    """The Markdown texts of a document: the whole file, or the notebook's Markdown cells."""
    if path.suffix == ".md":
        return (path.read_text(encoding="utf-8"),)
    cells = nbformat.read(path, as_version=4).cells
    return tuple(cell.source for cell in cells if cell.cell_type == "markdown")


def links(text):
    """Targets of links and pictures, in HTML too, as a reader's program finds them; code is left out."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    for token in (inner for outer in tokens for inner in (outer, *(outer.children or ()))):
        if token.type in ("link_open", "image"):
            yield str(token.attrGet("href") or token.attrGet("src"))
        elif token.type in ("html_inline", "html_block"):
            yield from _ATTRIBUTE.findall(token.content)


@cache
def anchors(path):
    """What may stand after # in a link to the document: GitHub's names for Markdown, Jupyter's for notebooks."""
    names = []
    for text in parts(path):
        for opening, inline in pairwise(MarkdownIt("commonmark").parse(text)):
            if opening.type == "heading_open":
                words = "".join(child.content for child in inline.children or ())
                github = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
                names.append(github if path.suffix == ".md" else words.replace(" ", "-"))
        names += re.findall(r"<a (?:id|name)=[\"']([^\"']+)[\"']", text)
    # The second heading of a name gets -1, and so on.
    return frozenset(f"{name}-{count}" if (count := names[:at].count(name)) else name for at, name in enumerate(names))


def problem(source, link, root):
    """What is wrong with a link that stands in `source`; empty if nothing."""
    url = urlsplit(link)
    if url.scheme or url.netloc:
        return "" if url.scheme == "https" else f"{link} is not https"
    target = (source.parent / unquote(url.path)).resolve() if url.path else source
    if not target.is_relative_to(root):
        return f"{link} leads out of the repository"
    if not target.exists():
        return f"{link} leads nowhere"
    if url.fragment and unquote(url.fragment) not in anchors(target):
        return f"{link}: {target.name} has no such heading"
    return ""


@pytest.mark.parametrize("path", documents(ROOT), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path):
    problems = [problem(path, link, ROOT) for text in parts(path) for link in links(text)]
    assert [each for each in problems if each] == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[a](there.md#some-heading-it-has) ![p](sub/p.png) `[a](nowhere.md)` [a](https://docs.aws.amazon.com/x)", ""),
        ("[a](sub/lesson.ipynb#Your-turn)", ""),
        ('<img src="nowhere.png" alt="">', "leads nowhere"),
        ("[a][1]\n\n[1]: nowhere.md", "leads nowhere"),
        ("[a](there.md#other)", "no such heading"),
        ("[a](sub/lesson.ipynb#your-turn)", "no such heading"),
        ("[a](../outside.md)", "out of the repository"),
        ("[a](http://docs.aws.amazon.com/x)", "not https"),
    ],
)
def test_control_a_broken_link_is_noticed(tmp_path, text, wrong):
    root = tmp_path / "repository"
    for path in ("outside.md", "repository/sub/p.png"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    (root / "there.md").write_text("# There\n\n## Some heading, it *has*\n", encoding="utf-8")
    lesson = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("## Your turn")])
    nbformat.write(lesson, root / "sub" / "lesson.ipynb")
    here = root / "here.md"
    here.write_text(f"# Here\n\n{text}\n", encoding="utf-8")
    assert [path.name for path in documents(root)] == ["here.md", "lesson.ipynb", "there.md"]
    found = [problem(here, link, root) for link in links(here.read_text(encoding="utf-8"))]
    assert wrong in " ".join(found) and any(found) == bool(wrong)


def wrong_in(path, folder, monkeypatch):
    """Dead links of a notebook's page, its pictures that say nothing, and what it would fetch from the network."""
    monkeypatch.setattr(run, "BUILD", folder)
    run.keep(Outcome(path, nbformat.read(path, 4), 0, 0.0), in_place=False)
    pages = {(folder / "html" / run.place(each, ".html")).resolve() for each in both(all_notebooks)}
    page = folder / "html" / run.place(path, ".html")
    text, found = page.read_text(encoding="utf-8"), []
    for link in re.findall(r'<a [^>]*href="(?!\w+:|#)([^"#]+)', text):
        target = (page.parent / unquote(html.unescape(link))).resolve()
        found += [] if target in pages or target.exists() else [f"dead: {link}"]
    found += re.findall(r'<img (?![^>]*alt="(?!No description)[^"])', text)
    return found + re.findall(r"""<(?:script|link|img)[^>]* (?:src|href)=["']https?:[^"']*""", text)


@pytest.mark.parametrize("name", ["04_financial_rag", "solutions/04_financial_rag", "zh/00_setup_check"])
def test_a_page_has_no_dead_link_no_silent_picture_and_needs_no_network(name, tmp_path, monkeypatch):
    path = FOLDER / f"{name}.ipynb"
    assert wrong_in(path, tmp_path, monkeypatch) == []
    run.write_index([path])
    assert f'<a href="{name}.html">' in (tmp_path / "html" / "index.html").read_text(encoding="utf-8")


def test_control_what_is_wrong_with_a_page_is_seen(tmp_path, monkeypatch):
    plot = nbformat.v4.new_output("display_data", {"image/png": "AAAA"})
    text = "# Bad\n\n[gone](gone.md) <script src='http://workshop.invalid/a.js'></script>"
    cells = [nbformat.v4.new_markdown_cell(text), nbformat.v4.new_code_cell("1", outputs=[plot])]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "bad.ipynb")
    silent, foreign = "<img ", '<script src="http://workshop.invalid/a.js'
    assert sorted(wrong_in(tmp_path / "bad.ipynb", tmp_path, monkeypatch)) == sorted([silent, foreign, "dead: gone.md"])
