"""The account beside moto's S3, IAM and STS, for this process and for the processes that it starts."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import boto3

from helpers.replay.index import open_index
from helpers.settings import settings
from tests.loopback.account.account import Account
from tests.loopback.account.moto import SERVICES, Moto
from tests.loopback.answers import Params, Result, Source, first_of
from tests.loopback.faults import On
from tests.loopback.service import Service


@dataclass(frozen=True)
class Together:
    """Everything while it runs; `service.calls` has the calls of both servers, in the order of arrival."""

    account: Account
    service: Service
    moto: Moto
    key: tuple[str, str]  # access key id and secret of the user `learner`

    def environment(self) -> dict[str, str]:
        """Variables that send every AWS call of a child process here, signed by the user `learner`."""
        return {
            "AWS_ENDPOINT_URL": self.service.url,
            **{f"AWS_ENDPOINT_URL_{name.upper()}": self.moto.url for name in SERVICES},
            "AWS_ACCESS_KEY_ID": self.key[0],
            "AWS_SECRET_ACCESS_KEY": self.key[1],
            "AWS_REGION": self.account.region,
            "AWS_DEFAULT_REGION": self.account.region,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "NO_PROXY": "127.0.0.1",
        }

    def client(self, service: str, **more: Any) -> Any:
        """A boto3 client of `service`; `more` goes to `Session.client`."""
        url = self.moto.url if service in SERVICES else self.service.url
        return _session(*self.key, self.account.region).client(service, endpoint_url=url, **more)

    def take_bucket(self, name: str) -> None:
        """Give this bucket name to another account, so that CreateBucket answers BucketAlreadyExists."""
        self.moto.take_bucket(name, self.account.region)

    def left(self) -> dict[str, list[str]]:
        """All that is still held, in moto too, by kind; empty when nothing is. No call is made for it."""
        return self.account.left() | self.moto.left()


def _from_the_letters(params: Params) -> Result:
    return open_index(settings().letters_dir).retrieve(params)


@lru_cache
def _session(key: str, secret: str, region: str) -> boto3.Session:
    return boto3.Session(key, secret, region_name=region)  # kept: it reads each service model once


@contextlib.contextmanager
def together(
    account: Account, *faults: On, others: Source | None = None, seed: int = 0
) -> Iterator[Together]:
    """Start moto's server, emptied, and the loopback service with `account`; `others` answers what it does not.

    Faults meet calls of both ("iam.CreateRole"). Sets `endpoint`, `caller`, `objects` and `trust` of the account,
    and has Retrieve answered from the offline index over the letters, unless the account has its own `retrieve`.
    moto keeps its state in this process, so there can be one at a time.
    """
    answers = first_of(account, others) if others else account
    with Service(answers, *faults, seed=seed) as service, Moto(service, account.account_id) as moto:
        account.caller, *key = moto.new_user("learner")
        account.endpoint, account.objects, account.trust = service.url, moto.objects, moto.trust
        account.retrieve = account.retrieve or _from_the_letters
        yield Together(account, service, moto, (key[0], key[1]))
