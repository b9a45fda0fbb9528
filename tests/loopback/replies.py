"""Answers written down beforehand: what Claude says, in the four forms of bedrock-runtime, and what may differ."""

import json
import re
from collections import ChainMap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.loopback.answers import Answer, Params, Result, ServiceError

Event = dict[str, Any]
_SIGNATURE = "bG9vcGJhY2s="
_METADATA = {"usage": {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0}, "metrics": {"latencyMs": 1}}
_USAGE = {"input_tokens": 0, "output_tokens": 0}


@dataclass(frozen=True)
class Reply:
    """One message of the model, whose `thinking` comes before its `text`."""

    text: str
    thinking: str = ""

    def result(self, operation: str, params: Params) -> Answer:
        """The message as the result of `operation`, one word an event where it streams."""
        message = {"id": "msg_bdrk_loopback", "type": "message", "role": "assistant", "model": params["modelId"]}
        message |= {"content": [], "stop_reason": None, "stop_sequence": None, "usage": _USAGE}
        end = {"stop_reason": "end_turn", "stop_sequence": None}
        result: Result
        match operation:
            case "Converse":
                said = {"role": "assistant", "content": [{"text": self.text}]}
                result = {"output": {"message": said}, "stopReason": "end_turn", **_METADATA}
            case "ConverseStream":
                result = {"stream": _events([{"text": self.text}], "end_turn", _METADATA)}
            case "InvokeModel":
                result = json_body({**message, **end, "content": [{"type": "text", "text": self.text}]})
            case "InvokeModelWithResponseStream":
                deltas = [{"type": "text_delta", "text": word} for word in _words(self.text)]
                chunks = [
                    {"type": "message_start", "message": message},
                    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
                    *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
                    {"type": "content_block_stop", "index": 0},
                    {"type": "message_delta", "delta": end, "usage": {"output_tokens": 0}},
                    {"type": "message_stop"},
                ]
                body = [{"chunk": {"bytes": json_body(chunk)["body"]}} for chunk in chunks]
                result = {"body": body, "contentType": "application/json"}
            case _:
                raise LookupError(f"a Reply cannot answer {operation}")
        return changed(operation, result, self.thinking) if self.thinking else result


def json_body(value: object) -> Result:
    """The result of InvokeModel that has this body."""
    return {"body": json.dumps(value).encode(), "contentType": "application/json"}


def changed(operation: str, result: Result, thinking: str = "", keep: int | None = None) -> Result:
    """`result` with a block of `thinking` first, or as if max tokens had cut it after `keep` characters.

    The results of operations without a message are returned as they are.
    """
    stop = None if keep is None else "max_tokens"
    match operation:
        case "Converse":
            message = result["output"]["message"]
            output = {"message": {**message, "content": _thought(thinking) + _cut(message["content"], keep)}}
            return {**result, "output": output, "stopReason": stop or result["stopReason"]}
        case "InvokeModel":
            body = json.loads(result["body"])
            block = {"type": "thinking", "thinking": thinking, "signature": _SIGNATURE}
            content = [block] * bool(thinking) + _cut(body["content"], keep)
            return json_body({**body, "content": content, "stop_reason": stop or body["stop_reason"]})
        case "ConverseStream":
            events = list(result["stream"])
            deltas = [event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event]
            thought = "".join(delta.get("reasoningContent", {}).get("text", "") for delta in deltas)
            content, parts = [{"text": "".join(delta.get("text", "") for delta in deltas)}], ChainMap(*events)
            whole = {"output": {"message": {"content": _thought(thought) + content}}, **parts["messageStop"]}
            whole = changed("Converse", whole, thinking, keep)
            return {"stream": _events(whole["output"]["message"]["content"], whole["stopReason"], parts["metadata"])}
    return result


def _thought(text: str) -> list[Event]:
    return [{"reasoningContent": {"reasoningText": {"text": text, "signature": _SIGNATURE}}}] * bool(text)


def _cut(blocks: list[Event], keep: int | None) -> list[Event]:
    """The blocks up to `keep` characters of text, without those of which nothing is left."""
    kept = []
    for block in blocks:
        text = block.get("text", "")[:keep]
        keep = None if keep is None else keep - len(text)
        kept += [{**block, "text": text} if "text" in block else block] * (bool(text) or "text" not in block)
    return kept


def _words(text: str) -> list[str]:
    return re.findall(r"\s*\S+\s*", text)


def _events(content: list[Event], stop: str, metadata: Event) -> list[Event]:
    """A message of Converse as the events of its stream, a word an event."""
    events: list[Event] = [{"messageStart": {"role": "assistant"}}]
    for number, block in enumerate(content):
        thought = block.get("reasoningContent", {}).get("reasoningText", {})
        deltas = [{"text": word} for word in _words(block.get("text", ""))]
        deltas += [{"reasoningContent": {name: text}} for name, text in thought.items()]
        events += [{"contentBlockDelta": {"contentBlockIndex": number, "delta": delta}} for delta in deltas]
        events.append({"contentBlockStop": {"contentBlockIndex": number}})
    return [*events, {"messageStop": {"stopReason": stop}}, {"metadata": metadata}]


Line = Result | Reply | ServiceError | Callable[[Params], Any]


class Script:
    """A source of answers written down beforehand: `{"bedrock-runtime.Converse": line}`.

    A line is a result, a `Reply`, a `ServiceError`, or a function of the parameters returning one.
    """

    def __init__(self, lines: Mapping[str, Line]):
        """`lines` by "service.Operation"."""
        self._lines = lines

    def __call__(self, service: str, operation: str, params: Params) -> Answer:
        """The line for this operation."""
        line = self._lines[f"{service}.{operation}"]
        line = line(params) if callable(line) else line
        if isinstance(line, ServiceError):
            raise line
        return line.result(operation, params) if isinstance(line, Reply) else line
