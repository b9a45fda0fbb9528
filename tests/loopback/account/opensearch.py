"""The API of a collection, as far as an index needs it: made, looked at, listed, deleted."""

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
        name = params["path"]
        return self._index("aoss:CreateIndex", params) or self._make(params["collection"], name, params)

    def head(self, params: Params) -> Raw:
        return self._index("aoss:DescribeIndex", params) or self._show(params, lambda found: {})

    def get(self, params: Params) -> Raw:
        name, _, rest = params["path"].partition("/")
        if params["path"] in ("_cat/indices", "_all"):
            return self._index("aoss:DescribeIndex", {**params, "path": "*"}) or self._list(params)
        if rest not in ("", "_mapping"):
            return _failed(404, "illegal_argument_exception", f"no handler found for uri [/{params['path']}]")
        keys = ("mappings",) if rest else ("aliases", "mappings", "settings")
        return self._index("aoss:DescribeIndex", {**params, "path": name}) or self._show(
            {**params, "path": name}, lambda found: {name: {key: found.get(key, {}) for key in keys}}
        )

    def delete(self, params: Params) -> Raw:
        return self._index("aoss:DeleteIndex", params) or self._remove(params)

    def _index(self, permission: str, params: Params) -> Raw | None:
        """Why the request is refused, or nothing."""
        serverless = self.account.serverless
        collection = serverless.collections.get(params["collection"])
        if collection is None or collection.details["status"] != "ACTIVE":
            return _sent({"status": 404, "error": {"type": "Not Found", "reason": "404 Not Found"}}, 404)
        name = collection.details["name"]
        if not serverless.public(name):
            return _sent({"status": 403, "error": {"type": "Forbidden", "reason": "403 Forbidden"}}, 403)
        if not serverless.allowed(self.account.caller, permission, name, params["path"]):
            return _failed(403, "security_exception", _DENIED)
        return None

    def _make(self, collection: str, name: str, params: Params) -> Raw:
        indexes = self.account.serverless.indexes[collection]
        if name in indexes:
            reason = f"index [{name}/{collection}] already exists"
            return _failed(400, "resource_already_exists_exception", reason, index=name)
        if name != name.lower() or name.startswith(("_", "-")) or set(name) & set('\\/*?"<>| ,#:'):
            reason = f"Invalid index name [{name}], must be lowercase, without special characters"
            return _failed(400, "invalid_index_name_exception", reason, index=name)
        try:
            body: Result = json.loads(params.get("body") or b"{}")
        except ValueError as error:
            return _failed(400, "parse_exception", str(error))
        for field, mapping in body.get("mappings", {}).get("properties", {}).items():
            if mapping.get("type") != "knn_vector":
                continue
            if not mapping.get("dimension") and not mapping.get("model_id"):
                reason = f"Failed to parse mapping [_doc]: Dimension value missing for vector: {field}"
                return _failed(400, "mapper_parsing_exception", reason)
            if not _knn(body):
                reason = f"Cannot set modelId or method parameters when index.knn setting is false: {field}"
                return _failed(400, "mapper_parsing_exception", reason)
        indexes[name] = body
        return _sent({"acknowledged": True, "shards_acknowledged": True, "index": name})

    def _show(self, params: Params, shown: Any) -> Raw:
        found = self.account.serverless.indexes[params["collection"]].get(params["path"])
        return _missing(params["path"]) if found is None else _sent(shown(found))

    def _list(self, params: Params) -> Raw:
        indexes = self.account.serverless.indexes[params["collection"]]
        if params["path"] == "_all":
            return _sent({name: {"aliases": {}, **body} for name, body in indexes.items()})
        return _sent([{"index": name, "health": "", "docs.count": "0"} for name in indexes])

    def _remove(self, params: Params) -> Raw:
        found = self.account.serverless.indexes[params["collection"]].pop(params["path"], None)
        done = found is not None or params.get("ignore_unavailable") == "true"
        return _sent({"acknowledged": True}) if done else _missing(params["path"])


def _knn(body: Result) -> bool:
    settings = body.get("settings", {})
    nested = settings.get("index", {})
    found = settings.get("index.knn", nested.get("knn") if isinstance(nested, dict) else None)
    return str(found).lower() == "true"


def _sent(body: Any, status: int = 200) -> Raw:
    return Raw(json.dumps(body).encode(), status)


def _missing(name: str) -> Raw:
    return _failed(404, "index_not_found_exception", f"no such index [{name}]", index=name)


def _failed(status: int, kind: str, reason: str, **more: str) -> Raw:
    error = {"type": kind, "reason": reason, **more}
    return _sent({"error": {"root_cause": [error], **error}, "status": status}, status)
