"""The lessons that build and remove a knowledge base, run live against an account that keeps state."""

import json
import multiprocessing
import os
import time
from collections import Counter
from itertools import cycle
from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError

from helpers.knowledge_base import kinds
from helpers.knowledge_base import names as kb
from helpers.knowledge_base.names import Names, document
from helpers.workshop import start
from tests.live_workshop import BUILD, CLEAN, ID, LETTERS, STORES, Switch, forks, make, pairs, workshop
from tests.loopback import On, ServiceError
from tests.loopback.account import together
from tests.loopback.faults import dropped, slow

pytestmark = forks
OURS, OTHER = Names(ID), Names("wxyz9876")
NOBODY = {"WORKSHOP_ID": ""}  # a learner who has not set an id
THEIRS = {**OURS.tags, "workshop": "other-workshop"}


def link(service):
    """The role of the account without which there is no collection."""
    service.client("iam").create_service_linked_role(AWSServiceName="observability.aoss.amazonaws.com")


MADE_ALONE = {  # in the order in which a build makes them
    "opensearch": ("bucket", "role", "encryption policy", "network policy", "data policy", "collection"),
    "s3vectors": ("bucket", "role", "vector bucket"),
}


@pytest.mark.parametrize("store", STORES)
def test_other_peoples_resources_are_left_alone_and_nothing_is_listed_but_by_name(store, tmp_path, report):
    with workshop(tmp_path, store) as one:
        link(one.service)
        for names, tags, mark in (  # of another workshop, without our tags, under a name that begins like ours
            (OTHER, OTHER.tags, OTHER.mark),
            (Names(f"{ID}x"), {"workshop-id": ID}, "made by hand"),
            (Names(f"0{ID}"), {"workshop": OURS.tags["workshop"]}, OURS.mark + "x"),
        ):
            for kind in dict.fromkeys(("encryption policy", *MADE_ALONE[store], "guardrail")):
                make(one.service, kind, names, tags, mark)
        theirs, before = one.service.left(), len(one.calls())
        one.works(BUILD)
        make(one.service, "guardrail", OURS, OURS.tags)  # which a killed cell of 05 left
        assert one.service.left() != theirs
        for _ in range(2):  # and again: nothing of ours, and no workshop.json
            one.works(CLEAN)
            assert one.service.left() == theirs
        calls = one.calls(since=before)
        # Two cannot be asked for one name, buckets can (by a prefix); the others ask about one thing of ours.
        by_name = {"KnowledgeBases", "Guardrails", "Buckets"}
        of_ours = {"DataSources", "TagsForResource", "IngestionJobs", "ObjectsV2", "ObjectVersions"}
        of_ours |= {"RolePolicies", "AttachedRolePolicies"}
        asked = {call.operation.removeprefix("List") for call in calls if call.operation.startswith("List")}
        assert asked == by_name | of_ours
        assert not {call.operation for call in calls} & {"PutBucketTagging", "TagResource", "UpdateDataSource"}
        sources = [call.params for call in calls if call.operation == "CreateDataSource"]
        assert [each["dataDeletionPolicy"] for each in sources] == ["RETAIN"]
    report(f"{store}: {sum(map(len, theirs.values()))} look-alikes of other people untouched")


@pytest.mark.parametrize("store", STORES)
def test_a_thing_of_our_name_that_lacks_one_of_our_tags_is_neither_taken_over_nor_removed(store, tmp_path):
    lacking, foreign = cycle(({}, {"owner": "payroll"}, THEIRS)), []

    def is_left_alone(kind):
        error = one.run(BUILD)["error"]
        assert f"is taken by a {kind}" in error and "WORKSHOP_ID" in error and len(error.splitlines()) == 1
        left = one.works(CLEAN)["left"]
        assert {found for found, name in left.items() if name != "none"} == {*foreign}
        assert sum(map(len, one.service.left().values())) == len(foreign) and not one.state.exists()

    with workshop(tmp_path, store) as one:
        if store == "opensearch":  # no collection without these
            link(one.service)
            make(one.service, "encryption policy", OURS, {}, OURS.mark)
        for kind in reversed(MADE_ALONE[store]):  # so that a build meets the newest first
            make(one.service, kind, OURS, next(lacking), "made by hand")
            foreign.append(kind)
            is_left_alone(kind)
        for tags in (next(lacking), next(lacking), next(lacking)):
            one.service.client("s3").put_bucket_tagging(Bucket=OURS.common, Tagging={"TagSet": pairs(tags)})
            is_left_alone("bucket")


def test_what_somebody_tags_anew_or_attaches_is_theirs_and_stays(tmp_path):
    with workshop(tmp_path, "s3vectors") as one:
        one.works(BUILD)
        make(one.service, "guardrail", OURS, THEIRS)
        one.service.client("s3").put_bucket_tagging(Bucket=OURS.common, Tagging={"TagSet": pairs(THEIRS)})
        iam, text = one.service.client("iam"), json.dumps(document("role-s3vectors", index="*"))
        theirs = iam.create_policy(PolicyName="theirs", PolicyDocument=text)["Policy"]["Arn"]
        iam.attach_role_policy(RoleName=OURS.role, PolicyArn=theirs)
        one.works(CLEAN)
        theirs = {"buckets": [OURS.common], "policies": ["theirs"], "guardrails": [OURS.common]}
        assert one.service.left() == theirs


def test_a_bucket_name_of_another_account_gives_one_clear_error(tmp_path):
    with workshop(tmp_path, "opensearch") as one:
        together.take_bucket(OURS.common)
        error = one.run(BUILD)["error"]
        assert "is taken by a bucket" in error and "WORKSHOP_ID" in error
        assert set(one.cleans()["left"].values()) == {"none"}


def test_with_other_credentials_or_in_another_region_nothing_is_made_removed_or_forgotten(tmp_path, monkeypatch):
    with workshop(tmp_path, "opensearch") as one:
        one.works(BUILD)
        there, known = one.service.left(), one.state.read_bytes()

        def refuses(told, *whats, **env):
            for what in whats:
                error = one.run(what, **env)["error"]
                assert told in error and "Nothing was made, nothing was removed" in error, error
            assert one.service.left() == there and (not one.state.exists() or one.state.read_bytes() == known)

        refuses("region us-east-1", BUILD, CLEAN, WORKSHOP_REGION="eu-west-1")
        refuses("id abcd1234", BUILD, CLEAN, WORKSHOP_ID="efgh5678")
        refuses("store opensearch", BUILD, WORKSHOP_STORE="s3vectors")
        monkeypatch.setenv("MOTO_ACCOUNT_ID", together.OTHERS)  # whose credentials these are now
        refuses("account another one", BUILD, CLEAN)
        monkeypatch.setenv("MOTO_ACCOUNT_ID", one.account.account_id)
        one.state.unlink()  # then the bucket tells where
        refuses("region us-east-1", BUILD, CLEAN, WORKSHOP_REGION="eu-west-1")
        one.cleans()


DAMAGED = (b"", b"[]", b"\xff\xfe{", b'{"id": "../x", "account": "1"}', None, None)


def test_a_lost_or_damaged_workshop_json_is_made_good_by_the_id_in_the_tags(tmp_path, report):
    with workshop(tmp_path, "opensearch") as one:
        one.works(BUILD, **NOBODY)
        made_up = json.loads(one.state.read_text())["id"]
        there = one.service.left()
        for content, what in zip(DAMAGED, cycle((BUILD, CLEAN)), strict=False):
            one.state.write_bytes(content) if content is not None else one.state.unlink(missing_ok=True)
            error = one.run(what, **NOBODY)["error"]
            assert f"WORKSHOP_ID={made_up} (in us-east-1)" in error, error
            assert error.startswith("WorkshopError: ") and len(error.splitlines()) == 1
            assert (content is None) or ("is damaged" in error and one.state.read_bytes() == content)
        assert one.service.left() == there
        one.works(BUILD, WORKSHOP_ID=made_up)  # found again, workshop.json too
        assert one.service.left() == there and json.loads(one.state.read_text())["knowledge_base_id"]
        one.state.unlink()
        one.cleans(WORKSHOP_ID=made_up)
        assert "No bucket of this account" in one.run(CLEAN, **NOBODY)["error"]


def test_nothing_is_made_or_removed_before_the_learner_agrees(tmp_path):
    with workshop(tmp_path, "opensearch") as one:
        error = one.run(BUILD, WORKSHOP_AGREE="false")["error"]
        assert "Nothing was made" in error and "BUILD_IT = True" in error
        assert one.service.left() == {} and not one.state.exists() and not one.calls()
        one.works(BUILD)
        there = one.service.left()
        error = one.run(CLEAN, WORKSHOP_AGREE="false")["error"]
        assert "nothing was removed" in error and "DELETE_IT = True" in error
        assert one.service.left() == there


def test_what_ends_as_failed_is_told_with_its_reason_and_made_anew_later(tmp_path):
    fails = {what: f"The {what} has a bad day." for what in ("collection", "knowledge base", "ingestion")}
    with workshop(tmp_path, "opensearch", fails=fails.copy()) as one:
        for what, reason in fails.items():
            error = one.run(BUILD)["error"]
            assert error.startswith("WorkshopError: ") and "FAILED" in error and reason in error
            del one.account.fails[what]
        one.works(BUILD)
        one.account.fails["delete knowledge base"] = "The store said no."
        error = one.run(CLEAN)["error"]
        assert "could not be removed" in error and "The store said no." in error
        one.account.fails.clear()
        one.cleans()


def test_a_document_that_fails_is_named_and_the_corrected_one_is_ingested(tmp_path):
    name = LETTERS[0]
    with workshop(tmp_path, "opensearch", bad_documents={name: "the file is encrypted"}) as one:
        printed = one.works(BUILD)["printed"]
        assert "the file is encrypted" in printed and f"/{name}]" in printed
        one.account.bad_documents.clear()
        time.sleep(1.1)  # S3 tells the time of a change in whole seconds
        one.service.client("s3").put_object(Bucket=OURS.common, Key=name, Body=b"not the file that is wanted")
        before = len(one.calls())
        assert "encrypted" not in one.works(BUILD)["printed"]
        assert one.made(since=before) == {("StartIngestionJob", ""): 1}


def test_without_the_boundary_no_role_is_made_and_the_error_has_the_line_that_makes_it(tmp_path):
    with workshop(tmp_path, "s3vectors") as one:
        iam = one.service.client("iam")
        (boundary,) = iam.list_policies(Scope="Local")["Policies"]
        iam.delete_policy(PolicyArn=boundary["Arn"])
        error = one.run(BUILD)["error"]
        assert "aws iam create-policy --policy-name claude-workshop-boundary" in error and "CallFailed" not in error
        text = json.dumps(document("boundary"))
        iam.create_policy(PolicyName="claude-workshop-boundary", PolicyDocument=text)
        one.works(BUILD)
        limit = iam.get_role(RoleName=OURS.role)["Role"]["PermissionsBoundary"]
        assert limit["PermissionsBoundaryArn"] == boundary["Arn"]
        one.cleans()


def test_a_learner_who_signs_in_by_a_role_in_another_region_is_named_by_the_role_and_not_by_the_session(tmp_path):
    with workshop(tmp_path, "opensearch", region="eu-central-1") as one:
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


def test_lists_of_many_pages_are_read_to_the_end_and_every_version_goes(tmp_path, monkeypatch):
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")
    with workshop(tmp_path, "opensearch", page_size=1) as one:
        one.works(BUILD, WORKSHOP_ID="aaaa1111")
        one.state.unlink()
        one.works(BUILD)  # behind the other in every list
        theirs = {kind: names[:1] for kind, names in one.service.left().items()}
        s3 = one.service.client("s3")
        s3.put_bucket_versioning(Bucket=OURS.common, VersioningConfiguration={"Status": "Enabled"})
        for number in range(25):
            s3.put_object(Bucket=OURS.common, Key=f"more-{number % 5}", Body=b"x")
        s3.delete_object(Bucket=OURS.common, Key="more-0")  # leaves a delete marker
        before = len(one.calls())
        one.works(CLEAN)
        asked = Counter(call.operation for call in one.calls(since=before))
        assert asked["DeleteObjects"] >= 3
        assert one.service.left() == theirs


@pytest.mark.parametrize("store", STORES)
def test_an_answer_that_is_lost_on_the_way_makes_nothing_twice(store, tmp_path):
    creates = ("*.Create*", "*.PUT", "*.StartIngestionJob")
    with workshop(tmp_path, store, *(On(dropped(done=True), name, calls={1}) for name in creates)) as one:
        while one.run(BUILD)["error"]:  # what botocore does not try again by itself, the learner does
            pass
        assert [call for call in one.calls() if call.outcome == "dropped"]
        assert {len(names) for names in one.service.left().values()} <= {1}
        one.cleans()


def says(*error):
    """A fault that answers with an error of its own."""

    def fault(call, rng, proceed):
        raise ServiceError(*error)

    return fault


NO_CONNECTION, LATER = dropped(), says("ServiceUnavailable", 503, "Try later.")
DENIED = says("AccessDenied", 403, "with an explicit deny in a service control policy")
DOWN = {  # how a service cannot be reached, and the kinds of its things
    "bedrock-agent": (DENIED, {"data source", "knowledge base"}),
    "opensearchserverless": (NO_CONNECTION, {"collection", "data policy", "network policy", "encryption policy"}),
    "s3vectors": (NO_CONNECTION, {"vector index", "vector bucket"}),
    "iam": (LATER, {"role"}),
    "s3": (LATER, {"bucket"}),
}


def test_a_service_that_cannot_be_reached_does_not_stop_the_rest(tmp_path):
    switches = {service: Switch() for service in DOWN}
    faults = [On(DOWN[service][0], f"{service}.*", calls=switch) for service, switch in switches.items()]
    with workshop(tmp_path, "opensearch", *faults) as one:
        for service, switch in switches.items():
            one.works(BUILD)
            switch.on = True
            outcome = one.works(CLEAN)
            left = {kind: what for kind, what in outcome["left"].items() if what != "none"}
            assert {*left} == DOWN[service][1] and one.state.exists()
            assert all(what.startswith("could not be asked: ") for what in left.values())
            assert outcome["printed"].count("could not be asked") == len(left)
            switch.on = False
            one.cleans()


def test_what_holds_on_to_a_thing_is_told_in_the_words_of_the_service(tmp_path):
    with workshop(tmp_path, "s3vectors") as one:
        one.works(BUILD)
        iam = one.service.client("iam")
        iam.create_instance_profile(InstanceProfileName="theirs")
        iam.add_role_to_instance_profile(InstanceProfileName="theirs", RoleName=OURS.role)
        few = "from helpers.knowledge_base import waiting\nwaiting.until.__defaults__ = (9, ())"
        error = one.run({**CLEAN, "before": few})["error"]
        assert "nothing has changed" in error and "DeleteConflict" in error and one.state.exists()


@pytest.mark.parametrize("store", STORES)
def test_two_builds_at_once_make_one_workshop_and_two_clean_ups_leave_nothing(store, tmp_path):
    with workshop(tmp_path, store, On(slow(before=0.03), probability=0.5)) as one:
        one.run(BUILD, times=2, **NOBODY)
        one.works(BUILD, **NOBODY)
        assert {len(names) for names in one.service.left().values()} == {1}
        assert [outcome["error"] for outcome in one.run(CLEAN, times=2, **NOBODY)] == ["", ""]
        assert one.service.left() == {} and not one.state.exists()


def claim(number):
    return kb.claim(kb.State(id=f"abcd{number:04}", account="1", region="r", store="opensearch")).id


def test_of_many_that_claim_workshop_json_at_once_one_is_first_and_all_take_up_its_id(change, tmp_path):
    change(mode="live", recordings_dir=tmp_path)
    start("lesson")
    with multiprocessing.get_context("fork").Pool(8) as pool:
        ids = pool.map(claim, range(64), chunksize=1)
    assert len(set(ids)) == 1 and os.listdir(tmp_path) == ["workshop.json"]


def test_on_a_disk_without_hard_links_workshop_json_is_claimed_all_the_same(change, tmp_path, monkeypatch):
    change(mode="live", recordings_dir=tmp_path)
    start("lesson")
    monkeypatch.setattr("os.link", Mock(side_effect=PermissionError))
    assert [claim(1), claim(2)] == ["abcd0001", "abcd0001"]


def test_an_object_that_may_not_be_deleted_is_told_and_not_waited_for(monkeypatch):
    refused = {"Errors": [{"Key": "a", "Code": "AccessDenied", "Message": "no s3:DeleteObjectVersion"}]}
    bucket = Mock(object_versions=Mock(delete=Mock(return_value=[{}, refused])))
    monkeypatch.setattr(kinds, "session", lambda: Mock(resource=lambda _: Mock(Bucket=lambda _: bucket)))
    with pytest.raises(ClientError, match="AccessDenied"):
        kinds.KINDS["bucket"][1](kinds.Thing("bucket", "b", "b", ""))
    assert not bucket.delete.called
