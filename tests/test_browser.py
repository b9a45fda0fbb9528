"""A real browser: notebooks run in JupyterLab as a learner does, every deck stepped through as a speaker does.

Chromium can reach no other host here (names do not resolve), and every request for one is a failure.
"""

import os
import re
import subprocess
import time

import nbformat
import pytest
from jupyter_server.serverapp import list_running_servers
from playwright.sync_api import sync_playwright

from helpers.settings import ROOT
from tools import browser as chromium
from tools import lab, slides
from tools.notebooks import METADATA, environment, lessons, without_outputs, write

MINUTES = 60_000  # ms
FLAGS = (
    "--no-sandbox",  # Chromium refuses to run as root with it
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)

# What is typeset as a formula, and what a screen reader finds nothing to say about, in some elements.
COUNTED = """elements => {
  const all = form => elements.flatMap(each => [...each.querySelectorAll(form)]);
  const typeset = all('mjx-container, .MathJax, script[src*="athjax"]').length;
  const silent = all('img').filter(each => !each.alt.trim() || each.alt.startsWith('No description')).length;
  return [...(typeset ? [`${typeset} typeset as a formula`] : []),
    ...(silent ? [`${silent} pictures without alternative text`] : [])];
}"""
READY = """() => {
  const widget = window.jupyterapp?.shell.currentWidget;
  return widget?.context?.isReady && widget.sessionContext?.session?.kernel?.status === 'idle';
}"""
# Run > Run All Cells, to its end or to an error. Then every cell comes into view, for only then it is drawn.
RUN_ALL = f"""async () => {{
  const widget = jupyterapp.shell.currentWidget, cells = widget.content;
  const pause = time => new Promise(done => setTimeout(done, time));
  await jupyterapp.commands.execute('notebook:run-all-cells').catch(() => null);
  const problems = [...cells.model.cells].filter(cell => cell.type === 'code').flatMap((cell, number) => {{
    const errors = cell.outputs.toJSON().filter(each => each.output_type === 'error');
    const told = errors.map(each => `${{each.ename}}: ${{each.evalue}}`);
    return (cell.executionCount ? told : ['not finished']).map(each => `code cell ${{number + 1}}: ${{each}}`);
  }});
  for (const place of cells.widgets.keys()) {{
    await cells.scrollToItem(place);
    await pause(60);
  }}
  await pause(2000);  // MathJax comes late
  const counted = ({COUNTED})(cells.widgets.map(each => each.node));
  await widget.sessionContext.shutdown();
  return [...problems, ...counted];
}}"""
# From the first slide to the last: what is outside the slide, and pages that are empty or end in a title.
STEP_THROUGH = """() => {
  const found = [], scale = Reveal.getScale();
  const look = page => {
    const name = Object.values(Reveal.getIndices()).slice(0, 2).join('-'), room = page.getBoundingClientRect();
    const tell = words => found.push(`${name}: ${words}`);
    if (!page.innerText.trim() && !page.querySelector('img')) tell('the page is empty');
    const last = [...page.querySelectorAll('p, img, li, tr, .line')].filter(each => !each.closest('aside')).at(-1);
    if (last?.innerHTML === last?.querySelector('strong')?.outerHTML && last) tell('a title ends the page');
    for (const element of page.querySelectorAll('*')) {
      const box = element.getBoundingClientRect();
      if (element.closest('aside') || !box.height) continue;
      const right = Math.max(box.right, box.left + element.scrollWidth * scale);
      if (right > room.left + 1281 * scale || box.bottom > room.top + 721 * scale || box.top < room.top - 1
          || box.left < room.left - 1)
        tell(`${element.textContent.trim().slice(0, 40)} runs out of the page`);
    }
  };
  let seen = 1;
  for (look(Reveal.getCurrentSlide()); !Reveal.isLastSlide(); seen++) {
    Reveal.next();
    look(Reveal.getCurrentSlide());
  }
  const pages = document.querySelectorAll('.slides section:not(.stack)').length;
  return seen === pages && scale === 1 ? found : [...found, `${seen} of ${pages} pages were seen, at scale ${scale}`];
}"""

# What the page shows is what its file holds, wherever slides were parted.
SAME_WORDS = """file => {
  const words = root => [...root.querySelectorAll('.slides :is(tbody tr, li, p, pre)')]
    .filter(each => !each.closest('aside')).map(each => each.textContent).join('').replace(/\\s+/g, '');
  return words(document) === words(new DOMParser().parseFromString(file, 'text/html'));
}"""


def watched(page, *places):
    """What `page` asks for elsewhere than in `places`, and what it complains of, from now on."""
    problems, inside = [], ("data:", "blob:", *places)
    for event in ("request", "websocket"):
        page.on(event, lambda each: None if each.url.startswith(inside) else problems.append(f"asked for {each.url}"))
    page.on("console", lambda said: problems.append(f"complained: {said.text}") if said.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(f"complained: {error}"))
    return problems


def executable():
    """The browser's path; without one the test is skipped, and in CI it fails."""
    if not (path := chromium.find()):
        (pytest.fail if required() else pytest.skip)(f"BROWSER TEST NOT RUN: {chromium.REASON}")
    return path


def required():
    """Whether the browser's tests must not be skipped."""
    return any(os.environ.get(name, "").lower() not in ("", "0", "false") for name in ("CI", "REQUIRE_BROWSER"))


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium."""
    path = executable()
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=path, headless=True, args=list(FLAGS))


@pytest.fixture(scope="module")
def jupyter(browser, tmp_path_factory):
    """JupyterLab as `make lab` starts it, with a home of its own: opens a copy of a notebook."""
    home = tmp_path_factory.mktemp("lab")
    own = {f"JUPYTER_{kind}_DIR": str(home / kind) for kind in ("CONFIG", "DATA", "RUNTIME")}
    options = f"--no-browser --allow-root --ServerApp.root_dir={home} --LabApp.expose_app_in_browser=True"
    env = environment(state_file=home / "workshop.json") | own
    with (home / "log").open("w") as log:
        server = subprocess.Popen([*lab.COMMAND, *options.split()], stdout=log, stderr=log, env=env, cwd=home)
    window = browser.new_context(viewport={"width": 1400, "height": 1000})  # loads JupyterLab's own scripts once
    while not (running := [*list_running_servers(own["JUPYTER_RUNTIME_DIR"])]):
        assert server.poll() is None, "JupyterLab does not start:\n" + (home / "log").read_text()[-2000:]
        time.sleep(0.25)
    address, token = running[0]["url"], running[0]["token"]

    def opened(source):
        page = window.new_page()
        problems = watched(page, address, address.replace("http", "ws"))
        write(without_outputs(source), home / source.name)  # what is stored must not be taken for what ran
        page.goto(f"{address}lab/tree/{source.name}?reset&token={token}")
        page.wait_for_function(READY, timeout=2 * MINUTES)
        return page, problems

    yield opened
    server.terminate()
    server.wait(20)


def run_all(jupyter, source):
    """Run a copy of the notebook `source` in JupyterLab, and say what is wrong at the end."""
    page, problems = jupyter(source)
    found = page.evaluate(RUN_ALL) + [each for each in dict.fromkeys(problems) if each.startswith("asked for")]
    page.close()
    return found


def deck_of(path, folder):
    """The deck of a notebook, with reveal.js, fetched once, beside it."""
    slides.reveal(slides.BUILD / "reveal.js")
    (folder / "reveal.js").symlink_to(slides.BUILD / "reveal.js")
    return slides.build(path, folder)


def step_through(browser, deck, place, text=""):
    """Open the deck, which lies below `place`, as a file, step to its end, and say what is wrong on the way.

    `text` is what it should hold, if not what is in the file.
    """
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    problems = watched(page, place.as_uri())
    page.goto(deck.as_uri())
    page.wait_for_function("() => window.Reveal?.isReady()", timeout=MINUTES)
    found = page.evaluate(STEP_THROUGH) + page.evaluate(f"({COUNTED})([document.body])") + problems
    found += [] if page.evaluate(SAME_WORDS, text or deck.read_text(encoding="utf-8")) else ["words were lost"]
    page.close()
    return found


def test_a_learner_runs_every_cell(jupyter):
    """The other lessons take much processor time here and show nothing that this one does not: tables, bars, costs."""
    assert run_all(jupyter, lessons()[4]) == []


@pytest.mark.parametrize("path", [*lessons(), lessons("zh")[4]], ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_speaker_steps_through_the_deck_and_has_each_note(browser, tmp_path, path):
    deck = deck_of(path, tmp_path)
    assert step_through(browser, deck, tmp_path) == []
    notes = re.findall("(?m)^## ", (slides.NOTES / f"{path.stem}.md").read_text(encoding="utf-8"))
    assert notes and deck.read_text(encoding="utf-8").count('<aside class="notes">') >= len(notes)


def small(path, *cells):
    write(nbformat.v4.new_notebook(cells=list(cells), metadata=METADATA), path)  # names the kernel
    return path


def test_control_a_failing_cell_and_a_foreign_host_are_noticed(jupyter, tmp_path):
    foreign = "from IPython.display import HTML, Markdown\nHTML('<img src=\"http://workshop.invalid/a.png\">')"
    more = "from PIL import Image\ndisplay(Markdown('It costs $1 or $2, or $3.'), Image.new('RGB', (9, 9)))"
    cells = [nbformat.v4.new_code_cell(source) for source in (foreign, more, "1 / 0", "print('never')")]
    assert run_all(jupyter, small(tmp_path / "bad.ipynb", *cells)) == [
        "code cell 3: ZeroDivisionError: division by zero",
        "code cell 4: not finished",
        "1 typeset as a formula",
        "1 pictures without alternative text",
        "asked for http://workshop.invalid/a.png",
    ]


def test_control_an_overflowing_slide_and_a_picture_from_elsewhere_are_noticed(browser, tmp_path):
    prose = "# Far too much\n\n![](http://workshop.invalid/a.png)\n\n" + "word " * 700 + "\n\n**Title**"  # not cut
    path = small(tmp_path / "long.ipynb", nbformat.v4.new_markdown_cell(prose))
    deck, other = deck_of(path, tmp_path), "<div class='slides'><p>more</p></div>"
    problems = "\n".join(step_through(browser, deck, tmp_path, other))
    for wrong in ("words were lost", "a title ends the page", "runs out of the page", "complained"):
        assert wrong in problems
    assert "asked for http://workshop.invalid/a.png" in problems and "1 pictures without alternative" in problems


def test_control_no_browser_is_a_skip_here_and_a_failure_in_ci(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(chromium, "find", lambda: "")
    for value, outcome in {"": pytest.skip, "1": pytest.fail}.items():
        monkeypatch.setenv("REQUIRE_BROWSER", value)
        with pytest.raises(outcome.Exception, match="BROWSER TEST NOT RUN: no Chromium here: install it"):
            executable()
    assert "export REQUIRE_BROWSER=1" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
