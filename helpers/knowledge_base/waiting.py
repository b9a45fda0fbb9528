"""Waiting for AWS: bounded, visible, and with the service's own reason when it goes wrong."""

import time
from collections.abc import Callable, Collection
from typing import Any, Self, TypeVar

from botocore.exceptions import ClientError

from helpers import recordings
from helpers.errors import WorkshopError

EVERY = 5.0  # seconds between two looks
LOOKS = 360  # half an hour; a collection takes about 5 minutes, an ingestion of four letters about 1
PROPAGATION_LIMIT = 300.0  # seconds until new policies are known everywhere; usually 1 to 2 minutes

# What CreateKnowledgeBase says while role, policies or index are too new to be seen. Texts from public issue
# threads: amazon-bedrock-workshop#189, amazon-bedrock-knowledgebase-slackbot#7, bedrock-agents-cdk#9.
_TOO_NEW = (
    "unable to assume the given role",
    "is not able to call specified bedrock embedding model",
    "403",
    "forbidden",
    "security_exception",
    "bad authorization",
    "no such index",
)
Answer = TypeVar("Answer")


def state(response: dict[str, Any]) -> tuple[str, str]:
    """State and reason ("" without one) in what a get call of a collection or anything of an agent answers."""
    detail = next(value for name, value in response.items() if name != "ResponseMetadata")
    detail = detail[0] if isinstance(detail, list) else detail
    reasons = [*detail.get("failureReasons", []), detail.get("failureMessage", "")]
    return detail["status"], "; ".join(reason for reason in reasons if reason)


def wait(name: str, look: Callable[[], dict[str, Any]], done: str, going_on: Collection[str]) -> None:
    """Call `look`, a get call, until its state is `done`; `WorkshopError` for any state not in `going_on`."""
    line = _Line(name)

    def is_done() -> bool:
        now, reason = state(look())
        line.show(now)
        if now != done and now not in going_on:
            why = f"The service says: {reason}" if reason else "The service gives no reason."
            raise WorkshopError(
                f"{name} is {now}, expected {done}. {why} Correct that and run this cell again; "
                "99_clean_up removes what is there."
            )
        return now == done

    with line:
        until(name, is_done)


def until(what: str, is_done: Callable[[], bool]) -> None:
    """Look until `is_done`, with a pause after each look; `WorkshopError` after half an hour."""
    for _ in range(LOOKS):
        if is_done():
            return
        recordings.sleep(EVERY)
    raise WorkshopError(
        f"{what}: nothing has changed for {LOOKS * EVERY / 60:.0f} minutes. Look at it in the AWS console, or run "
        "this cell again to go on waiting."
    )


def when_allowed(name: str, call: Callable[[], Answer]) -> Answer:
    """`call()`, tried again while the error says that role, policies or index are too new; others pass."""
    start, pause = time.monotonic(), EVERY
    with _Line(name) as line:
        while True:
            try:
                answer = call()
            except Exception as error:
                waited = time.monotonic() - start
                if not is_too_new(error):
                    raise
                if waited > PROPAGATION_LIMIT:
                    raise WorkshopError(
                        f"{name}: still refused after {waited / 60:.0f} minutes, longer than new policies take. "
                        f"The service says: {error} Check the role and the three policies, then run this cell again."
                    ) from error
                line.show("waiting for policies to spread")
                recordings.sleep(pause)
                pause = min(pause * 1.5, 30)
            else:
                line.show("allowed")
                return answer


def is_too_new(error: Exception) -> bool:
    """Whether `error` comes from permissions or an index that AWS has not spread yet."""
    from opensearchpy.exceptions import AuthorizationException

    if isinstance(error, AuthorizationException):
        return True
    if not isinstance(error, ClientError) or error.operation_name != "CreateKnowledgeBase":
        return False
    told: dict[str, Any] = error.response["Error"]
    message = told.get("Message", "").lower()
    return told.get("Code") == "ValidationException" and any(part in message for part in _TOO_NEW)


class _Line:
    """One line of output: what is waited for, its states as they come, and a dot every ten seconds."""

    def __init__(self, name: str):
        self._name, self._state, self._dots = name, "", 0.0
        self._start = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        print()

    def show(self, state: str) -> None:
        if state != self._state:
            print(f" → {state}" if self._state else f"{self._name}: {state}", end="", flush=True)
            self._state = state
        elif (dots := (time.monotonic() - self._start) // 10) > self._dots:
            print(".", end="", flush=True)
            self._dots = dots
