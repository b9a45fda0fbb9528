"""Which failures are known, and the words for each; the texts of the service are those of its live answers."""

import contextlib
import json
import os
import re
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from botocore import exceptions as aws
from botocore.eventstream import ParserError
from botocore.parsers import ResponseParserError
from urllib3 import exceptions as http

_PARSERS = os.path.join("botocore", "parsers.py")
LOOKUP_SECONDS = 15.0  # for questions to AWS whose answer only makes a message better


@dataclass
class Failure:
    """What is known about one error: code and text of the service, and the call that it ended."""

    error: BaseException
    code: str = ""
    text: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    model: str = "the model"
    region: str = ""


def failure_of(error: BaseException) -> Failure:
    """What `error` and its traceback tell."""
    found = Failure(error, text=str(error))
    if isinstance(error, aws.ClientError):
        told = error.response.get("Error", {})
        found.code, found.text = told.get("Code", ""), told.get("Message", "")
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == "_make_api_call":  # botocore's: the one place that knows what was asked
            found.params = dict(frame.f_locals.get("api_params") or {})
            found.model = str(found.params.get("modelId", found.model))
            found.region = str(frame.f_locals["self"].meta.region_name)
    return found


def words_for(failure: Failure) -> str:
    """Cause and next step; empty for what is not known."""
    if isinstance(failure.error, aws.ClientError):
        said = f"{failure.code}: {failure.text}"
        say = next((say for pattern, say in _REFUSALS.items() if re.search(pattern, said, re.I)), "")
    else:
        say = next((say for kinds, say in _OTHERS.items() if isinstance(failure.error, kinds)), "")
    return say(failure) if callable(say) else say.format_map(vars(failure))


def is_cell(filename: str) -> bool:
    """Whether a traceback's file is a cell of a notebook."""
    return "ipykernel_" in filename or filename.startswith("<ipython-input")


def raised_in_cell(error: BaseException) -> bool:
    """Whether the line that raised `error` stands in a cell, not in a library."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and is_cell(frames[-1].filename)


def _looked_up(question: Callable[[], str], otherwise: str) -> str:
    """The answer to `question`, which asks AWS itself; `otherwise` if that fails too, or takes long."""
    answers: list[str] = []

    def ask() -> None:
        with contextlib.suppress(Exception):
            answers.append(question())

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(LOOKUP_SECONDS)
    return answers[0] if answers else otherwise


def _model(what: str) -> Callable[[Failure], str]:
    def say(failure: Failure) -> str:
        from helpers import models

        otherwise = "Next: choose an active model (Bedrock console, Model catalog): WORKSHOP_MODEL in .env."
        lookup = partial(models.instead_of, failure.model)
        return f"{what.format_map(vars(failure))} {_looked_up(lookup, otherwise)}"

    return say


def _denied(failure: Failure) -> str:
    action = re.search(r"perform: ([\w:]+)", failure.text)
    return (
        f"You have no permission for {action[1] if action else 'this call'}. Next: ask the admin of the "
        "account to attach data/policies/learner.json (for 03 and 99: builder.json too), which allow it."
    )


def _knowledge_base(failure: Failure) -> str:
    wrong = failure.params.get("knowledgeBaseId", "")
    return wrong and (
        f"There is no knowledge base {wrong} in {failure.region}. Next: copy its id from the Bedrock console "
        "into .env (WORKSHOP_KNOWLEDGE_BASE_ID), check WORKSHOP_REGION, and restart the kernel."
    )


def _unreachable(failure: Failure) -> str:
    import boto3

    known = boto3.Session().get_available_regions("bedrock")
    if failure.region and known and failure.region not in known:
        return f"Amazon Bedrock is not offered in {failure.region}. Next: WORKSHOP_REGION=us-east-1 in .env."
    return (
        f"AWS was not reached. {failure.text}\nNext: check network, VPN and proxy and run the cell again, "
        "or go on offline with WORKSHOP_MODE=replay."
    )


def _not_parsed(failure: Failure) -> str:
    frames = traceback.extract_tb(failure.error.__traceback__)
    return _GARBLED if frames and frames[-1].filename.endswith(_PARSERS) else ""


def _not_json(failure: Failure) -> str:
    document = getattr(failure.error, "doc", "").strip()
    return _GARBLED if not document or document.startswith("<") else ""


def _cut(failure: Failure) -> str:
    if isinstance(failure.error, StopIteration):  # next() over the parts of an answer without the one wanted
        return _CUT if raised_in_cell(failure.error) else ""
    return _CUT if "Invalid JSON: EOF" in failure.text else ""  # pydantic's


_SIGN_IN = "Next: sign in again (aws sso login, or aws configure), then run the cell again."
_AGAIN = "Next: run the cell again; a call that was cut short may have been billed."
_GARBLED = (
    "What came back is not an answer of the service: perhaps a proxy or a sign-in page of your network stands "
    "in between. Next: run the cell again; if it stays, check the network."
)
_CUT = (
    "The answer ended before what the cell looks for, as when its token limit is reached, perhaps while the "
    "model was still thinking. Next: look at the stop reason; raise maxTokens (max_tokens)."
)
_Say = str | Callable[[Failure], str]
# Regular expressions on "code: text" of the service's refusals; the first that fits counts.
_REFUSALS: dict[str, _Say] = {
    r"throttl.*per day": "Your account has used up its tokens of today for {model}; to wait a minute does not help. "
    "Next: go on tomorrow, choose another WORKSHOP_MODEL, or ask for more under Service Quotas.",
    r"throttl|TooManyRequests": "Your account has sent Bedrock more than it may in a minute ({text}) "
    "Next: wait a minute, run the cell again, and send fewer at a time.",
    r"use case details": "Your account has not sent Anthropic's use case form. Next: Bedrock console, Model "
    "catalog, any Claude model, Submit use case details; try again after 15 minutes.",
    r"Marketplace": "Your role may not subscribe to {model}. Next: ask an admin who has "
    "aws-marketplace:Subscribe and ViewSubscriptions to call the model once; try again after 5 minutes.",
    r"don.t have access to the model": "Your account has no access to {model}. Next: Bedrock console, Model "
    "catalog, this model: send Anthropic's use case form, accept the agreement; in a company, ask the admin.",
    r"end of its life": _model("{model} has reached its end of life."),
    r"marked by provider as Legacy": _model("{model} is a legacy model, and you have not used it lately."),
    r"with on-demand throughput isn.t supported": _model("{model} is only called by an inference profile."),
    r"model identifier is invalid": _model("There is no model {model} in {region}."),
    r"ExpiredToken|token included in the request is expired": f"Your credentials have expired. {_SIGN_IN}",
    r"UnrecognizedClient|InvalidClientTokenId|InvalidSignature|SignatureDoesNotMatch": "AWS does not know your "
    f"access key, or the secret does not belong to it. {_SIGN_IN}",
    r"ResourceNotFound|ValidationException.*knowledgeBaseId": _knowledge_base,
    r"AccessDenied": _denied,
    r"^(model|internal|service(?!Quota))\w*(Error|Exception|Failure|Unavailable):": "Bedrock had a problem of its own "
    f"({{text}}) {_AGAIN}",
}
# Errors that come from this side of the line.
_OTHERS: dict[tuple[type[BaseException], ...], _Say] = {
    (
        aws.NoCredentialsError,
        aws.PartialCredentialsError,
        aws.NoAuthTokenError,
    ): "There are no AWS credentials. "
    "Next: aws configure sso (or aws configure), restart the kernel; or go on with WORKSHOP_MODE=replay.",
    (
        aws.CredentialRetrievalError,
        aws.TokenRetrievalError,
        aws.SSOError,
    ): f"Your AWS sign-in is not valid any more. {{text}}\n{_SIGN_IN}",
    (aws.ProfileNotFound,): "{text}. Next: correct AWS_PROFILE, or make the profile with aws configure sso.",
    (aws.NoRegionError,): "No AWS region is set. Next: put WORKSHOP_REGION=us-east-1 (or yours) into .env.",
    (aws.ReadTimeoutError, http.ReadTimeoutError): f"No answer came in time. {_AGAIN}",
    (aws.ConnectionError,): _unreachable,
    (
        *(aws.ConnectionClosedError, aws.ResponseStreamingError, aws.IncompleteReadError, http.ProtocolError),
    ): f"The connection broke before the answer was whole. {_AGAIN}",
    (ResponseParserError, ParserError): _GARBLED,
    (json.JSONDecodeError,): _not_json,
    (KeyError,): _not_parsed,  # botocore's parser, in an answer of STS or IAM that is none
    (StopIteration, ValueError): _cut,
}
