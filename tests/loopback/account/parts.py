"""What the services of the account share: refusals, resources whose state takes time, pages."""

from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any, ClassVar

from tests.loopback.answers import Params, Result, ServiceError


class Refusal(ServiceError):
    """An error of the service; its HTTP status stands in the service's model, where `Account` finds it."""

    def __init__(self, code: str, message: str):
        """Both go out as they are."""
        super().__init__(code, 400, message)


@dataclass
class Part:
    """Operations of one service: methods with botocore's names in snake case, from parameters to result.

    A result may have more than the operation's output shape, and tags are always a mapping: `Account` fits both.
    """

    account: Any  # has the knobs, the tags, and the other parts
    missing: ClassVar = "ResourceNotFoundException"  # the code for what is not there

    def found(self, store: dict[Any, Any], key: Any, text: str) -> Any:
        """What `store` has under `key`, or a refusal with `text`."""
        if key not in store:
            raise Refusal(self.missing, text.format(key))
        return store[key]

    def is_free(self, name: str, taken: Container[str]) -> None:
        """Refuse a name that is taken."""
        if name in taken:
            raise Refusal("ConflictException", f"One with name {name} already exists.")

    def tag(self, arn: str, tags: Any) -> None:
        """Keep the tags of a new resource; some services take them as a list."""
        self.account.tags[arn] = tags if isinstance(tags, dict) else {tag["key"]: tag["value"] for tag in tags}

    def list_tags_for_resource(self, params: Params) -> Result:
        (arn,) = params.values()
        return {"tags": self.found(self.account.tags, arn, "Resource {} could not be found.")}

    def page(self, items: list[Any], params: Params) -> tuple[list[Any], Result]:
        """The item that `nextToken` asks for, since every page has one, and the token of the next."""
        start = int(params.get("nextToken", 0))
        return items[start : start + 1], {"nextToken": str(start + 1)} if start + 1 < len(items) else {}


class Resource:
    """What the API shows of one resource; its status moves on as it is looked at, so many looks a state."""

    def __init__(self, **details: Any):
        """`details` as the API has them, and whatever the output shapes leave out."""
        self.details: Result = details
        self._ahead: list[str] = []

    def goes(self, *states: str, polls: int, on: Callable[[str], None] = lambda status: None) -> None:
        """Take the first state now and the others later; `on` is told each of those when it is reached."""
        self.details["status"], *self._ahead = states
        self._polls = self._left = polls
        self._on = on

    def look(self) -> Result:
        """The details that this look finds."""
        while self._ahead and not self._left:
            self.details["status"] = self._ahead.pop(0)
            self._left = self._polls
            self._on(self.details["status"])
        if self._ahead:
            self._left -= 1
        return self.details


def looked_at(store: dict[str, Resource]) -> list[Result]:
    """All of `store` as one more look finds it; a look may remove what was being deleted."""
    for resource in list(store.values()):
        resource.look()
    return [resource.details for resource in store.values()]


def names(store: dict[str, Resource]) -> list[str]:
    """Of all in `store`."""
    return [resource.details["name"] for resource in store.values()]
