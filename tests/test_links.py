"""Links in Markdown files and notebooks: relative ones lead somewhere, external ones go to a known host by https."""

import html
import re
from functools import cache
from itertools import pairwise
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from markdown_it import MarkdownIt
from PIL import Image, ImageChops

from helpers.settings import ROOT
from tools import run
from tools.notebooks import Outcome, all_notebooks
from tools.readme_picture import PICTURE, from_notebook

HOSTS = {
    *("aws.amazon.com", "docs.aws.amazon.com", "github.com", "gitlab.com", "docs.astral.sh", "docs.ollama.com"),
    *("ollama.com", "jupyter.org", "cc-cedict.org", "creativecommons.org"),
}
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
        if url.scheme != "https":
            return f"{link} is not https"
        return "" if url.hostname in HOSTS else f"{url.hostname} is not among the known hosts: add it or leave it"
    target = (source.parent / unquote(url.path)).resolve() if url.path else source
    if not target.is_relative_to(root) or target.relative_to(root).parts[:1] == ("build",):
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
        ("[a](build/page.html)", "out of the repository"),
        ("[a](http://docs.aws.amazon.com/x)", "not https"),
        ("[a](https://example.com/x)", "not among the known hosts"),
    ],
)
def test_control_a_broken_link_is_noticed(tmp_path, text, wrong):
    root = tmp_path / "repository"
    for path in ("outside.md", "repository/sub/p.png", "repository/build/page.html"):
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


def test_the_readme_shows_the_picture_that_the_lesson_drew():
    assert PICTURE.relative_to(ROOT).as_posix() in set(links((ROOT / "README.md").read_text(encoding="utf-8")))
    with Image.open(PICTURE) as stored:
        difference = ImageChops.difference(stored.convert("RGB"), from_notebook())
    # Compared in full colour: too small a palette once turned the two coloured boxes grey.
    assert max(high for _, high in difference.getextrema()) <= 12, "make picture"


def made_pages(folder, notebooks, monkeypatch):
    """The page of each of the notebooks, and the index."""
    monkeypatch.setattr(run, "BUILD", folder)
    for path in notebooks:
        run.keep(Outcome(path, nbformat.read(path, 4), 0, 0.0), in_place=False)
    run.write_index(notebooks)
    return sorted((folder / "html").rglob("*.html"))


@cache
def named_in(page):
    """What may stand after # in a link to the page."""
    return {unquote(html.unescape(name)) for name in re.findall(r' id="([^"]+)"', page.read_text(encoding="utf-8"))}


def wrong_in(page):
    """Dead links of a page, its pictures that say nothing, and what it would fetch from the network."""
    text, found = page.read_text(encoding="utf-8"), []
    for link in set(re.findall(r'<a [^>]*href="(?!\w+:)([^"]+)"', text)):
        path, _, name = map(unquote, html.unescape(link).partition("#"))
        target = page.parent / path if path else page
        if not target.exists():
            found.append(f"dead: {link}")
        elif name and name not in named_in(target):
            found.append(f"no such place: {link}")
    found += re.findall(r'<img (?![^>]*alt="(?!No description)[^"])', text)
    return found + re.findall(r"""<(?:script|link|img)[^>]* (?:src|href)=["']https?:[^"']*""", text)


def test_pages_have_no_dead_link_no_silent_picture_and_need_no_network(tmp_path, monkeypatch):
    pages = made_pages(tmp_path, all_notebooks(), monkeypatch)
    assert len(pages) == 1 + len(all_notebooks())
    assert [(page.name, each) for page in pages for each in wrong_in(page)] == []


def test_control_what_is_wrong_with_a_page_is_seen(tmp_path, monkeypatch):
    plot = nbformat.v4.new_output("display_data", {"image/png": "AAAA"})
    text = "# Bad\n\n[gone](gone.md), [nowhere](#nowhere) <script src='http://workshop.invalid/a.js'></script>"
    cells = [nbformat.v4.new_markdown_cell(text), nbformat.v4.new_code_cell("1", outputs=[plot])]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "bad.ipynb")
    bad, _ = made_pages(tmp_path, [tmp_path / "bad.ipynb"], monkeypatch)
    silent, foreign = "<img ", '<script src="http://workshop.invalid/a.js'
    assert sorted(wrong_in(bad)) == sorted([silent, foreign, "dead: gone.md", "no such place: #nowhere"])
