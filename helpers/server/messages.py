"""Converse in the words of Anthropic's Messages API, there and back.

Both sides are the JSON of the wire: pictures are base64 on either side and pass as they are.
Source: https://docs.anthropic.com/en/api/messages, and botocore's model of bedrock-runtime.
"""

import base64
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from helpers.errors import WorkshopError
from helpers.models import COUNTS

Json = Any
_STOP = {"refusal": "content_filtered", "pause_turn": "end_turn", None: "end_turn"}
_LIMITS = {"temperature": "temperature", "topP": "top_p", "stopSequences": "stop_sequences"}


def request_of(converse: Json) -> Json:
    """The body of POST /v1/messages, without a model, for the body of a Converse call."""
    for name in sorted({"guardrailConfig", "promptVariables"} & converse.keys()):
        raise WorkshopError(f"{name} is a part of Amazon Bedrock: it works in live mode only. Leave it out here.")
    limits, tools = converse.get("inferenceConfig", {}), converse.get("toolConfig", {})
    body = {"max_tokens": limits.get("maxTokens", 4096)}
    body |= {there: limits[here] for here, there in _LIMITS.items() if here in limits}
    body["messages"] = [{**turn, "content": _blocks(turn["content"])} for turn in converse.get("messages", [])]
    if "system" in converse:
        body["system"] = _blocks(converse["system"])
    if tools:
        body["tools"] = _blocks(tools["tools"])
    for kind, more in tools.get("toolChoice", {}).items():
        body["tool_choice"] = {"type": kind, **more}
    wanted = converse.get("outputConfig", {})
    output = {"effort": wanted["effort"]} if "effort" in wanted else {}
    if "textFormat" in wanted:
        schema = wanted["textFormat"]["structure"]["jsonSchema"]["schema"]
        output["format"] = {"type": "json_schema", "schema": json.loads(schema)}
    if output:
        body["output_config"] = output
    return body | converse.get("additionalModelRequestFields", {})


def _blocks(parts: list[Json]) -> list[Json]:
    blocks: list[Json] = []
    for part in parts:
        ((kind, value),) = part.items()
        if kind != "cachePoint":
            blocks.append(_block(kind, value))
        elif blocks:  # a block of its own in Converse, a mark on the block before it in Messages
            lasts = {"ttl": value["ttl"]} if "ttl" in value else {}
            blocks[-1]["cache_control"] = {"type": "ephemeral", **lasts}
    return blocks


def _block(kind: str, it: Json) -> Json:
    match kind:
        case "text":
            return {"type": "text", "text": it}
        case "json":  # in the result of a tool
            return {"type": "text", "text": json.dumps(it, ensure_ascii=False)}
        case "image" if "bytes" in it["source"]:
            source = {"media_type": f"image/{it['format']}", "data": it["source"]["bytes"]}
            return {"type": "image", "source": {"type": "base64", **source}}
        case "toolSpec":
            kept = {name: it[name] for name in ("name", "description", "strict") if name in it}
            return {**kept, "input_schema": it["inputSchema"]["json"]}
        case "toolUse":
            return {"type": "tool_use", "id": it["toolUseId"], "name": it["name"], "input": it["input"]}
        case "toolResult":
            failed = {"is_error": True} if it.get("status") == "error" else {}
            content = {"content": _blocks(it["content"]), **failed}
            return {"type": "tool_result", "tool_use_id": it["toolUseId"], **content}
        case "reasoningContent" if "reasoningText" in it:
            text, sign = it["reasoningText"]["text"], it["reasoningText"].get("signature", "")
            return {"type": "thinking", "thinking": text, "signature": sign}
        case "reasoningContent":
            return {"type": "redacted_thinking", "data": base64.b64decode(it["redactedContent"]).decode()}
    raise WorkshopError(f"A part of kind {kind} works in live mode only. Here: text, pictures and tools.")


def response_of(message: Json, milliseconds: int) -> Json:
    """The body of Converse's answer for a whole Messages answer that took `milliseconds`."""
    return {
        "output": {"message": {"role": "assistant", "content": [*filter(None, map(_part, message["content"]))]}},
        "stopReason": _STOP.get(message["stop_reason"], message["stop_reason"]),
        "usage": _usage(message["usage"]),
        "metrics": {"latencyMs": milliseconds},
    }


def _part(block: Json) -> Json:
    match block["type"]:
        case "text":
            return {"text": block["text"]}
        case "thinking":
            thought = {"text": block["thinking"], "signature": block.get("signature", "")}
            return {"reasoningContent": {"reasoningText": thought}}
        case "redacted_thinking":
            return {"reasoningContent": {"redactedContent": base64.b64encode(block["data"].encode()).decode()}}
        case "tool_use":
            return {"toolUse": {"toolUseId": block["id"], "name": block["name"], "input": block["input"]}}
    return None  # only the server's own tools make others


def _usage(counts: Json) -> Json:
    usage = {ours: counts.get(theirs) or 0 for ours, theirs in COUNTS.items()}
    return {**usage, "totalTokens": sum(usage.values())}


def events_of(events: Iterable[Json], milliseconds: Callable[[], int]) -> Iterator[tuple[str, Json]]:
    """Name and data of ConverseStream's events for those of a Messages stream, one by one as they come."""
    counts: dict[str, Json] = {}
    reason: Json = None
    yield "messageStart", {"role": "assistant"}
    for event in events:
        at = {"contentBlockIndex": event.get("index", 0)}
        match event["type"]:
            case "message_start":
                counts |= event["message"].get("usage") or {}
            case "content_block_start" if event["content_block"]["type"] == "tool_use":
                block = event["content_block"]
                yield (
                    "contentBlockStart",
                    {"start": {"toolUse": {"toolUseId": block["id"], "name": block["name"]}}, **at},
                )
            case "content_block_start" if event["content_block"]["type"] == "redacted_thinking":
                yield "contentBlockDelta", {"delta": _part(event["content_block"]), **at}
            case "content_block_delta" if delta := _delta(event["delta"]):
                yield "contentBlockDelta", {"delta": delta, **at}
            case "content_block_stop":
                yield "contentBlockStop", at
            case "message_delta":
                counts |= {name: count for name, count in (event.get("usage") or {}).items() if count is not None}
                reason = event["delta"].get("stop_reason")
            case "message_stop":
                yield "messageStop", {"stopReason": _STOP.get(reason, reason)}
                yield "metadata", {"usage": _usage(counts), "metrics": {"latencyMs": milliseconds()}}
                return
            case "error":
                yield "modelStreamErrorException", {"message": event["error"].get("message", "")}
                return
    yield "modelStreamErrorException", {"message": "the answer broke off"}


def _delta(delta: Json) -> Json:
    match delta["type"]:
        case "text_delta":
            return {"text": delta["text"]}
        case "input_json_delta":
            return {"toolUse": {"input": delta["partial_json"]}}
        case "thinking_delta":
            return {"reasoningContent": {"text": delta["thinking"]}}
        case "signature_delta" if delta["signature"]:
            return {"reasoningContent": {"signature": delta["signature"]}}
    return None
