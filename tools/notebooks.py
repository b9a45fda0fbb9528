"""Execute notebooks the one way that gives the same bytes each time."""

import base64
import html
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from helpers.settings import PREFIX, ROOT

FOLDER = ROOT / "notebooks"
EDITIONS = ("", "zh")  # folders below FOLDER: English, Chinese
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
_IMG = re.compile(r'<img alt="([^"]*)" src="data:image/(?:png|jpeg);base64,([^"]+)"')


@dataclass
class Outcome:
    """One executed notebook: how many code cells ran, in how many seconds, and the error that stopped it."""

    path: Path
    notebook: nbformat.NotebookNode
    cells: int
    seconds: float
    error: str = ""


def lessons(edition: str = "") -> list[Path]:
    """The lessons in order, set-up check and clean-up among them; those of the Chinese `edition` with "zh"."""
    return sorted((FOLDER / edition).glob("*.ipynb"))


def all_notebooks(edition: str = "") -> list[Path]:
    """The lessons in order, then the solutions."""
    return lessons(edition) + sorted((FOLDER / edition).glob("solutions/*.ipynb"))


def both(listed: Callable[[str], list[Path]]) -> list[Path]:
    """What `lessons` or `all_notebooks` lists, of the English edition and then of the Chinese one."""
    return [path for edition in EDITIONS for path in listed(edition)]


def edition_of(path: Path) -> str:
    """Which of EDITIONS a lesson, a solution or a recording at `path` belongs to."""
    return next((each for each in EDITIONS[1:] if each in path.parts[-3:-1]), "")


def without_outputs(path: Path) -> nbformat.NotebookNode:
    """The notebook at `path` as if it had never run."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.execution_count, cell.outputs = None, []
    return notebook


def environment(mode: str = "replay", **settings: object) -> dict[str, str]:
    """This process's environment in which nobody's .env and no choice of a drawing backend changes a run.

    A setting of the environment itself counts where `settings` lacks it, WORKSHOP_MODE apart: `make run` is never live.
    """
    own = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")  # these arrays are small: more only costs
    settings = {"env_file": os.devnull, "mode": mode, **settings}
    return {**one, **own, **{PREFIX + name.upper(): str(value) for name, value in settings.items()}}


def execute(
    path: Path,
    env: Mapping[str, str],
    on_cell: Callable[[], object] = lambda: None,
    preamble: str = "",
    keep_going: bool = False,
    ending: str = "",
) -> Outcome:
    """Run every cell of the notebook at `path` in a fresh kernel; an error ends up in the outcome.

    `preamble` and `ending` are code run before the first cell and after the last, and not kept; the first may use
    `tools`. With `keep_going` it runs on, and the outcome has the first error.
    """
    preamble = preamble and f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{preamble}"
    notebook = without_outputs(path)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    notebook.cells = [nbformat.v4.new_code_cell(preamble), *notebook.cells, nbformat.v4.new_code_cell(ending)]
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=900,
        iopub_timeout=60,  # on a busy machine the default, 4 s, loses the end of an output
        record_timing=False,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        coalesce_streams=True,
        allow_errors=keep_going,
        resources={"metadata": {"path": str(FOLDER)}},
        on_cell_executed=lambda **_: on_cell(),
    )
    start, error = time.perf_counter(), ""
    try:
        client.execute(env=dict(env))
    except CellExecutionError:
        pass  # it stands among the outputs
    except Exception as failure:  # a kernel that died or hung: the other notebooks still run
        error = f"{type(failure).__name__}: {failure}"
    seconds = time.perf_counter() - start
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        if output.output_type == "error":
            error = error or f"{output.ename}: {output.evalue}"
    notebook.cells = notebook.cells[1:-1]
    ran = [cell for cell in code if cell.execution_count]
    for number, cell in enumerate(ran, 1):
        cell.execution_count = number
    normalise(notebook)
    return Outcome(path, notebook, len(ran), seconds, error)


def normalise(notebook: nbformat.NotebookNode) -> None:
    """Drop what differs from machine to machine, number the cells, and keep of their metadata the tags."""
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat_minor = 5
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        for output in cell.get("outputs", []):
            if "execution_count" in output:
                output.execution_count = cell.execution_count


def pictures(cell: nbformat.NotebookNode) -> list[tuple[bytes, str]]:
    """The pictures that a cell put out, as PNG or JPEG, each with its alternative text, "" without one."""
    found = []
    for data in (output.get("data", {}) for output in cell.get("outputs", [])):
        found += [(data["image/png"], "")] if "image/png" in data else []
        found += [(coded, html.unescape(alt)) for alt, coded in _IMG.findall(data.get("text/html", ""))]
    return [(base64.b64decode(coded), alt) for coded, alt in found]


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Save as JupyterLab does, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    nbformat.write(notebook, beside)
    os.replace(beside, path)
