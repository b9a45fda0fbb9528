"""Claude models on Bedrock: which one answers, until when, and what it costs."""

import re
import tomllib
from dataclasses import dataclass
from datetime import date
from typing import Any

from helpers import clients, replay
from helpers.errors import WorkshopError
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
        return replay.active().whose or self.alias

    @property
    def version(self) -> tuple[int, ...]:
        """Version numbers of the alias: claude-sonnet-5-5 is (5, 5)."""
        return tuple(int(part) for part in re.findall(r"-(\d{1,2})(?=-|$)", self.alias))

    @property
    def thinks(self) -> bool:
        """Whether an answer may begin with thinking, which counts against max tokens and is billed as output."""
        return self.version >= (5,) and not self.served

    @property
    def cache_minimum(self) -> int | None:
        """Fewest tokens in front of a cache point; None if not known."""
        found: int | None = FACTS["cache_minimum"].get(self.alias)
        return found

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
        tokens_in, tokens_out, *cached = _counts(usage)
        if self.served:  # what the server has in its cache counts as well
            return f"{tokens_in + sum(cached):,} tokens in, {tokens_out:,} out, counted by {self.whose}"
        note = "; token counts are estimates" if replay.estimated(response) else ""
        price = f"${self.cost(usage):.4f}" if self.alias in PRICES else "no price known"
        return f"{tokens_in:,} tokens in, {tokens_out:,} out: {price} (prices of {FACTS['prices']['date']}{note})"

    def __str__(self) -> str:
        """One line for a set-up cell."""
        if self.served:
            return f"{self.whose} answers what the cells ask of {self.id}"
        price = f"${self.prices[0]:.2f} in, ${self.prices[1]:.2f} out a million tokens"
        price = price if self.alias in PRICES else "no price known"
        ends = f", end of life {self.end_of_life}" if self.end_of_life else ""
        return f"{self.alias} -> {self.id} ({self.status.lower()}{ends}; {price})"


def _counts(usage: dict[str, Any]) -> list[int]:
    return [usage.get(ours, usage.get(theirs, 0)) for ours, theirs in COUNTS.items()]


def alias_of(model_id: str) -> str:
    """The short name in a model or profile id: us.anthropic.claude-opus-4-6-v1 -> claude-opus-4-6."""
    return _DATED.sub("", model_id.rpartition("anthropic.")[2])


def resolve(alias: str = "") -> Model:
    """The model to call for `alias` (default: WORKSHOP_MODEL), found by listing what the region offers.

    Raises `WorkshopError` when it reached its end of life or is not offered here, and names one to use.
    """
    wanted = alias_of(alias or settings().model)
    life, profiles, on_demand = _offered()
    usable = [name for name in life if name in profiles and life[name].get("status") == "ACTIVE"]
    listed_end = life.get(wanted, {}).get("endOfLifeTime")
    ends = FACTS["ended"].get(wanted) or (listed_end.date() if listed_end else None)
    if ends and ends <= replay.active().today():
        raise WorkshopError(f"{wanted} reached its end of life on {ends}. {_instead(wanted, usable)}")
    own = profiles.get(wanted) or on_demand.get(wanted)
    if not own:
        place = f"No model or inference profile {wanted!r} in {clients.region()}"
        raise WorkshopError(f"{place}. {_instead(wanted, usable)}")
    where = settings().geography
    if where != "global" and not any(name.startswith(where + ".") for name in own):
        offered = sorted({name.partition(".")[0] for name in own if not name.startswith("anthropic.")})
        raise WorkshopError(
            f"{wanted} has no profile that keeps requests in {where!r} (WORKSHOP_GEOGRAPHY); offered in "
            f"{clients.region()}: {', '.join(offered) or 'none'}. Choose one of those, or another model."
        )
    status = life.get(wanted, {}).get("status", "ACTIVE")
    return Model(wanted, min(own, key=_preference), status, ends, served=settings().mode == "server")


def _offered() -> tuple[dict[str, Any], dict[str, list[str]], dict[str, list[str]]]:
    """What the region offers, by alias: lifecycle, ids of inference profiles, ids to call on demand."""
    control = clients.client("bedrock")
    listed = control.list_foundation_models(byProvider="anthropic")["modelSummaries"]
    life = {alias_of(model["modelId"]): model.get("modelLifecycle", {}) for model in listed}
    on_demand: dict[str, list[str]] = {}
    for model in listed:
        if "ON_DEMAND" in model.get("inferenceTypesSupported", []):
            on_demand.setdefault(alias_of(model["modelId"]), []).append(model["modelId"])
    pages = control.get_paginator("list_inference_profiles").paginate(typeEquals="SYSTEM_DEFINED")
    profiles: dict[str, list[str]] = {}
    for profile in (item for page in pages for item in page["inferenceProfileSummaries"]):
        profiles.setdefault(alias_of(profile["inferenceProfileId"]), []).append(profile["inferenceProfileId"])
    return life, profiles, on_demand


def _preference(profile_id: str) -> tuple[bool, bool, str]:
    return not profile_id.startswith(settings().geography + "."), profile_id.startswith("global."), profile_id


def _instead(wanted: str, usable: list[str]) -> str:
    family = next((part for part in ("opus", "sonnet", "haiku") if part in wanted), "sonnet")
    same = [name for name in usable if family in name and name != wanted] or usable
    if not same:
        return "No active Claude model is listed in this region: choose another one with WORKSHOP_REGION."
    newest = max(same, key=lambda name: Model(name, "", "", None).version)
    return f"Use {newest} instead: put WORKSHOP_MODEL={newest} into .env and restart the kernel."
