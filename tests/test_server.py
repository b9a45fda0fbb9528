"""Mode server: what a cell asks of Bedrock goes to a Messages server, and comes back in Bedrock's form."""

import base64
import json
import re
import time
from contextlib import ExitStack

import pytest

from helpers import checks, clients, models, workshop
from helpers.explain import explain
from helpers.language import WorkshopError
from helpers.replay.recording import Recording
from helpers.server import messages
from tests.loopback.recorded import RECORDINGS, text_of
from tests.messages_server import USAGE, MessagesServer, says
from tests.remembered import PREAMBLE
from tests.test_live_notebooks import FAST, kernel, needed, tried
from tools.notebooks import FOLDER, environment

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
PARTS = [
    {"type": "thinking", "thinking": "Let me see.", "signature": "c2ln"},
    {"type": "text", "text": "Größe 你好 and more than one piece"},
    {"type": "tool_use", "id": "toolu_01", "name": "weather", "input": {"city": "Zürich", "days": 3}},
]
SCHEMA = {"type": "object", "properties": {}, "additionalProperties": False}
SPEC = {"name": "weather", "description": "d", "inputSchema": {"json": {"type": "object", "properties": {}}}}
PICTURE = {"image": {"format": "png", "source": {"bytes": PNG}}}
THOUGHT = {"reasoningContent": {"reasoningText": {"text": "t", "signature": "s"}}}
CALL = {"toolUse": {"toolUseId": "a1", "name": "weather", "input": {"city": "X"}}}
RESULT = {"toolResult": {"toolUseId": "a1", "status": "error", "content": [{"json": {"t": 1}}]}}
FORM = {"type": "json_schema", "structure": {"jsonSchema": {"name": "n", "schema": json.dumps(SCHEMA)}}}
REQUEST = {
    "system": [{"text": "sys"}, {"cachePoint": {"type": "default", "ttl": "1h"}}],
    "messages": [
        {"role": "user", "content": [{"text": "pic"}, PICTURE, {"cachePoint": {"type": "default"}}, {"text": "你好"}]},
        {"role": "assistant", "content": [THOUGHT, CALL]},
        {"role": "user", "content": [RESULT]},
    ],
    "inferenceConfig": {"maxTokens": 99, "temperature": 0.5, "stopSequences": ["END"]},
    "toolConfig": {"tools": [{"toolSpec": SPEC}], "toolChoice": {"tool": {"name": "weather"}}},
    "additionalModelRequestFields": {"top_k": 5},
    "outputConfig": {"effort": "low", "textFormat": FORM},
}
ASKED = {"modelId": "claude", "messages": [{"role": "user", "content": [{"text": "?"}]}]}


@pytest.fixture
def start(change):
    """Mode server against a Messages server that gives `answer`: the server, and the client of a cell."""
    with ExitStack() as servers:

        def run(answer=lambda body: {"content": PARTS, "stop_reason": "tool_use"}, **more):
            server = servers.enter_context(MessagesServer(answer))
            change(**{"mode": "server", "server_url": server.url, "server_model": "small", **more})
            workshop.start("04_financial_rag")
            return server, clients.client("bedrock-runtime")

        yield run


def test_a_converse_request_arrives_as_a_messages_request_and_its_answer_comes_back(start):
    server, runtime = start()
    found = runtime.converse(modelId="claude", **REQUEST)
    assert server.problems == [] and len(server.requests) == 1
    body = server.requests[0]
    assert body["system"] == [{"type": "text", "text": "sys", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]
    picture = body["messages"][0]["content"][1]
    assert base64.b64decode(picture["source"]["data"]) == PNG and picture["source"]["media_type"] == "image/png"
    assert body["messages"][1]["content"][0] == {"type": "thinking", "thinking": "t", "signature": "s"}
    assert body["messages"][2]["content"][0]["is_error"]
    assert body["tool_choice"] == {"type": "tool", "name": "weather"} and body["model"] == "small"
    assert [body[name] for name in ("max_tokens", "temperature", "stop_sequences", "top_k")] == [99, 0.5, ["END"], 5]
    assert body["output_config"] == {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}}
    assert not [name for name in server.headers if "amz" in name or name == "authorization"]
    thought = {"reasoningText": {"text": "Let me see.", "signature": "c2ln"}}
    assert found["output"]["message"]["content"] == [
        {"reasoningContent": thought},
        {"text": PARTS[1]["text"]},
        {"toolUse": {"toolUseId": "toolu_01", "name": "weather", "input": {"city": "Zürich", "days": 3}}},
    ]
    assert found["stopReason"] == "tool_use" and found["usage"]["totalTokens"] == sum(USAGE.values())
    guard = {"guardrailIdentifier": "abc", "guardrailVersion": "1"}
    with pytest.raises(WorkshopError, match="guardrailConfig is Amazon Bedrock"):
        runtime.converse(**ASKED, guardrailConfig=guard)


def test_a_stream_comes_frame_by_frame_and_says_the_same(start):
    server, runtime = start()
    begin = time.monotonic()
    events = runtime.converse_stream(modelId="claude", **REQUEST)["stream"]
    seen = [(time.monotonic() - begin, event) for event in events]
    deltas = [event["contentBlockDelta"]["delta"] for _, event in seen if "contentBlockDelta" in event]
    assert "".join(delta.get("text", "") for delta in deltas) == PARTS[1]["text"]
    tool = "".join(delta["toolUse"]["input"] for delta in deltas if "toolUse" in delta)
    assert json.loads(tool) == PARTS[2]["input"]
    thoughts = [delta["reasoningContent"] for delta in deltas if "reasoningContent" in delta]
    assert thoughts == [{"text": "Let me see."}, {"signature": "c2ln"}]
    whole = runtime.converse(modelId="claude", **REQUEST)
    assert seen[-1][1]["metadata"]["usage"] == whole["usage"] and server.problems == []
    assert seen[0][0] < seen[-1][0] / 2  # not held back until the end


def test_invoke_model_whole_and_streamed_are_the_servers_own_json(start):
    server, runtime = start()
    question = {"max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
    body = json.dumps({"anthropic_version": "bedrock-2023-05-31", **question})
    answer = json.loads(runtime.invoke_model(modelId="claude", body=body)["body"].read())
    stream = runtime.invoke_model_with_response_stream(modelId="claude", body=body)["body"]
    kinds = [json.loads(event["chunk"]["bytes"])["type"] for event in stream]
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop" and "ping" not in kinds
    assert server.problems == [] and "anthropic_version" not in server.requests[0]
    with pytest.raises(WorkshopError, match=r"no JSON object .*body=json\.dumps"):
        runtime.invoke_model(modelId="claude", body=str(question))
    assert [each["type"] for each in answer["content"]] == [each["type"] for each in PARTS]


def test_everything_says_who_answers(start, capsys):
    server, runtime = start(says("Yes."))
    host, model = server.url.removeprefix("http://"), models.resolve()
    assert f"Mode server: small at {host} answers the prompts, not Claude." in capsys.readouterr().out
    found = runtime.converse(**ASKED)
    assert str(model).startswith(f"small at {host} answers what the cells ask of ")
    assert model.receipt(found["usage"], found).endswith(f"counted by small at {host}")
    assert model.whose == f"small at {host}" and model.effort("low") == {} and not model.structured
    assert model.cost(found["usage"]) == 0  # a price of Claude's would be none of theirs


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (401, "WORKSHOP_SERVER_KEY"),
        (400, "give it a context of 16,384 tokens"),
        (404, "WORKSHOP_SERVER_MODEL, or fetch that model"),
        (429, "wait a minute"),
        (500, "choose a model that sees pictures"),
        ("html", "does not speak Anthropic's Messages API"),
        ("midway", "refused to go on: Overloaded"),
        ("bare", "refused to go on: Compute error"),
        ({"error": "plain words"}, "(400): plain words"),
        ("cut", "The connection broke"),
    ],
)
def test_a_failure_of_the_server_is_one_message(fault, words, start, monkeypatch):
    monkeypatch.setattr(clients, "THROTTLED", 3)
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: None)
    server, runtime = start(says("half an answer", fault=fault))
    with pytest.raises(Exception) as caught:
        if fault in ("midway", "bare", "cut"):
            list(runtime.converse_stream(**ASKED)["stream"])
        else:
            runtime.converse(**ASKED)
    told = str(explain(caught.value) or caught.value)
    assert words in told and len(told) < 400
    assert len(server.requests) == (3 if fault == 429 else 1)  # nothing else is mended by a repetition


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"server_url": "localhost:11434"}, "No server is at .* an address like"),
        ({"server_url": "http://models.example.com", "server_key": "sk-secret"}, "unencrypted"),
        ({"server_url": "http://127.0.0.1:9"}, r"^http://127\.0\.0\.1:9 was not reached: Could not.* Next: start it"),
    ],
)
def test_a_wrong_setting_is_one_message(settings, words, start):
    with pytest.raises(WorkshopError, match=words) as caught:
        start(**settings)[1].converse(**ASKED)
    assert "sk-secret" not in str(caught.value)


def eyes_and_memory(body):
    """A model that sees, remembers and obeys."""
    content = body["messages"][0]["content"]
    text = " ".join(part.get("text", "") for part in content)
    answer = "red" if any(part["type"] == "image" for part in content) else "ok"
    answer = "juniper" if "juniper" in text else '{"defects": []}' if "JSON" in text else answer
    return {"content": [{"type": "text", "text": answer}], "usage": {**USAGE, "input_tokens": len(text) // 4}}


def forgets(body):
    """One whose server drops what does not fit, and that sees nothing."""
    answer = {**eyes_and_memory(body), "content": [{"type": "text", "text": "?"}]}
    return {**answer, "usage": {**answer["usage"], "input_tokens": min(4000, answer["usage"]["input_tokens"])}}


@pytest.mark.parametrize(
    ("answer", "to_do"),
    [
        (eyes_and_memory, {}),
        (forgets, {"context": "OLLAMA_CONTEXT_LENGTH=16384", "pictures": "with eyes", "JSON": "repairs"}),
        (says("", fault=404), {"answer": "fetch that model first"}),
    ],
)
def test_the_set_up_check_says_what_the_server_can(answer, to_do, start):
    server, *_ = start(answer)
    rows = {row.name: row for row in checks.live()}
    assert {name: row.to_do for name, row in rows.items() if row.to_do}.keys() == to_do.keys()
    assert all(words in rows[name].to_do for name, words in to_do.items())
    assert server.problems == [] and len(rows) == (1 if "answer" in to_do else 4)


def recorded(*lessons):
    """A model that gives the recorded answers of the lessons, by the conversation."""
    book = {}

    def key(body):
        return json.dumps([body.get(name) for name in ("max_tokens", "system", "messages")], sort_keys=True)

    for entry in [entry for lesson in lessons for entry in Recording(RECORDINGS / f"{lesson}.json").entries]:
        if entry["call"].startswith("bedrock-runtime."):
            request = entry["request"]
            body = request["body"]["json"] if "body" in request else messages.request_of(request | {"outputConfig": {}})
            told = [event["data"] for event in entry["body"].get("events", [])] + [entry["body"].get("json", {})]
            ended = next((each["stopReason"] for each in told if "stopReason" in each), "end_turn")
            book[key(body)] = {"content": [{"type": "text", "text": text_of(entry)}], "stop_reason": ended}
    return lambda body: book[key(body)]


ASKING = ("02_coding_tutor", "04_financial_rag")  # in one kernel; in 04, which comes last, every failure
# The server's answer to every question; each kind of end that the tests above show, once.
FAULTS = {
    "a refusal": (says("", fault=500),),
    "not a Messages API": (says("", fault="html"),),
    "stream: an error": (says("half", fault="midway"),),
    "stream: ends early": (says("half", fault="cut"),),
    "no text": (says(""),),
}


def test_the_calls_of_each_lesson_are_answered_and_every_failure_is_a_message_or_a_result():
    with MessagesServer(recorded(*ASKING)) as server:
        chosen = {**environment("server"), "WORKSHOP_SERVER_URL": server.url, "WORKSHOP_SERVER_MODEL": "small"}

        def switch(fault=None):
            server.said = fault or recorded(*ASKING)

        with kernel(chosen) as run:
            assert run(f"{PREAMBLE}\n{FAST}\nclients.THROTTLED = 3") == "done"
            for name in ASKING:
                server.requests.clear()
                cells, calls = needed(FOLDER / f"{name}.ipynb")
                assert {run(cell) for cell in cells} == {"done"}
                # Under each cell that asked stands who answered, and how often.
                said = re.findall(r"\[(\d+) answered by small at 127.0.0.1", str([cell.outputs for cell in cells]))
                assert len(said) > 1 and sum(map(int, said)) == len(server.requests)
            found = tried(run, calls, FAULTS, switch)
    assert {each for results in found.values() for each in results} == {"done", "message"}
    assert set(found["none, afterwards"]) == {"done"} and server.problems == []
