"""Every fault in every lesson: a clear message or a finished result, and never a hang. Prints the table."""

import re
import shutil
import time

import nbformat
import pytest
from nbclient import NotebookClient

from helpers.replay.index import open_index
from helpers.settings import settings
from tests.loopback import On, Service
from tests.loopback.faults import (
    ERRORS,
    STREAM_ERRORS,
    after,
    dropped,
    garbled,
    max_tokens,
    refused,
    slow,
    stream_ends,
    thinking,
)
from tests.test_live_notebooks import LESSONS, RECORDINGS, account_at, source_for
from tools.notebooks import FOLDER

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
    **{f"refused: {name}": [On(refused(name))] for name in ERRORS if name != "no knowledge base"},
    "refused: no knowledge base": [On(refused("no knowledge base"), operation="bedrock-agent*.*")],
    "throttled twice, then not": [On(refused("too many requests"), calls={1, 2})],
    "a fifth throttled": [On(refused("too many tokens"), probability=0.2)],
    "slow": [On(slow(before=0.1, between=0.001))],
    "no answer in time": [On(slow(before=5), operation="bedrock-runtime.*", calls={1})],
    "expired half-way": [On(refused("expired"), calls=after(3))],
}
FAULTS = {
    **IN_TURN,
    "dropped before the answer": [On(dropped())],
    "stream dropped": [On(stream_ends(2))],
    **{f"in the stream: {name}": [On(stream_ends(2, name))] for name in STREAM_ERRORS},
    "thinking first": [On(thinking())],
    "max tokens, some text": [On(max_tokens(10))],
    "max tokens, no text": [On(max_tokens(0))],
    "garbled": [On(garbled())],
    "empty": [On(garbled(""))],
}
# Back-offs are not slept, and a read waits for 2 seconds: what is tested is what comes of it.
FAST = """
import types, botocore.endpoint
from helpers import clients, replay
botocore.endpoint.time = types.SimpleNamespace(sleep=lambda seconds: None)
replay.time = types.SimpleNamespace(sleep=lambda seconds: None)
patient = clients._config
clients._config = lambda: patient().merge(clients.Config(read_timeout=4))
"""
FORGET = "for each in ('results', 'answers'):\n    globals().get(each, {}).clear()"
FEW = 'questions.json").read_text(encoding="utf-8"))[::20]'
LONGEST = 40  # seconds for one cell under one fault; the slowest takes a few
MESSAGES = ("CallFailed", "WorkshopError", "SandboxError", "RecordingMissing", "ImageError")


class Switch:
    """The faults of a running service, changed between two runs of a cell."""

    def __init__(self, service):
        """No fault."""
        self.service = service

    def __call__(self, *rules):
        """From now on these, counted from the first call."""
        self.service._faults = type(self.service._faults)(rules, 0)


def needed(cells, name):
    """The cells up to the last one with a call, and which of them hold the calls."""
    code = [cell for cell in cells if cell.cell_type == "code"]
    calls = [cell for cell in code if any(part in cell.source for part in CALLS[name[:2]])]
    assert all(any(part in cell.source for cell in calls) for part in CALLS[name[:2]]), "a cell has changed"
    return code[: code.index(calls[-1]) + 1], calls


def where(name, calls):
    """The cells among `calls` that meet a fault: one in turn, those that stream, or all."""
    if name in IN_TURN:
        number = list(IN_TURN).index(name) % len(calls)
        return calls[number : number + 1]
    streamed = name.startswith(("stream", "in the stream"))
    return [cell for cell in calls if "stream" in cell.source] if streamed else calls


def outcome(cell, seconds):
    """What one executed cell came to: "done", "message", or what is wrong."""
    errors = [output for output in cell.outputs if output.output_type == "error"]
    if seconds > LONGEST:
        return f"hung for {seconds:.0f} s"
    if not errors:
        return "done"
    text = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(errors[0].traceback))
    if errors[0].ename in MESSAGES and len(text.splitlines()) <= 6 and len(text) < 700:
        return "message"
    return f"{errors[0].ename}: {errors[0].evalue[:80]}"


def under_each(path, env, faults, switch, before=FAST, look=lambda cells: None):
    """The cells with calls of one lesson under each fault, in one kernel: {fault: [outcome of each cell that met it]}.

    `switch(*fault)` sets a fault, `switch()` none; `before` runs first; `look` sees the cells before the first fault.
    """
    cells, calls = needed(nbformat.read(path, 4).cells, path.stem)
    for cell in cells:  # three boards, or questions, meet the faults as well as all do
        cell.source = cell.source.replace('/board"))', '/board"))[:3]')
        cell.source = cell.source.replace('questions.json").read_text(encoding="utf-8"))', FEW)
    setup = nbformat.v4.new_code_cell(before)
    book = nbformat.v4.new_notebook(cells=[setup, *cells])
    client = NotebookClient(
        book, kernel_name="python3", timeout=120, allow_errors=True, resources={"metadata": {"path": str(FOLDER)}}
    )
    client.iopub_timeout = 60  # on a busy machine the default, 4 s, loses the end of an output
    found = {}

    def run(number):
        start = time.monotonic()
        client.execute_cell(book.cells[number], number)
        return outcome(book.cells[number], time.monotonic() - start)

    with client.setup_kernel(env=env):
        plain = [run(number) for number in range(len(book.cells))]
        assert set(plain) == {"done"}, [cell.outputs for cell in book.cells if "error" in str(cell.outputs)][:1]
        look(book.cells)
        book.cells.append(nbformat.v4.new_code_cell(FORGET))
        for name, fault in faults.items():
            switch(*fault)
            found[name] = []
            for cell in where(name, calls):
                run(len(book.cells) - 1)
                found[name].append(run(book.cells.index(cell)))
        switch()
        found["none, afterwards"] = [run(book.cells.index(cell)) for cell in calls]
    return found


def as_table(name, found):
    """What `under_each` found, to be printed."""
    lines = [f"{name}: faults and what the cells with calls came to"]
    for fault, results in found.items():
        counts = [f"{results.count(kind)} {kind}" for kind in ("done", "message") if kind in results]
        odd = [result for result in results if result not in ("done", "message")]
        lines.append(f"  {fault:<42} {', '.join(counts + odd)}")
    return "\n".join(lines)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_every_fault_ends_in_a_message_or_a_result(path, tmp_path, report):
    if (RECORDINGS / f"{path.stem}.json").exists():
        shutil.copy(RECORDINGS / f"{path.stem}.json", tmp_path)
    open_index(settings().letters_dir)  # now, and not within the 4 seconds that a read waits
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with Service(source_for(path.stem)) as service:
        env = account_at(service, WORKSHOP_RECORDINGS_DIR=str(tmp_path))
        found = under_each(path, env, FAULTS, Switch(service))
    report(as_table(path.stem, found))
    odd = {(fault, each) for fault, results in found.items() for each in results if each not in ("done", "message")}
    assert not odd
    assert set(found["none, afterwards"]) == {"done"}
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert any("message" in results for results in found.values()) or path.stem.startswith("00")
