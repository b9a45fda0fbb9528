"""The account beside moto's S3, IAM and STS, for this process and for the processes that it starts."""

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import boto3
from moto.moto_api._internal import mock_random
from moto.moto_api._internal.models import moto_api_backend
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

from tests.loopback.account.account import Account
from tests.loopback.answers import Source, first_of
from tests.loopback.faults import On
from tests.loopback.service import Service

_OF_MOTO = "s3", "iam", "sts"
OTHERS = "999988887777"  # the account of somebody else


@dataclass(frozen=True)
class Together:
    """The services while they run; `account.left()` tells what is left in the loopback part."""

    account: Account
    service: Service
    moto_url: str
    key: dict[str, str]  # AccessKeyId and SecretAccessKey of the user `learner`

    def environment(self) -> dict[str, str]:
        """Variables that send every AWS call of a child process here, signed by the user `learner`."""
        moto = {f"AWS_ENDPOINT_URL_{name.upper()}": self.moto_url for name in _OF_MOTO}
        return {
            "AWS_ENDPOINT_URL": self.service.url,
            **moto,
            "AWS_ACCESS_KEY_ID": self.key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": self.key["SecretAccessKey"],
            "AWS_REGION": self.account.region,
            "AWS_DEFAULT_REGION": self.account.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "NO_PROXY": "127.0.0.1",
        }

    def client(self, service: str, **more: Any) -> Any:
        """A boto3 client of `service`; `more` goes to `Session.client`."""
        url = self.moto_url if service in _OF_MOTO else self.service.url
        return _session(self.account.region, self.key).client(service, endpoint_url=url, **more)

    def take_bucket(self, name: str) -> None:
        """Give this bucket name to another account, so that CreateBucket says BucketAlreadyExists."""
        s3_backends[OTHERS]["aws"].create_bucket(name, self.account.region)

    def left(self) -> dict[str, list[str]]:
        """All that is still held, buckets, roles and policies too; empty when nothing is."""
        s3, iam = self.client("s3"), self.client("iam")
        held = self.account.left() | {
            "buckets": sorted(bucket["Name"] for bucket in s3.list_buckets()["Buckets"]),
            "roles": sorted(role["RoleName"] for role in iam.list_roles()["Roles"]),
            "policies": sorted(found["PolicyName"] for found in iam.list_policies(Scope="Local")["Policies"]),
        }
        return {kind: names for kind, names in held.items() if names}


@contextlib.contextmanager
def together(
    account: Account, *faults: On, others: Source | None = None, seed: int = 0
) -> Iterator[Together]:
    """Start moto's server, emptied, and the loopback service with `account`; `others` answers what it does not.

    Sets `endpoint`, `s3`, `iam` and `caller` of the account. While it is open MOTO_ACCOUNT_ID is set: moto reads
    it with every request, so its resources belong to `account.account_id`. There can be one at a time.
    """
    with (
        mock.patch.dict(os.environ, {"MOTO_ACCOUNT_ID": account.account_id}),
        contextlib.ExitStack() as stack,
    ):
        server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        log = logging.getLogger("werkzeug")
        stack.callback(log.setLevel, log.level)
        log.setLevel(logging.WARNING)  # no line for each request
        server.start()
        stack.callback(server.stop)
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        moto_api_backend.reset()
        mock_random.seed(1)  # the same keys in every run
        anybody = {"AccessKeyId": "setup", "SecretAccessKey": "setup"}
        iam = _session(account.region, anybody).client("iam", endpoint_url=url)
        account.caller = iam.create_user(UserName="learner")["User"]["Arn"]
        key = iam.create_access_key(UserName="learner")["AccessKey"]
        service = stack.enter_context(
            Service(first_of(account, others) if others else account, *faults, seed=seed)
        )
        found = Together(account, service, url, key)
        account.endpoint, account.s3, account.iam = service.url, found.client("s3"), found.client("iam")
        yield found


def _session(region: str, key: dict[str, str]) -> boto3.Session:
    return boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name=region)
