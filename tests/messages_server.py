"""A server of Anthropic's Messages API on this machine; the SDK's own types check each request that it gets."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from anthropic.types.message_create_params import MessageCreateParams
from moto.core.request import Request
from pydantic import TypeAdapter

from tests.loopback.answers import Dropped, Raw
from tests.loopback.service import Service

_FORM = TypeAdapter[Any](MessageCreateParams)
USAGE = {"input_tokens": 11, "output_tokens": 22, "cache_read_input_tokens": 33, "cache_creation_input_tokens": 44}
CONTEXT = "request (9001 tokens) exceeds the available context size (8192 tokens), try increasing it"
EYES = "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"
ERRORS = {  # the words of Anthropic's API; 400 and 500 those of a real llama-server (`make server-test` builds it)
    400: ("exceed_context_size_error", CONTEXT),
    401: ("authentication_error", "invalid x-api-key"),
    404: ("not_found_error", "model 'x' not found"),
    429: ("rate_limit_error", "This request would exceed your rate limit"),
    500: ("server_error", EYES),
}
BREAKS = {  # what comes in mid-stream; llama-server's has no "error" around it
    "midway": {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
    "bare": {"code": 500, "type": "server_error", "message": "Compute error"},
}
Answer = Callable[[dict[str, Any]], dict[str, Any]]


def says(text: str, **more: Any) -> Answer:
    """Every question gets this text."""
    return lambda body: {"content": [{"type": "text", "text": text}], **more}


class MessagesServer(Service):
    """Serves `said(body)`, the parts of a Message that differ, at `url`; `requests` holds what was asked.

    "fault" among the parts is a status of ERRORS, a key of BREAKS, "html", "cut", or the body of a 400.
    """

    def __init__(self, said: Answer):
        super().__init__({})
        self.said, self.requests, self.problems, self.headers = said, list[Any](), list[str](), dict[str, str]()

    def answer(self, request: Request) -> Raw:
        """Note a request, and what the SDK's types find wrong with it; its response."""
        body = json.loads(request.get_data())
        self.requests.append(body)
        self.headers = {name.lower(): value for name, value in request.headers.items()}
        try:
            json.dumps(_FORM.dump_python(_FORM.validate_python(body), mode="json", warnings="error"))
        except Exception as error:
            self.problems.append(str(error)[:500])
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"]}
        message |= {"stop_reason": "end_turn", "stop_sequence": None, "usage": USAGE}
        message |= self.said(body) if request.path == "/v1/messages" else {"fault": 404}
        fault: Any = message.pop("fault", None)
        if isinstance(fault, dict):
            return Raw(json.dumps(fault), 400)
        if fault in ERRORS:
            kind, text = ERRORS[fault]
            message = {"type": "error", "error": {"type": kind, "message": text}}
        elif body.get("stream"):
            return Raw(_pieces(message, fault), content_type="text/event-stream")
        if fault == "html":
            return Raw("<html>sign in</html>", content_type="text/html")
        if fault == "cut":
            return Raw(_cut(json.dumps(message)))
        return Raw(json.dumps(message), fault or 200)


def _cut(text: str) -> Iterator[bytes]:
    yield text[:9].encode()
    raise Dropped


def _pieces(message: dict[str, Any], fault: str) -> Iterator[bytes]:
    """The events of a message as bytes, cut in odd places, as networks do."""
    for event in _events(message):
        kind = event["type"]
        if fault == "cut" and kind == "content_block_stop":
            raise Dropped
        told = BREAKS.get(fault, event) if kind == "content_block_stop" else event
        text = f"event: {kind}\ndata: {json.dumps(told)}\n\n".encode()
        yield from (text[:7], text[7:])
        time.sleep(0.005)


def _events(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A message as the events of its stream."""
    yield {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}}
    yield {"type": "ping"}
    for index, block in enumerate(message["content"]):
        at, empty, deltas = {"index": index}, dict[str, Any](), list[tuple[str, str, str]]()
        match block:
            case {"type": "text", "text": text}:
                empty, size = {"text": ""}, max(24, len(text) // 40)
                deltas = [("text_delta", "text", text[i : i + size]) for i in range(0, len(text), size)]
            case {"type": "thinking", "thinking": text, "signature": sign}:
                empty = {"thinking": "", "signature": ""}
                deltas = [("thinking_delta", "thinking", text), ("signature_delta", "signature", sign)]
            case {"type": "tool_use", "input": given}:
                empty, text = {"input": {}}, json.dumps(given)
                deltas = [("input_json_delta", "partial_json", piece) for piece in ("", text[:9], text[9:])]
        yield {"type": "content_block_start", **at, "content_block": {**block, **empty}}
        for kind, name, piece in deltas:
            yield {"type": "content_block_delta", **at, "delta": {"type": kind, name: piece}}
        yield {"type": "content_block_stop", **at}
    end = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield {"type": "message_delta", "delta": end, "usage": {"output_tokens": message["usage"]["output_tokens"]}}
    yield {"type": "message_stop"}
