"""Many calls at a time: fewer when the service throttles, and nothing that was answered is asked again."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from botocore.exceptions import ClientError, NoCredentialsError
from IPython.display import ProgressBar

from helpers import clients, recordings
from helpers.errors import WorkshopError
from helpers.explain import explain

GROWTH = 3.0  # more calls in flight after a round without throttling; `make bench` shows what it gives
ROUNDS = 3  # for an item that stays throttled through all attempts of botocore
_SAME_FOR_ALL = ("AccessDenied", "ResourceNotFound", "ExpiredToken", "UnrecognizedClient", "InvalidSignature")


class Results(dict[Any, Any]):
    """What `run` has so far, by item; `failed` holds the error of each item that has no result."""

    def __init__(self) -> None:
        """Empty."""
        super().__init__()
        self.failed: dict[Any, BaseException] = {}
        self.under_way: dict[Any, Future[None]] = {}


def run(function: Callable[[Any], Any], items: Iterable[Any], results: Results, at_most: int = 4) -> Results:
    """Fill `results` with `function(item)` for each item that it lacks, `at_most` calls in flight.

    A result is kept as soon as it comes, so after an interrupt, or a failure, the same call goes on with what is
    missing. An error that every item would meet (no access, limit per day) ends the run and is raised; any other
    is kept in `results.failed`, and raised only if nothing came at all.
    """
    wanted = list(dict.fromkeys(items))
    waiting = [item for item in wanted if item not in results and item not in results.under_way]
    pending = {results.under_way[item]: item for item in wanted if item in results.under_way}
    results.failed.clear()
    rounds: Counter[Any] = Counter()
    ended_by: BaseException | None = None
    limit = _Limit(at_most)
    bar = ProgressBar(len(wanted))  # type: ignore[no-untyped-call]
    bar.display()  # type: ignore[no-untyped-call]
    clients.throttle_listeners.add(limit.throttled)
    try:
        while waiting or pending:
            while waiting and len(pending) < limit.now:
                item = waiting.pop(0)
                results.under_way[item] = future = _start(function, item, results)
                pending[future] = item
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                item = pending.pop(future)
                del results.under_way[item]
                error = future.exception()
                rounds[item] += 1
                if error is None:
                    limit.answered()
                elif _ends_all(error):
                    waiting, ended_by = [], error  # what is in flight is paid for: wait for it
                elif _throttled(error) and rounds[item] < ROUNDS:
                    waiting.append(item)
                    recordings.sleep(2.0 ** rounds[item])
                else:
                    results.failed[item] = error
            bar.progress = sum(item in results for item in wanted)
    finally:
        clients.throttle_listeners.discard(limit.throttled)
        _report(wanted, results)
    if ended_by:
        raise ended_by
    if results.failed and not any(item in results for item in wanted):
        raise next(iter(results.failed.values()))
    ordered = {item: results[item] for item in [*wanted, *results] if item in results}
    results.clear()
    results.update(ordered)
    return results


class _Limit:
    """How many calls may be in flight: half as many after a throttled attempt, more again after each round."""

    def __init__(self, at_most: int):
        self._most, self._now, self._lock = at_most, float(at_most), threading.Lock()
        self._left = (
            0  # answers to come before throttling counts again: what is in flight is older than the cut
        )

    @property
    def now(self) -> int:
        return int(self._now)

    def answered(self) -> None:
        with self._lock:
            self._left -= 1
            self._now = min(self._most, self._now + GROWTH / self._now)

    def throttled(self) -> None:
        with self._lock:
            if self._left <= 0:
                self._now = max(1.0, self._now / 2)
                self._left = self.now


def _start(function: Callable[[Any], Any], item: Any, results: Results) -> Future[None]:
    future: Future[None] = Future()

    def work() -> None:
        try:
            results[item] = function(item)
            future.set_result(None)
        except BaseException as error:
            future.set_exception(error)

    # A daemon: a kernel that is told to end does not wait for an answer on its way.
    threading.Thread(target=work, daemon=True).start()
    return future


def _throttled(error: BaseException) -> bool:
    return isinstance(error, ClientError) and "throttl" in error.response["Error"]["Code"].lower()


def _ends_all(error: BaseException) -> bool:
    if not isinstance(error, ClientError):
        return isinstance(error, WorkshopError | NoCredentialsError)
    told = error.response["Error"]
    return told["Code"].startswith(_SAME_FOR_ALL) or (_throttled(error) and "per day" in told["Message"])


def _report(wanted: list[Any], results: Results) -> None:
    missing = sum(item not in results for item in wanted)
    if missing:
        print(
            f"{len(wanted) - missing} of {len(wanted)} are done. Run the cell again: it asks for the rest only."
        )
    for item, error in list(results.failed.items())[:5]:
        print(f"- {item}: {explain(error) or f'{type(error).__name__}: {error}'}".partition("\n")[0])
