"""A knowledge base of Amazon Bedrock: made once, waited for, found again, and removed without a trace."""

from helpers.knowledge_base.names import DIMENSIONS, INDEX, TITAN, arn, document
from helpers.knowledge_base.waiting import until_some, wait, when_allowed
from helpers.knowledge_base.workshop import Workshop, agree

__all__ = ["DIMENSIONS", "INDEX", "TITAN", "Workshop", "agree", "arn", "document"]
__all__ += ["until_some", "wait", "when_allowed"]
