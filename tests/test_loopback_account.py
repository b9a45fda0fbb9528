"""What the proofs over 03 and 99 rest on: the stateful account refuses, waits and holds as the services would."""

import json

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from helpers.knowledge_base.names import INDEX, Names, document
from tests.live_workshop import make
from tests.loopback.account import Account
from tests.loopback.account.together import together

NAMES, ONCE = Names("abcd1234"), Config(retries={"total_max_attempts": 1, "mode": "standard"})
NAME, ROLE = NAMES.common, "arn:aws:iam::111122223333:role/" + NAMES.role
TITAN = "arn:aws:bedrock:us-east-1::foundation-model/amazon.titan-embed-text-v2:0"
FIELDS = {"vectorField": "vector", "textField": "text", "metadataField": "text-metadata"}
VECTORS = {"dataType": "float32", "dimension": 1024, "distanceMetric": "cosine"}


def said(call, *args, **params):
    """The answer or the refusal, as text."""
    try:
        return str(call(*args, **params))
    except ClientError as error:
        return "{Code}: {Message}".format(**error.response["Error"])


class Aws:
    """Short names for calls through real clients: `aws("s3vectors.get_index", indexArn=...)`."""

    def __init__(self, found):
        self.found, self.account = found, found.account

    def __call__(self, call, **params):
        service, _, operation = call.partition(".")
        return getattr(self.found.client(service, config=ONCE), operation)(**params)

    def makes(self, *kinds):
        """What is said to the last of these, made under our names."""
        return [said(make, self.found, kind, NAMES, {}) for kind in kinds][-1]

    def base(self, storage, **more):
        size = {"bedrockEmbeddingModelConfiguration": {"dimensions": 1024}}
        model = {"embeddingModelArn": TITAN, "embeddingModelConfiguration": size}
        kind = {"type": "VECTOR", "vectorKnowledgeBaseConfiguration": model}
        form = {"name": NAME, "roleArn": ROLE, "knowledgeBaseConfiguration": kind, "storageConfiguration": storage}
        return said(self, "bedrock-agent.create_knowledge_base", **form, **more)

    def base_on_vectors(self):
        self.makes("role", "vector bucket")
        index = self("s3vectors.create_index", vectorBucketName=NAME, indexName=INDEX, **VECTORS)["indexArn"]
        return self.base({"type": "S3_VECTORS", "s3VectorsConfiguration": {"indexArn": index}})

    def ingested(self):
        """The knowledge base whose two files, one of an unknown format, are in; and the job's end."""
        self.base_on_vectors()
        base = {"knowledgeBaseId": next(iter(self.account.agent.bases))}
        self("bedrock-agent.get_knowledge_base", **base)
        self.makes("bucket")
        self("s3.put_object", Bucket=NAME, Key="c.psd", Body=b"{}")
        where = {"type": "S3", "s3Configuration": {"bucketArn": "arn:aws:s3:::" + NAME}}
        source = self("bedrock-agent.create_data_source", name=NAME, dataSourceConfiguration=where, **base)
        place = base | {"dataSourceId": source["dataSource"]["dataSourceId"]}
        job = self("bedrock-agent.start_ingestion_job", **place)["ingestionJob"]["ingestionJobId"]
        return base, self("bedrock-agent.get_ingestion_job", **place, ingestionJobId=job)["ingestionJob"]

    def asks(self, times, kind):
        """What is said to the last of so many questions."""
        base, _ = self.ingested()
        search = {"vectorSearchConfiguration": {"overrideSearchType": kind}}
        asked = {"retrievalQuery": {"text": "How many people work for Amazon?"}, "retrievalConfiguration": search}
        return [said(self, "bedrock-agent-runtime.retrieve", **base, **asked) for _ in range(times)][-1]


@pytest.fixture
def aws():
    with together(Account(polls=1, empty=0), off=[11]) as found:
        yield Aws(found)


MET = {  # by number: how it is met, what is said with the rule, and what without it
    7: (lambda aws: aws.asks(2, "HYBRID"), "HYBRID search type is not supported", "'text': "),
    8: (lambda aws: aws.asks(1, "SEMANTIC"), "'retrievalResults': []", "'text': "),
    9: (lambda aws: str(aws.ingested()[1]), "'numberOfDocumentsFailed': 0", "'numberOfDocumentsFailed': 1"),
    10: (lambda aws: aws.base_on_vectors(), "cannot assume role", "CREATING"),
    11: (lambda aws: aws.makes("encryption policy", "collection"), "iam:CreateServiceLinkedRole", "CREATING"),
}


@pytest.mark.parametrize("number", MET)
def test_each_rule_about_what_the_account_holds_breaks_once(number):
    meet, *wanted = MET[number]
    for off, text in zip(([], [number]), wanted, strict=True):
        with together(Account(polls=0, not_ready=["cannot assume role"] * (number == 10)), off=off) as found:
            assert text in meet(Aws(found)), off
            assert (number in found.account.rules.met) == (not off)


@pytest.mark.parametrize("polls", [0, 3])
def test_a_state_is_seen_as_often_as_polls_says_and_a_collection_goes_only_when_it_is_settled(aws, polls):
    def looks(key, value):
        return aws("opensearchserverless.batch_get_collection", **{key: [value]})["collectionDetails"]

    aws.account.polls = polls
    assert "encryption" in aws.makes("collection")
    aws.makes("encryption policy", "collection")
    (number,) = aws.account.serverless.collections
    assert "Conflict" in said(aws, "opensearchserverless.delete_collection", id=number)
    assert [looks("names", NAME)[0]["status"] for _ in range(4)] == ["CREATING"] * polls + ["ACTIVE"] * (4 - polls)
    assert "Conflict" in aws.makes("collection")
    aws("opensearchserverless.delete_collection", id=number)
    assert [len(looks("ids", number)) for _ in range(4)] == [1] * polls + [0] * (4 - polls)
    assert "NotFound" in said(aws, "opensearchserverless.delete_collection", id=number)


def test_a_knowledge_base_needs_a_role_a_policy_and_an_index_that_fit(aws):
    aws.makes("role", "encryption policy", "collection", "network policy")
    ((number, found),) = aws.account.serverless.collections.items()
    found.look(), found.look()
    store = {"collectionArn": found.details["arn"], "vectorIndexName": INDEX, "fieldMapping": FIELDS}
    storage = {"type": "OPENSEARCH_SERVERLESS", "opensearchServerlessConfiguration": store}

    def index(**field):
        vector = {"type": "knn_vector", "dimension": 1024, "method": {"engine": "faiss"}, **field}
        aws.account.serverless.indexes[number][INDEX] = {"mappings": {"properties": {"vector": vector}}}

    right = json.dumps(document("role-trust", account="1", region="us-east-1"))
    for trust in (right.replace("bedrock.amazonaws", "ec2.amazonaws"), right):
        aws("iam.update_assume_role_policy", RoleName=NAMES.role, PolicyDocument=trust)
        assert ("unable to assume the given role" in aws.base(storage)) == (trust != right)
    assert "[security_exception] 403" in aws.base(storage)
    aws.account.forbidden = 2
    aws.makes("data policy")
    assert ["403" in aws.base(storage) for _ in range(2)] == [True, True]  # a new policy takes a while to be known
    assert "no such index [letters]" in aws.base(storage)
    for mistake in ({"dimension": 512}, {"method": {"engine": "nmslib"}}, {"type": "text"}):
        index(**mistake)
        assert any(word in aws.base(storage) for word in ("Dimension should be: 512", "not knn_vector type"))
    index()
    token = {"clientToken": "t" * 40}  # the same answer to the same token
    assert ["CREATING" in aws.base(storage, **token) for _ in range(2)] == [True, True]
    assert len(aws.account.agent.bases) == 1 and "Conflict" in aws.base(storage)


@pytest.mark.parametrize(
    ("call", "params"),
    [
        ("opensearchserverless.create_collection", {"name": "Letters"}),
        ("opensearchserverless.create_collection", {"name": NAME, "type": "VECTOR"}),
        ("opensearchserverless.create_security_policy", {"type": "network", "name": "x" * 33, "policy": "[{}]"}),
        ("opensearchserverless.create_access_policy", {"type": "data", "name": NAME, "policy": '[{"Rules": []}]'}),
        ("bedrock-agent.get_knowledge_base", {"knowledgeBaseId": "short"}),
    ],
)
def test_what_boto3_lets_through_and_the_service_does_not_is_refused(aws, call, params):
    assert said(aws, call, **params).startswith("ValidationException")
