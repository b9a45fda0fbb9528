"""Every lesson in live mode, against a service on this machine that gives the recorded answers.

It prints what replay prints; under every fault its calls end in a clear message or a finished result, never in a hang.
"""

import re
from collections import Counter
from contextlib import contextmanager

import nbformat
from nbclient import NotebookClient

from helpers.replay.index import open_index
from helpers.replay.recording import Recording, request_of
from helpers.settings import ROOT, settings
from tests.loopback import On, Script, Service, faults
from tests.loopback.recorded import RECORDINGS, Recorded
from tests.remembered import PREAMBLE
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
EVERY_KIND = FOLDER / "04_financial_rag.ipynb"  # it makes each kind of call that lessons make
PLT = "import matplotlib.pyplot as plt"
# All that may differ between replay and live, as (in replay, live).
DIFFERENCES = [
    (r"Mode replay: .*", "Mode live: calls go to your AWS account and cost money."),
    (r"; token counts are estimates", ""),
    (r"a Claude model outside Bedrock, one try each", "claude-sonnet-5-5"),
]
# Cells that take long and ask no model; other cells need what two of them import, so FAST imports it too.
ASK_NOBODY = (
    "pairs = {n:",
    "def even(",
    f"{PLT}\n\nwhole",
    "def touches(",
    f"{PLT}\n\nTRIED",
    "SPEED =",
    "run_training",
)
OTHER_PICTURE = "What a right answer costs: {MODEL.whose}"  # a cell of 05


# What stands for the calls of a lesson: its cells that contain one of these, and before them all that they need.
CALLS = {
    "01": ["models.resolve()", "runtime.converse(messages=[message]", "first = runtime.converse(", "batch.run("],
    "02": ["models.resolve()", "cut = ask(START", "answer = ask(START"],
    "04": [
        "models.resolve()",
        "passages = retrieval.retrieve(",
        "invoke_model(",
        "converse_stream(",
        ".invoke(",
        "batch.run(",
    ],
    "05": ["text, cost = converse(", "base = ask_all(", "ask_all(reranked", "CAREFUL = "],
}
# What a lesson makes of an odd answer is its own code, so that each cell of every lesson meets these.
ODD_ANSWERS = {
    "thinking first": [On(faults.thinking())],
    "max tokens, some text": [On(faults.max_tokens(10))],
    "max tokens, no text": [On(faults.max_tokens(0))],
}
# What becomes of these is the same code for every call (explain, clients): the cells of one lesson, with a call of each
# kind, meet them in turn, or those that stream or ask many questions.
FAULTS = {
    **{f"refused: {name}": [On(faults.refused(name))] for name in faults.ERRORS if name != "no knowledge base"},
    "refused: no knowledge base": [On(faults.refused("no knowledge base"), operation="bedrock-agent*.*")],
    "throttled twice, then not": [On(faults.refused("too many requests"), calls={1, 2})],
    "slow": [On(faults.slow(before=0.1, between=0.001))],
    "no answer in time": [On(faults.slow(before=9), operation="bedrock-runtime.*", calls={1})],
    "dropped before the answer": [On(faults.dropped())],
    "garbled": [On(faults.garbled())],
    "empty": [On(faults.garbled(""))],
    "batch: a fifth throttled": [On(faults.refused("too many tokens"), probability=0.2)],
    "batch: expired half-way": [On(faults.refused("expired"), calls=faults.after(3))],
    "stream: dropped": [On(faults.stream_ends(2))],
    **{f"stream: {name}": [On(faults.stream_ends(2, name))] for name in faults.STREAM_ERRORS},
}
# Back-offs are not slept, and a read waits for 8 seconds: what is tested is what comes of it.
FAST = f"""{PLT}
import types, botocore.endpoint
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
    """The code cells without those that take long."""
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


def tried(run, calls, by_name, switch):
    """What the cells `calls` come to under each fault: {fault: [outcome of each cell that met it]}.

    `switch(*fault)` sets a fault, `switch()` none.
    """
    found = {}
    for name, fault in by_name.items():
        switch(*fault)
        found[name] = []
        for cell in meeting(name, calls):
            run(FORGET)
            found[name].append(run(cell))
    switch()
    return {**found, "none, afterwards": [run(cell) for cell in calls]}


def meeting(name, calls):
    """The cells among `calls` that meet a fault."""
    kind = name.partition(":")[0]
    if kind in ("batch", "stream"):
        return [cell for cell in calls if kind in cell.source]
    return [calls[list(FAULTS).index(name) % len(calls)]] if name in FAULTS else calls


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


def same_as_stored(path, cells):
    """Compare the live `cells` of a lesson with those that are stored."""
    for stored, cell in zip(compared(path), cells, strict=True):
        assert [as_live(text) for text in comparable(stored)] == comparable(cell), cell.source
    assert "Mode live" in str(cells[0].outputs)


def used(path, calls):
    """What the calls of a lesson cost, by their recorded answers."""
    uses, recorded = Counter(), Recording(RECORDINGS / f"{path.stem}.json")
    for call in calls:
        name = f"{call.service}.{call.operation}"
        entry = recorded.find(name, request_of(call.params)) or {"body": {}}
        uses.update(costs.use_of(name, call.params, entry["body"]))
    return uses


def met_faults(run, path, service):
    """What the calls of a lesson come to under faults, in a kernel that has run it."""

    def switch(*rules):
        service.faults = faults.Faults(rules)

    cells, calls = needed(path)
    assert {run(cell) for cell in cells} == {"done"}
    return tried(run, calls, {**ODD_ANSWERS, **FAULTS} if path == EVERY_KIND else ODD_ANSWERS, switch)


def test_live_outputs_are_those_of_replay_and_every_fault_ends_in_a_message_or_a_result():
    """In one kernel, which imports everything once; nbval gives each lesson a new one."""
    open_index(settings().letters_dir).retrieve({"retrievalQuery": {"text": "?"}})  # now, and not while a read waits
    uses = {}
    with kernel({**environment("live"), **KEYS}) as run:
        assert [run(PREAMBLE), run(FAST)] == ["done", "done"]
        for path in LESSONS:
            with Service(Recorded(path.stem, otherwise=Script(ACCOUNT_ANSWERS))) as service:
                cells = compared(path)
                assert {run(cell) for cell in (f"%env AWS_ENDPOINT_URL={service.url}", *cells)} == {"done"}
                calls = service.calls
                assert {call.outcome for call in calls} == {"answered"}
                if path.stem.startswith("00"):  # it says something else in live mode
                    text = "\n".join(str(cell.outputs) for cell in cells)
                    assert "Mode live" in text and "Go on with the first lesson." in text
                    assert "account ending in 1098" in text and "987654321098" not in text
                    continue
                same_as_stored(path, cells)
                uses[path.stem] = used(path, calls)
                found = met_faults(run, path, service)
                assert {each for results in found.values() for each in results} <= {"done", "message"}
                assert set(found["none, afterwards"]) == {"done"}
                assert path != EVERY_KIND or sum("message" in results for results in found.values()) > 9
    guide = (ROOT / "INSTRUCTOR.md").read_text(encoding="utf-8")
    for table in (costs.cost_table(uses), costs.arithmetic(uses), costs.quota_table(uses)):
        assert table in guide, "put the tables of `make costs` into INSTRUCTOR.md"
