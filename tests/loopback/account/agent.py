"""bedrock-agent: knowledge bases, data sources, ingestion jobs, and Retrieve, which stands on them."""

from dataclasses import dataclass, field

from moto.core.utils import get_service_model

from tests.loopback.account.beside import objects, trust
from tests.loopback.account.parts import Part, Refusal, Resource, looked_at, names
from tests.loopback.answers import Params, Result
from tests.loopback.rules import INVALID, TOO_NEW

_SIDECAR, _FORMATS = ".metadata.json", (".txt", ".md", ".html", ".doc", ".docx", ".csv", ".xls", ".xlsx", ".pdf")
_IDS = {"bases": "knowledgeBaseId", "sources": "dataSourceId", "jobs": "ingestionJobId"}
_RUNNING = ("STARTING", "IN_PROGRESS", "STOPPING")


@dataclass
class Agent(Part):
    """Knowledge bases, data sources and jobs by id."""

    bases: dict[str, Resource] = field(default_factory=dict)
    sources: dict[str, Resource] = field(default_factory=dict)
    jobs: dict[str, Resource] = field(default_factory=dict)
    _unseen: int = 0  # answers that do not know the newest documents yet

    def create_knowledge_base(self, params: Params) -> Result:
        account = self.account
        self.is_free(params["name"], names(self.bases))
        not_ready = account.not_ready.pop(0) if account.not_ready and account.rules.meets(10) else ""
        if problem := not_ready or self._problem(params):
            raise Refusal("ValidationException", problem)
        number, now = account.new_id(), account.clock()
        arn = account.arn("bedrock", f"knowledge-base/{number}")
        base = Resource(**params, knowledgeBaseId=number, knowledgeBaseArn=arn, createdAt=now, updatedAt=now)
        reason = account.fails.get("knowledge base")
        end, then = ("FAILED", {"failureReasons": [reason]}) if reason else ("ACTIVE", {})
        base.goes("CREATING", end, polls=account.polls, on=lambda _: base.details.update(then))
        self.bases[number] = base
        self.tag(arn, params.get("tags", {}))
        return {"knowledgeBase": base.details}

    def get_knowledge_base(self, params: Params) -> Result:
        self._one("bases", params).look()
        return {"knowledgeBase": self._one("bases", params).details}

    def list_knowledge_bases(self, params: Params) -> Result:
        items, more = self.page(looked_at(self.bases), params)
        return {"knowledgeBaseSummaries": items, **more}

    def delete_knowledge_base(self, params: Params) -> Result:
        base, number = self._one("bases", params), params["knowledgeBaseId"]
        self._refuse_busy(base, *self._of(self.sources, knowledgeBaseId=number).values())

        def on(_: str) -> None:
            if reason := self.account.fails.get("delete knowledge base"):
                base.details |= {"status": "DELETE_UNSUCCESSFUL", "failureReasons": [reason]}
                return
            del self.bases[number], self.account.tags[base.details["knowledgeBaseArn"]]

        base.goes("DELETING", "GONE", polls=self.account.polls, on=on)
        return base.details

    def create_data_source(self, params: Params) -> Result:
        self._refuse_busy(self._one("bases", params))
        mine = self._of(self.sources, knowledgeBaseId=params["knowledgeBaseId"])
        self.is_free(params["name"], names(mine))
        now, number = self.account.clock(), self.account.new_id()
        more = {"dataSourceId": number, "status": "AVAILABLE", "createdAt": now, "updatedAt": now}
        self.sources[number] = Resource(**{"dataDeletionPolicy": "DELETE", **params}, **more)
        return {"dataSource": self.sources[number].details}

    def list_data_sources(self, params: Params) -> Result:
        self._one("bases", params)
        looked_at(self.sources)
        mine = self._of(self.sources, knowledgeBaseId=params["knowledgeBaseId"])
        items, more = self.page([source.details for source in mine.values()], params)
        return {"dataSourceSummaries": items, **more}

    def delete_data_source(self, params: Params) -> Result:
        source = self._one("sources", params)
        self._refuse_busy(source)
        number = params["dataSourceId"]
        source.goes("DELETING", "GONE", polls=self.account.polls, on=lambda _: self._forget(number))
        return source.details

    def start_ingestion_job(self, params: Params) -> Result:
        source, base, account = self._one("sources", params), self._one("bases", params), self.account
        self._refuse_busy(base, source)
        number, now, model = account.new_id(), account.clock(), get_service_model("bedrock-agent")
        counts = dict.fromkeys(model.shape_for("IngestionJobStatistics").members, 0)
        job = Resource(**params, ingestionJobId=number, statistics=counts, startedAt=now, updatedAt=now)

        def on(status: str) -> None:
            job.details["updatedAt"] = account.clock()
            if status != "COMPLETE":
                return
            if problem := account.fails.get("ingestion") or self._problem(base.details):
                job.details |= {"status": "FAILED", "failureReasons": [problem]}
            else:
                self._ingest(job.details, source.details, base.details)

        job.goes("STARTING", "IN_PROGRESS", "COMPLETE", polls=account.polls, on=on)
        self.jobs[number] = job
        return {"ingestionJob": job.details}

    def get_ingestion_job(self, params: Params) -> Result:
        return {"ingestionJob": self._one("jobs", params).look()}

    def stop_ingestion_job(self, params: Params) -> Result:
        job = self._one("jobs", params)
        if job.details["status"] not in _RUNNING[:2]:
            raise Refusal("ConflictException", f"The job is {job.details['status']} and cannot be stopped.")
        job.goes("STOPPING", "STOPPED", polls=self.account.polls)
        return {"ingestionJob": job.details}

    def list_ingestion_jobs(self, params: Params) -> Result:
        mine = self._of(self.jobs, dataSourceId=self._one("sources", params).details["dataSourceId"])
        items, more = self.page(looked_at(mine)[::-1], params)  # the newest first, as the default order is
        return {"ingestionJobSummaries": items, **more}

    def retrieve(self, params: Params) -> Result:
        base, number = self._one("bases", params), params["knowledgeBaseId"]
        self._refuse_busy(base)
        search = params.get("retrievalConfiguration", {}).get("vectorSearchConfiguration", {})
        hybrid, index = search.get("overrideSearchType") == "HYBRID", self._vector_index(base.details)
        self.account.refuses(7, hybrid and index, index=(index or {}).get("indexName", ""))
        jobs = self._of(self.jobs, knowledgeBaseId=number).values()
        done = any(job.details["status"] == "COMPLETE" for job in jobs)
        if done and self._unseen and self.account.rules.meets(8):
            self._unseen -= 1
            done = False
        return self.account.retrieve(params) if done else {"retrievalResults": []}

    def _one(self, kind: str, params: Params) -> Resource:
        """What is meant of "bases", "sources" or "jobs"."""
        return self.found(getattr(self, kind), params[_IDS[kind]], f"{_IDS[kind]} {{}} does not exist.")

    def _of(self, store: dict[str, Resource], **wanted: str) -> dict[str, Resource]:
        return {number: one for number, one in store.items() if wanted.items() <= one.details.items()}

    def _forget(self, source: str) -> None:
        self.sources.pop(source, None)
        self.jobs = {number: job for number, job in self.jobs.items() if job.details["dataSourceId"] != source}

    def _refuse_busy(self, *resources: Resource) -> None:
        for details in (resource.details for resource in resources):
            jobs = self._of(self.jobs, dataSourceId=details.get("dataSourceId", "")).values()
            if details["status"] in ("CREATING", "DELETING") or any(job.details["status"] in _RUNNING for job in jobs):
                raise Refusal("ConflictException", f"{details['name']} is busy. Try again later.")

    def _vector_index(self, base: Params) -> Result | None:
        """The index in S3 Vectors that the knowledge base stands on, if that is its store."""
        settings = base["storageConfiguration"].get("s3VectorsConfiguration", {})
        return self.account.vectors.held.get(settings.get("indexArn"))

    def _problem(self, base: Params) -> str:
        """Why role, policies or index do not let the knowledge base work, or nothing."""
        if "bedrock.amazonaws.com" not in trust(base["roleArn"]):
            return TOO_NEW[0]
        storage, serverless = base["storageConfiguration"], self.account.serverless
        if storage["type"] == "S3_VECTORS":
            return "" if self._vector_index(base) else TOO_NEW[0]
        store = storage["opensearchServerlessConfiguration"]
        number, index_name = store["collectionArn"].rpartition("/")[2], store["vectorIndexName"]
        collection = serverless.collections.get(number)
        if collection is None or collection.details["status"] != "ACTIVE":
            return f"{INVALID}The OpenSearch Serverless collection {store['collectionArn']} is not active."
        name = collection.details["name"]
        if not serverless.allowed(base["roleArn"], "aoss:ReadDocument", name, index_name):
            return TOO_NEW[2]
        if index_name not in serverless.indexes[number]:
            return TOO_NEW[4]
        vector = store["fieldMapping"]["vectorField"]
        mapping = serverless.indexes[number][index_name]["mappings"]["properties"].get(vector, {})
        if (mapping.get("type"), mapping.get("method", {}).get("engine")) != ("knn_vector", "faiss"):
            return f"{INVALID}Field '{vector}' is not knn_vector type of the engine FAISS."
        return ""

    def _ingest(self, job: Result, source: Result, base: Result) -> None:
        """Index what is in the bucket; here each job finds it new."""
        bucket = source["dataSourceConfiguration"]["s3Configuration"]["bucketArn"].removeprefix("arn:aws:s3:::")
        sizes, failed, counts = objects(bucket), dict[str, list[str]](), job["statistics"]
        files = [key for key in sizes if not key.endswith(_SIDECAR)]
        counts["numberOfDocumentsScanned"] = len(files)
        counts["numberOfMetadataDocumentsScanned"] = len(sizes) - len(files)
        self._unseen = 1
        for key in files:
            if reason := self._ignored(key, sizes[key], base):
                failed.setdefault(reason, []).append(f"s3://{bucket}/{key}")
            new = not reason
            counts["numberOfNewDocumentsIndexed"] += new
            counts["numberOfDocumentsFailed"] += not (new or self.account.rules.meets(9))
        if failed:
            job["failureReasons"] = [
                f"Encountered error: Ignored {len(uris)} files as {reason}. [Files: {', '.join(uris)}]. "
                "Call to Customer Source did not succeed."
                for reason, uris in failed.items()
            ]

    def _ignored(self, key: str, size: int, base: Result) -> str:
        """Why this object is not indexed, or nothing."""
        if not key.lower().endswith(_FORMATS):
            return "their file format was not supported"
        index = self._vector_index(base)
        hidden = (index or {}).get("metadataConfiguration", {}).get("nonFilterableMetadataKeys", [])
        if index and "AMAZON_BEDROCK_TEXT" not in hidden and size > 2048:
            return "Filterable metadata must have at most 2048 bytes"
        return ""
