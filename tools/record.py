"""Answer notebooks from your AWS account and keep the answers: make record NOTEBOOKS=notebooks/04_financial_rag.ipynb

They are collected beside the recording and replace it only when the notebook ran through. Then it is run again in
replay, so that what it prints, and what you commit, comes from the scrubbed file.
"""

import json
import re
import sys
from pathlib import Path

import nbformat

from helpers.replay.recording import Recording
from helpers.settings import settings
from tests.loopback.rules import RULES
from tools.notebooks import edition_of, environment, execute, lessons, write
from tools.recorder import save
from tools.run import line

_COST = re.compile(r"Live cost: ([^\n·]+)")


def main(names: list[str]) -> int:
    """Record the notebooks that are named, or all; 1 if one failed or nobody agreed to the cost."""
    paths = [Path(name) for name in names] or lessons()
    for path in paths:
        if path.resolve().parent.name == "solutions":
            print(f"{path} has no recording of its own: record the lesson, then run `make outputs`.", file=sys.stderr)
            sys.exit(2)
        cost = _COST.search(nbformat.read(path, 4).cells[0].source)
        print(f"{path.stem}: live cost {cost[1].strip() if cost else 'unknown'}")
    if input("Record from your AWS account? Type yes: ").strip() != "yes":
        print("Nothing was recorded.")
        return 1
    return max(record(path) for path in paths)


def record(path: Path) -> int:
    """Record one notebook, then rewrite its outputs in replay, from the scrubbed file; 0 if both runs went through."""
    folder = settings().recordings_dir / edition_of(path)
    beside = f"{path.stem}.*new.json"  # one; named after the variant, where there is one
    for left in folder.glob(beside):  # of a run that was cut, perhaps of another variant
        left.unlink()
    own = {"env_file": settings().env_file}
    live = execute(path, environment("live", **own), preamble="from tools import recorder; recorder.install()")
    print(line(live))
    for collected in folder.glob(beside):
        target = collected.with_name(collected.name.replace(".new.json", ".json"))
        if live.error:
            print(f"  {target.name} is as it was; what was answered so far is in {collected.name}.")
            continue
        fresh = Recording(collected)
        if fresh.entries != Recording(target).entries:  # the old date stays with the old answers
            save(fresh, target)
        collected.unlink()
        print(*differences(fresh), sep="\n")
    if live.error:
        return 1
    again = execute(path, environment(**own))
    print(line(again))
    if not again.error:
        write(again.notebook, path)
    return int(bool(again.error))


def differences(recording: Recording) -> list[str]:
    """What the service answered otherwise than the rule book of the tests says, a line each."""
    lines = []
    for entry in (each for each in recording.entries if each["origin"] == "service"):
        asked = dict(entry["request"])
        if "json" in asked.get("body", {}):  # InvokeModel's body, closed again
            asked["body"] = json.dumps(asked["body"]["json"])
        says = [rule for rule in RULES if rule.is_about(entry["call"]) and rule.refuses and rule.refuses(asked)]
        refused = entry.get("status", 200) >= 400
        if says and not refused:
            lines.append(f"  rule {says[0].number} says that {entry['call']} is refused here; it was answered")
        elif refused and not says:
            lines.append(f"  {entry['call']} was refused, and no rule says so: {json.dumps(entry['body'])[:200]}")
    return lines or ["  nothing differs from tests/loopback/rules.py"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
