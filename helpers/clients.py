"""The one place that makes AWS clients; LangChain gets the same ones."""

import os
import random
from functools import lru_cache, partial
from typing import Any

import boto3
import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES
from botocore.exceptions import ReadTimeoutError
from botocore.parsers import ResponseParserError

from helpers import replay
from helpers.language import WorkshopError
from helpers.settings import settings

REPLAY_REGION = "us-east-1"
USER_AGENT = "claude-on-bedrock-workshop/1.0"
THROTTLED = 80  # attempts of a call that is throttled: about a minute


def client(service: str) -> Any:
    """The boto3 client of `service` for who answers now, made once: that takes longer than a call."""
    return _client(session(), service)


@lru_cache(maxsize=32)
def _client(of: boto3.Session, service: str) -> Any:
    return of.client(service)


def session() -> boto3.Session:
    """The boto3 session for who answers now; plain `boto3.client(...)` in a cell uses it too."""
    return _session(replay.active())


@lru_cache(maxsize=1)
def _session(mode: replay.Live) -> boto3.Session:
    core = _isolated_session() if mode.offline else botocore.session.Session()
    mode.attach(core)
    for service in ("bedrock-runtime", "bedrock-agent-runtime") if mode.attempts > 1 else ():
        core.get_component("event_emitter").register_first(f"needs-retry.{service}", _try_again)
    core.register("after-call", _refuse_empty)
    core.set_default_client_config(_config())
    boto3.setup_default_session(botocore_session=core, region_name=region())
    return boto3.DEFAULT_SESSION


def _try_again(
    attempts: int, response: Any, caught_exception: Exception | None = None, **_: Any
) -> float | bool | None:
    """Seconds until the next attempt; False for none; None leaves it to botocore.

    A quota is a bucket that fills steadily: waits that grow slowly, to a second, use all of it, where botocore's,
    which double up to 20 seconds, leave much unused (`make bench`).
    """
    error = (response[1] if response else {}).get("Error", {})
    if isinstance(caught_exception, ReadTimeoutError) or "per day" in error.get("Message", ""):
        return False  # ten minutes have passed and it would be billed again; or none helps before tomorrow
    if error.get("Code") != "ThrottlingException":
        return None
    return random.uniform(0.5, 1) * min(1.0, 0.2 + 0.05 * attempts) if attempts < THROTTLED else False


def _refuse_empty(http_response: Any, parsed: dict[str, Any], model: Any, **_: Any) -> None:
    """Botocore takes a page of a proxy for an answer with nothing in it: raise, before a cell misses its parts."""
    shape = model.output_shape
    wanted = shape.required_members if shape else []
    if shape and model.service_model.service_name == "bedrock" and model.name.startswith("List"):
        wanted = list(shape.members)
    no_event = model.has_event_stream_output and http_response.headers.get("content-length") == "0"
    if "Error" not in parsed and (no_event or (wanted and not parsed.keys() & set(wanted))):
        raise ResponseParserError(f"The answer to {model.name} is empty.")


def opensearch(endpoint: str) -> Any:
    """An opensearch-py client of the collection at `endpoint` (a URL), its requests signed for `aoss`."""
    from opensearchpy import OpenSearch, Urllib3AWSV4SignerAuth, Urllib3HttpConnection

    class Connection(Urllib3HttpConnection):
        def perform_request(self, method: str, url: str, params: Any = None, body: Any = None, **more: Any) -> Any:  # type: ignore[override]
            send = partial(super().perform_request, method, url, params, body, **more | {"ignore": range(1000)})
            asked = {"path": url, "params": dict(params or {}), "body": body}
            status, headers, text = replay.active().opensearch(f"opensearch.{method}", asked, send)
            if not 200 <= status < 300:
                self._raise_error(status, text, headers.get("content-type"))
            return status, headers, text

    signer = Urllib3AWSV4SignerAuth(session().get_credentials(), region(), "aoss")
    return OpenSearch(hosts=[endpoint], http_auth=signer, connection_class=Connection, timeout=60)


def _config() -> Config:
    tries = {"total_max_attempts": replay.active().attempts, "mode": "standard"}
    common = {"connect_timeout": 10, "max_pool_connections": 32, "retries": tries}
    if replay.active().offline:  # no signature: nobody reads it
        return Config(user_agent=USER_AGENT, signature_version=UNSIGNED, **common)
    return Config(read_timeout=600, user_agent_extra=USER_AGENT, **common)  # a long answer takes minutes


def _isolated_session() -> botocore.session.Session:
    """A session that reads no environment variable, no file and no instance metadata."""
    known = BOTOCORE_DEFAUT_SESSION_VARIABLES.items()
    variables = {name: (None, None, default, convert) for name, (_, _, default, convert) in known}
    variables |= dict.fromkeys(("config_file", "credentials_file"), (None, None, os.devnull, None))
    variables["ignore_configured_endpoint_urls"] = (None, None, True, None)
    core = botocore.session.Session(session_vars=variables)
    core.set_credentials("replay", "replay")
    return core


def region() -> str:
    """WORKSHOP_REGION, AWS_REGION, AWS_DEFAULT_REGION, then the AWS profile's; where AWS is not asked, the recorded."""
    if replay.active().offline:
        return REPLAY_REGION
    name = settings().region or os.environ.get("AWS_REGION") or botocore.session.Session().get_config_variable("region")
    if not name:
        raise WorkshopError("No AWS region is set. Put WORKSHOP_REGION=us-east-1 (or your region) into .env.")
    return str(name)
