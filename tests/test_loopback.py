"""The loopback service gives botocore and LangChain what Amazon Bedrock would give them."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
import urllib3
from anthropic.types import Message
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, EventStreamError

from tests.loopback import On, Reply, Script, Service
from tests.loopback.faults import ERRORS, STREAM_ERRORS, dropped, max_tokens, refused, slow, stream_ends, thinking

MODEL = "us.anthropic.claude-haiku-4-5"
ASK: dict[str, Any] = {"modelId": MODEL, "messages": [{"role": "user", "content": [{"text": "Hello?"}]}]}
BODY = json.dumps({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": []})
INVOKE: dict[str, Any] = {"modelId": MODEL, "body": BODY}
SAID = Reply("One two three.", input_tokens=7, output_tokens=3)
FORMS = "Converse", "ConverseStream", "InvokeModel", "InvokeModelWithResponseStream"
TALK = Script({f"bedrock-runtime.{form}": SAID for form in FORMS})


NEUTRAL = {"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_EC2_METADATA_DISABLED"}


@pytest.fixture(autouse=True)
def plain_environment_and_nothing_left_running(monkeypatch):
    for name in os.environ:
        if (name.startswith("AWS_") and name not in NEUTRAL) or name.lower() in ("http_proxy", "all_proxy"):
            monkeypatch.delenv(name)
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@lru_cache(maxsize=1)
def session() -> boto3.Session:
    return boto3.Session("testing", "testing", region_name="us-east-1")


def client(service: Any, name: str = "bedrock-runtime", **config: Any) -> Any:
    once = {"total_max_attempts": 1, "mode": "standard"}
    config = {"retries": once, "connect_timeout": 5, "read_timeout": 20, "max_pool_connections": 32, **config}
    return session().client(name, endpoint_url=service.url, config=Config(**config))


def error_of(call: Callable[[], Any]) -> tuple[str, int, str]:
    with pytest.raises(ClientError) as caught:
        call()
    error = caught.value.response
    return error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Message"]


def text_of(events: list[dict[str, Any]]) -> str:
    deltas = [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]
    return "".join(delta.get("text", "") for delta in deltas)


def chunks_of(response: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.loads(event["chunk"]["bytes"]) for event in response["body"]]


# Every response passes botocore's parser


# Refusals


@pytest.mark.parametrize("name", [name for name in ERRORS if name != "not authorized"])
def test_each_error_has_the_code_status_and_text_of_the_live_service(name):
    with Service(TALK, On(refused(name))) as service:
        code, status, message = ERRORS[name]
        message = message.replace("{modelId}", MODEL).replace("{knowledgeBaseId}", "unknown")
        for ask in (lambda: client(service).converse(**ASK), lambda: client(service).converse_stream(**ASK)):
            assert error_of(ask) == (code, status, message)
        assert [call.outcome for call in service.calls] == [code, code]


def test_a_refusal_names_the_action_and_the_resource():
    with Service(TALK, On(refused("not authorized"))) as service:
        agent = client(service, "bedrock-agent")
        code, status, message = error_of(lambda: agent.delete_knowledge_base(knowledgeBaseId="KB12345678"))
        assert (code, status) == ("AccessDeniedException", 403)
        assert "to perform: bedrock:DeleteKnowledgeBase on resource: * because" in message
        arn = "arn:aws:s3vectors:us-east-1:111122223333:bucket/letters"
        delete = client(service, "s3vectors").delete_vector_bucket
        assert f"on resource: {arn} because" in error_of(lambda: delete(vectorBucketArn=arn))[2]


def test_errors_of_sts_come_as_xml_with_its_own_codes():
    with Service(Script({}), On(refused("expired"))) as service:
        code, status, message = error_of(client(service, "sts").get_caller_identity)
        assert (code, status, message) == ("ExpiredToken", 403, ERRORS["expired"][2])


# Connections


def test_a_connection_dropped_before_the_answer():
    with Service(TALK, On(dropped(), calls={1})) as service:
        runtime = client(service)
        with pytest.raises(ConnectionClosedError):
            runtime.converse(**ASK)
        assert runtime.converse(**ASK)["stopReason"] == "end_turn"
        assert [call.outcome for call in service.calls] == ["dropped", "answered"]


def test_a_stream_that_stalls_is_a_read_timeout_of_urllib3():
    with Service(TALK, On(slow(between=60), "ConverseStream")) as service:
        stream = client(service, read_timeout=0.2).converse_stream(**ASK)["stream"]
        with pytest.raises(urllib3.exceptions.ReadTimeoutError):
            list(stream)


@pytest.mark.parametrize("form", ["converse_stream", "invoke_model_with_response_stream"])
def test_a_stream_cut_in_the_middle(form):
    with Service(TALK, On(stream_ends(after=2))) as service:
        response = getattr(client(service), form)(**(ASK if form == "converse_stream" else INVOKE))
        stream = iter(response["stream" if form == "converse_stream" else "body"])
        assert [bool(next(stream)) for _ in range(2)] == [True, True]
        with pytest.raises(urllib3.exceptions.ProtocolError):
            next(stream)
        assert service.calls[0].outcome == "dropped"


@pytest.mark.parametrize("name", STREAM_ERRORS)
@pytest.mark.parametrize("form", ["converse_stream", "invoke_model_with_response_stream"])
def test_an_exception_in_the_stream(form, name):
    with Service(TALK, On(stream_ends(2, name))) as service:
        response = getattr(client(service), form)(**(ASK if form == "converse_stream" else INVOKE))
        stream = iter(response["stream" if form == "converse_stream" else "body"])
        assert [bool(next(stream)) for _ in range(2)] == [True, True]
        with pytest.raises(EventStreamError) as caught:
            next(stream)
        assert caught.value.response["Error"] == {"Code": name, "Message": STREAM_ERRORS[name]}
        assert list(stream) == []


# What is different about an answer


def test_thinking_comes_before_the_text_in_all_four_forms():
    with Service(TALK, On(thinking("Hm."))) as service:
        runtime = client(service)
        thought, said = runtime.converse(**ASK)["output"]["message"]["content"]
        assert thought["reasoningContent"]["reasoningText"]["text"] == "Hm."
        assert said == {"text": "One two three."}

        events = [event for event in runtime.converse_stream(**ASK)["stream"]]
        deltas = [event["contentBlockDelta"] for event in events if "contentBlockDelta" in event]
        assert [delta["contentBlockIndex"] for delta in deltas] == [0, 0, 1, 1, 1]
        assert deltas[0]["delta"] == {"reasoningContent": {"text": "Hm."}}
        assert text_of(events) == "One two three."

        message = Message.model_validate_json(runtime.invoke_model(**INVOKE)["body"].read())
        assert [block.type for block in message.content] == ["thinking", "text"]

        chunks = chunks_of(runtime.invoke_model_with_response_stream(**INVOKE))
        starts = [chunk for chunk in chunks if chunk["type"] == "content_block_start"]
        assert [(chunk["index"], chunk["content_block"]["type"]) for chunk in starts] == [(0, "thinking"), (1, "text")]


@pytest.mark.parametrize(("keep", "left"), [(5, "One t"), (0, "")])
def test_max_tokens_cuts_the_text_in_all_four_forms(keep, left):
    with Service(TALK, On(max_tokens(keep))) as service:
        runtime = client(service)
        response = runtime.converse(**ASK)
        assert response["output"]["message"]["content"] == [{"text": left}] * bool(left)
        assert response["stopReason"] == "max_tokens"

        events = list(runtime.converse_stream(**ASK)["stream"])
        assert text_of(events) == left
        assert ["contentBlockStop" in event for event in events].count(True) == bool(left)
        assert [event["messageStop"] for event in events if "messageStop" in event] == [{"stopReason": "max_tokens"}]

        message = Message.model_validate_json(runtime.invoke_model(**INVOKE)["body"].read())
        assert [block.text for block in message.content if block.type == "text"] == [left] * bool(left)
        assert message.stop_reason == "max_tokens"

        chunks = chunks_of(runtime.invoke_model_with_response_stream(**INVOKE))
        assert "".join(chunk.get("delta", {}).get("text", "") for chunk in chunks) == left
        assert chunks[-2]["delta"]["stop_reason"] == "max_tokens"


# Who answers


# Many at a time, and the end


def test_sixteen_calls_at_a_time_are_counted():
    together = threading.Barrier(16, timeout=20)

    def answer(*_: Any) -> Any:
        together.wait()
        return Reply("Yes.").result("Converse", ASK)

    with Service(answer) as service:
        runtime = client(service)
        with ThreadPoolExecutor(16) as pool:
            asked = [{**ASK, "modelId": f"model-{number}"} for number in range(48)]
            answers = list(pool.map(lambda ask: runtime.converse(**ask), asked))
        assert {answer["stopReason"] for answer in answers} == {"end_turn"}
        assert service.max_in_flight == 16
        assert Counter(call.params["modelId"] for call in service.calls) == Counter(ask["modelId"] for ask in asked)
        assert all(one.started <= other.started for one, other in pairwise(service.calls))


@pytest.mark.skipif(sys.platform == "win32", reason="a program cannot be asked to end there, only killed")
def test_as_a_program(tmp_path):
    script = tmp_path / "script.json"
    script.write_text(
        json.dumps(
            {
                "answers": {
                    "bedrock-runtime.Converse": {"reply": {"text": "Hello."}},
                    "bedrock-runtime.CountTokens": [{"inputTokens": 3}, {"error": ["ValidationException", 400, "no"]}],
                },
                "faults": [{"fault": "refused", "with": ["per day"], "operation": "Converse", "calls": [2]}],
                "seed": 3,
            }
        ),
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "tests.loopback", "--port", "0", "--script", str(script)]
    root = Path(__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True) as program:
        try:
            runtime = client(SimpleNamespace(url=program.stdout.readline().strip()))
            assert runtime.converse(**ASK)["output"]["message"]["content"] == [{"text": "Hello."}]
            assert error_of(lambda: runtime.converse(**ASK))[2] == ERRORS["per day"][2]
            count = {"modelId": MODEL, "input": {"converse": {}}}
            assert runtime.count_tokens(**count)["inputTokens"] == 3
            assert error_of(lambda: runtime.count_tokens(**count))[0] == "ValidationException"
        finally:
            program.send_signal(signal.SIGTERM)
            last = program.communicate(timeout=20)[0]
    assert json.loads(last) == {
        "calls": {
            "bedrock-runtime.Converse ThrottlingException": 1,
            "bedrock-runtime.Converse answered": 1,
            "bedrock-runtime.CountTokens ValidationException": 1,
            "bedrock-runtime.CountTokens answered": 1,
        },
        "max_in_flight": 1,
    }
    assert program.returncode == 0


# LangChain
