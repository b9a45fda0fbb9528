"""Write the exercises of the lessons from their solutions: python -m tools.exercises

The source is in notebooks/solutions: a cell whose first line ends in `# Exercise 1`, and the task above it. The lesson
gets both below "Your turn". What stands between `# solution` and the lines `# starter: ...` is replaced by those lines.
"""

import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from tools.notebooks import FOLDER, lessons, normalise, write

MARK = re.compile(r"\A[^\n]*# Exercise (\d+)$", re.MULTILINE)
WORK = re.compile(r"^( *)# solution\n.*?((?:^\1# starter:[^\n]*\n?)+)", re.MULTILINE | re.DOTALL)
PARTS = re.compile(r"^## (Your turn|What we saw)$", re.MULTILINE)


def solution_of(lesson: Path) -> Path:
    """The solutions of a lesson; the set-up check has none."""
    return FOLDER / "solutions" / lesson.name


def derived(lesson: NotebookNode, solution: NotebookNode) -> list[NotebookNode]:
    """The cells of the lesson with its exercises as the solution has them; what is unchanged keeps its outputs."""
    headings = ["".join(PARTS.findall(cell.source)) for cell in lesson.cells]
    first, last = headings.index("Your turn"), headings.index("What we saw")
    made = []
    for task, cell in zip(solution.cells, solution.cells[1:], strict=False):
        if cell.cell_type == "code" and MARK.match(cell.source):
            made.append(nbformat.v4.new_markdown_cell(task.source.replace("](../", "](")))
            made.append(nbformat.v4.new_code_cell(starter(cell.source), metadata=cell.metadata))
    stored = {cell.source: cell for cell in lesson.cells[first + 1 : last]}
    return lesson.cells[: first + 1] + [stored.get(cell.source, cell) for cell in made] + lesson.cells[last:]


def starter(source: str) -> str:
    """What the lesson shows of a solution's cell."""
    return WORK.sub(lambda found: re.sub(r"# starter: ?", "", found[2]), source)


def main() -> None:
    """Rewrite the exercises of the lessons."""
    for path in lessons():
        if solution_of(path).exists():
            notebook = nbformat.read(path, 4)
            notebook.cells = derived(notebook, nbformat.read(solution_of(path), 4))
            normalise(notebook)
            write(notebook, path)


if __name__ == "__main__":
    main()
