"""The service: an HTTP server in threads of this process, one a call."""

import socket
import threading
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Self

from moto.core.request import Request
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.loopback import wire
from tests.loopback.answers import Dropped, Raw, ServiceError, Source
from tests.loopback.faults import Call, Faults, On
from tests.loopback.rules import RuleBook


class Service:
    """Serves `answers`, with `faults`, at `url` while open; closing ends its waits and its threads."""

    def __init__(self, answers: Source, *faults: On, rules: RuleBook | None = None, moto: Any = None):
        """`rules` are all, if none are given; `moto` (account/together.py) answers for S3, IAM and STS."""
        self._answers, self.faults, self.rules, self._moto = answers, Faults(faults), rules or RuleBook(), moto
        self._lock, self._stopping = threading.Lock(), threading.Event()
        self._calls: list[Call] = []
        with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
            # By a socket of ours: werkzeug's own looks up the host's name, which takes seconds on some machines.
            form = {"threaded": True, "request_handler": _Handler, "fd": listening.fileno()}
            self._server = make_server(*listening.getsockname(), self._respond, **form)
        self._pool = ThreadPoolExecutor(64)
        self._server.process_request = partial(self._pool.submit, self._server.process_request_thread)
        self.url = f"http://127.0.0.1:{self._server.port}"

    def __enter__(self) -> Self:
        """Start to serve."""
        self._pool.submit(self._server.serve_forever, 0.02)
        return self

    def __exit__(self, *_: object) -> None:
        """End waits and threads."""
        self._stopping.set()
        self._server.shutdown()
        self._pool.shutdown()
        self._server.server_close()

    @property
    def calls(self) -> list[Call]:
        """Every call so far, in the order of arrival."""
        with self._lock:
            return list(self._calls)

    def _respond(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        request.get_data()  # kept, before somebody reads its values from it
        try:
            response = self.answer(request)
        except ServiceError as error:  # no known call
            response = wire.failure(None, error)
        response.headers["x-amzn-requestid"] = str(uuid.uuid4())
        return response(environ, start_response)

    def answer(self, request: Request) -> Raw:
        """Take down one call and find its response; `Dropped` for none."""
        service, name, params, operation = wire.asked(request)
        if self._moto and service in ("s3", "iam", "sts"):
            proceed = partial(self._moto, service, name, params, request)
        else:
            proceed = partial(self.rules.apply, service, name, params, partial(self._answers, service, name, params))
        with self._lock:
            stream = wire.stream_of(operation)
            call = Call(service, name, params, stream=stream, wait=self._wait)
            self._calls.append(call)
            proceed = self.faults.wrap(call, proceed)
        try:
            response = wire.success(operation, proceed())
        except Dropped:
            call.end("dropped")
            raise
        except ServiceError as error:
            call.end(error.code)
            return wire.failure(operation, error)
        except Exception as error:  # a mistake in the source must reach the test that wrote it
            call.end("LoopbackScriptError")
            return wire.failure(operation, ServiceError("LoopbackScriptError", 400, repr(error)))
        if response.is_streamed:
            response.response = _watched(call, response.response)
        else:
            call.end("answered")  # before the first byte: the caller's next request comes after it
        return response

    def _wait(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise Dropped


def _watched(call: Call, pieces: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from pieces
        call.end("answered")
    finally:
        call.end("dropped")  # unless it is answered


class _Handler(WSGIRequestHandler):
    def connection_dropped(self, error: BaseException, environ: Any = None) -> None:
        """End the connection; werkzeug would wait for another request."""
        self.close_connection = True

    def log_request(self, *_: Any) -> None:
        """Silence: `Service.calls` tells more."""
