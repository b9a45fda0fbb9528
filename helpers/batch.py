"""Many calls at a time, and nothing that was answered is asked again."""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Any

from botocore.exceptions import ClientError, NoCredentialsError
from IPython.display import ProgressBar

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
        super().__init__()
        self.failed: dict[Any, BaseException] = {}
        self.workers: list[threading.Event] = []  # of the last run, each set when its worker has ended


def run(function: Callable[[Any], Any], items: Iterable[Any], results: Results, at_most: int = 4) -> Results:
    """Fill `results` with `function(item)` for each item that it lacks, `at_most` (1 or more) calls in flight.

    A result is kept as soon as it comes, so after an interrupt, or a failure, the same call goes on with what is
    missing. Where the service throttles, the clients wait and try again. An error that every item would meet (no
    access, limit per day) ends the run and is raised; any other is kept in `results.failed`, and raised only if
    nothing came at all.
    """
    if at_most < 1:
        raise WorkshopError("at_most is {at_most}: at least one call must be in flight.", at_most=at_most)
    wanted = list(dict.fromkeys(items))
    bar = Bar(len(wanted))  # type: ignore[no-untyped-call]
    bar.display()  # type: ignore[no-untyped-call]
    for ended in results.workers:  # what an interrupted run has in flight is paid for, and not asked again
        ended.wait()
    results.workers.clear()
    results.failed.clear()
    waiting = deque(item for item in wanted if item not in results)
    try:
        for _ in range(min(at_most, len(waiting))):
            ended = threading.Event()
            # A daemon, as no pool has: a kernel that is told to end does not wait for an answer on its way.
            threading.Thread(target=_work, args=(function, waiting, results, ended), daemon=True).start()
            results.workers.append(ended)
        over = False
        while not over:
            over = all(ended.wait(0.1) for ended in results.workers)
            bar.progress = sum(item in results for item in wanted)
    finally:
        waiting.clear()
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


def _work(function: Callable[[Any], Any], waiting: deque[Any], results: Results, ended: threading.Event) -> None:
    """Ask for one item after the other, until none waits."""
    while waiting:
        with contextlib.suppress(IndexError):  # another worker was faster
            item = waiting.popleft()
            try:
                results[item] = function(item)
            except BaseException as error:
                results.failed[item] = error
                if _ends_all(error):
                    waiting.clear()  # what is in flight is paid for, and still comes
    ended.set()


def _ends_all(error: BaseException) -> bool:
    if not isinstance(error, ClientError):
        return isinstance(error, WorkshopError | NoCredentialsError)
    told = error.response["Error"]
    return told["Code"].startswith(_SAME_FOR_ALL) or "per day" in told["Message"]


def _report(wanted: list[Any], results: Results) -> None:
    from helpers.explain import explain  # only here: importing helpers stays light

    done, every = sum(item in results for item in wanted), len(wanted)
    if done < every:
        print(say("{done} of {all} are done. Run the cell again: it asks for the rest only.", done=done, all=every))
    for item, error in list(results.failed.items())[:5]:
        print(f"- {item}: {explain(error) or f'{type(error).__name__}: {error}'}".partition("\n")[0])
