"""opensearchserverless: the policies and the collections."""

import json
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from tests.loopback.account.parts import Part, Refusal, Resource
from tests.loopback.answers import Params, Result

if TYPE_CHECKING:
    from tests.loopback.account.account import Account

LINKED = "AWSServiceRoleForAmazonOpenSearchServerless"
_RULES = {"encryption": {"collection"}, "network": {"collection", "dashboard"}, "data": {"collection", "index"}}
_NEEDS = {
    "encryption": ("AWSOwnedKey", "KmsARN"),
    "network": ("AllowFromPublic", "SourceVPCEs"),
    "data": ("Principal",),
}


class Serverless(Part):
    """Policies by type and name, collections by id, and in each collection its indexes by name."""

    def __init__(self, account: "Account"):
        """Nothing yet."""
        super().__init__(account)
        self.policies: dict[tuple[str, str], Result] = {}
        self.collections: dict[str, Resource] = {}
        self.indexes: dict[str, dict[str, Result]] = {}

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
        name, now = params["name"], self._now()
        if any(resource.details["name"] == name for resource in self.collections.values()):
            raise Refusal("ConflictException", f"Collection with name {name} already exists")
        role = f"arn:aws:iam::{self.account.account_id}:role/aws-service-role/observability.aoss.amazonaws.com/{LINKED}"
        self.account.refuses(11, not self.account.linked(), user=self.account.caller, role=role)
        if not self._covered("encryption", f"collection/{name}"):
            problem = f"No matching security policy of encryption type found for collection name: {name}."
            text = f"{problem} Please create security policy of encryption type for this collection."
            raise Refusal("ValidationException", text)
        number = self.account.new_id(20)
        url, arn = f"{self.account.endpoint}/_aoss/{number}", self.account.arn("aoss", f"collection/{number}")
        more = {"id": number, "arn": arn, "kmsKeyArn": "auto", "createdDate": now, "lastModifiedDate": now}
        collection = Resource(**{"type": "TIMESERIES", "standbyReplicas": "ENABLED", **params}, **more)
        reason = self.account.fails.get("collection", "")

        def on(status: str) -> None:
            if status == "FAILED":
                collection.details |= {"failureCode": "InternalFailure", "failureMessage": reason}
            else:
                collection.details |= {"collectionEndpoint": url, "dashboardEndpoint": f"{url}/_dashboards"}

        collection.goes("CREATING", "FAILED" if reason else "ACTIVE", polls=self.account.polls, on=on)
        self.collections[number], self.indexes[number] = collection, {}
        self.account.tags[arn] = {tag["key"]: tag["value"] for tag in params.get("tags", [])}
        return {"createCollectionDetail": collection.details}

    def batch_get_collection(self, params: Params) -> Result:
        kind = "id" if params.get("ids") else "name"
        found, missing = [], []
        for wanted in params[f"{kind}s"]:
            some = {key: value for key, value in self.collections.items() if value.details[kind] == wanted}
            for resource in some.values():
                resource.look()  # which may find that it is gone
            there = [resource.details for key, resource in some.items() if key in self.collections]
            found += there
            if not there:
                text = "The specified Collection is not found."
                missing.append({kind: wanted, "errorCode": "NOT_FOUND", "errorMessage": text})
        return {"collectionDetails": found, "collectionErrorDetails": missing}

    def delete_collection(self, params: Params) -> Result:
        number = params["id"]
        if number not in self.collections:
            raise Refusal("ResourceNotFoundException", f"Collection with ID {number} cannot be found.")
        collection = self.collections[number]
        status = collection.details["status"]
        if status not in ("ACTIVE", "FAILED"):
            text = f"Collection with ID {number} is in {status} state and cannot be deleted."
            raise Refusal("ConflictException", text)

        def on(_: str) -> None:
            del self.collections[number], self.indexes[number]
            del self.account.tags[collection.details["arn"]]

        collection.goes("DELETING", "GONE", polls=self.account.polls, on=on)
        return {"deleteCollectionDetail": collection.details}

    def list_tags_for_resource(self, params: Params) -> Result:
        return {"tags": [{"key": key, "value": value} for key, value in self.tags(params).items()]}

    def left(self) -> Mapping[str, Iterable[str]]:
        """Collections, their indexes, and the three kinds of policy."""
        held: dict[str, list[str]] = {
            f"{kind} policies": [name for found, name in self.policies if found == kind] for kind in _RULES
        }
        held["collections"] = [found.details["name"] for found in self.collections.values()]
        held["opensearch indexes"] = [name for names in self.indexes.values() for name in names]
        return held

    def public(self, collection: str) -> bool:
        """Whether a network policy lets requests reach the collection."""
        found = self._covered("network", f"collection/{collection}")
        return any(statement.get("AllowFromPublic") for _, statement in found)

    def allowed(self, principal: str, permission: str, collection: str, index: str) -> bool:
        """Whether a data policy lets `principal` (any if empty) do this; counts down what it still refuses."""
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
        policy = {"description": "", **params, "policy": _document(kind, params["policy"])}
        policy |= {"policyVersion": self.account.new_id(20), "createdDate": now, "lastModifiedDate": now}
        self.policies[kind, name] = policy | {"forbidden": self.account.forbidden}
        return self.policies[kind, name]

    def _policy(self, params: Params) -> Result:
        kind, name = params["type"], params["name"]
        if (kind, name) not in self.policies:
            text = f"Policy with name {name} and type {kind} is not found"
            raise Refusal("ResourceNotFoundException", text)
        return self.policies[kind, name]

    def _covered(self, kind: str, resource: str, permission: str = "") -> list[tuple[Result, Result]]:
        """The policies of this type, each with its statement that covers the resource and the permission."""
        return [
            (policy, statement)
            for (found, _), policy in self.policies.items()
            for statement in _statements(policy["policy"])
            if found == kind
            and any(
                rule["ResourceType"] == resource.partition("/")[0]
                and any(fnmatchcase(resource, pattern) for pattern in rule["Resource"])
                and (not permission or permission in rule["Permission"])
                for rule in statement["Rules"]
            )
        ]

    def _now(self) -> int:
        return int(self.account.now().timestamp() * 1000)


def _statements(policy: Any) -> list[Result]:
    return policy if isinstance(policy, list) else [policy]


def _document(kind: str, text: str) -> Any:
    """The policy of a request, refused where it is not one of its kind."""
    try:
        policy = json.loads(text)
        assert isinstance(policy, dict) == (kind == "encryption"), "an encryption policy is an object, others arrays"
        for statement in _statements(policy):
            assert any(statement.get(key) for key in _NEEDS[kind]), f"$: one of {_NEEDS[kind]} is required"
            for rule in statement.get("Rules") or [{}]:
                fits = rule.get("ResourceType") in _RULES[kind] and rule.get("Resource")
                assert fits and (kind != "data" or rule.get("Permission")), f"$.Rules: {rule} lacks a part"
    except (ValueError, AssertionError) as error:
        raise Refusal("ValidationException", f"Policy json is invalid, error: [{error}]") from None
    return policy


def _names(statement: Result, principal: str) -> bool:
    """Whether a statement of a data policy names the principal, or the role that a session is of."""
    if not principal or principal in statement["Principal"]:
        return True
    account, _, session = principal.removeprefix("arn:aws:sts::").partition(":assumed-role/")
    role = session.partition("/")[0]
    start, end = f"arn:aws:iam::{account}:role/", f"/{role}"
    return bool(role) and any(one.startswith(start) and one.endswith(end) for one in statement["Principal"])
