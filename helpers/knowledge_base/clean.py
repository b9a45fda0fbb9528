"""Clean-up of one workshop: what is there, what it costs, and the proof that nothing is left."""

from collections.abc import Sequence

from helpers import recordings
from helpers.errors import WorkshopError
from helpers.knowledge_base import remove
from helpers.knowledge_base.build import RECORDED_ID
from helpers.knowledge_base.listing import KINDS, Thing, things
from helpers.settings import read_state, settings, write_state


def own_id() -> str:
    """The id of this workshop: in workshop.json, else WORKSHOP_ID, else "" (then nothing is ours)."""
    if recordings.active().mode != "live":
        return RECORDED_ID
    return str(read_state().get("id") or settings().id)


def mine(kind: str) -> list[Thing]:
    """What this workshop made of `kind`, by its tags, found by listing."""
    return [each for each in things(kind) if _is_mine(each)]


def _is_mine(each: Thing) -> bool:
    own = own_id()
    return bool(own and each.owner == own) or remove.is_ours_without_tags(each, read_state())


def inventory() -> list[Thing]:
    """What is there of this workshop, in the order to remove it, then what carries another workshop's tags."""
    found = [each for kind in KINDS for each in things(kind) if each.owner or _is_mine(each)]
    return sorted(found, key=lambda each: not _is_mine(each))


class CleanUp:
    """Removes what this workshop made, a kind at a time; nobody else's resources are touched."""

    def __init__(self, agreed: bool):
        """Live, `WorkshopError` unless the learner `agreed` to the removal."""
        if recordings.active().mode == "live" and not agreed:
            raise WorkshopError(
                "Nothing was removed. If you want everything of this workshop to go, set DELETE_IT = True in this "
                "cell (or WORKSHOP_AGREE=true in .env) and run it again."
            )

    def remove(self, *kinds: str) -> None:
        """Remove what this workshop made of each of `kinds`, and wait until it is gone."""
        for kind in kinds:
            found = mine(kind)
            for each in found:
                remove.thing(each)
                print(f"{kind} {each.name}: removed")
            if not found:
                print(f"{kind}: none")

    def finish(self) -> list[Thing]:
        """What listing every service still finds of this workshop; if nothing, workshop.json goes too."""
        left = [thing for kind in KINDS for thing in mine(kind)]
        if not left:
            write_state({})
        return left


def table(found: Sequence[Thing]) -> str:
    """A Markdown table: kind, name, state, whose, US dollars an hour."""
    own = own_id()
    rows = ["| | name | state | made by | an hour |", "|---|---|---|---|---|"]
    for each in found:
        whose = "this workshop" if each.owner in (own, "") else f"workshop {each.owner}, left alone"
        cost = f"${each.dollars_an_hour:.2f}" if each.dollars_an_hour else "-"
        rows.append(f"| {each.kind} | {each.name} | {each.state.lower() or '-'} | {whose} | {cost} |")
    return "\n".join(rows)


def proof(left: Sequence[Thing]) -> str:
    """A Markdown table with a row for each kind of thing: the names that listing still finds, or "none"."""
    rows = ["| asked for | still there |", "|---|---|"]
    for kind in KINDS:
        rows.append(f"| {kind} | {', '.join(each.name for each in left if each.kind == kind) or 'none'} |")
    return "\n".join(rows)
