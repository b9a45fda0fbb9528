"""Speed, as ratios within one run: `make bench`. No figure here is a promise; compare only within one run."""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nbformat

from helpers import clients, layer_checks, recordings, sandbox
from helpers.recordings.file import Recording
from helpers.settings import ROOT, settings
from tests.loopback import Reply, Script, Service
from tools.notebooks import all_notebooks, environment, execute, write

ENTRIES = 200
PROMPT = "A passage of a letter to shareholders, as long as passages are. " * 60


def question(number: int) -> dict[str, object]:
    """A request of about 4,000 characters."""
    text = f"{PROMPT} Question {number}?"
    return {"modelId": "m.x", "messages": [{"role": "user", "content": [{"text": text}]}]}


def ms_a_call(ask: Callable[[int], object]) -> float:
    """Median milliseconds of a call, over ENTRIES calls, after a warm-up."""
    times = []
    for number in [*range(10), *range(ENTRIES)]:
        start = time.perf_counter()
        ask(number)
        times.append(time.perf_counter() - start)
    return statistics.median(times[10:]) * 1e3


def start(mode: str, folder: Path, **env: str) -> None:
    """Choose the recording "bench" in `folder` in the given mode."""
    os.environ.update({"WORKSHOP_MODE": mode, "WORKSHOP_RECORDINGS_DIR": str(folder), **env})
    settings.cache_clear()
    recordings.use("bench")


def replay_against_loopback(folder: Path) -> None:
    """A replayed call beside the same call over HTTP to a service on this machine."""
    answer = Reply("An answer of a hundred characters or so. " * 3)
    recording = Recording(folder / "bench.json")
    for number in range(ENTRIES):
        body = {"json": answer.result("Converse", {"modelId": "m.x"})}
        request = recordings.request_of(question(number))
        recording.add(
            {"call": "bedrock-runtime.Converse", "origin": "model", "request": request, "body": body}
        )
    recording.save()
    start("replay", folder)
    replay_client = clients.client("bedrock-runtime")
    replay = ms_a_call(lambda number: replay_client.converse(**question(number)))
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1"}
    with Service(Script({"bedrock-runtime.Converse": answer})) as service:
        start("live", folder, AWS_ENDPOINT_URL=service.url, **keys)
        live_client = clients.client("bedrock-runtime")
        live = ms_a_call(lambda number: live_client.converse(**question(number)))
    print(
        f"replay, {ENTRIES} entries: {replay:.2f} ms a call; loopback: {live:.2f} ms; ratio {replay / live:.2f}"
    )
    print(f"  replay under 1 ms a call: {'yes' if replay < 1 else 'NO'}")


def notebooks_against_an_empty_one(folder: Path) -> None:
    """Each notebook's run beside the run of a notebook with one empty cell."""
    empty = folder / "empty.ipynb"
    write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("pass")]), empty)
    base = min(execute(empty, environment()).seconds for _ in range(2))
    print(f"an empty notebook: {base:.1f} s")
    for path in all_notebooks():
        outcome = execute(path, environment())
        result = outcome.error or "ok"
        print(
            f"  {path.stem:<32} {outcome.seconds:5.1f} s, {outcome.seconds / base:4.1f} times an empty one, {result}"
        )


def vectorised_convolution() -> None:
    """The recorded answers of the tutor lesson: the convolution without loops beside the one with loops."""
    stored = Recording(ROOT / "data/recordings/02_coding_tutor.json").entries
    texts = {}
    for entry in stored:
        if entry["call"] == "bedrock-runtime.ConverseStream":
            pieces = [event["data"].get("delta", {}).get("text", "") for event in entry["body"]["events"]]
            turns = len(entry["request"]["messages"])
            texts[turns, entry["request"]["inferenceConfig"]["maxTokens"]] = "".join(pieces)
    seconds = []
    for text in (texts[1, 4096], texts[3, 8000]):
        run = sandbox.run_answer(text, harness=layer_checks.harness("speed"), timeout=300)
        seconds.append(float(run.arrays["seconds"][-1]))
    ratio = seconds[0] / seconds[1]
    print(f"convolution of (10, 1, 28, 28) with 32 filters of 3 x 3: without loops {ratio:.0f} times faster")


def main() -> None:
    """Every comparison, one after the other."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    with tempfile.TemporaryDirectory() as name:
        notebooks_against_an_empty_one(Path(name))
        replay_against_loopback(Path(name))
    vectorised_convolution()


if __name__ == "__main__":
    main()
