"""Every lesson in live mode, against a service on this machine that gives the recorded answers.

It prints what replay prints; under every fault its calls end in a clear message or a finished result, never in a hang.
"""

import re
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import nbformat
import pytest
from nbclient import NotebookClient

from helpers.replay.index import open_index
from helpers.replay.recording import Recording, request_of
from helpers.settings import ROOT, settings
from tests.loopback import On, Script, Service, faults
from tests.loopback.recorded import RECORDINGS, Recorded
from tests.loopback.rules import RULES
from tests.remembered import PREAMBLE, remembering
from tests.test_checks import ANSWERS as ACCOUNT_ANSWERS
from tools import costs
from tools.notebooks import FOLDER, environment

KEYS = {
    "AWS_ACCESS_KEY_ID": "x",
    "AWS_SECRET_ACCESS_KEY": "x",
    "AWS_REGION": "us-east-1",
    "WORKSHOP_KNOWLEDGE_BASE_ID": "WORKSHOPKB",  # the id in the recorded requests
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
OTHER_PICTURE = "What a right answer costs: {MODEL.whose}"  # a cell of 05


def account_at(service):
    """The environment of a learner whose account is `service`."""
    return {**environment("live"), **KEYS, "AWS_ENDPOINT_URL": service.url}


def source_for(*names):
    """The recorded answers of the lessons, and an account in good order."""
    return Recorded(*names, otherwise=Script(ACCOUNT_ANSWERS))


# What stands for the calls of a lesson: its cells that contain one of these, and before them all that they need.
CALLS = {
    "00": ["checks.live()"],
    "01": ["models.resolve()", "runtime.converse(messages=[message]", "first = runtime.converse(", "batch.run("],
    "02": ["models.resolve()", "cut = ask(START", "answer = ask(START"],
    "04": [
        "models.resolve()",
        "passages = retrieval.retrieve(agent, KB, QUESTION",
        "runtime.invoke_model(",
        "runtime.converse_stream(",
        "retriever.invoke(",
        "chain.invoke(",
        "batch.run(",
    ],
    "05": ["text, cost = converse(", "base = ask_all(", "ask_all(reranked", "CAREFUL = "],
}
# What becomes of these is the same code for every call (explain, clients), so the cells of a lesson meet them in turn.
IN_TURN = {
    **{f"refused: {name}": [On(faults.refused(name))] for name in faults.ERRORS if name != "no knowledge base"},
    "refused: no knowledge base": [On(faults.refused("no knowledge base"), operation="bedrock-agent*.*")],
    "throttled twice, then not": [On(faults.refused("too many requests"), calls={1, 2})],
    "a fifth throttled": [On(faults.refused("too many tokens"), probability=0.2)],
    "slow": [On(faults.slow(before=0.1, between=0.001))],
    "no answer in time": [On(faults.slow(before=9), operation="bedrock-runtime.*", calls={1})],
}
FAULTS = {
    **IN_TURN,
    "expired half-way": [On(faults.refused("expired"), calls=faults.after(3))],
    "dropped before the answer": [On(faults.dropped())],
    "stream dropped": [On(faults.stream_ends(2))],
    **{f"in the stream: {name}": [On(faults.stream_ends(2, name))] for name in faults.STREAM_ERRORS},
    "thinking first": [On(faults.thinking())],
    "max tokens, some text": [On(faults.max_tokens(10))],
    "max tokens, no text": [On(faults.max_tokens(0))],
    "garbled": [On(faults.garbled())],
    "empty": [On(faults.garbled(""))],
}
# Back-offs are not slept, and a read waits for 8 seconds: what is tested is what comes of it.
FAST = """import types, botocore.endpoint
from helpers import clients, replay
botocore.endpoint.time = types.SimpleNamespace(sleep=lambda seconds: None)
replay.time = types.SimpleNamespace(sleep=lambda seconds: None)
patient = clients._config
clients._config = lambda: patient().merge(clients.Config(read_timeout=8))
"""
FORGET = "for each in ('results', 'answers'):\n    globals().get(each, {}).clear()"
FEW = 'questions.json").read_text(encoding="utf-8"))[::20]'
LONGEST = 40  # seconds for one cell under one fault, after which it hangs; the slowest takes a few
MESSAGES = ("CallFailed", "WorkshopError", "SandboxError", "RecordingMissing", "ImageError")


def code(path):
    """The code cells of a notebook."""
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


def compared(path):
    """The code cells without those that take long and ask nobody."""
    return [cell for cell in code(path) if not cell.source.startswith(ASK_NOBODY)]


def needed(path):
    """The cells up to the last one with a call, and which of them hold the calls; three boards or questions suffice."""
    cells, parts = code(path), CALLS[path.stem[:2]]
    calls = [cell for cell in cells if any(part in cell.source for part in parts)]
    assert all(any(part in cell.source for cell in calls) for part in parts), "a cell has changed"
    for cell in cells:
        cell.source = cell.source.replace('/board"))', '/board"))[:3]')
        cell.source = cell.source.replace('questions.json").read_text(encoding="utf-8"))', FEW)
    return cells[: cells.index(calls[-1]) + 1], calls


def outcome(cell):
    """What one executed cell came to: "done", "message", or what is wrong."""
    errors = [output for output in cell.outputs if output.output_type == "error"]
    if not errors:
        return "done"
    text = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(errors[0].traceback))
    if errors[0].ename in MESSAGES and len(text.splitlines()) <= 6 and len(text) < 700:
        return "message"
    return f"{errors[0].ename}: {errors[0].evalue[:80]}"


@contextmanager
def kernel(env):
    """A function that runs a cell, or the text of one, in a kernel with this environment, and tells its `outcome`."""
    book = nbformat.v4.new_notebook()
    client = NotebookClient(
        book,
        kernel_name="python3",
        timeout=LONGEST,
        iopub_timeout=60,  # on a busy machine the default, 4 s, loses the end of an output
        allow_errors=True,
        coalesce_streams=True,
        resources={"metadata": {"path": str(FOLDER)}},
    )

    def run(cell):
        cell = nbformat.v4.new_code_cell(cell) if isinstance(cell, str) else cell
        book.cells.append(cell)
        client.execute_cell(cell, len(book.cells) - 1)
        return outcome(cell)

    with client.setup_kernel(env=env):
        yield run


def tried(run, calls, by_name, switch, where=lambda name, calls: calls):
    """What the cells `calls` come to under each fault: {fault: [outcome of each cell that met it]}.

    `switch(*fault)` sets a fault, `switch()` none.
    """
    found = {}
    for name, fault in by_name.items():
        switch(*fault)
        found[name] = []
        for cell in where(name, calls):
            run(FORGET)
            found[name].append(run(cell))
    switch()
    return {**found, "none, afterwards": [run(cell) for cell in calls]}


def in_turn(name, calls):
    """The cells among `calls` that meet a fault: one in turn, those that stream, or all."""
    if name in IN_TURN:
        number = list(IN_TURN).index(name) % len(calls)
        return calls[number : number + 1]
    streamed = name.startswith(("stream", "in the stream"))
    return [cell for cell in calls if "stream" in cell.source] if streamed else calls


def as_table(name, found):
    """What was found, to be printed."""
    counts = [f"  {fault:<42} {dict(Counter(results))}" for fault, results in found.items() if results]
    return "\n".join([f"{name}: faults and what the cells with calls came to", *counts])


class Lived(NamedTuple):
    """A lesson that was run live."""

    cells: list
    calls: list  # that the service saw
    met: set  # rules of the service
    found: dict  # the outcomes under each fault, afterwards


@cache
@remembering
def live(path):
    """The lesson at `path`, run live, and in the same kernel once more under each fault."""
    open_index(settings().letters_dir).retrieve({"retrievalQuery": {"text": "?"}})  # now, and not while a read waits
    with Service(source_for(path.stem)) as service, kernel(account_at(service)) as run:
        cells, (few, asking) = compared(path), needed(path)
        assert {run(cell) for cell in (PREAMBLE, *cells)} == {"done"}
        calls, met = [replace(call, wait=None) for call in service.calls], {*service.rules.met}
        assert {run(cell) for cell in (FAST, *few)} == {"done"}

        def switch(*rules):
            service.faults = faults.Faults(rules)

        found = tried(run, asking, FAULTS, switch, in_turn)
    return Lived(cells, calls, met, found)


def comparable(cell):
    """The outputs of a cell, without what nbval does not compare either."""
    if "nbval-ignore-output" in cell.metadata.get("tags", []):
        return []
    lines = []
    for output in cell.outputs:
        if output.output_type == "error":
            lines.append(output.ename)
        data = output.get("data", {"text": output.get("text", "")})
        if OTHER_PICTURE in cell.source:
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
    lived = live(path)
    assert {call.outcome for call in lived.calls} == {"answered"}
    different = set()
    for stored, cell in zip(compared(path), lived.cells, strict=True):
        replayed = comparable(stored)
        assert [as_live(text) for text in replayed] == comparable(cell), cell.source
        different |= {pattern for pattern, _ in DIFFERENCES if re.search(pattern, "\n".join(replayed))}
    receipts = path.stem[:2] != "05"  # which adds its costs up instead
    assert DIFFERENCES[0][0] in different and (DIFFERENCES[1][0] in different) == receipts


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_every_fault_ends_in_a_message_or_a_result(path, report):
    found = live(path).found
    report(as_table(path.stem, found))
    assert {each for results in found.values() for each in results} <= {"done", "message"}
    assert set(found["none, afterwards"]) == {"done"}
    assert any("message" in results for results in found.values()) or path.stem.startswith("00")


SOLUTIONS = sorted((FOLDER / "solutions").glob("*.ipynb"))


def test_the_solutions_run_live_and_say_done():
    source = source_for(*(path.stem for path in SOLUTIONS))
    cells = [cell for path in SOLUTIONS for cell in ("%reset -f", *code(path))]  # one kernel, each as in a new one
    with Service(source) as service, kernel(account_at(service)) as run:
        assert {run(cell) for cell in (PREAMBLE, *cells)} == {"done"}
    outputs = [output for cell in cells if cell != "%reset -f" for output in cell.outputs]
    lines = "".join(output.text for output in outputs if output.get("name") == "stdout").splitlines()
    exercises = str(cells).count("# Exercise")
    assert sum(line.startswith("Mode live") for line in lines) == len(SOLUTIONS) >= 6
    assert lines.count("done") >= exercises >= len(SOLUTIONS) and "not yet" not in lines


def test_the_set_up_check_asks_the_account_and_says_go_on():
    cells, calls, *_ = live(LESSONS[0])
    assert {call.outcome for call in calls} == {"answered"}
    text = "\n".join(str(output) for cell in cells for output in cell.outputs)
    assert "Mode live" in text and "account ending in 1098" in text and "987654321098" not in text
    assert "Go on with the first lesson." in text
    names = {call.operation for call in calls}
    assert names >= {"GetCallerIdentity", "ListInferenceProfiles", "GetKnowledgeBase"}


def test_the_instructor_guide_shows_what_the_lessons_use():
    uses = {path.stem: Counter() for path in LESSONS[1:]}
    for path in LESSONS[1:]:
        found = Recording(RECORDINGS / f"{path.stem}.json")
        for call in live(path).calls:
            name = f"{call.service}.{call.operation}"
            entry = found.find(name, request_of(call.params)) or {"body": {}}
            uses[path.stem].update(costs.use_of(name, call.params, entry["body"]))
    guide = (ROOT / "INSTRUCTOR.md").read_text(encoding="utf-8")
    for table in (costs.cost_table(uses), costs.arithmetic(uses), costs.quota_table(uses)):
        assert table in guide, "put the tables of `make costs` into INSTRUCTOR.md"


def test_the_rules_of_the_service_that_lessons_meet(report):
    met = {path.stem[:2]: live(path).met for path in LESSONS}
    report(f"rules of the service that lessons meet (03 and 99 have an account of their own): {met}")
    nowhere = {rule.number for rule in RULES} - set().union(*met.values())
    report(f"met by none of these, only by requests that tests send: {nowhere}")
    assert all(3 in met[lesson] for lesson in ("01", "02", "04")) and 6 in met["04"] and 18 in met["00"]
