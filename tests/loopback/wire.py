"""Requests to API parameters, and answers to bytes, by botocore's service models.

moto's routers, parsers and serializers do the work for each protocol; here is what they lack.
"""

import json
import random
import re
import string
from collections.abc import Iterator
from functools import cache
from typing import Any
from xml.sax.saxutils import escape

from botocore.validate import ParamValidator
from moto.core.eventstream import EventStream, EventStreamEncoder
from moto.core.model import OperationModel, Shape
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request
from moto.core.routing import NotFound, ServiceOperationRouter
from moto.core.serialize import EventStreamJSONSerializer, get_serializer_class
from moto.core.utils import get_service_model

from tests.loopback.answers import Answer, Params, Raw, Result, ServiceError

# Where requests are signed with another name than the service's; of two with the same path (tags), the first.
_SIGNED = {"bedrock": ("bedrock-runtime", "bedrock-agent", "bedrock-agent-runtime", "bedrock")}
_SIGNED["aoss"] = ("opensearchserverless",)
_SCOPE = re.compile(r"Credential=[^/]+/\d{8}/[^/]+/([^/]+)/aws4_request")


@cache
def router(service: str) -> ServiceOperationRouter:
    """The router of `service`, made once."""
    return ServiceOperationRouter(get_service_model(service))


def asked(request: Request) -> tuple[str, str, Params, OperationModel | None]:
    """Service, operation, its parameters as the caller gave them to boto3, and its model; `ServiceError` if unknown.

    Of an OpenSearch Serverless collection botocore has no model: an operation is an HTTP method there, answers are
    `Raw`. Here a collection is a path, not a host of its own.
    """
    if found := re.fullmatch("/_aoss/(.+?)/(.+)", request.path):
        params = {"collection": found[1], "path": found[2], "body": request.get_data()}
        return "opensearch", request.method, params, None
    scope = _SCOPE.search(request.headers.get("authorization", ""))
    for service in _SIGNED.get(scope[1], (scope[1],)) if scope else ():
        try:
            operation, labels = router(service).match(request)
        except (NotFound, NotImplementedError):  # another path, another protocol
            continue
        sent: Any = {
            "method": request.method,
            "url_path": request.path,
            "url_params": labels,
            "headers": request.headers,
            "body": request.get_data(),
            "values": request.values,
        }
        parsed: Params = PROTOCOL_PARSERS[operation.service_model.protocol](operation).parse(sent)
        return service, operation.name, {name: it for name, it in parsed.items() if it is not None}, operation
    raise ServiceError("UnknownOperationException", 404, f"nobody has {request.method} {request.path}")


def success(operation: OperationModel | None, answer: Answer) -> Raw:
    """The response for `answer`; `ServiceError` where it does not fit the operation's output shape."""
    if isinstance(answer, Raw) or operation is None:
        return answer
    output, stream, service = operation.output_shape, stream_of(operation), operation.service_model
    if output and stream:
        _checked(output, {**answer, stream: {}})
        return Raw(_messages(operation, answer, stream), headers={"content-type": "application/vnd.amazon.eventstream"})
    answer = _checked(output, answer) if output else {}
    sent = get_serializer_class(service.service_name, service.protocol)(operation).serialize(answer)
    return Raw(sent["body"], sent["status_code"], sent["headers"])


def stream_of(operation: OperationModel | None) -> str | None:
    """The output member that holds the event stream, if there is one."""
    return operation.output_shape.event_stream_name if operation and operation.has_event_stream_output else None


def _messages(operation: OperationModel, answer: Result, stream: str) -> Iterator[bytes]:
    shape = operation.output_shape.members[stream]
    events = (_checked(shape, event) for event in answer[stream])
    for message in EventStream({stream: events}, operation.output_shape, EventStreamJSONSerializer(operation)):
        name = str(message.headers.pop(":event-type"))
        kind = "exception" if shape.members[name].metadata.get("exception") else "event"
        # As Bedrock does: padding of random length, which hides the length of the text.
        padding = string.ascii_letters[: random.randrange(1, 50)]
        payload = json.dumps(json.loads(message.payload) | ({"p": padding} if kind == "event" else {}))
        headers = {f":{kind}-type": name, ":content-type": "application/json", ":message-type": kind}
        yield EventStreamEncoder().encode_message(headers, payload.encode())


def _checked(shape: Shape, value: Result) -> Result:
    report = ParamValidator().validate(value, shape)
    if report.has_errors():
        raise ServiceError("LoopbackBadAnswer", 400, f"not a {shape.name}: {report.generate_report()}")
    return value


def failure(operation: OperationModel | None, error: ServiceError) -> Raw:
    """The response for `error` in the form of the operation's protocol."""
    protocol = operation.service_model.protocol if operation else ""
    if protocol in ("query", "rest-xml"):
        text = f"<Error><Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message></Error>"
        text = f"<ErrorResponse>{text}</ErrorResponse>" if protocol == "query" else text
        return Raw(text, error.status, content_type="text/xml")
    # After the colon comes a name space, which botocore cuts off, on the live service too.
    kind = f"{error.code}:http://internal.amazon.com/coral/com.amazon.bedrock/"
    named = {"__type": error.code} if protocol == "json" else {}
    body = json.dumps({"message": error.message, **named}, ensure_ascii=False)
    return Raw(body, error.status, {"x-amzn-errortype": kind})
