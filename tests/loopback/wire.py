"""Requests to API parameters, and answers to bytes, by the shapes of botocore's service models.

moto's parsers and serializers do the work for each protocol; here is what they lack.
"""

import json
import random
import string
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

from botocore.validate import ParamValidator
from moto.core.eventstream import EventStream, EventStreamEncoder
from moto.core.model import OperationModel, Shape, StructureShape
from moto.core.parse import PROTOCOL_PARSERS, JSONParser, RestJSONParser
from moto.core.request import Request
from moto.core.serialize import EventStreamJSONSerializer, get_serializer_class

from tests.loopback.answers import Answer, Dropped, Params, Raw, Result, ServiceError


@dataclass(frozen=True)
class Response:
    """An HTTP response; a body in pieces is an event stream, sent one piece at a time."""

    status: int
    headers: dict[str, str]
    body: bytes | Iterator[bytes]


def _number_as_sent(_parser: object, _shape: Shape, value: Any) -> Any:
    return float(value) if isinstance(value, str) else value  # moto would turn the caller's 0 into 0.0


_numbers = {"_parse_float": _number_as_sent, "_parse_double": _number_as_sent}
_PARSERS = PROTOCOL_PARSERS | {
    "json": type("Json", (JSONParser,), _numbers),
    "rest-json": type("RestJson", (RestJSONParser,), _numbers),
}


def params_of(operation: OperationModel, request: Request, labels: dict[str, str]) -> Params:
    """The parameters as the caller gave them to boto3."""
    asked: Any = {
        "method": request.method,
        "url_path": request.path,
        "url_params": labels,
        "headers": request.headers,
        "body": request.get_data(),
        "values": request.values,
    }
    parsed: Params = _PARSERS[operation.service_model.protocol](operation).parse(asked)
    return {name: value for name, value in parsed.items() if value is not None}


def success(operation: OperationModel, answer: Answer) -> Response:
    """The response for `answer`; `ServiceError` where it does not fit the operation's output shape."""
    if isinstance(answer, Raw):
        return Response(answer.status, answer.headers, answer.body)
    output = operation.output_shape
    stream = stream_of(operation)
    if output is None or stream is None:
        answer = _checked(output, answer) if output else {}
        service = operation.service_model
        sent = get_serializer_class(service.service_name, service.protocol)(operation).serialize(answer)
        text = sent["body"]
        return Response(sent["status_code"], dict(sent["headers"]), text if isinstance(text, bytes) else text.encode())
    _checked(output, {**answer, stream: {}})
    headers = {"content-type": "application/vnd.amazon.eventstream"}
    for name, member in output.members.items():
        if member.serialization.get("location") == "header" and name in answer:
            headers[member.serialization["name"]] = str(answer[name])
    return Response(200, headers, _messages(operation, answer, stream))


def stream_of(operation: OperationModel) -> str | None:
    """The output member that holds the event stream, if there is one."""
    return operation.output_shape.event_stream_name if operation.has_event_stream_output else None


def _messages(operation: OperationModel, answer: Result, stream: str) -> Iterator[bytes]:
    shape = operation.output_shape.members[stream]
    try:
        events = (_checked(shape, event) for event in answer[stream])
        yield from _encoded(operation, {stream: events}, stream)
    except Dropped:
        raise
    except Exception as error:  # a mistake in the script must reach the test that wrote it
        told = {"internalServerException": {"message": f"loopback: {error!r}"}}
        yield from _encoded(operation, {stream: [told]}, stream)


def _encoded(operation: OperationModel, result: Result, stream: str) -> Iterator[bytes]:
    shape = operation.output_shape.members[stream]
    for message in EventStream(result, operation.output_shape, EventStreamJSONSerializer(operation)):
        name = str(message.headers.pop(":event-type"))
        kind = "exception" if shape.members[name].metadata.get("exception") else "event"
        # As Bedrock does: padding of random length, which hides the length of the text.
        padding = string.ascii_letters[: random.randrange(1, 50)]
        payload = json.dumps(json.loads(message.payload) | ({"p": padding} if kind == "event" else {}))
        headers = {f":{kind}-type": name, ":content-type": "application/json", ":message-type": kind}
        yield EventStreamEncoder().encode_message(headers, payload.encode())


def _checked(shape: Shape, value: Result) -> Result:
    value = _json_blobs(shape, value)
    report = ParamValidator().validate(value, shape)
    if report.has_errors():
        raise ServiceError("LoopbackBadAnswer", 400, f"not a {shape.name}: {report.generate_report()}")
    return value


def _json_blobs(shape: Shape, value: Any) -> Any:
    """`value` with JSON in place of a blob turned into its bytes (`InvokeModel` bodies and chunks)."""
    if shape.type_name == "blob" and isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False).encode()
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        return {name: _json_blobs(shape.members.get(name, shape), item) for name, item in value.items()}
    return value


def failure(operation: OperationModel | None, error: ServiceError) -> Response:
    """The response for `error` in the form of the operation's protocol."""
    protocol = operation.service_model.protocol if operation else ""
    if protocol in ("query", "rest-xml"):
        text = f"<Error><Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message></Error>"
        text = f"<ErrorResponse>{text}</ErrorResponse>" if protocol == "query" else text
        return Response(error.status, {"content-type": "text/xml"}, text.encode())
    # After the colon comes a name space, which botocore cuts off, on the live service too.
    kind = f"{error.code}:http://internal.amazon.com/coral/com.amazon.bedrock/"
    named = {"__type": error.code} if protocol == "json" else {}
    body = json.dumps({"message": error.message, **named}, ensure_ascii=False).encode()
    return Response(error.status, {"content-type": "application/json", "x-amzn-errortype": kind}, body)
