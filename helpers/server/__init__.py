"""Mode server: any server of Anthropic's Messages API answers what the cells ask a model; all else is as in replay."""

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from botocore.awsrequest import AWSPreparedRequest, AWSRequest, AWSResponse
from botocore.exceptions import ConnectionError as NotReached
from botocore.httpsession import URLLib3Session
from botocore.utils import get_environ_proxies
from IPython import get_ipython
from urllib3.util import Url, parse_url

from helpers import replay
from helpers.language import N_, WorkshopError, say
from helpers.replay.recording import Json, raw
from helpers.server import messages
from helpers.settings import settings

LARGER = N_("give it a context of 16,384 tokens: OLLAMA_CONTEXT_LENGTH=16384 ollama serve; llama-server -c 16384")
_WAIT = N_("wait a minute and run the cell again")
_REFUSALS = (  # what "status: words" hold; Bedrock's word for it (botocore repeats Throttling and 503); the next step
    ("^40[13]", "AccessDeniedException", N_("put the key of that server into .env, WORKSHOP_SERVER_KEY")),
    ("^404", "ResourceNotFoundException", N_("correct WORKSHOP_SERVER_MODEL, or fetch that model first")),
    ("^(429|529)", "ThrottlingException", _WAIT),
    ("^50[234]", "ServiceUnavailableException", _WAIT),
    ("context|too long", "ValidationException", LARGER),
    ("image|mmproj|vision|modal", "ValidationException", N_("choose a model that sees pictures, or a lesson without")),
    ("", "ModelErrorException", N_("read what the server itself printed, or choose another model")),
)
_NOBODY = N_("{url} was not reached: {error}. Next: start it, correct WORKSHOP_SERVER_URL, or WORKSHOP_MODE=replay.")
_NO_MESSAGES = N_(
    "{url} does not speak Anthropic's Messages API. Next: correct WORKSHOP_SERVER_URL (without /v1/messages). Ollama "
    "speaks it from 0.14 on, LM Studio from 0.4.1, llama-server since December 2025."
)


class Server(replay.Replay):
    """Prompts go to WORKSHOP_SERVER_MODEL at WORKSHOP_SERVER_URL; all else is answered as in replay."""

    attempts = 8

    def __init__(self, name: str):
        """As `Replay`; `WorkshopError` where a setting is missing, or the key would travel unencrypted."""
        super().__init__(name)
        self.url, self._model = settings().server_url.rstrip("/").removesuffix("/v1"), settings().server_model
        key, address = settings().server_key.get_secret_value(), Url()
        with suppress(ValueError):
            address = parse_url(self.url)
        near = address.host in ("localhost", "127.0.0.1", "[::1]")
        if not self._model:
            raise WorkshopError("Which model? Next: put WORKSHOP_SERVER_MODEL=... into .env, as the server names it.")
        if address.scheme not in ("http", "https") or not address.host:
            raise WorkshopError("No server is at {url!r}. Next: an address like http://localhost:11434.", url=self.url)
        if key and address.scheme == "http" and not near:
            raise WorkshopError("{url} gets your key unencrypted. Next: https:// in WORKSHOP_SERVER_URL.", url=self.url)
        self.whose = say("{model} at {place}", model=self._model, place=address.netloc)
        self._is_claude = address.host == "api.anthropic.com"
        self._names = {"whose": self.whose, "other": "Amazon Bedrock" if self._is_claude else "Claude"}
        bearer = {"authorization": f"Bearer {key}"} if key and not self._is_claude else {}  # some providers want it so
        version = {"anthropic-version": "2023-06-01", "content-type": "application/json"}
        self._headers = {**version, "accept-encoding": "identity", "x-api-key": key or "none", **bearer}
        verify = os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE") or True
        self._http = URLLib3Session(verify, {} if near else get_environ_proxies(self.url), timeout=(10, 600))
        self._answers = 0  # of the cell that runs now
        if (shell := get_ipython()) is not None:
            shell.events.register("post_run_cell", self._sign)

    def __str__(self) -> str:
        return say("Mode server: {whose} answers the prompts, not {other}. All else is recorded.", **self._names)

    def _sign(self, *_: Any) -> None:
        if self._answers and replay.active() is self:
            told = N_("[{count} answered by {whose}, not by {other}; 'What to notice' speaks of the recorded answer]")
            print("\n" + say(told, count=self._answers, **self._names))
        self._answers = 0

    def _send(self, event_name: str, request: AWSPreparedRequest, **more: Any) -> AWSResponse:
        service, operation = event_name.split(".")[1:3]
        if service != "bedrock-runtime" or not operation.startswith(("Converse", "InvokeModel")):
            return super()._send(event_name, request, **more)
        started, asked, by_converse = time.monotonic(), _opened(request.body), operation.startswith("Converse")
        if not asked:
            raise WorkshopError("The body is no JSON object with a request in it. Next: body=json.dumps(...).")
        quick = {} if self._is_claude else {"thinking": {"type": "disabled"}}  # on a laptop, thinking takes minutes
        body = {**quick, **(messages.request_of(asked) if by_converse else asked), "model": self._model}
        body |= {"stream": True} if "Stream" in operation else {}
        body.pop("anthropic_version", None)
        try:
            post = AWSRequest("POST", f"{self.url}/v1/messages", self._headers, json.dumps(body), stream_output=True)
            reply = self._http.send(post.prepare())
        except NotReached as error:
            raise WorkshopError(_NOBODY, url=self.url, error=error) from error
        if reply.status_code != 200:
            return self._refusal(request, reply)
        self._answers += 1
        if "event-stream" in reply.headers.get("content-type", ""):
            events = self._events(reply)
            pairs = messages.events_of(events, started) if by_converse else (("chunk", {"chunk": e}) for e in events)
            frames = (raw({"events": [{"event": name, "data": data}]})[1] for name, data in pairs)  # as they come
            stream: Any = SimpleNamespace(stream=lambda *_, **__: frames, close=reply.raw.close)
            return AWSResponse(request.url, 200, {"content-type": "application/vnd.amazon.eventstream"}, stream)
        message = _opened(reply.content)
        if not isinstance(message.get("content", ""), list | None):
            raise WorkshopError(_NO_MESSAGES, url=self.url)
        answer = messages.response_of(message, started) if by_converse else message
        return replay.response(request.url, {"body": {"json": answer}})

    def _refusal(self, request: AWSPreparedRequest, reply: AWSResponse) -> AWSResponse:
        status, said = reply.status_code, _words_of(_opened(reply.content))
        said = said or say(_NO_MESSAGES, url=self.url) * (status in (404, 405))
        code, then = next(rest for words, *rest in _REFUSALS if re.search(words, f"{status}: {said}", re.IGNORECASE))
        # Bedrock has no 529; and botocore would repeat a 500, with which llama-server refuses what it never takes.
        entry = {"status": {500: 424, 529: 429}.get(status, status)}
        entry["headers"] = {"x-amzn-errortype": code, replay.REFUSED: "yes"}
        names = {**self._names, "status": status, "said": said, "then": say(then)}
        message = say("{whose} refused the request ({status}): {said} Next: {then}.", **names)
        return replay.response(request.url, entry | {"body": {"json": {"message": message}}})

    def _events(self, reply: AWSResponse) -> Iterator[Json]:
        """What the stream says, event by event; `WorkshopError` for an error in it, or an end before its time."""
        for line in reply.raw:
            event: Json = _opened(line[5:]) if line.startswith(b"data:") else {}
            kind = str(event.get("type", "ping"))
            if kind.endswith("error") or "error" in event:
                names = {**self._names, "said": _words_of(event), "then": say(_WAIT)}
                raise WorkshopError("{whose} refused to go on: {said} Next: {then}.", **names)
            if kind != "ping":
                yield event
            if kind == "message_stop":
                return
        raise WorkshopError("The answer of {whose} broke off. Next: {then}.", whose=self.whose, then=say(_WAIT))


def _opened(text: bytes) -> Json:
    with suppress(TypeError, ValueError):
        if isinstance(found := json.loads(text), dict):
            return found
    return {}


def _words_of(answer: Json) -> Any:
    """What an error says in "error", as text (Ollama) or with "message", or without "error" around (llama-server)."""
    told = answer.get("error") or answer
    return (told.get("message") if isinstance(told, dict) else told) or ""
