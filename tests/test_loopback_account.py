"""The stateful account refuses, waits, fails and holds what the real services would, as boto3 sees it."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from opensearchpy import (
    AuthorizationException,
    NotFoundError,
    OpenSearch,
    RequestError,
    Urllib3AWSV4SignerAuth,
)

from tests.loopback import On, Script, Service, first_of
from tests.loopback.account import Account
from tests.loopback.account.together import Together, together
from tests.loopback.faults import after, lost, refused

ROOT = Path(__file__).resolve().parents[1]
NAME, INDEX, BUCKET = "letters", "letters-index", "letters-bucket"
MODEL = "arn:aws:bedrock:us-east-1::foundation-model/amazon.titan-embed-text-v2:0"
FIELDS = {"vectorField": "vector", "textField": "text", "metadataField": "text-metadata"}
TRUST = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole"}]}
TRUST["Statement"][0]["Principal"] = {"Service": "bedrock.amazonaws.com"}  # type: ignore[index]
ONCE = Config(retries={"total_max_attempts": 1, "mode": "standard"})


@pytest.fixture(autouse=True)
def nothing_left_running() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert {thread for thread in threading.enumerate() if not thread.daemon} <= before
    assert "MOTO_ACCOUNT_ID" not in os.environ


@pytest.fixture
def aws() -> Iterator["Aws"]:
    with together(Account(polls=1, page_size=2)) as found:
        yield Aws(found)


class Aws:
    """Short names for what the tests do over and over; everything goes through real clients."""

    def __init__(self, found: Together):
        self.together, self.account = found, found.account
        self._clients: dict[str, Any] = {}

    def __call__(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self.together.client(service, config=ONCE)
        return self._clients[service]

    def role(self, name: str = "kb-role") -> str:
        policy = json.dumps(TRUST)
        return str(self("iam").create_role(RoleName=name, AssumeRolePolicyDocument=policy)["Role"]["Arn"])

    def policies(self, *principals: str, name: str = NAME) -> None:
        rule = {"ResourceType": "collection", "Resource": [f"collection/{name}"]}
        aoss = self("opensearchserverless")
        text = json.dumps({"Rules": [rule], "AWSOwnedKey": True})
        aoss.create_security_policy(type="encryption", name=name, policy=text)
        text = json.dumps([{"Rules": [rule], "AllowFromPublic": True}])
        aoss.create_security_policy(type="network", name=name, policy=text)
        text = json.dumps([data_statement(name, *(principals or [self.account.caller]))])
        aoss.create_access_policy(type="data", name=name, policy=text)

    def collection(self, name: str = NAME) -> dict[str, Any]:
        aoss = self("opensearchserverless")
        aoss.create_collection(name=name, type="VECTORSEARCH", tags=[{"key": "owner", "value": "us"}])
        return self.until("ACTIVE", lambda: self.collections(names=[name])[0])

    def collections(self, **which: Any) -> list[dict[str, Any]]:
        found = self("opensearchserverless").batch_get_collection(**which)["collectionDetails"]
        return list(found)

    def until(self, status: str, look: Callable[[], Any]) -> Any:
        for _ in range(9):
            found = look()
            if found["status"] == status:
                return found
        raise AssertionError(found)

    def opensearch(self, endpoint: str) -> OpenSearch:
        signer = Urllib3AWSV4SignerAuth(boto3.Session("a", "b").get_credentials(), "us-east-1", "aoss")
        return OpenSearch(hosts=[endpoint], http_auth=signer)

    def opensearch_store(self) -> dict[str, Any]:
        """All that a knowledge base on OpenSearch needs; the storage configuration."""
        role = self.role()
        self.policies(self.account.caller, role)
        collection = self.collection()
        self.opensearch(collection["collectionEndpoint"]).indices.create(index=INDEX, body=mapping())
        settings = {"collectionArn": collection["arn"], "vectorIndexName": INDEX, "fieldMapping": FIELDS}
        return {"type": "OPENSEARCH_SERVERLESS", "opensearchServerlessConfiguration": settings}

    def vector_store(self, *hidden: str, dimension: int = 1024) -> dict[str, Any]:
        self.role()
        vectors = self("s3vectors")
        bucket = vectors.create_vector_bucket(vectorBucketName=NAME)["vectorBucketArn"]
        keys = {"metadataConfiguration": {"nonFilterableMetadataKeys": list(hidden)}} if hidden else {}
        shape = {"dataType": "float32", "dimension": dimension, "distanceMetric": "cosine"}
        vectors.create_index(vectorBucketArn=bucket, indexName=INDEX, **shape, **keys)
        return {
            "type": "S3_VECTORS",
            "s3VectorsConfiguration": {"vectorBucketArn": bucket, "indexName": INDEX},
        }

    def ask_base(self, storage: dict[str, Any], name: str = NAME, role: str = "kb-role", **more: Any) -> Any:
        kind = {"type": "VECTOR", "vectorKnowledgeBaseConfiguration": {"embeddingModelArn": MODEL}}
        arn = f"arn:aws:iam::111122223333:role/{role}"
        settings = {"knowledgeBaseConfiguration": kind, "storageConfiguration": storage, **more}
        return self("bedrock-agent").create_knowledge_base(name=name, roleArn=arn, **settings)[
            "knowledgeBase"
        ]

    def base(self, storage: dict[str, Any] | None = None) -> str:
        storage = storage or self.vector_store("AMAZON_BEDROCK_TEXT")
        number = self.ask_base(storage)["knowledgeBaseId"]
        self.until("ACTIVE", lambda: self.show_base(number))
        return str(number)

    def show_base(self, number: str) -> Any:
        return self("bedrock-agent").get_knowledge_base(knowledgeBaseId=number)["knowledgeBase"]

    def source(self, base: str, name: str = "s3", **more: Any) -> dict[str, str]:
        where = {"type": "S3", "s3Configuration": {"bucketArn": f"arn:aws:s3:::{BUCKET}"}}
        settings = {"name": name, "dataSourceConfiguration": where, **more}
        made = self("bedrock-agent").create_data_source(knowledgeBaseId=base, **settings)["dataSource"]
        return {"knowledgeBaseId": base, "dataSourceId": made["dataSourceId"]}

    def show_source(self, ids: dict[str, str]) -> Any:
        return self("bedrock-agent").get_data_source(**ids)["dataSource"]

    def put(self, **objects: str) -> None:
        self("s3").create_bucket(Bucket=BUCKET)
        for key, body in objects.items():
            self("s3").put_object(Bucket=BUCKET, Key=key.replace("__", "."), Body=body.encode())

    def ingest(self, ids: dict[str, str], status: str = "COMPLETE") -> Any:
        agent = self("bedrock-agent")
        job = agent.start_ingestion_job(**ids)["ingestionJob"]["ingestionJobId"]
        return self.until(status, lambda: agent.get_ingestion_job(**ids, ingestionJobId=job)["ingestionJob"])


def data_statement(name: str, *principals: str) -> dict[str, Any]:
    rule = {"ResourceType": "index", "Resource": [f"index/{name}/*"], "Permission": ["aoss:*"]}
    return {"Rules": [rule], "Principal": list(principals)}


def mapping(dimension: int = 1024, engine: str = "faiss", field: str = "vector") -> dict[str, Any]:
    method = {"name": "hnsw", "engine": engine, "space_type": "l2"}
    vector = {"type": "knn_vector", "dimension": dimension, "method": method}
    properties = {field: vector, "text": {"type": "text"}, "text-metadata": {"type": "text", "index": False}}
    return {"settings": {"index.knn": True}, "mappings": {"properties": properties}}


def error_of(call: Callable[..., Any], *args: Any, **params: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(*args, **params)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def all_of(client: Any, operation: str, member: str, key: str, **params: Any) -> list[str]:
    """`key` of every item, by botocore's paginator where it has one, else by the tokens."""
    found, token = [], {}
    while True:
        answer = getattr(client, operation)(**params, **token)
        assert len(answer[member]) <= 2
        found += [item[key] for item in answer[member]]
        if "nextToken" not in answer:
            return found
        token = {"nextToken": answer["nextToken"]}


# OpenSearch Serverless: policies and collections


def test_a_collection_needs_an_encryption_policy_that_matches_its_name(aws):
    aoss = aws("opensearchserverless")
    code, text = error_of(aoss.create_collection, name=NAME, type="VECTORSEARCH")
    assert (code, text.startswith("No matching security policy of encryption type found")) == (
        "ValidationException",
        True,
    )
    aws.policies(name="letters-2")
    assert error_of(aoss.create_collection, name=NAME)[0] == "ValidationException"
    made = aoss.create_collection(name="letters-2", type="VECTORSEARCH", standbyReplicas="DISABLED")
    made = made["createCollectionDetail"]
    assert (made["status"], made["standbyReplicas"], made["kmsKeyArn"]) == ("CREATING", "DISABLED", "auto")
    assert made["arn"] == f"arn:aws:aoss:us-east-1:111122223333:collection/{made['id']}"
    assert len(made["id"]) == 20 and made["id"].islower()


def test_a_collection_is_creating_then_active_then_deleting_then_gone(aws):
    aws.policies()
    aoss = aws("opensearchserverless")
    number = aoss.create_collection(name=NAME)["createCollectionDetail"]["id"]
    first, second = aws.collections(ids=[number]), aws.collections(names=[NAME])
    assert (first[0]["status"], "collectionEndpoint" in first[0]) == ("CREATING", False)
    assert second[0]["status"] == "ACTIVE"
    assert second[0]["collectionEndpoint"].startswith(aws.together.service.url)
    assert error_of(aoss.create_collection, name=NAME)[0] == "ConflictException"
    assert aoss.delete_collection(id=number)["deleteCollectionDetail"]["status"] == "DELETING"
    assert aws.collections(ids=[number])[0]["status"] == "DELETING"
    answer = aoss.batch_get_collection(ids=[number])
    assert answer["collectionDetails"] == []
    assert answer["collectionErrorDetails"][0]["id"] == number
    assert error_of(aoss.delete_collection, id=number)[0] == "ResourceNotFoundException"
    assert error_of(aoss.batch_get_collection)[0] == "ValidationException"


@pytest.mark.parametrize("polls", [0, 1, 3])
def test_a_state_is_seen_as_often_as_polls_says(aws, polls):
    aws.policies()
    aws.account.polls = polls
    aws("opensearchserverless").create_collection(name=NAME)
    seen = [aws.collections(names=[NAME])[0]["status"] for _ in range(5)]
    assert seen == ["CREATING"] * polls + ["ACTIVE"] * (5 - polls)


def test_a_collection_cannot_be_deleted_while_it_is_being_created(aws):
    aws.policies()
    aoss = aws("opensearchserverless")
    number = aoss.create_collection(name=NAME)["createCollectionDetail"]["id"]
    assert error_of(aoss.delete_collection, id=number)[0] == "ConflictException"


def test_a_collection_fails_with_the_reason_given_and_can_be_deleted(aws):
    aws.policies()
    aws.account.fails["collection"] = "No capacity left."
    aoss = aws("opensearchserverless")
    aoss.create_collection(name=NAME)
    failed = aws.until("FAILED", lambda: aws.collections(names=[NAME])[0])
    assert failed["failureMessage"] == "No capacity left." and failed["failureCode"]
    aoss.delete_collection(id=failed["id"])
    aws.collections(names=[NAME])
    assert aws.collections(names=[NAME]) == []


def test_policies_are_made_once_read_listed_changed_and_deleted(aws):
    aws.policies()
    aoss = aws("opensearchserverless")
    for get, member, kind in (
        (aoss.get_security_policy, "securityPolicyDetail", "encryption"),
        (aoss.get_security_policy, "securityPolicyDetail", "network"),
        (aoss.get_access_policy, "accessPolicyDetail", "data"),
    ):
        policy = get(type=kind, name=NAME)[member]
        assert (policy["type"], policy["name"]) == (kind, NAME)
        assert "Rules" in (policy["policy"] if kind == "encryption" else policy["policy"][0])
        assert error_of(get, type=kind, name="other")[0] == "ResourceNotFoundException"
    for make, policy in (
        (aoss.create_security_policy, aoss.get_security_policy(type="encryption", name=NAME)),
        (aoss.create_access_policy, aoss.get_access_policy(type="data", name=NAME)),
    ):
        detail = policy.get("securityPolicyDetail") or policy["accessPolicyDetail"]
        again = {"type": detail["type"], "name": NAME, "policy": json.dumps(detail["policy"])}
        assert error_of(make, **again)[0] == "ConflictException"
    version = aoss.get_access_policy(type="data", name=NAME)["accessPolicyDetail"]["policyVersion"]
    text = json.dumps([data_statement(NAME, "arn:aws:iam::111122223333:role/other")])
    change = {"type": "data", "name": NAME, "policy": text}
    changed = aoss.update_access_policy(**change, policyVersion=version)["accessPolicyDetail"]
    assert changed["policy"][0]["Principal"] == ["arn:aws:iam::111122223333:role/other"]
    assert "older version" in error_of(aoss.update_access_policy, **change, policyVersion=version)[1]
    again = {**change, "policyVersion": changed["policyVersion"]}
    assert "No changes detected" in error_of(aoss.update_access_policy, **again)[1]
    aoss.delete_access_policy(type="data", name=NAME)
    for kind in ("encryption", "network"):
        aoss.delete_security_policy(type=kind, name=NAME)
    assert error_of(aoss.delete_access_policy, type="data", name=NAME)[0] == "ResourceNotFoundException"
    assert aws.account.left() == {}


def test_lists_come_in_pages(aws):
    names = ["letters-1", "letters-2", "letters-3"]
    aoss = aws("opensearchserverless")
    for name in names:
        aws.policies(name=name)
        aoss.create_collection(name=name)
    for kind in ("encryption", "network"):
        found = all_of(aoss, "list_security_policies", "securityPolicySummaries", "name", type=kind)
        assert found == names
    assert all_of(aoss, "list_access_policies", "accessPolicySummaries", "name", type="data") == names
    where = {"type": "encryption", "resource": ["collection/letters-2"]}
    assert all_of(aoss, "list_security_policies", "securityPolicySummaries", "name", **where) == names[1:2]
    assert all_of(aoss, "list_collections", "collectionSummaries", "name") == names
    where = {"collectionFilters": {"name": "letters-3"}}
    assert all_of(aoss, "list_collections", "collectionSummaries", "name", **where) == names[2:]
    assert error_of(aoss.list_collections, nextToken="mine")[0] == "ValidationException"


@pytest.mark.parametrize(
    ("kind", "policy"),
    [
        ("encryption", "no json"),
        ("encryption", [{"Rules": [{"ResourceType": "collection", "Resource": ["*"]}], "AWSOwnedKey": True}]),
        ("encryption", {"Rules": [{"ResourceType": "collection", "Resource": ["collection/*"]}]}),
        ("network", [{"Rules": [{"ResourceType": "index", "Resource": ["*"]}], "AllowFromPublic": True}]),
        ("network", [{"Rules": [{"ResourceType": "collection", "Resource": ["collection/*"]}]}]),
        ("data", [{"Rules": [{"ResourceType": "index", "Resource": ["*"]}], "Principal": ["me"]}]),
        ("data", [{**data_statement(NAME), "Principal": []}]),
    ],
)
def test_a_policy_that_is_none_is_refused(aws, kind, policy):
    aoss = aws("opensearchserverless")
    make = aoss.create_access_policy if kind == "data" else aoss.create_security_policy
    text = policy if isinstance(policy, str) else json.dumps(policy)
    code, message = error_of(make, type=kind, name=NAME, policy=text)
    assert code == "ValidationException" and message.startswith("Policy json is invalid")


def test_what_boto3_lets_through_and_the_service_does_not_is_refused(aws):
    aoss, agent = aws("opensearchserverless"), aws("bedrock-agent")
    for call in (
        lambda: aoss.create_collection(name="Letters"),
        lambda: aoss.create_security_policy(type="encryption", name="x" * 33, policy="{}"),
        lambda: aoss.create_collection(name=NAME, type="VECTOR"),
        lambda: aws.ask_base(aws.vector_store(), name="our letters"),
        lambda: agent.get_knowledge_base(knowledgeBaseId="short"),
    ):
        code, text = error_of(call)
        assert code == "ValidationException" and "failed to satisfy constraint" in text


def test_tags_of_a_collection(aws):
    aws.policies()
    aoss, arn = aws("opensearchserverless"), aws.collection()["arn"]
    aoss.tag_resource(resourceArn=arn, tags=[{"key": "id", "value": "7"}])
    aoss.untag_resource(resourceArn=arn, tagKeys=["owner"])
    assert aoss.list_tags_for_resource(resourceArn=arn)["tags"] == [{"key": "id", "value": "7"}]
    assert error_of(aoss.list_tags_for_resource, resourceArn=arn[:-1])[0] == "ResourceNotFoundException"


# The API of a collection


def test_an_index_is_made_once_shown_listed_and_deleted(aws):
    aws.policies()
    indices = (search := aws.opensearch(aws.collection()["collectionEndpoint"])).indices
    assert not indices.exists(index=INDEX)
    assert indices.create(index=INDEX, body=mapping())["acknowledged"]
    with pytest.raises(RequestError, match="resource_already_exists_exception"):
        indices.create(index=INDEX, body=mapping())
    assert indices.exists(index=INDEX)
    assert indices.get(index=INDEX)[INDEX]["mappings"] == mapping()["mappings"]
    assert indices.get_mapping(index=INDEX)[INDEX]["mappings"] == mapping()["mappings"]
    assert [found["index"] for found in search.cat.indices(format="json")] == [INDEX]
    assert aws.account.left()["opensearch indexes"] == [INDEX]
    assert indices.delete(index=INDEX)["acknowledged"]
    for call in (indices.delete, indices.get):
        with pytest.raises(NotFoundError, match="index_not_found_exception"):
            call(index=INDEX)
    assert indices.delete(index=INDEX, ignore_unavailable=True)["acknowledged"]
    assert "opensearch indexes" not in aws.account.left()


@pytest.mark.parametrize(
    ("name", "body", "problem"),
    [
        ("Letters", mapping(), "invalid_index_name_exception"),
        (INDEX, {**mapping(), "settings": {}}, "index.knn setting is false"),
        (INDEX, mapping(dimension=0), "Dimension value missing"),
    ],
)
def test_an_index_that_cannot_be_is_refused(aws, name, body, problem):
    aws.policies()
    indices = aws.opensearch(aws.collection()["collectionEndpoint"]).indices
    with pytest.raises(RequestError, match=problem):
        indices.create(index=name, body=body)
    assert not indices.exists(index=INDEX)


def test_a_new_data_policy_takes_a_while_to_be_known(aws):
    aws.account.forbidden = 2
    aws.policies()
    indices = aws.opensearch(aws.collection()["collectionEndpoint"]).indices
    for _ in range(2):
        with pytest.raises(AuthorizationException, match="security_exception"):
            indices.create(index=INDEX, body=mapping())
    assert indices.create(index=INDEX, body=mapping())["acknowledged"]


@pytest.mark.parametrize(
    ("caller", "principal", "granted"),
    [
        ("iam::111122223333:user/learner", "iam::111122223333:user/learner", True),
        ("iam::111122223333:user/learner", "iam::111122223333:user/other", False),
        ("sts::111122223333:assumed-role/learner/session", "iam::111122223333:role/path/learner", True),
        ("sts::111122223333:assumed-role/learner/session", "iam::111122223333:role/other", False),
    ],
)
def test_whom_the_data_policy_does_not_name_is_refused_for_good(aws, caller, principal, granted):
    aws.account.caller = f"arn:aws:{caller}"
    aws.policies(f"arn:aws:{principal}")
    indices = aws.opensearch(aws.collection()["collectionEndpoint"]).indices
    for _ in range(3):
        if granted:
            assert not indices.exists(index=INDEX)
        else:
            with pytest.raises(AuthorizationException, match="does not have permissions"):
                indices.create(index=INDEX, body=mapping())


def test_without_a_network_policy_a_collection_cannot_be_reached(aws):
    aws.policies()
    indices = aws.opensearch(aws.collection()["collectionEndpoint"]).indices
    aws("opensearchserverless").delete_security_policy(type="network", name=NAME)
    with pytest.raises(AuthorizationException, match="Forbidden"):
        indices.create(index=INDEX, body=mapping())


def test_a_request_that_is_signed_for_another_service_or_a_gone_collection_finds_nothing(aws):
    aws.policies()
    endpoint = aws.collection()["collectionEndpoint"]
    with pytest.raises(AuthorizationException):
        OpenSearch(hosts=[endpoint]).indices.create(index=INDEX)
    signer = Urllib3AWSV4SignerAuth(boto3.Session("a", "b").get_credentials(), "us-east-1", "es")
    with pytest.raises(NotFoundError):
        OpenSearch(hosts=[endpoint], http_auth=signer).indices.create(index=INDEX)
    with pytest.raises(NotFoundError):
        aws.opensearch(endpoint[:-1]).indices.create(index=INDEX)


# S3 Vectors


def test_vector_buckets_and_indexes_are_made_once_listed_and_deleted_in_order(aws):
    vectors = aws("s3vectors")
    for name in ("letters-1", "letters-2", "letters-3", "other"):
        vectors.create_vector_bucket(vectorBucketName=name, tags={"owner": name})
    assert error_of(vectors.create_vector_bucket, vectorBucketName="other")[0] == "ConflictException"
    found = all_of(vectors, "list_vector_buckets", "vectorBuckets", "vectorBucketName", prefix="letters")
    assert found == ["letters-1", "letters-2", "letters-3"]
    bucket = vectors.get_vector_bucket(vectorBucketName="other")["vectorBucket"]
    arn = "arn:aws:s3vectors:us-east-1:111122223333:bucket/other"
    assert bucket["vectorBucketArn"] == arn
    shape = {"dataType": "float32", "dimension": 1024, "distanceMetric": "cosine"}
    hidden = {"nonFilterableMetadataKeys": ["AMAZON_BEDROCK_TEXT"]}
    for name in ("index-1", "index-2", "index-3"):
        vectors.create_index(vectorBucketName="other", indexName=name, **shape, metadataConfiguration=hidden)
    again = {"vectorBucketName": "other", "indexName": "index-1", **shape}
    assert error_of(vectors.create_index, **again)[0] == "ConflictException"
    found = all_of(vectors, "list_indexes", "indexes", "indexName", vectorBucketArn=arn)
    assert found == ["index-1", "index-2", "index-3"]
    index = vectors.get_index(indexArn=f"{arn}/index/index-1")["index"]
    assert (index["dimension"], index["distanceMetric"], index["metadataConfiguration"]) == (
        1024,
        "cosine",
        hidden,
    )
    code, text = error_of(vectors.delete_vector_bucket, vectorBucketName="other")
    assert (code, text) == ("ConflictException", "The specified vector bucket is not empty")
    for name in found:
        vectors.delete_index(vectorBucketName="other", indexName=name)
    vectors.delete_vector_bucket(vectorBucketArn=arn)
    missing = {"vectorBucketName": "other"}
    for call in (vectors.get_vector_bucket, vectors.delete_vector_bucket, vectors.list_indexes):
        assert error_of(call, **missing)[0] == "NotFoundException"
    assert (
        error_of(vectors.get_index, vectorBucketName="letters-1", indexName="none")[0] == "NotFoundException"
    )
    assert aws.account.left() == {"vector buckets": ["letters-1", "letters-2", "letters-3"]}


def test_tags_of_vector_buckets_and_indexes(aws):
    aws.vector_store()
    vectors, arn = aws("s3vectors"), f"arn:aws:s3vectors:us-east-1:111122223333:bucket/{NAME}"
    for one in (arn, f"{arn}/index/{INDEX}"):
        vectors.tag_resource(resourceArn=one, tags={"id": "7"})
        assert vectors.list_tags_for_resource(resourceArn=one)["tags"] == {"id": "7"}
    assert error_of(vectors.list_tags_for_resource, resourceArn=f"{arn}x")[0] == "NotFoundException"


# Knowledge bases


@pytest.mark.parametrize("store", ["opensearch_store", "vector_store"])
def test_a_knowledge_base_is_creating_then_active_then_deleting_then_gone(aws, store):
    storage = getattr(aws, store)()
    agent, made = aws("bedrock-agent"), aws.ask_base(storage, tags={"owner": "us"})
    number = made["knowledgeBaseId"]
    assert len(number) == 10 and number.isupper() and made["status"] == "CREATING"
    assert made["knowledgeBaseArn"] == f"arn:aws:bedrock:us-east-1:111122223333:knowledge-base/{number}"
    assert error_of(agent.delete_knowledge_base, knowledgeBaseId=number)[0] == "ConflictException"
    assert [aws.show_base(number)["status"] for _ in range(2)] == ["CREATING", "ACTIVE"]
    assert aws.show_base(number)["storageConfiguration"] == storage
    code, text = error_of(aws.ask_base, storage)
    assert (code, text) == ("ConflictException", f"KnowledgeBase with name {NAME} already exists.")
    agent.tag_resource(resourceArn=made["knowledgeBaseArn"], tags={"id": "7"})
    tags = agent.list_tags_for_resource(resourceArn=made["knowledgeBaseArn"])["tags"]
    assert tags == {"owner": "us", "id": "7"}
    assert agent.delete_knowledge_base(knowledgeBaseId=number)["status"] == "DELETING"
    assert aws.show_base(number)["status"] == "DELETING"
    assert error_of(aws.show_base, number)[0] == "ResourceNotFoundException"
    assert "knowledge bases" not in aws.account.left()


def test_knowledge_bases_and_data_sources_come_in_pages(aws):
    storage, names = aws.vector_store(), ["letters-1", "letters-2", "letters-3"]
    for name in names:
        base = aws.ask_base(storage, name=name)["knowledgeBaseId"]
    agent = aws("bedrock-agent")
    assert all_of(agent, "list_knowledge_bases", "knowledgeBaseSummaries", "name") == names
    for name in names:
        aws.until("ACTIVE", lambda: aws.show_base(base))
        aws.source(base, name=name)
    found = all_of(agent, "list_data_sources", "dataSourceSummaries", "name", knowledgeBaseId=base)
    assert found == names


def test_a_knowledge_base_fails_with_the_reason_given(aws):
    aws.account.fails["knowledge base"] = "Out of luck."
    number = aws.ask_base(aws.vector_store())["knowledgeBaseId"]
    failed = aws.until("FAILED", lambda: aws.show_base(number))
    assert failed["failureReasons"] == ["Out of luck."]
    assert error_of(aws.source, number)[0] == "ValidationException"


def test_roles_and_policies_that_are_not_known_yet(aws):
    storage = aws.opensearch_store()
    aws.account.not_ready += ["role", "forbidden", "no index", "Come back later."]
    texts = [error_of(aws.ask_base, storage) for _ in range(4)]
    assert {code for code, _ in texts} == {"ValidationException"}
    parts = "unable to assume the given role", "403 Forbidden", f"no such index [{INDEX}]", "Come back later."
    assert all(part in text for part, (_, text) in zip(parts, texts, strict=True))
    assert aws.ask_base(storage)["status"] == "CREATING"


def test_a_store_that_does_not_suit_is_refused(aws):
    storage = aws.opensearch_store()
    settings = storage["opensearchServerlessConfiguration"]
    endpoint = aws.collections(names=[NAME])[0]["collectionEndpoint"]
    indices = aws.opensearch(endpoint).indices
    aws.role("stranger")
    policy = json.dumps({"Version": "2012-10-17", "Statement": []})
    aws("iam").create_role(RoleName="untrusting", AssumeRolePolicyDocument=policy)
    for body, role, problem in (
        (mapping(), "nobody", "unable to assume the given role"),
        (mapping(), "untrusting", "unable to assume the given role"),
        (mapping(), "stranger", "[security_exception] 403 Forbidden"),
        (None, "kb-role", f"no such index [{INDEX}]"),
        (mapping(engine="nmslib"), "kb-role", "valid engine types: FAISS"),
        (mapping(dimension=512), "kb-role", "invalid dimension: 1024. Dimension should be: 512"),
        (mapping(field="embedding"), "kb-role", "'vector' is not knn_vector type"),
    ):
        indices.delete(index=INDEX, ignore=404)
        if body:
            indices.create(index=INDEX, body=body)
        code, text = error_of(aws.ask_base, storage, role=role)
        assert code == "ValidationException" and problem in text
    settings["collectionArn"] = settings["collectionArn"][:-1] + "x"
    assert error_of(aws.ask_base, storage)[0] == "ValidationException"
    assert "knowledge bases" not in aws.account.left()


def test_a_vector_index_that_does_not_suit_is_refused(aws):
    storage = aws.vector_store(dimension=256)
    assert "Dimension should be: 256" in error_of(aws.ask_base, storage)[1]
    aws("s3vectors").delete_index(vectorBucketName=NAME, indexName=INDEX)
    assert "unable to assume the given role" in error_of(aws.ask_base, storage)[1]


def test_the_same_client_token_makes_one_knowledge_base(aws):
    storage, token = aws.vector_store(), {"clientToken": "t" * 40}
    first, second = aws.ask_base(storage, **token), aws.ask_base(storage, **token)
    assert first["knowledgeBaseId"] == second["knowledgeBaseId"]
    assert error_of(aws.ask_base, storage, name="other", **token)[0] == "ConflictException"


def test_an_answer_that_is_lost_is_asked_for_again_and_nothing_is_made_twice():
    once = [
        On(lost(), name, calls={1}) for name in ("CreateCollection", "CreateKnowledgeBase", "s3.PutObject")
    ]
    with together(Account(polls=0), *once) as found:
        aws = Aws(found)
        aws._clients = {name: found.client(name) for name in ("opensearchserverless", "bedrock-agent", "s3")}
        storage = aws.opensearch_store()
        aws.ask_base(storage)
        aws.put(a__pdf="a")
        assert found.left()["collections"] == [NAME] and found.left()["knowledge bases"] == [NAME]
        outcomes = [call.outcome for call in found.service.calls if call.operation == "PutObject"]
        assert outcomes == ["dropped", "answered"]


# Data sources and ingestion


def test_a_data_source_is_made_once_changed_and_deleted(aws):
    base, chunks = aws.base(), {"chunkingConfiguration": {"chunkingStrategy": "NONE"}}
    ids = aws.source(base, vectorIngestionConfiguration=chunks, description="Letters")
    agent, made = aws("bedrock-agent"), aws.show_source(ids)
    assert (made["status"], made["dataDeletionPolicy"], len(ids["dataSourceId"])) == (
        "AVAILABLE",
        "DELETE",
        10,
    )
    assert error_of(aws.source, base)[0] == "ConflictException"
    same = {**ids, "name": "s3", "dataSourceConfiguration": made["dataSourceConfiguration"]}
    code, text = error_of(agent.update_data_source, **same, dataDeletionPolicy="RETAIN")
    assert (code, "chunking" in text) == ("ValidationException", True)
    same["vectorIngestionConfiguration"] = chunks
    changed = agent.update_data_source(**same, dataDeletionPolicy="RETAIN")["dataSource"]
    assert (changed["dataDeletionPolicy"], "description" in changed) == ("RETAIN", False)
    assert agent.delete_data_source(**ids)["status"] == "DELETING"
    assert aws.show_source(ids)["status"] == "DELETING"
    assert error_of(aws.show_source, ids)[0] == "ResourceNotFoundException"
    assert error_of(agent.list_data_sources, knowledgeBaseId="A" * 10)[0] == "ResourceNotFoundException"


def test_the_documents_of_the_bucket_are_ingested(aws):
    aws.put(a__pdf="a", b__pdf="b", a__pdf__metadata__json="{}", picture__psd="p", c__txt="c" * 5000)
    ids, agent = aws.source(aws.base()), aws("bedrock-agent")
    started = agent.start_ingestion_job(**ids)["ingestionJob"]
    assert started["status"] == "STARTING"
    assert error_of(agent.start_ingestion_job, **ids)[0] == "ConflictException"
    assert error_of(agent.delete_data_source, **ids)[0] == "ConflictException"
    job = {**ids, "ingestionJobId": started["ingestionJobId"]}
    seen = [agent.get_ingestion_job(**job)["ingestionJob"] for _ in range(3)]
    assert [one["status"] for one in seen] == ["STARTING", "IN_PROGRESS", "COMPLETE"]
    counts = {name: count for name, count in seen[-1]["statistics"].items() if count}
    assert counts == {
        "numberOfDocumentsScanned": 4,
        "numberOfMetadataDocumentsScanned": 1,
        "numberOfNewDocumentsIndexed": 3,
        "numberOfDocumentsFailed": 1,
    }
    (reason,) = seen[-1]["failureReasons"]
    assert f"[Files: s3://{BUCKET}/picture.psd]" in reason
    status = all_of(agent, "list_knowledge_base_documents", "documentDetails", "status", **ids)
    assert status == ["INDEXED", "INDEXED", "INDEXED", "FAILED"]


def test_a_second_sync_takes_only_what_changed(aws):
    aws.put(a__pdf="a", b__pdf="b", c__pdf="c", d__pdf="d")
    ids = aws.source(aws.base())
    aws.account.bad_documents["d.pdf"] = "no text content found"
    assert aws.ingest(ids)["statistics"]["numberOfDocumentsFailed"] == 1
    del aws.account.bad_documents["d.pdf"]
    aws("s3").delete_object(Bucket=BUCKET, Key="a.pdf")
    aws("s3").put_object(Bucket=BUCKET, Key="b.pdf", Body=b"new")
    aws("s3").put_object(Bucket=BUCKET, Key="c.pdf.metadata.json", Body=b"{}")
    counts = {name: count for name, count in aws.ingest(ids)["statistics"].items() if count}
    assert counts == {
        "numberOfDocumentsScanned": 3,
        "numberOfMetadataDocumentsScanned": 1,
        "numberOfNewDocumentsIndexed": 1,
        "numberOfModifiedDocumentsIndexed": 1,
        "numberOfMetadataDocumentsModified": 1,
        "numberOfDocumentsDeleted": 1,
    }
    jobs = all_of(
        aws("bedrock-agent"), "list_ingestion_jobs", "ingestionJobSummaries", "ingestionJobId", **ids
    )
    assert len(jobs) == 2
    where = {"filters": [{"attribute": "STATUS", "operator": "EQ", "values": ["FAILED"]}]}
    assert aws("bedrock-agent").list_ingestion_jobs(**ids, **where)["ingestionJobSummaries"] == []


def test_an_ingestion_fails_and_a_later_one_does_not(aws):
    aws.put(a__pdf="a")
    ids = aws.source(aws.base())
    aws.account.fails["ingestion"] = "The embedding model cannot be called."
    failed = aws.ingest(ids, "FAILED")
    assert failed["failureReasons"] == ["The embedding model cannot be called."]
    aws.account.fails.clear()
    assert aws.ingest(ids)["statistics"]["numberOfNewDocumentsIndexed"] == 1


def test_an_ingestion_can_be_stopped_once(aws):
    ids, agent = aws.source(aws.base()), aws("bedrock-agent")
    job = {**ids, "ingestionJobId": agent.start_ingestion_job(**ids)["ingestionJob"]["ingestionJobId"]}
    assert agent.stop_ingestion_job(**job)["ingestionJob"]["status"] == "STOPPING"
    assert error_of(agent.stop_ingestion_job, **job)[0] == "ConflictException"
    assert error_of(agent.delete_data_source, **ids)[0] == "ConflictException"
    seen = [agent.get_ingestion_job(**job)["ingestionJob"]["status"] for _ in range(2)]
    assert seen == ["STOPPING", "STOPPED"]
    assert agent.delete_data_source(**ids)["status"] == "DELETING"


def test_an_ingestion_fails_without_its_bucket_or_its_store(aws):
    ids = aws.source(aws.base())
    assert BUCKET in aws.ingest(ids, "FAILED")["failureReasons"][0]
    aws.put(a__pdf="a")
    aws("s3vectors").delete_index(vectorBucketName=NAME, indexName=INDEX)
    assert aws.ingest(ids, "FAILED")["failureReasons"]


def test_text_in_filterable_metadata_is_too_long_for_an_s3_vector(aws):
    aws.put(a__pdf="a" * 5000)
    ids = aws.source(aws.base(aws.vector_store()))
    done = aws.ingest(ids)
    assert done["statistics"]["numberOfDocumentsFailed"] == 1
    assert "at most 2048 bytes" in done["failureReasons"][0]


def test_only_what_is_under_the_prefixes_is_ingested(aws):
    aws.put(a__pdf="a")
    aws("s3").put_object(Bucket=BUCKET, Key="letters/b.pdf", Body=b"b")
    s3 = {"bucketArn": f"arn:aws:s3:::{BUCKET}", "inclusionPrefixes": ["letters/"]}
    ids = aws.source(aws.base(), dataSourceConfiguration={"type": "S3", "s3Configuration": s3})
    assert aws.ingest(ids)["statistics"]["numberOfDocumentsScanned"] == 1


# Deleting in the wrong order


@pytest.mark.parametrize("gone", ["index", "role"])
def test_a_data_source_whose_store_cannot_be_reached_is_deleted_only_with_retain(aws, gone):
    base, agent = aws.base(), aws("bedrock-agent")
    ids = aws.source(base)
    if gone == "index":
        aws("s3vectors").delete_index(vectorBucketName=NAME, indexName=INDEX)
    else:
        aws("iam").delete_role(RoleName="kb-role")
    agent.delete_data_source(**ids)
    stuck = aws.until("DELETE_UNSUCCESSFUL", lambda: aws.show_source(ids))
    assert stuck["failureReasons"][0].startswith("Unable to delete data from vector store for data source")
    agent.delete_knowledge_base(knowledgeBaseId=base)
    stuck_base = aws.until("DELETE_UNSUCCESSFUL", lambda: aws.show_base(base))
    assert ids["dataSourceId"] in stuck_base["failureReasons"][0]
    same = {**ids, "name": "s3", "dataSourceConfiguration": stuck["dataSourceConfiguration"]}
    agent.update_data_source(**same, dataDeletionPolicy="RETAIN")
    agent.delete_data_source(**ids)
    aws.show_source(ids)
    assert error_of(aws.show_source, ids)[0] == "ResourceNotFoundException"
    agent.delete_knowledge_base(knowledgeBaseId=base)
    aws.show_base(base)
    assert error_of(aws.show_base, base)[0] == "ResourceNotFoundException"
    assert not {"knowledge bases", "data sources"} & set(aws.account.left())


def test_a_knowledge_base_takes_its_data_sources_with_it(aws):
    base = aws.base()
    ids = aws.source(base)
    aws("bedrock-agent").delete_knowledge_base(knowledgeBaseId=base)
    aws.show_base(base)
    assert (
        error_of(aws.show_base, base)[0] == error_of(aws.show_source, ids)[0] == "ResourceNotFoundException"
    )
    assert aws.account.left() == {"vector buckets": [NAME], "vector indexes": [f"{NAME}/{INDEX}"]}


# Retrieve, and what is not the account's


def test_retrieve_answers_once_documents_are_in(aws):
    runtime, question = aws("bedrock-agent-runtime"), {"retrievalQuery": {"text": "Growth?"}}
    passage = {"content": {"text": "It grew."}}
    aws.account.retrieve = lambda params: {"retrievalResults": [passage]}
    assert error_of(runtime.retrieve, knowledgeBaseId="A" * 10, **question)[0] == "ResourceNotFoundException"
    base = aws.base()
    assert runtime.retrieve(knowledgeBaseId=base, **question)["retrievalResults"] == []
    aws.put(a__pdf="a")
    aws.ingest(aws.source(base))
    assert runtime.retrieve(knowledgeBaseId=base, **question)["retrievalResults"] == [passage]


def test_retrieve_answers_from_the_letters_by_itself(aws):
    base = aws.base()
    aws.put(a__pdf="a")
    aws.ingest(aws.source(base))
    asked = {"knowledgeBaseId": base, "retrievalQuery": {"text": "How many people work for Amazon?"}}
    found = aws("bedrock-agent-runtime").retrieve(**asked)["retrievalResults"]
    assert found and all(passage["content"]["text"] for passage in found)


def test_another_source_answers_what_is_not_the_accounts():
    others = Script({"bedrock.ListInferenceProfiles": {"inferenceProfileSummaries": []}})
    with Service(first_of(Account(), others)) as service:
        session = boto3.Session("a", "b", region_name="us-east-1")
        bedrock = session.client("bedrock", endpoint_url=service.url, config=ONCE)
        assert bedrock.list_inference_profiles()["inferenceProfileSummaries"] == []
        assert error_of(bedrock.list_foundation_models)[0] == "LoopbackNoAnswer"


# Both servers together


def test_two_runs_give_the_same_ids():
    def run() -> tuple[Any, ...]:
        with together(Account(polls=0)) as found:
            aws = Aws(found)
            return found.key, aws.base(), aws.source(next(iter(found.account.knowledge_bases.bases)))

    assert run() == run()


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "ap-northeast-1"])
def test_regions_and_a_bucket_name_that_is_taken(region):
    with together(Account(region=region)) as found:
        s3 = found.client("s3")
        where = {} if region == "us-east-1" else {"LocationConstraint": region}
        extra = {"CreateBucketConfiguration": where} if where else {}
        s3.create_bucket(Bucket=BUCKET, **extra)
        found.take_bucket("taken")
        assert error_of(s3.create_bucket, Bucket="taken", **extra)[0] == "BucketAlreadyExists"
        if where:
            assert error_of(s3.create_bucket, Bucket="no-place")[0] == "IllegalLocationConstraintException"
        vectors = found.client("s3vectors").create_vector_bucket(vectorBucketName=NAME)
        assert f":{region}:" in vectors["vectorBucketArn"]
        assert found.left() == {"buckets": [BUCKET], "vector buckets": [NAME]}
    assert found.left() == {"buckets": [BUCKET], "vector buckets": [NAME]}  # to be looked at afterwards too


CHILD = f"""
import boto3
print(boto3.client("sts").get_caller_identity()["Arn"])
boto3.client("s3").create_bucket(Bucket="{BUCKET}")
boto3.client("iam").list_roles()
boto3.client("s3vectors").create_vector_bucket(vectorBucketName="{NAME}")
boto3.client("bedrock-agent").list_knowledge_bases()
boto3.client("opensearchserverless").list_collections()
"""


def test_a_child_process_reaches_everything_by_its_environment_alone(aws):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment = kept | aws.together.environment()
    run = [sys.executable, "-c", CHILD]
    done = subprocess.run(run, env=environment, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "arn:aws:iam::111122223333:user/learner"
    assert [f"{call.service}.{call.operation}" for call in aws.together.service.calls] == [
        "sts.GetCallerIdentity",
        "s3.CreateBucket",
        "iam.ListRoles",
        "s3vectors.CreateVectorBucket",
        "bedrock-agent.ListKnowledgeBases",
        "opensearchserverless.ListCollections",
    ]
    assert aws.together.left() == {"buckets": [BUCKET], "vector buckets": [NAME]}


def test_every_call_can_be_denied_and_credentials_can_expire_midway():
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("s3", "create_bucket", {"Bucket": BUCKET}),
        ("s3", "put_bucket_versioning", {"Bucket": BUCKET, "VersioningConfiguration": {"Status": "Enabled"}}),
        ("iam", "create_role", {"RoleName": "r", "AssumeRolePolicyDocument": json.dumps(TRUST)}),
        ("sts", "get_caller_identity", {}),
        ("opensearchserverless", "list_collections", {}),
        ("s3vectors", "list_vector_buckets", {}),
        ("bedrock-agent", "list_knowledge_bases", {}),
    ]
    with together(Account(), On(refused("not authorized"))) as found:
        errors = [error_of(getattr(found.client(name), call), **params) for name, call, params in calls]
    assert {code for code, _ in errors[:4]} == {"AccessDenied"}
    assert {code for code, _ in errors[4:]} == {"AccessDeniedException"}
    assert "is not authorized to perform: iam:CreateRole on resource: * because" in errors[2][1]
    assert "is not authorized to perform: aoss:ListCollections" in errors[4][1]
    assert "s3:PutBucketVersioning" in errors[1][1]
    with together(Account(), On(refused("expired"), calls=after(2))) as found:
        for name, call, params in calls[:2]:
            getattr(found.client(name), call)(**params)
        errors = [error_of(getattr(found.client(name), call), **params) for name, call, params in calls[2:]]
    assert [code for code, _ in errors] == ["ExpiredToken"] * 2 + ["ExpiredTokenException"] * 3


def test_other_peoples_resources_can_stand_beside_ours(aws):
    for name in (NAME, "letters-of-others"):
        aws.policies(name=name)
        aws.collection(name)
    theirs = aws.collections(names=["letters-of-others"])[0]["id"]
    aws("opensearchserverless").delete_collection(id=aws.collections(names=[NAME])[0]["id"])
    assert [aws.collections(names=[NAME]) == [] for _ in range(2)] == [False, True]
    assert aws.collections(ids=[theirs])[0]["status"] == "ACTIVE"


def test_many_at_a_time_make_each_thing_once(aws):
    vectors = aws("s3vectors")

    def make(number: int) -> str:
        try:
            vectors.create_vector_bucket(vectorBucketName=f"letters-{number % 4}")
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "made"

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(make, range(24)))
    assert (found.count("made"), found.count("ConflictException")) == (4, 20)
