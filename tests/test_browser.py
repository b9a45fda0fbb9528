"""A real browser: every notebook run in JupyterLab as a learner does, every deck stepped through as a speaker does.

Chromium can reach no other host here (names do not resolve), and every request for one is a failure.
Screenshots are left under build/browser/.
"""

import re
import secrets
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from helpers.settings import ROOT
from tests.test_slides import folder_for_decks
from tools import browser as chromium
from tools import lab, run
from tools.notebooks import FOLDER, Outcome, all_notebooks, both, environment, lessons, normalise, write
from tools.slides import build

SHOTS = ROOT / "build" / "browser"
LOCAL = ("127.0.0.1", "localhost")
MINUTES = 60_000  # ms
FLAGS = (
    "--no-sandbox",  # Chromium refuses to run as root with it
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)

RUN_STATE = """() => {
  const widget = window.jupyterapp.shell.currentWidget;
  const kernel = widget.sessionContext.session?.kernel;
  const cells = [...widget.content.model.cells].filter(cell => cell.type === 'code');
  return {
    kernel: kernel ? kernel.status : 'none',
    unfinished: cells.flatMap((cell, i) =>
      cell.executionCount === null || cell.executionState === 'running' ? [i + 1] : []),
    errors: cells.flatMap((cell, i) => cell.outputs.toJSON().filter(o => o.output_type === 'error')
      .map(o => `code cell ${i + 1}: ${o.ename}: ${o.evalue}`)),
    cells: cells.length,
  };
}"""
READY = """() => {
  const widget = window.jupyterapp?.shell.currentWidget;
  return widget?.context?.isReady && widget.sessionContext?.session?.kernel?.status === 'idle';
}"""

# What is typeset as a formula, and what a screen reader finds nothing to say about, in one element.
COUNTED = """element => [
  element.querySelectorAll('mjx-container, .MathJax, script[src*="athjax"]').length,
  [...element.querySelectorAll('img')].filter(each => !each.alt.trim() || each.alt.startsWith('No description')).length,
]"""
# The same over a notebook, whose cells are drawn when they come into view; and what JupyterLab asks in a corner.
SEEN = f"""async () => {{
  const cells = window.jupyterapp.shell.currentWidget.content, sum = [0, 0];
  const pause = time => new Promise(done => setTimeout(done, time));
  for (const place of cells.widgets.keys()) {{
    await cells.scrollToItem(place);
    await pause(60);
  }}
  await pause(2000);  // MathJax comes late
  for (const cell of cells.widgets) ({COUNTED})(cell.node).forEach((count, kind) => sum[kind] += count);
  return [...sum, document.body.innerText.includes('Jupyter news') ? 1 : 0];
}}"""
KINDS = ("typeset as a formula", "pictures without alternative text", "asked about Jupyter news")
ASK_AGAIN = """() => window.jupyterapp.serviceManager.settings.save(
  '@jupyterlab/apputils-extension:notification', '{"fetchNews": "none"}')"""

LEAVES = "() => document.querySelectorAll('.slides section:not(.stack)').length"
# What is outside the slide, cut off inside a box, or in letters too small for the back row.
PAGE_PROBLEMS = """() => {
  const page = Reveal.getCurrentSlide(), scale = Reveal.getScale(), found = [];
  const room = Reveal.getCurrentSlide().getBoundingClientRect();
  if (!page.innerText.trim() && !page.querySelector('img')) found.push('the page is empty');
  for (const element of page.querySelectorAll('*')) {
    const box = element.getBoundingClientRect(), style = getComputedStyle(element);
    const what = `<${element.tagName.toLowerCase()}> ${element.textContent.trim().slice(0, 40)}`;
    if (element.tagName === 'IMG' && (!element.alt.trim() || element.alt.startsWith('No description')))
      found.push('a picture has no alternative text');
    if (element.closest('aside') || !box.height) continue;
    const right = Math.max(box.right, box.left + element.scrollWidth * scale);
    if (right > room.left + 1281 * scale || box.bottom > room.top + 721 * scale || box.top < room.top - 1
        || box.left < room.left - 1)
      found.push(`${what} is ${Math.round(right - room.left)} x ${Math.round(box.bottom - room.top)}`);
    if (style.overflow !== 'visible' && element.scrollHeight > element.clientHeight + 1)
      found.push(`${what} is cut off`);
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    const least = element.tagName === 'CODE' && !element.closest('pre') ? 20 : 24;
    if (own && parseFloat(style.fontSize) < least) found.push(`${what} has letters of ${style.fontSize}`);
    if (element.tagName === 'IMG' && (!element.naturalWidth || box.height < 200 * scale))
      found.push(`a picture is ${Math.round(box.height)} px high`);
  }
  return found;
}"""


@dataclass
class Watch:
    """What a page asked for from elsewhere, and what it complained of."""

    elsewhere: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @classmethod
    def on(cls, page: Page, allowed: Callable[[str], bool]) -> "Watch":
        """Start to watch `page`; `allowed` says which addresses it may ask for."""
        watch = cls()
        page.on("request", lambda request: watch.asked(request.url, allowed))
        page.on("websocket", lambda opened: watch.asked(opened.url, allowed))
        page.on("pageerror", lambda error: watch.complaints.append(str(error)))
        page.on("console", lambda said: watch.complaints.append(said.text) if said.type == "error" else None)
        return watch

    def asked(self, url: str, allowed: Callable[[str], bool]) -> None:
        """Note `url` if it is not allowed."""
        local = url.startswith(("data:", "blob:", "about:")) or allowed(url)
        if not local and url not in self.elsewhere:
            self.elsewhere.append(url)


def executable() -> str:
    """The browser's path; without one the test is skipped, and in CI it fails."""
    if not (path := chromium.find()):
        (pytest.fail if chromium.required() else pytest.skip)(f"BROWSER TEST NOT RUN: {chromium.REASON}")
    return path


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Headless Chromium."""
    path = executable()
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, headless=True, args=list(FLAGS))
        yield running
        running.close()


@dataclass
class Lab:
    """A running JupyterLab and the folder of notebooks it serves."""

    address: str
    token: str
    folder: Path
    window: BrowserContext  # one for all notebooks, so that JupyterLab's own scripts are loaded once


@pytest.fixture(scope="session")
def jupyter(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab as `make lab` starts it, on a copy of the notebooks, with a home of its own."""
    home = tmp_path_factory.mktemp("lab")
    folder = home / "notebooks"
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    served = Lab(
        f"http://127.0.0.1:{port}",
        secrets.token_hex(16),
        folder,
        browser.new_context(viewport={"width": 1400, "height": 1000}),
    )
    options = [
        "--no-browser",
        "--allow-root",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={served.token}",
        f"--ServerApp.root_dir={folder}",
        "--LabApp.expose_app_in_browser=True",
    ]
    own = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime"}
    own |= {"JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces"}
    env = environment() | {name: str(home / value) for name, value in own.items()}
    env |= {"WORKSHOP_STATE_FILE": str(home / "workshop.json")}
    with (home / "log").open("w") as log:
        server = subprocess.Popen(lab.command(*options), stdout=log, stderr=log, env=env, cwd=home)
        try:
            _wait_for(served, server, home / "log")
            yield served
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()


def _wait_for(served: Lab, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(240):
        assert server.poll() is None, log.read_text()[-2000:]
        try:
            with urllib.request.urlopen(f"{served.address}/api/status?token={served.token}", timeout=2):
                return
        except OSError:
            time.sleep(0.25)
    pytest.fail("JupyterLab does not answer:\n" + log.read_text()[-2000:])


def run_all(jupyter: Lab, source: Path, shot: str) -> list[str]:
    """Open a copy of the notebook `source`, choose Run > Run All Cells, and say what is wrong at the end."""
    notebook = nbformat.read(source, as_version=4)
    for cell in notebook.cells:  # what is stored must not be taken for what ran
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    write(notebook, jupyter.folder / source.name)
    page = jupyter.window.new_page()
    watch = Watch.on(page, lambda url: urlsplit(url).hostname in LOCAL)
    try:
        page.goto(f"{jupyter.address}/lab/tree/{source.name}?reset&token={jupyter.token}")
        page.wait_for_function(READY, timeout=2 * MINUTES)
        page.locator("#jp-MainMenu >> text=Run").first.click()
        page.locator(".lm-Menu-itemLabel", has_text="Run All Cells").first.click()
        state = _at_the_end(page)
        seen = page.evaluate(SEEN)
        page.evaluate("() => window.jupyterapp.shell.currentWidget.content.scrollToItem(2)")
        page.wait_for_timeout(500)
        page.screenshot(path=SHOTS / f"{shot}.png")
        page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    finally:
        page.close()
        (jupyter.folder / source.name).unlink()
    unfinished = [f"code cell {number}: not finished" for number in state["unfinished"]]
    return [
        *state["errors"],
        *unfinished,
        *([] if state["cells"] else ["no code cell"]),
        *(f"asked another host: {url}" for url in watch.elsewhere),
        *said(seen),
    ]


def said(counts: list[int]) -> list[str]:
    """What was counted, in words."""
    return [f"{count} {kind}" for count, kind in zip(counts, KINDS, strict=False) if count]


def _at_the_end(page: Page) -> dict[str, Any]:
    """The notebook model once all is run, or once an error or a dead kernel leaves the rest unrun."""
    state: dict[str, Any] = {}
    end = time.monotonic() + 600
    while time.monotonic() < end:
        state = page.evaluate(RUN_STATE)
        if state["kernel"] == "dead" or (state["kernel"] == "idle" and (state["errors"] or not state["unfinished"])):
            break
        page.wait_for_timeout(200)
    return state


def step_through(browser: Browser, deck: Path, shots: str) -> list[str]:
    """Open the deck at `deck` as a file, step to its end, and say what is wrong on the way."""
    folder = SHOTS / shots
    shutil.rmtree(folder, ignore_errors=True)
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    place = deck.parents[deck.parent.name == "zh"]  # reveal.js lies beside the English decks
    watch = Watch.on(page, lambda url: url.startswith(place.as_uri()))
    problems, seen = [], set()
    try:
        page.goto(deck.as_uri())
        page.wait_for_function("() => window.Reveal?.isReady()", timeout=MINUTES)
        assert page.evaluate("() => Reveal.getScale()") == 1
        for _ in range(1000):
            h, v, fragment = page.evaluate("() => Object.values(Reveal.getIndices()).slice(0, 3)")
            name = f"{h:02d}-{v or 0:02d}"
            if name not in seen or fragment not in (None, -1):
                problems += [f"{name}: {problem}" for problem in page.evaluate(PAGE_PROBLEMS)]
                page.screenshot(path=folder / f"{name}.png")  # the last fragment's overwrites the first's
            seen.add(name)
            before = (h, v, fragment)
            page.evaluate("() => Reveal.next()")
            if page.evaluate("() => Object.values(Reveal.getIndices()).slice(0, 3)") == list(before):
                break
        leaves = page.evaluate(LEAVES)
    finally:
        page.close()
    if len(seen) != leaves:
        problems.append(f"{len(seen)} of {leaves} pages were reached")
    problems += [f"asked for {url}" for url in watch.elsewhere]
    return problems + [f"complained: {text}" for text in watch.complaints]


def identity(path: Path) -> str:
    return str(path.relative_to(FOLDER).with_suffix(""))


# 01 and 02 take a minute of processor time each here and show nothing that these do not: tables, pictures, bars, costs.
LEARNT = [path for path in lessons() if path.stem[:2] in ("00", "04", "99")] + lessons("zh")[4:5]


@pytest.mark.parametrize("path", LEARNT, ids=identity)
def test_a_learner_runs_every_cell(jupyter, path):
    assert run_all(jupyter, path, identity(path).replace("/", "-")) == []


@pytest.mark.parametrize("path", both(lessons), ids=identity)
def test_a_speaker_steps_through_the_deck(browser, tmp_path, path):
    assert step_through(browser, build(path, folder_for_decks(tmp_path)), identity(path).replace("/", "-")) == []


def small(path: Path, *cells: nbformat.NotebookNode) -> Path:
    notebook = nbformat.v4.new_notebook(cells=list(cells))
    normalise(notebook)
    write(notebook, path)
    return path


def test_control_a_failing_cell_and_a_foreign_host_are_noticed(jupyter, tmp_path):
    foreign = "from IPython.display import HTML, Markdown\nHTML('<img src=\"http://workshop.invalid/a.png\">')"
    more = "from PIL import Image\ndisplay(Markdown('It costs $1 or $2, or $3.'), Image.new('RGB', (9, 9)))"
    cells = [nbformat.v4.new_code_cell(source) for source in (foreign, more, "1 / 0", "print('never')")]
    problems = run_all(jupyter, small(tmp_path / "bad.ipynb", *cells), "control-notebook")
    assert problems == [
        "code cell 3: ZeroDivisionError: division by zero",
        "code cell 4: not finished",
        "asked another host: http://workshop.invalid/a.png",
        "1 typeset as a formula",
        "1 pictures without alternative text",
    ]


def test_control_jupyterlab_that_may_ask_about_news_asks(jupyter):
    page = jupyter.window.new_page()
    page.goto(f"{jupyter.address}/lab?token={jupyter.token}")
    page.wait_for_function("() => window.jupyterapp?.restored")
    page.evaluate(ASK_AGAIN)
    page.reload()
    page.wait_for_function("() => document.body.innerText.includes('Jupyter news')", timeout=MINUTES)
    page.close()


def dead_links(page: Page, file: Path) -> list[str]:
    """Links of the open page at `file` to nothing, in a file beside it or in itself."""
    found = []
    for link in set(page.evaluate("() => [...document.links].map(each => each.href)")):
        parts = urlsplit(link)
        target, places = Path(unquote(parts.path)), {parts.fragment, unquote(parts.fragment)} - {""}
        if parts.scheme == "file" and not target.exists():
            found.append(f"dead: {link}")
        elif parts.scheme == "file" and places and not any(f'id="{place}"' in target.read_text() for place in places):
            found.append(f"no such place: {link}")
    return found


def look_at_pages(browser: Browser, folder: Path, notebooks: list[Path]) -> list[str]:
    """Make the pages of `notebooks` and the index in `folder`, open each, and say what is wrong."""
    for path in notebooks:
        run.keep(Outcome(path, nbformat.read(path, 4), 0, 0.0), in_place=False)
    run.write_index(notebooks)
    page, problems = browser.new_page(), []
    for file in sorted((folder / "html").rglob("*.html")):
        page.goto(file.as_uri())
        found = [*said(page.eval_on_selector("body", COUNTED)), *dead_links(page, file)]
        problems += [f"{file.stem}: {each}" for each in found]
    page.close()
    return problems


def test_pages_have_no_formula_no_dead_link_and_no_silent_picture(browser, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "BUILD", tmp_path)
    assert look_at_pages(browser, tmp_path, both(all_notebooks)) == []


def test_control_what_is_wrong_with_a_page_is_seen(browser, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "BUILD", tmp_path)
    plot = nbformat.v4.new_output("display_data", {"image/png": "AAAA"})
    text = "# Bad\n\n[gone](gone.md), [nowhere](#nowhere) <span class='MathJax'>1</span>"
    cells = [nbformat.v4.new_markdown_cell(text), nbformat.v4.new_code_cell("1", outputs=[plot])]
    problems = look_at_pages(browser, tmp_path, [small(tmp_path / "bad.ipynb", *cells)])
    assert problems[:2] == ["bad: 1 typeset as a formula", "bad: 1 pictures without alternative text"]
    assert sorted(each.split(": ")[1] for each in problems[2:]) == ["dead", "no such place"]


def test_control_an_overflowing_slide_is_noticed(browser, tmp_path):
    prose = "# Far too much\n\n" + "word " * 700  # a paragraph is not cut
    path = small(tmp_path / "long.ipynb", nbformat.v4.new_markdown_cell(prose))
    problems = step_through(browser, build(path, folder_for_decks(tmp_path)), "control-long")
    assert problems and re.search(r"00-01: <p> word word .* is \d+ x \d{4}", "\n".join(problems))


def test_control_a_picture_from_elsewhere_is_noticed(browser, tmp_path):
    path = small(tmp_path / "far.ipynb", nbformat.v4.new_markdown_cell("# Far\n\n![](http://workshop.invalid/a.png)"))
    problems = step_through(browser, build(path, folder_for_decks(tmp_path)), "control-far")
    assert "asked for http://workshop.invalid/a.png" in problems
    assert any("no alternative text" in problem for problem in problems)
    assert any("complained" in problem for problem in problems)


def test_control_no_browser_is_a_skip_here_and_a_failure_in_ci(monkeypatch, tmp_path):
    for name in ("CI", "REQUIRE_BROWSER", "CHROMIUM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(chromium, "PLACES", ())
    with pytest.raises(pytest.skip.Exception, match="BROWSER TEST NOT RUN: no Chromium here: install it"):
        executable()
    monkeypatch.setenv("REQUIRE_BROWSER", "1")
    with pytest.raises(pytest.fail.Exception, match="BROWSER TEST NOT RUN"):
        executable()
    assert "export REQUIRE_BROWSER=1" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
