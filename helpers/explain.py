"""Known failures of AWS calls as one short message: what happened, and what to do next."""

import json
import os
import re
import sys
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from botocore import exceptions as aws
from botocore.eventstream import ParserError
from botocore.parsers import ResponseParserError
from urllib3 import exceptions as http

from helpers.errors import WorkshopError
from helpers.models import alias_of

_SIGN_IN = "Next: sign in again (aws sso login, or aws configure), then run the cell again."
_AGAIN = "Next: run the cell again; a call that was cut short may have been billed."
_MODEL = "Next: run models.resolve({alias!r}); it finds what to call, or names another model for WORKSHOP_MODEL."
_GARBLED = (
    "What came back is not an answer of the service: perhaps a proxy or a sign-in page of your network stands "
    "in between. Next: run the cell again; if it stays, check the network."
)
_CUT = (
    "The answer ended before what the cell looks for, as when its token limit is reached, perhaps while the "
    "model was still thinking. Next: look at the stop reason; raise maxTokens (max_tokens)."
)
# Regular expressions on "code: text" of the service's refusals; the first that fits counts. The texts are those of
# live answers in public issue threads. The words may use {text}, and {model}, {alias}, {region}, ... of the call.
_REFUSALS = {
    r" refused (the request \(|to go on: )": "{text}",  # the words of a server of the learner's own
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
    r"end of its life": "{model} has reached its end of life. " + _MODEL,
    r"marked by provider as Legacy": "{model} is a legacy model, and you have not used it lately. " + _MODEL,
    r"with on-demand throughput isn.t supported": "{model} is only called by an inference profile. " + _MODEL,
    r"model identifier is invalid": "There is no model {model} in {region}. " + _MODEL,
    r"ExpiredToken|token included in the request is expired": "Your credentials have expired. " + _SIGN_IN,
    r"UnrecognizedClient|InvalidClientTokenId|InvalidSignature|SignatureDoesNotMatch": "AWS does not know your "
    "access key, or the secret does not belong to it. " + _SIGN_IN,
    r"ResourceNotFound.* knowledgeBaseId=|ValidationException.*knowledgeBaseId.* knowledgeBaseId=": "There is no "
    "knowledge base {knowledge_base} in {region}. Next: copy its id from the Bedrock console into .env "
    "(WORKSHOP_KNOWLEDGE_BASE_ID), check WORKSHOP_REGION, and restart the kernel.",
    r"AccessDenied": "You have no permission for {action}. Next: ask the admin of the account to attach "
    "data/policies/learner.json (for 03 and 99: builder.json too), which allow it.",
    r"^(model|internal|service(?!Quota))\w*(Error|Exception|Failure|Unavailable):": "Bedrock had a problem of its own "
    "({text}) " + _AGAIN,
}
# Errors that come from this side of the line.
_OTHERS: dict[tuple[type[BaseException], ...], str] = {
    (aws.NoCredentialsError, aws.PartialCredentialsError, aws.NoAuthTokenError): "There are no AWS credentials. "
    "Next: aws configure sso (or aws configure), restart the kernel; or go on with WORKSHOP_MODE=replay.",
    (aws.CredentialRetrievalError, aws.TokenRetrievalError, aws.SSOError): "Your AWS sign-in is not valid any more. "
    "{text}\n" + _SIGN_IN,
    (aws.ProfileNotFound,): "{text}. Next: correct AWS_PROFILE, or make the profile with aws configure sso.",
    (aws.InvalidConfigError, aws.ConfigParseError, aws.InfiniteLoopConfigError): "Your AWS configuration is not "
    "usable: {text} Next: correct ~/.aws/config, or make the profile again with aws configure sso.",
    (aws.NoRegionError,): "No AWS region is set. Next: put WORKSHOP_REGION=us-east-1 (or yours) into .env.",
    (aws.InvalidRegionError,): "{text} Next: put WORKSHOP_REGION=us-east-1 (or yours) into .env.",
    (aws.ReadTimeoutError, http.ReadTimeoutError): f"No answer came in time. {_AGAIN}",
    (aws.ConnectionClosedError, aws.ResponseStreamingError, aws.IncompleteReadError, http.ProtocolError): "The "
    f"connection broke before the answer was whole. {_AGAIN}",
    (aws.ConnectionError,): "AWS was not reached in {region}. {text}\nNext: check that Amazon Bedrock is offered "
    "there (WORKSHOP_REGION), network, VPN and proxy, and run the cell again; or go on offline: WORKSHOP_MODE=replay.",
    (ResponseParserError, ParserError): _GARBLED,
}  # fmt: skip


class CallFailed(WorkshopError):
    """A call to AWS failed for a known reason; `__cause__` is the original error."""


def explain(error: BaseException) -> CallFailed | None:
    """`error`, or what it was raised from, in words for a learner; None if it is not known here."""
    if isinstance(error, WorkshopError):
        return None  # it speaks for itself
    for link in _chain(error):
        if words := _words_for(link):
            told = CallFailed(words)
            told.__cause__ = error
            return told
    return None


def _words_for(error: BaseException) -> str:
    facts = _facts(error)
    if isinstance(error, aws.ClientError):
        said = "{code}: {text}".format_map(facts)
        said += f" knowledgeBaseId={facts['knowledge_base']}" if facts["knowledge_base"] else ""
        words = next((say for pattern, say in _REFUSALS.items() if re.search(pattern, said, re.I)), "")
    else:
        words = next((say for kinds, say in _OTHERS.items() if isinstance(error, kinds)), "") or _odd(error)
    return words.format_map(facts)


def _facts(error: BaseException) -> dict[str, str]:
    """What `error` and its traceback tell: the service's code and text, and the call that it ended."""
    told = error.response.get("Error", {}) if isinstance(error, aws.ClientError) else {}
    text = told.get("Message", str(error))
    action = re.search(r"perform: ([\w:]+)", text)
    found = {"code": told.get("Code", ""), "text": text, "action": action[1] if action else "this call"}
    found |= {"model": "the model", "alias": "", "region": "your region", "knowledge_base": ""}
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_name == "_make_api_call":  # botocore's: the one place that knows what was asked
            params = frame.f_locals.get("api_params") or {}
            found["region"] = str(frame.f_locals["self"].meta.region_name)
            found["model"] = str(params.get("modelId", found["model"]))
            found["alias"] = alias_of(found["model"]) if "modelId" in params else ""
            found["knowledge_base"] = str(params.get("knowledgeBaseId", ""))
    return found


def _odd(error: BaseException) -> str:
    """Words for errors of Python's own that tell of an answer or a setting; "" for a learner's own."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1].filename if frames else ""
    if isinstance(error, KeyError):  # botocore's parser, in an answer of STS or IAM that is none
        return _GARBLED if last.endswith(os.path.join("botocore", "parsers.py")) else ""
    if isinstance(error, json.JSONDecodeError):
        return _GARBLED if not error.doc.strip() or error.doc.strip().startswith("<") else ""
    if isinstance(error, StopIteration):  # next() over the parts of an answer without the one wanted
        return _CUT if _is_cell(last) else ""
    if isinstance(error, ValueError) and "Invalid JSON: EOF" in str(error):  # pydantic's
        return _CUT
    if isinstance(error, ValueError) and str(error).startswith("Invalid endpoint"):
        return "{text}. Next: correct AWS_ENDPOINT_URL or endpoint_url in ~/.aws/config; it begins with https://."
    if "Invalid header value" in str(error):
        return "Your AWS key or session token holds a line feed or another odd sign. Next: copy it again."
    return ""


def _is_cell(filename: str) -> bool:
    return "ipykernel_" in filename or filename.startswith("<ipython-input")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        frames = traceback.extract_tb(error.__traceback__)
        # Libraries wrap errors with or without `from`; an error in a learner's own `except` is another matter.
        own = error.__suppress_context__ or (frames and _is_cell(frames[-1].filename))
        error = error.__cause__ or (None if own else error.__context__)


def show(shell: Any, kind: type, error: BaseException, trace: TracebackType, tb_offset: Any = None) -> None:
    """IPython's handler of exceptions: `CallFailed` in place of the traceback of a known failure."""
    told = explain(error)
    if told is None:
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset, running_compiled_code=True)
        return
    sys.last_type, sys.last_value, sys.last_traceback = kind, error, trace  # for %tb and %debug
    cell = next((frame for frame in traceback.extract_tb(trace) if _is_cell(frame.filename)), None)
    place = f"In line {cell.lineno} of the cell: {cell.line}\n" if cell else ""
    shell._showtraceback(type(told), told, [f"CallFailed: {told}", f"{place}(%tb shows the whole traceback.)"])
