"""opensearchserverless: the policies and the collections."""

import json
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from tests.loopback.account.parts import Part, Refusal, Resource, looked_at, page
from tests.loopback.answers import Params, Result

if TYPE_CHECKING:
    from tests.loopback.account.account import Account

_RULES = {
    "encryption": {"collection"},
    "network": {"collection", "dashboard"},
    "data": {"collection", "index"},
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

    def list_security_policies(self, params: Params) -> Result:
        return self._list("securityPolicySummaries", params)

    def list_access_policies(self, params: Params) -> Result:
        return self._list("accessPolicySummaries", params)

    def update_access_policy(self, params: Params) -> Result:
        policy = self._policy(params)
        if params["policyVersion"] != policy["policyVersion"]:
            text = "Policy version specified in the request refers to an older version and policy has since changed"
            raise Refusal("ValidationException", text)
        changed = _document("data", params["policy"]) if "policy" in params else policy["policy"]
        description = params.get("description", policy["description"])
        if (changed, description) == (policy["policy"], policy["description"]):
            raise Refusal("ValidationException", "No changes detected in policy or policy description")
        version, when = self.account.new_id(20), self._now()
        policy |= {"policy": changed, "description": description, "policyVersion": version}
        policy |= {"lastModifiedDate": when, "forbidden": self.account.forbidden}
        return {"accessPolicyDetail": policy}

    def delete_security_policy(self, params: Params) -> Result:
        self._policy(params)
        del self.policies[params["type"], params["name"]]
        return {}

    delete_access_policy = delete_security_policy

    def create_collection(self, params: Params) -> Result:
        name = params["name"]
        if any(resource.details["name"] == name for resource in self.collections.values()):
            raise Refusal("ConflictException", f"Collection with name {name} already exists")
        key = params.get("encryptionConfig") or self._encryption(name)
        if key is None:
            problem = f"No matching security policy of encryption type found for collection name: {name}."
            text = f"{problem} Please create security policy of encryption type for this collection."
            raise Refusal("ValidationException", text)
        number = self.account.new_id(20)
        url = f"{self.account.endpoint}/_aoss/{number}"
        collection = Resource(
            **{"type": "TIMESERIES", "standbyReplicas": "ENABLED", **params},
            id=number,
            arn=self.account.arn("aoss", f"collection/{number}"),
            kmsKeyArn=key.get("kmsKeyArn") or key.get("KmsARN") or "auto",
            createdDate=self._now(),
            lastModifiedDate=self._now(),
        )

        def on(status: str) -> None:
            if status == "FAILED":
                collection.details |= {"failureCode": "InternalFailure", "failureMessage": reason}
            else:
                collection.details |= {"collectionEndpoint": url, "dashboardEndpoint": f"{url}/_dashboards"}

        reason = self.account.fails.get("collection", "")
        collection.goes("CREATING", "FAILED" if reason else "ACTIVE", polls=self.account.polls, on=on)
        self.collections[number], self.indexes[number] = collection, {}
        tags = params.get("tags", [])
        self.account.tags[collection.details["arn"]] = {tag["key"]: tag["value"] for tag in tags}
        return {"createCollectionDetail": collection.details}

    def batch_get_collection(self, params: Params) -> Result:
        if bool(params.get("ids")) == bool(params.get("names")):
            text = (
                "You need to provide IDs or names. You can't provide both IDs and names in the same request"
            )
            raise Refusal("ValidationException", text)
        kind = "id" if params.get("ids") else "name"
        found, missing = [], []
        for wanted in params[f"{kind}s"]:
            some = {key: value for key, value in self.collections.items() if value.details[kind] == wanted}
            for resource in some.values():
                resource.look()
            there = [resource.details for key, resource in some.items() if key in self.collections]
            found += there
            if not there:
                missing.append(
                    {
                        kind: wanted,
                        "errorCode": "NOT_FOUND",
                        "errorMessage": "The specified Collection is not found.",
                    }
                )
        return {"collectionDetails": found, "collectionErrorDetails": missing}

    def list_collections(self, params: Params) -> Result:
        wanted = params.get("collectionFilters", {})
        shown = [
            details
            for details in looked_at(self.collections).values()
            if all(details.get(name) == value for name, value in wanted.items())
        ]
        items, more = page(shown, params, self.account.page_size)
        return {"collectionSummaries": items, **more}

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

    def tag_resource(self, params: Params) -> Result:
        self._tags(params).update({tag["key"]: tag["value"] for tag in params["tags"]})
        return {}

    def untag_resource(self, params: Params) -> Result:
        for key in params["tagKeys"]:
            self._tags(params).pop(key, None)
        return {}

    def list_tags_for_resource(self, params: Params) -> Result:
        return {"tags": [{"key": key, "value": value} for key, value in self._tags(params).items()]}

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
        return any(
            statement.get("AllowFromPublic") and _matches(statement, "collection", f"collection/{collection}")
            for (kind, _), policy in self.policies.items()
            if kind == "network"
            for statement in policy["policy"]
        )

    def allowed(self, principal: str, permission: str, collection: str, index: str) -> bool:
        """Whether a data policy lets `principal` (any if empty) do this; counts down what it still refuses."""
        for (kind, _), policy in self.policies.items():
            if kind == "data" and any(
                _names(statement, principal)
                and _matches(statement, "index", f"index/{collection}/{index}", permission)
                for statement in policy["policy"]
            ):
                if not policy["forbidden"]:
                    return True
                policy["forbidden"] -= 1
        return False

    def _create(self, params: Params) -> Result:
        kind, name = params["type"], params["name"]
        if (kind, name) in self.policies:
            raise Refusal("ConflictException", f"Policy with name {name} and type {kind} already exists")
        self.policies[kind, name] = {
            "description": "",
            **params,
            "policy": _document(kind, params["policy"]),
            "policyVersion": self.account.new_id(20),
            "createdDate": self._now(),
            "lastModifiedDate": self._now(),
            "forbidden": self.account.forbidden,
        }
        return self.policies[kind, name]

    def _policy(self, params: Params) -> Result:
        kind, name = params["type"], params["name"]
        if (kind, name) not in self.policies:
            text = f"Policy with name {name} and type {kind} is not found"
            raise Refusal("ResourceNotFoundException", text)
        return self.policies[kind, name]

    def _list(self, member: str, params: Params) -> Result:
        shown = [
            policy
            for (kind, _), policy in self.policies.items()
            if kind == params["type"]
            and all(
                any(
                    _matches(statement, resource.partition("/")[0], resource)
                    for statement in _list_of(policy)
                )
                for resource in params.get("resource", [])
            )
        ]
        items, more = page(shown, params, self.account.page_size)
        return {member: items, **more}

    def _encryption(self, name: str) -> Result | None:
        for (kind, _), policy in self.policies.items():
            if kind == "encryption" and _matches(policy["policy"], "collection", f"collection/{name}"):
                found: Result = policy["policy"]
                return found
        return None

    def _tags(self, params: Params) -> dict[str, str]:
        arn = params["resourceArn"]
        if arn not in self.account.tags:
            raise Refusal("ResourceNotFoundException", f"Resource with ARN {arn} cannot be found.")
        return self.account.tags[arn]

    def _now(self) -> int:
        return int(self.account.now().timestamp() * 1000)


def _document(kind: str, text: str) -> Any:
    """The policy of a request, refused where it is not one of its kind."""
    try:
        policy = json.loads(text)
    except ValueError as error:
        raise _invalid(str(error)) from None
    if isinstance(policy, dict) != (kind == "encryption"):
        raise _invalid("an encryption policy is an object, the others are arrays of objects")
    for statement in [policy] if kind == "encryption" else policy:
        for rule in statement.get("Rules") or [{}]:
            if rule.get("ResourceType") not in _RULES[kind] or not rule.get("Resource"):
                raise _invalid("$.Rules: each needs a ResourceType of the policy's type, and a Resource")
            if kind == "data" and not rule.get("Permission"):
                raise _invalid("$.Rules.Permission: is missing but it is required")
        if kind == "data" and not statement.get("Principal"):
            raise _invalid("$.Principal: is missing but it is required")
        if kind == "network" and not ("AllowFromPublic" in statement or statement.get("SourceVPCEs")):
            raise _invalid("$.AllowFromPublic: is missing but it is required")
        if kind == "encryption" and not (statement.get("AWSOwnedKey") or statement.get("KmsARN")):
            raise _invalid("$.AWSOwnedKey or $.KmsARN is required")
    return policy


def _invalid(problem: str) -> Refusal:
    return Refusal("ValidationException", f"Policy json is invalid, error: [{problem}]")


def _list_of(policy: Result) -> list[Result]:
    found = policy["policy"]
    return found if isinstance(found, list) else [found]


def _matches(statement: Result, kind: str, resource: str, permission: str = "") -> bool:
    return any(
        rule["ResourceType"] == kind
        and any(fnmatchcase(resource, pattern) for pattern in rule["Resource"])
        and (not permission or {permission, "aoss:*"} & set(rule["Permission"]))
        for rule in statement["Rules"]
    )


def _names(statement: Result, principal: str) -> bool:
    """Whether a statement of a data policy names the principal, or the role that a session is of."""
    if not principal or principal in statement["Principal"]:
        return True
    account, _, session = principal.removeprefix("arn:aws:sts::").partition(":assumed-role/")
    role = session.partition("/")[0]
    start, end = f"arn:aws:iam::{account}:role/", f"/{role}"
    return bool(role) and any(one.startswith(start) and one.endswith(end) for one in statement["Principal"])
