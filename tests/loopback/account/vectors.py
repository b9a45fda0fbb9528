"""s3vectors: vector buckets and their indexes."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from tests.loopback.account.parts import Part, Refusal
from tests.loopback.answers import Params, Result

if TYPE_CHECKING:
    from tests.loopback.account.account import Account


class Vectors(Part):
    """Buckets by name, indexes by ARN; nothing here takes time. (moto's keeps no metadata configuration.)"""

    missing = "NotFoundException"

    def __init__(self, account: "Account"):
        """Nothing yet."""
        super().__init__(account)
        self.buckets: dict[str, Result] = {}
        self.indexes: dict[str, Result] = {}

    def create_vector_bucket(self, params: Params) -> Result:
        name, arn = params["vectorBucketName"], self._arn(params)
        if name in self.buckets:
            raise Refusal("ConflictException", "A vector bucket with the specified name already exists")
        self.buckets[name] = {**params, "vectorBucketArn": arn, "creationTime": self.account.now()}
        self.account.tags[arn] = dict(params.get("tags", {}))
        return self.buckets[name]

    def get_vector_bucket(self, params: Params) -> Result:
        return {"vectorBucket": self._bucket(params)}

    def delete_vector_bucket(self, params: Params) -> Result:
        bucket = self._bucket(params)
        if any(index.startswith(f"{bucket['vectorBucketArn']}/") for index in self.indexes):
            raise Refusal("ConflictException", "The specified vector bucket is not empty")
        del self.buckets[bucket["vectorBucketName"]], self.account.tags[bucket["vectorBucketArn"]]
        return {}

    def create_index(self, params: Params) -> Result:
        arn = f"{self._bucket(params)['vectorBucketArn']}/index/{params['indexName']}"
        if arn in self.indexes:
            raise Refusal("ConflictException", "An index with the specified name already exists")
        self.indexes[arn] = {**params, "indexArn": arn, "creationTime": self.account.now()}
        return self.indexes[arn]

    def get_index(self, params: Params) -> Result:
        return {"index": self._index(params)}

    def delete_index(self, params: Params) -> Result:
        del self.indexes[self._index(params)["indexArn"]]
        return {}

    def left(self) -> Mapping[str, Iterable[str]]:
        """Buckets and indexes."""
        return {
            "vector buckets": self.buckets,
            "vector indexes": [arn.partition(":bucket/")[2] for arn in self.indexes],
        }

    def _arn(self, params: Params) -> str:
        return params.get("vectorBucketArn") or self.account.arn("s3vectors", f"bucket/{params['vectorBucketName']}")

    def _bucket(self, params: Params) -> Result:
        name = self._arn(params).rpartition("bucket/")[2]
        if name not in self.buckets:
            raise Refusal("NotFoundException", "The specified vector bucket could not be found")
        return self.buckets[name]

    def _index(self, params: Params) -> Result:
        arn = params.get("indexArn") or f"{self._arn(params)}/index/{params.get('indexName')}"
        if arn not in self.indexes:
            raise Refusal("NotFoundException", "The specified index could not be found")
        return self.indexes[arn]
