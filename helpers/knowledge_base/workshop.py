"""One workshop in one account and region: what is there is found, what is missing made, what is its own removed."""

import re
import secrets
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from helpers import clients, replay
from helpers.knowledge_base.kinds import KINDS, Thing, buckets, code_of, find
from helpers.knowledge_base.names import PREFIX, Names, State, claim, read, write
from helpers.knowledge_base.waiting import until
from helpers.language import N_, WorkshopError, say
from helpers.settings import settings

RECORDED_ID = "recorded"  # stands in recordings for the id, so that every replay asks for the same names
UNKNOWN = "?"  # the owner of what could not be asked for
_THERE = re.compile("AlreadyExists|AlreadyOwnedByYou|Conflict")
_BUSY = re.compile("NotFound|NoSuch|Conflict|OperationAborted|BucketNotEmpty|ConcurrentModification")


def agree(flag: str, agreed: bool) -> None:
    """Live, `WorkshopError` unless the learner `agreed` by setting `flag` in the cell."""
    if not (replay.active().offline or agreed):
        raise WorkshopError(
            "Nothing was made, nothing was removed. If you agree, set {flag} = True in this cell (or "
            "WORKSHOP_AGREE=true in .env) and run it again.",
            flag=flag,
        )


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


class Workshop:
    """The workshop of WORKSHOP_ID or workshop.json: its `names`, and the `account`, `region` and `store` it is in."""

    def __init__(self, new: bool = False):
        """Ask who and where we are; with `new`, an unknown id is made up, and workshop.json claimed for it.

        `WorkshopError` if this workshop is known to be in another place, or if its id is not known.
        """
        wanted = RECORDED_ID if replay.active().offline else settings().id
        self.account = clients.client("sts").get_caller_identity()["Account"]
        self.region, self.store = clients.region(), settings().store
        here = {N_("account"): self.account, N_("region"): self.region, N_("store"): self.store}
        try:
            known = read()
            if not wanted and not known and (not new or ids()):
                raise WorkshopError("There is neither workshop.json nor WORKSHOP_ID.")
        except WorkshopError as lost:
            raise WorkshopError(f"{lost} {offer()}") from lost
        self.names = Names(wanted or (known.id if known else secrets.token_hex(4)))
        bucket = self._asked("bucket")
        # With its bucket, then with workshop.json; "" is not compared: 99 removes whatever WORKSHOP_STORE says.
        _compare({"region": bucket.region} if bucket else {}, here)
        if new and not known:
            known = claim(State(id=self.names.id, **here))
        if known:
            _compare(known.model_dump(), {**here, "id": wanted, "store": self.store if new else ""})
            self.names, self._state = Names(known.id), known
        replay.active().stand_in(self.names.id, RECORDED_ID)

    def make(self, kind: str, create: Callable[[], Any]) -> str:
        """The id of this workshop's `kind`: of the one that is there, or of what `create` makes.

        `create` returns the id, or anything but a string where the name is the id. A failed one is removed
        first; one of this name that somebody else made is left alone: `WorkshopError`.
        """
        one = self._own(kind)
        if one and one.state in ("FAILED", "DELETING", "DELETE_UNSUCCESSFUL"):
            print(say("{kind}: one that is {state} goes first", kind=say(kind), state=one.state))
            self._remove(one)
            one = None
        try:
            made = one.id if one else create()
        except ClientError as error:
            # Another run was first, or the answer to a first attempt was lost and botocore tried again.
            if code_of(error) == "BucketAlreadyExists":
                raise self._taken(kind) from error
            if kind == "role" and code_of(error) == "NoSuchEntity":
                raise WorkshopError(
                    "The policy claude-workshop-boundary, the limit to what the role may do, is missing here. "
                    "An administrator makes it once, in the workshop's folder: aws iam create-policy --policy-name "
                    "claude-workshop-boundary --policy-document file://data/policies/boundary.json"
                ) from error
            if not _THERE.search(code_of(error)) or not (same := self._own(kind)):
                raise
            made = same.id
        made = made if isinstance(made, str) else self.names.common
        if kind == "knowledge base":
            write(self._state.model_copy(update={"knowledge_base_id": made}))  # the next lessons ask it
        print(say("{what}: {found}", what=say(kind), found=say("there already") if one else say("created")))
        return made

    def _own(self, kind: str) -> Thing | None:
        if (one := find(kind, self.names)) and one.owner != self.names.id:
            raise self._taken(kind)
        return one

    def _taken(self, kind: str) -> WorkshopError:
        return WorkshopError(
            "The name {name} is taken by a {kind} that this workshop did not make; it is left alone. "
            "Remove what is yours with 99_clean_up, put another WORKSHOP_ID=... (4 to 12 small letters and digits) "
            "into .env, and run this notebook again.",
            name=self.names.common,
            kind=say(kind),
        )

    def found(self) -> list[Thing]:
        """What is there under these names, whoever made it, in the order of removal.

        With the owner "?" one whose service could not be asked; its state says why.
        """
        return [one for kind in KINDS if (one := self._asked(kind))]

    def remove(self, *kinds: str) -> None:
        """Remove what this workshop made of each of `kinds`, and wait until it is gone; nothing else."""
        for kind in kinds:
            one = self._asked(kind)
            if one and one.owner == self.names.id:
                self._remove(one)
            else:
                told = one.state if one and one.owner == UNKNOWN else say("none")
                print(say("{what}: {found}", what=say(kind), found=told))

    def _remove(self, first: Thing) -> None:
        tried: list[object] = []

        def look() -> tuple[bool, str]:
            one = self._own(first.kind)
            if one and one.state == "DELETE_UNSUCCESSFUL" and tried:
                raise WorkshopError(
                    "{kind} {name} could not be removed. It says: {reason}",
                    kind=one.shown,
                    name=one.name,
                    reason=one.reason,
                )
            if one and one.state not in ("CREATING", "UPDATING", "DELETING"):
                tried.append(say("it was asked to be deleted."))
                try:
                    KINDS[one.kind][1](one)
                except ClientError as error:  # another run may be at it too: look again
                    if not _BUSY.search(code_of(error)):
                        raise
                    tried.append(error)
                one = self._own(first.kind)
            return one is None, ("" if one else say("removed"))

        until(f"{first.shown} {first.name}", look, why=tried)

    def left(self) -> dict[str, str]:
        """By kind, in the notebook's language, what there is under these names, "none", or why nobody could be asked.

        If all have answered and nothing of this workshop is left, workshop.json goes too.
        """
        found = {one.kind: one for one in self.found()}
        if not {one.owner for one in found.values()} & {self.names.id, UNKNOWN}:
            write(None)
        shown = {kind: one.state if one.owner == UNKNOWN else one.name for kind, one in found.items()}
        return {say(kind): shown.get(kind, say("none")) for kind in KINDS}

    def _asked(self, kind: str) -> Thing | None:
        try:
            return find(kind, self.names)
        except (BotoCoreError, ClientError) as error:
            if isinstance(error, ClientError):  # an answer; but some say that there is no service here
                status = error.response["ResponseMetadata"]["HTTPStatusCode"]
                if status < 500 and "service control policy" not in str(error):
                    raise
            return Thing(kind, self.names.common, "", UNKNOWN, say("could not be asked: {error}", error=error))


def _compare(before: dict[str, str], now: dict[str, str]) -> None:
    for what, value in now.items():
        was = before.get(what) or value
        if value and was != value:
            shown = (say("another one"), say("this one")) if what == "account" else (was, value)
            raise WorkshopError(
                "This workshop was made with {what} {before} (workshop.json or its bucket say so), credentials and "
                "settings say {now}. Nothing was made, nothing was removed. Go back to the former; to begin another "
                "workshop, remove this one there with 99_clean_up first.",
                what=say(what),
                before=shown[0],
                now=shown[1],
            )
