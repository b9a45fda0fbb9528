"""moto's S3, IAM and STS over HTTP, whose calls are taken down and meet faults like the loopback service's own."""

import io
import logging
import os
import re
import socket
import threading
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Self
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from moto.core.model import OperationModel
from moto.core.utils import get_service_model
from moto.iam.models import iam_backends
from moto.moto_api._internal import mock_random
from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3.models import s3_backends
from werkzeug.serving import make_server

from helpers.settings import ROOT
from tests.loopback import wire
from tests.loopback.answers import Dropped, Raw, ServiceError
from tests.loopback.routes import signed_for
from tests.loopback.service import Service

SERVICES = "s3", "iam", "sts"
BOUNDARY = "claude-workshop-boundary"  # which an administrator made
OTHERS = "999988887777"  # the account of somebody else


class Moto:
    """Serves moto, emptied, at `url` while open; each call passes `service` first."""

    def __init__(self, service: Service, account_id: str):
        """Takes a free port; its resources belong to `account_id`."""
        self._service, self._account = service, account_id
        self._app = DomainDispatcherApplication(create_backend_app)
        self._log = logging.getLogger("werkzeug")
        self._level = self._log.level
        self._log.setLevel(logging.WARNING)  # no line for each request
        self._server = make_server("127.0.0.1", 0, self._serve, True, request_handler=MotoRequestHandler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="moto")
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        """Start to serve; with the same seed moto draws the same ids and keys in every run."""
        os.environ["MOTO_ACCOUNT_ID"] = self._account  # which moto reads with every request
        moto_api_backend.reset()
        mock_random.seed(1)
        text = (ROOT / "data/policies/boundary.json").read_text(encoding="utf-8")
        iam_backends[self._account]["aws"].create_policy("", "/", text, BOUNDARY, [])
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the server and its threads."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        os.environ.pop("MOTO_ACCOUNT_ID")
        self._log.setLevel(self._level)

    def take_bucket(self, name: str, region: str) -> None:
        """Give this bucket name to another account, so that CreateBucket answers BucketAlreadyExists."""
        s3_backends[OTHERS]["aws"].create_bucket(name, region)

    def new_user(self, name: str) -> tuple[str, str, str]:
        """ARN, access key id and secret of a new user."""
        iam = iam_backends[self._account]["aws"]
        arn, key = iam.create_user("us-east-1", name).arn, iam.create_access_key(name)
        return arn, key.access_key_id, key.secret_access_key

    def objects(self, bucket: str) -> dict[str, tuple[str, int]]:
        """ETag and size of each object by key; `LookupError` without the bucket."""
        s3 = s3_backends[self._account]["aws"]
        if bucket not in s3.buckets:
            raise LookupError(bucket)
        keys = s3.list_objects(s3.buckets[bucket], None, None, None, None)[0]
        return {key.name: (key.etag, key.size) for key in sorted(keys, key=lambda key: str(key.name))}

    def trust(self, role: str) -> str:
        """The trust policy of the role with this ARN, empty without it."""
        roles = iam_backends[self._account]["aws"].get_roles()
        return next((str(one.assume_role_policy_document) for one in roles if one.arn == role), "")

    def linked(self) -> bool:
        """Whether the service-linked role of OpenSearch Serverless is there."""
        roles = iam_backends[self._account]["aws"].get_roles()
        return any("observability.aoss.amazonaws.com" in role.path for role in roles)

    def _policies(self) -> dict[str, str]:
        found = iam_backends[self._account]["aws"].list_policies(None, 1000, False, "/", "Local")[0]
        return {policy.arn: policy.name for policy in found}

    def _check(self, operation: str, params: dict[str, Any]) -> None:
        """What IAM refuses and moto does not."""
        if operation == "CreateServiceLinkedRole" and self.linked():
            text = "Service role name AWSServiceRoleForAmazonOpenSearchServerless has been taken in this account"
            raise ServiceError("InvalidInput", 400, text)
        boundary = params.get("PermissionsBoundary", "")
        if boundary and boundary not in self._policies():
            raise ServiceError("NoSuchEntity", 404, f"Scope ARN: {boundary} does not exist or is not attachable.")

    def left(self) -> dict[str, list[str]]:
        """Buckets, roles and managed policies by name."""
        s3, iam = s3_backends[self._account]["aws"], iam_backends[self._account]["aws"]
        held = {
            "buckets": list(s3.buckets),
            "roles": [role.name for role in iam.get_roles() if role.path == "/"],  # no service-linked one
            "policies": [name for name in self._policies().values() if name != BOUNDARY],
        }
        return {kind: sorted(names) for kind, names in held.items() if names}

    def _serve(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        sent: list[Any] = []

        def proceed() -> Raw:
            self._check(str(operation.name), params)
            text = b"".join(self._app(environ, lambda *head: sent.append(head)))
            if str(operation.name) == "CreateBucket" and sent[-1][0].startswith("200"):
                self._tag(environ["PATH_INFO"].strip("/"), body)
            return Raw(re.sub(rb"<Bucket><Name>(.*?)</Name>", self._with_region, text))

        service = signed_for(environ.get("HTTP_AUTHORIZATION", ""))
        if service == "s3":
            operation, params = _s3_operation(environ), {}
        else:
            params = dict(parse_qsl(body.decode()))
            operation = get_service_model(service).operation_model(params.get("Action", ""))
        call, proceed_ = self._service.begin(service, str(operation.name), params, None, proceed)
        try:
            answer = proceed_()
            assert isinstance(answer, Raw)
            self._service.end(call, "answered")
            status, headers = sent[-1]
            start(status, [(name, text) for name, text in headers if name.lower() != "content-length"])
            return [answer.body]
        except ServiceError as error:
            self._service.end(call, error.code)
            status, headers, text = _failure(operation, error)
            start(f"{status} Refused", list(headers.items()))
            return [text]
        except Dropped:
            self._service.end(call, "dropped")
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionResetError from None  # which werkzeug takes for a client that has left

    def _tag(self, bucket: str, body: bytes) -> None:
        """Give the tags in the body of CreateBucket to the bucket, which moto does not do."""
        found = re.findall(rb"<Tag><Key>(.*?)</Key><Value>(.*?)</Value></Tag>", body)
        s3 = s3_backends[self._account]["aws"]
        if found:
            s3.put_bucket_tagging(bucket, {key.decode(): text.decode() for key, text in found})

    def _with_region(self, found: re.Match[bytes]) -> bytes:
        """A bucket in the answer of ListBuckets, with its region, which moto leaves out."""
        region = s3_backends[self._account]["aws"].buckets[found[1].decode()].region_name
        return b"%b<BucketRegion>%b</BucketRegion>" % (found[0], region.encode())


def _failure(operation: OperationModel, error: ServiceError) -> tuple[int, dict[str, str], bytes]:
    if operation.service_model.service_name != "s3":
        response = wire.failure(operation, error)
        assert isinstance(response.body, bytes)
        return response.status, response.headers, response.body
    text = f"<Error><Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message></Error>"
    return error.status, {"content-type": "application/xml"}, text.encode()


def _s3_operation(environ: dict[str, Any]) -> OperationModel:
    """The operation of this method and depth of path that needs the most of what the request has."""
    given = {name for name, _ in parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)}
    given |= {name[5:].replace("_", "-").lower() for name in environ if name.startswith("HTTP_")}
    depth = len([part for part in environ["PATH_INFO"].split("/", 2) if part])
    fits = [
        (len(needs), operation)
        for method, path_depth, needs, operation in _s3_operations()
        if (method, path_depth) == (environ["REQUEST_METHOD"], depth) and needs <= given
    ]
    return max(fits, key=lambda fit: fit[0])[1]


@lru_cache(maxsize=1)
def _s3_operations() -> list[tuple[str, int, set[str], OperationModel]]:
    """Of each operation the method, the depth of its path, and the query flags and headers that it needs."""
    model = get_service_model("s3")
    found = []
    for name in model.operation_names:
        operation = model.operation_model(name)
        http, shape = operation.http_trait, operation.input_shape
        members = [shape.members[member].serialization for member in shape.required_members] if shape else []
        needs = {one["name"] for one in members if one.get("location") in ("querystring", "header")}
        found.append((http.method, http.path.count("{"), needs | set(http.query_args), operation))
    return found
