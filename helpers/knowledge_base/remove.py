"""Removing what a workshop made: one resource at a time, in an order that leaves nothing behind."""

from collections.abc import Callable
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from helpers import clients
from helpers.errors import WorkshopError
from helpers.knowledge_base.listing import GONE, Thing, pages, things
from helpers.knowledge_base.waiting import state, until

_NOT_YET = ("CREATING", "UPDATING")
_RUNNING = ("STARTING", "IN_PROGRESS", "STOPPING")


def thing(one: Thing) -> None:
    """Remove `one` and wait until it is gone; fine if it is gone already."""
    try:
        _REMOVERS[one.kind](one)
    except ClientError as error:
        if error.response["Error"]["Code"] not in GONE:
            raise
    gone(one)


def gone(one: Thing) -> None:
    """Wait until the service no longer lists `one`; `WorkshopError` if it gives up on removing it."""

    def is_gone() -> bool:
        same = [each for each in things(one.kind) if each.id == one.id]
        if any(each.state == "DELETE_UNSUCCESSFUL" for each in same):
            raise WorkshopError(f"{one.kind} {one.name} could not be removed.{_reasons(one)}")
        return not same

    until(f"{one.kind} {one.name}, being removed", is_gone)


def is_ours_without_tags(one: Thing, known: dict[str, Any]) -> bool:
    """Whether `one` is the bucket of a build that was cut before it could tag it."""
    if one.kind != "bucket" or one.owner or not known.get("id"):
        return False
    made = known.get("bucket_id") == one.name or known.get("making") == "bucket"
    return made and one.name.endswith(f"-{known['id']}")


def data_source(one: Thing) -> None:
    """Stop what runs, keep the vectors (they go with their store), delete the data source."""
    agent = clients.client("bedrock-agent")
    base, source = one.id.split("/")
    place = {"knowledgeBaseId": base, "dataSourceId": source}
    for job in pages(agent, "list_ingestion_jobs", "ingestionJobSummaries", **place):
        if job["status"] in _RUNNING:
            _stop(agent, {**place, "ingestionJobId": job["ingestionJobId"]})
    now = agent.get_data_source(**place)["dataSource"]
    if now["status"] != "DELETING":
        kept = {name: now[name] for name in ("name", "dataSourceConfiguration")}
        more = {name: now[name] for name in ("description", "vectorIngestionConfiguration") if name in now}
        # With the policy DELETE a data source whose store is gone can never be removed.
        agent.update_data_source(**place, **kept, **more, dataDeletionPolicy="RETAIN")
        agent.delete_data_source(**place)


def _stop(agent: Any, job: dict[str, str]) -> None:
    try:
        agent.stop_ingestion_job(**job)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("ConflictException", "ValidationException"):
            raise  # it ended, or is stopping already
    look = partial(agent.get_ingestion_job, **job)
    until("ingestion job, being stopped", lambda: look()["ingestionJob"]["status"] not in _RUNNING)


def _knowledge_base(one: Thing) -> None:
    if one.state != "DELETING":
        clients.client("bedrock-agent").delete_knowledge_base(knowledgeBaseId=one.id)


def _collection(one: Thing) -> None:
    aoss = clients.client("opensearchserverless")

    look = partial(aoss.batch_get_collection, ids=[one.id])

    def is_settled() -> bool:
        return all(each["status"] not in _NOT_YET for each in look()["collectionDetails"])

    until("collection, before it can be removed", is_settled)
    if one.state != "DELETING":
        aoss.delete_collection(id=one.id)


def _policy(one: Thing) -> None:
    aoss = clients.client("opensearchserverless")
    kind = one.kind.removesuffix(" policy")
    delete = aoss.delete_access_policy if kind == "data" else aoss.delete_security_policy
    delete(type=kind, name=one.name)


def role(one: Thing) -> None:
    """Take away the role's own policies, then the role."""
    iam = clients.client("iam")
    for name in pages(iam, "list_role_policies", "PolicyNames", RoleName=one.name):
        iam.delete_role_policy(RoleName=one.name, PolicyName=name)
    iam.delete_role(RoleName=one.name)


def bucket(one: Thing) -> None:
    """Empty the bucket, every version of every object, a page of at most 1,000 at a time; then the bucket."""
    s3 = clients.client("s3")

    def is_empty() -> bool:
        page = s3.list_object_versions(Bucket=one.name)  # the first page: what follows moves up
        listed = page.get("Versions", []) + page.get("DeleteMarkers", [])
        objects = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in listed]
        if objects:
            wanted = {"Objects": objects, "Quiet": True}
            for failed in s3.delete_objects(Bucket=one.name, Delete=wanted).get("Errors", []):
                raise WorkshopError(f"{one.name}: {failed['Key']} stays: {failed.get('Message')}")
        return not page.get("IsTruncated")

    until(f"bucket {one.name}, being emptied", is_empty)
    s3.delete_bucket(Bucket=one.name)


def _index(one: Thing) -> None:
    endpoint, _, name = one.id.rpartition("/")
    clients.opensearch(endpoint).indices.delete(index=name, ignore_unavailable=True)


def _vector_index(one: Thing) -> None:
    clients.client("s3vectors").delete_index(indexArn=one.id)


def _vector_bucket(one: Thing) -> None:
    clients.client("s3vectors").delete_vector_bucket(vectorBucketArn=one.id)


def _reasons(one: Thing) -> str:
    agent = clients.client("bedrock-agent")
    if one.kind == "data source":
        base, source = one.id.split("/")
        found = agent.get_data_source(knowledgeBaseId=base, dataSourceId=source)
    else:
        found = agent.get_knowledge_base(knowledgeBaseId=one.id)
    return f" The service says: {state(found)[1] or 'no reason given'}"


_REMOVERS: dict[str, Callable[[Thing], None]] = {
    "data source": data_source,
    "knowledge base": _knowledge_base,
    "index": _index,
    "collection": _collection,
    "data policy": _policy,
    "network policy": _policy,
    "encryption policy": _policy,
    "role": role,
    "bucket": bucket,
    "vector index": _vector_index,
    "vector bucket": _vector_bucket,
}
