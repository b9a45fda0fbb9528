"""Lesson 02 judges the answer it is given: another answer, another verdict, and the lesson goes on."""

import json
from types import SimpleNamespace

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from helpers import sandbox
from helpers.language import WorkshopError
from helpers.settings import ROOT
from helpers.workshop import show
from tests.test_layer_checks import CELLS, answers, program_in

ANSWER = answers()[1, 16_000]


def cell(mark):
    (found,) = (source for source in CELLS if mark in source)
    return found


def after(*sources, **names):
    """What the model is asked when cells run, and what they leave."""
    asked = []
    scope = {"sandbox": sandbox, "ROOT": ROOT, "show": show, "display": print, "START": [], "ROOM": 16_000}
    scope |= {"program_in": program_in, "answer": ANSWER, "says": lambda role, text: text, **names}
    scope["ask"] = lambda conversation, *_, **__: asked.append(conversation[-1]) or answers()[3, 16_000]
    scope["PROMPTS"] = json.loads((ROOT / "data/tutor/prompts.json").read_text(encoding="utf-8"))
    for source in sources:
        exec(source, scope)
    return asked, scope


def test_the_model_is_asked_to_repair_what_failed_and_nothing_else(capsys):
    define = cell("def failed").partition("run_layers")[0] + 'LAYERS = checks("check_layers")'
    swap = cell("broken = answer")
    repair = cell('PROMPTS["repair"]')
    asked, _ = after(define, swap, repair)
    assert len(asked) == 1 and "layer 0, Conv2D and layer 3, Conv2D differ" in asked[0]
    dies = swap.replace('"self.W[f, c, j, i]"', '"self.W[f, c, j, i, 0]"')
    assert after(define, dies, repair)[0] == [] and "ended: IndexError" in capsys.readouterr().out
    with pytest.raises(WorkshopError, match="left no 'checks'"):
        sandbox.Run("ok").arrays["checks"]


def test_the_cloud_session_is_stopped_when_a_call_fails(capsys):
    after(cell("agentcore"), program="")
    assert capsys.readouterr().out.endswith("Not run.\n")
    wanted = cell("agentcore").replace("IN_CLOUD = False", "IN_CLOUD = True")
    where = {"codeInterpreterIdentifier": "aws.codeinterpreter.v1", "sessionId": "s" * 10}
    cloud = boto3.client("bedrock-agentcore", "us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(cloud) as stub:
        stub.add_response("start_code_interpreter_session", {**where, "createdAt": 0})
        stub.add_client_error("invoke_code_interpreter", "ThrottlingException")
        stub.add_response("stop_code_interpreter_session", {**where, "lastUpdatedAt": 0}, where)
        with pytest.raises(ClientError):
            after(wanted, program="", clients=SimpleNamespace(client=lambda _: cloud))
        stub.assert_no_pending_responses()


FENCES = {
    "Text\n```python\nx = 1\n```\nmore": "x = 1\n",
    '`````Python title="cnn.py" {1-3}\r\nx = 1\r\n`````': "x = 1\n",
    "1. Step\n\n   ~~~py\n   x = 1\n   ~~~\n2. Next": "x = 1\n",
    "```\na -> b\n```\n```python\nx = 1\n```\n```bash\nls\n```\n```python\ny = 2\n```": "x = 1\n\ny = 2\n",
    "```\nx = 1\n```": "x = 1\n",
    "<details>\n```py3\nx = 1\n```\n</details>\n\n     ```{python .cell}\ny = 2\n     ```": "x = 1\n\ny = 2\n",
}


def test_the_program_of_an_answer():
    assert {markdown: program_in(markdown) for markdown in FENCES} == FENCES
    for markdown in ("I would rather explain.", "```bash\nls\n```"):
        with pytest.raises(WorkshopError, match="has no Python code block"):
            program_in(markdown)
    answer = "Here:\n\n```python\ndef f():\n\n    return '~~~'\n```\n\nDone."
    for end in range(answer.index("python") + 6, answer.index("\n```\n") + 4):
        with pytest.raises(WorkshopError, match="stops inside a code block"):
            program_in(answer[:end])
    assert program_in(answer) == "def f():\n\n    return '~~~'\n"
