"""What Claude says, in the four forms of bedrock-runtime, and what can be different about it."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.loopback.answers import Answer, NoAnswer, Params, Result

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
        words = re.findall(r"\s*\S+\s*", self.text)
        message = {"id": "msg_bdrk_loopback", "type": "message", "role": "assistant", "model": params["modelId"]}
        message |= {"content": [], "stop_reason": None, "stop_sequence": None, "usage": _USAGE}
        end = {"stop_reason": "end_turn", "stop_sequence": None}
        result: Result
        match operation:
            case "Converse":
                output = {"message": {"role": "assistant", "content": [{"text": self.text}]}}
                result = {"output": output, "stopReason": "end_turn", **_METADATA}
            case "ConverseStream":
                deltas = [{"contentBlockIndex": 0, "delta": {"text": word}} for word in words]
                events: list[Event] = [{"messageStart": {"role": "assistant"}}]
                events += [{"contentBlockDelta": delta} for delta in deltas]
                events += [{"contentBlockStop": {"contentBlockIndex": 0}}, {"messageStop": {"stopReason": "end_turn"}}]
                result = {"stream": [*events, {"metadata": _METADATA}]}
            case "InvokeModel":
                body = {**message, **end, "content": [{"type": "text", "text": self.text}]}
                result = {"body": body, "contentType": "application/json"}
            case "InvokeModelWithResponseStream":
                chunks = [{"type": "message_start", "message": message}]
                chunks.append(
                    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
                )
                deltas = [{"type": "text_delta", "text": word} for word in words]
                chunks += [{"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas]
                chunks.append({"type": "content_block_stop", "index": 0})
                chunks.append({"type": "message_delta", "delta": end, "usage": {"output_tokens": 0}})
                body = [{"chunk": {"bytes": chunk}} for chunk in (*chunks, {"type": "message_stop"})]
                result = {"body": body, "contentType": "application/json"}
            case _:
                raise NoAnswer(f"a Reply cannot answer {operation}")
        return changed(operation, result, self.thinking) if self.thinking else result


def changed(operation: str, result: Result, thinking: str = "", keep: int | None = None) -> Result:
    """`result` with a block of `thinking` first, or as if max tokens had cut it after `keep` characters.

    The results of operations without a message are returned as they are.
    """
    stop = None if keep is None else "max_tokens"
    cut = _Cut(keep)
    match operation:
        case "Converse":
            block: Event
            message = result["output"]["message"]
            block = {"reasoningContent": {"reasoningText": {"text": thinking, "signature": _SIGNATURE}}}
            content = [block] * bool(thinking) + cut.blocks(message["content"])
            output = {"message": {**message, "content": content}}
            return {**result, "output": output, "stopReason": stop or result["stopReason"]}
        case "InvokeModel":
            body = result["body"] if isinstance(result["body"], dict) else json.loads(result["body"])
            block = {"type": "thinking", "thinking": thinking, "signature": _SIGNATURE}
            content = [block] * bool(thinking) + cut.blocks(body["content"])
            return {**result, "body": {**body, "content": content, "stop_reason": stop or body["stop_reason"]}}
        case "ConverseStream":
            return {**result, "stream": _changed_events(result["stream"], thinking, cut, stop)}
    return result


class _Cut:
    def __init__(self, keep: int | None):
        self._left = keep

    def text(self, text: str) -> str:
        if self._left is not None:
            text = text[: self._left]
            self._left -= len(text)
        return text

    def blocks(self, blocks: Iterable[Event]) -> list[Event]:
        kept = [{**block, "text": self.text(block["text"])} if "text" in block else block for block in blocks]
        return [block for block in kept if block.get("text") != ""]


def _changed_events(events: Iterable[Event], thinking: str, cut: _Cut, stop: str | None) -> Iterator[Event]:
    begun = set()
    for event in events:
        ((name, data),) = event.items()
        data = dict(data)
        if "text" in data.get("delta", {}):
            data["delta"] = {"text": cut.text(data["delta"]["text"])}
            if not data["delta"]["text"]:
                continue
        if "contentBlockIndex" in data:
            if name == "contentBlockStop" and data["contentBlockIndex"] not in begun:
                continue  # the cut left nothing of this block
            begun.add(data["contentBlockIndex"])
            data["contentBlockIndex"] += bool(thinking)
        if "stopReason" in data:
            data["stopReason"] = stop or data["stopReason"]
        yield {name: data}
        if name == "messageStart" and thinking:
            for part in ({"text": thinking}, {"signature": _SIGNATURE}):
                yield {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"reasoningContent": part}}}
            yield {"contentBlockStop": {"contentBlockIndex": 0}}
