"""The service: an HTTP server in threads of this process, one a connection."""

import contextlib
import socket
import socketserver
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler
from typing import Any, Self
from urllib.parse import parse_qs

from tests.loopback import routes, wire
from tests.loopback.answers import Dropped, Params, ServiceError, Source
from tests.loopback.faults import Call, Faults, On, Proceed
from tests.loopback.rules import RuleBook


class Service:
    """Serves `answers`, with `faults`, at `url` while open; closing ends its connections and threads."""

    def __init__(self, answers: Source, *faults: On, rules: RuleBook | None = None, moto: Any = None):
        """`rules` are all, if none are given; `moto` (account/together.py) answers for S3, IAM and STS."""
        self._answers, self._faults, self.rules, self._moto = answers, Faults(faults, 0), rules or RuleBook(), moto
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._calls: list[Call] = []
        self._in_flight = self._most = 0
        routes.all_routes()  # reads the service models now, not in the first call
        self._server = _Server(("127.0.0.1", 0), partial(_Handler, self))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="loopback")

    def __enter__(self) -> Self:
        """Start to serve."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End waits, connections and threads."""
        self._stopping.set()
        self._server.shutdown()
        self._thread.join()
        self._server.end_connections()
        self._server.server_close()

    @property
    def calls(self) -> list[Call]:
        """Every call so far, in the order of arrival."""
        with self._lock:
            return list(self._calls)

    @property
    def max_in_flight(self) -> int:
        """The most calls that were ever under way at one time."""
        return self._most

    def answer(self, method: str, url: str, headers: Any, body: bytes) -> tuple[Call, wire.Response]:
        """Take down one call and find its response; `ServiceError` for no known call, `Dropped` for no response."""
        name = routes.signed_for(headers.get("authorization", ""))
        if self._moto and name in ("s3", "iam", "sts"):
            operation, params, ask = self._moto(name, method, url, dict(headers.items()), body)
        else:
            path, _, query = url.partition("?")
            marker = headers.get("x-amz-target", "")
            if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
                marker = parse_qs(body.decode()).get("Action", [""])[0]
            route, labels = routes.find(method, path, name, marker)
            name, operation = route.service, route.operation
            params = wire.params_of(operation, labels, query, headers, body)
            source = partial(self._answers, name, str(operation.name), params)
            ask = partial(self.rules.apply, f"{name}.{operation.name}", params, source)
        call, proceed = self.begin(name, str(operation.name), params, wire.stream_of(operation), ask)
        try:
            return call, wire.success(operation, proceed())
        except Dropped:
            self.end(call, "dropped")
            raise
        except ServiceError as error:
            self.end(call, error.code)
            return call, wire.failure(operation, error)
        except Exception as error:  # a mistake in the source must reach the test that wrote it
            self.end(call, "LoopbackScriptError")
            return call, wire.failure(operation, ServiceError("LoopbackScriptError", 400, repr(error)))

    def begin(
        self, service: str, operation: str, params: Params, stream: str | None, proceed: Proceed
    ) -> tuple[Call, Proceed]:
        """Take down one call; `proceed` comes back inside the faults that meet it."""
        with self._lock:
            call = Call(service, operation, params, time.monotonic(), stream=stream, wait=self._wait)
            self._calls.append(call)
            self._in_flight += 1
            self._most = max(self._most, self._in_flight)
            return call, self._faults.wrap(call, proceed)

    def end(self, call: Call, outcome: str) -> None:
        """Take down the end of `call`, once."""
        with self._lock:
            if call.ended is None:
                call.ended, call.outcome = time.monotonic(), outcome
                self._in_flight -= 1

    def _wait(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise Dropped


class _Server(socketserver.ThreadingTCPServer):
    # Not http.server's class: that one looks up the host's name, which takes seconds on some machines.
    request_queue_size = 128
    allow_reuse_address = sys.platform != "win32"  # on Windows it would let two servers share a port

    def __init__(self, *args: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def end_connections(self) -> None:
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client may leave at any time
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave together

    def __init__(self, service: Service, *args: Any):
        self._service = service
        super().__init__(*args)

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        try:
            call, response = self._service.answer(self.command, self.path, self.headers, body)
        except ServiceError as error:
            self._send(wire.failure(None, error), None)
        except Dropped:
            self._drop()
        else:
            self._send(response, call)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = _serve

    def handle_expect_100(self) -> bool:
        """S3's PutObject waits a second for this line, so it leaves at once."""
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def _send(self, response: wire.Response, call: Call | None) -> None:
        try:
            self.send_response(response.status)
            self.send_header("x-amzn-requestid", str(uuid.uuid4()))
            for name, value in response.headers.items():
                self.send_header(name, value)
            if isinstance(response.body, bytes):
                self.send_header("content-length", str(len(response.body)))
                self.end_headers()
                self._end(call, "answered")  # before the last byte: the caller's next request comes after it
                if self.command != "HEAD":
                    self.wfile.write(response.body)
            else:
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                self._send_pieces(response.body)
                self._end(call, "answered")
                self.wfile.write(b"0\r\n\r\n")
        except (Dropped, ConnectionError):
            self._end(call, "dropped")  # before the caller can see it
            self._drop()
        finally:
            self._end(call, "dropped")

    def _send_pieces(self, pieces: Iterator[bytes]) -> None:
        self.wfile.flush()
        for piece in pieces:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.flush()

    def _end(self, call: Call | None, outcome: str) -> None:
        if call is not None:
            self._service.end(call, outcome)

    def _drop(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: Any) -> None:
        """Silence: `Service.calls` tells more."""
