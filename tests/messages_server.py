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


class Fails(Exception):
    """The server's answer is another one: a status of ERRORS, or "html", "midway", "bare", "short", "cut"."""


Answer = Callable[[dict[str, Any]], dict[str, Any]]


def says(text: str, **more: Any) -> Answer:
    """Every question gets this text."""
    return lambda body: {"content": [{"type": "text", "text": text}], **more}


class MessagesServer:
    """Serves `answer(body)`, the parts of a Message that differ, at `url`; `requests` holds what was asked."""

    def __init__(self, answer: Answer):
        self.answer, self.requests, self.problems = answer, list[dict[str, Any]](), list[str]()
        self.headers: dict[str, str] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *args: _Handler(self, *args))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

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
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave together

    def __init__(self, server: MessagesServer, *args: Any):
        self._own = server
        super().__init__(*args)

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
        self._own.take(body, self.headers)
        fault: Any = None
        try:
            parts = self._own.answer(body) if self.path == "/v1/messages" else {}
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
            if fault == "midway" and event["type"] == "content_block_stop":
                event = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
            if fault == "bare" and event["type"] == "content_block_stop":  # llama-server's: no "error" around it
                event = {"code": 500, "type": "server_error", "message": "Compute error"}
            if fault == "short" and event["type"] == "message_delta":
                break
            if fault == "cut" and event["type"] == "content_block_stop":
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
        at, kind = {"index": index}, block["type"]
        empty = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}, "tool_use": {"input": {}}}
        yield {"type": "content_block_start", **at, "content_block": {**block, **empty.get(kind, {})}}
        deltas: list[dict[str, Any]] = []
        if kind == "text":
            pieces = [block["text"][i : i + 24] for i in range(0, len(block["text"]), 24)]
            deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
        elif kind == "thinking":
            deltas = [{"type": "thinking_delta", "thinking": block["thinking"]}]
            deltas += [{"type": "signature_delta", "signature": block["signature"]}]
        elif kind == "tool_use":
            text = json.dumps(block["input"])
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", text[:9], text[9:])]
        for delta in deltas:
            yield {"type": "content_block_delta", **at, "delta": delta}
        yield {"type": "content_block_stop", **at}
    end = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield {"type": "message_delta", "delta": end, "usage": {"output_tokens": message["usage"]["output_tokens"]}}
    yield {"type": "message_stop"}
