"""Which operation of which service a request asks for: moto's routers, over botocore's service models."""

import re
from functools import cache

from moto.core.model import OperationModel, ServiceModel
from moto.core.request import Request
from moto.core.routing import NotFound, ServiceOperationRouter
from moto.core.utils import get_service_model

from tests.loopback.answers import ServiceError

# By the name that requests are signed with; where two services have the same path (tags), the first.
SIGNED = {
    "bedrock": ("bedrock-runtime", "bedrock-agent", "bedrock-agent-runtime", "bedrock"),
    "aoss": ("opensearchserverless", "opensearch"),
    **{name: (name,) for name in ("s3vectors", "s3", "iam", "sts")},
}
_SCOPE = re.compile(r"Credential=[^/]+/\d{8}/[^/]+/([^/]+)/aws4_request")


def opensearch() -> ServiceModel:
    """The data plane of an OpenSearch Serverless collection, of which botocore has no model.

    An operation is an HTTP method; answers are `Raw`. Here a collection is a path, not a host of its own.
    """
    labels = {name: {"shape": "Text", "location": "uri", "locationName": name} for name in ("collection", "path")}
    members = {**labels, "body": {"shape": "Body"}}
    form = {"input": {"shape": "Request"}, "http": {"requestUri": "/_aoss/{collection}/{path+}"}}
    return ServiceModel(
        {
            "metadata": {"protocol": "rest-json", "signingName": "aoss", "endpointPrefix": "aoss"},
            "operations": {
                name: {"name": name, **form, "http": {**form["http"], "method": name}} for name in ("HEAD", "PUT")
            },
            "shapes": {
                "Request": {"type": "structure", "members": members, "payload": "body"},
                "Text": {"type": "string"},
                "Body": {"type": "blob"},
            },
        },
        "opensearch",
    )


@cache
def router(service: str) -> ServiceOperationRouter:
    """The router of `service`, made once."""
    return ServiceOperationRouter(opensearch() if service == "opensearch" else get_service_model(service))


def find(request: Request) -> tuple[str, OperationModel, dict[str, str]]:
    """Service, operation, and the labels of the path; `ServiceError` for a request that none of them knows."""
    if not (scope := _SCOPE.search(request.headers.get("authorization", ""))):
        raise ServiceError("MissingAuthenticationTokenException", 403, "Missing Authentication Token")
    for service in SIGNED.get(scope[1], ()):
        try:
            return service, *router(service).match(request)
        except (NotFound, NotImplementedError):  # another path, another protocol
            continue
    raise ServiceError("UnknownOperationException", 404, f"{scope[1]} has no {request.method} {request.raw_path}")
