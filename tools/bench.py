"""Speed, as ratios within one run: `make bench`. No figure here is a promise; compare only within one run."""

import contextlib
import io
import multiprocessing
import os
import statistics
import tempfile
import time
import timeit
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from helpers import batch, clients, workshop
from helpers.replay.recording import Recording, request_of
from helpers.settings import settings
from tests.loopback import On, Reply, Script, Service
from tests.loopback.faults import quota, slow
from tools.recorder import save

ENTRIES = 200
KEYS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1"}
REPLY = Reply("An answer of a hundred characters or so. " * 3)
PROMPT = "A passage of a letter to shareholders, as long as passages are. " * 60


def question(number: int) -> dict[str, object]:
    """A request of about 4,000 characters."""
    text = f"{PROMPT} Question {number}?"
    return {"modelId": "m.x", "messages": [{"role": "user", "content": [{"text": text}]}]}


def ms_a_call(runtime: Any) -> float:
    """Median milliseconds of a call of the client, over ENTRIES calls, after a warm-up."""
    numbers = iter([*range(10), *range(ENTRIES)])
    times = timeit.repeat(lambda: runtime.converse(**question(next(numbers))), number=1, repeat=10 + ENTRIES)
    return statistics.median(times[10:]) * 1e3


def start(mode: str, folder: Path, **env: str) -> None:
    """Choose the recording "bench" in `folder` in the given mode."""
    os.environ.update({"WORKSHOP_MODE": mode, "WORKSHOP_RECORDINGS_DIR": str(folder), **env})
    settings.cache_clear()
    workshop.start("bench")


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
    with Service(Script({f"bedrock-runtime.{form}": REPLY for form in ("Converse", "ConverseStream")}), *faults) as it:
        pipe.send(it.url)
        pipe.recv()
    pipe.send(Counter(call.outcome for call in it.calls))


def batch_against_quota_and_ideal(folder: Path) -> None:
    """n calls of 0.2 s or 1 s, 16 in flight, beside n / 16 times that, and quotas; sleeps show its own part."""
    at_most, ideal = 16, 4.0

    def seconds(ask: Any, items: range) -> float:
        results = batch.Results()
        with contextlib.redirect_stdout(io.StringIO()):
            took = timeit.timeit(lambda: batch.run(ask, items, results, at_most), number=1)
        assert len(results) == len(items)
        return took

    for pause, rate, burst in ((0.2, 0, 0), (1.0, 0, 0), (0.2, 40, 40), (0.2, 20, 5), (0.2, 10, 60)):
        calls = round(ideal / pause) * at_most
        name = f"quota {rate} a second, burst {burst}"
        if not rate:
            asleep = seconds(lambda number: time.sleep(pause), range(calls))  # noqa: B023
            name = f"no quota ({ideal / asleep:.1%} with sleeps)"
        with service(*[On(quota(rate, burst))] * (rate > 0), On(slow(pause))) as (url, seen):
            start("live", folder, AWS_ENDPOINT_URL=url, **KEYS)
            converse = clients.client("bedrock-runtime").converse
            converse(**question(calls))  # the first call of a client reads the service model's rules
            took = seconds(lambda number: converse(**question(number)), range(calls))  # noqa: B023
        assert seen["answered"] == 1 + calls, "each result once"
        best = max(1, calls - burst) / rate if rate else ideal
        load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors"
        told = f"{best / took:.1%} of the best {best:.1f} s; {seen['ThrottlingException']} refused; {load}"
        print(f"batch of {calls} calls of {pause} s, {at_most} in flight, {name}: {told}")


def replay_against_loopback_and_vcrpy(folder: Path) -> None:
    """A replayed call beside the same call over HTTP to a service on this machine, and from a cassette of VCR.py."""
    import vcr

    recording, body = Recording(folder / "none.json"), {"json": REPLY.result("Converse", {"modelId": "m.x"})}
    for number in range(ENTRIES):
        entry = {"call": "bedrock-runtime.Converse", "origin": "model", "request": request_of(question(number))}
        recording.add({**entry, "body": body})
    save(recording, folder / "bench.json")
    start("replay", folder)
    ours = ms_a_call(clients.client("bedrock-runtime"))
    cassette = vcr.VCR(match_on=["method", "path", "body"], record_mode="once").use_cassette
    with service() as (url, _):
        start("live", folder, AWS_ENDPOINT_URL=url, **KEYS)
        runtime = clients.client("bedrock-runtime")
        http = ms_a_call(runtime)
        with cassette(str(folder / "cassette.yaml")):
            ms_a_call(runtime)
        with cassette(str(folder / "cassette.yaml")):
            theirs = ms_a_call(runtime)
    print(f"replay, {ENTRIES} entries: {ours:.2f} ms a call; under 1 ms: {'yes' if ours < 1 else 'NO'}")
    print(f"  over HTTP here {http / ours:.0f} times as long; from VCR.py's cassette {theirs / ours:.0f} times")


def first_token_against_the_service(folder: Path) -> None:
    """Seconds to the first streamed text, beside the seconds after which the service sends it."""
    before, between = 0.2, 0.05
    own = before + 2 * between  # the start of the message comes first
    with service(On(slow(before, between))) as (url, _):
        start("live", folder, AWS_ENDPOINT_URL=url, **KEYS)
        runtime = clients.client("bedrock-runtime")

        def first_text() -> None:
            events = runtime.converse_stream(**question(0))["stream"]
            next(event for event in events if "contentBlockDelta" in event)
            events.close()

        took = timeit.repeat(first_text, number=1, repeat=6)
    seen = statistics.median(took[1:])
    print(f"first streamed text: {seen:.3f} s, sent by the service after {own:.3f} s; ratio {seen / own:.2f}")


def main() -> None:
    """Every comparison, one after the other. (`make run` says how long each notebook takes.)"""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    for compare in (batch_against_quota_and_ideal, replay_against_loopback_and_vcrpy, first_token_against_the_service):
        with tempfile.TemporaryDirectory() as folder:
            compare(Path(folder))


if __name__ == "__main__":
    main()
