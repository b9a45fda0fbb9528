"""The IAM policies of data/policies: they allow every recorded call, and AWS's own lists know all they name."""

import re
from fnmatch import fnmatchcase

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
    control = actions_of("s3.GetObject")  # which no lesson calls
    assert control == ["s3:GetObject"] and not given(*FOR_PEOPLE) & {*control}


# A statement of the builder that changes something has to use one of these wherever its action knows one of them.
LIMITS = {"iam:PermissionsBoundary", "iam:AWSServiceName", "aoss:collection"}
LIMITS |= {f"{key}/workshop" for key in ("aws:RequestTag", "aws:ResourceTag", "s3vectors:VectorBucketTag")}
# S3 looks at a bucket's tags only after they were switched on for access control. The rest is limited by another key.
UNTAGGED = {"s3:DeleteBucket", "s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion", "iam:PassRole"}


def lint(name, policy):
    """What is wrong in a policy by policy_sentry's copy of the Service Authorization Reference."""
    for statement in policy:
        limits = {key for condition in statement.get("Condition", {}).values() for key in condition}
        for action in listed(statement, "Action"):
            service, _, short = action.partition(":")
            if action.lower() not in map(str.lower, get_actions_for_service(service)):
                yield f"{action}: no such action"
                continue
            rows = get_action_data(service, short)[service]
            forms = {as_pattern(row["resource_arn_format"]) for row in rows}
            keys = {as_pattern(key) for row in rows for key in row["condition_keys"]}
            new = short.startswith("Create") and "*" in forms  # has no name yet
            for resource in [] if new else listed(statement, "Resource"):
                # A named resource must be of a kind that the action has; "*" is for actions that know no kind.
                fits = forms == {"*"} if resource == "*" else any(overlap(resource, form) for form in forms - {"*"})
                if not fits:
                    yield f"{action}: {resource} is no resource of it, or too much"
            for key in limits - {"aws:ResourceAccount", "iam:PassedToService"}:
                if not any(fnmatchcase(key, pattern) for pattern in keys):
                    yield f"{action}: it has no condition {key}"
            # A look at what may not be there yet has no tags to compare: it would be refused instead of answered.
            looks = rows[0]["access_level"] in ("Read", "List") and short not in ("Retrieve", "GetIngestionJob")
            known = {key.partition("/")[0] for key in keys} & {key.partition("/")[0] for key in LIMITS}
            if name == "builder" and known and not (looks or action in UNTAGGED or limits & LIMITS):
                yield f"{action}: nothing limits it"


def as_pattern(text):
    return re.sub(r"\$\{\w+\}", "*", text)


def overlap(resource, pattern):
    both = zip(resource.split(":", 5), pattern.split(":", 5), strict=True)
    return all(fnmatchcase(one, other) or fnmatchcase(other, one) for one, other in both)


@pytest.mark.parametrize("name", [*FOR_PEOPLE, *FOR_ROLES])
def test_a_policy_is_known_to_awss_lists_and_changes_nothing_without_a_limit(name):
    assert list(lint(name, statements(name))) == []


def test_control_the_linter_finds_what_is_wrong():
    wrong = [
        {"Action": "s3:*", "Resource": "*"},
        {"Action": "s3:GetObjekt", "Resource": "*"},
        {"Action": "s3:GetObject", "Resource": "arn:aws:iam::111122223333:role/x"},
        {"Action": "s3:GetObject", "Resource": "*"},
        {"Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*", "Condition": {"StringEquals": {"iam:Path": "x"}}},
    ]
    assert [len(list(lint("learner", [each]))) for each in wrong] == [1] * 5
    without = [{**each, "Condition": {}} for each in statements("builder")]
    assert len(list(lint("builder", without))) >= 25


def test_a_role_is_made_and_given_rights_only_within_the_boundary():
    for action in ("iam:CreateRole", "iam:PutRolePolicy", "iam:DeleteRolePolicy", "iam:DetachRolePolicy"):
        found = [each for each in statements("builder") if action in listed(each, "Action")]
        assert all("claude-workshop-boundary" in str(each["Condition"]["ArnLike"]) for each in found) and found
    lifts = ("AttachRolePolicy", "DeleteRolePermissionsBoundary", "UpdateAssumeRolePolicy", "CreatePolicy")
    assert not given(*FOR_PEOPLE) & {f"iam:{action}" for action in lifts}
    assert given(*FOR_ROLES) <= given("boundary")  # what the role needs
    (trust,) = statements("role-trust")  # Bedrock may take it on only for this account
    assert trust["Condition"]["StringEquals"] == {"aws:SourceAccount": VALUES["account"]}


def test_the_names_of_the_policies_are_those_that_the_workshop_gives():
    names = Names("abcd1234")
    resources = [part for each in statements("builder") for part in listed(each, "Resource") if part != "*"]
    for ours in (f"arn:aws:s3:::{names.common}", f"arn:aws:iam::111122223333:role/{names.role}"):
        assert any(fnmatchcase(ours, part) for part in resources)
