"""The loopback service gives botocore and LangChain what Amazon Bedrock would give them."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
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
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EventStreamError,
)

from tests.loopback import On, Reply, Script, Service
from tests.loopback.faults import (
    ERRORS,
    STREAM_ERRORS,
    dropped,
    max_tokens,
    refused,
    slow,
    stream_ends,
    thinking,
)

MODEL = "us.anthropic.claude-haiku-4-5"
PROFILE_ARN = f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/{MODEL}"
KB = "KB12345678"
ASK: dict[str, Any] = {"modelId": MODEL, "messages": [{"role": "user", "content": [{"text": "Hello?"}]}]}
BODY = json.dumps({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": []})
INVOKE: dict[str, Any] = {"modelId": MODEL, "body": BODY}
SAID = Reply("One two three.", input_tokens=7, output_tokens=3)
FORMS = "Converse", "ConverseStream", "InvokeModel", "InvokeModelWithResponseStream"
TALK = Script({f"bedrock-runtime.{form}": SAID for form in FORMS})
PASSAGE = {
    "content": {"text": "Revenue grew — 13 %.", "type": "TEXT"},
    "location": {"type": "S3", "s3Location": {"uri": "s3://letters/2022.pdf"}},
    "score": 0.5,
    "metadata": {
        "x-amz-bedrock-kb-document-page-number": 3,
        "x-amz-bedrock-kb-source-uri": "s3://letters/2022.pdf",
    },
}
FOUNDATION_MODEL = {
    "modelArn": f"arn:aws:bedrock:us-east-1::foundation-model/{MODEL}",
    "modelId": MODEL,
    "inferenceTypesSupported": ["INFERENCE_PROFILE"],
    "modelLifecycle": {"status": "LEGACY", "endOfLifeTime": "2027-01-08T00:00:00+00:00"},
}
INFERENCE_PROFILE = {
    "inferenceProfileName": "US Claude",
    "inferenceProfileArn": PROFILE_ARN,
    "models": [{"modelArn": FOUNDATION_MODEL["modelArn"]}],
    "inferenceProfileId": MODEL,
    "status": "ACTIVE",
    "type": "SYSTEM_DEFINED",
}
KNOWLEDGE_BASE = {
    "knowledgeBaseId": KB,
    "name": "letters",
    "knowledgeBaseArn": f"arn:aws:bedrock:us-east-1:123456789012:knowledge-base/{KB}",
    "roleArn": "arn:aws:iam::123456789012:role/kb",
    "knowledgeBaseConfiguration": {"type": "VECTOR"},
    "status": "ACTIVE",
    "createdAt": "2026-01-02T03:04:05+00:00",
    "updatedAt": "2026-01-02T03:04:05.250000+00:00",
}
SUMMARY = {
    "knowledgeBaseId": KB,
    "name": "letters",
    "status": "ACTIVE",
    "updatedAt": "2026-01-02T03:04:05+00:00",
}
GENERATED = {"sessionId": "s-1", "output": {"text": "It grew."}, "citations": [{"retrievedReferences": []}]}
GENERATE: dict[str, Any] = {
    "input": {"text": "Growth?"},
    "retrieveAndGenerateConfiguration": {
        "type": "KNOWLEDGE_BASE",
        "knowledgeBaseConfiguration": {"knowledgeBaseId": KB, "modelArn": PROFILE_ARN},
    },
}
COLLECTION = {"id": "c123", "name": "letters", "status": "CREATING", "createdDate": 1767323045000}


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


@pytest.mark.parametrize(
    ("service_name", "operation", "params", "answer"),
    [
        (
            "sts",
            "GetCallerIdentity",
            {},
            {"UserId": "AID", "Account": "123456789012", "Arn": "arn:aws:iam::1:user/a&b"},
        ),
        (
            "bedrock",
            "ListFoundationModels",
            {"byProvider": "anthropic"},
            {"modelSummaries": [FOUNDATION_MODEL]},
        ),
        ("bedrock", "GetFoundationModel", {"modelIdentifier": MODEL}, {"modelDetails": FOUNDATION_MODEL}),
        (
            "bedrock",
            "ListInferenceProfiles",
            {"typeEquals": "SYSTEM_DEFINED", "maxResults": 5},
            {"inferenceProfileSummaries": [INFERENCE_PROFILE], "nextToken": "more"},
        ),
        ("bedrock", "GetInferenceProfile", {"inferenceProfileIdentifier": PROFILE_ARN}, INFERENCE_PROFILE),
        (
            "bedrock-runtime",
            "CountTokens",
            {"modelId": MODEL, "input": {"invokeModel": {"body": b'{"a": 1}'}}},
            {"inputTokens": 12},
        ),
        ("bedrock-agent", "ListKnowledgeBases", {"maxResults": 5}, {"knowledgeBaseSummaries": [SUMMARY]}),
        ("bedrock-agent", "GetKnowledgeBase", {"knowledgeBaseId": KB}, {"knowledgeBase": KNOWLEDGE_BASE}),
        (
            "bedrock-agent-runtime",
            "Retrieve",
            {
                "knowledgeBaseId": KB,
                "retrievalQuery": {"text": "Growth – 增长?"},
                "retrievalConfiguration": {"vectorSearchConfiguration": {"numberOfResults": 4}},
            },
            {"retrievalResults": [PASSAGE]},
        ),
        ("bedrock-agent-runtime", "RetrieveAndGenerate", GENERATE, GENERATED),
        (
            "opensearchserverless",
            "CreateCollection",
            {"name": "letters"},
            {"createCollectionDetail": COLLECTION},
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_result_arrives_as_it_was_given(service_name, operation, params, answer):
    with Service(Script({f"{service_name}.{operation}": answer})) as service:
        boto = client(service, service_name)
        response = boto._make_api_call(operation, dict(params))  # botocore adds its tokens
        metadata = response.pop("ResponseMetadata")
        assert json.loads(json.dumps(response, default=lambda time: time.isoformat())) == answer
        assert (metadata["HTTPStatusCode"], metadata["RetryAttempts"], bool(metadata["RequestId"])) == (
            boto.meta.service_model.operation_model(operation).http.get("responseCode", 200),
            0,
            True,
        )
        (call,) = service.calls
        tokens = {"clientToken"}  # made by botocore
        asked = {name: value for name, value in call.params.items() if name not in tokens}
        assert (call.service, call.operation, asked, call.outcome) == (
            service_name,
            operation,
            params,
            "answered",
        )


def test_a_stream_gives_the_same_message():
    with Service(TALK) as service:
        events = list(client(service).converse_stream(**ASK)["stream"])
        names = [next(iter(event)) for event in events]
        delta = ["contentBlockDelta"] * 3
        assert names == ["messageStart", *delta, "contentBlockStop", "messageStop", "metadata"]
        assert text_of(events) == "One two three."
        assert events[-1]["metadata"]["usage"]["totalTokens"] == 10


def test_invoke_model_gives_a_message_of_the_messages_api():
    with Service(TALK) as service:
        response = client(service).invoke_model(**INVOKE)
        message = Message.model_validate_json(response["body"].read())
        assert response["contentType"] == "application/json"
        assert [block.text for block in message.content if block.type == "text"] == ["One two three."]
        assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 3)
        assert service.calls[0].params == {"modelId": MODEL, "body": BODY.encode()}


def test_invoke_model_stream_gives_events_of_the_messages_api():
    with Service(TALK) as service:
        response = client(service).invoke_model_with_response_stream(**INVOKE)
        chunks = chunks_of(response)
        assert response["contentType"] == "application/json"
        assert [chunk["type"] for chunk in chunks if chunk["type"] != "content_block_delta"] == [
            "message_start",
            "content_block_start",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
        assert "".join(chunk.get("delta", {}).get("text", "") for chunk in chunks) == "One two three."


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
        code, status, message = error_of(lambda: agent.delete_knowledge_base(knowledgeBaseId=KB))
        assert (code, status) == ("AccessDeniedException", 403)
        assert "to perform: bedrock:DeleteKnowledgeBase on resource: * because" in message
        arn = "arn:aws:s3vectors:us-east-1:111122223333:bucket/letters"
        delete = client(service, "s3vectors").delete_vector_bucket
        assert f"on resource: {arn} because" in error_of(lambda: delete(vectorBucketArn=arn))[2]


def test_errors_of_sts_come_as_xml_with_its_own_codes():
    with Service(Script({}), On(refused("expired"))) as service:
        code, status, message = error_of(client(service, "sts").get_caller_identity)
        assert (code, status, message) == ("ExpiredToken", 403, ERRORS["expired"][2])


def test_faults_meet_the_operations_they_name():
    faults = (
        On(refused("bad id"), "Converse"),
        On(refused("legacy"), "bedrock-runtime.Invoke*"),
        On(refused("expired"), "bedrock.*"),
    )
    with Service(TALK, *faults) as service:
        runtime = client(service)
        assert error_of(lambda: runtime.converse(**ASK))[0] == "ValidationException"
        assert error_of(lambda: runtime.invoke_model(**INVOKE))[0] == "ResourceNotFoundException"
        assert text_of(list(runtime.converse_stream(**ASK)["stream"])) == "One two three."


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
        assert [(chunk["index"], chunk["content_block"]["type"]) for chunk in starts] == [
            (0, "thinking"),
            (1, "text"),
        ]


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


def test_what_is_not_signed_or_not_known_is_refused():
    with Service(TALK) as service:
        http = urllib3.PoolManager()
        unsigned = http.request("POST", f"{service.url}/model/m/converse", body=b"{}")
        assert (unsigned.status, unsigned.headers["x-amzn-errortype"].partition(":")[0]) == (
            403,
            "MissingAuthenticationTokenException",
        )
        assert error_of(client(service, "lambda").list_functions)[0] == "UnknownOperationException"
        assert service.calls == []
        http.clear()


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


def test_the_end_does_not_wait_for_slow_answers_or_open_connections():
    with ThreadPoolExecutor(1) as pool:
        with Service(TALK, On(slow(before=600), "ConverseStream")) as service:
            runtime = client(service)
            runtime.converse(**ASK)
            waiting = pool.submit(runtime.converse_stream, **ASK)
            while len(service.calls) < 2:
                assert not waiting.done()
        with pytest.raises(ConnectionClosedError):
            waiting.result(20)
        assert [call.outcome for call in service.calls] == ["answered", "dropped"]
    with closing(socket.socket()) as probe:
        assert probe.connect_ex(("127.0.0.1", int(service.url.rpartition(":")[2]))) != 0


@pytest.mark.skipif(sys.platform == "win32", reason="a program cannot be asked to end there, only killed")
def test_as_a_program(tmp_path):
    script = tmp_path / "script.json"
    script.write_text(
        json.dumps(
            {
                "answers": {
                    "bedrock-runtime.Converse": {"reply": {"text": "Hello."}},
                    "bedrock-runtime.CountTokens": [
                        {"inputTokens": 3},
                        {"error": ["ValidationException", 400, "no"]},
                    ],
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
