"""The service: an HTTP server in threads of this process, one a connection."""

import contextlib
import math
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

from moto.core.request import Request

from tests.loopback import routes, wire
from tests.loopback.answers import Dropped, ServiceError, Source
from tests.loopback.faults import Call, Faults, On
from tests.loopback.rules import RuleBook


class Service:
    """Serves `answers`, with `faults`, at `url` while open; closing ends its connections and threads."""

    def __init__(self, answers: Source, *faults: On, rules: RuleBook | None = None, moto: Any = None):
        """`rules` are all, if none are given; `moto` (account/together.py) answers for S3, IAM and STS."""
        self._answers, self.faults, self.rules, self._moto = answers, Faults(faults), rules or RuleBook(), moto
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._calls: list[Call] = []
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
        return max(sum(o.started <= call.started < (o.ended or math.inf) for o in self.calls) for call in self.calls)

    def answer(self, request: Request) -> tuple[Call, wire.Response]:
        """Take down one call and find its response; `ServiceError` for no known call, `Dropped` for no response."""
        service, operation, labels = routes.find(request)
        params = wire.params_of(operation, request, labels)
        if self._moto and service in ("s3", "iam", "sts"):
            proceed = partial(self._moto, operation.name, params, request)
        else:
            source = partial(self._answers, service, operation.name, params)
            proceed = partial(self.rules.apply, f"{service}.{operation.name}", params, source)
        with self._lock:
            stream = wire.stream_of(operation)
            call = Call(service, operation.name, params, time.monotonic(), stream=stream, wait=self._wait)
            self._calls.append(call)
            proceed = self.faults.wrap(call, proceed)
        try:
            return call, wire.success(operation, proceed())
        except Dropped:
            call.end("dropped")
            raise
        except ServiceError as error:
            call.end(error.code)
            return call, wire.failure(operation, error)
        except Exception as error:  # a mistake in the source must reach the test that wrote it
            call.end("LoopbackScriptError")
            return call, wire.failure(operation, ServiceError("LoopbackScriptError", 400, repr(error)))

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
            request = Request.from_primitives(self.command, self._service.url + self.path, self.headers, body)
            request.get_data()  # kept, before somebody reads its values from it
            call, response = self._service.answer(request)
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
        end = call.end if call else lambda outcome: None
        try:
            self.send_response(response.status)
            self.send_header("x-amzn-requestid", str(uuid.uuid4()))
            for name, value in response.headers.items():
                self.send_header(name, value)
            if isinstance(response.body, bytes):
                self.send_header("content-length", str(len(response.body)))
                self.end_headers()
                end("answered")  # before the last byte: the caller's next request comes after it
                if self.command != "HEAD":
                    self.wfile.write(response.body)
            else:
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                self._send_pieces(response.body)
                end("answered")
                self.wfile.write(b"0\r\n\r\n")
        except (Dropped, ConnectionError):
            end("dropped")  # before the caller can see it
            self._drop()
        finally:
            end("dropped")

    def _send_pieces(self, pieces: Iterator[bytes]) -> None:
        self.wfile.flush()
        for piece in pieces:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.flush()

    def _drop(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: Any) -> None:
        """Silence: `Service.calls` tells more."""
