"""bedrock-agent: ingestion jobs, and what became of each document; Retrieve stands on them."""

from typing import TYPE_CHECKING

from tests.loopback.account.parts import Part, Refusal, Resource, looked_at, page
from tests.loopback.answers import NoAnswer, Params, Result

if TYPE_CHECKING:
    from tests.loopback.account.account import Account

_SIDECAR = ".metadata.json"
_FORMATS = {".txt", ".md", ".html", ".htm", ".doc", ".docx", ".csv", ".xls", ".xlsx", ".pdf"}
_MOST_BYTES = 50 * 2**20
_MOST_FILTERABLE = 2048  # bytes of a vector's filterable metadata in S3 Vectors
_RUNNING = ("STARTING", "IN_PROGRESS", "STOPPING")
_COUNTS = (
    "numberOfDocumentsScanned",
    "numberOfMetadataDocumentsScanned",
    "numberOfNewDocumentsIndexed",
    "numberOfModifiedDocumentsIndexed",
    "numberOfMetadataDocumentsModified",
    "numberOfDocumentsDeleted",
    "numberOfDocumentsFailed",
    "numberOfDocumentsSkipped",
)


class Ingestion(Part):
    """Jobs by id, and documents by data source and object key."""

    def __init__(self, account: "Account"):
        """Nothing yet."""
        super().__init__(account)
        self.jobs: dict[str, Resource] = {}
        self.documents: dict[str, dict[str, Result]] = {}
        self._unseen = 0  # answers that do not know the newest documents yet

    def start_ingestion_job(self, params: Params) -> Result:
        bases = self.account.knowledge_bases
        source, base = bases.source(params), bases.base(params)
        if self.running(params["dataSourceId"]):
            text = f"Data source {params['dataSourceId']} has an ongoing ingestion job. Try again later."
            raise Refusal("ConflictException", text)
        if (base.details["status"], source.details["status"]) != ("ACTIVE", "AVAILABLE"):
            text = f"Knowledge base {params['knowledgeBaseId']} or its data source is not ready for ingestion."
            raise Refusal("ValidationException", text)
        number, now = self.account.new_id(), self.account.now()
        counts = dict.fromkeys(_COUNTS, 0)
        job = Resource(**params, ingestionJobId=number, statistics=counts, startedAt=now, updatedAt=now)

        def on(status: str) -> None:
            job.details["updatedAt"] = self.account.now()
            problem = self.account.fails.get("ingestion") or bases.problem(base)
            try:
                if status == "COMPLETE" and not problem:
                    self._ingest(job.details, source.details, base.details)
            except LookupError as error:
                problem = f"Amazon S3: the bucket {error} does not exist."
            if status == "COMPLETE" and problem:
                job.details |= {"status": "FAILED", "failureReasons": [problem]}

        job.goes("STARTING", "IN_PROGRESS", "COMPLETE", polls=self.account.polls, on=on)
        self.jobs[number] = job
        return {"ingestionJob": job.details}

    def get_ingestion_job(self, params: Params) -> Result:
        return {"ingestionJob": self._job(params).look()}

    def stop_ingestion_job(self, params: Params) -> Result:
        job = self._job(params)
        if job.details["status"] not in ("STARTING", "IN_PROGRESS"):
            text = f"Ingestion job {params['ingestionJobId']} is {job.details['status']} and cannot be stopped."
            raise Refusal("ConflictException", text)
        job.goes("STOPPING", "STOPPED", polls=self.account.polls)
        return {"ingestionJob": job.details}

    def list_ingestion_jobs(self, params: Params) -> Result:
        self.account.knowledge_bases.source(params)
        mine = {number: job for number, job in self.jobs.items() if job in self._of(params["dataSourceId"])}
        shown = list(looked_at(mine).values())[::-1]  # the newest first, as the default order is
        items, more = page(shown, params, self.account.page_size)
        return {"ingestionJobSummaries": items, **more}

    def retrieve(self, params: Params) -> Result:
        base = self.account.knowledge_bases.base(params)
        if base.details["status"] != "ACTIVE":
            text = f"Knowledge base {params['knowledgeBaseId']} is not ready."
            raise Refusal("ValidationException", text)
        if self.account.retrieve is None:
            raise NoAnswer("the account has no function for Retrieve")
        search = params.get("retrievalConfiguration", {}).get("vectorSearchConfiguration", {})
        hybrid = search.get("overrideSearchType") == "HYBRID"
        index = self.account.knowledge_bases.vector_index(base.details)
        self.account.refuses(7, hybrid and index, index=(index or {}).get("indexName", ""))
        done = any(
            job.details["status"] == "COMPLETE" and job.details["knowledgeBaseId"] == params["knowledgeBaseId"]
            for job in self.jobs.values()
        )
        if done and self._unseen and self.account.rules.meets(8):
            self._unseen -= 1
            done = False
        return self.account.retrieve(params) if done else {"retrievalResults": []}

    def running(self, source: str) -> bool:
        """Whether a job of this data source is under way."""
        return any(job.details["status"] in _RUNNING for job in self._of(source))

    def forget(self, source: str) -> None:
        """Drop the jobs and documents of a data source."""
        self.jobs = {number: job for number, job in self.jobs.items() if job not in self._of(source)}
        self.documents.pop(source, None)

    def _job(self, params: Params) -> Resource:
        self.account.knowledge_bases.source(params)
        number = params["ingestionJobId"]
        if number not in self.jobs or self.jobs[number].details["dataSourceId"] != params["dataSourceId"]:
            raise Refusal("ResourceNotFoundException", f"Ingestion job with id {number} does not exist.")
        return self.jobs[number]

    def _of(self, source: str) -> list[Resource]:
        return [job for job in self.jobs.values() if job.details["dataSourceId"] == source]

    def _ingest(self, job: Result, source: Result, base: Result) -> None:
        """Compare the bucket with what is indexed, as an incremental sync does."""
        settings = source["dataSourceConfiguration"]["s3Configuration"]
        bucket = settings["bucketArn"].removeprefix("arn:aws:s3:::")
        objects = self.account.objects(bucket) if self.account.objects else {}
        self._unseen = self.account.empty
        known = self.documents.setdefault(source["dataSourceId"], {})
        counts, failed = job["statistics"], dict[str, list[str]]()
        files = {key: found for key, found in objects.items() if not key.endswith(_SIDECAR)}
        counts["numberOfDocumentsScanned"] = len(files)
        counts["numberOfMetadataDocumentsScanned"] = len(objects) - len(files)
        for key in set(known) - set(files):
            del known[key]
            counts["numberOfDocumentsDeleted"] += 1
        for key, found in files.items():
            tags = found[0], objects.get(key + _SIDECAR, ("", 0))[0]
            before = known.get(key, {})
            if before.get("status") == "INDEXED" and before["tags"] == tags:
                continue
            bad, ignored = self.account.bad_documents.get(key), self._reason(key, found[1], base)
            reason = bad or ignored
            known[key] = {"status": "FAILED" if reason else "INDEXED", "tags": tags}
            if reason:
                failed.setdefault(reason, []).append(f"s3://{bucket}/{key}")
                counts["numberOfDocumentsFailed"] += bool(bad) or not self.account.rules.meets(9)
            elif before.get("status") != "INDEXED":
                counts["numberOfNewDocumentsIndexed"] += 1
            elif before["tags"][0] != tags[0]:
                counts["numberOfModifiedDocumentsIndexed"] += 1
            else:
                counts["numberOfMetadataDocumentsModified"] += 1
        if failed:
            job["failureReasons"] = [
                f"Encountered error: Ignored {len(uris)} files as {reason}. [Files: {', '.join(uris)}]. "
                "Call to Customer Source did not succeed."
                for reason, uris in failed.items()
            ]

    def _reason(self, key: str, size: int, base: Result) -> str:
        """Why this object cannot be indexed, or nothing."""
        suffix = "." + key.rpartition(".")[2].lower()
        if suffix not in _FORMATS:
            return "their file format was not supported"
        if size > _MOST_BYTES:
            return "their file size exceeded the limit of 50 MB"
        index = self.account.knowledge_bases.vector_index(base)
        hidden = (index or {}).get("metadataConfiguration", {}).get("nonFilterableMetadataKeys", [])
        if index is not None and "AMAZON_BEDROCK_TEXT" not in hidden and size > _MOST_FILTERABLE:
            return "Filterable metadata must have at most 2048 bytes"
        return ""
