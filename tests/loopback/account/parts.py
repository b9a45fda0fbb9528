"""What the services of the account share: refusals, resources whose state takes time, pages."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from tests.loopback.answers import Params, Result


class Refusal(Exception):
    """An error of the service, `code` as in botocore's `ClientError`; its HTTP status stands in the service's model."""

    def __init__(self, code: str, message: str):
        """Both go out as they are."""
        self.code, self.message = code, message


@dataclass
class Part:
    """Operations of one service: methods with botocore's names in snake case, from parameters to result."""

    account: Any  # has the knobs, the tags, and the other parts
    missing: ClassVar = "ResourceNotFoundException"  # the code for what is not there

    def found(self, store: dict[Any, Any], key: Any, text: str) -> Any:
        """What `store` has under `key`, or a refusal with `text`."""
        if key not in store:
            raise Refusal(self.missing, text.format(key))
        return store[key]

    def list_tags_for_resource(self, params: Params) -> Result:
        return {"tags": self.found(self.account.tags, params["resourceArn"], "Resource {} could not be found.")}

    def page(self, items: list[Any], params: Params) -> tuple[list[Any], Result]:
        """The items that `nextToken` and `maxResults` ask for, and the token of the next page."""
        start = int(params.get("nextToken", "page-0").removeprefix("page-"))
        end = start + min(params.get("maxResults") or 1000, self.account.page_size)
        return items[start:end], {"nextToken": f"page-{end}"} if end < len(items) else {}


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
