"""What can go wrong with a call, and when it does.

A fault wraps the call: it is given `(call, rng, proceed)` and returns the answer of `proceed()`, changed or
not, or raises `ServiceError` or `Dropped`.
"""

import json
import random
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

from tests.loopback.answers import Answer, Dropped, Params, Raw, ServiceError
from tests.loopback.replies import Event, changed


@dataclass
class Call:
    """One request as the service saw it."""

    service: str
    operation: str
    params: Params
    outcome: str = "in flight"  # then "answered", "dropped" or the code of the error
    stream: str | None = field(default=None, repr=False)  # the member of the result that holds its events
    wait: Callable[[float], None] = field(default=lambda seconds: None, repr=False)

    def end(self, outcome: str) -> None:
        """Take down the end, once."""
        if self.outcome == "in flight":
            self.outcome = outcome


Proceed = Callable[[], Answer]
Fault = Callable[[Call, random.Random, Proceed], Answer]


@dataclass(frozen=True)
class On:
    """A fault and the calls it meets: by operation, by number (from 1, of those that match), by chance."""

    fault: Fault
    operation: str = "*"  # "Converse", "bedrock-runtime.*"
    calls: Container[int] = range(1, sys.maxsize)
    probability: float = 1.0

    def matches(self, call: Call) -> bool:
        """Whether the operation is meant."""
        return any(fnmatch(f"{call.service}.{call.operation}", p) for p in (self.operation, f"*.{self.operation}"))


def after(number: int) -> range:
    """Every call but the first `number`."""
    return range(number + 1, sys.maxsize)


# The live service's texts: {name: [code, status, message]}, with the call's parameters in braces.
# Only the wording of "no knowledge base" is not confirmed.
_TEXTS = json.loads(Path(__file__).with_name("errors.json").read_text(encoding="utf-8"))
ERRORS: dict[str, tuple[str, int, str]] = _TEXTS["refusals"]
STREAM_ERRORS: dict[str, str] = _TEXTS["in_stream"]
_OF_OLD_SERVICES = {  # S3, IAM and STS
    "AccessDeniedException": "AccessDenied",
    "ExpiredTokenException": "ExpiredToken",
    "UnrecognizedClientException": "InvalidClientTokenId",
}


def refused(name: str) -> Fault:
    """The error `ERRORS[name]` in place of the answer, throttling included."""
    code, status, message = ERRORS[name]

    def fault(call: Call, rng: random.Random, proceed: Proceed) -> Answer:
        known = _OF_OLD_SERVICES.get(code, code) if call.service in ("s3", "iam", "sts") else code
        action = f"{call.service.partition('-')[0]}:{call.operation}"
        params = {"action": action, "resource": "*", **call.params}
        raise ServiceError(known, status, message.format_map(defaultdict(lambda: "unknown", params)))

    return fault


def quota(rate: float, burst: float) -> Fault:
    """The service's own throttling: a bucket of `burst` tokens, refilled at `rate` a second, one for each call."""
    lock, state = threading.Lock(), [burst, time.monotonic()]

    def fault(call: Call, rng: random.Random, proceed: Proceed) -> Answer:
        with lock:
            now = time.monotonic()
            state[:] = min(burst, state[0] + rate * (now - state[1])), now
            allowed = state[0] >= 1
            state[0] -= allowed
        return proceed() if allowed else refused("too many requests")(call, rng, proceed)

    return fault


def slow(before: float = 0.0, between: float = 0.0) -> Fault:
    """Seconds before the answer, and before each event of a stream."""

    def fault(call: Call, rng: random.Random, proceed: Proceed) -> Answer:
        def spaced(events: Iterable[Event]) -> Iterator[Event]:
            for event in events:
                call.wait(between)
                yield event

        call.wait(before)
        return _with_events(call, proceed(), spaced) if between else proceed()

    return fault


def dropped(done: bool = False) -> Fault:
    """The connection ends before the answer; the answer's source is asked only if what is asked is `done`."""

    def fault(call: Call, rng: random.Random, proceed: Proceed) -> Answer:
        if done:
            proceed()
        raise Dropped

    return fault


def stream_ends(after: int = 1, exception: str = "") -> Fault:
    """After that many events the connection ends, or `exception` comes; other answers are as usual."""

    def first(events: Iterable[Event]) -> Iterator[Event]:
        for _, event in zip(range(after), events, strict=False):
            yield event
        if not exception:
            raise Dropped
        yield {exception: {"message": STREAM_ERRORS[exception]}}

    return lambda call, rng, proceed: _with_events(call, proceed(), first)


def garbled(body: str = "<html>Bad gateway</html>") -> Fault:
    """Status 200 and a body that the operation never has; `body` may be empty."""
    return lambda call, rng, proceed: Raw(body.encode())


def thinking(text: str = "Let me look at this first.") -> Fault:
    """A block of thinking before the answer's own blocks."""
    return lambda call, rng, proceed: changed(call.operation, proceed(), thinking=text)


def max_tokens(keep: int = 10) -> Fault:
    """The answer ends after `keep` characters of text, and says so; 0 leaves no text at all."""
    return lambda call, rng, proceed: changed(call.operation, proceed(), keep=keep)


def _with_events(call: Call, answer: Answer, change: Callable[[Iterable[Event]], Iterator[Event]]) -> Answer:
    if call.stream is None:
        return answer
    return {**answer, call.stream: change(answer[call.stream])}


class Faults:
    """The faults of one service, the first outermost; the n-th call has the same fate in every run."""

    def __init__(self, rules: tuple[On, ...]):
        """`rules` in order."""
        self._rules, self._counts = rules, [0] * len(rules)

    def wrap(self, call: Call, proceed: Proceed) -> Proceed:
        """`proceed` inside the faults that meet `call`; counts, so for each call once and under a lock."""
        for number, rule in reversed(list(enumerate(self._rules))):
            if rule.matches(call):
                self._counts[number] += 1
                rng = random.Random(f"0 {number} {self._counts[number]}")
                if self._counts[number] in rule.calls and rng.random() < rule.probability:
                    proceed = partial(rule.fault, call, rng, proceed)
        return proceed
