"""Which workshop this is: what its resources are called, how they are marked, and workshop.json, which remembers it."""

import json
import os
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from helpers import replay
from helpers.language import WorkshopError
from helpers.settings import ROOT, settings

WORKSHOP = "claude-on-bedrock"
PREFIX = "claude-workshop-"
TITAN, DIMENSIONS = "amazon.titan-embed-text-v2:0", 1024
INDEX = "letters"  # the vector index inside its collection or vector bucket


class Names:
    """Names and marks of one workshop; all of them follow from `id`, 4 to 12 small letters and digits."""

    def __init__(self, id: str):
        self.id = id
        self.common = PREFIX + id  # bucket, collection, policies, knowledge base, data source, vector bucket
        self.role = "AmazonBedrock-" + PREFIX + id  # roles that AWS's own Bedrock policies allow to pass on
        self.tags = {"workshop": WORKSHOP, "workshop-id": id}  # of everything that can carry tags
        self.mark = f"{WORKSHOP} {id}"  # the description of the policies of OpenSearch Serverless, which cannot

    def tag_list(self, key: str = "Key", value: str = "Value") -> list[dict[str, str]]:
        """`tags` as the list that S3 and IAM take; OpenSearch Serverless writes key and value small."""
        return [{key: name, value: text} for name, text in self.tags.items()]


def document(name: str, **values: str) -> Any:
    """The JSON of data/policies/`name`.json with `${...}` filled in from `values`."""
    text = (ROOT / "data" / "policies" / f"{name}.json").read_text(encoding="utf-8")
    return json.loads(string.Template(text).substitute(values))


def arn(service: str, region: str = "") -> str:
    """The beginning of an ARN of the AWS partition, up to the region."""
    return f"arn:aws:{service}:{region}" if region else f"arn:aws:{service}"


class State(BaseModel, frozen=True):
    """What workshop.json holds. It may be lost: every name follows from the id."""

    id: str = Field(pattern="^[a-z0-9]{4,12}$")
    account: str
    region: str
    store: str
    knowledge_base_id: str = ""


def read() -> State | None:
    """What workshop.json holds; None without it, and in replay, where nothing is real; `WorkshopError` if damaged."""
    path = settings().state_file
    if replay.active().offline or not path.exists():
        return None
    try:
        return State.model_validate_json(path.read_bytes())
    except ValidationError as error:
        what = " ".join(map(str, [*error.errors()[0]["loc"], error.errors()[0]["msg"]]))
        raise WorkshopError("{file} is damaged ({what}). Move it away.", file=path, what=what) from error


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
    try:
        write(state, os.link)  # unlike a rename, never over a file that is there
    except OSError:  # it is there; or this disk has no hard links
        if not read():
            write(state)
    return read() or state
