"""Which operation of which service a request asks for, by botocore's service models."""

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

from moto.core.model import OperationModel, ServiceModel
from moto.core.utils import get_service_model

from tests.loopback.answers import ServiceError

# All bedrock-* services sign as "bedrock": the path decides, and where two agree (tags), the first.
SERVICES = (
    "bedrock-runtime",
    "bedrock-agent",
    "bedrock-agent-runtime",
    "bedrock",
    "sts",
    "opensearchserverless",
    "s3vectors",
)
METHODS = "GET", "HEAD", "PUT", "POST", "DELETE"
_SCOPE = re.compile(r"Credential=[^/]+/\d{8}/[^/]+/([^/]+)/aws4_request")
_LABEL = re.compile(r"\\\{(\w+)(\\\+)?\\\}")


@dataclass(frozen=True)
class Route:
    """One operation and how its requests look."""

    service: str
    signing_name: str
    operation: OperationModel
    method: str
    path: re.Pattern[str]
    marker: str  # X-Amz-Target of the json protocol, Action of the query protocol, empty for REST


def opensearch() -> ServiceModel:
    """The data plane of an OpenSearch Serverless collection, of which botocore has no model.

    An operation is an HTTP method; answers are `Raw`. Here a collection is a path, not a host of its own.
    """
    http = "/_aoss/{collection}/{path+}"
    labels = {name: {"shape": "Text", "location": "uri", "locationName": name} for name in ("collection", "path")}
    query = {"shape": "Text", "location": "querystring", "locationName": "ignore_unavailable"}
    members = {**labels, "ignore_unavailable": query, "body": {"shape": "Body"}}
    return ServiceModel(
        {
            "metadata": {"protocol": "rest-json", "signingName": "aoss", "endpointPrefix": "aoss"},
            "operations": {
                method: {"name": method, "http": {"method": method, "requestUri": http}, "input": {"shape": "Request"}}
                for method in METHODS
            },
            "shapes": {
                "Request": {"type": "structure", "members": members, "payload": "body"},
                "Text": {"type": "string"},
                "Body": {"type": "blob"},
            },
        },
        "opensearch",
    )


@lru_cache(maxsize=1)
def all_routes() -> tuple[Route, ...]:
    """A route for every operation of `SERVICES`."""
    routes = []
    for model in [*map(get_service_model, SERVICES), opensearch()]:
        for name in model.operation_names:
            operation = model.operation_model(name)
            marker = {"json": f"{model.metadata.get('targetPrefix')}.{name}", "query": name}.get(model.protocol, "")
            path = _LABEL.sub(_group, re.escape(operation.http_trait.path))
            method = operation.http_trait.method
            routes.append(
                Route(str(model.service_name), model.signing_name, operation, method, re.compile(path), marker)
            )
    return tuple(routes)


def _group(label: re.Match[str]) -> str:
    return f"(?P<{label[1]}>{'.+' if label[2] else '[^/]+'})"


def signed_for(authorization: str) -> str:
    """The service that a request is signed for."""
    scope = _SCOPE.search(authorization)
    if not scope:
        raise ServiceError("MissingAuthenticationTokenException", 403, "Missing Authentication Token")
    return scope[1]


def find(method: str, path: str, signing_name: str, marker: str) -> tuple[Route, dict[str, str]]:
    """The route of a request and the labels of its path; `ServiceError` for an unknown one."""
    for route in all_routes():
        if (route.signing_name, route.method, route.marker) == (signing_name, method, marker):
            match = route.path.fullmatch(path)
            if match:
                return route, {name: unquote(value) for name, value in match.groupdict().items()}
    raise ServiceError("UnknownOperationException", 404, f"{signing_name} has no {method} {path} {marker}".rstrip())
