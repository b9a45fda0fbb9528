"""The IAM policies of data/policies: they allow every recorded call, and AWS's own lists know all they name."""

import re
from fnmatch import fnmatchcase
from functools import cache
from typing import NamedTuple

import pytest
from policy_sentry.querying.actions import get_action_data, get_actions_for_service

from helpers.knowledge_base.names import Names, document
from helpers.replay.recording import Recording
from helpers.settings import ROOT

FILES = sorted((ROOT / "data/recordings").glob("*.json"))
BUILDS = [path for path in FILES if path.name.startswith(("03", "99"))]
VALUES = {
    "account": "111122223333",
    "region": "us-east-1",
    "bucket": "claude-workshop-abcd",
    "collection": "arn:aws:aoss:us-east-1:111122223333:collection/abcdefghij0123456789",
    "index": "arn:aws:s3vectors:us-east-1:111122223333:bucket/claude-workshop-abcd/index/letters",
}
FOR_PEOPLE = ("learner", "builder", "evaluation")
FOR_ROLES = ("role-documents", "role-opensearch", "role-s3vectors", "boundary")

# Calls whose permission has another name. Source: the Service Authorization Reference, by service.
ACTIONS = {
    "bedrock-runtime.Converse": ["bedrock:InvokeModel"],
    "bedrock-runtime.ConverseStream": ["bedrock:InvokeModelWithResponseStream"],
    "s3.ListBuckets": ["s3:ListAllMyBuckets"],
    "s3.ListObjectsV2": ["s3:ListBucket"],
    "s3.ListObjectVersions": ["s3:ListBucketVersions"],
    "s3.DeleteObjects": ["s3:DeleteObject", "s3:DeleteObjectVersion"],
    "sts.GetCallerIdentity": [],  # needs no permission
    # Tags given to a create call need the permission to tag; a role handed on needs the one to pass it.
    "s3.CreateBucket": ["s3:CreateBucket", "s3:TagResource"],
    "iam.CreateRole": ["iam:CreateRole", "iam:TagRole"],
    "opensearchserverless.CreateCollection": ["aoss:CreateCollection", "aoss:TagResource"],
    "s3vectors.CreateVectorBucket": ["s3vectors:CreateVectorBucket", "s3vectors:TagResource"],
    "bedrock-agent.CreateKnowledgeBase": ["bedrock:CreateKnowledgeBase", "bedrock:TagResource", "iam:PassRole"],
}
# Never in a recording: asked only live, by 00_setup_check and section 12 of 05, or by a call that a build cut half-way
# needs.
LIVE_ONLY = {
    "bedrock:GetFoundationModelAvailability",
    "bedrock:GetUseCaseForModelAccess",
    "bedrock:GetKnowledgeBase",
    "bedrock:StopIngestionJob",
    "iam:DetachRolePolicy",
    *(f"bedrock:{name}" for name in ("Rerank", "RetrieveAndGenerate", "GetInferenceProfile")),
    *(f"bedrock:{name}Guardrail" for name in ("Create", "Apply", "Delete")),
}


def actions_of(call):
    """The IAM actions that a recorded call needs."""
    service, _, operation = call.partition(".")
    prefix = "aoss" if service == "opensearchserverless" else service.partition("-")[0]
    return ACTIONS.get(call, ["aoss:APIAccessAll"] if service == "opensearch" else [f"{prefix}:{operation}"])


def statements(name):
    return document(name, **VALUES)["Statement"]


def listed(statement, key):
    return [statement[key]] if isinstance(statement[key], str) else statement[key]


def given(*names):
    """The actions that these policies allow."""
    return {action for name in names for each in statements(name) for action in listed(each, "Action")}


def needed(files):
    calls = {entry["call"] for path in files for entry in Recording(path).entries}
    return {action for call in calls for action in actions_of(call)}


def test_the_learner_may_make_every_call_of_the_lessons_and_the_builder_every_call_of_build_and_removal():
    lessons, builds = needed(path for path in FILES if path not in BUILDS), needed(BUILDS)
    assert len(lessons) >= 4 and lessons <= given("learner")
    assert len(builds) >= 35 and builds <= given("builder")
    assert given(*FOR_PEOPLE) <= lessons | builds | LIVE_ONLY  # nothing is allowed that no call needs
    control = actions_of("s3.GetObject")  # which no lesson calls
    assert control == ["s3:GetObject"] and not given(*FOR_PEOPLE) & {*control}


class Facts(NamedTuple):
    """What AWS's lists know of an action."""

    level: str
    forms: list  # patterns of its resources, "*" if it has none
    keys: set  # of conditions


@cache
def facts(action):
    """Of policy_sentry's copy of the Service Authorization Reference; None if there is no such action."""
    service, _, short = action.partition(":")
    if action.lower() not in map(str.lower, get_actions_for_service(service)):
        return None
    rows = get_action_data(service, short)[service]
    forms = [as_pattern(row["resource_arn_format"]) for row in rows]
    keys = {as_pattern(key) for row in rows for key in row["condition_keys"]}
    return Facts(rows[0]["access_level"], forms, keys)


def as_pattern(text):
    return re.sub(r"\$\{\w+\}", "*", text)


def conditions(statement):
    """The keys that its conditions look at."""
    return {key for condition in statement.get("Condition", {}).values() for key in condition}


def lint(policy):
    """What is wrong in a policy by AWS's own lists."""
    for statement in policy:
        for action in listed(statement, "Action"):
            if not (known := facts(action)):
                yield f"{action}: no such action"
                continue
            patterns = [form for form in known.forms if form != "*"]
            new = action.partition(":")[2].startswith("Create") and "*" in known.forms  # has no name yet
            for resource in [] if new else listed(statement, "Resource"):
                # A named resource must be of a kind that the action has; "*" is for actions that know no kind.
                if resource == "*" and patterns:
                    yield f"{action}: give its resources instead of *"
                if resource != "*" and not any(overlap(resource, pattern) for pattern in patterns):
                    yield f"{action}: {resource} is no resource of it"
            allowed = {*known.keys, "aws:ResourceAccount", "iam:PassedToService"}
            for key in conditions(statement):
                if not any(fnmatchcase(key, pattern) for pattern in allowed):
                    yield f"{action}: it has no condition {key}"


def overlap(resource, pattern):
    one, other = resource.split(":", 5), pattern.split(":", 5)
    return len(one) == len(other) and all(
        fnmatchcase(a, b) or fnmatchcase(b, a) for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("name", [*FOR_PEOPLE, *FOR_ROLES])
def test_a_policy_is_known_to_awss_lists(name):
    assert list(lint(statements(name))) == []


def test_control_the_linter_finds_what_is_wrong():
    wrong = [
        {"Action": "s3:*", "Resource": "*"},
        {"Action": "s3:GetObjekt", "Resource": "*"},
        {"Action": "s3:GetObject", "Resource": "arn:aws:iam::111122223333:role/x"},
        {"Action": "s3:GetObject", "Resource": "*"},
        {"Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*", "Condition": {"StringEquals": {"iam:Path": "x"}}},
    ]
    assert [len(list(lint([each]))) for each in wrong] == [1] * 5


# A statement of the builder has to use one of these wherever its action knows one of them.
LIMITS = {"iam:PermissionsBoundary", "iam:AWSServiceName", "aoss:collection"}
LIMITS |= {f"{key}/workshop" for key in ("aws:RequestTag", "aws:ResourceTag", "s3vectors:VectorBucketTag")}
# S3 looks at a bucket's tags only after they were switched on for access control. The rest is limited by another key.
UNTAGGED = {"s3:DeleteBucket", "s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion", "iam:PassRole"}


def bare(policy):
    """The actions that change something without a condition although AWS's list knows one that would limit them."""
    for statement in policy:
        for action in listed(statement, "Action"):
            known = {key.partition("/")[0] for key in facts(action).keys} & {key.partition("/")[0] for key in LIMITS}
            # A look at what may not be there yet has no tags to compare: it would be refused instead of answered.
            looks = facts(action).level in ("Read", "List") and not action.endswith((":Retrieve", ":GetIngestionJob"))
            if known and not looks and action not in UNTAGGED and not conditions(statement) & LIMITS:
                yield action


def test_what_changes_something_is_limited_by_tag_boundary_or_collection():
    assert list(bare(statements("builder"))) == []
    without = [{**each, "Condition": {}} for each in statements("builder")]
    assert len(list(bare(without))) >= 25  # the control


def test_a_role_is_made_and_given_rights_only_within_the_boundary():
    for action in ("iam:CreateRole", "iam:PutRolePolicy", "iam:DeleteRolePolicy", "iam:DetachRolePolicy"):
        found = [each for each in statements("builder") if action in listed(each, "Action")]
        assert all("claude-workshop-boundary" in str(each["Condition"]["ArnLike"]) for each in found) and found
    lifts = ("AttachRolePolicy", "DeleteRolePermissionsBoundary", "UpdateAssumeRolePolicy", "CreatePolicy")
    assert not given(*FOR_PEOPLE) & {f"iam:{action}" for action in lifts}
    assert given(*FOR_ROLES) <= given("boundary")  # what the role needs


def test_bedrock_may_take_the_role_on_only_for_this_account_and_region():
    (trust,) = statements("role-trust")
    assert trust["Principal"] == {"Service": "bedrock.amazonaws.com"} and trust["Action"] == "sts:AssumeRole"
    assert trust["Condition"]["StringEquals"] == {"aws:SourceAccount": "111122223333"}
    pattern = trust["Condition"]["ArnLike"]["aws:SourceArn"]
    assert pattern == "arn:aws:bedrock:us-east-1:111122223333:knowledge-base/*"


def test_the_names_of_the_policies_are_those_that_the_workshop_gives():
    names = Names("abcd1234")
    resources = [part for each in statements("builder") for part in listed(each, "Resource") if part != "*"]
    vector_bucket = f"arn:aws:s3vectors:us-east-1:111122223333:bucket/{names.common}"
    for ours in (f"arn:aws:s3:::{names.common}", f"arn:aws:iam::111122223333:role/{names.role}", vector_bucket):
        assert any(fnmatchcase(ours, part) for part in resources)
    assert len(names.common) <= 32  # the longest name of a policy of OpenSearch Serverless
