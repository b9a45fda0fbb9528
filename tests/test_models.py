"""Which model answers: found by listing, with its lifecycle, its parameters and its price."""

from datetime import date, datetime

import pytest

from helpers import models, replay
from helpers.language import WorkshopError

A = "anthropic."
SONNET, OPUS, HAIKU = (f"{A}claude-{name}" for name in ("sonnet-5-5", "opus-5-5", "haiku-4-5-20251001-v1:0"))
OLD, OLDER = A + "claude-opus-4-1-20250805-v1:0", A + "claude-3-sonnet-20240229-v1:0"
ENDED, ENDS = ({"status": "LEGACY", "endOfLifeTime": datetime(*day)} for day in ((2026, 11, 1), (2027, 1, 8)))


@pytest.fixture
def resolve(change, monkeypatch):
    """What answers where these ids are offered, when `life` is the lifecycle of some models."""

    def found(ids, alias="", geography="global", life=()):
        change(geography=geography)
        known = {models.alias_of(each): {"status": "ACTIVE"} for each in ids} | dict(life)
        monkeypatch.setattr(models, "_offered", lambda: (known, ids))
        monkeypatch.setattr(replay.active(), "today", lambda: date(2026, 11, 22))
        return models.resolve(alias)

    replay.choose(replay.Live())
    return found


OFFERED = ["us." + SONNET, "global." + SONNET, "jp." + SONNET, "global." + OPUS, "us." + OLD]
FOUND = {  # what is offered, what is asked for, geography, what answers
    "global first": (OFFERED, "", "global", "global." + SONNET),
    "a geography": (OFFERED, "", "jp", "jp." + SONNET),
    "a short name is not a newer model": (["global." + SONNET, f"us.{A}claude-sonnet-5"],
                                          "claude-sonnet-5", "global", f"us.{A}claude-sonnet-5"),
    "a full id": (["us." + HAIKU, HAIKU], "eu." + HAIKU, "global", "us." + HAIKU),
    "on demand": ([HAIKU], "claude-haiku-4-5", "global", HAIKU),
}  # fmt: skip


@pytest.mark.parametrize("case", FOUND)
def test_the_model_that_answers_is_found_by_listing(resolve, case):
    *asked, wanted = FOUND[case]
    assert resolve(*asked).id == wanted


REFUSED = [  # what is offered, what is asked for, geography, what is said
    (OFFERED, "", "eu", r"in 'eu' .*offered in us-west-2: global, jp, us\."),  # never silently global
    (OFFERED, OLDER, "global", "claude-3-sonnet reached its end of life on 2026-07-30. Use claude-sonnet-5-5 instead"),
    (OFFERED, "claude-opus-4-1", "global", r"end of life on 2026-11-01\. Use claude-opus-5-5"),
    ([], "", "global", "WORKSHOP_REGION"),
]


@pytest.mark.parametrize(("ids", "alias", "geography", "said"), REFUSED)
def test_what_cannot_answer_is_said_with_what_can(resolve, change, ids, alias, geography, said):
    change(region="us-west-2")
    with pytest.raises(WorkshopError, match=said):
        resolve(ids, alias, geography, {"claude-opus-4-1": ENDED})


def test_a_coming_end_is_shown(resolve):
    found = resolve(OFFERED, "claude-opus-4-1", life={"claude-opus-4-1": ENDS})
    assert "(legacy, end of life 2027-01-08; no price known)" in str(found)


@pytest.mark.parametrize(
    ("alias", "thinks", "structured"),
    [("claude-sonnet-5-5", True, False), ("claude-opus-4-7", False, False), ("claude-haiku-4-5", False, True)],
)
def test_what_a_model_takes(alias, thinks, structured):
    model = models.Model(alias, f"global.anthropic.{alias}", "ACTIVE", None)
    assert (model.thinks, model.structured) == (thinks, structured)
    assert model.effort("low") == ({"outputConfig": {"effort": "low"}} if thinks else {})


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
