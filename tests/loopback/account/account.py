"""The account: its knobs, and which part of it answers an operation."""

import random
import string
import threading
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from botocore import xform_name
from moto.core.utils import get_service_model

from tests.loopback.account.ingestion import Ingestion
from tests.loopback.account.knowledge_bases import KnowledgeBases
from tests.loopback.account.opensearch import OpenSearch
from tests.loopback.account.parts import Part, Refusal, check, pruned
from tests.loopback.account.serverless import Serverless
from tests.loopback.account.vectors import Vectors
from tests.loopback.answers import Answer, NoAnswer, Params, Raw, Result, ServiceError
from tests.loopback.rules import RuleBook, error_of

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_ALPHABETS = {10: string.ascii_uppercase + string.digits, 20: string.ascii_lowercase + string.digits}


@dataclass
class Account:
    """A source that keeps state: what "create and remove a knowledge base" needs beside S3, IAM and STS.

    A state that takes time is shown `polls` times, in Get, BatchGet and List alike, then the next one.
    The fields may be changed between calls: what fails now need not fail later.
    """

    region: str = "us-east-1"
    account_id: str = "111122223333"
    endpoint: str = ""  # URL of the loopback service, which serves the collections too
    polls: int = 2
    forbidden: int = 0  # requests that a collection refuses after a data policy was made or changed
    not_ready: list[str] = field(default_factory=list)
    """What CreateKnowledgeBase says on its next calls, one each: "role", "forbidden", "no index", or a text."""
    fails: dict[str, str] = field(default_factory=dict)
    """Why "collection", "knowledge base" or "ingestion" ends as FAILED, or a knowledge base's deletion."""
    empty: int = 1  # answers to Retrieve without a passage after an ingestion (rule 8)
    bad_documents: dict[str, str] = field(default_factory=dict)  # object key: why it cannot be indexed
    caller: str = ""  # ARN that data policies must name for requests to a collection; empty: anybody
    objects: Callable[[str], dict[str, tuple[str, int]]] | None = None
    """ETag and size by key of a bucket, `LookupError` where there is none; without, every bucket is empty."""
    trust: Callable[[str], str] | None = None
    """The trust policy of a role by ARN, empty for no such role; without, every role is trusted."""
    linked: Callable[[], bool] = lambda: True  # whether the service-linked role is there (rule 11)
    rules: RuleBook = field(default_factory=RuleBook)
    retrieve: Callable[[Params], Result] | None = None  # answers Retrieve; without, the next source does
    page_size: int = 100  # the most that a page of any list has
    clock: Callable[[], datetime] = lambda: MOMENT

    def __post_init__(self) -> None:
        """Begin with nothing."""
        self.tags: dict[str, dict[str, str]] = {}  # by ARN; a resource without tags has an empty entry
        self.serverless, self.vectors = Serverless(self), Vectors(self)
        self.knowledge_bases, self.ingestion = KnowledgeBases(self), Ingestion(self)
        self._parts: dict[str, list[Part]] = {
            "opensearchserverless": [self.serverless],
            "opensearch": [OpenSearch(self)],
            "s3vectors": [self.vectors],
            "bedrock-agent": [self.knowledge_bases, self.ingestion],
            "bedrock-agent-runtime": [self.ingestion],
        }
        self._made: dict[tuple[str, str], tuple[Params, Result]] = {}
        self._ids = 0
        self._lock = threading.RLock()

    def __call__(self, service: str, operation: str, params: Params) -> Answer:
        """Answer one call; `NoAnswer` for what is not the account's."""
        name = xform_name(operation)
        found = [getattr(part, name) for part in self._parts.get(service, []) if hasattr(part, name)]
        if not found:
            raise NoAnswer(f"the account has no {service}.{operation}")
        with self._lock:
            if service == "opensearch":
                return _raw(found[0](params))
            model = get_service_model(service).operation_model(operation)
            try:
                check(model.input_shape, params)
                result = self._once(operation, params, partial(found[0], params))
            except Refusal as refusal:
                shape = get_service_model(service).shape_for(refusal.code)
                status = shape.metadata.get("error", {}).get("httpStatusCode", 400)
                raise ServiceError(refusal.code, status, refusal.message) from None
            return deepcopy(pruned(model.output_shape, result)) if model.output_shape else {}

    def _once(self, operation: str, params: Params, answer: Callable[[], Result]) -> Result:
        """The answer that this client token had before, or a new one."""
        token = params.get("clientToken")
        if not token:
            return answer()
        if (operation, token) in self._made:
            asked, result = self._made[operation, token]
            if asked != params:
                raise Refusal("ConflictException", "The client token was used before with other parameters.")
            return result
        result = deepcopy(answer())
        self._made[operation, token] = deepcopy(params), result
        return result

    def left(self) -> dict[str, list[str]]:
        """Names or ids of all that is still held, by kind; empty when nothing is."""
        with self._lock:
            held: dict[str, list[str]] = {}
            for parts in self._parts.values():
                for part in parts:
                    held |= {kind: sorted(names) for kind, names in part.left().items() if names}
            return held

    def new_id(self, length: int = 10) -> str:
        """The next id: 10 upper-case characters, or 20 lower-case ones; the same in every run."""
        self._ids += 1
        return "".join(random.Random(self._ids).choices(_ALPHABETS[length], k=length))

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a resource of this account."""
        return f"arn:aws:{service}:{self.region}:{self.account_id}:{resource}"

    def now(self) -> datetime:
        """The time of the account."""
        return self.clock()

    def refuses(self, number: int, broken: object, **values: str) -> None:
        """Refuse as rule `number` says, if it is `broken` and switched on."""
        if broken and self.rules.meets(number):
            raise ServiceError(*error_of(number, **values))

    def assumes(self, role: str) -> bool:
        """Whether Amazon Bedrock can assume the role with this ARN."""
        return self.trust is None or "bedrock.amazonaws.com" in self.trust(role)


def _raw(answer: Answer) -> Raw:
    assert isinstance(answer, Raw)
    return answer
