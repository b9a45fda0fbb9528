"""Which model answers: found by listing, with its lifecycle, its parameters and its price."""

from datetime import date

import pytest

from helpers import models, workshop
from helpers.language import WorkshopError
from helpers.replay.recording import Recording
from tools.recorder import save


def summary(model_id, status="ACTIVE", ends=None, on_demand=False):
    life = {"status": status, **({"endOfLifeTime": ends} if ends else {})}
    arn = f"arn:aws:bedrock:us-east-1::foundation-model/{model_id}"
    kinds = ["ON_DEMAND"] if on_demand else []
    return {"modelArn": arn, "modelId": model_id, "modelLifecycle": life, "inferenceTypesSupported": kinds}


def profile(profile_id):
    arn = f"arn:aws:bedrock:us-east-1:111122223333:inference-profile/{profile_id}"
    fixed = {"models": [], "status": "ACTIVE", "type": "SYSTEM_DEFINED", "inferenceProfileName": profile_id}
    return {"inferenceProfileArn": arn, "inferenceProfileId": profile_id, **fixed}


@pytest.fixture
def listed(tmp_path, change):
    """Replay a region that lists these models and, page by page, these profiles."""

    def start(models_, *profile_pages):
        change(recordings_dir=tmp_path)
        recording = Recording(tmp_path / "none.json")
        recording.date = "2026-11-22"
        call = "bedrock.ListFoundationModels"
        recording.add(
            {"call": call, "request": {"byProvider": "anthropic"}, "body": {"json": {"modelSummaries": models_}}}
        )
        for number, page in enumerate(profile_pages):
            request = {"typeEquals": "SYSTEM_DEFINED", **({"nextToken": str(number)} if number else {})}
            body = {"inferenceProfileSummaries": [profile(each) for each in page]}
            if number + 1 < len(profile_pages):
                body["nextToken"] = str(number + 1)
            recording.add({"call": "bedrock.ListInferenceProfiles", "request": request, "body": {"json": body}})
        save(recording, tmp_path / "lesson.json")
        workshop.start("lesson")

    return start


A = "anthropic."
SONNET, OPUS, HAIKU = (f"{A}claude-{name}" for name in ("sonnet-5-5", "opus-5-5", "haiku-4-5-20251001-v1:0"))
OLD = A + "claude-opus-4-1-20250805-v1:0"
BOTH = [summary(SONNET), summary(OPUS)]
FOUND = {  # models; pages of profiles; what is asked for; geography; what answers
    "global first, on any page": (BOTH, [["us." + SONNET], ["global." + SONNET]], "", "global", "global." + SONNET),
    "a geography": (BOTH, [["global." + SONNET, "jp." + SONNET]], "", "jp", "jp." + SONNET),
    "no global one": (BOTH, [["jp." + SONNET]], "", "global", "jp." + SONNET),
    "a short name is not a newer model": (
        [summary(SONNET), summary(A + "claude-sonnet-5")],
        [["global." + SONNET, f"global.{A}claude-sonnet-5"]],
        "claude-sonnet-5", "global", f"global.{A}claude-sonnet-5",
    ),
    "a full id": ([summary(HAIKU)], [["us." + HAIKU]], "eu." + HAIKU, "global", "us." + HAIKU),
    "on demand": ([summary(HAIKU, on_demand=True)], [[]], "claude-haiku-4-5", "global", HAIKU),
}  # fmt: skip


@pytest.mark.parametrize("case", FOUND)
def test_the_model_that_answers_is_found_by_listing(listed, change, case):
    offered, pages, alias, geography, wanted = FOUND[case]
    listed(offered, *pages)
    change(geography=geography)
    assert models.resolve(alias).id == wanted


ENDED = summary(OLD, "LEGACY", "2026-11-01T00:00:00Z")
PROFILES = ["global." + SONNET, "global." + OPUS, "us." + OLD, "jp." + SONNET]
REFUSED = [  # models, profiles, what is asked for, geography, what is said
    (BOTH, PROFILES, "", "eu", r"in 'eu' .*offered in us-east-1: global, jp\."),  # never silently global
    (BOTH, PROFILES, A + "claude-3-sonnet-20240229-v1:0", "global",
     "claude-3-sonnet reached its end of life on 2026-07-30. Use claude-sonnet-5-5 instead"),
    ([ENDED, summary(OPUS)], PROFILES, "claude-opus-4-1", "global", r"end of life on 2026-11-01\. Use claude-opus-5-5"),
    (BOTH, ["global." + OPUS], "", "global", r"'claude-sonnet-5-5' in us-east-1.*Use claude-opus-5-5"),
    ([], [], "", "global", "WORKSHOP_REGION"),
]  # fmt: skip


@pytest.mark.parametrize(("offered", "profiles", "alias", "geography", "said"), REFUSED)
def test_what_cannot_answer_is_said_with_what_can(listed, change, offered, profiles, alias, geography, said):
    listed(offered, profiles)
    change(geography=geography)
    with pytest.raises(WorkshopError, match=said):
        models.resolve(alias)


def test_a_coming_end_is_shown(listed):
    listed([summary(OLD, "LEGACY", "2027-01-08T00:00:00Z")], ["us." + OLD])
    found = models.resolve("claude-opus-4-1")
    assert found.end_of_life == date(2027, 1, 8)
    assert "(legacy, end of life 2027-01-08; no price known)" in str(found)


@pytest.mark.parametrize(
    ("alias", "thinks", "structured"),
    [
        ("claude-sonnet-5-5", True, False),
        ("claude-haiku-5-5", True, False),
        ("claude-sonnet-5", True, False),
        ("claude-opus-4-8", False, False),
        ("claude-opus-4-7", False, False),
        ("claude-opus-4-6", False, True),
        ("claude-haiku-4-5", False, True),
        ("claude-opus-4-1", False, True),
        ("claude-3-haiku", False, False),
    ],
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
