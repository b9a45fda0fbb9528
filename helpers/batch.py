"""Many calls at a time, and nothing that was answered is asked again."""

import threading
from collections.abc import Callable, Collection, Iterable
from multiprocessing.pool import ThreadPool
from typing import Any

from botocore.exceptions import ClientError, NoCredentialsError
from IPython.display import ProgressBar

from helpers.explain import explain
from helpers.language import WorkshopError, say

_SAME_FOR_ALL = ("AccessDenied", "ResourceNotFound", "ExpiredToken", "UnrecognizedClient", "InvalidSignature")


class Bar(ProgressBar):
    """IPython's progress bar, with a track and a count; full where there was nothing left to do."""

    def _repr_html_(self) -> str:
        share = 100 * self.progress / self.total if self.total else 100
        done = f"<div style='width: {share:.0f}%; height: 1em; background: #0072B2'></div>"
        track = f"<div style='width: 60ex; background: #ccd4dc'>{done}</div>"
        return f"<div class='workshop-bar' style='display: flex; gap: 1ex'>{track}{self.progress}/{self.total}</div>"


class Results(dict[Any, Any]):
    """What `run` has so far, by item; `failed` holds the error of each item that has no result."""

    def __init__(self) -> None:
        self.failed: dict[Any, BaseException] = {}
        self.pool: ThreadPool | None = None  # of the last run; daemons: a kernel that ends waits for none of them


def run(function: Callable[[Any], Any], items: Iterable[Any], results: Results, at_most: int = 4) -> Results:
    """Fill `results` with `function(item)` for each item that it lacks, `at_most` (1 or more) calls in flight.

    A result is kept as soon as it comes, so after an interrupt, or a failure, the same call goes on with what is
    missing. Where the service throttles, the clients wait and try again. An error that every item would meet (no
    access, limit per day) ends the run and is raised; any other is kept in `results.failed`, and raised only if
    nothing came at all.
    """
    if at_most < 1:
        raise WorkshopError("at_most is {at_most}: at least one call must be in flight.", at_most=at_most)
    wanted, over = list(dict.fromkeys(items)), threading.Event()
    bar = Bar(len(wanted))  # type: ignore[no-untyped-call]
    bar.display()  # type: ignore[no-untyped-call]
    if results.pool:
        results.pool.close()
        results.pool.join()  # what an interrupted run has in flight is paid for, and not asked again
    results.failed.clear()

    def ask(item: Any) -> None:
        if not over.is_set():
            try:
                results[item] = function(item)
            except BaseException as error:
                results.failed[item] = error
                if _ends_all(error):
                    over.set()  # what is in flight is paid for, and still comes

    results.pool = ThreadPool(at_most)
    try:
        asked = results.pool.map_async(ask, [item for item in wanted if item not in results], chunksize=1)
        ready = False
        while not ready:
            asked.wait(0.1)
            ready, bar.progress = asked.ready(), sum(item in results for item in wanted)
    finally:
        over.set()
        results.pool.close()
        _report(wanted, results)
    for error in sorted(results.failed.values(), key=_ends_all, reverse=True):
        if _ends_all(error) or not any(item in results for item in wanted):
            raise error
    for item in dict.fromkeys([*wanted, *results]):  # in the order of `items`, not in that of the answers
        if item in results:
            results[item] = results.pop(item)
    return results


def counted(results: Results, items: Collection[Any]) -> str:
    """A sentence for a score over `results` that lack some of `items`; "" with all of them."""
    there = sum(item in results for item in items)
    if there == len(items):
        return ""
    told = say("**It counts only {there} of {wanted}.** Run the cell that asks again.", there=there, wanted=len(items))
    return f" {told}"


def _ends_all(error: BaseException) -> bool:
    if not isinstance(error, ClientError):
        return isinstance(error, WorkshopError | NoCredentialsError)
    told = error.response["Error"]
    return told["Code"].startswith(_SAME_FOR_ALL) or "per day" in told["Message"]


def _report(wanted: list[Any], results: Results) -> None:
    done, every = sum(item in results for item in wanted), len(wanted)
    if done < every:
        print(say("{done} of {all} are done. Run the cell again: it asks for the rest only.", done=done, all=every))
    for item, error in list(results.failed.items())[:5]:
        print(f"- {item}: {explain(error) or f'{type(error).__name__}: {error}'}".partition("\n")[0])
