"""Every known failure becomes one short message; the rest passes untouched."""

import json

import boto3
import botocore.session
import nbformat
import pytest
from botocore import exceptions as aws
from botocore.config import Config
from langchain_aws import AmazonKnowledgeBasesRetriever, ChatBedrockConverse

from helpers import clients, workshop
from helpers.explain import CallFailed, explain
from helpers.language import WorkshopError
from helpers.settings import ROOT
from tests.loopback import On, Reply, Script, Service, ServiceError
from tests.loopback.faults import STREAM_ERRORS, dropped, garbled, refused, slow, stream_ends
from tools.notebooks import environment, execute, write

KEYS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-west-2"}
LISTS = ("bedrock.ListFoundationModels", "bedrock.ListInferenceProfiles")
ANSWERS = {name: json.loads((ROOT / f"tools/api_answers/{name}.json").read_text()) for name in LISTS}
ANSWERS |= {
    "bedrock-runtime.Converse": Reply("Yes."),
    "bedrock-runtime.ConverseStream": Reply("One two three."),
    "bedrock-runtime.InvokeModel": Reply("Yes."),
}
BARE = "anthropic.claude-sonnet-5-5"
PROFILE = "global." + BARE
REFUSED = "arn:aws:iam::111122223333:user/x is not authorized to perform: bedrock:InvokeModel on resource: x"


def ask(model=BARE):
    """One Converse call."""
    message = {"role": "user", "content": [{"text": "?"}]}
    return clients.client("bedrock-runtime").converse(modelId=model, messages=[message])


def stream():
    """One streamed call, read to its end."""
    message = {"role": "user", "content": [{"text": "?"}]}
    return list(clients.client("bedrock-runtime").converse_stream(modelId=PROFILE, messages=[message])["stream"])


def invoke():
    """One InvokeModel call whose body is read as JSON."""
    return json.loads(clients.client("bedrock-runtime").invoke_model(modelId=PROFILE, body="{}")["body"].read())


def identity():
    """One call of a service that answers in XML."""
    return clients.client("sts").get_caller_identity()


def retrieve():
    """One Retrieve call on a knowledge base that is not there."""
    agent = clients.client("bedrock-agent-runtime")
    return agent.retrieve(knowledgeBaseId="ABCDEFGHIJ", retrievalQuery={"text": "?"})


@pytest.fixture
def failing(change, monkeypatch):
    """What is said of the error that `call` ends in, live, against a service with these faults."""
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: None)

    def run(call, *faults, answers=ANSWERS):
        for name, value in KEYS.items():
            monkeypatch.setenv(name, value)
        change(mode="live")
        with Service(Script(answers), *faults) as service:
            monkeypatch.setenv("AWS_ENDPOINT_URL", service.url)
            workshop.start("lesson")
            with pytest.raises(Exception) as caught:
                call()
            told = explain(caught.value)
            assert told is not None, repr(caught.value)
            assert isinstance(told, WorkshopError) and told.__cause__ is caught.value
            assert len(str(told)) < 420 and "{" not in str(told)
            return str(told)

    return run


@pytest.mark.parametrize(
    "fault, call, cause, step",
    [
        ("too many tokens", ask, "more than it may in a minute (Too many tokens", "wait a minute"),
        ("too many requests", ask, "more than it may in a minute (Too many requests", "fewer at a time"),
        ("per day", ask, "tokens of today for anthropic.claude-sonnet-5-5", "Service Quotas"),
        ("no access", ask, "no access to anthropic.claude-sonnet-5-5", "use case form"),
        ("marketplace", ask, "may not subscribe", "aws-marketplace:Subscribe"),
        ("form missing", ask, "use case form", "Submit use case details"),
        ("end of life", lambda: ask("anthropic.claude-3-sonnet-20240229-v1:0"), "end of life",
         "models.resolve('claude-3-sonnet')"),
        ("legacy", lambda: ask("us.anthropic.claude-opus-4-1-20250805-v1:0"), "legacy",
         "models.resolve('claude-opus-4-1')"),
        ("bare id", ask, "inference profile", "models.resolve('claude-sonnet-5-5')"),
        ("bad id", lambda: ask("anthropic.claude-sonet"), "no model anthropic.claude-sonet in", "models.resolve("),
        ("bad id", lambda: ask(PROFILE), f"no model {PROFILE} in us-west-2", "models.resolve("),
        ("no knowledge base", retrieve, "no knowledge base ABCDEFGHIJ in us-west-2", "WORKSHOP_KNOWLEDGE_BASE_ID"),
        ("expired", ask, "expired", "aws sso login"),
        ("bad key", ask, "does not know your access key", "aws configure"),
    ],
)  # fmt: skip
def test_refusals_of_the_service(failing, fault, call, cause, step):
    told = failing(call, On(refused(fault), operation="bedrock-*runtime.*"))
    assert cause in told and step in told


@pytest.mark.parametrize(
    "fault, call, cause, step",
    [
        (stream_ends(2), stream, "connection broke", "run the cell again"),
        (dropped(), ask, "connection broke", "run the cell again"),
        (garbled(), ask, "not an answer of the service", "check the network"),
        (garbled(), stream, "not an answer of the service", "check the network"),
        (garbled(), invoke, "not an answer of the service", "check the network"),
        (garbled(), identity, "not an answer of the service", "check the network"),
        (garbled(""), invoke, "not an answer of the service", "check the network"),
        *(
            (stream_ends(2, name), stream, "a minute" if "thrott" in name else "problem of its own", "again")
            for name in STREAM_ERRORS
        ),
    ],
)
def test_broken_and_garbled_answers(failing, fault, call, cause, step):
    told = failing(call, On(fault))
    assert cause in told and step in told


def test_an_answer_that_does_not_come(failing, monkeypatch):
    patient = clients._config
    monkeypatch.setattr(clients, "_config", lambda: patient().merge(Config(read_timeout=0.2)))

    def hasty():
        runtime = clients.client("bedrock-runtime")
        message = {"role": "user", "content": [{"text": "?"}]}
        for event in runtime.converse_stream(modelId=PROFILE, messages=[message])["stream"]:
            assert event

    assert "in time" in failing(hasty, On(slow(before=2)))
    assert "in time" in failing(hasty, On(slow(between=2)))


def test_a_permission_that_is_missing_is_named(failing):
    denied = {**ANSWERS, "bedrock-runtime.Converse": ServiceError("AccessDeniedException", 403, REFUSED)}
    told = failing(ask, answers=denied)
    assert "bedrock:InvokeModel" in told and "data/policies/learner.json" in told and "111122223333" not in told


def test_nobody_listens_and_regions_without_bedrock(change, monkeypatch):
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: None)
    for region, words in (("us-west-2", "not reached in us-west-2"), ("xx-south-9", "offered there (WORKSHOP_REGION)")):
        for name, value in {**KEYS, "AWS_REGION": region, "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}.items():
            monkeypatch.setenv(name, value)
        change(mode="live")
        workshop.start("lesson")
        with pytest.raises(aws.EndpointConnectionError) as caught:
            ask()
        assert words in str(explain(caught.value))


@pytest.mark.parametrize(
    "error, words",
    [
        (aws.NoCredentialsError(), "no AWS credentials"),
        (aws.PartialCredentialsError(provider="env", cred_var="aws_secret_access_key"), "no AWS credentials"),
        (aws.UnauthorizedSSOTokenError(), "aws sso login"),
        (aws.SSOTokenLoadError(error_msg="Token for default does not exist"), "aws sso login"),
        (aws.ProfileNotFound(profile="classs"), "AWS_PROFILE"),
        (aws.NoRegionError(), "WORKSHOP_REGION"),
        (aws.InvalidRegionError(region_name="us east 1"), "WORKSHOP_REGION"),
        (aws.InvalidConfigError(error_msg="The SSO session x does not exist."), "aws configure sso"),
        (aws.ConfigParseError(path="~/.aws/config"), "aws/config"),
        (ValueError("Invalid endpoint: nowhere"), "AWS_ENDPOINT_URL"),
        (ValueError("Invalid header value b'x\\n'"), "copy it again"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_sign_in_and_settings(error, words):
    assert words in str(explain(error)) and "ext: " in str(explain(error))


def test_no_credentials_from_a_real_call(change, monkeypatch):
    change(mode="live", region="us-west-2")
    workshop.start("lesson")
    with pytest.raises(aws.NoCredentialsError) as caught:
        ask()
    assert "no AWS credentials" in str(explain(caught.value))
    with pytest.raises(aws.NoRegionError) as without:
        boto3.Session(botocore_session=botocore.session.Session()).client("bedrock")
    assert "No AWS region" in str(explain(without.value))


def test_a_call_is_not_tried_again_on_a_limit_per_day(change, monkeypatch, failing):
    waits = []
    monkeypatch.setattr("botocore.endpoint.time.sleep", waits.append)
    failing(ask, On(refused("per day")))
    assert waits == []
    failing(ask, On(refused("too many tokens")))
    assert len(waits) == clients.THROTTLED - 1 and max(waits) <= 1 and 30 < sum(waits) < 90


def test_langchain(failing):
    def chain():
        both = {"client": clients.client("bedrock-runtime"), "bedrock_client": clients.client("bedrock")}
        return ChatBedrockConverse(**both, model=PROFILE, max_tokens=9).invoke("?")

    def retriever():
        agent = clients.client("bedrock-agent-runtime")
        return AmazonKnowledgeBasesRetriever(client=agent, knowledge_base_id="ABCDEFGHIJ").invoke("?")

    assert "tokens of today" in failing(chain, On(refused("per day"), operation="Converse"))
    assert "no knowledge base ABCDEFGHIJ" in failing(retriever, On(refused("no knowledge base")))


def test_a_wrapped_error_is_found_and_an_error_of_ones_own_is_not_hidden():
    def library():
        try:
            raise aws.NoRegionError
        except aws.NoRegionError:
            raise RuntimeError("wrapped")  # noqa: B904 - as libraries do

    with pytest.raises(RuntimeError) as caught:
        library()
    assert "No AWS region" in str(explain(caught.value))
    cell = compile("try:\n    fail()\nexcept Exception:\n    print(misspelt)", "/tmp/ipykernel_1/2.py", "exec")
    with pytest.raises(NameError) as own:
        exec(cell, {"fail": library})
    assert explain(own.value) is None


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        KeyError("output"),
        StopIteration(),
        WorkshopError("speaks for itself"),
        json.JSONDecodeError("Expecting value", "a learner's own text", 0),
        aws.ParamValidationError(report="x"),
        aws.ClientError({"Error": {"Code": "ValidationException", "Message": "messages: too long"}}, "Converse"),
        aws.ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": "x"}}, "GetObject"),
    ],
    ids=repr,
)
def test_what_is_not_known_passes(error):
    assert explain(error) is None


CELLS = [
    "from helpers import clients, workshop\nworkshop.start('lesson')\nruntime = clients.client('bedrock-runtime')",
    "message = {'role': 'user', 'content': [{'text': '?'}]}\n"
    "response = runtime.converse(modelId='anthropic.claude-sonnet-5-5', messages=[message])",
    "%tb",
    "try:\n    runtime.converse(modelId='anthropic.claude-sonnet-5-5', messages=[message])\n"
    "except runtime.exceptions.ValidationException as error:\n    print('caught', type(error).__name__)",
    "def divide(x):\n    return 1 / x\n\ndivide(0)",
    "next(part['text'] for part in [{'reasoningContent': {}}] if 'text' in part)",
]


@pytest.fixture
def in_a_notebook(tmp_path):
    """The error output, if any, of each of CELLS."""
    path = tmp_path / "lesson.ipynb"
    write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in CELLS]), path)
    with Service(Script(ANSWERS), On(refused("bare id"), operation="Converse")) as service:
        env = {**environment("live"), **KEYS, "AWS_ENDPOINT_URL": service.url, "NO_PROXY": "127.0.0.1"}
        cells = execute(path, env, keep_going=True).notebook.cells
    return [next((each for each in cell.outputs if each.output_type == "error"), cell.outputs) for cell in cells]


def test_a_notebook_shows_a_few_lines_and_the_traceback_is_one_command_away(in_a_notebook):
    shown, whole, caught, own, empty = in_a_notebook[1:]
    lines = "\n".join(shown.traceback).splitlines()
    assert shown.ename == CallFailed.__name__ and "models.resolve(" in shown.evalue
    assert len(lines) <= 5 and "In line 2 of the cell: response = runtime.converse(" in lines[1]
    text = whole[0].text if isinstance(whole, list) else "\n".join(whole.traceback)
    assert "_make_api_call" in text and "ValidationException" in text
    assert caught[0].text == "caught ValidationException\n"  # a cell can still catch the error of boto3
    assert empty.ename == CallFailed.__name__ and "maxTokens" in empty.evalue  # an answer without text
    # An unknown error looks as ever.
    assert (own.ename, own.evalue) == ("ZeroDivisionError", "division by zero")
    assert len(own.traceback) > 2 and "return" in str(own.traceback) and "divide" in str(own.traceback)
