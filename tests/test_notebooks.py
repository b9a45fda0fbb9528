"""The notebooks as files: the house style, and controls that show nbval failing when it should."""

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


def silent(notebook: nbformat.NotebookNode) -> list[str]:
    """The alternative texts of its pictures that say nothing, or hardly anything; in bytes, for Chinese says more."""
    return [alt for cell in notebook.cells for _, alt in pictures(cell) if len(alt.encode()) < 25]


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
    uncompared = [cell for cell in code_cells(notebook) if "nbval-ignore-output" in cell.metadata.get("tags", [])]
    assert all('"speed"' in cell.source for cell in uncompared), "only a cell that times code may go uncompared"
    assert not silent(notebook), "show a picture with helpers.workshop.figure, which wants in words what it shows"
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


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A small notebook with text, a picture and a progress bar among its outputs, executed."""
    source = [
        "print('hello')",
        "from PIL import Image\nImage.new('RGB', (9, 9))",
        "from IPython.display import ProgressBar\nfor _ in ProgressBar(3):\n    pass",
    ]
    path = tmp_path_factory.mktemp("nbval") / "right.ipynb"
    write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in source]), path)
    outcome = execute(path, environment())
    assert not outcome.error
    write(outcome.notebook, path)
    return path


def test_nbval_passes_what_is_right_and_control_a_changed_text_and_picture_fail(executed):
    notebook = read(executed)
    notebook.cells[0].outputs[0].text = "hallo\n"
    data = next(output.data for output in notebook.cells[1].outputs if "image/png" in output.get("data", {}))
    data["image/png"] = data["image/png"].replace("A", "B", 1)
    write(notebook, executed.with_name("changed.ipynb"))
    options = ["-c", "tests/nbval.ini", "--rootdir", str(ROOT), "-n", "0", "-p", "no:cacheprovider", "-q"]
    command = [sys.executable, "-m", "pytest", *options, str(executed.parent)]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300).stdout
    failed = re.findall(r"^FAILED .*?(\w+)\.ipynb::Cell (\d)", said, re.MULTILINE)
    assert failed == [("changed", "0"), ("changed", "1")] and "4 passed" in said, said


def test_control_an_unexecuted_cell_and_a_picture_that_says_nothing_are_noticed(executed, tmp_path):
    notebook = read(executed)
    assert silent(notebook) == [""]
    notebook.cells[1].execution_count, notebook.cells[1].outputs = None, []
    write(notebook, tmp_path / "unexecuted.ipynb")
    with pytest.raises(AssertionError, match="make outputs"):
        test_is_run_from_top_to_bottom_and_clean(tmp_path / "unexecuted.ipynb")
