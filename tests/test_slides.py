"""The decks: where each cell goes, what goes into the file, and the notes of the speaker."""

import base64
import hashlib
import io
import re
import tarfile
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest

from tools.notebooks import FOLDER, all_notebooks
from tools.slides import __main__ as slides
from tools.slides import vendor
from tools.slides.deck import NOTES, pages, read_notes
from tools.slides.marks import headings, mark, slide_types

LESSONS = slides.lessons()


def md(source: str, *tags: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_markdown_cell(source, metadata={"tags": list(tags)} if tags else {})


def code(source: str, *outputs: nbformat.NotebookNode) -> nbformat.NotebookNode:
    return nbformat.v4.new_code_cell(source, outputs=list(outputs))


def notebook(*cells: nbformat.NotebookNode) -> nbformat.NotebookNode:
    return nbformat.v4.new_notebook(cells=list(cells))


def printed(text: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_output("stream", name="stdout", text=text)


def said(text: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_output("execute_result", {"text/markdown": text})


class Sources(HTMLParser):
    """Every address that a browser would load by itself while it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        wanted = {"link": "href"}.get(tag, "src")
        self.found += [value or "" for name, value in attrs if name in (wanted, "srcset", "poster", "data-src")]


@pytest.fixture(scope="module")
def decks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("decks")
    return {path.stem: slides.build(path, folder=folder).read_text(encoding="utf-8") for path in LESSONS}


def test_marks_follow_the_rules():
    cells = [
        md("# Title"),
        code("import json"),
        md("## See it work\n\nWords."),
        code("1 + 1"),
        md("**What to notice.** Two."),
        md("A line that leads to the next cell."),
        code("2 + 2"),
        md("**What to notice.** Four.\n\n### Next"),
        md("```python\n# no heading\n```"),
    ]
    assert slide_types(notebook(*cells)) == [
        *("slide", "skip", "slide", "subslide", "fragment", "subslide", "-", "slide", "subslide")
    ]


def test_a_tag_of_the_author_wins_and_stays():
    marked = notebook(md("# Title"), md("## Only for readers", "slide-skip"), md("## On", "slide-subslide"))
    mark(marked)
    mark(marked)
    assert [cell.metadata.slideshow.slide_type for cell in marked.cells] == ["slide", "skip", "subslide"]
    assert marked.cells[1].metadata.tags == ["slide-skip"]


def test_an_unknown_tag_is_an_error():
    with pytest.raises(ValueError, match="use one of: slide-slide, "):
        slide_types(notebook(md("# Title", "slide-slied")))


@pytest.mark.parametrize("path", all_notebooks(), ids=lambda path: path.stem)
def test_every_notebook_carries_its_marks(path):
    stored = nbformat.read(path, as_version=4)
    marks = [cell.metadata.get("slideshow", {}).get("slide_type") for cell in stored.cells]
    assert marks == slide_types(stored), f"python -m tools.slides mark {path}"


def test_code_stays_with_its_reason_and_a_long_output_comes_below():
    short = pages(notebook(md("# T"), code("set up"), md("## Step\n\nWhy."), code("1", printed("1\n"))))
    assert [len(page.cells) for page in short] == [1, 3]
    tall = pages(notebook(md("# T"), code("set up"), md("## Step\n\nWhy."), code("1", printed("line\n" * 30))))
    assert [(page.slide_type, page.heading) for page in tall[1:]] == [("slide", "Step"), ("subslide", "Step")]


def test_one_cell_can_end_a_step_and_begin_a_part():
    found = pages(notebook(md("# T"), md("**What to notice.** A. B.\n\n## Part 2\n\n### 4. More\n\nWhy.")))
    assert [(page.layout, page.heading) for page in found] == [
        ("title", "T"),
        ("remark", "T"),
        ("part", "Part 2"),
        ("step", "4. More"),
    ]


def test_a_long_answer_takes_two_pages_and_no_word_is_lost():
    text = "\n\n".join(f"Paragraph {number}. " + "word " * 60 for number in range(6))
    found = pages(notebook(md("# T"), code("set up"), md("## S"), code("ask()", said(text))))
    shown = [out.data["text/markdown"] for page in found for cell in page.cells for out in cell.get("outputs", [])]
    assert len(shown) == 2 and "\n\n".join(part.strip() for part in shown).split() == text.split()


def test_links_to_files_are_named_and_links_to_lessons_lead_to_decks():
    cell = md("# T\n\n[next](02_coding_tutor.ipynb), [code](../helpers/show.py), [web](https://example.com/)")
    assert (
        pages(notebook(cell))[0]
        .cells[0]
        .source.endswith("[next](02_coding_tutor.html), code, [web](https://example.com/)")
    )


@pytest.mark.parametrize("name", [path.stem for path in LESSONS])
def test_a_deck_is_one_file_that_loads_nothing(decks, name):
    sources = Sources()
    sources.feed(decks[name])
    assert [address for address in sources.found if not address.startswith("data:image/png;base64,")] == []
    styles = "".join(re.findall(r"<style>(.*?)</style>", decks[name], re.DOTALL))
    assert not re.search(r"url\((?![\"']?data:)|@import", styles)
    assert "MathJax" not in decks[name]
    assert f"reveal.js {vendor.VERSION}" in decks[name]


def test_control_an_address_in_a_deck_is_noticed():
    sources = Sources()
    sources.feed('<script src="https://unpkg.com/reveal.js"></script><link rel="stylesheet" href="a.css">')
    assert sources.found == ["https://unpkg.com/reveal.js", "a.css"]


@pytest.mark.parametrize("path", sorted(NOTES.glob("[0-9]*.md")), ids=lambda path: path.stem)
def test_every_note_belongs_to_a_slide(path, decks):
    lesson = nbformat.read(FOLDER / f"{path.stem}.ipynb", as_version=4)
    known = {match["text"] for cell in lesson.cells if cell.cell_type == "markdown" for match in headings(cell.source)}
    notes = read_notes(path)
    assert notes and set(notes) <= known, set(notes) - known
    assert decks[path.stem].count('<aside class="notes">') >= len(notes)


def test_control_a_note_without_its_slide_stops_the_build(tmp_path):
    path = LESSONS[0]
    (tmp_path / f"{path.stem}.md").write_text("## No such slide\n\nWords.\n", encoding="utf-8")
    with pytest.raises(ValueError, match="no slide has the heading 'No such slide'"):
        slides.build(path, folder=tmp_path, notes=tmp_path)
    assert not list(tmp_path.glob("*.html"))


def test_learners_never_see_the_notes():
    for path in all_notebooks():
        marks = slide_types(nbformat.read(path, as_version=4))
        assert "notes" not in marks


def packed(text: str) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        entry = tarfile.TarInfo("package/a.js")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text.encode()))
    return target.getvalue()


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A registry in a folder, which serves what a test puts there."""
    target = tmp_path / "reveal.js" / "-" / f"reveal.js-{vendor.VERSION}.tgz"
    target.parent.mkdir(parents=True)
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", tmp_path.as_uri())
    return target


def integrity(data: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()


def test_the_package_is_fetched_once_and_checked(registry, tmp_path):
    data = packed("true")
    registry.write_bytes(data)
    cache = tmp_path / "cache"
    assert vendor.reveal("a.js", cache=cache, integrity=integrity(data)) == ["true"]
    registry.unlink()
    assert vendor.reveal("a.js", cache=cache, integrity=integrity(data)) == ["true"]


def test_another_package_than_the_pinned_one_is_refused(registry, tmp_path):
    registry.write_bytes(packed("false"))
    with pytest.raises(vendor.VendorError, match="not the file that was pinned"):
        vendor.reveal("a.js", cache=tmp_path / "cache", integrity=integrity(packed("true")))
    assert not (tmp_path / "cache").exists()


def test_without_the_network_the_first_build_says_so(registry, tmp_path):
    with pytest.raises(vendor.VendorError, match="first `make slides` needs the network"):
        vendor.reveal("a.js", cache=tmp_path / "cache")
