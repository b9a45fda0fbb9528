"""The lessons that build and remove a knowledge base, run live against an account that keeps state."""

import json
import time
from itertools import cycle
from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError

from helpers import knowledge_base
from helpers.knowledge_base import kinds
from helpers.knowledge_base.names import Names, State, claim, document
from helpers.workshop import start
from tests.live_workshop import BUILD, CLEAN, ID, LETTERS, MAKES, both_stores, workshop
from tests.loopback import On
from tests.loopback.faults import Faults, dropped

OURS = Names(ID)
NOBODY = {"WORKSHOP_ID": ""}  # a learner who has not set an id
THEIRS = {**OURS.tags, "workshop": "other-workshop"}


@both_stores
def test_a_build_that_is_killed_anywhere_goes_on_and_makes_nothing_twice(store, tmp_path):
    with workshop(tmp_path, store) as one:
        one.works(BUILD)
        once, there = one.made(), one.left()
        assert there and set(once.values()) == {1}
        before = len(one.calls())
        one.works(BUILD)
        assert not one.made(since=before)  # a second run makes nothing
        one.cleans()
        before, steps = len(one.calls()), []
        one.account.ids = 0  # the next thing gets the id that it had before
        # Each run goes on where the one before was killed, when the next call was answered and the answer not read.
        while step := one.run(BUILD, cut=steps).cut:
            steps.append(step)
        assert one.made(since=before) == once and one.left().keys() == there.keys()
        one.cleans()
        made = [number for number, step in enumerate(steps) if step.startswith(MAKES)]
        for number in made[::-3]:  # one that was killed while something was made is removed as it is
            one.account.ids = 0
            assert one.run(BUILD, cut=steps[:number]).cut == steps[number]
            one.cleans()


@both_stores
def test_a_killed_clean_up_leaves_nothing_after_the_next(store, tmp_path):
    with workshop(tmp_path, store) as one:
        one.works(BUILD)
        steps = 0
        while one.run(CLEAN, cut=[]).cut:  # each removes one thing more
            steps += 1
        assert steps > 5 and one.left() == {} and not one.state.exists()


@both_stores
def test_other_peoples_workshops_are_left_alone_and_nothing_is_listed_but_by_name(store, tmp_path):
    with workshop(tmp_path, store) as one:
        for other in ("wxyz9876", f"{ID}x"):
            one.works(BUILD, WORKSHOP_ID=other)
            one.state.unlink()
        theirs, before = one.left(), len(one.calls())
        one.works(BUILD)
        guardrail(one, OURS.tags)  # which a killed cell of 05 left
        for _ in range(2):  # and again: nothing of ours, and no workshop.json
            one.works(CLEAN)
            assert one.left() == theirs
        asked = {call.operation for call in one.calls(since=before)}
        # Two cannot be asked for one name, buckets can (by a prefix); the others ask about one thing of ours.
        listed = {"KnowledgeBases", "Guardrails", "Buckets", "DataSources", "TagsForResource", "IngestionJobs"}
        listed |= {"ObjectsV2", "ObjectVersions", "RolePolicies", "AttachedRolePolicies"}
        assert {name for name in asked if name.startswith("List")} == {f"List{name}" for name in listed}
        assert not asked & {"PutBucketTagging", "TagResource", "UpdateDataSource"}


def guardrail(one, tags):
    said = {"blockedInputMessaging": "no", "blockedOutputsMessaging": "no"}
    one.service.client("bedrock").create_guardrail(name=OURS.common, tags=pairs(tags, "key", "value"), **said)


def pairs(tags, key="Key", value="Value"):
    """Tags as a list, which most services want."""
    return [{key: name, value: text} for name, text in tags.items()]


TAGGED = {"collection": ":collection/", "vector bucket": ":bucket/", "knowledge base": ":knowledge-base/"}  # in ARNs


def mark(one, kind, tags):
    """Give the thing of our name these tags and no others; a policy, which has none, a description."""
    if kind.endswith("policy"):
        name = kind.removesuffix(" policy"), OURS.common
        one.account.serverless.policies[name]["description"] = " ".join(tags.values())
    elif kind == "bucket":
        s3 = one.service.client("s3")
        s3.delete_bucket_tagging(Bucket=OURS.common)
        s3.put_bucket_tagging(Bucket=OURS.common, Tagging={"TagSet": pairs(tags)})
    elif kind == "role":
        iam = one.service.client("iam")
        iam.untag_role(RoleName=OURS.role, TagKeys=[*OURS.tags, "owner"])
        iam.tag_role(RoleName=OURS.role, Tags=pairs(tags))
    else:
        arns = [arn for arn in one.account.tags if TAGGED[kind] in arn and "/index/" not in arn]
        one.account.tags |= dict.fromkeys(arns, tags)


MADE = {  # in the order in which a build makes them
    "opensearch": ("bucket", "role", "encryption policy", "network policy", "data policy", "collection"),
    "s3vectors": ("bucket", "role", "vector bucket"),
}


@both_stores
def test_a_thing_of_our_name_that_lacks_one_of_our_tags_is_neither_taken_over_nor_removed(store, tmp_path):
    lacking = cycle(({}, {"owner": "payroll"}, THEIRS))
    kinds = *MADE[store], "knowledge base"
    with workshop(tmp_path, store) as one:
        one.works(BUILD)
        guardrail(one, THEIRS)
        for kind in kinds:
            mark(one, kind, next(lacking))
        there = one.left()
        one.works(CLEAN)
        assert one.left() == there and not one.state.exists()
        for kind in kinds:
            error = one.run(BUILD).error
            assert f"is taken by a {kind}" in error and "WORKSHOP_ID" in error and len(error.splitlines()) == 1
            mark(one, kind, OURS.tags)
        one.works(BUILD)
        assert one.left() == there
        mark(one, "bucket", next(lacking))
        iam, text = one.service.client("iam"), json.dumps(document("role-s3vectors", index="*"))
        theirs = iam.create_policy(PolicyName="theirs", PolicyDocument=text)["Policy"]["Arn"]
        iam.attach_role_policy(RoleName=OURS.role, PolicyArn=theirs)
        one.works(CLEAN)
        left = {"buckets": [OURS.common], "policies": ["theirs"], "guardrails": there["guardrails"]}
        assert one.left() == left


def test_with_other_credentials_or_in_another_region_nothing_is_made_removed_or_forgotten(tmp_path, monkeypatch):
    with workshop(tmp_path) as one:
        one.works(BUILD)
        there, known = one.left(), one.state.read_bytes()

        def refuses(told, *whats, **env):
            for what in whats:
                error = one.run(what, **env).error
                assert told in error and "Nothing was made, nothing was removed" in error, error
            assert one.left() == there and (not one.state.exists() or one.state.read_bytes() == known)

        refuses("store opensearch", BUILD, WORKSHOP_STORE="s3vectors")
        monkeypatch.setenv("MOTO_ACCOUNT_ID", "999988887777")  # whose credentials these are now
        refuses("account another one", BUILD, CLEAN)
        monkeypatch.setenv("MOTO_ACCOUNT_ID", one.account.account_id)
        one.state.unlink()  # then the bucket tells where
        refuses("region us-east-1", BUILD, CLEAN, WORKSHOP_REGION="eu-west-1")


def test_a_lost_or_damaged_workshop_json_is_made_good_by_the_id_in_the_tags(tmp_path):
    with workshop(tmp_path) as one:
        one.works(BUILD, **NOBODY)
        made_up, there = json.loads(one.state.read_text())["id"], one.left()
        for content, what in ((b'{"id": "../x", "account": "1"}', CLEAN), (None, BUILD)):
            one.state.unlink() if content is None else one.state.write_bytes(content)
            error = one.run(what, **NOBODY).error
            assert f"WORKSHOP_ID={made_up} (in us-east-1)" in error and len(error.splitlines()) == 1
            assert content is None or ("is damaged" in error and one.state.read_bytes() == content)
        assert one.left() == there
        one.works(BUILD, WORKSHOP_ID=made_up)  # found again, workshop.json too
        assert one.left() == there and json.loads(one.state.read_text())["knowledge_base_id"]
        one.state.unlink()
        one.cleans(WORKSHOP_ID=made_up)
        assert "No bucket of this account" in one.run(CLEAN, **NOBODY).error


def test_nothing_is_made_or_removed_before_the_learner_agrees(tmp_path):
    with workshop(tmp_path) as one:
        error = one.run(BUILD, WORKSHOP_AGREE="false").error
        assert "Nothing was made" in error and "BUILD_IT = True" in error
        assert one.left() == {} and not one.state.exists() and not one.calls()
        one.works(BUILD)
        there = one.left()
        error = one.run(CLEAN, WORKSHOP_AGREE="false").error
        assert "nothing was removed" in error and "DELETE_IT = True" in error
        assert one.left() == there


def test_what_ends_as_failed_is_told_with_its_reason_and_made_anew_later(tmp_path):
    fails = {what: f"The {what} has a bad day." for what in ("collection", "knowledge base", "ingestion")}
    with workshop(tmp_path, fails=fails.copy()) as one:
        for what, reason in fails.items():
            error = one.run(BUILD).error
            assert error.startswith("WorkshopError: ") and "FAILED" in error and reason in error
            del one.account.fails[what]
        one.works(BUILD)
        before = len(one.calls())
        time.sleep(1.1)  # S3 tells the time of a change in whole seconds
        one.service.client("s3").put_object(Bucket=OURS.common, Key=LETTERS[0], Body=b"not the file that is wanted")
        one.works(BUILD)
        assert one.made(since=before) == {("StartIngestionJob", ""): 1}  # what has changed is ingested
        one.account.fails["delete knowledge base"] = "The store said no."
        error = one.run(CLEAN).error
        assert "could not be removed" in error and "The store said no." in error
        one.account.fails.clear()
        one.cleans()


def test_control_a_policy_that_is_wrong_is_refused(tmp_path, monkeypatch):
    with workshop(tmp_path) as one:
        for right, told in (("index/claude-workshop", "(403, "), ("bedrock.am", "unable to assume the given role")):

            def wrong(name, right=right, **values):
                return json.loads(json.dumps(document(name, **values)).replace(right, "another"))

            monkeypatch.setattr(knowledge_base, "document", wrong)
            assert told in one.run(BUILD).error
            one.cleans()


def test_without_the_boundary_no_role_is_made_and_the_error_has_the_line_that_makes_it(tmp_path):
    with workshop(tmp_path, "s3vectors") as one:
        one.works(BUILD)
        iam = one.service.client("iam")
        limit = iam.get_role(RoleName=OURS.role)["Role"]["PermissionsBoundary"]["PermissionsBoundaryArn"]
        one.cleans()
        iam.delete_policy(PolicyArn=limit)
        error = one.run(BUILD).error
        assert "aws iam create-policy --policy-name claude-workshop-boundary" in error and "CallFailed" not in error


def test_a_learner_who_signs_in_by_a_role_in_another_region_is_named_by_the_role_and_not_by_the_session(tmp_path):
    with workshop(tmp_path, region="eu-central-1") as one:
        trust = json.dumps(document("role-trust", account="1", region="us-east-1"))
        role = {"RoleName": "learner", "Path": "/team/", "AssumeRolePolicyDocument": trust}
        arn = one.service.client("iam").create_role(**role)["Role"]["Arn"]
        session = one.service.client("sts").assume_role(RoleArn=arn, RoleSessionName="laptop")
        one.account.caller = session["AssumedRoleUser"]["Arn"]
        given = ("AccessKeyId", "SecretAccessKey", "SessionToken")
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        env = {name: session["Credentials"][key] for name, key in zip(names, given, strict=True)}
        one.works(BUILD, **env)
        place = one.service.client("s3").get_bucket_location(Bucket=OURS.common)
        assert place["LocationConstraint"] == "eu-central-1"
        (policy,) = (found for (kind, _), found in one.account.serverless.policies.items() if kind == "data")
        assert policy["policy"][0]["Principal"] == [arn] and ":assumed-role/" in one.account.caller
        one.cleans(**env)


@both_stores
def test_an_answer_that_is_lost_on_the_way_makes_nothing_twice(store, tmp_path):
    creates = ("*.Create*", "*.PUT", "*.StartIngestionJob")
    with workshop(tmp_path, store, *(On(dropped(done=True), name, calls={1}) for name in creates)) as one:
        while one.run(BUILD).error:  # what botocore does not try again by itself, the learner does
            pass
        assert [call for call in one.calls() if call.outcome == "dropped"]
        assert sum(map(len, one.left().values())) == {"opensearch": 8, "s3vectors": 6}[store]
        one.cleans()


def test_services_that_cannot_be_reached_do_not_stop_the_rest(tmp_path):
    with workshop(tmp_path) as one:
        one.works(BUILD)
        server = one.service.service
        server.faults = Faults((On(dropped(), "opensearchserverless.*"), On(dropped(), "s3.*")))
        left = one.works(CLEAN).left
        down = {kind: what for kind, what in left.items() if what.startswith("could not be asked: ")}
        assert {*down} == {"collection", "data policy", "network policy", "encryption policy", "bucket"}
        assert {left[kind] for kind in left.keys() - down} == {"none"} and one.state.exists()
        server.faults = Faults(())
        one.cleans()


def test_an_object_that_may_not_be_deleted_is_told_and_not_waited_for(monkeypatch):
    refused = {"Errors": [{"Key": "a", "Code": "AccessDenied", "Message": "no s3:DeleteObjectVersion"}]}
    bucket = Mock(object_versions=Mock(delete=Mock(return_value=[{}, refused])))
    monkeypatch.setattr(kinds, "session", lambda: Mock(resource=lambda _: Mock(Bucket=lambda _: bucket)))
    with pytest.raises(ClientError, match="AccessDenied"):
        kinds.KINDS["bucket"][1](kinds.Thing("bucket", "b", "b", ""))
    assert not bucket.delete.called


@pytest.mark.parametrize("disk", [{}, {"side_effect": PermissionError}], ids=["", "without hard links"])
def test_of_two_that_claim_workshop_json_the_first_one_is_taken_up_by_both(disk, change, monkeypatch):
    change(mode="live")
    start("lesson")
    if disk:
        monkeypatch.setattr("os.link", Mock(**disk))
    ids = [claim(State(id=own, account="1", region="us-east-1", store="s3vectors")).id for own in ("aaaa", "bbbb")]
    assert ids == ["aaaa", "aaaa"]
