"""Speed of a batch, as ratios within one run: `make bench`. No figure here is a promise."""

import contextlib
import io
import multiprocessing
import os
import time
from collections.abc import Iterator
from typing import Any

from helpers import batch, clients, workshop
from helpers.settings import settings
from tests.loopback import On, Reply, Script, Service
from tests.loopback.faults import quota, slow

SETTINGS = {"WORKSHOP_MODE": "live", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1"}
PROMPT = "A passage of a letter to shareholders, as long as passages are. " * 60


def question(number: int) -> dict[str, object]:
    """A request of about 4,000 characters."""
    text = f"{PROMPT} Question {number}?"
    return {"modelId": "m.x", "messages": [{"role": "user", "content": [{"text": text}]}]}


@contextlib.contextmanager
def service(*faults: On) -> Iterator[str]:
    """The URL of a service in a process of its own."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_serve, args=(there, faults))
    process.start()
    try:
        yield here.recv()
    finally:
        process.terminate()


def _serve(pipe: Any, faults: tuple[On, ...]) -> None:
    with Service(Script({"bedrock-runtime.Converse": Reply("An answer. " * 9)}), *faults) as it:
        pipe.send(it.url)
        time.sleep(3600)


def main() -> None:
    """n calls of 0.2 s or 1 s, 16 in flight, beside n / 16 times that, and against quotas."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    at_most, ideal = 16, 4.0

    for pause, rate, burst in ((0.2, 0, 0), (1.0, 0, 0), (0.2, 40, 40), (0.2, 20, 5), (0.2, 10, 60)):
        calls = round(ideal / pause) * at_most
        name = f"quota {rate} a second, burst {burst}" if rate else "no quota"
        with service(*[On(quota(rate, burst))] * (rate > 0), On(slow(pause))) as url:
            os.environ.update({**SETTINGS, "AWS_ENDPOINT_URL": url})
            settings.cache_clear()
            workshop.start("bench")
            converse = clients.client("bedrock-runtime").converse
            converse(**question(calls))  # the first call of a client reads the service model's rules
            results, start = batch.Results(), time.perf_counter()
            with contextlib.redirect_stdout(io.StringIO()):
                batch.run(lambda number: converse(**question(number)), range(calls), results, at_most)  # noqa: B023
            took = time.perf_counter() - start
        assert len(results) == calls
        best = max(1, calls - burst) / rate if rate else ideal
        told = f"{best / took:.1%} of the best {best:.1f} s; load {os.getloadavg()[0]:.1f}"
        print(f"batch of {calls} calls of {pause} s, {at_most} in flight, {name}: {told}")


if __name__ == "__main__":
    main()
