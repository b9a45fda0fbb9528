"""The rule book: every rule breaks once and is seen; every notebook is run with all rules on."""

from functools import partial

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from helpers.explain import explain
from tests.live_workshop import BUILD, forks, workshop
from tests.loopback import Script, Service
from tests.loopback.rules import RULES, RuleBook
from tests.test_checks import AVAILABLE

SONNET, HAIKU = "global.anthropic.claude-sonnet-5-5", "us.anthropic.claude-haiku-4-5"
FORMAT, ANY, AUTO = {"textFormat": {"type": "json_schema"}}, {"toolChoice": {"any": {}}}, {"toolChoice": {"auto": {}}}
JOB = {"roleArn": "arn:aws:iam::111122223333:role/x", "modelId": "anthropic.claude-haiku-4-5"}


def talk(model=SONNET, text="?", **more):
    """A Converse request."""
    return {"modelId": model, "messages": [{"role": "user", "content": [{"text": text}]}], **more}


def search(condition):
    """A Retrieve request with a filter."""
    settings = {"vectorSearchConfiguration": {"filter": condition}}
    return {"knowledgeBaseId": "KB12345678", "retrievalQuery": {"text": "?"}, "retrievalConfiguration": settings}


def rerank(model):
    """A Rerank request, as far as a rule looks."""
    arn = f"arn:aws:bedrock:us-east-1::foundation-model/{model}"
    return {"rerankingConfiguration": {"bedrockRerankingConfiguration": {"modelConfiguration": {"modelArn": arn}}}}


CACHED = [{"text": "short"}, {"cachePoint": {"type": "default"}}, {"text": "?"}]
USAGE = {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2, "cacheReadInputTokens": 9, "cacheWriteInputTokens": 9}
MESSAGE = {"output": {"message": {"role": "assistant", "content": [{"text": "Yes."}]}}, "stopReason": "end_turn"}
METADATA = {"x-amz-bedrock-kb-document-page-number": 0.0}
ARN = "arn:aws:bedrock:us-east-1:111122223333:model-invocation-job/abcdefghijkl"
ANSWERS = {
    "bedrock-runtime.Converse": {**MESSAGE, "usage": USAGE, "metrics": {"latencyMs": 1}},
    "bedrock-runtime.CountTokens": {"inputTokens": 3},
    "bedrock-agent-runtime.Retrieve": {"retrievalResults": [{"content": {"text": "x"}, "metadata": METADATA}]},
    "bedrock-agent-runtime.Rerank": {"results": [{"index": 0, "relevanceScore": 0.5}]},
    "bedrock-agent-runtime.RetrieveAndGenerate": {"sessionId": "s1", "output": {"text": "x"}},
    "bedrock.CreateModelInvocationJob": {"jobArn": ARN},
    "bedrock.GetFoundationModelAvailability": AVAILABLE,
}
# For each rule a request that meets it, and one beside it that does not.
BROKEN = {
    1: ("converse", talk(outputConfig=FORMAT), talk(HAIKU, outputConfig=FORMAT)),
    2: ("converse", talk(toolConfig=ANY), talk(toolConfig=AUTO)),
    3: ("converse", talk(inferenceConfig={"maxTokens": 50}), talk(HAIKU, inferenceConfig={"maxTokens": 50})),
    4: ("converse", talk(text=" \n"), talk()),
    5: ("converse", talk(inferenceConfig={"temperature": 0.5}), talk(HAIKU, inferenceConfig={"temperature": 0.5})),
    6: ("retrieve", search({"equals": {"key": "year", "value": 2021}}), None),
    13: ("create_model_invocation_job", {**JOB, "modelId": "anthropic.claude-sonnet-5"}, JOB),
    14: ("converse", talk("jp.anthropic.claude-sonnet-5-5"), talk()),
    15: ("retrieve", search({"in": {"key": "year", "value": [2021]}}),
         search({"equals": {"key": "year", "value": 2021}})),
    16: ("converse", {**talk(), "messages": [{"role": "user", "content": CACHED}]},
         {**talk(), "messages": [{"role": "user", "content": [{"text": "long " * 600}, *CACHED[1:]]}]}),
    17: ("count_tokens", {"modelId": "anthropic.claude-sonnet-5-5", "input": {"converse": {"messages": []}}},
         {"modelId": "anthropic.claude-haiku-4-5", "input": {"converse": {"messages": []}}}),
    18: ("get_foundation_model_availability", {"modelId": "anthropic.claude-sonnet-5-5"}, None),
    19: ("create_model_invocation_job", {**JOB, "roleArn": "name-of-a-role"}, JOB),
    20: ("rerank", rerank("amazon.rerank-v1:0"), rerank("cohere.rerank-v3-5:0")),
    21: ("retrieve_and_generate", {"input": {"text": "?" * 1001}}, {"input": {"text": "?" * 1000}}),
}  # fmt: skip
SESSION = boto3.Session("x", "x", region_name="us-east-1")
ONCE = Config(retries={"total_max_attempts": 1}, parameter_validation=False)


def answer(operation, params, off=(), name="bedrock-runtime"):
    """What the stand-in says to a request, with some rules off: its answer, or code and text of its refusal."""
    with Service(Script(ANSWERS), rules=RuleBook(off)) as service:
        client = SESSION.client(name, endpoint_url=service.url, config=ONCE)
        try:
            found = getattr(client, operation)(**params)
        except ClientError as error:
            return error.response["Error"]["Code"], error.response["Error"]["Message"]
        found.pop("ResponseMetadata")
        return found


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.number in BROKEN], ids=lambda rule: rule.number)
def test_a_rule_breaks_once_and_only_where_it_should(rule):
    operation, meets, beside = BROKEN[rule.number]
    ask = partial(answer, operation, name=rule.calls.partition(".")[0])
    told = ask(meets)
    if rule.refuses:
        assert told == (rule.code[0], rule.error)
    assert ask(meets, off=[rule.number]) != told
    if beside:
        assert not isinstance(ask(beside), tuple)


# What the account holds: what is said by the rule, and what without it.
BY_THE_ACCOUNT = {
    7: ("HYBRID search type is not supported", "'text': "),
    8: ("'retrievalResults': []", "'text': "),
    9: ("'numberOfDocumentsFailed': 0", "'numberOfDocumentsFailed': 1"),
    10: ("waiting for policies to spread", "knowledge base: created"),
    11: ("iam:CreateServiceLinkedRole", "No matching security policy"),
}


@forks
@pytest.mark.parametrize("off", [(), tuple(BY_THE_ACCOUNT)], ids=["on", "off"])
def test_each_rule_about_what_the_account_holds_breaks_once(off, tmp_path):
    with workshop(tmp_path, "s3vectors", off=off, not_ready=["cannot assume role"]) as one:
        (one.letters / "c.psd").touch()  # an unknown format
        refused = said(one.service.client("opensearchserverless").create_collection, name="letters")
        printed = one.works(BUILD)["printed"]
        ask = partial(one.service.client("bedrock-agent-runtime").retrieve, retrievalQuery={"text": "How many people?"})
        ask = partial(ask, knowledgeBaseId=next(iter(one.account.agent.bases)))
        hybrid = said(ask, retrievalConfiguration={"vectorSearchConfiguration": {"overrideSearchType": "HYBRID"}})
        (job,) = one.account.agent.jobs.values()
        found = {7: hybrid, 8: said(ask), 9: str(job.details), 10: printed, 11: refused}
        assert all(BY_THE_ACCOUNT[number][bool(off)] in told for number, told in found.items())
        assert ("waiting for policies" in printed) == (one.account.rules.met >= {*found}) == (not off)


def said(call, **params):
    """The answer or the refusal, as text."""
    try:
        return str(call(**params))
    except ClientError as error:
        return str(error)


def test_every_rule_has_a_source_and_is_tried(report):
    lines = [f"  {rule.number:>2} {'' if rule.sure else '(?) '}{rule.calls}: {rule.says}" for rule in RULES]
    report("\n".join([f"{len(RULES)} rules of the service:", *lines]))
    assert all(rule.source and rule.says for rule in RULES)
    assert sorted(rule.number for rule in RULES) == sorted([*BROKEN, *BY_THE_ACCOUNT])


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.refuses and rule.sure], ids=lambda rule: rule.number)
def test_a_learner_is_told_what_a_refusal_means_and_what_to_do(rule):
    told = explain(ClientError({"Error": {"Code": rule.code[0], "Message": rule.error}}, rule.calls))
    assert told and "Next: " in str(told) and "{" not in str(told)
