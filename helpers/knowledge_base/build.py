"""Making things once: whoever runs a cell again, or continues after a cut, gets what is already there."""

import re
import secrets
from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from helpers import clients, recordings
from helpers.errors import WorkshopError
from helpers.knowledge_base import remove
from helpers.knowledge_base.listing import Thing, things
from helpers.knowledge_base.names import INDEX, Names
from helpers.settings import read_state, settings, write_state

_IS_THERE = re.compile("AlreadyExists|AlreadyOwnedByYou|Conflict")
_UNUSABLE = ("FAILED", "DELETING", "DELETE_UNSUCCESSFUL")
RECORDED_ID = "recorded"  # in replay and in recordings, so that both ask for the same names


class Build:
    """One workshop's resources in one account and region; every step is saved in workshop.json at once."""

    def __init__(self, agreed: bool):
        """Find out who and where we are; live, `WorkshopError` unless the learner `agreed` to the cost."""
        mode = recordings.active().mode
        if mode == "live" and not agreed:
            raise WorkshopError(
                "Nothing was made and nothing costs money. If you agree to the cost above, set BUILD_IT = True "
                "in this cell (or WORKSHOP_AGREE=true in .env) and run it again."
            )
        identity = clients.client("sts").get_caller_identity()
        self.account, self.region = identity["Account"], clients.region()
        self.store = settings().store
        before, wanted = read_state(), settings().id if mode == "live" else RECORDED_ID
        self._refuse_another_place(before, wanted)
        self.names = Names(wanted or before.get("id") or secrets.token_hex(4))
        self.caller = principal(identity["Arn"])
        self.save(id=self.names.id, account=self.account, region=self.region, store=self.store)

    def save(self, **steps: str | None) -> None:
        """Write what was made, by name of the step; None forgets a step."""
        state = {**read_state(), **steps}
        write_state({name: value for name, value in state.items() if value is not None})

    def make(self, kind: str, create: Callable[[], Any]) -> str:
        """The id of this workshop's `kind`: of the one that is there, or of what `create` makes.

        `create` returns the id, or anything but a string where the name is the id. A failed one is removed
        first; one of the same name that this workshop did not make is left alone: `WorkshopError`.
        """
        name, key = self._name(kind), kind.replace(" ", "_") + "_id"
        found = self._find(kind, name)
        if found and found.state in _UNUSABLE:
            remove.thing(found)
            print(f"{kind}: one that was {found.state} is gone")
            found = None
        self.save(making=kind)  # a run that is cut between the next two lines must know its own bucket again
        made = found.id if found else self._created(kind, name, create)
        self.save(**{key: made, "making": None})
        print(f"{kind}: {'there already' if found else 'created'}")
        return made

    def _find(self, kind: str, name: str) -> Thing | None:
        return next((thing for thing in things(kind) if thing.name == name and self._could_be(thing)), None)

    def _created(self, kind: str, name: str, create: Callable[[], Any]) -> str:
        try:
            answer = create()
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "BucketAlreadyExists":
                raise self._taken(kind, name, "another account has it") from error
            # The answer to a first attempt was lost on the way, and botocore tried again.
            found = self._find(kind, name) if _IS_THERE.search(code) else None
            if found is None:
                raise
            return found.id
        return answer if isinstance(answer, str) else name

    def _taken(self, kind: str, name: str, why: str) -> WorkshopError:
        return WorkshopError(
            f"The name {name} is taken by a {kind} that this workshop did not make ({why}); it is left alone. "
            "Remove what is there with 99_clean_up, put another WORKSHOP_ID=... (4 to 12 small letters and "
            "digits) into .env, and run this notebook again."
        )

    def _name(self, kind: str) -> str:
        return {"role": self.names.role, "index": INDEX, "vector index": INDEX}.get(kind, self.names.common)

    def _could_be(self, thing: Thing) -> bool:
        """Whether `thing` of our name is ours; no other than ours may be taken for it."""
        own = self.names.id
        if thing.owner == own or remove.is_ours_without_tags(thing, read_state()):
            return True
        if thing.kind in ("data source", "index", "vector index"):  # the same name in somebody else's
            return False
        raise self._taken(thing.kind, thing.name, "it lacks the workshop's tags or has another's")

    def _refuse_another_place(self, before: dict[str, str], wanted_id: str) -> None:
        now = {"account": self.account, "region": self.region, "store": self.store}
        now |= {"id": wanted_id} if wanted_id else {}
        for what, value in now.items():
            was = before.get(what, value)
            if was != value:
                shown = ("another one", "this one") if what == "account" else (was, value)
                raise WorkshopError(
                    f"workshop.json tells of a knowledge base with {what} {shown[0]}, the settings now say "
                    f"{shown[1]}. Go back to the former setting, or remove that knowledge base first with "
                    "99_clean_up."
                )


def principal(arn: str) -> str:
    """The ARN that policies want for the caller `arn`: a role's own one instead of its session's.

    A session's ARN lacks the path of the role (single sign-on roles have one), so IAM is asked for it.
    """
    if ":assumed-role/" not in arn:
        return arn
    role = arn.split("/")[1]
    return str(clients.client("iam").get_role(RoleName=role)["Role"]["Arn"])
