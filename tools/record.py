"""Answer notebooks from your AWS account and keep the answers.

    make record NOTEBOOKS=notebooks/04_financial_rag.ipynb
    python -m tools.record --only "dividend per share" notebooks/04_financial_rag.ipynb

The second form renews only the requests that contain the text; every other answer stays as it is.
The answers are collected beside the recording and replace it only when the notebook ran through; a run that
is cut half-way leaves the old file as it was. Then the notebook is run again in replay, so that what it prints,
and what you commit, comes from the scrubbed file.
"""

import argparse
import re
import sys
from pathlib import Path

import nbformat

from helpers.replay.recording import Recording
from helpers.settings import settings
from tools.notebooks import FOLDER, environment, execute, inside, lessons, write
from tools.recorder import save
from tools.run import line

_COST = re.compile(r"Live cost: ([^\n·]+)")


def main(arguments: list[str] | None = None) -> int:
    """Record the notebooks named in `arguments`, or all; 1 if one failed or nobody agreed to the cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--only", default="", metavar="TEXT", help="renew only requests that contain TEXT")
    parser.add_argument("--yes", action="store_true", help="the cost is agreed to")
    options = parser.parse_args(arguments)
    paths = options.notebooks or lessons()
    for path in paths:
        if path.resolve().parent == FOLDER / "solutions":
            parser.error(f"{path} has no recording of its own: record the lesson, then run `make outputs`.")
    for path in paths:
        cost = _COST.search(nbformat.read(path, 4).cells[0].source)
        print(f"{path.stem}: live cost {cost[1].strip() if cost else 'unknown'}")
    if not options.yes and input("Record from your AWS account? Type yes: ").strip() != "yes":
        print("Nothing was recorded.")
        return 1
    return max(record(path, options.only) for path in paths)


def record(path: Path, only: str = "") -> int:
    """Record one notebook and rewrite its outputs in replay; 0 if both runs went through."""
    return collect(path, only) or rewrite(path)


def collect(path: Path, only: str = "") -> int:
    """The first pass: answers of the account into the recording; nothing that this run prints is kept."""
    folder = settings().recordings_dir
    preamble = inside(f"from tools import recorder; recorder.install({only!r})")
    live = execute(path, environment("live"), preamble=preamble)
    print(line(live))
    for collected in folder.glob(f"{path.stem}.*new.json"):  # one; named after the variant, where there is one
        target = collected.with_name(collected.name.replace(".new.json", ".json"))
        if live.error:
            print(f"  {target.name} is as it was; what was answered so far is in {collected.name}.")
            continue
        fresh = Recording(collected)
        if fresh.entries != Recording(target).entries:  # the old date stays with the old answers
            save(fresh, target)
        collected.unlink()
    return int(bool(live.error))


def rewrite(path: Path) -> int:
    """The second pass: the outputs of the notebook, in replay, from the scrubbed file."""
    again = execute(path, environment())
    print(line(again))
    if not again.error:
        write(again.notebook, path)
    return int(bool(again.error))


if __name__ == "__main__":
    sys.exit(main())
