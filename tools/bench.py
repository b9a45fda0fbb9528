"""Speed, as ratios within one run: `make bench`. No figure here is a promise; compare only within one run."""

import contextlib
import io
import multiprocessing
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat

from helpers import batch, clients, sandbox, workshop
from helpers.replay.recording import Recording, request_of
from helpers.settings import PREFIX, ROOT, settings
from tests.loopback import On, Reply, Script, Service
from tests.loopback.faults import quota, slow
from tests.test_layer_checks import answers
from tools.notebooks import FOLDER, all_notebooks, environment, execute, write
from tools.recorder import save

ENTRIES = 200
KEYS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1"}
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
    workshop.start("bench")


def replay_against_loopback(folder: Path) -> None:
    """A replayed call beside the same call over HTTP to a service on this machine."""
    answer = Reply("An answer of a hundred characters or so. " * 3)
    recording = Recording(folder / "none.json")
    for number in range(ENTRIES):
        body = {"json": answer.result("Converse", {"modelId": "m.x"})}
        request = request_of(question(number))
        recording.add({"call": "bedrock-runtime.Converse", "origin": "model", "request": request, "body": body})
    save(recording, folder / "bench.json")
    start("replay", folder)
    replay_client = clients.client("bedrock-runtime")
    replay = ms_a_call(lambda number: replay_client.converse(**question(number)))
    with Service(Script({"bedrock-runtime.Converse": answer})) as here:
        start("live", folder, AWS_ENDPOINT_URL=here.url, **KEYS)
        live_client = clients.client("bedrock-runtime")
        live = ms_a_call(lambda number: live_client.converse(**question(number)))
    print(f"replay, {ENTRIES} entries: {replay:.2f} ms a call; loopback: {live:.2f} ms; ratio {replay / live:.2f}")
    print(f"  replay under 1 ms a call: {'yes' if replay < 1 else 'NO'}")


def notebooks_against_an_empty_one(folder: Path) -> None:
    """Each notebook's run beside the run of a notebook with one empty cell."""
    empty = folder / "empty.ipynb"
    write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("pass")]), empty)
    base = min(execute(empty, environment()).seconds for _ in range(2))
    print(f"an empty notebook: {base:.1f} s")
    for path in all_notebooks():
        outcome = execute(path, environment())
        name = path.relative_to(FOLDER).with_suffix("").as_posix()
        times = f"{outcome.seconds:5.1f} s, {outcome.seconds / base:4.1f} times an empty one"
        print(f"  {name:<36} {times}, {outcome.error or 'ok'}")


def vectorised_convolution() -> None:
    """The recorded answers of the tutor lesson: the convolution without loops beside the one with loops."""
    texts = answers()
    speed = (ROOT / "data/tutor/speed.py").read_text(encoding="utf-8")
    seconds = []
    for text in (texts[1, 16_000], texts[3, 16_000]):
        run = sandbox.run(sandbox.program(text), f"{speed}\nspeed(answer, results)", timeout=300)
        seconds.append(float(run.arrays["seconds"][-1]))
    ratio = seconds[0] / seconds[1]
    print(f"convolution of (10, 1, 28, 28) with 32 filters of 3 x 3: without loops {ratio:.0f} times faster")


@contextlib.contextmanager
def service(*faults: On) -> Iterator[tuple[str, Counter[str]]]:
    """A service in a process of its own: its URL, and, when it has ended, how its calls came out."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_serve, args=(there, faults))
    process.start()
    outcomes = Counter[str]()
    try:
        yield here.recv(), outcomes
    finally:
        here.send("end")
        outcomes.update(here.recv())
        process.join()


def _serve(pipe: Any, faults: tuple[On, ...]) -> None:
    reply = Reply("one two three four five six seven eight")
    with Service(Script({f"bedrock-runtime.{form}": reply for form in ("Converse", "ConverseStream")}), *faults) as it:
        pipe.send(it.url)
        pipe.recv()
    pipe.send(Counter(call.outcome for call in it.calls))


def batch_against_quota_and_ideal(folder: Path) -> None:
    """320 calls of 200 ms, 16 in flight: beside 320 x 0.2 / 16 seconds, and beside quotas of the service."""
    calls, seconds, at_most = 320, 0.2, 16
    for rate, burst in ((0, 0), (40, 40), (20, 5), (10, 60)):
        limits = [On(quota(rate, burst))] if rate else []
        best = calls * seconds / at_most if not rate else max(1, calls - burst) / rate
        took = []
        for _ in range(1 if rate else 3):
            with service(*limits, On(slow(seconds))) as (url, seen):
                start("live", folder, AWS_ENDPOINT_URL=url, **KEYS)
                runtime = clients.client("bedrock-runtime")
                runtime.converse(**question(calls))  # the first call of a client reads the service model's rules
                begin = time.perf_counter()
                with contextlib.redirect_stdout(io.StringIO()):
                    results = batch.run(
                        lambda number: runtime.converse(**question(number)),  # noqa: B023
                        range(calls),
                        batch.Results(),
                        at_most,
                    )
                took.append(time.perf_counter() - begin)
            assert len(results) == seen["answered"] - 1 == calls, "each result once"
        name = f"quota {rate} a second, burst {burst}" if rate else "no quota"
        shares = ", ".join(f"{best / each:.0%}" for each in sorted(took))
        refused = f"{seen['ThrottlingException']} refused"
        print(f"batch of {calls} calls, {at_most} in flight, {name}: {shares} of the best {best:.1f} s; {refused}")


def replay_against_vcrpy(folder: Path) -> None:
    """The same calls replayed from our file and from a cassette of VCR.py."""
    import vcr

    cassette = vcr.VCR(match_on=["method", "path", "body"], record_mode="once").use_cassette
    with service() as (url, _):
        start("live", folder, AWS_ENDPOINT_URL=url, **KEYS)
        with cassette(str(folder / "cassette.yaml")):
            live = clients.client("bedrock-runtime")
            for number in [*range(10), *range(ENTRIES)]:
                live.converse(**question(number))
        with cassette(str(folder / "cassette.yaml")):
            theirs = ms_a_call(lambda number: live.converse(**question(number)))
    start("replay", folder)
    replayed = clients.client("bedrock-runtime")
    ours = ms_a_call(lambda number: replayed.converse(**question(number)))
    print(f"replay of {ENTRIES} calls: {ours:.2f} ms a call; VCR.py: {theirs:.2f} ms; ratio {ours / theirs:.2f}")


def first_token_against_the_service(folder: Path) -> None:
    """Seconds to the first streamed text, beside the seconds after which the service sends it."""
    before, between = 0.2, 0.05
    own = before + 2 * between  # the start of the message comes first
    with service(On(slow(before, between))) as (url, _):
        start("live", folder, AWS_ENDPOINT_URL=url, **KEYS)
        runtime = clients.client("bedrock-runtime")
        took = []
        for number in range(6):
            begin = time.perf_counter()
            events = runtime.converse_stream(**question(number))["stream"]
            next(event for event in events if "contentBlockDelta" in event)
            took.append(time.perf_counter() - begin)
            events.close()
    seen = statistics.median(took[1:])
    print(f"first streamed text: {seen:.3f} s, sent by the service after {own:.3f} s; ratio {seen / own:.2f}")


def main() -> None:
    """Every comparison, one after the other."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    with tempfile.TemporaryDirectory() as name:
        batch_against_quota_and_ideal(Path(name))
        replay_against_loopback(Path(name))
        replay_against_vcrpy(Path(name))
        first_token_against_the_service(Path(name))
    for name in [name for name in os.environ if name.startswith(("AWS_", PREFIX))]:
        del os.environ[name]  # what the comparisons above set is not for the notebooks
    with tempfile.TemporaryDirectory() as name:
        notebooks_against_an_empty_one(Path(name))
    vectorised_convolution()


if __name__ == "__main__":
    main()
