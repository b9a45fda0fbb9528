"""What is in the account: found by asking each service, never from memory."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from helpers import clients
from helpers.knowledge_base.names import INDEX, PREFIX, ROLE_PREFIX, WORKSHOP

# US dollars an hour that a resource costs whether it is used or not. A collection takes one OCU at least with
# standby off, two with it, at $0.24. Source: https://aws.amazon.com/opensearch-service/pricing/ (2026-11-22).
OCU_HOUR = 0.24


GONE = ("ResourceNotFoundException", "NoSuchEntity", "NoSuchBucket", "NotFoundException")


@dataclass(frozen=True)
class Thing:
    """One resource: `kind` as in `KINDS`, `owner` the id of the workshop that made it ("" for nobody's)."""

    kind: str
    name: str
    id: str
    owner: str
    state: str = ""
    dollars_an_hour: float = 0.0


def things(kind: str) -> Iterator[Thing]:
    """Every resource of `kind` whose name begins as the workshop's do, other people's included."""
    return KINDS[kind]()


def pages(client: Any, operation: str, key: str, **params: Any) -> Iterator[Any]:
    """Every item under `key` in the answers to a list operation, page by page."""
    if client.can_paginate(operation):
        for page in client.get_paginator(operation).paginate(**params):
            yield from page.get(key, [])
        return
    while True:  # OpenSearch Serverless has no paginators
        page = getattr(client, operation)(**params)
        yield from page.get(key, [])
        if not page.get("nextToken"):
            return
        params["nextToken"] = page["nextToken"]


@contextlib.contextmanager
def _or_gone() -> Iterator[None]:
    """Pass over a resource that went between two calls: what was listed a moment ago may be gone now."""
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] not in GONE:
            raise


def _owner(tags: dict[str, str]) -> str:
    return tags.get("workshop-id", "") if tags.get("workshop") == WORKSHOP else ""


def _as_dict(tags: list[dict[str, str]], key: str = "Key", value: str = "Value") -> dict[str, str]:
    return {tag[key]: tag[value] for tag in tags}


def _knowledge_bases() -> Iterator[Thing]:
    agent = clients.client("bedrock-agent")
    for each in pages(agent, "list_knowledge_bases", "knowledgeBaseSummaries"):
        if each["name"].startswith(PREFIX):
            own_id = each["knowledgeBaseId"]
            with _or_gone():
                arn = agent.get_knowledge_base(knowledgeBaseId=own_id)["knowledgeBase"]["knowledgeBaseArn"]
                owner = _owner(agent.list_tags_for_resource(resourceArn=arn)["tags"])
                yield Thing("knowledge base", each["name"], own_id, owner, each["status"])


def _data_sources() -> Iterator[Thing]:
    agent = clients.client("bedrock-agent")
    for base in _knowledge_bases():
        with _or_gone():
            for each in pages(agent, "list_data_sources", "dataSourceSummaries", knowledgeBaseId=base.id):
                place = f"{base.id}/{each['dataSourceId']}"
                yield Thing("data source", each["name"], place, base.owner, each["status"])


def _collections() -> Iterator[Thing]:
    aoss = clients.client("opensearchserverless")
    for each in pages(aoss, "list_collections", "collectionSummaries"):
        if each["name"].startswith(PREFIX):
            with _or_gone():
                tags = aoss.list_tags_for_resource(resourceArn=each["arn"])["tags"]
                owner = _owner(_as_dict(tags, "key", "value"))
                yield Thing("collection", each["name"], each["id"], owner, each["status"], OCU_HOUR)


def _indexes() -> Iterator[Thing]:
    from opensearchpy.exceptions import AuthorizationException

    aoss = clients.client("opensearchserverless")
    for collection in _collections():
        if collection.state != "ACTIVE" or not collection.owner:
            continue
        endpoint = aoss.batch_get_collection(ids=[collection.id])["collectionDetails"][0][
            "collectionEndpoint"
        ]
        try:
            there = clients.opensearch(endpoint).indices.exists(index=INDEX)
        except (
            AuthorizationException
        ):  # not ours to see, or its data policy is gone: it goes with its collection
            continue
        if there:
            yield Thing("index", INDEX, f"{endpoint}/{INDEX}", collection.owner)


def _policies(kind: str) -> Callable[[], Iterator[Thing]]:
    family = "access" if kind == "data" else "security"

    def listed() -> Iterator[Thing]:
        aoss = clients.client("opensearchserverless")
        many = {"access": "list_access_policies", "security": "list_security_policies"}[family]
        for each in pages(aoss, many, f"{family}PolicySummaries", type=kind):
            if each["name"].startswith(PREFIX):
                made_by, _, owner = each.get("description", "").partition(" ")
                name = each["name"]
                yield Thing(f"{kind} policy", name, name, owner if made_by == WORKSHOP else "")

    return listed


def _roles() -> Iterator[Thing]:
    iam = clients.client("iam")
    for each in pages(iam, "list_roles", "Roles"):
        if each["RoleName"].startswith(ROLE_PREFIX):
            with _or_gone():
                owner = _owner(_as_dict(iam.list_role_tags(RoleName=each["RoleName"])["Tags"]))
                yield Thing("role", each["RoleName"], each["Arn"], owner)


def _buckets() -> Iterator[Thing]:
    s3 = clients.client("s3")
    for each in pages(s3, "list_buckets", "Buckets", Prefix=PREFIX):
        name = each["Name"]
        if name.startswith(PREFIX):
            with _or_gone():
                yield Thing("bucket", name, name, _owner(_bucket_tags(s3, name)))


def _bucket_tags(s3: Any, name: str) -> dict[str, str]:
    try:
        return _as_dict(s3.get_bucket_tagging(Bucket=name)["TagSet"])
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchTagSet":
            return {}
        raise


def _vector_buckets() -> Iterator[Thing]:
    vectors = clients.client("s3vectors")
    for each in pages(vectors, "list_vector_buckets", "vectorBuckets", prefix=PREFIX):
        with _or_gone():
            owner = _owner(vectors.list_tags_for_resource(resourceArn=each["vectorBucketArn"])["tags"])
            yield Thing("vector bucket", each["vectorBucketName"], each["vectorBucketArn"], owner)


def _vector_indexes() -> Iterator[Thing]:
    vectors = clients.client("s3vectors")
    for bucket in _vector_buckets():
        with _or_gone():
            for each in pages(vectors, "list_indexes", "indexes", vectorBucketName=bucket.name):
                yield Thing("vector index", each["indexName"], each["indexArn"], bucket.owner)


# In the order in which they are removed: nothing goes before what depends on it.
KINDS: dict[str, Callable[[], Iterator[Thing]]] = {
    "data source": _data_sources,
    "knowledge base": _knowledge_bases,
    "index": _indexes,
    "collection": _collections,
    "data policy": _policies("data"),
    "network policy": _policies("network"),
    "encryption policy": _policies("encryption"),
    "vector index": _vector_indexes,
    "vector bucket": _vector_buckets,
    "role": _roles,
    "bucket": _buckets,
}
