"""What the workshop's resources are called, and how they are marked as its own."""

import json
import string
from dataclasses import dataclass
from typing import Any

from helpers.settings import ROOT

WORKSHOP = "claude-on-bedrock"
PREFIX = "claude-workshop-"
ROLE_PREFIX = "AmazonBedrock-" + PREFIX  # roles that AWS's own Bedrock policies allow to pass on
POLICIES = ROOT / "data" / "policies"
EMBEDDING_MODEL = "amazon.titan-embed-text-v2:0"
DIMENSIONS = 1024
INDEX = "letters"  # the vector index inside its collection or vector bucket


@dataclass(frozen=True)
class Names:
    """Names and marks of one workshop; `id` is 4 to 12 small letters and digits."""

    id: str

    @property
    def tags(self) -> dict[str, str]:
        """The tags of everything that can carry tags."""
        return {"workshop": WORKSHOP, "workshop-id": self.id}

    @property
    def mark(self) -> str:
        """The description of what cannot carry tags: the policies of OpenSearch Serverless."""
        return f"{WORKSHOP} {self.id}"

    @property
    def common(self) -> str:
        """The name of bucket, collection, policies, knowledge base, data source and vector bucket."""
        return PREFIX + self.id

    @property
    def role(self) -> str:
        """The name of the role that Bedrock takes on."""
        return ROLE_PREFIX + self.id

    def tag_list(self, key: str = "Key", value: str = "Value") -> list[dict[str, str]]:
        """`tags` as the list that S3 and IAM take; OpenSearch Serverless writes key and value small."""
        return [{key: name, value: text} for name, text in self.tags.items()]


def document(name: str, **values: str) -> Any:
    """The JSON of data/policies/`name`.json with `${...}` filled in from `values`."""
    text = (POLICIES / f"{name}.json").read_text(encoding="utf-8")
    return json.loads(string.Template(text).substitute(values))


def arn(service: str, region: str = "") -> str:
    """The beginning of an ARN of the AWS partition, up to the region."""
    return f"arn:aws:{service}:{region}" if region else f"arn:aws:{service}"
