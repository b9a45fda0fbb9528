"""The rule book: how the live service behaves, each rule with its source; the stand-in obeys all of them.

Adding a rule is one entry of `RULES`. A rule refuses a request, or changes an answer; `without` is what the stand-in
does when the rule is switched off, where that is more than nothing. A rule with neither is about what the account
holds: the parts of tests/loopback/account ask the rule book whether it holds, and act on it. `sure` is False where
public sources disagree or none is first-hand: then the lessons must work either way. All were checked in November 2026.
"""

import json
import re
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from typing import Any

from tests.loopback.answers import Answer, Params, Raw, ServiceError
from tests.loopback.replies import changed

THINKING = {"low": 100, "medium": 800, "high": 2500}  # tokens: the order is the service's, the size the stand-in's
DEFAULT_EFFORT = {"claude-sonnet-5-5": "high", "claude-opus-5-5": "medium"}
CACHE_MINIMUM = {"claude-sonnet-5-5": 512, "claude-sonnet-5": 1024, "claude-haiku-4-5": 4096}
_PICTURE = 1500  # tokens of a picture, roughly
_PAGE = "x-amz-bedrock-kb-document-page-number"
_PROFILES = {"claude-sonnet-5-5": ("us", "eu", "global")}
_NUMBERS = r'"(in|notIn)": {[^{}]*"value": \[[-\d]'  # in a filter
_TALKS = "bedrock-runtime.Converse*|bedrock-runtime.InvokeModel*"


@dataclass(frozen=True)
class Rule:
    """One behaviour of the service: the calls it is about, what it says, and how the stand-in does it."""

    number: int
    calls: str  # patterns of "service.Operation", with | between them
    says: str
    source: str
    refuses: Callable[[Params], Any] | None = None  # true: the request is answered with `error`
    error: str = ""
    code: tuple[str, int] = ("ValidationException", 400)  # of the error, and its HTTP status
    changes: Callable[[str, Params, Answer], Answer] | None = None  # operation, parameters, answer
    without: Callable[[str, Params, Answer], Answer] | None = None
    sure: bool = True

    def is_about(self, call: str) -> bool:
        """Whether `call` ("service.Operation") is meant."""
        return any(fnmatch(call, pattern) for pattern in self.calls.split("|"))


class RuleBook:
    """The rules that hold in one stand-in, and which of them was met."""

    def __init__(self, off: Iterable[int] = ()):
        """All rules but those numbered in `off`."""
        self._off, self.met = frozenset(off), set[int]()

    def meets(self, number: int) -> bool:
        """Whether rule `number` is switched on; it is met then. For sources that keep state and act on it."""
        self.met |= {number} - self._off
        return number not in self._off

    def apply(self, service: str, operation: str, params: Params, proceed: Callable[[], Answer]) -> Answer:
        """The answer to a call under the rules; `ServiceError` where one refuses it."""
        about = _about(f"{service}.{operation}")
        for rule in about:
            if rule.refuses and rule.number not in self._off and rule.refuses(params):
                self.met.add(rule.number)
                raise ServiceError(*rule.code, rule.error)
        answer = proceed()
        for rule in about:
            change = rule.changes if rule.number not in self._off else rule.without
            if change and not isinstance(answer, Raw):
                self.met.add(rule.number)
                answer = change(operation, params, answer)
        return answer


@cache
def _about(call: str) -> list[Rule]:
    return [rule for rule in RULES if rule.is_about(call)]


def _alias(params: Params) -> str:
    return re.sub(r"(-\d{8})?(-v\d+(:\d+)?)?$", "", str(params.get("modelId", "")).rpartition("anthropic.")[2])


def _body(params: Params) -> dict[str, Any]:
    """The Messages body of InvokeModel; {} for Converse."""
    return json.loads(params["body"]) if "body" in params else {}


def _newest(params: Params) -> bool:
    return bool(re.match(r"claude-\w+-5(-|$)|claude-opus-4-[78]$", _alias(params)))


def _thinks(params: Params) -> bool:
    return bool(re.match(r"claude-\w+-5(-|$)", _alias(params)))


def _asks_for_schema(params: Params) -> bool:
    formats = params.get("outputConfig", {}).get("textFormat") or _body(params).get("output_config", {}).get("format")
    return _newest(params) and bool(formats)


def _forces_a_tool(params: Params) -> bool:
    choice = {*params.get("toolConfig", {}).get("toolChoice", {}), _body(params).get("tool_choice", {}).get("type")}
    return bool(re.match("claude-(opus|sonnet)-5-5", _alias(params))) and bool(choice & {"any", "tool"})


def _thinking(operation: str, params: Params, answer: Answer) -> Answer:
    if not _thinks(params):
        return answer
    body = _body(params)
    effort = (params.get("outputConfig") or body.get("output_config") or {}).get("effort")
    tokens = THINKING[effort or DEFAULT_EFFORT.get(_alias(params), "high")]
    limit = body.get("max_tokens") or params.get("inferenceConfig", {}).get("maxTokens", 4096)
    keep = 0 if limit <= tokens else None  # it ends inside the thinking
    return changed(operation, answer, thinking="Let me think about this. " * (tokens // 50), keep=keep)


def _is_blank(params: Params) -> bool:
    turns = [*params.get("messages", []), *_body(params).get("messages", [])]
    blocks = [block for turn in turns if not isinstance(turn["content"], str) for block in turn["content"]]
    return any("text" in block and not block["text"].strip() for block in blocks)


def _sets_sampling(params: Params) -> bool:
    names = {*params.get("inferenceConfig", {}), *_body(params)}
    return _newest(params) and bool(names & {"temperature", "topP", "top_p", "top_k"})


def _pages(step: int) -> Callable[[str, Params, Answer], Answer]:
    def change(operation: str, params: Params, answer: Answer) -> Answer:
        results = deepcopy(answer["retrievalResults"])
        for about in (result.get("metadata", {}) for result in results):
            about |= {_PAGE: float(about[_PAGE] + step)} if _PAGE in about else {}
        return {**answer, "retrievalResults": results}

    return change


def _is_not_offered(params: Params) -> bool:
    where = str(params.get("modelId", "")).partition(".")[0]
    return where not in ("anthropic", *_PROFILES.get(_alias(params), (where,)))


def _cached(operation: str, params: Params, answer: Answer) -> Answer:
    blocks = params["messages"][0]["content"] if params.get("messages") else []
    places = [number for number, block in enumerate(blocks) if "cachePoint" in block]
    if not places or "usage" not in answer:
        return answer
    before = blocks[: places[-1]]
    tokens = sum(len(block.get("text", "")) // 4 + _PICTURE * ("image" in block) for block in before)
    if tokens >= CACHE_MINIMUM.get(_alias(params), 0):
        return answer
    usage = {name: 0 if name.startswith("cache") else count for name, count in answer["usage"].items()}
    return {**answer, "usage": usage}


# What CreateKnowledgeBase says while role, policies or index are too new to be seen.
INVALID = "The knowledge base storage configuration provided is invalid... "
TOO_NEW = (
    "Bedrock Knowledge Base was unable to assume the given role. Provide the proper permissions and retry the request.",
    "cannot assume role",
    INVALID + "Request failed: [security_exception] 403 Forbidden",
    INVALID + "server returned 401",
    INVALID + "Dependency error document status code: 404, error message: no such index [letters]",
    "The specified index could not be found",
)


_PREFIX = "The model returned the following errors: "
RULES = (
    Rule(
        1, _TALKS, "structured output is refused by Claude 5.x and Opus 4.7, 4.8",
        "anthropics/anthropic-sdk-python#1759, presenton/presenton#939, anomalyco/models.dev#1765",
        refuses=_asks_for_schema,
        error=_PREFIX + "output_config.format: Extra inputs are not permitted",
    ),
    Rule(
        2, _TALKS, "a forced tool choice is refused by Opus 5.5 and Sonnet 5.5",
        "Anthropic's migration guide to Sonnet 5.5",
        refuses=_forces_a_tool,
        error=_PREFIX + "tool_choice: forced tool use is not supported by this model",
    ),
    Rule(
        3, _TALKS, "Claude 5.x thinks first; thinking counts against max tokens and may leave no text",
        "Anthropic's model pages; botocore OutputConfig.effort",
        changes=_thinking,
    ),
    Rule(
        4, _TALKS, "a turn whose text is blank is refused",
        "public issue threads",
        refuses=_is_blank,
        error="The text field in the ContentBlock object at messages.1.content.0 is "
              "blank. Add text to the text field, and try again.",
    ),
    Rule(
        5, _TALKS, "temperature, top_p and top_k are refused by Opus 4.7 and later and by 5.x",
        "Anthropic's migration guides",
        refuses=_sets_sampling,
        error=_PREFIX + "`temperature` is not supported by this model",
    ),
    Rule(
        6, "bedrock-agent-runtime.Retrieve", "pages count from 0 and are floats",
        "aws-samples/bedrock-chat#811, aws-samples/generative-ai-use-cases#707",
        changes=_pages(0), without=_pages(1),
    ),
    Rule(
        7, "bedrock-agent-runtime.Retrieve", "HYBRID search is refused on S3 Vectors",
        "three public logs",
        error="HYBRID search type is not supported for search operation on index {index}",
    ),
    Rule(
        8, "bedrock-agent-runtime.Retrieve", "after an ingestion job is COMPLETE the first answers may be empty",
        "user guide, page kb-data-source-sync-ingest; aws/agent-toolkit-for-aws",
    ),
    Rule(
        9, "bedrock-agent.GetIngestionJob", "files that are ignored stand in failureReasons, not among the failed",
        "a public live log",
    ),
    Rule(
        10, "bedrock-agent.CreateKnowledgeBase", "while role, policies or index are too new it says one of TOO_NEW",
        "hashicorp/terraform-provider-aws internal/service/bedrockagent/knowledge_base.go; public logs",
    ),
    Rule(
        11, "opensearchserverless.CreateCollection", "the first collection of an account needs a service-linked role",
        "developer guide of OpenSearch Serverless, page Configuring permissions for collections",
        code=("AccessDeniedException", 403),
        error="User: {user} is not authorized to perform: iam:CreateServiceLinkedRole "
              "on resource: {role} because no identity-based policy allows the iam:CreateServiceLinkedRole action",
    ),
    Rule(
        13, "bedrock.CreateModelInvocationJob", "batch inference is not offered for Claude 5.x",
        "the models' cards; a public log of Sonnet 5",
        refuses=_thinks,
        error="Batch inference is not supported for the requested model",
    ),
    Rule(
        19, "bedrock.CreateModelInvocationJob", "the role of a batch job is an ARN",
        "API reference of CreateModelInvocationJob",
        refuses=lambda params: not re.fullmatch(r"arn:aws[\w-]*:iam::\d{12}:role/.+", params["roleArn"]),
        error="Value at 'roleArn' failed to satisfy constraint: pattern of an ARN",
    ),
    Rule(
        14, _TALKS, "Sonnet 5.5 has us., eu. and global. profiles only",
        "the model's card",
        refuses=_is_not_offered,
        error="The provided model identifier is invalid.",
    ),
    Rule(
        15, "bedrock-agent-runtime.Retrieve", "the filter `in` takes strings; numbers in it are unproven",
        "user guide, page kb-test-config",
        refuses=lambda params: re.search(_NUMBERS, json.dumps(params.get("retrievalConfiguration"))),
        error="The filter in takes a list of strings.", sure=False,
    ),
    Rule(
        16, "bedrock-runtime.Converse", "what is shorter than the model's minimum is not cached",
        "the models' cards",
        changes=_cached,
    ),
    Rule(
        17, "bedrock-runtime.CountTokens", "CountTokens is not offered for Sonnet 5.5 on bedrock-runtime",
        "the model's card",
        refuses=lambda params: _alias(params) == "claude-sonnet-5-5",
        error="The provided model doesn't support counting tokens.", sure=False,
    ),
    Rule(
        18, "bedrock.GetFoundationModelAvailability", "there may be no agreement before a model's first call",
        "not first-hand",
        changes=lambda operation, params, answer: answer | {"agreementAvailability": {"status": "NOT_AVAILABLE"}},
        sure=False,
    ),
    Rule(
        20, "bedrock-agent-runtime.Rerank", "Amazon's reranking model is not offered in us-east-1, Cohere's is",
        "user guide, page rerank-supported",
        refuses=lambda params: re.search(r":us-east-1:.*/amazon\.", str(params["rerankingConfiguration"])),
        error="The provided model identifier is invalid.",
    ),
    Rule(
        21, "bedrock-agent-runtime.RetrieveAndGenerate", "a question has at most 1,000 characters",
        "API reference of RetrieveAndGenerate",
        refuses=lambda params: len(params["input"]["text"]) > 1000,
        error="Value at 'input.text' failed to satisfy "
              "constraint: Member must have length less than or equal to 1000",
    ),
)  # fmt: skip
