"""A stand-in that keeps state for the part of AWS in which a knowledge base is created and removed.

`together.together()` starts it beside moto's S3, IAM and STS.
"""

import random
import string
import threading
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from botocore import xform_name
from botocore.model import ListShape, Shape, StructureShape
from moto.core.utils import get_service_model

from tests.loopback.account.agent import Agent
from tests.loopback.account.beside import ACCOUNT
from tests.loopback.account.parts import Refusal
from tests.loopback.account.stores import Guardrails, OpenSearch, Serverless, Vectors
from tests.loopback.answers import Answer, Params, Result, ServiceError
from tests.loopback.rules import RULES, RuleBook

_ALPHABETS = {10: string.ascii_uppercase + string.digits, 20: string.ascii_lowercase + string.digits}


@dataclass
class Account:
    """A source of answers: what "create and remove a knowledge base" needs beside S3, IAM and STS.

    A state that takes time is shown `polls` times, then the next one. The fields may be changed between calls.
    """

    region: str = "us-east-1"
    account_id: str = ACCOUNT
    endpoint: str = ""  # URL of the loopback service, which serves the collections too
    polls: int = 2
    forbidden: int = 0  # requests that a collection refuses after a data policy was made
    not_ready: list[str] = field(default_factory=list)  # what CreateKnowledgeBase says on its next calls, one each
    fails: dict[str, str] = field(default_factory=dict)
    """Why "collection", "knowledge base" or "ingestion" ends as FAILED, or "delete knowledge base" does not end."""
    clock: Callable[[], datetime] = lambda: datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    rules: RuleBook = field(default_factory=RuleBook)
    # These are set by `together`: who calls, and what is found.
    caller: str = ""
    retrieve: Callable[[Params], Result] = lambda params: {"retrievalResults": []}

    def __post_init__(self) -> None:
        """Begin with nothing."""
        self.tags: dict[str, dict[str, str]] = {}  # by ARN; a resource without tags has an empty entry
        self.serverless, self.vectors, self.agent = Serverless(self), Vectors(self), Agent(self)
        self.guardrails = Guardrails(self)
        self._parts: dict[str, Any] = {
            "opensearchserverless": self.serverless,
            "opensearch": OpenSearch(self),
            "s3vectors": self.vectors,
            "bedrock": self.guardrails,
            "bedrock-agent": self.agent,
            "bedrock-agent-runtime": self.agent,
        }
        self._made: dict[tuple[str, str], Result] = {}
        self.ids, self._lock = 0, threading.RLock()

    def __call__(self, service: str, operation: str, params: Params) -> Answer:
        """Answer one call."""
        answer = getattr(self._parts[service], xform_name(operation))
        with self._lock:
            if service == "opensearch":
                return answer(params)
            model = get_service_model(service)
            form = model.operation_model(operation)
            token = (operation, params.get("clientToken", ""))
            try:
                result = self._made.get(token) or answer(params)  # a token has the answer that it had before
            except Refusal as refusal:
                error = model.shape_for(refusal.code).metadata.get("error", {})
                refusal.status = error.get("httpStatusCode", 400)
                raise
            if token[1]:
                self._made[token] = deepcopy(result)
            return deepcopy(fitted(form.output_shape, result)) if form.output_shape else {}

    def left(self) -> dict[str, list[str]]:
        """Keys of all that is still held, by kind; empty when nothing is."""
        held: dict[str, dict[Any, Any]] = {
            "policies of collections": self.serverless.policies,
            "collections": self.serverless.collections,
            "vector stores": self.vectors.held,
            "knowledge bases": self.agent.bases,
            "data sources": self.agent.sources,
            "guardrails": self.guardrails.made,
        }
        return {kind: sorted(map(str, store)) for kind, store in held.items() if store}

    def new_id(self, length: int = 10) -> str:
        """The next id: 10 upper-case characters, or 20 lower-case ones; the same in every run."""
        self.ids += 1
        return "".join(random.Random(self.ids).choices(_ALPHABETS[length], k=length))

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a resource of this account."""
        return f"arn:aws:{service}:{self.region}:{self.account_id}:{resource}"

    def refuses(self, number: int, broken: object, **values: str) -> None:
        """Refuse as rule `number` says, if it is `broken` and switched on."""
        if broken and self.rules.meets(number):
            rule = next(rule for rule in RULES if rule.number == number)
            raise ServiceError(*rule.code, rule.error.format_map(values))


def fitted(shape: Shape, value: Any) -> Any:
    """A copy of `value` with the members that `shape` has, and tags in its form."""
    if isinstance(shape, StructureShape) and not shape.is_document_type:
        members = shape.members.items()
        return {name: fitted(member, value[name]) for name, member in members if value.get(name) is not None}
    if isinstance(shape, ListShape) and isinstance(value, dict):
        return [{"key": key, "value": text} for key, text in value.items()]
    return [fitted(shape.member, item) for item in value] if isinstance(shape, ListShape) else value
