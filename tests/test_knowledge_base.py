"""The lessons that build and remove a knowledge base, run live against an account that keeps state."""

import json
import time
from collections import Counter

import pytest

from helpers.knowledge_base.names import Names, document
from tests.live_workshop import BUILD, CLEAN, ID, STORES, Switch, forks, workshop
from tests.loopback import On
from tests.loopback.faults import dropped, lost, refused, slow

pytestmark = forks


def of_others(service, names):
    """Resources beside ours: of another workshop, without tags, or under a similar name."""
    other = Names("wxyz9876")
    near = f"{names.common}x"
    s3, iam = service.client("s3"), service.client("iam")
    for bucket, tags in ((other.common, other.tag_list()), (near, [])):
        s3.create_bucket(Bucket=bucket)
        if tags:
            s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
        s3.put_object(Bucket=bucket, Key="theirs.pdf", Body=b"theirs")
    trust = json.dumps(document("role-trust", account="1", region="us-east-1"))
    for role, tags in ((other.role, other.tag_list()), (f"{names.role}x", [])):
        iam.create_role(RoleName=role, AssumeRolePolicyDocument=trust, Tags=tags)
    aoss = service.client("opensearchserverless")
    for name, mark in ((other.common, other.mark), (near, "made by hand")):
        rule = json.dumps(document("collection-encryption", collection=name))
        aoss.create_security_policy(type="encryption", name=name, policy=rule, description=mark)
        tags = other.tag_list("key", "value") if name == other.common else []
        aoss.create_collection(name=name, type="VECTORSEARCH", tags=tags)
    vectors = service.client("s3vectors")
    vectors.create_vector_bucket(vectorBucketName=other.common, tags=other.tags)
    vectors.create_vector_bucket(vectorBucketName=near)
    return service.left()


@pytest.mark.parametrize("store", STORES)
def test_other_peoples_resources_are_left_alone(store, tmp_path):
    with workshop(tmp_path, store) as one:
        theirs = of_others(one.service, Names(ID))
        assert len(theirs) == 5
        one.works(BUILD)
        assert one.service.left() != theirs
        one.works(CLEAN)
        assert one.service.left() == theirs
        one.works(CLEAN)  # nothing of ours, and no workshop.json
        assert one.service.left() == theirs


def test_a_resource_of_our_name_without_our_tags_is_not_taken_over(tmp_path):
    with workshop(tmp_path, "opensearch") as one:
        one.service.client("s3").create_bucket(Bucket=Names(ID).common)
        error = one.run(BUILD)["error"]
        assert error.startswith("WorkshopError: The name claude-workshop-abcd1234 is taken by a bucket")
        assert "WORKSHOP_ID" in error and len(error.splitlines()) == 1
        one.works(CLEAN)
        assert one.service.left() == {"buckets": [Names(ID).common]}


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "ap-northeast-1"])
def test_a_bucket_is_made_in_every_region(region, tmp_path):
    with workshop(tmp_path, "s3vectors", region=region) as one:
        one.works(BUILD)
        place = one.service.client("s3").get_bucket_location(Bucket=Names(ID).common)["LocationConstraint"]
        assert place == (None if region == "us-east-1" else region)
        elsewhere = one.run(BUILD, WORKSHOP_REGION="us-west-2")["error"]
        assert f"region {region}" in elsewhere and "99_clean_up" in elsewhere
        one.works(CLEAN)
        assert one.service.left() == {}


def test_a_bucket_name_of_another_account_gives_one_clear_error(tmp_path):
    with workshop(tmp_path, "opensearch") as one:
        one.service.take_bucket(Names(ID).common)
        error = one.run(BUILD)["error"]
        assert (
            "is taken by a bucket" in error and "another account has it" in error and "WORKSHOP_ID" in error
        )
        one.works(CLEAN)
        one.works(BUILD, WORKSHOP_ID="efgh5678")
        one.works(CLEAN)
        assert one.service.left() == {}


def test_nothing_is_made_or_removed_before_the_learner_agrees(tmp_path):
    with workshop(tmp_path, "opensearch") as one:
        error = one.run(BUILD, WORKSHOP_AGREE="false")["error"]
        assert "Nothing was made" in error and "BUILD_IT = True" in error
        assert one.service.left() == {} and not one.state.exists() and not one.service.service.calls
        one.works(BUILD)
        there = one.service.left()
        error = one.run(CLEAN, WORKSHOP_AGREE="false")["error"]
        assert "Nothing was removed" in error and "DELETE_IT = True" in error
        assert one.service.left() == there
        one.works(CLEAN)


@pytest.mark.parametrize("what", ["collection", "knowledge base", "ingestion"])
def test_what_ends_as_failed_is_told_with_its_reason_and_made_anew_later(what, tmp_path):
    with workshop(tmp_path, "opensearch", fails={what: "The moon is in the wrong place."}) as one:
        outcome = one.run(BUILD)
        assert outcome["error"].startswith("WorkshopError: ") and "FAILED" in outcome["error"]
        assert "The moon is in the wrong place." in outcome["error"]
        assert json.loads(one.state.read_text())["bucket_id"] == Names(ID).common
        one.account.fails.clear()
        one.works(BUILD)
        one.works(CLEAN)
        assert one.service.left() == {}


def test_a_document_that_fails_is_named_and_the_corrected_one_is_ingested(tmp_path):
    name = "AMZN-2020-digest.pdf"
    with workshop(tmp_path, "opensearch", bad_documents={name: "The file is encrypted."}) as one:
        error = one.run(BUILD)["error"]
        assert f"{name}: The file is encrypted." in error and "1 of 4 documents failed" in error
        one.account.bad_documents.clear()
        time.sleep(1.1)  # S3 tells the time of a change in whole seconds
        s3 = one.service.client("s3")
        s3.put_object(Bucket=Names(ID).common, Key=name, Body=b"not the file that is wanted")
        before = len(one.service.service.calls)
        one.works(BUILD)
        assert one.made(since=before) == {("StartIngestionJob", ""): 1}
        one.works(CLEAN)
        assert one.service.left() == {}


@pytest.mark.parametrize("store", STORES)
def test_what_needs_time_to_spread_is_tried_again(store, tmp_path):
    slow = {"forbidden": 3, "not_ready": ["role", "forbidden", "no index"], "polls": 3}
    with workshop(tmp_path, store, **slow) as one:
        one.works(BUILD)
        refusals = [call for call in one.service.service.calls if call.outcome == "ValidationException"]
        assert len(refusals) == 3
        one.works(CLEAN)
        assert one.service.left() == {}


def test_a_real_mistake_in_the_request_is_not_tried_again(tmp_path):
    with workshop(tmp_path, "s3vectors", not_ready=["The embedding model has 512 dimensions."] * 5) as one:
        error = one.run(BUILD)["error"]
        assert "512 dimensions" in error
        refusals = [call for call in one.service.service.calls if call.outcome == "ValidationException"]
        assert len(refusals) == 1


@pytest.mark.parametrize(
    "at", ["iam.CreateRole", "bedrock-agent.CreateKnowledgeBase", "bedrock-agent.GetIngestionJob"]
)
def test_credentials_that_expire_on_the_way_are_told_and_the_state_is_kept(at, tmp_path):
    switch = Switch()
    with workshop(tmp_path, "opensearch", On(refused("expired"), at, calls=switch)) as one:
        switch.on = True
        error = one.run(BUILD)["error"]
        assert error.startswith("CallFailed: Your credentials have expired.") and "sign in again" in error
        assert json.loads(one.state.read_text())["bucket_id"] == Names(ID).common
        switch.on = False
        one.works(BUILD)
        assert set(one.made().values()) == {1}
        one.works(CLEAN)
        assert one.service.left() == {}


def test_lists_of_many_pages_are_read_to_the_end_and_every_version_goes(tmp_path, monkeypatch):
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "10")
    with workshop(tmp_path, "opensearch", page_size=1) as one:
        theirs = of_others(one.service, Names(ID))
        one.works(BUILD)
        s3, bucket = one.service.client("s3"), Names(ID).common
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        for number in range(25):
            s3.put_object(Bucket=bucket, Key=f"more-{number % 5}", Body=b"x")
        s3.delete_object(Bucket=bucket, Key="more-0")  # leaves a delete marker
        before = len(one.service.service.calls)
        one.works(CLEAN)
        asked = Counter(call.operation for call in one.service.service.calls[before:])
        assert asked["DeleteObjects"] >= 3
        assert one.service.left() == theirs


@pytest.mark.parametrize("store", STORES)
def test_an_answer_that_is_lost_on_the_way_makes_nothing_twice(store, tmp_path):
    with workshop(tmp_path, store) as one:
        one.works(BUILD)
        once = one.made()
        one.works(CLEAN)
    creates = ("*.Create*", "*.PUT", "*.StartIngestionJob")
    with workshop(tmp_path, store, *(On(lost(), name, calls={1}) for name in creates)) as one:
        outcome = one.run(BUILD)
        while outcome["error"]:  # what botocore does not try again by itself, the learner does
            outcome = one.run(BUILD)
        assert [call for call in one.service.service.calls if call.outcome == "dropped"]
        held = one.service.left()
        assert {len(names) for names in held.values()} <= {1}
        assert len(once) == len(one.made())
        one.works(CLEAN)
        assert one.service.left() == {}


def test_calls_that_are_throttled_slow_or_cut_end_in_a_build_and_a_removal(tmp_path):
    faults = (
        On(refused("too many requests"), "bedrock-agent.*", probability=0.1),
        On(slow(before=0.05), probability=0.2),
        On(dropped(), "*.List*", probability=0.05),
    )
    with workshop(tmp_path, "opensearch", *faults) as one:
        one.works(BUILD)
        one.works(CLEAN)
        assert one.service.left() == {}
        assert {call.outcome for call in one.service.service.calls} >= {"ThrottlingException", "dropped"}


def test_a_removal_that_the_service_gives_up_is_told_and_can_be_done_again(tmp_path):
    with workshop(tmp_path, "opensearch", fails={"delete knowledge base": "The store said no."}) as one:
        one.works(BUILD)
        error = one.run(CLEAN)["error"]
        assert "could not be removed" in error and "The store said no." in error
        one.account.fails.clear()
        one.works(CLEAN)
        assert one.service.left() == {}
