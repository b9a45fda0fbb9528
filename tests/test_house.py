"""The house: helpers stay small, are imported one way, and a lesson loads few of them."""

import ast
import subprocess
import sys

from helpers.settings import ROOT

# Budgets: the house, and mode server beside it. A line more somewhere needs a line less, or a reason.
LINES, FILES, LONGEST, SANDBOX = 2417, 24, 220, 250
SERVER_LINES, SERVER_FILES = 300, 3
BESIDE = {"tools": 1800, "tests": 7000}
# From the ground up: a module may import those that stand before it, inside functions too; so there is no circle.
ORDER = """language settings replay.chinese replay.index replay.recording replay clients models explain
    knowledge_base.names knowledge_base.waiting knowledge_base.kinds knowledge_base.workshop knowledge_base
    retrieval batch sandbox.child sandbox server.messages server server.checks checks workshop""".split()  # noqa: SIM905
FILE = {path.relative_to(ROOT / "helpers").with_suffix(""): path for path in (ROOT / "helpers").rglob("*.py")}
MODULES = {
    ".".join(name.parts).removesuffix(".__init__"): path for name, path in FILE.items() if name.parts[0][0] != "_"
}
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
"""


def against(order: list[str]) -> set[tuple[str, str]]:
    """Who imports whom against the order."""
    found = set()
    for name, path in MODULES.items():
        asked = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                asked |= {alias.name for alias in node.names}
            if isinstance(node, ast.ImportFrom) and node.module:
                asked |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        used = {each.removeprefix("helpers.") for each in asked} & MODULES.keys()
        found |= {(name, each) for each in used - {name} if order.index(each) >= order.index(name)}
    return found


def test_helpers_are_read_in_one_sitting(report):
    lengths = {name: len(path.read_text().splitlines()) for name, path in FILE.items()}
    report(f"helpers: {sum(lengths.values())} lines in {len(lengths)} files, the longest {max(lengths.values())}")
    server, sandbox = ([lengths[each] for each in lengths if each.parts[0] == room] for room in ("server", "sandbox"))
    assert sum(sandbox) <= SANDBOX and sum(server) <= SERVER_LINES and len(server) <= SERVER_FILES
    assert sum(lengths.values()) - sum(server) <= LINES and len(lengths) - len(server) <= FILES
    assert max(lengths.values()) <= LONGEST
    beside = {name: sum(len(path.read_text().splitlines()) for path in (ROOT / name).rglob("*.py")) for name in BESIDE}
    assert all(beside[name] <= BESIDE[name] for name in BESIDE), beside


def test_imports_run_one_way():
    assert sorted(ORDER) == sorted(MODULES) and against(ORDER) == set()
    assert against(ORDER[::-1])  # the control


def test_the_finance_lesson_loads_few_helpers():
    done = subprocess.run([sys.executable, "-c", LOADS], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.split()) <= 10, done.stderr
