"""The one place that makes AWS clients; LangChain gets the same ones."""

import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import boto3
import botocore.session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES
from botocore.exceptions import BotoCoreError, ReadTimeoutError
from botocore.parsers import ResponseParserError

from helpers import recordings
from helpers.errors import WorkshopError
from helpers.settings import settings

REPLAY_REGION = "us-east-1"
USER_AGENT = "claude-on-bedrock-workshop/1.0"
throttle_listeners: set[Callable[[], None]] = (
    set()
)  # called at each throttled attempt, from the caller's thread


def client(service: str, **config: Any) -> Any:
    """A boto3 client of `service` for the current mode; `config` goes into botocore's `Config`.

    Without `config` it is made once: a client takes longer to make than a call.
    """
    if config:
        return session().client(service, config=_config().merge(Config(**config)))
    return _plain_client(session(), service)


@lru_cache(maxsize=32)
def _plain_client(of: boto3.Session, service: str) -> Any:
    return of.client(service, config=_config())


def session() -> boto3.Session:
    """The boto3 session of the current mode; plain `boto3.client(...)` in a cell uses it too."""
    return _session(recordings.active())


@lru_cache(maxsize=1)
def _session(seam: recordings.Seam) -> boto3.Session:
    core = _isolated_session() if seam.mode == "replay" else botocore.session.Session()
    if seam.mode == "record":
        seam.secrets = _credentials(core)
    seam.attach(core)
    core.get_component("event_emitter").register_first("needs-retry.bedrock-runtime", _on_response)
    core.register("after-call", _not_empty)
    core.set_default_client_config(_config())
    boto3.setup_default_session(botocore_session=core, region_name=region())
    return boto3.DEFAULT_SESSION


def _on_response(
    response: tuple[Any, dict[str, Any]] | None, caught_exception: Exception | None = None, **_: Any
) -> bool | None:
    """Tell who listens of a throttled attempt; False ends the attempts of botocore."""
    if isinstance(caught_exception, ReadTimeoutError):
        return False  # ten minutes have passed, and the same question would be billed again
    error = (response[1] if response else {}).get("Error", {})
    if error.get("Code") != "ThrottlingException":
        return None
    for listener in tuple(throttle_listeners):
        listener()
    return False if "per day" in error.get("Message", "") else None  # no back-off lasts until tomorrow


def _not_empty(http_response: Any, parsed: dict[str, Any], model: Any, **_: Any) -> None:
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
    from opensearchpy import OpenSearch, Urllib3AWSV4SignerAuth

    from helpers.recordings.opensearch import connection

    return OpenSearch(
        hosts=[endpoint],
        http_auth=Urllib3AWSV4SignerAuth(session().get_credentials(), region(), "aoss"),
        connection_class=connection(recordings.active()),
        timeout=60,
    )


def _config() -> Config:
    common = {"connect_timeout": 10, "max_pool_connections": 32}
    if recordings.active().mode == "replay":
        # One attempt: a recorded error is shown, never slept on. No signature, a short user agent: nobody reads them.
        once = {"total_max_attempts": 1, "mode": "standard"}
        return Config(retries=once, user_agent=USER_AGENT, signature_version=UNSIGNED, **common)
    # A long answer takes minutes. Not "adaptive": that mode
    # slows every later call of a client down after one that was throttled. `helpers.batch` limits many calls.
    patient = {"total_max_attempts": 8, "mode": "standard"}
    return Config(retries=patient, read_timeout=600, user_agent_extra=USER_AGENT, **common)


def _isolated_session() -> botocore.session.Session:
    """A session that reads no environment variable, no file and no instance metadata."""
    variables = {
        name: (in_file, None, default, convert)
        for name, (in_file, _, default, convert) in BOTOCORE_DEFAUT_SESSION_VARIABLES.items()
    }
    for name in ("config_file", "credentials_file"):
        variables[name] = (None, None, os.devnull, None)
    variables["ignore_configured_endpoint_urls"] = (None, None, True, None)
    core = botocore.session.Session(session_vars=variables)
    core.set_credentials("replay", "replay")
    return core


def _credentials(core: botocore.session.Session) -> tuple[str, ...]:
    found = core.get_credentials()
    if found is None:
        return ()
    frozen = found.get_frozen_credentials()
    return tuple(part for part in frozen if part)


def region() -> str:
    """The region of live calls: WORKSHOP_REGION, AWS_REGION, AWS_DEFAULT_REGION, then the AWS profile's."""
    if recordings.active().mode == "replay":
        return REPLAY_REGION
    named = settings().region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    try:
        named = named or botocore.session.Session().get_config_variable("region")
    except BotoCoreError as error:
        raise WorkshopError(f"{error} Correct AWS_PROFILE or ~/.aws/config.") from error
    if not named:
        raise WorkshopError("No AWS region is set. Put WORKSHOP_REGION=us-east-1 (or your region) into .env.")
    return str(named)
