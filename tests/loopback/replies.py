"""What Claude says, in the four forms of bedrock-runtime, and what can be different about it."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.loopback.answers import Answer, NoAnswer, Params, Result

Event = dict[str, Any]
_SIGNATURE = "bG9vcGJhY2s="
_JSON = {"contentType": "application/json"}


@dataclass(frozen=True)
class Reply:
    """One message of the model: `thinking` comes before `text`, either may be empty; tokens are reported."""

    text: str
    thinking: str = ""
    stop: str = "end_turn"
    input_tokens: int = 0
    output_tokens: int = 0

    def result(self, operation: str, params: Params) -> Answer:
        """The message as the result of `operation`, one word an event where it streams."""
        if operation not in _FORMS:
            raise NoAnswer(f"a Reply cannot answer {operation}, only {', '.join(_FORMS)}")
        result = _FORMS[operation](self, params["modelId"])
        return changed(operation, result, self.thinking) if self.thinking else result


def _converse(reply: Reply, model: str) -> Result:
    content = [{"text": reply.text}] if reply.text else []
    output = {"message": {"role": "assistant", "content": content}}
    return {"output": output, "stopReason": reply.stop, **_metadata(reply)}


def _metadata(reply: Reply) -> Result:
    total = reply.input_tokens + reply.output_tokens
    usage = {"inputTokens": reply.input_tokens, "outputTokens": reply.output_tokens, "totalTokens": total}
    return {"usage": usage, "metrics": {"latencyMs": 1}}


def _converse_stream(reply: Reply, model: str) -> Result:
    events: list[Event] = [{"messageStart": {"role": "assistant"}}]
    if reply.text:
        deltas = [{"contentBlockIndex": 0, "delta": {"text": word}} for word in _words(reply.text)]
        events += [{"contentBlockDelta": delta} for delta in deltas]
        events.append({"contentBlockStop": {"contentBlockIndex": 0}})
    return {"stream": [*events, {"messageStop": {"stopReason": reply.stop}}, {"metadata": _metadata(reply)}]}


def _invoke(reply: Reply, model: str) -> Result:
    content = [{"type": "text", "text": reply.text}] if reply.text else []
    return {"body": _message(reply, model, content, reply.stop), **_JSON}


def _message(reply: Reply, model: str, content: list[Event], stop: str | None) -> Event:
    usage = {"input_tokens": reply.input_tokens, "output_tokens": reply.output_tokens}
    head = {"id": "msg_bdrk_loopback", "type": "message", "role": "assistant", "model": model}
    return {**head, "content": content, "stop_reason": stop, "stop_sequence": None, "usage": usage}


def _invoke_stream(reply: Reply, model: str) -> Result:
    chunks = [{"type": "message_start", "message": _message(reply, model, [], None)}]
    if reply.text:
        deltas = [{"type": "text_delta", "text": word} for word in _words(reply.text)]
        chunks += _block(0, {"type": "text", "text": ""}, deltas)
    end = {"stop_reason": reply.stop, "stop_sequence": None}
    chunks.append({"type": "message_delta", "delta": end, "usage": {"output_tokens": reply.output_tokens}})
    chunks.append({"type": "message_stop"})
    return {"body": [{"chunk": {"bytes": chunk}} for chunk in chunks], **_JSON}


def _block(index: int, empty: Event, deltas: list[Event]) -> list[Event]:
    return [
        {"type": "content_block_start", "index": index, "content_block": empty},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def _words(text: str) -> list[str]:
    return re.findall(r"\s*\S+\s*", text)


_FORMS = {
    "Converse": _converse,
    "ConverseStream": _converse_stream,
    "InvokeModel": _invoke,
    "InvokeModelWithResponseStream": _invoke_stream,
}


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
            body = _opened(result["body"])
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


def _opened(body: Any) -> Event:
    value: Event = body if isinstance(body, dict) else json.loads(body)
    return value
