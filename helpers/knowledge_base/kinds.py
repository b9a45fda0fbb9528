"""The kinds of things a workshop makes: how each is found by its name, whose it is, and how it is deleted."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from helpers.clients import client, session
from helpers.knowledge_base.names import INDEX, PREFIX, WORKSHOP, Names
from helpers.language import N_, say

AGENT, SERVERLESS, VECTORS = "bedrock-agent", "opensearchserverless", "s3vectors"


@dataclass(frozen=True)
class Thing:
    """A resource of our name; `owner` is the id of the workshop that both its tags name, "" for anybody else's."""

    kind: str
    name: str
    id: str
    owner: str
    state: str = ""
    reason: str = ""
    region: str = ""  # of a bucket

    @property
    def shown(self) -> str:
        """Its kind, a key of KINDS, in the language of the notebook."""
        return say(self.kind)


def code_of(error: ClientError) -> str:
    """The service's own name for `error`."""
    return str(error.response["Error"]["Code"])


def _owner(tags: Any) -> str:
    if not isinstance(tags, dict):  # a list of keys and values, which some services write small
        small = [{key.lower(): text for key, text in tag.items()} for tag in tags]
        tags = {tag["key"]: tag["value"] for tag in small}
    return str(tags.get("workshop-id", "")) if tags.get("workshop") == WORKSHOP else ""


def _tagged(service: str, arn: str) -> str:
    return _owner(client(service).list_tags_for_resource(resourceArn=arn)["tags"])


def _first(service: str, operation: str, wanted: str, **params: str) -> Any:
    """What `wanted`, a JMESPath, finds first in a list, page by page; None if nothing."""
    return next(iter(client(service).get_paginator(operation).paginate(**params).search(wanted)), None)


def _knowledge_base(names: Names) -> Thing | None:
    wanted = f"knowledgeBaseSummaries[?name=='{names.common}'].knowledgeBaseId"
    if not (number := _first(AGENT, "list_knowledge_bases", wanted)):
        return None
    base = client(AGENT).get_knowledge_base(knowledgeBaseId=number)["knowledgeBase"]
    told = _tagged(AGENT, base["knowledgeBaseArn"]), base["status"], "; ".join(base.get("failureReasons", []))
    return Thing("knowledge base", names.common, number, *told)


def _data_source(names: Names) -> Thing | None:
    if (base := _knowledge_base(names)) is None:
        return None
    wanted = f"dataSourceSummaries[?name=='{names.common}'].[dataSourceId, status]"
    number, status = _first(AGENT, "list_data_sources", wanted, knowledgeBaseId=base.id) or ("", "")
    return Thing("data source", names.common, f"{base.id}/{number}", base.owner, status) if number else None


def _delete_data_source(one: Thing) -> None:
    """After its job is stopped. It was made with RETAIN: its vectors go with their store."""
    place = dict(zip(("knowledgeBaseId", "dataSourceId"), one.id.split("/"), strict=True))
    running = "ingestionJobSummaries[?status=='STARTING'||status=='IN_PROGRESS'].ingestionJobId"
    if job := _first(AGENT, "list_ingestion_jobs", running, **place):
        client(AGENT).stop_ingestion_job(**place, ingestionJobId=job)
    client(AGENT).delete_data_source(**place)


def _collection(names: Names) -> Thing | None:
    for one in client(SERVERLESS).batch_get_collection(names=[names.common])["collectionDetails"]:
        told = _tagged(SERVERLESS, one["arn"]), one["status"], one.get("failureMessage", "")
        return Thing("collection", names.common, one["id"], *told)
    return None


def _vector_bucket(names: Names) -> Thing:
    found = client(VECTORS).get_vector_bucket(vectorBucketName=names.common)["vectorBucket"]
    arn = found["vectorBucketArn"]
    return Thing("vector bucket", names.common, arn, _tagged(VECTORS, arn))


def _vector_index(names: Names) -> Thing:
    owner = _vector_bucket(names).owner
    found = client(VECTORS).get_index(vectorBucketName=names.common, indexName=INDEX)["index"]
    return Thing("vector index", INDEX, found["indexArn"], owner)


def _guardrail(names: Names) -> Thing | None:
    wanted = f"guardrails[?name=='{names.common}'].[id, arn, status]"
    if not (found := _first("bedrock", "list_guardrails", wanted)):
        return None
    number, arn, status = found
    tags = client("bedrock").list_tags_for_resource(resourceARN=arn).get("tags", [])
    return Thing("guardrail", names.common, number, _owner(tags), status)


def _role(names: Names) -> Thing:
    role = client("iam").get_role(RoleName=names.role)["Role"]
    return Thing("role", names.role, role["Arn"], _owner(role.get("Tags", [])))


def _delete_role(one: Thing) -> None:
    """After what somebody attached to it is detached and its own policies are deleted."""
    role = session().resource("iam").Role(one.name)
    for attached in role.attached_policies.all():
        role.detach_policy(PolicyArn=attached.arn)
    for policy in role.policies.all():
        policy.delete()
    role.delete()


def _bucket(names: Names) -> Thing | None:
    # By the list, limited to this name: a get is refused without permission and for another account's alike.
    if (region := buckets(names.common).get(names.common)) is None:
        return None
    try:
        tags = client("s3").get_bucket_tagging(Bucket=names.common)["TagSet"]
    except ClientError as error:
        if code_of(error) != "NoSuchTagSet":
            raise
        tags = []
    return Thing("bucket", names.common, names.common, _owner(tags), region=region)


def buckets(prefix: str = PREFIX) -> dict[str, str]:
    """Name and region ("" if not told) of this account's buckets whose names begin so."""
    found = client("s3").get_paginator("list_buckets").paginate(Prefix=prefix).search("Buckets[]")
    return {each["Name"]: each.get("BucketRegion", "") for each in found}


def _delete_bucket(one: Thing) -> None:
    """With every version of every object."""
    bucket = session().resource("s3").Bucket(one.name)
    for wrong in [each for answer in bucket.object_versions.delete() for each in answer.get("Errors", [])][:1]:
        raise ClientError({"Error": wrong}, "DeleteObjects")  # boto3 does not
    bucket.delete()


Kind = tuple[Callable[[Names], Thing | None], Callable[[Thing], object]]


def _policy(kind: str) -> Kind:
    """`kind` is data, network or encryption. Policies carry no tags; their description is the mark."""
    family = "access" if kind == "data" else "security"

    def call(verb: str, name: str) -> Any:
        return getattr(client(SERVERLESS), f"{verb}_{family}_policy")(type=kind, name=name)

    def find(names: Names) -> Thing:
        mark = call("get", names.common)[f"{family}PolicyDetail"].get("description")
        return Thing(f"{kind} policy", names.common, names.common, names.id if mark == names.mark else "")

    return find, lambda one: call("delete", one.name)


# How each is found and deleted, in the order of removal: nothing goes before what depends on it.
KINDS: dict[str, Kind] = {
    N_("data source"): (_data_source, _delete_data_source),
    N_("knowledge base"): (_knowledge_base, lambda one: client(AGENT).delete_knowledge_base(knowledgeBaseId=one.id)),
    N_("collection"): (_collection, lambda one: client(SERVERLESS).delete_collection(id=one.id)),
    N_("data policy"): _policy("data"),
    N_("network policy"): _policy("network"),
    N_("encryption policy"): _policy("encryption"),
    N_("vector index"): (_vector_index, lambda one: client(VECTORS).delete_index(indexArn=one.id)),
    N_("vector bucket"): (_vector_bucket, lambda one: client(VECTORS).delete_vector_bucket(vectorBucketArn=one.id)),
    N_("guardrail"): (_guardrail, lambda one: client("bedrock").delete_guardrail(guardrailIdentifier=one.id)),
    N_("role"): (_role, _delete_role),
    N_("bucket"): (_bucket, _delete_bucket),
}


def find(kind: str, names: Names) -> Thing | None:
    """The `kind` of these names, whoever made it; None if its service says that there is none."""
    try:
        return KINDS[kind][0](names)
    except ClientError as error:
        if not re.search("NotFound|NoSuch(Entity|Bucket)$", code_of(error)):
            raise
        return None
