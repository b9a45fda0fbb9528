"""The house: helpers stay small, are imported one way, and a lesson loads few of them."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from helpers.settings import ROOT

# Budgets: the house, and mode server beside it. A line more somewhere needs a line less, or a reason.
LINES, FILES, LONGEST = 2500, 24, 220
SERVER_LINES, SERVER_FILES = 300, 3
# The rooms, from the ground up; a module may import from its own room and from those before it.
ROOMS = ("language", "settings", "replay", "clients", "models", "explain")
ROOMS += ("knowledge_base", "retrieval", "workshop")
LOADS = """
import sys, json, matplotlib
matplotlib.use("agg")
from IPython.display import display
book = json.load(open("notebooks/04_financial_rag.ipynb"))
scope = {"display": display}
for cell in book["cells"]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "code" and "langchain" not in source:  # which takes seconds, and is no helper
        exec(source, scope)
print(*sorted(name for name in sys.modules if name.startswith("helpers.")), file=sys.stderr)
"""  # fmt: skip


def modules(folder: Path) -> dict[str, Path]:
    """The modules below `folder`, by dotted name."""
    found = {".".join(path.relative_to(folder.parent).with_suffix("").parts): path for path in folder.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for name, path in found.items()}


def imports(folder: Path) -> dict[str, set[str]]:
    """What each module imports of the others, inside functions too; a package does not count its own parts."""
    every, edges = modules(folder), {}
    for name, path in every.items():
        asked = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                asked |= {alias.name for alias in node.names}
            if isinstance(node, ast.ImportFrom) and node.module:
                asked |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        edges[name] = {one for one in asked if one in every and one not in (name, folder.name)}
        edges[name] = {one for one in edges[name] if not one.startswith(name + ".")}
    return edges


def circle(folder: Path) -> list[str]:
    """The modules of a circle of imports; empty without one."""
    try:
        TopologicalSorter(imports(folder)).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_helpers_are_read_in_one_sitting(report):
    lengths = {name: len(path.read_text().splitlines()) for name, path in modules(ROOT / "helpers").items()}
    report(f"helpers: {sum(lengths.values())} lines in {len(lengths)} files, the longest {max(lengths.values())}")
    server = [length for name, length in lengths.items() if name.startswith("helpers.server")]
    assert sum(server) <= SERVER_LINES and len(server) <= SERVER_FILES and max(lengths.values()) <= LONGEST
    assert sum(lengths.values()) - sum(server) <= LINES and len(lengths) - len(server) <= FILES


def test_imports_run_one_way():
    assert not circle(ROOT / "helpers")
    place = {f"helpers.{room}": number for number, room in enumerate(ROOMS)}

    def room(name: str) -> int | None:
        return place.get(".".join(name.split(".")[:2]))

    for name, used in imports(ROOT / "helpers").items():
        for other in used:
            if None not in (room(name), room(other)):
                assert room(other) <= room(name), f"{name} imports {other}"


def test_control_a_circle_is_found(tmp_path):
    (tmp_path / "house").mkdir()
    for name, text in {
        "a": "from house import b",
        "b": "def f():\n    import house.c",
        "c": "from house.a import x",
    }.items():
        (tmp_path / "house" / f"{name}.py").write_text(text)
    assert set(circle(tmp_path / "house")) == {"house.a", "house.b", "house.c"}
    (tmp_path / "house" / "c.py").write_text("import os")
    assert not circle(tmp_path / "house")


def test_the_finance_lesson_loads_few_helpers():
    done = subprocess.run([sys.executable, "-c", LOADS], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.split()) <= 10, done.stderr
