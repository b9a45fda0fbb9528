"""The loopback service changes an answer as Amazon Bedrock may: in every form that a lesson asks for."""

import json

import boto3
import pytest
from anthropic.types import Message

from tests.loopback import On, Reply, Script, Service
from tests.loopback.faults import max_tokens, thinking

ASK = {"modelId": "us.anthropic.claude-haiku-4-5", "messages": [{"role": "user", "content": [{"text": "Hello?"}]}]}
BODY = json.dumps({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": []})
TALK = Script(
    {f"bedrock-runtime.{form}": Reply("One two three.") for form in ("Converse", "ConverseStream", "InvokeModel")}
)


@pytest.mark.parametrize(
    ("fault", "thought", "left"), [(thinking("Hm."), "Hm.", "One two three."), (max_tokens(5), "", "One t")]
)
def test_thinking_comes_first_and_max_tokens_cuts_in_all_three_forms(fault, thought, left):
    with Service(TALK, On(fault)) as service:
        runtime = boto3.Session("x", "x", region_name="us-east-1").client("bedrock-runtime", endpoint_url=service.url)
        answer = runtime.converse(**ASK)
        events = list(runtime.converse_stream(**ASK)["stream"])
        message = Message.model_validate_json(runtime.invoke_model(modelId=ASK["modelId"], body=BODY)["body"].read())
    stop = "end_turn" if thought else "max_tokens"
    assert (answer["stopReason"], {"stopReason": stop} in [each.get("messageStop") for each in events]) == (stop, True)
    blocks = [
        each.get("reasoningContent", {}).get("reasoningText", each) for each in answer["output"]["message"]["content"]
    ]
    deltas = [each["contentBlockDelta"] for each in events if "contentBlockDelta" in each]
    streamed = [(each["contentBlockIndex"], each["delta"]["text"]) for each in deltas if "text" in each["delta"]]
    assert "".join(text for _, text in streamed) == left and {index for index, _ in streamed} == {int(bool(thought))}
    assert [each["text"] for each in blocks] == [text for text in (thought, left) if text]
    assert [each.type for each in message.content] == ["thinking"] * bool(thought) + ["text"]
    assert message.content[-1].text == left and message.stop_reason == stop
