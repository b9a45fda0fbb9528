"""Which model answers: found by listing, with its lifecycle, its parameters and its price."""

from datetime import date

import pytest

from helpers import models, replay
from helpers.language import WorkshopError

A = "anthropic."
SONNET, OPUS, HAIKU = (f"{A}claude-{name}" for name in ("sonnet-5-5", "opus-5-5", "haiku-4-5-20251001-v1:0"))
OLD = A + "claude-opus-4-1-20250805-v1:0"
ON_DEMAND = {"inferenceTypesSupported": ["ON_DEMAND"]}
ENDED, ENDS = ({"status": "LEGACY", "endOfLifeTime": f"{day}T00:00:00Z"} for day in ("2026-11-01", "2027-01-08"))


@pytest.fixture
def resolve(live, monkeypatch):
    """What answers where these models, {id: what differs}, and, page by page, these profiles are listed."""
    monkeypatch.setattr(replay.Live, "today", lambda self: date(2026, 11, 22))
    plain = {"modelArn": "arn:aws:bedrock:us-east-1::foundation-model/x", "modelLifecycle": {"status": "ACTIVE"}}
    fixed = {"models": [{}], "status": "ACTIVE", "type": "SYSTEM_DEFINED", "inferenceProfileName": "x"}
    fixed["inferenceProfileArn"] = "arn:aws:bedrock:us-east-1:111122223333:inference-profile/x"

    def found(offered, pages, alias="", geography="global"):
        summaries = [[{**fixed, "inferenceProfileId": each} for each in page] for page in pages]
        answers = [{"inferenceProfileSummaries": page, "nextToken": "more"} for page in summaries]
        del answers[-1]["nextToken"]
        models_ = {"modelSummaries": [{**plain, "modelId": each, **more} for each, more in offered.items()]}
        page_by_page = {"bedrock.ListInferenceProfiles": lambda params: answers.pop(0)}
        given = {"bedrock.ListFoundationModels": models_, **page_by_page}
        with live(given, region="us-east-1", geography=geography):
            return models.resolve(alias)

    return found


BOTH = {SONNET: {}, OPUS: {}}
FOUND = {  # models; pages of profiles; what is asked for; geography; what answers
    "global first, on any page": (BOTH, [["us." + SONNET], ["global." + SONNET]], "", "global", "global." + SONNET),
    "a geography": (BOTH, [["global." + SONNET, "jp." + SONNET]], "", "jp", "jp." + SONNET),
    "a short name is not a newer model": (
        {SONNET: {}, A + "claude-sonnet-5": {}}, [["global." + SONNET, f"global.{A}claude-sonnet-5"]],
        "claude-sonnet-5", "global", f"global.{A}claude-sonnet-5",
    ),
    "a full id": ({HAIKU: {}}, [["us." + HAIKU]], "eu." + HAIKU, "global", "us." + HAIKU),
    "on demand": ({HAIKU: ON_DEMAND}, [[]], "claude-haiku-4-5", "global", HAIKU),
}  # fmt: skip


@pytest.mark.parametrize("case", FOUND)
def test_the_model_that_answers_is_found_by_listing(resolve, case):
    *asked, wanted = FOUND[case]
    assert resolve(*asked).id == wanted


PROFILES = ["global." + SONNET, "global." + OPUS, "us." + OLD, "jp." + SONNET]
REFUSED = [  # models, profiles, what is asked for, geography, what is said
    (BOTH, PROFILES, "", "eu", r"in 'eu' .*offered in us-east-1: global, jp\."),  # never silently global
    (BOTH, PROFILES, A + "claude-3-sonnet-20240229-v1:0", "global",
     "claude-3-sonnet reached its end of life on 2026-07-30. Use claude-sonnet-5-5 instead"),
    ({OLD: {"modelLifecycle": ENDED}, OPUS: {}}, PROFILES, "claude-opus-4-1", "global",
     r"end of life on 2026-11-01\. Use claude-opus-5-5"),
    ({}, [], "", "global", "WORKSHOP_REGION"),
]  # fmt: skip


@pytest.mark.parametrize(("offered", "profiles", "alias", "geography", "said"), REFUSED)
def test_what_cannot_answer_is_said_with_what_can(resolve, offered, profiles, alias, geography, said):
    with pytest.raises(WorkshopError, match=said):
        resolve(offered, [profiles], alias, geography)


def test_a_coming_end_is_shown(resolve):
    found = resolve({OLD: {"modelLifecycle": ENDS}}, [["us." + OLD]], "claude-opus-4-1")
    assert found.end_of_life == date(2027, 1, 8)
    assert "(legacy, end of life 2027-01-08; no price known)" in str(found)


@pytest.mark.parametrize(
    ("alias", "thinks", "structured"),
    [("claude-sonnet-5-5", True, False), ("claude-opus-4-7", False, False), ("claude-haiku-4-5", False, True)],
)
def test_what_a_model_takes(alias, thinks, structured):
    model = models.Model(alias, f"global.anthropic.{alias}", "ACTIVE", None)
    assert (model.thinks, model.structured) == (thinks, structured)
    assert model.effort("low") == ({"outputConfig": {"effort": "low"}} if thinks else {})
    assert model.effort("low", messages=True) == ({"output_config": {"effort": "low"}} if thinks else {})


def test_cost_of_both_kinds_of_usage():
    model = models.Model("claude-sonnet-5-5", "global.anthropic.claude-sonnet-5-5", "ACTIVE", None)
    converse = {"inputTokens": 1_000_000, "outputTokens": 100_000, "cacheReadInputTokens": 1_000_000}
    assert model.cost(converse) == pytest.approx(2.00 + 1.00 + 0.10)
    assert model.cost({"input_tokens": 500_000, "output_tokens": 0}) == pytest.approx(1.00)
    near = models.Model("claude-sonnet-5-5", "jp.anthropic.claude-sonnet-5-5", "ACTIVE", None)
    assert near.prices[0] == pytest.approx(2.2)  # a geography costs more
    response = {"ResponseMetadata": {"HTTPHeaders": {"x-workshop-estimated": "usage"}}}
    assert "estimates" in model.receipt(converse, response)
    assert "estimates" not in model.receipt(converse, {})
    assert f"${model.cost(converse):.4f}" in model.receipt(converse, {})
