"""Waiting for AWS: bounded, visible, and with the service's own reason when it goes wrong."""

import re
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from helpers import replay
from helpers.language import WorkshopError, say

EVERY = 5.0  # seconds between two looks
LOOKS = 360  # half an hour; a collection takes about 5 minutes, an ingestion of four letters about 1
SPREAD = 60  # looks until new policies are known everywhere; usually 1 to 2 minutes of these 5

# What CreateKnowledgeBase says while role, policies or index are too new to be seen, and nothing that names a mistake.
# Texts: hashicorp/terraform-provider-aws, internal/service/bedrockagent/knowledge_base.go, and public issue threads.
_TOO_NEW = re.compile(
    r"ValidationException.*CreateKnowledgeBase(?!.*(engine type|dimension|knn_vector|field))"
    r".*((un|not )able to (assume|call specified bedrock)|cannot assume role|storage configuration provided is invalid|"
    r"server returned 40[13]|403|forbidden|no such index|specified index could not be found)",
    re.IGNORECASE | re.DOTALL,
)
Answer = TypeVar("Answer")


def until(
    name: str, look: Callable[[], tuple[Answer | None, str]], looks: int = LOOKS, why: Sequence[object] = ()
) -> Answer:
    """The first true answer of `look`, which also says what to print; `WorkshopError` with the last of `why`."""
    name, said = say(name), ""
    for number in range(1, looks + 1):
        answer, now = look()
        dot = "." * (number % 6 == 0)  # half a minute
        more = dot if now == said else f" → {now}" if said else now
        print(say("{what}: {found}", what=name, found=now) if number == 1 else more, end="", flush=True)
        said = now
        if answer:
            print()
            return answer
        replay.active().sleep(EVERY)
    told = [say("{name}: nothing has changed for {minutes:.0f} minutes.", name=name, minutes=looks * EVERY / 60)]
    told += [say("The service says: {reason}", reason=why[-1])] if why else []
    told += [say("Look at it in the AWS console, or run this cell again to go on waiting.")]
    whole = " ".join(told)
    raise WorkshopError(whole)


def wait(name: str, look: Callable[[], Any], done: str, going_on: Collection[str]) -> dict[str, Any]:
    """What `look`, a get call, shows once its state is `done`; `WorkshopError` for a state not in `going_on`."""

    def state() -> tuple[dict[str, Any] | None, str]:
        detail = next(value for key, value in look().items() if key != "ResponseMetadata")
        if detail == []:
            return None, say("none")
        found: dict[str, Any] = detail[0] if isinstance(detail, list) else detail
        now: str = found["status"]
        if now != done and now not in going_on:
            why = "; ".join([*found.get("failureReasons", []), found.get("failureMessage", "")]).strip("; ")
            raise WorkshopError(
                "{name} is {state}, expected {done}. The service says: {why}. Correct that and run this cell again; "
                "99_clean_up removes what is there.",
                name=say(name),
                state=now,
                done=done,
                why=why or say("no reason"),
            )
        return found if now == done else None, now

    found = until(name, state)
    for reason in found.get("failureReasons", []):  # done, and still not all of it: documents failed or were ignored
        print(reason)
    return found


def when_allowed(name: str, call: Callable[[], Answer]) -> Answer:
    """`call()`, tried again while the error says that role, policies or index are too new; others pass."""
    from opensearchpy.exceptions import AuthorizationException

    refusals: list[Exception] = []

    def attempt() -> tuple[list[Answer] | None, str]:
        try:
            return [call()], say("allowed")
        except (ClientError, AuthorizationException) as error:
            if isinstance(error, ClientError) and not _TOO_NEW.search(str(error)):
                raise
            refusals.append(error)
        return None, say("waiting for policies to spread")

    return until(name, attempt, SPREAD, refusals)[0]


def until_some(name: str, ask: Callable[[], Sequence[Answer]]) -> Sequence[Answer]:
    """The first answer of `ask` that is not empty: after an ingestion it takes up to minutes to be found."""

    def look() -> tuple[Sequence[Answer], str]:
        found = ask()
        return found, say("{count} found", count=len(found)) if found else say("nothing found yet")

    return until(name, look, 2 * SPREAD)
