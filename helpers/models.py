"""Claude models on Bedrock: which one answers, until when, and what it costs."""

import re
import tomllib
from dataclasses import dataclass
from datetime import date
from typing import Any

from helpers import clients, replay
from helpers.language import N_, WorkshopError, say
from helpers.settings import ROOT, settings

FACTS = tomllib.loads((ROOT / "data" / "models.toml").read_text(encoding="utf-8"))
PRICES = FACTS["prices"]["dollars"]
# The four counts of a `usage`, in the order of the prices; Converse's names, and those of the Messages API.
COUNTS = {
    "inputTokens": "input_tokens",
    "outputTokens": "output_tokens",
    "cacheReadInputTokens": "cache_read_input_tokens",
    "cacheWriteInputTokens": "cache_creation_input_tokens",
}
_DATED = re.compile(r"(-\d{8})?(-v\d+(:\d+)?)?$")


@dataclass(frozen=True)
class Model:
    """A model that can be called now; `id` is what goes into `modelId`."""

    alias: str
    id: str
    status: str
    end_of_life: date | None
    served: bool = False  # a server of the learner's own answers in its place

    @property
    def whose(self) -> str:
        """Whose answers these are, for titles and scores."""
        return say(replay.active().whose) or self.alias

    @property
    def version(self) -> tuple[int, ...]:
        """Version numbers of the alias: claude-sonnet-5-5 is (5, 5)."""
        return tuple(int(part) for part in re.findall(r"-(\d{1,2})(?=-|$)", self.alias))

    @property
    def thinks(self) -> bool:
        """Whether an answer may begin with thinking, which counts against max tokens and is billed as output."""
        return self.version >= (5,) and not self.served

    @property
    def structured(self) -> bool:
        """Whether `outputConfig.textFormat` (a JSON schema) is offered on Bedrock: not for 4.7, 4.8 and 5.x.

        Source: user guide, page on structured outputs; anthropics/anthropic-sdk-python#1759 (2026-11-24).
        """
        return not self.served and (self.alias == "claude-opus-4-1" or (4, 5) <= self.version < (4, 7))

    def effort(self, level: str, messages: bool = False) -> dict[str, Any]:
        """Part of a Converse request (or of a Messages body) that asks for little or much thinking.

        `level` is low, medium or high; {} for a model that does not think, since it may refuse the field.
        """
        return {"output_config" if messages else "outputConfig": {"effort": level}} if self.thinks else {}

    @property
    def prices(self) -> tuple[float, ...]:
        """US dollars a million tokens: input, output, cache read, cache write; zeros where nobody knows them."""
        factor = 1.0 if self.id.startswith("global.") else FACTS["prices"]["geography"]
        return tuple(price * factor for price in PRICES.get("" if self.served else self.alias, (0.0,) * 4))

    def cost(self, usage: dict[str, Any]) -> float:
        """US dollars of one call, from the `usage` of Converse or of the Messages API."""
        return sum(count * price for count, price in zip(_counts(usage), self.prices, strict=True)) / 1e6

    def receipt(self, usage: dict[str, Any], response: dict[str, Any]) -> str:
        """One line: tokens in and out, their cost, and whether `response` only estimates them."""
        count, said, *cached = _counts(usage)
        if self.served:  # what the server has in its cache counts as well
            count += sum(cached)
            return say("{count:,} tokens in, {said:,} out, counted by {who}", count=count, said=said, who=self.whose)
        price = f"${self.cost(usage):.4f}" if self.alias in PRICES else say("no price known")
        line = N_("{count:,} tokens in, {said:,} out: {price} (prices of {date})")
        if replay.estimated(response):
            line = N_("{count:,} tokens in, {said:,} out: {price} (prices of {date}; token counts are estimates)")
        return say(line, count=count, said=said, price=price, date=FACTS["prices"]["date"])

    def __str__(self) -> str:
        """One line for a set-up cell."""
        if self.served:
            return say("{whose} answers what the cells ask of {id}", whose=self.whose, id=self.id)
        price, state = say("no price known"), self.status.lower()
        if self.alias in PRICES:
            asked, said, *_ = self.prices
            price = say("${asked:.2f} in, ${said:.2f} out a million tokens", asked=asked, said=said)
        if self.end_of_life:
            state = say("{state}, end of life {date}", state=state, date=self.end_of_life)
        return say("{alias} -> {id} ({state}; {price})", alias=self.alias, id=self.id, state=state, price=price)


def _counts(usage: dict[str, Any]) -> list[int]:
    return [usage.get(ours, usage.get(theirs, 0)) for ours, theirs in COUNTS.items()]


def alias_of(model_id: str) -> str:
    """The short name in a model or profile id: us.anthropic.claude-opus-4-6-v1 -> claude-opus-4-6."""
    return _DATED.sub("", model_id.rpartition("anthropic.")[2])


def resolve(alias: str = "") -> Model:
    """The model to call for `alias` (default: WORKSHOP_MODEL), found by listing what the region offers.

    Raises `WorkshopError` when it reached its end of life or is not offered here, and names one to use.
    """
    wanted, where = alias_of(alias or settings().model), settings().geography
    life, ids = _offered()
    own = [each for each in ids if alias_of(each) == wanted]
    usable = [name for name in life if life[name].get("status") == "ACTIVE" and name in map(alias_of, ids)]
    listed = life.get(wanted, {})
    ends = FACTS["ended"].get(wanted) or (listed["endOfLifeTime"].date() if "endOfLifeTime" in listed else None)
    if ends and ends <= replay.active().today():
        over = say("{model} reached its end of life on {date}.", model=wanted, date=ends)
        raise WorkshopError(f"{over} {_instead(wanted, usable)}")
    if not own:
        none = say("No model or inference profile {model!r} in {region}.", model=wanted, region=clients.region())
        raise WorkshopError(f"{none} {_instead(wanted, usable)}")
    if where != "global" and not any(each.startswith(where + ".") for each in own):
        offered = sorted({each.partition(".")[0] for each in own} - {"anthropic"})
        told = {"model": wanted, "where": where, "region": clients.region(), "there": ", ".join(offered) or say("none")}
        raise WorkshopError(
            "{model} has no profile that keeps requests in {where!r} (WORKSHOP_GEOGRAPHY); offered in {region}: "
            "{there}. Choose one of those, or another model.",
            **told,
        )
    rank = {"anthropic": 3, "global": 2, where: 0}  # others 1; a bare id, which is called on demand, comes last
    best = min(own, key=lambda each: (rank.get(each.partition(".")[0], 1), each))
    return Model(wanted, best, listed.get("status", "ACTIVE"), ends, served=settings().mode == "server")


def _offered() -> tuple[dict[str, Any], list[str]]:
    """What the region offers: the lifecycle of each model, by alias; ids of inference profiles, and ids to call."""
    control = clients.client("bedrock")
    listed = control.list_foundation_models(byProvider="anthropic")["modelSummaries"]
    pages = control.get_paginator("list_inference_profiles").paginate(typeEquals="SYSTEM_DEFINED")
    ids = [profile["inferenceProfileId"] for page in pages for profile in page["inferenceProfileSummaries"]]
    ids += [model["modelId"] for model in listed if "ON_DEMAND" in model.get("inferenceTypesSupported", [])]
    return {alias_of(model["modelId"]): model.get("modelLifecycle", {}) for model in listed}, ids


def _instead(wanted: str, usable: list[str]) -> str:
    family = next((part for part in ("opus", "sonnet", "haiku") if part in wanted), "sonnet")
    same = [name for name in usable if family in name and name != wanted] or usable
    if not same:
        return say("No active Claude model is listed in this region: choose another one with WORKSHOP_REGION.")
    newest = max(same, key=lambda name: Model(name, "", "", None).version)
    return say("Use {model} instead: put WORKSHOP_MODEL={model} into .env and restart the kernel.", model=newest)
