"""A service on 127.0.0.1 that speaks Amazon Bedrock's wire format and misbehaves like it.

    answers = Script({"bedrock-runtime.Converse": Reply("Hello.")})
    with Service(answers, On(refused("too many tokens"), calls={1})) as service:
        client = boto3.client("bedrock-runtime", endpoint_url=service.url)

`answers` is any callable `(service, operation, params) -> answer` (see `answers.Source`), so a file of
recordings or an object that keeps state takes the place of a script.
"""

from tests.loopback.answers import ServiceError
from tests.loopback.faults import On
from tests.loopback.replies import Reply, Script
from tests.loopback.service import Service

__all__ = ["On", "Reply", "Script", "Service", "ServiceError"]
