"""Converse as JSON of Anthropic's Messages API, there and back; see https://docs.anthropic.com/en/api/messages."""

import base64
import json
import time
from collections.abc import Iterable, Iterator

from helpers.language import WorkshopError
from helpers.models import COUNTS
from helpers.replay.recording import Json

_STOP = {"refusal": "content_filtered", "pause_turn": "end_turn", None: "end_turn"}
_LIMITS = {"maxTokens": "max_tokens", "temperature": "temperature", "topP": "top_p", "stopSequences": "stop_sequences"}


def request_of(converse: Json) -> Json:
    """The body of POST /v1/messages, without a model, for the body of a Converse call."""
    for name in sorted({"guardrailConfig", "promptVariables"} & converse.keys()):
        raise WorkshopError("{name} is Amazon Bedrock's own: it works in live mode only. Leave it out here.", name=name)
    limits, tools, wanted = (converse.get(name, {}) for name in ("inferenceConfig", "toolConfig", "outputConfig"))
    body = {"max_tokens": 4096} | {there: limits[here] for here, there in _LIMITS.items() if here in limits}
    body["messages"] = [{**turn, "content": _blocks(turn["content"])} for turn in converse.get("messages", [])]
    body |= {name: _blocks(given[name]) for name, given in (("system", converse), ("tools", tools)) if name in given}
    for kind, more in tools.get("toolChoice", {}).items():
        body["tool_choice"] = {"type": kind, **more}
    output = {"effort": wanted["effort"]} if "effort" in wanted else {}
    if form := wanted.get("textFormat"):
        output["format"] = {"type": "json_schema", "schema": json.loads(form["structure"]["jsonSchema"]["schema"])}
    return body | ({"output_config": output} if output else {}) | converse.get("additionalModelRequestFields", {})


def _blocks(parts: list[Json]) -> list[Json]:
    blocks: list[Json] = []
    for part in parts:
        if "cachePoint" not in part:
            blocks.append(_block(part))
        elif blocks:  # a block of its own in Converse, a mark on the block before it in Messages
            blocks[-1]["cache_control"] = {**part["cachePoint"], "type": "ephemeral"}
    return blocks


def _block(part: Json) -> Json:
    match part:
        case {"text": text}:
            return {"type": "text", "text": text}
        case {"json": value}:  # in the result of a tool
            return {"type": "text", "text": json.dumps(value, ensure_ascii=False)}
        case {"image": {"format": kind, "source": {"bytes": data}}}:
            return {"type": "image", "source": {"type": "base64", "media_type": f"image/{kind}", "data": data}}
        case {"toolSpec": {"inputSchema": {"json": schema}, **more}}:
            return {**more, "input_schema": schema}
        case {"toolUse": {"toolUseId": its_id, "name": name, "input": given}}:
            return {"type": "tool_use", "id": its_id, "name": name, "input": given}
        case {"toolResult": {"toolUseId": its_id, "content": parts, **more}}:
            failed = {"is_error": True} if more.get("status") == "error" else {}
            return {"type": "tool_result", "tool_use_id": its_id, "content": _blocks(parts), **failed}
        case {"reasoningContent": {"redactedContent": data}}:
            return {"type": "redacted_thinking", "data": base64.b64decode(data).decode()}
        case {"reasoningContent": {"reasoningText": {"text": text, **more}}}:
            return {"type": "thinking", "thinking": text, "signature": more.get("signature", "")}
    raise WorkshopError("A part {kind} works in live mode only. Here: text, pictures and tools.", kind=next(iter(part)))


def response_of(message: Json, started: float) -> Json:
    """The body of Converse's answer for a whole Messages answer; `started`: the monotonic time of its request."""
    content, reason = [*filter(None, map(_part, message["content"] or []))], message.get("stop_reason")
    told = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": _STOP.get(reason, reason)}
    return told | _counted(message.get("usage") or {}, started)


def _part(block: Json) -> Json:
    """A block, or what a stream adds to one; None for those that only the server's own tools make."""
    match block:
        case {"type": "text" | "text_delta", "text": text}:
            return {"text": text}
        case {"type": "thinking", "thinking": text}:
            return {"reasoningContent": {"reasoningText": {"text": text, "signature": block.get("signature", "")}}}
        case {"type": "thinking_delta", "thinking": text}:
            return {"reasoningContent": {"text": text}}
        case {"type": "signature_delta", "signature": sign} if sign:
            return {"reasoningContent": {"signature": sign}}
        case {"type": "redacted_thinking", "data": data}:
            return {"reasoningContent": {"redactedContent": base64.b64encode(data.encode()).decode()}}
        case {"type": "tool_use", "id": its_id, "name": name}:
            return {"toolUse": {"toolUseId": its_id, "name": name, "input": block["input"]}}
        case {"type": "input_json_delta", "partial_json": text}:
            return {"toolUse": {"input": text}}


def _counted(counts: Json, started: float) -> Json:
    usage = {ours: counts.get(theirs) or 0 for ours, theirs in COUNTS.items()}
    usage["totalTokens"] = sum(usage.values())
    return {"usage": usage, "metrics": {"latencyMs": round(1000 * (time.monotonic() - started))}}


def events_of(events: Iterable[Json], started: float) -> Iterator[tuple[str, Json]]:
    """Name and data of ConverseStream's events for those of a Messages stream, one by one as they come."""
    counts, reason = dict[str, Json](), None
    yield "messageStart", {"role": "assistant"}
    for event in events:
        kind, at = event["type"], {"contentBlockIndex": event.get("index", 0)}
        part = event.get("content_block") or event.get("delta") or {}
        if kind == "content_block_start" and part["type"] == "tool_use":
            yield "contentBlockStart", {"start": {"toolUse": {"toolUseId": part["id"], "name": part["name"]}}, **at}
        elif (kind == "content_block_delta" or part.get("type") == "redacted_thinking") and (delta := _part(part)):
            yield "contentBlockDelta", {"delta": delta, **at}
        elif kind == "content_block_stop":
            yield "contentBlockStop", at
        told = event.get("usage") or event.get("message", {}).get("usage") or {}
        counts |= {name: count for name, count in told.items() if count is not None}
        reason = part.get("stop_reason") or reason
    yield "messageStop", {"stopReason": _STOP.get(reason, reason)}
    yield "metadata", _counted(counts, started)
