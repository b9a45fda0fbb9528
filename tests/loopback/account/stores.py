"""The two kinds of vector store, OpenSearch Serverless with the API of its collections and S3 Vectors; guardrails."""

import json
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from tests.loopback.account.parts import Part, Refusal, Resource
from tests.loopback.answers import Params, Raw, Result

_LINKED = "role/aws-service-role/observability.aoss.amazonaws.com/AWSServiceRoleForAmazonOpenSearchServerless"
_NEEDS = {"encryption": "AWSOwnedKey", "network": "AllowFromPublic", "data": "Principal"}
_DENIED = (
    "OpenSearch exception [type=authorization_exception, "
    "reason=User does not have permissions for the requested resource]"
)


@dataclass
class Serverless(Part):
    """Policies by type and name, collections by id, and in each collection its indexes by name."""

    policies: dict[tuple[str, str], Result] = field(default_factory=dict)
    collections: dict[str, Resource] = field(default_factory=dict)
    indexes: dict[str, dict[str, Result]] = field(default_factory=dict)

    def left(self) -> dict[str, list[str]]:
        """Collections, their indexes, and the three kinds of policy."""
        held = {f"{kind} policies": [name for found, name in self.policies if found == kind] for kind in _NEEDS}
        held["collections"] = [found.details["name"] for found in self.collections.values()]
        held["opensearch indexes"] = [name for names in self.indexes.values() for name in names]
        return held

    def create_security_policy(self, params: Params) -> Result:
        return {"securityPolicyDetail": self._create(params)}

    def create_access_policy(self, params: Params) -> Result:
        return {"accessPolicyDetail": self._create(params)}

    def get_security_policy(self, params: Params) -> Result:
        return {"securityPolicyDetail": self._policy(params)}

    def get_access_policy(self, params: Params) -> Result:
        return {"accessPolicyDetail": self._policy(params)}

    def delete_security_policy(self, params: Params) -> Result:
        self._policy(params)
        del self.policies[params["type"], params["name"]]
        return {}

    delete_access_policy = delete_security_policy

    def create_collection(self, params: Params) -> Result:
        account, name, now = self.account, params["name"], self._now()
        if any(one.details["name"] == name for one in self.collections.values()):
            raise Refusal("ConflictException", f"Collection with name {name} already exists")
        role = f"arn:aws:iam::{account.account_id}:{_LINKED}"
        account.refuses(11, not account.linked(), user=account.caller, role=role)
        if not self._covered("encryption", f"collection/{name}"):
            text = f"No matching security policy of encryption type found for collection name: {name}."
            raise Refusal("ValidationException", text)
        number = account.new_id(20)
        url, arn = f"{account.endpoint}/_aoss/{number}", account.arn("aoss", f"collection/{number}")
        more = {"id": number, "arn": arn, "kmsKeyArn": "auto", "createdDate": now, "lastModifiedDate": now}
        collection = Resource(**{"type": "TIMESERIES", "standbyReplicas": "ENABLED", **params}, **more)
        reason = account.fails.get("collection", "")

        def on(status: str) -> None:
            told = {"failureCode": "InternalFailure", "failureMessage": reason}
            made = {"collectionEndpoint": url, "dashboardEndpoint": f"{url}/_dashboards"}
            collection.details |= told if status == "FAILED" else made

        collection.goes("CREATING", "FAILED" if reason else "ACTIVE", polls=account.polls, on=on)
        self.collections[number], self.indexes[number] = collection, {}
        account.tags[arn] = {tag["key"]: tag["value"] for tag in params.get("tags", [])}
        return {"createCollectionDetail": collection.details}

    def batch_get_collection(self, params: Params) -> Result:
        kind, wanted = ("id", params["ids"]) if params.get("ids") else ("name", params["names"])
        for one in list(self.collections.values()):
            if one.details[kind] in wanted:
                one.look()  # which may find that it is gone
        found = [one.details for one in self.collections.values() if one.details[kind] in wanted]
        told = {"errorCode": "NOT_FOUND", "errorMessage": "The specified Collection is not found."}
        there = [one[kind] for one in found]
        missing = [{kind: each, **told} for each in wanted if each not in there]
        return {"collectionDetails": found, "collectionErrorDetails": missing}

    def delete_collection(self, params: Params) -> Result:
        number = params["id"]
        collection = self.found(self.collections, number, "Collection with ID {} cannot be found.")
        if collection.details["status"] not in ("ACTIVE", "FAILED"):
            raise Refusal("ConflictException", f"Collection is {collection.details['status']}: it cannot be deleted.")

        def on(_: str) -> None:
            del self.collections[number], self.indexes[number], self.account.tags[collection.details["arn"]]

        collection.goes("DELETING", "GONE", polls=self.account.polls, on=on)
        return {"deleteCollectionDetail": collection.details}

    def list_tags_for_resource(self, params: Params) -> Result:
        tags = super().list_tags_for_resource(params)["tags"]
        return {"tags": [{"key": key, "value": value} for key, value in tags.items()]}

    def allowed(self, principal: str, permission: str, collection: str, index: str) -> bool:
        """Whether the network and a data policy let `principal` do this; counts down what it still refuses."""
        if not self._covered("network", f"collection/{collection}"):
            return False
        for policy, statement in self._covered("data", f"index/{collection}/{index}", permission):
            if _names(statement, principal):
                if not policy["forbidden"]:
                    return True
                policy["forbidden"] -= 1
        return False

    def _create(self, params: Params) -> Result:
        kind, name, now = params["type"], params["name"], self._now()
        if (kind, name) in self.policies:
            raise Refusal("ConflictException", f"Policy with name {name} and type {kind} already exists")
        policy = {"description": "", **params, "policy": json.loads(params["policy"])}
        if isinstance(policy["policy"], dict) != (kind == "encryption") or _NEEDS[kind] not in params["policy"]:
            raise Refusal("ValidationException", f"Policy json is invalid: an object or {_NEEDS[kind]} is missing")
        policy |= {"policyVersion": self.account.new_id(20), "createdDate": now, "lastModifiedDate": now}
        self.policies[kind, name] = policy | {"forbidden": self.account.forbidden}
        return self.policies[kind, name]

    def _policy(self, params: Params) -> Result:
        text = "Policy with name {0[1]} and type {0[0]} is not found"
        return self.found(self.policies, (params["type"], params["name"]), text)

    def _covered(self, kind: str, resource: str, permission: str = "") -> list[tuple[Result, Result]]:
        """The policies of this type, each with its statement that covers the resource and the permission."""
        return [
            (policy, statement)
            for (found, _), policy in self.policies.items()
            for statement in (policy["policy"] if found != "encryption" else [policy["policy"]])
            if found == kind
            and any(
                rule["ResourceType"] == resource.partition("/")[0]
                and any(fnmatchcase(resource, pattern) for pattern in rule["Resource"])
                and (not permission or permission in rule["Permission"])
                for rule in statement["Rules"]
            )
        ]

    def _now(self) -> int:
        return int(self.account.clock().timestamp() * 1000)


def _names(statement: Result, principal: str) -> bool:
    """Whether a statement of a data policy names the principal, or the role that a session is of."""
    account, _, session = principal.removeprefix("arn:aws:sts::").partition(":assumed-role/")
    start, end = f"arn:aws:iam::{account}:role/", "/" + session.partition("/")[0]
    named = statement["Principal"]
    return principal in named or (bool(session) and any(one.startswith(start) and one.endswith(end) for one in named))


class OpenSearch(Part):
    """Requests to `{endpoint}/_aoss/{collection id}/{index}`, by HTTP method, as far as an index needs it."""

    def put(self, params: Params) -> Raw:
        if refused := self._refused("aoss:CreateIndex", params):
            return refused
        indexes, name, body = self.account.serverless.indexes[params["collection"]], params["path"], params["body"]
        if name in indexes:
            return _failed(400, "resource_already_exists_exception", f"index [{name}] already exists")
        indexes[name] = json.loads(body)
        if not indexes[name].get("settings", {}).get("index.knn"):
            return _failed(400, "mapper_parsing_exception", "Cannot set method parameters when index.knn is false")
        return _sent({"acknowledged": True, "shards_acknowledged": True, "index": name})

    def head(self, params: Params) -> Raw:
        there = params["path"] in self.account.serverless.indexes.get(params["collection"], {})
        return self._refused("aoss:DescribeIndex", params) or _sent({}, 200 if there else 404)

    def _refused(self, permission: str, params: Params) -> Raw | None:
        """Why the request is refused, or nothing."""
        serverless = self.account.serverless
        collection = serverless.collections.get(params["collection"])
        if collection is None or collection.details["status"] != "ACTIVE":
            return _failed(404, "Not Found", "404 Not Found")
        if not serverless.allowed(self.account.caller, permission, collection.details["name"], params["path"]):
            return _failed(403, "security_exception", _DENIED)
        return None


def _sent(body: Any, status: int = 200) -> Raw:
    return Raw(json.dumps(body).encode(), status)


def _failed(status: int, kind: str, reason: str) -> Raw:
    error = {"type": kind, "reason": reason}
    return _sent({"error": {"root_cause": [error], **error}, "status": status}, status)


@dataclass
class Vectors(Part):
    """Buckets and indexes by ARN; nothing here takes time. (moto's keeps no metadata configuration.)"""

    missing = "NotFoundException"
    buckets: dict[str, Result] = field(default_factory=dict)
    indexes: dict[str, Result] = field(default_factory=dict)

    def left(self) -> dict[str, list[str]]:
        """Buckets and indexes."""
        stores = {"vector buckets": self.buckets, "vector indexes": self.indexes}
        return {kind: [arn.partition(":bucket/")[2] for arn in store] for kind, store in stores.items()}

    def create_vector_bucket(self, params: Params) -> Result:
        return self._create(self.buckets, self._bucket(params), vectorBucketArn=self._bucket(params), **params)

    def get_vector_bucket(self, params: Params) -> Result:
        found = self.found(self.buckets, self._bucket(params), "The specified vector bucket could not be found")
        return {"vectorBucket": found}

    def delete_vector_bucket(self, params: Params) -> Result:
        arn = self.get_vector_bucket(params)["vectorBucket"]["vectorBucketArn"]
        if any(index.startswith(f"{arn}/") for index in self.indexes):
            raise Refusal("ConflictException", "The specified vector bucket is not empty")
        del self.buckets[arn], self.account.tags[arn]
        return {}

    def create_index(self, params: Params) -> Result:
        self.get_vector_bucket(params)
        return self._create(self.indexes, self._index(params), indexArn=self._index(params), **params)

    def get_index(self, params: Params) -> Result:
        return {"index": self.found(self.indexes, self._index(params), "The specified index could not be found")}

    def delete_index(self, params: Params) -> Result:
        self.get_index(params)
        del self.indexes[self._index(params)]
        return {}

    def _create(self, store: dict[str, Result], arn: str, **made: Any) -> Result:
        if arn in store:
            raise Refusal("ConflictException", f"{arn} already exists")
        store[arn], self.account.tags[arn] = made | {"creationTime": self.account.clock()}, made.get("tags", {})
        return store[arn]

    def _bucket(self, params: Params) -> str:
        return params.get("vectorBucketArn") or self.account.arn("s3vectors", f"bucket/{params['vectorBucketName']}")

    def _index(self, params: Params) -> str:
        return params.get("indexArn") or f"{self._bucket(params)}/index/{params['indexName']}"


@dataclass
class Guardrails(Part):
    """Guardrails by id."""

    made: dict[str, Result] = field(default_factory=dict)

    def left(self) -> dict[str, list[str]]:
        """Their names."""
        return {"guardrails": [one["name"] for one in self.made.values()]}

    def create_guardrail(self, params: Params) -> Result:
        account = self.account
        if params["name"] in self.left()["guardrails"]:
            raise Refusal("ConflictException", "Another guardrail in your account already has this name.")
        number, now = account.new_id(20)[:12], account.clock()
        arn = account.arn("bedrock", f"guardrail/{number}")
        known = {"id": number, "arn": arn, "name": params["name"], "status": "READY", "version": "DRAFT"}
        self.made[number] = known | {"createdAt": now, "updatedAt": now}
        account.tags[arn] = {tag["key"]: tag["value"] for tag in params.get("tags", [])}
        return {"guardrailId": number, "guardrailArn": arn, "version": "DRAFT", "createdAt": now}

    def list_guardrails(self, params: Params) -> Result:
        found, token = self.page(list(self.made.values()), params)
        return {"guardrails": found} | token

    def list_tags_for_resource(self, params: Params) -> Result:
        found = super().list_tags_for_resource({"resourceArn": params["resourceARN"]})["tags"]
        return {"tags": [{"key": key, "value": text} for key, text in found.items()]}

    def delete_guardrail(self, params: Params) -> Result:
        one = self.found(self.made, params["guardrailIdentifier"], "The guardrail {} does not exist.")
        del self.made[one["id"]]
        return {}
