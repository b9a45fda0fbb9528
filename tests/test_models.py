"""Which model answers: found by listing, with its lifecycle, its parameters and its price."""

from datetime import date

import pytest

from helpers import models, recordings
from helpers.errors import WorkshopError
from helpers.recordings.file import Recording


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
        recording = Recording(tmp_path / "lesson.json")
        recording.date = "2026-11-22"
        call = "bedrock.ListFoundationModels"
        recording.add(
            {
                "call": call,
                "request": {"byProvider": "anthropic"},
                "body": {"json": {"modelSummaries": models_}},
            }
        )
        for number, page in enumerate(profile_pages):
            request = {"typeEquals": "SYSTEM_DEFINED", **({"nextToken": str(number)} if number else {})}
            body = {"inferenceProfileSummaries": [profile(each) for each in page]}
            if number + 1 < len(profile_pages):
                body["nextToken"] = str(number + 1)
            recording.add(
                {"call": "bedrock.ListInferenceProfiles", "request": request, "body": {"json": body}}
            )
        recording.save()
        recordings.use("lesson")

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


def test_a_region_without_the_wished_geography_gives_what_it_has(listed, change):
    listed([SONNET], ["jp.anthropic.claude-sonnet-5-5"])
    change(geography="eu")
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
    ("alias", "sampling", "thinks"),
    [
        ("claude-sonnet-5-5", "none", True),
        ("claude-sonnet-5", "none", True),
        ("claude-opus-4-7", "none", False),
        ("claude-opus-4-6", "one", False),
        ("claude-haiku-4-5", "one", False),
        ("claude-3-haiku", "both", False),
    ],
)
def test_what_a_model_takes(alias, sampling, thinks):
    model = models.Model(alias, f"global.anthropic.{alias}", "ACTIVE", None)
    assert (model.sampling, model.thinks_by_default) == (sampling, thinks)


def test_cost_of_both_kinds_of_usage():
    model = models.Model("claude-sonnet-5-5", "global.anthropic.claude-sonnet-5-5", "ACTIVE", None)
    converse = {"inputTokens": 1_000_000, "outputTokens": 100_000, "cacheReadInputTokens": 1_000_000}
    assert model.cost(converse) == pytest.approx(2.00 + 1.00 + 0.10)
    assert model.cost({"input_tokens": 500_000, "output_tokens": 0}) == pytest.approx(1.00)
    response = {"ResponseMetadata": {"HTTPHeaders": {recordings.ESTIMATES: "usage"}}}
    assert "estimates" in model.receipt(converse, response)
    assert "estimates" not in model.receipt(converse, {})
    assert f"${model.cost(converse):.4f}" in model.receipt(converse, {})
