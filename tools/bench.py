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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from helpers import batch, clients, workshop
from helpers.replay.recording import Recording, request_of
from helpers.settings import settings
from tests.loopback import On, Reply, Script, Service
from tests.loopback.faults import quota, slow
from tools.recorder import save

KEYS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1"}
PROMPT = "A passage of a letter to shareholders, as long as passages are. " * 60
REPLY, ENTRIES = Reply("An answer. " * 9), 200


def question(number: int) -> dict[str, object]:
    """A request of about 4,000 characters."""
    text = f"{PROMPT} Question {number}?"
    return {"modelId": "m.x", "messages": [{"role": "user", "content": [{"text": text}]}]}


def client(mode: str, **env: str) -> Any:
    """A client whose calls are answered by `mode`; its first call has read the service model's rules."""
    os.environ.update({"WORKSHOP_MODE": mode, **env})
    settings.cache_clear()
    workshop.start("bench")
    runtime = clients.client("bedrock-runtime")
    runtime.converse(**question(0))
    return runtime


@contextlib.contextmanager
def service(*faults: On) -> Iterator[tuple[Any, Counter[str]]]:
    """A live client of a service in a process of its own, and, at the end, how the service's calls came out."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_serve, args=(there, faults), daemon=True)
    process.start()
    outcomes = Counter[str]()
    yield client("live", AWS_ENDPOINT_URL=here.recv(), **KEYS), outcomes
    here.send("end")
    outcomes.update(here.recv())


def _serve(pipe: Any, faults: tuple[On, ...]) -> None:
    with Service(Script({"bedrock-runtime.Converse": REPLY}), *faults) as it:
        pipe.send(it.url)
        pipe.recv()
    pipe.send(Counter(call.outcome for call in it.calls))


def batch_against_quota_and_ideal() -> None:
    """n calls of 0.2 s or 1 s, 16 in flight, beside n / 16 times that, and against quotas."""
    at_most, ideal = 16, 4.0
    for pause, rate, burst in ((0.2, 0, 0), (1.0, 0, 0), (0.2, 40, 40), (0.2, 20, 5), (0.2, 10, 60)):
        calls = round(ideal / pause) * at_most
        name = f"quota {rate} a second, burst {burst}" if rate else "no quota"
        with service(*[On(quota(rate, burst))] * (rate > 0), On(slow(pause))) as (runtime, seen):
            results, start = batch.Results(), time.perf_counter()
            with contextlib.redirect_stdout(io.StringIO()):
                batch.run(lambda number: runtime.converse(**question(number)), range(calls), results, at_most)
            took = time.perf_counter() - start
        assert len(results) == calls and seen["answered"] == 1 + calls, "each result once"
        best = max(1, calls - burst) / rate if rate else ideal
        told = f"{best / took:.1%} of the best {best:.1f} s; load {os.getloadavg()[0]:.1f}"
        print(f"batch of {calls} calls of {pause} s, {at_most} in flight, {name}: {told}")


def replay_against_http() -> None:
    """A replayed call beside the same call over HTTP to a service on this machine."""
    with tempfile.TemporaryDirectory() as folder:
        recording, body = Recording(Path(folder, "bench.json")), {"json": REPLY.result("Converse", {"modelId": "m.x"})}
        for number in range(ENTRIES):
            entry = {"call": "bedrock-runtime.Converse", "origin": "model", "request": request_of(question(number))}
            recording.add({**entry, "body": body})
        save(recording, recording.path)
        ours = median(client("replay", WORKSHOP_RECORDINGS_DIR=folder).converse)
    with service() as (runtime, _):
        http = median(runtime.converse)
    print(f"replay, {ENTRIES} entries: {1e3 * ours:.2f} ms a call; over HTTP {http / ours:.0f} times as long")


def median(call: Callable[..., Any]) -> float:
    """Median seconds of a call of a client."""
    numbers = iter(range(ENTRIES))
    return statistics.median(timeit.repeat(lambda: call(**question(next(numbers))), number=1, repeat=ENTRIES))


if __name__ == "__main__":
    for variable in [variable for variable in os.environ if variable.startswith("AWS_")]:
        del os.environ[variable]
    batch_against_quota_and_ideal()
    replay_against_http()
