"""What the services of the account share: resources whose state takes time, pages, refusals, checks."""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from botocore.model import ListShape, MapShape, Shape, StructureShape

from tests.loopback.answers import Params, Result

if TYPE_CHECKING:
    from tests.loopback.account.account import Account


class Refusal(Exception):
    """An error of the service; its HTTP status stands in the service's model."""

    def __init__(self, code: str, message: str):
        """`code` as in botocore's `ClientError`."""
        super().__init__(code, message)
        self.code, self.message = code, message


class Part:
    """Operations of one service: methods with botocore's names in snake case, from parameters to result."""

    def __init__(self, account: "Account"):
        """`account` has the knobs, the tags, and the other parts."""
        self.account = account

    missing = "ResourceNotFoundException"  # the code for what is not there

    def left(self) -> Mapping[str, Iterable[str]]:
        """Names or ids of what it still holds, by kind."""
        return {}

    def tags(self, params: Params) -> dict[str, str]:
        """The tags of the resource of the parameters."""
        if params["resourceArn"] not in self.account.tags:
            raise Refusal(self.missing, f"Resource {params['resourceArn']} could not be found.")
        return self.account.tags[params["resourceArn"]]

    def list_tags_for_resource(self, params: Params) -> Result:
        return {"tags": self.tags(params)}


class Resource:
    """What the API shows of one resource; its status moves on as it is looked at, so many looks a state."""

    def __init__(self, **details: Any):
        """`details` as the API has them, `status` among them, and whatever the output shapes leave out."""
        self.details: Result = details
        self._ahead: list[str] = []
        self._polls = self._left = 0
        self._on: Callable[[str], None] = lambda status: None

    def goes(self, *states: str, polls: int, on: Callable[[str], None] = lambda status: None) -> None:
        """Take the first state now and the others later; `on` is told each of those when it is reached."""
        self.details["status"], self._ahead = states[0], list(states[1:])
        self._polls = self._left = polls
        self._on = on

    def look(self) -> Result:
        """The details that this look finds."""
        while self._ahead and not self._left:
            self.details["status"] = self._ahead.pop(0)
            self._left = self._polls
            self._on(self.details["status"])
        self._left = max(0, self._left - 1)
        return self.details


def looked_at(store: dict[str, Resource]) -> dict[str, Result]:
    """All of `store` as one more look finds it; a look may remove what was being deleted."""
    for resource in list(store.values()):
        resource.look()
    return {key: resource.details for key, resource in store.items()}


def page(items: list[Any], params: Params, most: int) -> tuple[list[Any], Result]:
    """The items that `nextToken` and `maxResults` ask for, `most` at the most, and the token of the next."""
    start = int(params.get("nextToken", "page-0").removeprefix("page-"))
    end = start + min(params.get("maxResults") or most, most)
    return items[start:end], {"nextToken": f"page-{end}"} if end < len(items) else {}


def pruned(shape: Shape, value: Any) -> Any:
    """A copy of `value` with the members that `shape` has."""
    if isinstance(shape, StructureShape) and not shape.is_document_type:
        return {
            name: pruned(member, value[name]) for name, member in shape.members.items() if value.get(name) is not None
        }
    if isinstance(shape, ListShape):
        return [pruned(shape.member, item) for item in value]
    if isinstance(shape, MapShape):
        return dict(value)
    return value


def check(shape: Shape, value: Any, where: str = "") -> None:
    """Refuse what the service model forbids and boto3 lets through: patterns, longest lengths, enums."""
    if isinstance(shape, StructureShape) and not shape.is_document_type:
        for name, item in value.items():
            check(shape.members[name], item, f"{where}.{name}".lstrip("."))
    elif isinstance(shape, ListShape):
        for number, item in enumerate(value):
            check(shape.member, item, f"{where}.{number + 1}.member")
    elif isinstance(shape, MapShape):
        for key, item in value.items():
            check(shape.key, key, where)
            check(shape.value, item, where)
    elif isinstance(value, str):
        known = shape.metadata
        fits = len(value) <= known.get("max", len(value)) and value in (known.get("enum") or [value])
        if not fits or not _pattern(known.get("pattern", ".*")).fullmatch(value):
            text = f"1 validation error detected: Value '{value}' at '{where}' failed to satisfy constraint: {known}"
            raise Refusal("ValidationException", text)


@lru_cache
def _pattern(text: str) -> re.Pattern[str]:
    digits = text.replace("/d{", r"\d{").replace("/d+", r"\d+")  # a slip of some models
    try:
        return re.compile(digits, re.DOTALL)
    except re.error:  # a class that only Java has
        return re.compile(".*", re.DOTALL)
