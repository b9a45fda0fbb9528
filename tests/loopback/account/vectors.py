"""s3vectors: vector buckets and their indexes."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from tests.loopback.account.parts import Part, Refusal, page
from tests.loopback.answers import Params, Result

if TYPE_CHECKING:
    from tests.loopback.account.account import Account


class Vectors(Part):
    """Buckets by name, indexes by ARN; nothing here takes time."""

    def __init__(self, account: "Account"):
        """Nothing yet."""
        super().__init__(account)
        self.buckets: dict[str, Result] = {}
        self.indexes: dict[str, Result] = {}

    def create_vector_bucket(self, params: Params) -> Result:
        name = params["vectorBucketName"]
        if name in self.buckets:
            raise Refusal("ConflictException", "A vector bucket with the specified name already exists")
        arn = self.account.arn("s3vectors", f"bucket/{name}")
        encryption = params.get("encryptionConfiguration", {"sseType": "AES256"})
        self.buckets[name] = {
            "vectorBucketName": name,
            "vectorBucketArn": arn,
            "creationTime": self.account.now(),
            "encryptionConfiguration": encryption,
        }
        self.account.tags[arn] = dict(params.get("tags", {}))
        return self.buckets[name]

    def get_vector_bucket(self, params: Params) -> Result:
        return {"vectorBucket": self._bucket(params)}

    def list_vector_buckets(self, params: Params) -> Result:
        return self._list("vectorBuckets", "vectorBucketName", list(self.buckets.values()), params)

    def delete_vector_bucket(self, params: Params) -> Result:
        bucket = self._bucket(params)
        if self._indexes_of(bucket):
            raise Refusal("ConflictException", "The specified vector bucket is not empty")
        del self.buckets[bucket["vectorBucketName"]], self.account.tags[bucket["vectorBucketArn"]]
        return {}

    def create_index(self, params: Params) -> Result:
        bucket = self._bucket(params)
        arn = f"{bucket['vectorBucketArn']}/index/{params['indexName']}"
        if arn in self.indexes:
            raise Refusal("ConflictException", "An index with the specified name already exists")
        if not 1 <= params["dimension"] <= 4096:
            raise Refusal("ValidationException", "Dimension must be between 1 and 4096")
        name = bucket["vectorBucketName"]
        more = {"vectorBucketName": name, "indexArn": arn, "creationTime": self.account.now()}
        self.indexes[arn] = {**params, **more}
        self.account.tags[arn] = dict(params.get("tags", {}))
        return self.indexes[arn]

    def get_index(self, params: Params) -> Result:
        return {"index": self._index(params)}

    def list_indexes(self, params: Params) -> Result:
        return self._list("indexes", "indexName", self._indexes_of(self._bucket(params)), params)

    def delete_index(self, params: Params) -> Result:
        arn = self._index(params)["indexArn"]
        del self.indexes[arn], self.account.tags[arn]
        return {}

    def tag_resource(self, params: Params) -> Result:
        self._tags(params).update(params["tags"])
        return {}

    def list_tags_for_resource(self, params: Params) -> Result:
        return {"tags": self._tags(params)}

    def left(self) -> Mapping[str, Iterable[str]]:
        """Buckets and indexes."""
        indexes = [f"{found['vectorBucketName']}/{found['indexName']}" for found in self.indexes.values()]
        return {"vector buckets": self.buckets, "vector indexes": indexes}

    def _bucket(self, params: Params) -> Result:
        name = params.get("vectorBucketName") or params.get("vectorBucketArn", "").rpartition("bucket/")[2]
        if name not in self.buckets:
            raise Refusal("NotFoundException", "The specified vector bucket could not be found")
        return self.buckets[name]

    def _index(self, params: Params) -> Result:
        arn = params.get("indexArn")
        if not arn:
            arn = f"{self._bucket(params)['vectorBucketArn']}/index/{params.get('indexName')}"
        if arn not in self.indexes:
            raise Refusal("NotFoundException", "The specified index could not be found")
        return self.indexes[arn]

    def _indexes_of(self, bucket: Result) -> list[Result]:
        name = bucket["vectorBucketName"]
        return [found for found in self.indexes.values() if found["vectorBucketName"] == name]

    def _list(self, member: str, key: str, found: list[Result], params: Params) -> Result:
        named = [one for one in found if one[key].startswith(params.get("prefix", ""))]
        items, more = page(sorted(named, key=lambda one: str(one[key])), params, self.account.page_size)
        return {member: items, **more}

    def _tags(self, params: Params) -> dict[str, str]:
        if params["resourceArn"] not in self.account.tags:
            raise Refusal("NotFoundException", "The specified resource could not be found")
        return self.account.tags[params["resourceArn"]]
