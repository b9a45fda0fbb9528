"""The notebooks as files: the house style, and controls that show nbval failing when it should."""

import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from helpers.settings import ROOT
from tools.exercises import MARK
from tools.notebooks import FOLDER, METADATA, all_notebooks, both, environment, execute, normalise, pictures, write

# Lines of a cell in the middle, and of nine cells in ten, where a lesson shows what it is about: 01 its comparison and
# its scores, 02 its checks, 03 whole requests, 04 whole chains, 05 its measures. CELLS: 01 has two sets of boards,
# each scored by two methods; 05 has a measure, a check or a remedy in each of twelve sections.
MEDIAN = {
    "01_pcb_defect_inspection": 12,
    "02_coding_tutor": 9,
    "03_create_knowledge_base": 10,
    "04_financial_rag": 7,
    "05_trust_the_answer": 11,
}
CELLS = {"01_pcb_defect_inspection": 44, "05_trust_the_answer": 52}
MOST = {"01_pcb_defect_inspection": 19, "02_coding_tutor": 15, "05_trust_the_answer": 18}
NOTEBOOKS = both(all_notebooks)
LESSONS = [path for path in NOTEBOOKS if path.parent == FOLDER]
FORBIDDEN = re.compile(
    r"pip install|%store|sys\.path|anthropic\.claude-|\barn:aws|(?<!\d)\d{12}(?!\d)|pytest|nbval-ignore"
)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def lines_of(cell: nbformat.NotebookNode) -> int:
    return sum(1 for line in cell.source.splitlines() if line.strip())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_run_from_top_to_bottom_and_clean(path):
    notebook = read(path)
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1)), "run it: make outputs"
    assert notebook.metadata == METADATA
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not FORBIDDEN.search("\n".join(cell.source for cell in notebook.cells))
    uncompared = [
        cell.source for cell in code_cells(notebook) if "nbval-ignore-output" in cell.metadata.get("tags", [])
    ]
    assert all('"speed"' in source for source in uncompared), "only a cell that times code may go uncompared"
    # Executed again and written, the file must not change for any reason but its outputs.
    normalise(notebook)
    assert nbformat.writes(notebook) + "\n" == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_is_written_in_the_house_style(path):
    notebook = read(path)
    code, prose = code_cells(notebook), [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    # An exercise brings its check along, which is as long as it takes.
    lengths = sorted(lines_of(cell) for cell in code if not MARK.match(cell.source))
    if not path.stem.startswith("00"):
        # What a learner may do, or leave out, is not counted: exercises and variations, two cells each.
        offered = [cell for cell in prose if re.search("^### (Exercise|Try one)", cell.source, re.MULTILINE)]
        assert 20 <= len(notebook.cells) - 2 * len(offered) <= CELLS.get(path.stem, 35)
    assert len(prose) >= len(code)
    assert statistics.median(lengths) <= MEDIAN.get(path.stem, 5)
    assert lengths[int(0.9 * (len(lengths) - 1))] <= MOST.get(path.stem, 12)
    assert max(map(lines_of, code)) <= 25
    assert lines_of(code[0]) <= 6
    opening = prose[0].source
    assert opening.startswith("# ") and "**The job:**" in opening
    assert all(word in opening for word in ("Minutes:", "Needs:", "ive cost:", "By the end you can"))
    assert len(re.findall(r"^- \*\*", opening, re.MULTILINE)) == 3
    assert "## What we saw" in prose[-1].source and "Next:" in prose[-1].source


def silent(notebook: nbformat.NotebookNode) -> list[str]:
    """The alternative texts of its pictures that say nothing, or hardly anything; in bytes, for Chinese says more."""
    return [alt for cell in notebook.cells for _, alt in pictures(cell) if len(alt.encode()) < 25]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_picture_says_what_it_shows(path):
    assert not silent(read(path)), "show it with helpers.workshop.figure, which wants that in words"


def test_control_a_picture_that_says_nothing_is_seen(picture_notebook):
    assert silent(read(picture_notebook)) == [""]


def nbval(path: Path, **env: str) -> subprocess.CompletedProcess[str]:
    options = ["-c", "tests/nbval.ini", "--rootdir", str(ROOT), "-n", "0", "-p", "no:cacheprovider", "-q"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(path)],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def picture_notebook(tmp_path: Path) -> Path:
    """A small notebook with text, a picture and a progress bar among its outputs, executed."""
    source = [
        "print('hello')",
        "import matplotlib.pyplot as plt\n_ = plt.plot([1, 2, 4])",
        "from IPython.display import ProgressBar\nfor _ in ProgressBar(3):\n    pass",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in source])
    path = tmp_path / "small.ipynb"
    write(notebook, path)
    outcome = execute(path, environment())
    assert not outcome.error
    write(outcome.notebook, path)
    return path


def test_nbval_passes_what_is_right(picture_notebook):
    result = nbval(picture_notebook)
    assert result.returncode == 0 and "3 passed" in result.stdout, result.stdout


def test_control_a_changed_text_fails(picture_notebook):
    notebook = read(picture_notebook)
    notebook.cells[0].outputs[0].text = "hallo\n"
    write(notebook, picture_notebook)
    assert "1 failed" in nbval(picture_notebook).stdout


def test_control_a_changed_picture_fails(picture_notebook):
    notebook = read(picture_notebook)
    output = next(output for output in notebook.cells[1].outputs if "image/png" in output.get("data", {}))
    output.data["image/png"] = output.data["image/png"].replace("A", "B", 1)
    write(notebook, picture_notebook)
    assert "1 failed" in nbval(picture_notebook).stdout


def test_control_an_unexecuted_cell_is_noticed(picture_notebook):
    notebook = read(picture_notebook)
    notebook.cells[1].execution_count, notebook.cells[1].outputs = None, []
    write(notebook, picture_notebook)
    with pytest.raises(AssertionError, match="make outputs"):
        test_is_run_from_top_to_bottom_and_clean(picture_notebook)


def test_control_an_edited_prompt_and_a_missing_recording_stop_the_lesson(tmp_path):
    path = FOLDER / "04_financial_rag.ipynb"
    text = path.read_text(encoding="utf-8")
    edited = tmp_path / path.name
    edited.write_text(text.replace("for private investors", "for bank robbers"), encoding="utf-8")
    outcome = execute(edited, environment())
    assert outcome.error.startswith("RecordingMissing")
    assert "private investors" in outcome.error and "bank robbers" in outcome.error
    assert "undo the edit" in outcome.error and "WORKSHOP_MODE=live" in outcome.error
    assert len(outcome.error.splitlines()) <= 15

    stored = json.loads((ROOT / "data/recordings/04_financial_rag.json").read_text(encoding="utf-8"))
    stored["entries"] = [entry for entry in stored["entries"] if entry["call"] != "bedrock-runtime.ConverseStream"]
    (tmp_path / "04_financial_rag.json").write_text(json.dumps(stored), encoding="utf-8")
    env = {**environment(), "WORKSHOP_RECORDINGS_DIR": str(tmp_path)}
    assert "no recorded answer to bedrock-runtime.ConverseStream" in execute(path, env).error


def part_of(path: Path, folder: Path, *marks: str) -> Path:
    """A copy of the notebook in `folder` with only the code cells that hold one of `marks`."""
    notebook = read(path)
    notebook.cells = [cell for cell in code_cells(notebook) if any(mark in cell.source for mark in marks)]
    write(notebook, folder / path.name)
    return folder / path.name


def test_an_edited_question_to_retrieve_gets_real_passages(tmp_path):
    part = part_of(FOLDER / "04_financial_rag.ipynb", tmp_path, "workshop.start(", "MODEL, KB = ", "my_question = ")
    text = part.read_text(encoding="utf-8")
    part.write_text(text.replace("How many people work for Amazon?", "Who is Rivian?"), encoding="utf-8")
    outcome = execute(part, environment())
    assert not outcome.error and "2019" in code_cells(outcome.notebook)[-1].outputs[0].text
