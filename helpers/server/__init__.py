"""Mode server: a server of Anthropic's Messages API answers what the cells ask a model on Bedrock.

Ollama, llama-server, LM Studio, vLLM on one's own machine, a provider, Anthropic's own: all else is answered as in
replay, so cells, boto3 and LangChain stay as they are.
"""

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSRequest, AWSResponse
from botocore.exceptions import ConnectionError as NotReached
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies
from IPython import get_ipython

from helpers import replay
from helpers.errors import WorkshopError
from helpers.replay.recording import Json, raw
from helpers.server import messages
from helpers.settings import settings

ANTHROPIC = "api.anthropic.com"  # Claude answers there
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_CALLS = {"Converse", "ConverseStream", "InvokeModel", "InvokeModelWithResponseStream"}
_KEY = ("AccessDeniedException", "Next: put the key of that server into .env, WORKSHOP_SERVER_KEY.")
_WAIT = "Next: wait a minute and run the cell again."
_REFUSALS = {  # by status: Bedrock's word, which tells botocore whether to try again, and what to do
    401: _KEY,
    403: _KEY,
    404: ("ResourceNotFoundException", "Next: correct WORKSHOP_SERVER_MODEL, or fetch that model first."),
    429: ("ThrottlingException", _WAIT),
    529: ("ThrottlingException", _WAIT),
}
_NO_MESSAGES = (
    "{} does not speak Anthropic's Messages API. Next: correct WORKSHOP_SERVER_URL (without /v1/messages). Ollama "
    "speaks it from 0.14 on, LM Studio from 0.4.1, llama-server since December 2025."
)


class Server(replay.Replay):
    """Prompts go to WORKSHOP_SERVER_MODEL at WORKSHOP_SERVER_URL; all else is answered as in replay."""

    attempts = 8

    def __init__(self, *args: Any, **named: Any):
        """As `Replay`; `WorkshopError` where a setting is missing, or the key would travel unencrypted."""
        super().__init__(*args, **named)
        self.url, key = (
            settings().server_url.rstrip("/").removesuffix("/v1"),
            settings().server_key.get_secret_value(),
        )
        address = urlsplit(self.url)
        if not settings().server_model:
            raise WorkshopError("Which model? Next: put WORKSHOP_SERVER_MODEL=... into .env, as the server names it.")
        if address.scheme not in ("http", "https") or not address.hostname:
            raise WorkshopError(
                f"WORKSHOP_SERVER_URL is {self.url!r}. Next: an address such as http://localhost:11434."
            )
        if key and address.scheme == "http" and address.hostname not in _LOOPBACK:
            raise WorkshopError(f"{self.url} would get your key unencrypted. Next: https:// in WORKSHOP_SERVER_URL.")
        self.whose = f"{settings().server_model} at {address.netloc}"
        self._anthropic = address.hostname == ANTHROPIC
        self._not = "Amazon Bedrock" if self._anthropic else "Claude"
        self._headers = {"content-type": "application/json", "accept-encoding": "identity", "x-api-key": key or "none"}
        self._headers["anthropic-version"] = "2023-06-01"
        if key and not self._anthropic:  # some providers want it so
            self._headers["authorization"] = f"Bearer {key}"
        proxies = {} if address.hostname in _LOOPBACK else get_environ_proxies(self.url)
        self._http = URLLib3Session(proxies=proxies, timeout=(10, 600), max_pool_connections=32)
        self._answers = 0  # of the cell that runs now
        if (shell := get_ipython()) is not None:
            shell.events.register("pre_run_cell", self._forget)
            shell.events.register("post_run_cell", self._sign)

    def __str__(self) -> str:
        return (
            f"Mode server: {self.whose} answers the prompts, not {self._not}. All else is recorded, and "
            "so is the answer that 'What to notice' speaks of."
        )

    def _forget(self, *_: Any) -> None:
        self._answers = 0

    def _sign(self, *_: Any) -> None:
        if self._answers and replay.active() is self:
            times = "" if self._answers == 1 else f"{self._answers} times "
            print(f"\n[answered {times}by {self.whose}, not by {self._not}]")

    def _send(self, event_name: str, request: AWSPreparedRequest, **more: Any) -> AWSResponse:
        service, operation = event_name.split(".")[1:3]
        if service != "bedrock-runtime" or operation not in _CALLS:
            return super()._send(event_name, request, **more)
        started, asked = time.monotonic(), json.loads(request.body)
        by_converse, streamed = operation.startswith("Converse"), "Stream" in operation
        body = messages.request_of(asked) if by_converse else asked
        body.pop("anthropic_version", None)
        if not self._anthropic:  # on a laptop, thinking takes minutes
            body.setdefault("thinking", {"type": "disabled"})
        reply = self._post({**body, "model": settings().server_model, **({"stream": True} if streamed else {})})
        self._answers += 1
        if reply.status_code != 200:
            return self._refusal(request, reply)

        def milliseconds() -> int:
            return round(1000 * (time.monotonic() - started))

        if streamed:
            events = _events(reply)
            pairs = messages.events_of(events, milliseconds) if by_converse else _chunks(events)
            kind = {"content-type": "application/vnd.amazon.eventstream"}
            return AWSResponse(request.url, 200, kind, _Frames(pairs, reply, self.whose))
        message = self._read(reply)
        return _whole(request, 200, messages.response_of(message, milliseconds()) if by_converse else message)

    def _post(self, body: Json) -> AWSResponse:
        data = json.dumps(body).encode()
        request = AWSRequest("POST", f"{self.url}/v1/messages", self._headers, data, stream_output=True)
        try:
            return self._http.send(request.prepare())
        except NotReached as error:
            raise WorkshopError(
                f"There is no server at {self.url}. Next: start it, correct WORKSHOP_SERVER_URL in .env, or go on with "
                "WORKSHOP_MODE=replay."
            ) from error

    def _read(self, reply: AWSResponse) -> Json:
        try:
            message = json.loads(reply.content)
            return {**message, "content": message["content"] or [], "usage": message.get("usage") or {}}
        except (ValueError, KeyError, TypeError) as error:
            raise WorkshopError(_NO_MESSAGES.format(self.url)) from error

    def _refusal(self, request: AWSPreparedRequest, reply: AWSResponse) -> AWSResponse:
        status = reply.status_code
        try:
            said = json.loads(reply.content)["error"]["message"]
        except (ValueError, KeyError, TypeError):
            said = _NO_MESSAGES.format(self.url) if status in (404, 405) else "no reason given."
        code, then = _REFUSALS.get(status, ("ValidationException" if status < 500 else "ModelErrorException", ""))
        text = f"{self.whose} refused the request ({status}): {said} {then}".strip()
        return _whole(request, 429 if status == 529 else status, {"message": text}, code)


def _whole(request: AWSPreparedRequest, status: int, body: Json, error: str = "") -> AWSResponse:
    entry = {"body": {"json": body}, "status": status, "headers": {"x-amzn-errortype": error} if error else {}}
    return replay.response(request.url, entry)


def _events(reply: AWSResponse) -> Iterator[Json]:
    for line in reply.raw:
        if line.startswith(b"data:") and line[5:].lstrip().startswith(b"{"):
            yield json.loads(line[5:])


def _chunks(events: Iterator[Json]) -> Iterator[tuple[str, Json]]:
    for event in events:
        if event["type"] == "error":
            yield "modelStreamErrorException", {"message": event["error"].get("message", "")}
            return
        if event["type"] != "ping":
            yield "chunk", {"chunk": event}


class _Frames:
    """Events as the bytes of an AWS event stream, made while they are read."""

    def __init__(self, pairs: Iterator[tuple[str, Json]], reply: AWSResponse, whose: str):
        self._pairs, self._reply, self._whose = pairs, reply, whose

    def stream(self, amt: int = 1024, decode_content: bool | None = None) -> Iterator[bytes]:
        """One frame an event."""
        for name, data in self._pairs:
            kind = "exception" if name.endswith("Exception") else "event"
            if kind == "exception":
                data = {"message": f"{self._whose} refused to go on: {data['message']} {_WAIT}"}
            yield raw({"events": [{kind: name, "data": data}]})[1]

    def close(self) -> None:
        """Let the server stop writing."""
        self._reply.raw.close()
