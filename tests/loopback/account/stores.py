"""The two kinds of vector store, OpenSearch Serverless with the API of its collections and S3 Vectors; guardrails."""

import json
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from tests.loopback.account.beside import linked
from tests.loopback.account.parts import Part, Refusal, Resource, looked_at, names
from tests.loopback.answers import Params, Raw, Result

_LINKED = "role/aws-service-role/observability.aoss.amazonaws.com/AWSServiceRoleForAmazonOpenSearchServerless"


@dataclass
class Serverless(Part):
    """Policies by type and name, collections by id, and in each collection its indexes by name."""

    policies: dict[tuple[str, str], Result] = field(default_factory=dict)
    collections: dict[str, Resource] = field(default_factory=dict)
    indexes: dict[str, dict[str, Result]] = field(default_factory=dict)

    def create_security_policy(self, params: Params) -> Result:
        kind, now = params["type"], self._now()
        self.is_free(params["name"], [name for found, name in self.policies if found == kind])
        policy = {"description": "", **params, "policy": json.loads(params["policy"])}
        policy |= {"policyVersion": self.account.new_id(20), "createdDate": now, "lastModifiedDate": now}
        self.policies[kind, params["name"]] = policy | {"forbidden": self.account.forbidden}
        return self.get_security_policy(params)

    def get_security_policy(self, params: Params) -> Result:
        text = "Policy with name {0[1]} and type {0[0]} is not found"
        policy = self.found(self.policies, (params["type"], params["name"]), text)
        return {"securityPolicyDetail": policy, "accessPolicyDetail": policy}

    def delete_security_policy(self, params: Params) -> Result:
        self.get_security_policy(params)
        del self.policies[params["type"], params["name"]]
        return {}

    create_access_policy, get_access_policy = create_security_policy, get_security_policy
    delete_access_policy = delete_security_policy

    def create_collection(self, params: Params) -> Result:
        account, name, now = self.account, params["name"], self._now()
        self.is_free(name, names(self.collections))
        role = f"arn:aws:iam::{account.account_id}:{_LINKED}"
        account.refuses(11, not linked(), user=account.caller, role=role)
        if not self._covered("encryption", f"collection/{name}"):
            text = f"No matching security policy of encryption type found for collection name: {name}."
            raise Refusal("ValidationException", text)
        number = account.new_id(20)
        url, arn = f"{account.endpoint}/_aoss/{number}", account.arn("aoss", f"collection/{number}")
        more = {"id": number, "arn": arn, "kmsKeyArn": "auto", "createdDate": now, "lastModifiedDate": now}
        collection = Resource(**{"type": "TIMESERIES", "standbyReplicas": "ENABLED", **params}, **more)
        then = {"collectionEndpoint": url, "dashboardEndpoint": f"{url}/_dashboards"}
        if reason := account.fails.get("collection"):
            then = {"failureCode": "InternalFailure", "failureMessage": reason}
        end = "FAILED" if reason else "ACTIVE"
        collection.goes("CREATING", end, polls=account.polls, on=lambda _: collection.details.update(then))
        self.collections[number], self.indexes[number] = collection, {}
        self.tag(arn, params.get("tags", []))
        return {"createCollectionDetail": collection.details}

    def batch_get_collection(self, params: Params) -> Result:
        kind = "id" if params.get("ids") else "name"
        there = {one[kind]: one for one in looked_at(self.collections)}
        told = {"errorCode": "NOT_FOUND", "errorMessage": "The specified Collection is not found."}
        return {
            "collectionDetails": [there[each] for each in params[f"{kind}s"] if each in there],
            "collectionErrorDetails": [{kind: each, **told} for each in params[f"{kind}s"] if each not in there],
        }

    def delete_collection(self, params: Params) -> Result:
        number = params["id"]
        collection = self.found(self.collections, number, "Collection with ID {} cannot be found.")
        if collection.details["status"] not in ("ACTIVE", "FAILED"):
            raise Refusal("ConflictException", f"Collection is {collection.details['status']}: it cannot be deleted.")

        def on(_: str) -> None:
            del self.collections[number], self.indexes[number], self.account.tags[collection.details["arn"]]

        collection.goes("DELETING", "GONE", polls=self.account.polls, on=on)
        return {"deleteCollectionDetail": collection.details}

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
        indexes = self.account.serverless.indexes.get(params["collection"], {})
        name, body = params["path"], json.loads(params["body"])
        if refused := self._refused("aoss:CreateIndex", params):
            return refused
        indexes[name] = body
        return Raw(json.dumps({"acknowledged": True, "shards_acknowledged": True, "index": name}))

    def head(self, params: Params) -> Raw:
        there = params["path"] in self.account.serverless.indexes.get(params["collection"], {})
        return self._refused("aoss:DescribeIndex", params) or Raw(status=200 if there else 404)

    def _refused(self, permission: str, params: Params) -> Raw | None:
        """Why the request is refused, or nothing."""
        serverless = self.account.serverless
        collection = serverless.collections.get(params["collection"])
        if collection is None or collection.details["status"] != "ACTIVE":
            return _failed(404, "Not Found")
        if not serverless.allowed(self.account.caller, permission, collection.details["name"], params["path"]):
            return _failed(403, "security_exception")
        return None


def _failed(status: int, kind: str) -> Raw:
    return Raw(json.dumps({"error": {"type": kind}, "status": status}), status)


@dataclass
class Vectors(Part):
    """Buckets and indexes by ARN; nothing here takes time. (moto's keeps no metadata configuration.)"""

    missing = "NotFoundException"
    held: dict[str, Result] = field(default_factory=dict)

    def create_vector_bucket(self, params: Params) -> Result:
        arn = self._arn(params)
        self.is_free(arn, self.held)
        self.held[arn] = {**params, "vectorBucketArn": arn, "indexArn": arn, "creationTime": self.account.clock()}
        self.tag(arn, params.get("tags", {}))
        return self.held[arn]

    def create_index(self, params: Params) -> Result:
        self.get_vector_bucket({"vectorBucketName": params["vectorBucketName"]})
        return self.create_vector_bucket(params)

    def get_vector_bucket(self, params: Params) -> Result:
        found = self.found(self.held, self._arn(params), "The specified vector bucket could not be found")
        return {"vectorBucket": found}

    def get_index(self, params: Params) -> Result:
        return {"index": self.found(self.held, self._arn(params), "The specified index could not be found")}

    def delete_vector_bucket(self, params: Params) -> Result:
        arn = self.get_vector_bucket(params)["vectorBucket"]["vectorBucketArn"]
        if any(index.startswith(f"{arn}/") for index in self.held):
            raise Refusal("ConflictException", "The specified vector bucket is not empty")
        del self.held[arn], self.account.tags[arn]
        return {}

    def delete_index(self, params: Params) -> Result:
        del self.held[self.get_index(params)["index"]["indexArn"]]
        return {}

    def _arn(self, params: Params) -> str:
        """Of the bucket or the index that is meant."""
        if arn := params.get("indexArn") or params.get("vectorBucketArn"):
            return str(arn)
        index = f"/index/{params['indexName']}" if "indexName" in params else ""
        return str(self.account.arn("s3vectors", f"bucket/{params['vectorBucketName']}{index}"))


@dataclass
class Guardrails(Part):
    """Guardrails by id."""

    made: dict[str, Result] = field(default_factory=dict)

    def create_guardrail(self, params: Params) -> Result:
        number, now = self.account.new_id(20)[:12], self.account.clock()
        arn = self.account.arn("bedrock", f"guardrail/{number}")
        known = {"id": number, "arn": arn, "name": params["name"], "status": "READY", "version": "DRAFT"}
        self.made[number] = known | {"createdAt": now, "updatedAt": now}
        self.tag(arn, params.get("tags", []))
        return {"guardrailId": number, "guardrailArn": arn, "version": "DRAFT", "createdAt": now}

    def list_guardrails(self, params: Params) -> Result:
        found, token = self.page(list(self.made.values()), params)
        return {"guardrails": found} | token

    def delete_guardrail(self, params: Params) -> Result:
        self.found(self.made, params["guardrailIdentifier"], "The guardrail {} does not exist.")
        del self.made[params["guardrailIdentifier"]]
        return {}
