"""A knowledge base of Amazon Bedrock: made once, waited for, found again, and removed without a trace."""

from helpers.knowledge_base.build import Build
from helpers.knowledge_base.clean import CleanUp, inventory, own_id, proof, table
from helpers.knowledge_base.ingestion import finish, job_for_these, not_uploaded
from helpers.knowledge_base.listing import Thing
from helpers.knowledge_base.names import DIMENSIONS, EMBEDDING_MODEL, INDEX, Names, arn, document
from helpers.knowledge_base.waiting import wait, when_allowed

__all__ = [
    "DIMENSIONS",
    "EMBEDDING_MODEL",
    "INDEX",
    "Build",
    "CleanUp",
    "Names",
    "Thing",
    "arn",
    "document",
    "finish",
    "inventory",
    "job_for_these",
    "not_uploaded",
    "own_id",
    "proof",
    "table",
    "wait",
    "when_allowed",
]
