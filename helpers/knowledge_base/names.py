"""What the workshop's resources are called, and how they are marked as its own."""

import json
import string
from typing import Any

from helpers.settings import ROOT

WORKSHOP = "claude-on-bedrock"
PREFIX = "claude-workshop-"
TITAN, DIMENSIONS = "amazon.titan-embed-text-v2:0", 1024
INDEX = "letters"  # the vector index inside its collection or vector bucket


class Names:
    """Names and marks of one workshop; all of them follow from `id`, 4 to 12 small letters and digits."""

    def __init__(self, id: str):
        self.id = id
        self.common = PREFIX + id  # bucket, collection, policies, knowledge base, data source, vector bucket
        self.role = "AmazonBedrock-" + PREFIX + id  # roles that AWS's own Bedrock policies allow to pass on
        self.tags = {"workshop": WORKSHOP, "workshop-id": id}  # of everything that can carry tags
        self.mark = f"{WORKSHOP} {id}"  # the description of the policies of OpenSearch Serverless, which cannot

    def tag_list(self, key: str = "Key", value: str = "Value") -> list[dict[str, str]]:
        """`tags` as the list that S3 and IAM take; OpenSearch Serverless writes key and value small."""
        return [{key: name, value: text} for name, text in self.tags.items()]


def document(name: str, **values: str) -> Any:
    """The JSON of data/policies/`name`.json with `${...}` filled in from `values`."""
    text = (ROOT / "data" / "policies" / f"{name}.json").read_text(encoding="utf-8")
    return json.loads(string.Template(text).substitute(values))


def arn(service: str, region: str = "") -> str:
    """The beginning of an ARN of the AWS partition, up to the region."""
    return f"arn:aws:{service}:{region}" if region else f"arn:aws:{service}"
