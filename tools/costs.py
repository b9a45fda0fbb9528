"""What the lessons use and cost in live mode, added up over every call that they make.

    python -m tools.costs

Runs the lessons offline and prints the tables of INSTRUCTOR.md. The token counts are those of the recorded
answers: estimates, as long as the answers are not captured from the service.
"""

import json
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helpers import replay
from helpers.models import COUNTS, Model
from helpers.settings import Settings
from tools.notebooks import environment, execute, lessons

DEFAULT: str = Settings.model_fields["model"].default
ALIASES = (DEFAULT, "claude-haiku-5-5", "claude-opus-5-5")
# Output tokens that a call is taken to think, by effort. Nobody measured them: what the service bills is in `usage`.
THINKING = {"low": 300, "medium": 1500, "high": 5000}
KINDS = ("inputTokens", "cacheWriteInputTokens", "cacheReadInputTokens", "outputTokens", "thinking")
Uses = Mapping[str, Counter[str]]  # by lesson: tokens of KINDS, "calls" to Claude, their "limits"


def listen(notes: str) -> None:
    """Called inside the kernel: one line of JSON in `notes` for every call."""
    answer, lock = replay.Replay.answer, threading.Lock()

    def noting(mode: replay.Replay, call: str, params: dict[str, Any]) -> dict[str, Any]:
        entry = answer(mode, call, params)
        with lock, Path(notes).open("a", encoding="utf-8") as file:
            file.write(json.dumps(use_of(call, params, entry["body"])) + "\n")
        return entry

    replay.Replay.answer = noting  # type: ignore[method-assign]


def use_of(call: str, params: dict[str, Any], body: dict[str, Any]) -> dict[str, int]:
    """What counts of one call and its recorded body: of Converse, ConverseStream or InvokeModel."""
    events = [event["data"]["usage"] for event in body.get("events", []) if "usage" in event["data"]]
    usage = events[-1] if events else body.get("json", {}).get("usage", {})
    names = {theirs: ours for ours, theirs in COUNTS.items()}
    tokens = {names.get(name, name): count for name, count in usage.items()}
    if not (use := {kind: tokens[kind] for kind in KINDS if kind in tokens}):
        return {}
    if "body" in params:
        asked = json.loads(params["body"])
        limit, how = asked["max_tokens"], asked.get("output_config")
    else:
        limit, how = params["inferenceConfig"]["maxTokens"], params.get("outputConfig")
    effort = (how or {}).get("effort", "high")  # the default of most models
    return use | {"thinking": THINKING[effort], "calls": 1, "limits": int(limit)}


def dollars(use: Mapping[str, int], alias: str) -> float:
    """US dollars of the calls to Claude with the model `alias`, by its global profile; thinking is billed as output."""
    tokens = {kind: use.get(kind, 0) for kind in KINDS[:-1]}
    tokens["outputTokens"] += use.get("thinking", 0)
    return Model(alias, "global.", "", None).cost(tokens)


def cost_table(uses: Uses) -> str:
    """Tokens and dollars of each lesson that calls Claude, and their sum, as Markdown."""
    heads = ["lesson", "calls", "input", "cache write", "cache read", "output", "thinking"]
    rows = [[*heads, *(f"$ {alias}" for alias in ALIASES)]]
    for lesson, use in {**uses, "all": sum(uses.values(), Counter())}.items():
        costs = (f"{dollars(use, alias):.3f}" for alias in ALIASES)
        rows.append([lesson, str(use["calls"]), *(f"{use[kind]:,}" for kind in KINDS), *costs])
    return _table(rows)


def quota_table(uses: Uses) -> str:
    """Tokens that each lesson takes from the quota: set aside at first, and counted in the end, as Markdown.

    An output token counts 5 times, and what is read from the cache does not count in the end.
    Source: https://docs.aws.amazon.com/bedrock/latest/userguide/quotas-token-burndown.html
    """
    rows = [["lesson", "calls", "set aside at the start of a call, mean", "counted in the end, whole lesson"]]
    for lesson, use in uses.items():
        fresh = use["inputTokens"] + use["cacheWriteInputTokens"]
        first = (fresh + use["cacheReadInputTokens"] + use["limits"]) / use["calls"]
        counted = fresh + 5 * (use["outputTokens"] + use["thinking"])
        rows.append([lesson, str(use["calls"]), f"{first:,.0f}", f"{counted:,}"])
    return _table(rows)


def _table(rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|---|" + "---:|" * (len(rows[0]) - 1), *lines[1:]])


def arithmetic(uses: Uses) -> str:
    """The sum of the lessons worked out by hand for the workshop's own model, in one line."""
    whole, (fresh, output, read, write) = sum(uses.values(), Counter()), Model(DEFAULT, "global.", "", None).prices
    prices = zip(KINDS, (fresh, write, read, output, output), strict=True)
    terms = " + ".join(f"{whole[kind]:,} × ${price:.2f}" for kind, price in prices)
    return f"({terms}) / 1,000,000 = ${dollars(whole, DEFAULT):.3f}"


def main() -> None:
    """Run the lessons and print the tables."""
    uses = {}
    with tempfile.TemporaryDirectory() as folder:
        for path in lessons():
            notes, uses[path.stem] = Path(folder) / f"{path.stem}.jsonl", Counter[str]()
            notes.touch()
            preamble = f"from tools import costs; costs.listen({str(notes)!r})"
            if error := execute(path, environment(), preamble=preamble).error:
                sys.exit(f"{path.stem}: {error}")
            for line in notes.read_text(encoding="utf-8").splitlines():
                uses[path.stem].update(json.loads(line))
    asking = {lesson: use for lesson, use in uses.items() if use["calls"]}
    print(cost_table(asking), arithmetic(asking), quota_table(asking), sep="\n\n")


if __name__ == "__main__":
    main()
