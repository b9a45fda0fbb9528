"""Lesson 05: its check finds planted figures and seldom cries wolf, and its cells for AWS's own operations work."""

import html
import re
from contextlib import nullcontext
from types import SimpleNamespace

import boto3
import nbformat
import pytest
from botocore.exceptions import ClientError
from botocore.stub import ANY, Stubber

from helpers import retrieval
from helpers.knowledge_base.names import Names
from helpers.replay.recording import Recording
from helpers.retrieval import Passage
from helpers.settings import ROOT
from tests.loopback.recorded import text_of

CELLS = [cell.source for cell in nbformat.read(ROOT / "notebooks/05_trust_the_answer.ipynb", 4).cells]
RECORDED = Recording(ROOT / "data/recordings/05_trust_the_answer.json").entries


def defined(name, **known):
    """What the lesson's cell that defines `name` leaves in the namespace, up to its first line that shows something."""
    source = next(source for source in CELLS if f"def {name}(" in source)
    exec("import re\n" + re.split(r"^(?:\w+_IT|IN_ONE|planted) = ", source, flags=re.MULTILINE)[0], known)
    return known


def answers():
    """(answer, its passages) of every recorded answer about the letters that says something."""
    for entry in RECORDED:
        asked = str(entry["request"].get("system"))
        text = text_of(entry)
        if "financial advisor" in asked and len(text) > 80:
            prompt = entry["request"]["messages"][0]["content"][0]["text"]
            found = re.findall(
                r'<passage number="\d+" source="(.*?), page (\d+)">\n(.*?)\n</passage>', prompt, re.DOTALL
            )
            yield text, [Passage(html.unescape(words), name, int(page), 0.0) for name, page, words in found]


def alarms(text, passages):
    return [figure for figure, verdict in CHECK(text, passages) if verdict in ("elsewhere", "nowhere")]


CHECK, PLANT = defined("check")["check"], defined("plant", base={})["plant"]
ANSWERS = list(answers())


def test_planted_figures_are_found_and_answers_as_they_came_are_left_in_peace(report):
    planted = [(wrong, passages) for text, passages in ANSWERS if (wrong := PLANT(text)) and not alarms(text, passages)]
    found = sum(bool(alarms(*each)) for each in planted)
    quiet = sum(not alarms(*each) for each in ANSWERS)
    report(f"lesson 05: {found} of {len(planted)} planted errors; {quiet} of {len(ANSWERS)} answers without alarm")
    assert len(planted) >= 50 and found >= 0.96 * len(planted)
    assert len(ANSWERS) >= 50 and quiet >= 0.96 * len(ANSWERS)


def test_control_with_the_passages_of_another_question_hardly_an_answer_passes():
    others = [passages for _, passages in ANSWERS[50:] + ANSWERS[:50]]
    loud = sum(bool(alarms(text, other)) for (text, _), other in zip(ANSWERS, others, strict=True))
    assert loud >= 0.8 * len(ANSWERS), loud


@pytest.mark.parametrize(
    ("text", "verdicts"),
    [
        ("AWS had revenue of $80 billion [1].", ["supported"]),
        ("AWS had revenue of $80 billion [2].", ["elsewhere"]),
        ("It grew by $35 billion, from $45 billion [2] to $80B [1].", ["calculated", "supported", "supported"]),
        ("It grew 29 [1].", ["nowhere"]),
        ("员工130万人，4月 [2]。", ["supported"]),
    ],
)
def test_the_check_compares_values_and_citations(text, verdicts):
    passages = [Passage("AWS revenue grew 29%, to $80B in 2022.", "a.pdf", 1, 0.5)]
    passages.append(Passage("In 2020 AWS had $45 billion; 1.3 million people.", "b.pdf", 1, 0.4))
    assert sorted(verdict for _, verdict in CHECK(text, passages)) == sorted(verdicts)


FIVE = [Passage(f"text {number}", "a.pdf", number, 0.5) for number in range(1, 6)]
ARN = "arn:aws:bedrock:us-east-1::foundation-model/"


@pytest.fixture
def stubs():
    """Stubbers for the control service and for a service that is asked, and names that a cell knows them by."""
    keys = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
    services = ("bedrock", "bedrock-agent-runtime", "bedrock-runtime")
    control, agent, runtime = (Stubber(boto3.client(service, "us-east-1", **keys)) for service in services)
    names = {"clients": SimpleNamespace(client=lambda service: control.client), "agent": agent.client}
    with control, agent, runtime:
        yield control, agent, runtime, names | {"runtime": runtime.client}


def test_rerank_takes_the_regions_model_and_gives_the_places_in_its_order(stubs):
    control, agent, _, names = stubs
    summaries = [{"modelArn": ARN + name, "modelId": name} for name in ("titan", "cohere.rerank-v3-5:0")]
    control.add_response("list_foundation_models", {"modelSummaries": summaries})
    ranked = {"results": [{"index": 3, "relevanceScore": 0.9}, {"index": 0, "relevanceScore": 0.1}]}
    agent.add_response("rerank", ranked, {"queries": ANY, "sources": ANY, "rerankingConfiguration": ANY})
    assert defined("rerank", **names)["rerank"]("What?", FIVE) == ["a.pdf, page 4", "a.pdf, page 1"]


@pytest.mark.parametrize("fails", [False, True])
def test_a_guardrail_is_tagged_and_deleted_whatever_happens(stubs, fails):
    control, _, runtime, names = stubs
    made = {"guardrailId": "g1", "guardrailArn": "arn:aws:bedrock:us-east-1:1:guardrail/g1", "version": "DRAFT"}
    tags = [{"key": "workshop", "value": "claude-on-bedrock"}, {"key": "workshop-id", "value": "abcd1234"}]
    wanted = {"name": "claude-workshop-abcd1234", "tags": tags, "contextualGroundingPolicyConfig": ANY}
    wanted |= {"blockedInputMessaging": ANY, "blockedOutputsMessaging": ANY}
    control.add_response("create_guardrail", {**made, "createdAt": 0}, wanted)
    control.add_response("delete_guardrail", {}, {"guardrailIdentifier": "g1"})
    usage = runtime.client.meta.service_model.shape_for("GuardrailUsage").required_members
    scores = [{"type": kind, "threshold": 0.7, "score": 0.9, "action": "NONE"} for kind in ("GROUNDING", "RELEVANCE")]
    answer = {"usage": dict.fromkeys(usage, 1), "action": "NONE", "outputs": []}
    answer["assessments"] = [{"contextualGroundingPolicy": {"filters": scores}}]
    if fails:
        runtime.add_client_error("apply_guardrail", "ThrottlingException")
    else:
        runtime.add_response("apply_guardrail", answer)
    known = defined("grounding", **names, retrieval=retrieval)
    known["kb"] = SimpleNamespace(Workshop=lambda: SimpleNamespace(names=Names("abcd1234")))
    with pytest.raises(ClientError) if fails else nullcontext():
        assert known["grounding"]("What?", FIVE, "That.") == {"GROUNDING": 0.9, "RELEVANCE": 0.9}
    control.assert_no_pending_responses()


def test_in_one_prints_each_part_with_its_sources(stubs, capsys):
    control, agent, _, names = stubs
    profile = {"inferenceProfileArn": "arn:aws:bedrock:us-east-1:1:inference-profile/global.x", "status": "ACTIVE"}
    profile |= {"inferenceProfileId": "global.x", "inferenceProfileName": "x", "type": "SYSTEM_DEFINED"}
    control.add_response("get_inference_profile", {**profile, "models": [{"modelArn": f"{ARN}x"}]})
    reference = {"content": {"text": "t"}, "location": {"type": "S3", "s3Location": {"uri": "s3://b/a.pdf"}}}
    part = {"generatedResponsePart": {"textResponsePart": {"text": "It grew."}}, "retrievedReferences": [reference]}
    answer = {"output": {"text": "It grew."}, "sessionId": "s1", "citations": [part]}
    agent.add_response("retrieve_and_generate", answer)
    defined("in_one", **names, MODEL=SimpleNamespace(id="global.x"), KB="KB12345678")["in_one"]("What?")
    assert capsys.readouterr().out.split("\n")[:2] == ["It grew.", "   a.pdf"]
