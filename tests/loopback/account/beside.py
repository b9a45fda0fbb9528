"""What moto holds beside the account, in this process: S3 and IAM."""

from typing import Any

from moto.iam.models import iam_backends
from moto.s3.models import s3_backends

ACCOUNT = "111122223333"  # of those who call


def s3() -> Any:
    """S3 of this account."""
    return s3_backends[ACCOUNT]["aws"]


def iam() -> Any:
    """IAM of this account."""
    return iam_backends[ACCOUNT]["aws"]


def objects(bucket: str) -> dict[str, int]:
    """The size of each object of a bucket by key."""
    keys = s3().list_objects(s3().buckets[bucket], None, None, None, None)[0] if bucket in s3().buckets else ()
    return {key.name: key.size for key in sorted(keys, key=lambda key: str(key.name))}


def trust(role: str) -> str:
    """The trust policy of the role with this ARN, empty without it."""
    return next((str(one.assume_role_policy_document) for one in iam().get_roles() if one.arn == role), "")


def linked() -> bool:
    """Whether the service-linked role of OpenSearch Serverless is there."""
    return any("observability.aoss.amazonaws.com" in role.path for role in iam().get_roles())
