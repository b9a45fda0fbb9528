"""workshop.json: which workshop this is, and where. It may be lost: every name follows from the id."""

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, Field, ValidationError

from helpers import replay
from helpers.knowledge_base.kinds import buckets, find
from helpers.knowledge_base.names import PREFIX, Names
from helpers.language import WorkshopError, say
from helpers.settings import settings


class State(BaseModel, frozen=True):
    """What the file holds."""

    id: str = Field(pattern="^[a-z0-9]{4,12}$")
    account: str
    region: str
    store: str
    knowledge_base_id: str = ""


def read() -> State | None:
    """What workshop.json holds; None without it, and in replay, where nothing is real."""
    path = settings().state_file
    if replay.active().offline or not path.exists():
        return None
    try:
        return State.model_validate_json(path.read_bytes())
    except ValidationError as error:
        what = " ".join(map(str, [*error.errors()[0]["loc"], error.errors()[0]["msg"]]))
        damaged = say("{file} is damaged ({what}). Move it away.", file=path, what=what)
        raise WorkshopError(f"{damaged} {offer()}") from error


def write(state: State | None, into: Callable[[Path, Path], None] = os.replace) -> None:
    """Put `state` into workshop.json, whole or not at all; None removes the file."""
    path = settings().state_file
    if replay.active().offline:
        return
    if state is None:
        path.unlink(missing_ok=True)
        return
    beside = path.with_suffix(f".{os.getpid()}.part")
    try:
        beside.write_text(state.model_dump_json(indent=1) + "\n", encoding="utf-8")
        into(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def claim(state: State) -> State:
    """Write `state` if there is no workshop.json; what it holds then: of two builds at once, one is first."""
    with contextlib.suppress(FileExistsError):
        write(state, os.link)  # unlike a rename, never over a file that is there
    return read() or state


def ids() -> dict[str, str]:
    """Id and region of the workshops whose tags this account's buckets carry: the one listing across the account."""
    found = [find("bucket", Names(name.removeprefix(PREFIX))) for name in buckets()]
    return {one.owner: one.region for one in found if one and one.name == PREFIX + one.owner}


def offer() -> str:
    """What to do when the id is lost."""
    try:
        there = [say("WORKSHOP_ID={id} (in {region})", id=own, region=region) for own, region in ids().items()]
    except (ClientError, BotoCoreError, WorkshopError) as error:
        return say("Put WORKSHOP_ID=... into .env; the ids in this account cannot be looked up ({error}).", error=error)
    if not there:
        return say("No bucket of this account has the tags of a workshop. Are these the right credentials?")
    return say(
        "The tags in this account tell of {there}. Put the one that is yours into .env, restart the kernel "
        "and run this notebook again. If none is yours, begin your own with WORKSHOP_ID={new}.",
        there=", ".join(there),
        new=secrets.token_hex(4),
    )
