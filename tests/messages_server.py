"""A server of Anthropic's Messages API on this machine; the SDK's own types check each request that it gets."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from anthropic.types import message_create_params as asked
from pydantic import TypeAdapter

_FORMS = {
    False: TypeAdapter(asked.MessageCreateParamsNonStreaming),
    True: TypeAdapter(asked.MessageCreateParamsStreaming),
}
USAGE = {"input_tokens": 11, "output_tokens": 22, "cache_read_input_tokens": 33, "cache_creation_input_tokens": 44}
CONTEXT = "request (9001 tokens) exceeds the available context size (8192 tokens), try increasing it"
EYES = "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj"
ERRORS = {  # the words of Anthropic's API; 400, 500 and 503 those of a real llama-server (`make server-test` builds it)
    400: ("exceed_context_size_error", CONTEXT),
    401: ("authentication_error", "invalid x-api-key"),
    404: ("not_found_error", "model 'x' not found"),
    429: ("rate_limit_error", "This request would exceed your rate limit"),
    500: ("server_error", EYES),
    503: ("unavailable_error", "Loading model"),
    529: ("overloaded_error", "Overloaded"),
}
BREAKS = {  # what comes in mid-stream; llama-server's has no "error" around it
    "midway": {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
    "bare": {"code": 500, "type": "server_error", "message": "Compute error"},
}


class Fails(Exception):
    """The server's answer is another one: a status of ERRORS, or "html", "midway", "bare", "short", "cut"."""


Answer = Callable[[dict[str, Any]], dict[str, Any]]


def says(text: str, **more: Any) -> Answer:
    """Every question gets this text."""
    return lambda body: {"content": [{"type": "text", "text": text}], **more}


class MessagesServer(ThreadingHTTPServer):
    """Serves `answer(body)`, the parts of a Message that differ, at `url`; `requests` holds what was asked."""

    def __init__(self, answer: Answer):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer, self.requests, self.problems = answer, list[dict[str, Any]](), list[str]()
        self.headers: dict[str, str] = {}
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def take(self, body: dict[str, Any], headers: Any) -> None:
        """Note a request, and what the SDK's types find wrong with it."""
        self.headers = {name.lower(): value for name, value in headers.items()}
        form = _FORMS[bool(body.get("stream"))]
        try:
            json.dumps(form.dump_python(form.validate_python(body), mode="json", warnings="error"))
        except Exception as error:
            self.problems.append(str(error)[:500])
        self.requests.append(body)


class _Handler(BaseHTTPRequestHandler):
    server: MessagesServer
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave together

    def log_message(self, *_: Any) -> None:
        pass

    def _whole(self, status: int, body: Any, kind: str = "application/json") -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.take(body, self.headers)
        fault: Any = None
        try:
            parts = self.server.answer(body) if self.path == "/v1/messages" else {}
        except Fails as error:
            fault, parts = error.args[0], {"content": [{"type": "text", "text": "half an answer"}]}
        if fault in ERRORS or self.path != "/v1/messages":
            kind, text = ERRORS[fault or 404]
            return self._whole(fault or 404, {"type": "error", "error": {"type": kind, "message": text}})
        if fault == "html":
            return self._whole(200, b"<html>sign in</html>", "text/html")
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"]}
        message |= {"stop_reason": "end_turn", "stop_sequence": None, "usage": USAGE, **parts}
        if not body.get("stream"):
            return self._whole(200, message)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for event in _events(message):
            kind = event["type"]
            if fault == "short" and kind == "message_delta":
                break
            if fault and kind == "content_block_stop":
                event = BREAKS.get(fault, event)
            if fault == "cut" and kind == "content_block_stop":
                self.close_connection = True
                return self.connection.close()
            text = f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()
            for piece in (text[:7], text[7:]):  # cut in odd places, as networks do
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
            time.sleep(0.005)
        self.wfile.write(b"0\r\n\r\n")
        return None


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
