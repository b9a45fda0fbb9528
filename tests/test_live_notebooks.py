"""Every lesson in live mode, against a service on this machine that gives the recorded answers."""

import re
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import nbformat
import pytest

from helpers import clients, retrieval, workshop
from helpers.replay.recording import Recording, request_of
from helpers.settings import ROOT, Settings
from tests.loopback import Script, Service, first_of
from tests.loopback.recorded import Recorded
from tests.loopback.rules import RULES, RuleBook
from tests.remembered import PREAMBLE, remembering
from tests.test_checks import ANSWERS as ACCOUNT_ANSWERS
from tools import costs
from tools.notebooks import FOLDER, environment, execute, write

RECORDINGS = Settings.model_fields["recordings_dir"].default
KEYS = {
    "AWS_ACCESS_KEY_ID": "x",
    "AWS_SECRET_ACCESS_KEY": "x",
    "AWS_REGION": "us-east-1",
    "WORKSHOP_KNOWLEDGE_BASE_ID": "WORKSHOPKB",  # the id in the recorded requests
    "NO_PROXY": "127.0.0.1",
}
# Lessons that only talk to Bedrock's runtime; those that make things in an account have tests of their own.
LESSONS = [path for path in sorted(FOLDER.glob("*.ipynb")) if path.stem[:2] not in ("03", "99")]
# All that may differ between replay and live, as (in replay, live).
DIFFERENCES = [
    (r"Mode replay: .*", "Mode live: calls go to your AWS account and cost money."),
    (r"; token counts are estimates", ""),
    (r"a Claude model outside Bedrock, one try each", "claude-sonnet-5-5"),
]
ASK_NOBODY = ("pairs = {n:", "def even(", "import matplotlib.pyplot as plt\n\nwhole,", "def touches(")  # of 01
# Pictures that carry one of these texts.
OTHER_PICTURES = {
    ("01_pcb_defect_inspection", "whole.suptitle("),
    ("05_trust_the_answer", "What a right answer costs: {MODEL.whose}"),
}


def account_at(service, **more):
    """The environment of a learner whose account is `service`."""
    return {**environment("live"), **KEYS, "AWS_ENDPOINT_URL": service.url, **more}


def source_for(name):
    """The recorded answers of the lesson, and an account in good order."""
    path = RECORDINGS / f"{name}.json"
    return first_of(Recorded(path), Script(ACCOUNT_ANSWERS)) if path.exists() else Script(ACCOUNT_ANSWERS)


def code(path):
    """The code cells of a notebook, without those that take long and ask nobody: nbval compares them."""
    cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    return [cell for cell in cells if not cell.source.startswith(ASK_NOBODY)]


def run_live(cells, source, **more):
    """These cells, run live: the outcome, the calls that the service saw, the rules of the service that it met."""
    with tempfile.TemporaryDirectory() as folder, Service(source) as service:
        path = Path(folder, "lesson.ipynb")
        write(nbformat.v4.new_notebook(cells=cells), path)
        outcome = execute(path, account_at(service, **more), preamble=PREAMBLE)
        return outcome, [replace(call, wait=None) for call in service.calls], service.rules.met


@cache
@remembering
def live(path):
    """The lesson at `path`, run live."""
    return run_live(code(path), source_for(path.stem))


def comparable(cell, name=""):
    """The outputs of a cell, without what nbval does not compare either."""
    if "nbval-ignore-output" in cell.metadata.get("tags", []):
        return []
    lines = []
    for output in cell.outputs:
        if output.output_type == "error":
            lines.append(output.ename)
        data = output.get("data", {"text": output.get("text", "")})
        if any(name == lesson and part in cell.source for lesson, part in OTHER_PICTURES):
            data = {kind: value for kind, value in data.items() if kind not in ("text/html", "image/png")}
        lines += [f"{kind}: {value}" for kind, value in sorted(data.items()) if "workshop-bar" not in str(value)]
    return [line for line in lines if "[====" not in line]


def as_live(text):
    """A replayed output as it should read in live mode."""
    for replayed, in_live in DIFFERENCES:
        text = re.sub(replayed, in_live, text)
    return text


@pytest.mark.parametrize("path", LESSONS[1:], ids=lambda path: path.stem)
def test_live_outputs_are_those_of_replay_cell_by_cell(path):
    outcome, calls, _ = live(path)
    assert not outcome.error and {call.outcome for call in calls} == {"answered"}
    different = set()
    for before, after in zip(code(path), outcome.notebook.cells, strict=True):
        replayed, lived = comparable(before, path.stem), comparable(after, path.stem)
        assert [as_live(text) for text in replayed] == lived, before.source
        different |= {pattern for pattern, _ in DIFFERENCES if re.search(pattern, "\n".join(replayed))}
    receipts = path.stem[:2] != "05"  # which adds its costs up instead
    assert DIFFERENCES[0][0] in different and (DIFFERENCES[1][0] in different) == receipts


SOLUTIONS = sorted((FOLDER / "solutions").glob("*.ipynb"))


def test_the_solutions_run_live_and_say_done():
    forget = nbformat.v4.new_code_cell("%reset -f")  # one kernel for all, each as in a new one
    cells = [cell for path in SOLUTIONS for cell in (forget, *code(path))]
    outcome, _, _ = run_live(cells, first_of(*(source_for(path.stem) for path in SOLUTIONS)))
    assert not outcome.error
    outputs = [output for cell in outcome.notebook.cells for output in cell.outputs]
    lines = "".join(output.text for output in outputs if output.get("name") == "stdout").splitlines()
    exercises = sum("# Exercise" in cell.source for cell in cells)
    assert sum(line.startswith("Mode live") for line in lines) == len(SOLUTIONS) >= 6
    assert lines.count("done") >= exercises >= len(SOLUTIONS) and "not yet" not in lines


def test_the_set_up_check_asks_the_account_and_says_go_on():
    outcome, calls, _ = live(LESSONS[0])
    assert not outcome.error and {call.outcome for call in calls} == {"answered"}
    text = "\n".join(str(output) for cell in outcome.notebook.cells for output in cell.get("outputs", []))
    assert "Mode live" in text and "account ending in 1098" in text and "987654321098" not in text
    assert "Go on with the first lesson." in text
    names = {call.operation for call in calls}
    assert names >= {"GetCallerIdentity", "ListInferenceProfiles", "GetKnowledgeBase"}


def test_the_boards_are_asked_four_at_a_time_and_each_once():
    _, calls, _ = live(FOLDER / "01_pcb_defect_inspection.ipynb")
    asked = [call for call in calls if call.operation == "Converse"]
    assert len(asked) == 62
    batch = sorted(asked, key=lambda call: call.started)[3:31]
    most = max(sum(o.started <= call.started < o.ended for o in batch) for call in batch)
    assert 2 <= most <= 4


def test_the_instructor_guide_shows_what_the_lessons_use():
    uses = []
    for path in LESSONS[1:]:
        found, lines = Recording(RECORDINGS / f"{path.stem}.json"), []
        for call in live(path)[1]:
            name = f"{call.service}.{call.operation}"
            entry = found.find(name, request_of(call.params)) or {"body": {}}
            lines.append(costs.line_of(name, call.params, entry["body"]))
        uses.append(costs.use_of(path.stem, lines))
    guide = (ROOT / "INSTRUCTOR.md").read_text(encoding="utf-8")
    for table in (costs.cost_table(uses), costs.arithmetic(uses), costs.quota_table(uses)):
        assert table in guide, "put the tables of `make costs` into INSTRUCTOR.md"


def test_the_rules_of_the_service_that_lessons_meet(report):
    met = {path.stem[:2]: live(path)[2] for path in LESSONS}
    rows = [[str(rule.number), *("x" if rule.number in each else "." for each in met.values())] for rule in RULES]
    lines = ["  ".join(each.rjust(2) for each in row) for row in [["rule", *met], *rows]]
    report("rules of the service and the lessons that meet them (03 and 99 have an account of their own):")
    report("\n".join(lines))
    nowhere = {rule.number for rule in RULES} - set().union(*met.values())
    report(f"met by none of these, only by requests that tests send: {', '.join(map(str, sorted(nowhere)))}")
    assert all(3 in met[lesson] for lesson in ("01", "02", "04")) and 6 in met["04"] and 18 in met["00"]


@pytest.mark.parametrize("off", [(), (6,)], ids=["all rules", "without rule 6"])
def test_pages_are_those_of_replay_only_under_the_rule(off, change, monkeypatch):
    pages = {}
    with Service(source_for("04_financial_rag"), rules=RuleBook(off)) as service:
        for name, value in {**KEYS, "AWS_ENDPOINT_URL": service.url}.items():
            monkeypatch.setenv(name, value)
        for mode in ("replay", "live"):
            change(mode=mode)
            workshop.start("04_financial_rag")
            agent = clients.client("bedrock-agent-runtime")
            found = retrieval.retrieve(agent, retrieval.knowledge_base_id(), "What was the revenue of AWS?")
            pages[mode] = [passage.page for passage in found]
    assert (pages["replay"] == pages["live"]) == (not off) and pages["live"]
