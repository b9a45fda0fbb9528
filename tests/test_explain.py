"""Every known failure becomes one short message; the rest passes untouched."""

import json

import pytest
from botocore import exceptions as aws
from botocore.config import Config
from IPython.core.interactiveshell import InteractiveShell
from langchain_aws import ChatBedrockConverse
from traitlets.config import Config as Traits

from helpers import clients, workshop
from helpers.clients import client
from helpers.explain import explain
from helpers.language import WorkshopError
from tests.loopback import On, Reply
from tests.loopback.faults import STREAM_ERRORS, dropped, garbled, refused, slow, stream_ends
from tests.test_checks import ANSWERS as ACCOUNT

REPLIES = {f"bedrock-runtime.{name}": Reply("Yes, no.") for name in ("Converse", "ConverseStream", "InvokeModel")}
ANSWERS = {**ACCOUNT, **REPLIES}
BARE = "anthropic.claude-sonnet-5-5"
PROFILE = "global." + BARE
TURN = {"role": "user", "content": [{"text": "?"}]}


def ask(model=BARE):
    """One Converse call."""
    return client("bedrock-runtime").converse(modelId=model, messages=[TURN])


CALLS = {  # a stream is read to its end; STS answers in XML; the knowledge base is not there
    "ask": ask,
    "stream": lambda: list(client("bedrock-runtime").converse_stream(modelId=PROFILE, messages=[TURN])["stream"]),
    "identity": lambda: client("sts").get_caller_identity(),
    "retrieve": lambda: client("bedrock-agent-runtime").retrieve(
        knowledgeBaseId="ABCDEFGHIJ", retrievalQuery={"text": "?"}
    ),
    "chain": lambda: ChatBedrockConverse(
        client=client("bedrock-runtime"), bedrock_client=client("bedrock"), model=PROFILE
    ).invoke("?"),
    "old": lambda: ask("anthropic.claude-3-sonnet-20240229-v1:0"),
    "legacy": lambda: ask("us.anthropic.claude-opus-4-1-20250805-v1:0"),
    "profile": lambda: ask(PROFILE),
}


def told_of(call):
    """What is said of the error that `call` ends in."""
    with pytest.raises(Exception) as caught:
        call()
    told = explain(caught.value)
    assert isinstance(told, WorkshopError) and told.__cause__ is caught.value
    assert len(str(told)) < 420 and "{" not in str(told)
    return str(told)


BROKE, GARBLED = "connection broke", "not an answer of the service"
FAILURES = [  # the fault, the call that meets it, and two parts of what is said: the cause and the next step
    (refused("too many tokens"), "ask", "more than it may in a minute (Too many tokens", "wait a minute"),
    (refused("per day"), "ask", "tokens of today for anthropic.claude-sonnet-5-5", "Service Quotas"),
    (refused("no access"), "ask", "no access to anthropic.claude-sonnet-5-5", "use case form"),
    (refused("marketplace"), "ask", "may not subscribe", "aws-marketplace:Subscribe"),
    (refused("form missing"), "ask", "use case form", "Submit use case details"),
    (refused("end of life"), "old", "end of life", "models.resolve('claude-3-sonnet')"),
    (refused("legacy"), "legacy", "legacy", "models.resolve('claude-opus-4-1')"),
    (refused("bare id"), "ask", "inference profile", "models.resolve('claude-sonnet-5-5')"),
    (refused("bad id"), "profile", f"no model {PROFILE} in us-west-2", "models.resolve("),
    (refused("no knowledge base"), "retrieve", "no knowledge base ABCDEFGHIJ in us-west-2", "WORKSHOP_KNOWLEDGE"),
    (refused("not authorized"), "ask", "no permission for bedrock:Converse", "data/policies/learner.json"),
    (refused("expired"), "ask", "expired", "aws sso login"),
    (refused("bad key"), "ask", "does not know your access key", "aws configure"),
    (stream_ends(2), "stream", BROKE, "run the cell again"),
    (dropped(), "ask", BROKE, "run the cell again"),
    *((garbled(), call, GARBLED, "check the network") for call in ("ask", "stream", "identity", "chain")),
    *((stream_ends(2, name), "stream", "a minute" if "thrott" in name else "problem of its own", "again")
      for name in STREAM_ERRORS),
    (slow(between=2), "stream", "in time", "run the cell again"),
]  # fmt: skip


@pytest.mark.parametrize(("fault", "call", "cause", "step"), FAILURES)
def test_a_failure_is_told_with_its_cause_and_the_next_step(fault, call, cause, step, live, monkeypatch):
    waits, patient = [], clients._config
    monkeypatch.setattr("botocore.endpoint.time.sleep", waits.append)
    if cause == "in time":
        monkeypatch.setattr(clients, "_config", lambda: patient().merge(Config(read_timeout=0.2)))
    with live(ANSWERS, On(fault, operation="sts.*" if call == "identity" else "bedrock-*.*")):
        told = told_of(CALLS[call])
    assert cause in told and step in told and "111122223333" not in told
    if call == "ask" and "more than it may" in cause:
        assert len(waits) == clients.THROTTLED - 1 and max(waits) <= 1 and 30 < sum(waits) < 90
    if "today" in cause or cause == "in time":  # no wait helps, or it would be billed again
        assert waits == []


def test_a_service_that_is_not_reached_and_credentials_that_are_not_there(change, monkeypatch):
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: None)
    change(mode="live", region="us-west-2")
    workshop.start("lesson")
    assert "no AWS credentials" in told_of(ask)
    for name, value in {"ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "x", "ENDPOINT_URL": "http://127.0.0.1:9"}.items():
        monkeypatch.setenv("AWS_" + name, value)
    workshop.start("lesson")
    told = told_of(ask)
    assert "not reached in us-west-2" in told and "offered there (WORKSHOP_REGION)" in told


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (aws.PartialCredentialsError(provider="env", cred_var="aws_secret_access_key"), "no AWS credentials"),
        (aws.UnauthorizedSSOTokenError(), "aws sso login"),
        (aws.ProfileNotFound(profile="classs"), "AWS_PROFILE"),
        (aws.InvalidConfigError(error_msg="The SSO session x does not exist."), "aws configure sso"),
        (aws.SSLError(endpoint_url="https://x", error="CERTIFICATE_VERIFY_FAILED"), "into AWS_CA_BUNDLE"),
        (ValueError("Invalid header value b'x\\n'"), "copy it again"),
        (SyntaxError("'(' was never closed"), "not valid Python"),
        # What is not known passes.
        (ValueError("x"), ""),
        (json.JSONDecodeError("Expecting value", "a learner's own text", 0), ""),
        (aws.ClientError({"Error": {"Code": "ValidationException", "Message": "too long"}}, "Converse"), ""),
    ],
    ids=repr,
)
def test_sign_in_settings_and_what_is_not_known(error, words):
    told = str(explain(error) or "")
    assert words in told and ("Next: " in told) == bool(words)


def test_a_wrapped_error_is_found_and_an_error_of_ones_own_is_not_hidden():
    def library():
        try:
            raise aws.NoRegionError
        except aws.NoRegionError:
            raise RuntimeError("wrapped")  # noqa: B904 - as libraries do

    assert "No AWS region" in told_of(library)
    cell = compile("try:\n    fail()\nexcept Exception:\n    print(misspelt)", "/tmp/ipykernel_1/2.py", "exec")
    with pytest.raises(NameError) as own:
        exec(cell, {"fail": library})
    assert explain(own.value) is None


@pytest.fixture
def shell():
    """IPython, as it is in a notebook."""
    yield InteractiveShell.instance(config=Traits(HistoryManager={"enabled": False}), colors="nocolor")
    InteractiveShell.clear_instance()


def test_a_notebook_shows_a_few_lines_and_the_traceback_is_one_command_away(live, shell, capsys):
    def shown(cell):
        capsys.readouterr()
        shell.run_cell(cell, store_history=True)
        return capsys.readouterr().out

    with live(ANSWERS, On(refused("bare id"), operation="Converse")):
        shell.push({"runtime": client("bedrock-runtime"), "asked": {"modelId": BARE, "messages": [TURN]}})
        lines = shown("x = 1\nresponse = runtime.converse(**asked)").splitlines()
        assert len(lines) <= 5 and lines[0].startswith("CallFailed: ") and "models.resolve(" in lines[0]
        assert lines[1] == "In line 2 of the cell: response = runtime.converse(**asked)"
        whole = shown("%tb")
        assert "_make_api_call" in whole and "ValidationException" in whole
        own = "try:\n    runtime.converse(**asked)\nexcept runtime.exceptions.ValidationException:\n    print('caught')"
        assert shown(own) == "caught\n"  # a cell can still catch the error of boto3
    empty = shown("next(part['text'] for part in [{'reasoningContent': {}}] if 'text' in part)")
    assert empty.startswith("CallFailed: ") and "maxTokens" in empty  # an answer without text
    unknown = shown("def divide(x):\n    return 1 / x\n\ndivide(0)").splitlines()  # looks as ever
    assert unknown[-1] == "ZeroDivisionError: division by zero" and "return 1 / x" in str(unknown)
