"""Claude models on Bedrock: which one answers, until when, what it takes, what it costs."""

import re
from dataclasses import dataclass
from datetime import date
from typing import Any

from helpers import clients, recordings
from helpers.errors import WorkshopError
from helpers.settings import settings

PRICES_DATE = "2026-11-22"
# US dollars a million tokens: input, output, cache read, cache write (5 minutes).
# Source: https://aws.amazon.com/bedrock/pricing/, on demand, global profiles; other profiles cost 10 % more.
PRICES = {
    "claude-opus-5-5": (4.00, 20.00, 0.20, 5.00),
    "claude-sonnet-5-5": (2.00, 10.00, 0.10, 2.50),
    "claude-sonnet-5": (2.00, 10.00, 0.20, 2.50),
    "claude-haiku-5-5": (0.10, 0.50, 0.01, 0.125),
    "claude-sonnet-4-6": (3.00, 15.00, 0.30, 3.75),
    "claude-haiku-4-5": (1.00, 5.00, 0.10, 1.25),
}
GEOGRAPHY_FACTOR = 1.1
# Models that the service no longer lists. Source: the model lifecycle page of the Bedrock user guide.
ENDED = {
    "claude-3-sonnet": date(2026, 7, 30),
    "claude-3-5-sonnet": date(2026, 7, 30),
    "claude-3-haiku": date(2026, 9, 10),
    "claude-3-7-sonnet": date(2026, 4, 28),
    "claude-sonnet-4": date(2026, 10, 14),
}
_DATED = re.compile(r"(-\d{8})?(-v\d+(:\d+)?)?$")


@dataclass(frozen=True)
class Model:
    """A model that can be called now; `id` is what goes into `modelId`."""

    alias: str
    id: str
    status: str
    end_of_life: date | None

    @property
    def version(self) -> tuple[int, ...]:
        """Version numbers of the alias: claude-sonnet-5-5 is (5, 5)."""
        return tuple(int(part) for part in re.findall(r"-(\d{1,2})(?=-|$)", self.alias))

    @property
    def sampling(self) -> str:
        """Which of temperature and top_p a request may set: none, one or both."""
        if self.version >= (5,) or ("opus" in self.alias and self.version >= (4, 7)):
            return "none"
        return "one" if self.version >= (4, 5) else "both"

    @property
    def thinks_by_default(self) -> bool:
        """Whether answers may begin with thinking, which counts against max tokens."""
        return self.version >= (5,)

    @property
    def prices(self) -> tuple[float, float, float, float]:
        """US dollars a million tokens: input, output, cache read, cache write; zeros if not in the table."""
        base = PRICES.get(self.alias, (0.0, 0.0, 0.0, 0.0))
        factor = 1.0 if self.id.startswith("global.") else GEOGRAPHY_FACTOR
        return (base[0] * factor, base[1] * factor, base[2] * factor, base[3] * factor)

    def cost(self, usage: dict[str, Any]) -> float:
        """US dollars of one call, from the `usage` of Converse or of the Messages API."""
        counts = (
            usage.get("inputTokens", usage.get("input_tokens", 0)),
            usage.get("outputTokens", usage.get("output_tokens", 0)),
            usage.get("cacheReadInputTokens", usage.get("cache_read_input_tokens", 0)),
            usage.get("cacheWriteInputTokens", usage.get("cache_creation_input_tokens", 0)),
        )
        return float(sum(count * price for count, price in zip(counts, self.prices, strict=True))) / 1e6

    def receipt(self, usage: dict[str, Any], response: dict[str, Any]) -> str:
        """One line: tokens in and out, their cost, and whether `response` only estimates them."""
        tokens_in = usage.get("inputTokens", usage.get("input_tokens", 0))
        tokens_out = usage.get("outputTokens", usage.get("output_tokens", 0))
        note = "; token counts are estimates" if recordings.estimated(response) else ""
        price = f"${self.cost(usage):.4f}" if self.alias in PRICES else "no price known"
        return f"{tokens_in:,} tokens in, {tokens_out:,} out: {price} (prices of {PRICES_DATE}{note})"

    def __str__(self) -> str:
        """One line for a set-up cell."""
        price = f"${self.prices[0]:.2f} in, ${self.prices[1]:.2f} out a million tokens"
        price = price if self.alias in PRICES else "no price known"
        ends = f", end of life {self.end_of_life}" if self.end_of_life else ""
        return f"{self.alias} -> {self.id} ({self.status.lower()}{ends}; {price})"


def alias_of(model_id: str) -> str:
    """The short name in a model or profile id: us.anthropic.claude-opus-4-6-v1 -> claude-opus-4-6."""
    return _DATED.sub("", model_id.rpartition("anthropic.")[2])


def resolve(alias: str = "") -> Model:
    """The model to call for `alias` (default: WORKSHOP_MODEL), found by listing what the region offers.

    Raises `WorkshopError` when it reached its end of life or is not offered here, and names one to use.
    """
    wanted = alias_of(alias or settings().model)
    life, own, usable = _offered(wanted)
    ended = ENDED.get(wanted) or _day(life.get(wanted, {}).get("endOfLifeTime"))
    if ended and ended <= recordings.today():
        raise WorkshopError(f"{wanted} reached its end of life on {ended}. {_instead(wanted, usable)}")
    if not own:
        place = f"No model or inference profile {wanted!r} in {clients.region()}"
        raise WorkshopError(f"{place}. {_instead(wanted, usable)}")
    chosen = min(own, key=_preference)
    return Model(wanted, chosen, life.get(wanted, {}).get("status", "ACTIVE"), ended if ended else None)


def instead_of(model_id: str) -> str:
    """What to call when the service refuses `model_id`: its inference profile, or another model; a sentence."""
    wanted = alias_of(model_id)
    _, own, usable = _offered(wanted)
    better = min(own, key=_preference, default=model_id)
    if better != model_id and wanted in usable:
        return f"Use {better}: models.resolve({wanted!r}).id finds it."
    return _instead(wanted, usable)


def _offered(wanted: str) -> tuple[dict[str, Any], list[str], list[str]]:
    """What the region offers: lifecycle by alias, ids that answer for `wanted`, aliases of active models."""
    control = clients.client("bedrock")
    listed = control.list_foundation_models(byProvider="anthropic")["modelSummaries"]
    life = {alias_of(model["modelId"]): model.get("modelLifecycle", {}) for model in listed}
    pages = control.get_paginator("list_inference_profiles").paginate(typeEquals="SYSTEM_DEFINED")
    profiles: dict[str, list[str]] = {}
    for profile in (item for page in pages for item in page["inferenceProfileSummaries"]):
        profiles.setdefault(alias_of(profile["inferenceProfileId"]), []).append(profile["inferenceProfileId"])
    own = profiles.get(wanted) or [
        model["modelId"]
        for model in listed
        if alias_of(model["modelId"]) == wanted and "ON_DEMAND" in model.get("inferenceTypesSupported", [])
    ]
    usable = [name for name in life if name in profiles and life[name].get("status") == "ACTIVE"]
    return life, own, usable


def _preference(profile_id: str) -> tuple[bool, bool, str]:
    return not profile_id.startswith(settings().geography + "."), profile_id.startswith("global."), profile_id


def _day(moment: Any) -> date | None:
    return moment.date() if moment is not None else None


def _instead(wanted: str, usable: list[str]) -> str:
    family = next((part for part in ("opus", "sonnet", "haiku") if part in wanted), "sonnet")
    same = [name for name in usable if family in name and name != wanted] or usable
    if not same:
        return "No active Claude model is listed in this region: choose another one with WORKSHOP_REGION."
    newest = max(same, key=lambda name: Model(name, "", "", None).version)
    return f"Use {newest} instead: put WORKSHOP_MODEL={newest} into .env and restart the kernel."
