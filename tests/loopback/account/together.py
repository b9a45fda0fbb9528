"""The account beside moto's S3, IAM and STS, for this process and for the processes that it starts."""

import contextlib
import io
import os
import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3
from moto.core.request import Request
from moto.moto_api._internal import mock_random
from moto.moto_api._internal.models import moto_api_backend
from moto.moto_server.werkzeug_app import create_backend_app

from helpers.replay.index import open_index
from helpers.settings import ROOT, settings
from tests.loopback.account import Account
from tests.loopback.account.beside import iam, linked, s3
from tests.loopback.answers import Raw, ServiceError
from tests.loopback.faults import On
from tests.loopback.rules import RuleBook
from tests.loopback.service import Service

BOUNDARY = "claude-workshop-boundary"  # which an administrator made
_moto = cache(create_backend_app)  # one for each service
_ONE = threading.Lock()  # moto takes one request at a time


@dataclass(frozen=True)
class Together:
    """Everything while it runs; `service.calls` has the calls of all services, in the order of arrival."""

    account: Account
    service: Service
    key: tuple[str, str]  # access key id and secret of the user `learner`

    def environment(self) -> dict[str, str]:
        """Variables that send every AWS call of a child process here, signed by the user `learner`."""
        return {
            "AWS_ENDPOINT_URL": self.service.url,
            "AWS_ACCESS_KEY_ID": self.key[0],
            "AWS_SECRET_ACCESS_KEY": self.key[1],
            "AWS_REGION": self.account.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "NO_PROXY": "127.0.0.1",
        }

    def client(self, service: str) -> Any:
        """A boto3 client of `service`."""
        session = boto3.Session(*self.key, region_name=self.account.region)
        return session.client(service, endpoint_url=self.service.url)

    def left(self) -> dict[str, list[str]]:
        """All that is still held, by kind; empty when nothing is. No call is made for it."""
        held = {
            "buckets": list(s3().buckets),
            "roles": [role.name for role in iam().get_roles() if role.path == "/"],  # no service-linked one
            "policies": [name for name in _policies().values() if name != BOUNDARY],
        }
        return self.account.left() | {kind: sorted(names) for kind, names in held.items() if names}


@contextlib.contextmanager
def together(account: Account, *faults: On, off: Iterable[int] = (), edition: str = "") -> Iterator[Together]:
    """Empty moto and start the loopback service with it and `account`; what is found is from the letters of `edition`.

    Rules of the service numbered in `off` do not hold. Faults meet calls of all ("iam.CreateRole"). moto keeps its
    state in this process, so there can be one at a time; with the same seed it draws the same ids in every run.
    """
    os.environ["MOTO_ACCOUNT_ID"] = account.account_id  # which moto reads with every request
    moto_api_backend.reset()
    mock_random.seed(1)
    text = (ROOT / "data/policies/boundary.json").read_text(encoding="utf-8")
    iam().create_policy("", "/", text, BOUNDARY, [])
    account.rules = RuleBook(off)
    with Service(account, *faults, rules=account.rules, moto=asked) as service:
        account.caller = iam().create_user("us-east-1", "learner").arn
        key = iam().create_access_key("learner")
        account.endpoint = service.url
        account.retrieve = open_index(settings().letters_dir / edition).retrieve
        yield Together(account, service, (key.access_key_id, key.secret_access_key))
    os.environ.pop("MOTO_ACCOUNT_ID")


def _policies() -> dict[str, str]:
    found = iam().list_policies(None, 1000, False, "/", "Local")[0]
    return {policy.arn: policy.name for policy in found}


def asked(service: str, operation: str, params: dict[str, Any], request: Request) -> Raw:
    """The answer of moto to a request to S3, IAM or STS, corrected where it differs from the service's."""
    _check(operation, params)
    with _ONE:
        again = request.environ | {"wsgi.input": io.BytesIO(request.get_data())}
        answer = Raw.from_app(_moto(service), again, buffered=True)
    if operation == "CreateBucket" and answer.status_code == 200:  # moto gives it no tags
        tags = params.get("CreateBucketConfiguration", {}).get("Tags", [])
        s3().put_bucket_tagging(params["Bucket"], {tag["Key"]: tag["Value"] for tag in tags})
    if operation == "ListBuckets":  # moto leaves the regions out
        answer.data = re.sub(rb"<Bucket><Name>(.*?)</Name>", _with_region, answer.data)
    return answer


def _check(operation: str, params: dict[str, Any]) -> None:
    """What IAM refuses and moto does not."""
    if operation == "CreateServiceLinkedRole" and linked():
        text = "Service role name AWSServiceRoleForAmazonOpenSearchServerless has been taken in this account"
        raise ServiceError("InvalidInput", 400, text)
    boundary = params.get("PermissionsBoundary", "")
    if boundary and boundary not in _policies():
        raise ServiceError("NoSuchEntity", 404, f"Scope ARN: {boundary} does not exist or is not attachable.")


def _with_region(found: re.Match[bytes]) -> bytes:
    region = s3().buckets[found[1].decode()].region_name
    return b"%b<BucketRegion>%b</BucketRegion>" % (found[0], region.encode())
