"""What the lessons use and cost in live mode, added up over every call that they make.

    python -m tools.costs [notebook ...]

Runs the lessons offline and prints the tables of INSTRUCTOR.md. The token counts are those of the recorded
answers: estimates, as long as the answers are not captured from the service.
"""

import json
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers import replay
from helpers.models import COUNTS, FACTS, PRICES, Model
from helpers.settings import Settings
from tools.notebooks import environment, execute, inside, lessons

DEFAULT: str = Settings.model_fields["model"].default
ALIASES = (DEFAULT, "claude-haiku-5-5", "claude-opus-5-5")
# Output tokens that a call is taken to think, by effort. Nobody measured them: what the service bills is in `usage`.
THINKING = {"low": 300, "medium": 1500, "high": 5000}
KINDS = ("inputTokens", "cacheWriteInputTokens", "cacheReadInputTokens", "outputTokens", "thinking")


@dataclass(frozen=True)
class Use:
    """What one lesson asked for: calls to Claude and to Retrieve, tokens by kind, sum of max tokens."""

    lesson: str
    calls: int
    retrievals: int
    tokens: Mapping[str, int]
    limits: int

    def dollars(self, alias: str) -> float:
        """US dollars of the calls to Claude with the model `alias`, by its global profile."""
        return Model(alias, "global.", "", None).cost({**self.tokens, "outputTokens": written(self.tokens)})


def listen(notes: str) -> None:
    """Called inside the kernel: one line of JSON in `notes` for every call."""
    answer, lock = replay.Replay.answer, threading.Lock()

    def noting(mode: replay.Replay, call: str, params: dict[str, Any]) -> dict[str, Any]:
        entry = answer(mode, call, params)
        with lock, Path(notes).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line_of(call, params, entry["body"])) + "\n")
        return entry

    replay.Replay.answer = noting  # type: ignore[method-assign]


def line_of(call: str, params: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """What counts of one call and its recorded answer."""
    usage = usage_of(body) if call.startswith("bedrock-runtime.") else {}
    told = {"limit": limit_of(params), "effort": effort_of(params)} if usage else {"limit": 0, "effort": ""}
    return {"call": call, "usage": usage, **told}


def listening(notes: Path) -> str:
    """A preamble for `execute` that keeps the calls of the notebook in `notes`."""
    return inside(f"from tools import costs; costs.listen({str(notes)!r})")


def usage_of(body: dict[str, Any]) -> dict[str, int]:
    """Tokens by kind, under Converse's names, from a recorded body of Converse, ConverseStream or InvokeModel."""
    events = [event["data"]["usage"] for event in body.get("events", []) if "usage" in event["data"]]
    found = events[-1] if events else body.get("json", {}).get("usage", {})
    names = {theirs: ours for ours, theirs in COUNTS.items()}
    named = {names.get(name, name): count for name, count in found.items()}
    return {kind: named[kind] for kind in KINDS if kind in named}


def effort_of(params: dict[str, Any]) -> str:
    """The effort that a request asks for; high, the default of most models, where it asks for none."""
    asked = json.loads(params["body"]).get("output_config") if "body" in params else params.get("outputConfig")
    return str((asked or {}).get("effort", "high"))


def limit_of(params: dict[str, Any]) -> int:
    """Max tokens of a request, which the service sets aside from the quota when the call begins."""
    if "body" in params:
        return int(json.loads(params["body"])["max_tokens"])
    return int(params["inferenceConfig"]["maxTokens"])


def noted(notes: Path) -> list[dict[str, Any]]:
    """What `listen` has noted; a file that is not there is a lesson without calls."""
    return [json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines()] if notes.exists() else []


def use_of(lesson: str, lines: Sequence[dict[str, Any]]) -> Use:
    """Add up the lines of `line_of`."""
    asked = [line for line in lines if line["usage"]]
    tokens: Counter[str] = Counter()
    for line in asked:
        tokens.update(line["usage"], thinking=THINKING[line["effort"]])
    retrievals = sum(line["call"].endswith(".Retrieve") for line in lines)
    return Use(lesson, len(asked), retrievals, tokens, sum(line["limit"] for line in asked))


def written(tokens: Mapping[str, int]) -> int:
    """Tokens billed as output: what is read, and the thinking before it."""
    return tokens.get("outputTokens", 0) + tokens.get("thinking", 0)


def cost_table(uses: Sequence[Use]) -> str:
    """Tokens and dollars of each lesson that calls Claude, and their sum, as Markdown."""
    prices = " | ".join(f"$ {alias}" for alias in ALIASES)
    rows = [
        f"| lesson | calls | input | cache write | cache read | output | thinking | {prices} |",
        "|---|" + "---:|" * 9,
    ]
    for use in [*uses, total(uses)]:
        tokens = " | ".join(f"{use.tokens.get(kind, 0):,}" for kind in KINDS)
        dollars = " | ".join(f"{use.dollars(alias):.3f}" for alias in ALIASES)
        rows.append(f"| {use.lesson} | {use.calls} | {tokens} | {dollars} |")
    return "\n".join(rows)


def quota_table(uses: Sequence[Use], rate: int = 5) -> str:
    """Tokens that each lesson takes from the quota: set aside at first, and counted in the end, as Markdown.

    An output token counts `rate` times, and what is read from the cache does not count in the end.
    Source: https://docs.aws.amazon.com/bedrock/latest/userguide/quotas-token-burndown.html
    """
    rows = ["| lesson | calls | set aside at the start of a call, mean | counted in the end, whole lesson |"]
    rows.append("|---|---:|---:|---:|")
    for use in uses:
        fresh = use.tokens.get("inputTokens", 0) + use.tokens.get("cacheWriteInputTokens", 0)
        first = fresh + use.tokens.get("cacheReadInputTokens", 0) + use.limits
        last = fresh + rate * written(use.tokens)
        rows.append(f"| {use.lesson} | {use.calls} | {first / use.calls:,.0f} | {last:,} |")
    return "\n".join(rows)


def arithmetic(uses: Sequence[Use], alias: str = DEFAULT) -> str:
    """The sum of the lessons worked out by hand for one model, in one line."""
    whole = total(uses)
    prices = Model(alias, "global.", "", None).prices
    names = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens", "thinking")
    price_of = dict(zip(names, (*prices, prices[1]), strict=True))
    terms = " + ".join(f"{whole.tokens.get(kind, 0):,} × ${price_of[kind]:.2f}" for kind in KINDS)
    return f"({terms}) / 1,000,000 = ${whole.dollars(alias):.3f}"


def total(uses: Sequence[Use]) -> Use:
    """The sum of several lessons."""
    tokens: Counter[str] = Counter()
    for use in uses:
        tokens.update(use.tokens)
    counts = (sum(each) for each in zip(*((use.calls, use.retrievals, use.limits) for use in uses), strict=True))
    calls, retrievals, limits = counts
    return Use("all", calls, retrievals, tokens, limits)


def main(arguments: list[str] | None = None) -> int:
    """Run the lessons named in `arguments`, or all, and print the tables."""
    paths = [Path(name) for name in (arguments if arguments is not None else sys.argv[1:])] or lessons()
    uses = []
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            notes = Path(folder) / f"{path.stem}.jsonl"
            outcome = execute(path, environment(), preamble=listening(notes))
            if outcome.error:
                print(f"{path.stem}: {outcome.error}", file=sys.stderr)
                return 1
            uses.append(use_of(path.stem, noted(notes)))
    asking = [use for use in uses if use.calls]
    print(f"Prices of {FACTS['prices']['date']}: " + "; ".join(f"{alias} {PRICES[alias]}" for alias in ALIASES))
    print(cost_table(asking), arithmetic(asking), quota_table(asking), sep="\n\n")
    print("\nCalls to Retrieve:", ", ".join(f"{use.lesson} {use.retrievals}" for use in uses if use.retrievals))
    return 0


if __name__ == "__main__":
    sys.exit(main())
