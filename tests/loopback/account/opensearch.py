"""The API of a collection, as far as an index needs it: looked for, and made."""

import json
from typing import Any

from tests.loopback.account.parts import Part
from tests.loopback.answers import Params, Raw, Result

_DENIED = (
    "OpenSearch exception [type=authorization_exception, "
    "reason=User does not have permissions for the requested resource]"
)


class OpenSearch(Part):
    """Requests to `{endpoint}/_aoss/{collection id}/{index}`, by HTTP method."""

    def put(self, params: Params) -> Raw:
        return self._refused("aoss:CreateIndex", params) or self._make(params["collection"], params["path"], params)

    def head(self, params: Params) -> Raw:
        there = params["path"] in self.account.serverless.indexes.get(params["collection"], {})
        return self._refused("aoss:DescribeIndex", params) or _sent({}, 200 if there else 404)

    def _refused(self, permission: str, params: Params) -> Raw | None:
        """Why the request is refused, or nothing."""
        serverless = self.account.serverless
        collection = serverless.collections.get(params["collection"])
        if collection is None or collection.details["status"] != "ACTIVE":
            return _failed(404, "Not Found", "404 Not Found")
        name = collection.details["name"]
        if not serverless.public(name):
            return _failed(403, "Forbidden", "403 Forbidden")
        if not serverless.allowed(self.account.caller, permission, name, params["path"]):
            return _failed(403, "security_exception", _DENIED)
        return None

    def _make(self, collection: str, name: str, params: Params) -> Raw:
        indexes = self.account.serverless.indexes[collection]
        if name in indexes:
            return _failed(400, "resource_already_exists_exception", f"index [{name}] already exists")
        if name != name.lower():
            return _failed(400, "invalid_index_name_exception", f"Invalid index name [{name}], must be lowercase")
        body: Result = json.loads(params.get("body") or b"{}")
        for field, mapping in body.get("mappings", {}).get("properties", {}).items():
            if mapping.get("type") != "knn_vector":
                continue
            if not mapping.get("dimension"):
                reason = f"Failed to parse mapping [_doc]: Dimension value missing for vector: {field}"
                return _failed(400, "mapper_parsing_exception", reason)
            if not body.get("settings", {}).get("index.knn"):
                reason = f"Cannot set modelId or method parameters when index.knn setting is false: {field}"
                return _failed(400, "mapper_parsing_exception", reason)
        indexes[name] = body
        return _sent({"acknowledged": True, "shards_acknowledged": True, "index": name})


def _sent(body: Any, status: int = 200) -> Raw:
    return Raw(json.dumps(body).encode(), status)


def _failed(status: int, kind: str, reason: str) -> Raw:
    error = {"type": kind, "reason": reason}
    return _sent({"error": {"root_cause": [error], **error}, "status": status}, status)
