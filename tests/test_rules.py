"""The rule book: every rule breaks once and is seen; every notebook is run with all rules on."""

from functools import partial

import pytest
from botocore.exceptions import ClientError

from helpers.explain import explain
from tests.live_workshop import BUILD, workshop
from tests.loopback import ServiceError
from tests.loopback.rules import RULES, RuleBook

SONNET, HAIKU = "global.anthropic.claude-sonnet-5-5", "us.anthropic.claude-haiku-4-5"
FORMAT, ANY, AUTO = {"textFormat": {"type": "json_schema"}}, {"toolChoice": {"any": {}}}, {"toolChoice": {"auto": {}}}
JOB = {"roleArn": "arn:aws:iam::111122223333:role/x", "modelId": "anthropic.claude-haiku-4-5"}


def talk(model=SONNET, text="?", **more):
    """A Converse request."""
    return {"modelId": model, "messages": [{"role": "user", "content": [{"text": text}]}], **more}


def cached(text):
    """One whose text is to be kept for the next."""
    return {**talk(), "messages": [{"role": "user", "content": [{"text": text}, {"cachePoint": {}}, {"text": "?"}]}]}


def search(kind, value):
    """A Retrieve request with a filter."""
    condition = {kind: {"key": "year", "value": value}}
    return {"retrievalConfiguration": {"vectorSearchConfiguration": {"filter": condition}}}


def rerank(model):
    """A Rerank request, as far as a rule looks."""
    return {"rerankingConfiguration": {"modelArn": f"arn:aws:bedrock:us-east-1::foundation-model/{model}"}}


CONVERSE, RETRIEVE = "bedrock-runtime.Converse", "bedrock-agent-runtime.Retrieve"
BATCH, COUNT = "bedrock.CreateModelInvocationJob", "bedrock-runtime.CountTokens"
MESSAGE = {"message": {"role": "assistant", "content": [{"text": "Yes."}]}}
ANSWERS = {
    CONVERSE: {"output": MESSAGE, "stopReason": "end_turn", "usage": {"cacheReadInputTokens": 9}},
    RETRIEVE: {"retrievalResults": [{"metadata": {"x-amz-bedrock-kb-document-page-number": 0.0}}]},
}
# For each rule a request that meets it, and one beside it that does not.
BROKEN = {
    1: (CONVERSE, talk(outputConfig=FORMAT), talk(HAIKU, outputConfig=FORMAT)),
    2: (CONVERSE, talk(toolConfig=ANY), talk(toolConfig=AUTO)),
    3: (CONVERSE, talk(inferenceConfig={"maxTokens": 50}), talk(HAIKU, inferenceConfig={"maxTokens": 50})),
    4: (CONVERSE, talk(text=" \n"), talk()),
    5: (CONVERSE, talk(inferenceConfig={"temperature": 0.5}), talk(HAIKU, inferenceConfig={"temperature": 0.5})),
    6: (RETRIEVE, search("equals", 2021), {}),
    13: (BATCH, {**JOB, "modelId": "anthropic.claude-sonnet-5"}, JOB),
    14: (CONVERSE, talk("jp.anthropic.claude-sonnet-5-5"), talk()),
    15: (RETRIEVE, search("in", [2021]), search("equals", 2021)),
    16: (CONVERSE, cached("short"), cached("long " * 600)),
    17: (COUNT, {"modelId": "anthropic.claude-sonnet-5-5"}, {"modelId": "anthropic.claude-haiku-4-5"}),
    18: ("bedrock.GetFoundationModelAvailability", {"modelId": "anthropic.claude-sonnet-5-5"}, {}),
    19: (BATCH, {**JOB, "roleArn": "name-of-a-role"}, JOB),
    20: ("bedrock-agent-runtime.Rerank", rerank("amazon.rerank-v1:0"), rerank("cohere.rerank-v3-5:0")),
    21: ("bedrock-agent-runtime.RetrieveAndGenerate", {"input": {"text": "?" * 1001}}, {"input": {"text": "?" * 1000}}),
}


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.number in BROKEN], ids=lambda rule: rule.number)
def test_a_rule_breaks_once_and_only_where_it_should(rule):
    call, meets, beside = BROKEN[rule.number]

    def answer(params, off=()):
        try:
            return RuleBook(off).apply(*call.split("."), params, lambda: ANSWERS.get(call, {}))
        except ServiceError as error:
            return error.code, error.message

    told = answer(meets)
    assert answer(meets, off=[rule.number]) != told
    assert not rule.refuses or told == (rule.code[0], rule.error)
    assert not isinstance(answer(beside), tuple)


# What the account holds: what is said by the rule, and what without it.
BY_THE_ACCOUNT = {
    7: ("HYBRID search type is not supported", "'text': "),
    8: ("'retrievalResults': []", "'text': "),
    9: ("'numberOfDocumentsFailed': 0", "'numberOfDocumentsFailed': 1"),
    10: ("waiting for policies to spread", "knowledge base: created"),
    11: ("iam:CreateServiceLinkedRole", "No matching security policy"),
}


@pytest.mark.parametrize("off", [(), tuple(BY_THE_ACCOUNT)], ids=["on", "off"])
def test_each_rule_about_what_the_account_holds_breaks_once(off, tmp_path):
    with workshop(tmp_path, "s3vectors", off=off, not_ready=["cannot assume role"]) as one:
        (one.letters / "c.psd").touch()  # an unknown format
        refused = said(one.service.client("opensearchserverless").create_collection, name="letters")
        printed = one.works(BUILD).printed
        (base,), (job,) = one.account.agent.bases, one.account.agent.jobs.values()
        ask = partial(one.service.client("bedrock-agent-runtime").retrieve, knowledgeBaseId=base)
        ask = partial(ask, retrievalQuery={"text": "How many people?"})
        hybrid = said(ask, retrievalConfiguration={"vectorSearchConfiguration": {"overrideSearchType": "HYBRID"}})
        found = {7: hybrid, 8: said(ask), 9: str(job.details), 10: printed, 11: refused}
        assert all(BY_THE_ACCOUNT[number][bool(off)] in told for number, told in found.items())
        assert "format was not supported" in printed and "/c.psd]" in printed
        assert ("waiting for policies" in printed) == (one.account.rules.met >= {*found}) == (not off)


def said(call, **params):
    """The answer or the refusal, as text."""
    try:
        return str(call(**params))
    except ClientError as error:
        return str(error)


def test_every_rule_has_a_source_and_is_tried():
    assert all(rule.source and rule.says for rule in RULES)
    assert sorted(rule.number for rule in RULES) == sorted([*BROKEN, *BY_THE_ACCOUNT])


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.refuses and rule.sure], ids=lambda rule: rule.number)
def test_a_learner_is_told_what_a_refusal_means_and_what_to_do(rule):
    told = explain(ClientError({"Error": {"Code": rule.code[0], "Message": rule.error}}, rule.calls))
    assert told and "Next: " in str(told) and "{" not in str(told)
