"""Which model answers: found by listing, with its lifecycle, its parameters and its price."""

from datetime import date

import pytest

from helpers import models, workshop
from helpers.errors import WorkshopError
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


SONNET, OPUS = summary("anthropic.claude-sonnet-5-5"), summary("anthropic.claude-opus-5-5")


def test_the_global_profile_is_preferred_and_found_on_any_page(listed):
    listed([SONNET], ["us.anthropic.claude-sonnet-5-5"], ["global.anthropic.claude-sonnet-5-5"])
    assert models.resolve().id == "global.anthropic.claude-sonnet-5-5"


def test_a_geography_can_be_asked_for(listed, change):
    listed([SONNET], ["global.anthropic.claude-sonnet-5-5", "jp.anthropic.claude-sonnet-5-5"])
    change(geography="jp")
    assert models.resolve().id == "jp.anthropic.claude-sonnet-5-5"
    assert models.resolve().prices[0] == pytest.approx(2.2)


def test_a_geography_that_is_not_offered_is_an_error_and_never_silently_global(listed, change):
    listed([SONNET], ["global.anthropic.claude-sonnet-5-5", "jp.anthropic.claude-sonnet-5-5"])
    change(geography="eu")
    with pytest.raises(WorkshopError, match=r"in 'eu' .*offered in us-east-1: global, jp\."):
        models.resolve()


def test_without_a_global_profile_one_of_a_geography_answers(listed):
    listed([SONNET], ["jp.anthropic.claude-sonnet-5-5"])
    assert models.resolve().id == "jp.anthropic.claude-sonnet-5-5"


def test_a_short_name_never_matches_a_newer_model(listed):
    sonnet_5 = summary("anthropic.claude-sonnet-5")
    listed([SONNET, sonnet_5], ["global.anthropic.claude-sonnet-5-5", "global.anthropic.claude-sonnet-5"])
    assert models.resolve("claude-sonnet-5").id == "global.anthropic.claude-sonnet-5"


def test_full_ids_are_understood(listed):
    haiku = "anthropic.claude-haiku-4-5-20251001-v1:0"
    listed([summary(haiku)], [f"us.{haiku}"])
    assert models.resolve(f"eu.{haiku}").alias == "claude-haiku-4-5"
    assert models.resolve(haiku).id == f"us.{haiku}"


def test_end_of_life_names_the_date_and_what_to_use(listed):
    listed([SONNET, OPUS], ["global.anthropic.claude-sonnet-5-5", "global.anthropic.claude-opus-5-5"])
    message = "claude-3-sonnet reached its end of life on 2026-07-30. Use claude-sonnet-5-5 instead"
    with pytest.raises(WorkshopError, match=message):
        models.resolve("anthropic.claude-3-sonnet-20240229-v1:0")


def test_end_of_life_is_read_from_the_service_too(listed):
    old = summary("anthropic.claude-opus-4-1-20250805-v1:0", "LEGACY", "2026-11-01T00:00:00Z")
    listed([old, OPUS], ["us.anthropic.claude-opus-4-1-20250805-v1:0", "us.anthropic.claude-opus-5-5"])
    with pytest.raises(WorkshopError, match=r"end of life on 2026-11-01\. Use claude-opus-5-5"):
        models.resolve("claude-opus-4-1")


def test_a_coming_end_is_shown(listed):
    old = summary("anthropic.claude-opus-4-1-20250805-v1:0", "LEGACY", "2027-01-08T00:00:00Z")
    listed([old, OPUS], ["us.anthropic.claude-opus-4-1-20250805-v1:0"])
    found = models.resolve("claude-opus-4-1")
    assert found.end_of_life == date(2027, 1, 8)
    assert "(legacy, end of life 2027-01-08; no price known)" in str(found)


def test_a_model_without_profile_here_names_region_and_alternative(listed):
    listed([SONNET, OPUS], ["global.anthropic.claude-opus-5-5"])
    with pytest.raises(WorkshopError, match=r"'claude-sonnet-5-5' in us-east-1.*Use claude-opus-5-5"):
        models.resolve()


def test_a_model_on_demand_needs_no_profile(listed):
    listed([summary("anthropic.claude-haiku-4-5-20251001-v1:0", on_demand=True)], [])
    assert models.resolve("claude-haiku-4-5").id == "anthropic.claude-haiku-4-5-20251001-v1:0"


def test_a_region_with_nothing_says_so(listed):
    listed([], [])
    with pytest.raises(WorkshopError, match="WORKSHOP_REGION"):
        models.resolve()


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
    response = {"ResponseMetadata": {"HTTPHeaders": {"x-workshop-estimated": "usage"}}}
    assert "estimates" in model.receipt(converse, response)
    assert "estimates" not in model.receipt(converse, {})
    assert f"${model.cost(converse):.4f}" in model.receipt(converse, {})
