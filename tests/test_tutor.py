"""Lesson 02 judges the answer it is given: another answer, another verdict, and the lesson goes on."""

import json
from contextlib import nullcontext
from types import SimpleNamespace

import boto3
import nbformat
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from helpers import sandbox
from helpers.language import WorkshopError
from helpers.settings import ROOT, settings
from helpers.workshop import show
from tests.test_layer_checks import answers
from tools.answers import text_of
from tools.notebooks import FOLDER, environment, execute

LESSON = FOLDER / "02_coding_tutor.ipynb"
RIGHT, WRONG = 'mode="constant")', 'mode="edge")'
ANSWER = answers()[1, 16_000]


def cell(mark):
    cells = [each.source for each in nbformat.read(LESSON, 4).cells if each.cell_type == "code" and mark in each.source]
    assert len(cells) == 1
    return cells[0]


def after(*sources, **names):
    """What a cell leaves when it runs after the one that defines the checks, and what it asks the model."""
    asked = []
    scope = {
        "sandbox": sandbox,
        "ROOT": ROOT,
        "show": show,
        "display": print,
        "answer": ANSWER,
        "START": [],
        "ROOM": 16_000,
    }
    scope |= {"program": sandbox.program(ANSWER), "says": lambda role, text: text, "settings": settings, **names}
    scope["ask"] = lambda conversation, *_, **__: asked.append(conversation[-1]) or answers()[3, 16_000]
    scope["PROMPTS"] = json.loads((ROOT / "data/tutor/prompts.json").read_text(encoding="utf-8"))
    exec(cell("def failed").partition("run_layers")[0], scope)
    for source in sources:
        exec(source, scope)
    return asked


def verdicts(notebook):
    data = [output.get("data", {}) for each in notebook.cells for output in each.get("outputs", [])]
    (table,) = (each["text/markdown"] for each in data if "| verdict |" in each.get("text/markdown", ""))
    rows = [row.split("|") for row in table.partition("\n\n")[0].splitlines()[2:]]
    return {row[1].strip(): row[5].strip() for row in rows}


def test_control_a_wrong_padding_in_the_answer_is_caught_and_the_lesson_goes_on(tmp_path):
    stored = json.loads((ROOT / "data/recordings/02_coding_tutor.json").read_text(encoding="utf-8"))
    turns = [entry for entry in stored["entries"] if entry["call"] == "bedrock-runtime.ConverseStream"]
    assert ANSWER.count(RIGHT) == 1
    for entry in turns:
        if text_of(entry) == ANSWER:
            deltas = [event["data"]["delta"] for event in entry["body"]["events"] if "delta" in event["data"]]
            for delta, text in zip(deltas, [ANSWER.replace(RIGHT, WRONG)] + [""] * len(deltas), strict=False):
                delta["text"] = text
        for message in entry["request"]["messages"]:  # turns that follow carry the answer, and quotes from it
            for block in message["content"]:
                if block["text"] == ANSWER or message["role"] == "user":
                    block["text"] = block["text"].replace(RIGHT, WRONG)
    (tmp_path / "02_coding_tutor.json").write_text(json.dumps(stored), encoding="utf-8")
    before = verdicts(nbformat.read(LESSON, as_version=4))
    assert set(before.values()) == {"pass"}
    part = nbformat.read(LESSON, as_version=4)  # to the repair: what follows takes half a minute and checks no layer
    last = next(number for number, each in enumerate(part.cells) if 'PROMPTS["repair"]' in each.source)
    part.cells = part.cells[: last + 1]
    nbformat.write(part, tmp_path / LESSON.name)
    swapped = execute(tmp_path / LESSON.name, {**environment(), "WORKSHOP_RECORDINGS_DIR": str(tmp_path)})
    after = verdicts(swapped.notebook)
    assert before.keys() == after.keys() and not swapped.error
    failed = {name for name, verdict in after.items() if verdict != "pass"}
    assert failed == {name for name in before if "Conv2D" in name} != set()


def test_the_model_is_asked_to_repair_what_failed_and_nothing_else(capsys):
    swap, repair = cell("broken = answer.replace"), cell('PROMPTS["repair"]')
    asked = after(swap, repair)
    assert len(asked) == 1 and "layer 0, Conv2D and layer 3, Conv2D differ" in asked[0]
    dies = swap.replace('"self.W[f, c, j, i]"', '"self.W[f, c, j, i, 0]"')
    for source, told in ((swap.replace("j, i", "i, j"), "nothing failed"), (dies, "ended: IndexError")):
        capsys.readouterr()
        asked = after(source, repair)
        assert asked == [] and told in capsys.readouterr().out


@pytest.mark.parametrize("fails", [False, True])
def test_the_cloud_session_is_stopped_whatever_happens(fails, capsys):
    after(cell("agentcore"))
    assert capsys.readouterr().out.endswith("Not run.\n")
    wanted = cell("agentcore").replace("IN_CLOUD = False", "IN_CLOUD = True")
    where = {"codeInterpreterIdentifier": "aws.codeinterpreter.v1", "sessionId": "s" * 10}
    cloud = boto3.client("bedrock-agentcore", "us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(cloud) as stub:
        stub.add_response("start_code_interpreter_session", {**where, "createdAt": 0})
        if fails:
            stub.add_client_error("invoke_code_interpreter", "ThrottlingException")
        else:
            stub.add_response("invoke_code_interpreter", {"stream": {}})
        stub.add_response("stop_code_interpreter_session", {**where, "lastUpdatedAt": 0}, where)
        with pytest.raises(ClientError) if fails else nullcontext():
            after(wanted, clients=SimpleNamespace(client=lambda _: cloud))
        stub.assert_no_pending_responses()


FENCES = {
    "Text\n```python\nx = 1\n```\nmore": "x = 1\n",
    "~~~python\nx = 1\n~~~\n": "x = 1\n",
    '`````Python title="cnn.py" {1-3}\nx = 1\n`````': "x = 1\n",
    "```{.python .numberLines}\r\nx = 1\r\n```\r\n": "x = 1\n",
    "1. Step\n\n   ```py\n   x = 1\n   ```\n2. Next": "x = 1\n",
    "<details>\n```python3\nx = 1\n```\n</details>": "x = 1\n",
    "```\na -> b\n```\n```python\nx = 1\n```\n```bash\nls\n```\n```python\ny = 2\n```": "x = 1\n\ny = 2\n",
    "```\nx = 1\n```": "x = 1\n",
}


def test_the_program_of_an_answer():
    assert {markdown: sandbox.program(markdown) for markdown in FENCES} == FENCES
    for markdown in ("I would rather explain.", "```bash\nls\n```"):
        with pytest.raises(WorkshopError, match="has no Python code block"):
            sandbox.program(markdown)
    answer = "Here:\n\n```python\ndef f():\n\n    return '~~~'\n```\n\nDone."
    for end in range(answer.index("python") + 6, answer.index("\n```\n") + 4):
        with pytest.raises(WorkshopError, match="stops inside a code block"):
            sandbox.program(answer[:end])
    assert sandbox.program(answer) == "def f():\n\n    return '~~~'\n"
