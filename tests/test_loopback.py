"""The loopback service changes an answer as Amazon Bedrock may: in every form that a lesson asks for."""

import json

import boto3
import pytest
from anthropic.types import Message

from tests.loopback import On, Reply, Script, Service
from tests.loopback.faults import max_tokens, thinking

ASK = {"modelId": "us.anthropic.claude-haiku-4-5", "messages": [{"role": "user", "content": [{"text": "Hello?"}]}]}
BODY = json.dumps({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": []})
SAID = Reply("One two three.", input_tokens=7, output_tokens=3)
TALK = Script({f"bedrock-runtime.{form}": SAID for form in ("Converse", "ConverseStream", "InvokeModel")})


@pytest.mark.parametrize(
    ("fault", "thought", "left", "stop"),
    [
        (thinking("Hm."), "Hm.", "One two three.", "end_turn"),
        (max_tokens(5), "", "One t", "max_tokens"),
        (max_tokens(0), "", "", "max_tokens"),
    ],
)
def test_thinking_comes_first_and_max_tokens_cuts_in_all_three_forms(fault, thought, left, stop):
    with Service(TALK, On(fault)) as service:
        runtime = boto3.Session("x", "x", region_name="us-east-1").client("bedrock-runtime", endpoint_url=service.url)
        answer = runtime.converse(**ASK)
        events = list(runtime.converse_stream(**ASK)["stream"])
        body = runtime.invoke_model(modelId=ASK["modelId"], body=BODY)["body"].read()
    first, *rest = [*answer["output"]["message"]["content"], {}]
    assert first.get("reasoningContent", {}).get("reasoningText", {}).get("text", "") == thought
    assert (rest[0] if thought else first).get("text", "") == left and answer["stopReason"] == stop

    deltas = [event["contentBlockDelta"] for event in events if "contentBlockDelta" in event]
    texts = [(delta["contentBlockIndex"], delta["delta"]["text"]) for delta in deltas if "text" in delta["delta"]]
    assert "".join(text for _, text in texts) == left and {index for index, _ in texts} <= {bool(thought)}
    ends = [event["contentBlockStop"]["contentBlockIndex"] for event in events if "contentBlockStop" in event]
    assert ends == list(range(bool(thought) + bool(left)))
    assert {"stopReason": stop} in [event.get("messageStop") for event in events]

    message = Message.model_validate_json(body)
    kinds = ["thinking"] * bool(thought) + ["text"] * bool(left)
    assert [block.type for block in message.content] == kinds and message.stop_reason == stop
    assert "".join(block.text for block in message.content if block.type == "text") == left
