"""bedrock-agent: knowledge bases and data sources, and the vector store that they stand on."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from tests.loopback.account.parts import Part, Refusal, Resource, looked_at, page
from tests.loopback.answers import Params, Result

if TYPE_CHECKING:
    from tests.loopback.account.account import Account

ROLE = (
    "Bedrock Knowledge Base was unable to assume the given role. Provide the proper permissions and retry the request."
)
_STORE = "The knowledge base storage configuration provided is invalid... "
FORBIDDEN = f"{_STORE}Request failed: [security_exception] 403 Forbidden"
_NO_INDEX = f"{_STORE}Dependency error document status code: 404, error message: no such index [{{}}]"
_ENGINE = (
    f"{_STORE}The OpenSearch Serverless engine type associated with your vector index is invalid. Recreate "
    "your vector index with one of the following valid engine types: FAISS. Then retry your request."
)
_UNDELETED = (
    "Unable to delete data from vector store for data source with ID {}. Check your vector store configurations "
    "and permissions and retry your request. If the issue persists, consider updating the dataDeletionPolicy "
    "of the data source to RETAIN and retry your request."
)
_DIMENSIONS = {"amazon.titan-embed-text-v2:0": 1024, "amazon.titan-embed-text-v1": 1536}


class KnowledgeBases(Part):
    """Knowledge bases by id, data sources by id."""

    def __init__(self, account: "Account"):
        """Nothing yet."""
        super().__init__(account)
        self.bases: dict[str, Resource] = {}
        self.sources: dict[str, Resource] = {}

    def create_knowledge_base(self, params: Params) -> Result:
        name = params["name"]
        if any(base.details["name"] == name for base in self.bases.values()):
            raise Refusal("ConflictException", f"KnowledgeBase with name {name} already exists.")
        if self.account.not_ready and self.account.rules.meets(10):
            known = {"role": ROLE, "forbidden": FORBIDDEN, "no index": _NO_INDEX.format(_index_name(params))}
            text = self.account.not_ready.pop(0)
            raise Refusal("ValidationException", known.get(text, text))
        problem = self._access_problem(params) or self._fields_problem(params)
        if problem:
            raise Refusal("ValidationException", problem)
        number, now = self.account.new_id(), self.account.now()
        arn = self.account.arn("bedrock", f"knowledge-base/{number}")
        ids = {"knowledgeBaseId": number, "knowledgeBaseArn": arn}
        base = Resource(**params, **ids, createdAt=now, updatedAt=now)
        reason = self.account.fails.get("knowledge base")

        def on(status: str) -> None:
            if status == "FAILED":
                base.details["failureReasons"] = [reason]

        base.goes("CREATING", "FAILED" if reason else "ACTIVE", polls=self.account.polls, on=on)
        self.bases[number] = base
        self.account.tags[arn] = dict(params.get("tags", {}))
        return {"knowledgeBase": base.details}

    def get_knowledge_base(self, params: Params) -> Result:
        return {"knowledgeBase": self.base(params, look=True).details}

    def list_knowledge_bases(self, params: Params) -> Result:
        items, more = page(list(looked_at(self.bases).values()), params, self.account.page_size)
        return {"knowledgeBaseSummaries": items, **more}

    def delete_knowledge_base(self, params: Params) -> Result:
        base = self.base(params)
        number, sources = params["knowledgeBaseId"], self._sources_of(params)
        self._refuse_while_busy(base, *sources)

        def on(_: str) -> None:
            reasons = [reason for reason in map(self._end_of_source, sources) if reason]
            if "delete knowledge base" in self.account.fails:
                reasons.append(self.account.fails["delete knowledge base"])
            if reasons:
                base.details |= {"status": "DELETE_UNSUCCESSFUL", "failureReasons": reasons}
            else:
                del self.bases[number], self.account.tags[base.details["knowledgeBaseArn"]]

        base.goes("DELETING", "GONE", polls=self.account.polls, on=on)
        return base.details

    def create_data_source(self, params: Params) -> Result:
        base, name = self.base(params), params["name"]
        if base.details["status"] != "ACTIVE":
            text = f"Knowledge base {params['knowledgeBaseId']} is in {base.details['status']} state, not ACTIVE."
            raise Refusal("ValidationException", text)
        if any(source.details["name"] == name for source in self._sources_of(params)):
            raise Refusal("ConflictException", f"DataSource with name {name} already exists.")
        now, number = self.account.now(), self.account.new_id()
        more = {"dataSourceId": number, "status": "AVAILABLE", "createdAt": now, "updatedAt": now}
        self.sources[number] = Resource(**{"dataDeletionPolicy": "DELETE", **params}, **more)
        return {"dataSource": self.sources[number].details}

    def list_data_sources(self, params: Params) -> Result:
        self.base(params)
        looked_at({source.details["dataSourceId"]: source for source in self._sources_of(params)})
        shown = [source.details for source in self._sources_of(params)]
        items, more = page(shown, params, self.account.page_size)
        return {"dataSourceSummaries": items, **more}

    def delete_data_source(self, params: Params) -> Result:
        source = self.source(params)
        self._refuse_while_busy(source)

        def on(_: str) -> None:
            self._end_of_source(source)

        source.goes("DELETING", "GONE", polls=self.account.polls, on=on)
        return source.details

    def left(self) -> Mapping[str, Iterable[str]]:
        """Knowledge bases and data sources by name."""
        return {
            "knowledge bases": [base.details["name"] for base in self.bases.values()],
            "data sources": [source.details["name"] for source in self.sources.values()],
        }

    def base(self, params: Params, look: bool = False) -> Resource:
        """The knowledge base of the parameters; a look at it may find that it is gone."""
        number = params["knowledgeBaseId"]
        if look and number in self.bases:
            self.bases[number].look()
        if number not in self.bases:
            raise Refusal("ResourceNotFoundException", f"Knowledge base with id {number} does not exist.")
        return self.bases[number]

    def source(self, params: Params) -> Resource:
        """The data source of the parameters."""
        self.base(params)
        number = params["dataSourceId"]
        if number not in self.sources or self.sources[number] not in self._sources_of(params):
            raise Refusal("ResourceNotFoundException", f"Data source with id {number} does not exist.")
        return self.sources[number]

    def problem(self, base: Resource) -> str:
        """Why the knowledge base cannot reach its vector store now, or nothing."""
        return self._access_problem(base.details)

    def vector_index(self, base: Result) -> Result | None:
        """The index in S3 Vectors that the knowledge base stands on, if that is its store."""
        settings = base["storageConfiguration"].get("s3VectorsConfiguration")
        return self.account.vectors.indexes.get(_vector_index(settings)) if settings else None

    def _sources_of(self, params: Params) -> list[Resource]:
        number = params["knowledgeBaseId"]
        return [source for source in self.sources.values() if source.details["knowledgeBaseId"] == number]

    def _refuse_while_busy(self, *resources: Resource) -> None:
        for details in (resource.details for resource in resources):
            if details["status"] in ("CREATING", "DELETING"):
                text = f"{details['name']} is in {details['status']} state. Try again later."
                raise Refusal("ConflictException", text)
            if self.account.ingestion.running(details.get("dataSourceId", "")):
                text = f"Data source {details['name']} has an ongoing ingestion job. Try again when it is complete."
                raise Refusal("ConflictException", text)

    def _end_of_source(self, source: Resource) -> str:
        """Delete the data source and its vectors, or say why not."""
        number = source.details["dataSourceId"]
        if number not in self.sources:
            return ""
        deletes = source.details["dataDeletionPolicy"] == "DELETE"
        if deletes and self.problem(self.bases[source.details["knowledgeBaseId"]]):
            reason = _UNDELETED.format(number)
            source.details |= {"status": "DELETE_UNSUCCESSFUL", "failureReasons": [reason]}
            return reason
        del self.sources[number]
        self.account.ingestion.forget(number)
        return ""

    def _access_problem(self, params: Result) -> str:
        if not self.account.assumes(params["roleArn"]):
            return ROLE
        storage = params.get("storageConfiguration", {})
        if storage.get("type") == "S3_VECTORS":
            index = _vector_index(storage["s3VectorsConfiguration"])
            return "" if index in self.account.vectors.indexes else ROLE
        if storage.get("type") != "OPENSEARCH_SERVERLESS":
            return f"{_STORE}The account has no store of this type."
        settings = storage["opensearchServerlessConfiguration"]
        serverless, number = self.account.serverless, settings["collectionArn"].rpartition("/")[2]
        collection = serverless.collections.get(number)
        if collection is None or collection.details["status"] != "ACTIVE":
            return f"{_STORE}The OpenSearch Serverless collection {settings['collectionArn']} is not active."
        name, index = collection.details["name"], settings["vectorIndexName"]
        if not serverless.public(name) or not serverless.allowed(params["roleArn"], "aoss:ReadDocument", name, index):
            return FORBIDDEN
        return "" if index in serverless.indexes[number] else _NO_INDEX.format(index)

    def _fields_problem(self, params: Params) -> str:
        """Why the index does not suit the knowledge base, or nothing."""
        vector = params["knowledgeBaseConfiguration"].get("vectorKnowledgeBaseConfiguration", {})
        embedding = vector.get("embeddingModelConfiguration", {}).get("bedrockEmbeddingModelConfiguration", {})
        model = vector.get("embeddingModelArn", "").rpartition("/")[2]
        wanted = embedding.get("dimensions") or _DIMENSIONS.get(model)
        storage = params["storageConfiguration"]
        if storage["type"] == "S3_VECTORS":
            has = self.account.vectors.indexes[_vector_index(storage["s3VectorsConfiguration"])]["dimension"]
        else:
            settings = storage["opensearchServerlessConfiguration"]
            indexes = self.account.serverless.indexes[settings["collectionArn"].rpartition("/")[2]]
            fields = indexes[settings["vectorIndexName"]].get("mappings", {}).get("properties", {})
            names = settings["fieldMapping"]
            field = fields.get(names["vectorField"], {})
            if field.get("type") != "knn_vector":
                text = f"failed to create query: Field '{names['vectorField']}' is not knn_vector type."
                return f"{_STORE}Dependency error document status code: 400, error message: {text}"
            if field.get("method", {}).get("engine", "faiss").lower() != "faiss":
                return _ENGINE
            for name in (names["textField"], names["metadataField"]):
                if fields.get(name, {"type": "text"})["type"] not in ("text", "keyword"):
                    return f"{_STORE}The field {name} of the index is not a text field."
            has = field["dimension"]
        if wanted and has != wanted:
            text = f"Query vector has invalid dimension: {wanted}. Dimension should be: {has}"
            return f"{_STORE}Dependency error document status code: 400, error message: {text}"
        return ""


def _index_name(params: Params) -> str:
    settings = params.get("storageConfiguration", {}).get("opensearchServerlessConfiguration", {})
    return str(settings.get("vectorIndexName"))


def _vector_index(settings: Result) -> str:
    bucket, name = settings.get("vectorBucketArn"), settings.get("indexName")
    return str(settings.get("indexArn") or f"{bucket}/index/{name}")
