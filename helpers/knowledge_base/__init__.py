"""A knowledge base of Amazon Bedrock: made once, waited for, found again, and removed without a trace."""

from helpers.knowledge_base.names import DIMENSIONS, EMBEDDING_MODEL, INDEX, arn, document
from helpers.knowledge_base.waiting import until_some, wait, when_allowed
from helpers.knowledge_base.workshop import Workshop, agree

__all__ = [
    "DIMENSIONS",
    "EMBEDDING_MODEL",
    "INDEX",
    "Workshop",
    "agree",
    "arn",
    "document",
    "until_some",
    "wait",
    "when_allowed",
]
