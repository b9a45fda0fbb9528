"""Documents into the bucket and through the ingestion job; which of them failed, and why."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from helpers.errors import WorkshopError
from helpers.knowledge_base.listing import pages
from helpers.knowledge_base.waiting import wait

GOING_ON = ("STARTING", "IN_PROGRESS")
_FAILED = ("FAILED", "PARTIALLY_INDEXED", "METADATA_UPDATE_FAILED", "IGNORED")
_MULTIPART = 8 * 1024 * 1024  # bytes; from here on an ETag is no MD5


def not_uploaded(s3: Any, bucket: str, paths: Sequence[Path]) -> list[Path]:
    """Those of `paths` that the bucket does not hold, or holds with another content."""
    there = {each["Key"]: each for each in pages(s3, "list_objects_v2", "Contents", Bucket=bucket)}
    return [path for path in paths if path.name not in there or not _same(path, there[path.name])]


def _same(path: Path, listed: dict[str, Any]) -> bool:
    if path.stat().st_size != listed["Size"]:
        return False
    if listed["Size"] >= _MULTIPART:
        return True
    digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    return digest == str(listed["ETag"]).strip('"')


def job_for_these(agent: Any, s3: Any, bucket: str, place: dict[str, str]) -> str | None:
    """The newest ingestion job if it goes on, or ended well after the last upload; else None: start one."""
    jobs = list(pages(agent, "list_ingestion_jobs", "ingestionJobSummaries", **place))
    if not jobs:
        return None
    newest = max(jobs, key=lambda job: job["startedAt"])
    changed = max(
        (each["LastModified"] for each in pages(s3, "list_objects_v2", "Contents", Bucket=bucket)),
        default=datetime.min.replace(tzinfo=UTC),
    )
    current = newest["status"] == "COMPLETE" and newest["startedAt"] >= changed
    return newest["ingestionJobId"] if current or newest["status"] in GOING_ON else None


def finish(agent: Any, job: dict[str, str]) -> dict[str, int]:
    """Wait for `job` and give its statistics; `WorkshopError` names the documents that failed."""

    def look() -> dict[str, Any]:
        now: dict[str, Any] = agent.get_ingestion_job(**job)
        if now["ingestionJob"]["status"] not in (*GOING_ON, "COMPLETE"):
            now["ingestionJob"]["failureReasons"] = [_what_failed(agent, job, now["ingestionJob"])]
        return now

    wait("ingestion job", look, "COMPLETE", GOING_ON)
    ended = agent.get_ingestion_job(**job)["ingestionJob"]
    statistics: dict[str, int] = ended["statistics"]
    if statistics.get("numberOfDocumentsFailed"):
        raise WorkshopError(
            f"{statistics['numberOfDocumentsFailed']} of {statistics['numberOfDocumentsScanned']} documents failed, "
            f"the others can be asked. {_what_failed(agent, job, ended)} Correct or remove the file, then run "
            "the upload and this cell again."
        )
    return statistics


def _what_failed(agent: Any, job: dict[str, str], ended: dict[str, Any]) -> str:
    place = {name: job[name] for name in ("knowledgeBaseId", "dataSourceId")}
    documents = pages(agent, "list_knowledge_base_documents", "documentDetails", **place)
    failed = [
        f"{each['identifier']['s3']['uri'].rpartition('/')[2]}: {each.get('statusReason', each['status'])}"
        for each in documents
        if each["status"] in _FAILED
    ]
    return "; ".join([*failed, *ended.get("failureReasons", [])]) or "No reason given."
