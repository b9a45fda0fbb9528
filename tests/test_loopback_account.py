"""What the proofs over 03 and 99 rest on: the stateful account refuses, waits and holds as the services would."""

import json

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from helpers.knowledge_base.names import INDEX, Names, document
from tests.loopback import On, Script
from tests.loopback.account import Account
from tests.loopback.account.together import together
from tests.loopback.faults import lost

NAMES, ONCE = Names("abcd1234"), Config(retries={"total_max_attempts": 1, "mode": "standard"})
NAME, ROLE = NAMES.common, "arn:aws:iam::111122223333:role/" + NAMES.role
BUCKET, MODEL = ("arn:aws:s3:::" + NAME, "arn:aws:bedrock:us-east-1::foundation-model/amazon.titan-embed-text-v2:0")
FIELDS = {"vectorField": "vector", "textField": "text", "metadataField": "text-metadata"}
VECTORS = {"dataType": "float32", "dimension": 1024, "distanceMetric": "cosine"}
VECTORS["metadataConfiguration"] = {"nonFilterableMetadataKeys": ["AMAZON_BEDROCK_TEXT"]}


class Aws:
    """Short names for calls through real clients: `aws("s3vectors.get_index", indexArn=...)`."""

    def __init__(self, found):
        self.found, self.account, self.clients = found, found.account, {}

    def __call__(self, call, **params):
        service, _, operation = call.partition(".")
        client = self.clients.setdefault(service, self.found.client(service, config=ONCE))
        return getattr(client, operation)(**params)

    def refused(self, call, **params):
        told = self.said(call, **params)
        assert not told.startswith("{"), told
        return told

    def said(self, call, **params):
        """The answer or the refusal, as text."""
        try:
            return str(self(call, **params))
        except ClientError as error:
            return "{Code}: {Message}".format(**error.response["Error"])

    def role(self, service="bedrock.amazonaws.com"):
        trust = document("role-trust", account="111122223333", region="us-east-1")
        trust["Statement"][0]["Principal"]["Service"] = service
        self("iam.create_role", RoleName=NAMES.role, AssumeRolePolicyDocument=json.dumps(trust))

    def policy(self, kind, **more):
        who = {"collection": NAME, "builder": self.account.caller, "role": ROLE, **more}
        text = json.dumps(document(f"collection-{kind}", **who))
        family = "access" if kind == "data" else "security"
        self(f"opensearchserverless.create_{family}_policy", type=kind, name=NAME, policy=text)

    def collection(self):
        for kind in ("encryption", "network", "data"):
            self.policy(kind)
        return self("opensearchserverless.create_collection", name=NAME)["createCollectionDetail"]

    def looks(self, **which):
        return self("opensearchserverless.batch_get_collection", **which)["collectionDetails"]

    def vectors(self, **more):
        self("s3vectors.create_vector_bucket", vectorBucketName=NAME)
        index = self("s3vectors.create_index", vectorBucketName=NAME, indexName=INDEX, **{**VECTORS, **more})
        return {"type": "S3_VECTORS", "s3VectorsConfiguration": {"indexArn": index["indexArn"]}}

    def base(self, storage, call=None, **more):
        kind = {"type": "VECTOR", "vectorKnowledgeBaseConfiguration": {"embeddingModelArn": MODEL}}
        form = {"name": NAME, "roleArn": ROLE, "knowledgeBaseConfiguration": kind, "storageConfiguration": storage}
        return (call or self)("bedrock-agent.create_knowledge_base", **form, **more)

    def ready(self, **more):
        """A knowledge base on S3 Vectors with a data source: the place of the data source."""
        self.role()
        base = self.base(self.vectors())["knowledgeBase"]["knowledgeBaseId"]
        self.state(base), self.state(base)
        where = {"type": "S3", "s3Configuration": {"bucketArn": BUCKET}}
        form = {"knowledgeBaseId": base, "name": NAME, "dataSourceConfiguration": where, **more}
        return {
            "knowledgeBaseId": base,
            "dataSourceId": self("bedrock-agent.create_data_source", **form)["dataSource"]["dataSourceId"],
        }

    def state(self, base):
        return self("bedrock-agent.get_knowledge_base", knowledgeBaseId=base)["knowledgeBase"]["status"]


@pytest.fixture
def aws():
    with together(Account(polls=1, page_size=2, empty=0), off=[11]) as found:
        yield Aws(found)


@pytest.mark.parametrize("polls", [0, 1, 3])
def test_a_state_is_seen_as_often_as_polls_says_and_a_collection_goes_only_when_it_is_settled(aws, polls):
    aws.account.polls = polls
    assert "encryption" in aws.refused("opensearchserverless.create_collection", name=NAME)
    number = aws.collection()["id"]
    assert "Conflict" in aws.refused("opensearchserverless.delete_collection", id=number)
    assert [aws.looks(names=[NAME])[0]["status"] for _ in range(4)] == ["CREATING"] * polls + ["ACTIVE"] * (4 - polls)
    assert "Conflict" in aws.refused("opensearchserverless.create_collection", name=NAME)
    aws("opensearchserverless.delete_collection", id=number)
    assert [len(aws.looks(ids=[number])) for _ in range(4)] == [1] * polls + [0] * (4 - polls)
    assert "NotFound" in aws.refused("opensearchserverless.delete_collection", id=number)


def ingested(aws):
    """The place of a data source whose two files, one of an unknown format, are in; and the job's end."""
    place = aws.ready()
    aws("s3.create_bucket", Bucket=NAME)
    for key in ("a.pdf", "c.psd"):
        aws("s3.put_object", Bucket=NAME, Key=key, Body=b"{}")
    job = aws("bedrock-agent.start_ingestion_job", **place)["ingestionJob"]["ingestionJobId"]
    return place, aws("bedrock-agent.get_ingestion_job", **place, ingestionJobId=job)["ingestionJob"]


def asks(aws, times, kind):
    base = ingested(aws)[0]["knowledgeBaseId"]
    search = {"vectorSearchConfiguration": {"overrideSearchType": kind}}
    asked = {"retrievalQuery": {"text": "How many people work for Amazon?"}, "retrievalConfiguration": search}
    return [aws.said("bedrock-agent-runtime.retrieve", knowledgeBaseId=base, **asked) for _ in range(times)][-1]


def makes_base(aws):
    aws.role()
    return aws.base(aws.vectors(), aws.said)


def makes_collection(aws):
    aws.policy("encryption")
    return aws.said("opensearchserverless.create_collection", name=NAME)


RULES = {  # by number: how it is met, what is said with the rule, and what without it
    7: (lambda aws: asks(aws, 2, "HYBRID"), "HYBRID search type is not supported", "'text': "),
    8: (lambda aws: asks(aws, 1, "SEMANTIC"), "'retrievalResults': []", "'text': "),
    9: (lambda aws: str(ingested(aws)[1]), "'numberOfDocumentsFailed': 0", "'numberOfDocumentsFailed': 1"),
    10: (makes_base, "cannot assume role", "CREATING"),
    11: (makes_collection, "iam:CreateServiceLinkedRole", "CREATING"),
}


@pytest.mark.parametrize("number", RULES)
def test_each_rule_about_what_the_account_holds_breaks_once(number):
    meet, *wanted = RULES[number]
    for off, text in zip(([], [number]), wanted, strict=True):
        with together(Account(polls=0, not_ready=["cannot assume role"] * (number == 10)), off=off) as found:
            assert text in meet(Aws(found)), off
            assert (number in found.account.rules.met) == (not off)


def test_each_thing_can_be_made_once_and_what_is_not_there_is_not_found(aws):
    place = aws.ready()
    storage = aws("bedrock-agent.get_knowledge_base", knowledgeBaseId=place["knowledgeBaseId"])["knowledgeBase"]
    assert "Conflict" in aws.base(storage["storageConfiguration"], aws.refused)
    assert "Conflict" in aws.refused("s3vectors.create_vector_bucket", vectorBucketName=NAME)
    assert "Conflict" in aws.refused("s3vectors.create_index", vectorBucketName=NAME, indexName=INDEX, **VECTORS)
    assert "Conflict" in aws.refused("s3vectors.delete_vector_bucket", vectorBucketName=NAME)  # it is not empty
    assert "NotFound" in aws.refused("s3vectors.get_vector_bucket", vectorBucketName="other")
    assert "NotFound" in aws.refused("opensearchserverless.get_access_policy", type="data", name=NAME)
    assert "NotFound" in aws.refused("bedrock-agent.get_knowledge_base", knowledgeBaseId="A" * 10)
    assert aws.found.left().keys() == {"vector buckets", "vector indexes", "knowledge bases", "data sources", "roles"}


@pytest.mark.parametrize("policy", ["RETAIN", "DELETE"])
def test_a_data_source_whose_store_is_gone_goes_only_with_retain(aws, policy):
    place = aws.ready(dataDeletionPolicy=policy)
    base = {"knowledgeBaseId": place["knowledgeBaseId"]}
    aws("s3vectors.delete_index", vectorBucketName=NAME, indexName=INDEX)
    aws("bedrock-agent.delete_data_source", **place)
    for _ in range(2):
        sources = aws("bedrock-agent.list_data_sources", **base)["dataSourceSummaries"]
    assert [one["status"] for one in sources] == ([] if policy == "RETAIN" else ["DELETE_UNSUCCESSFUL"])
    aws("bedrock-agent.delete_knowledge_base", **base)
    assert aws.state(base["knowledgeBaseId"]) == "DELETING"
    if policy == "RETAIN":
        assert "NotFound" in aws.refused("bedrock-agent.get_knowledge_base", **base)
    else:
        assert aws.state(base["knowledgeBaseId"]) == "DELETE_UNSUCCESSFUL"


def test_a_knowledge_base_needs_a_role_a_policy_and_an_index_that_fit(aws):
    found = aws.collection()
    aws.looks(names=[NAME]), aws.looks(names=[NAME])
    store = {"collectionArn": found["arn"], "vectorIndexName": INDEX, "fieldMapping": FIELDS}
    storage = {"type": "OPENSEARCH_SERVERLESS", "opensearchServerlessConfiguration": store}
    indexes = aws.account.serverless.indexes[found["id"]]

    def index(**field):
        vector = {"type": "knn_vector", "dimension": 1024, "method": {"engine": "faiss"}, **field}
        indexes[INDEX] = {"mappings": {"properties": {"vector": vector}}}

    def text():
        return aws.base(storage, aws.refused)

    assert "unable to assume the given role" in text()
    aws.role(service="ec2.amazonaws.com")
    assert "unable to assume the given role" in text()
    aws("iam.delete_role", RoleName=NAMES.role)
    aws.role()
    assert "no such index [letters]" in text()
    index(dimension=512)
    assert "Dimension should be: 512" in text()
    index(method={"engine": "nmslib"})
    assert "valid engine types: FAISS" in text()
    index(type="text")
    assert "not knn_vector type" in text()
    index()
    aws("opensearchserverless.delete_access_policy", type="data", name=NAME)
    assert "[security_exception] 403" in text()
    aws.account.forbidden = 2
    aws.policy("data")
    assert ["403" in text() for _ in range(2)] == [True, True]  # a new policy takes a while to be known
    token = {"clientToken": "t" * 40}
    first, again = aws.base(storage, **token), aws.base(storage, **token)
    assert first["knowledgeBase"]["knowledgeBaseId"] == again["knowledgeBase"]["knowledgeBaseId"]


@pytest.mark.parametrize(
    ("caller", "named", "granted"),
    [
        ("iam::111122223333:user/learner", "iam::111122223333:user/learner", True),
        ("iam::111122223333:user/learner", "iam::111122223333:user/other", False),
        ("sts::111122223333:assumed-role/learner/session", "iam::111122223333:role/path/learner", True),
        ("sts::111122223333:assumed-role/learner/session", "iam::111122223333:role/other", False),
    ],
)
def test_a_data_policy_names_the_role_and_not_the_session(aws, caller, named, granted):
    aws.policy("data", builder=f"arn:aws:{named}")
    assert aws.account.serverless.allowed(f"arn:aws:{caller}", "aoss:CreateIndex", NAME, INDEX) == granted


@pytest.mark.parametrize(
    ("call", "params"),
    [
        ("opensearchserverless.create_collection", {"name": "Letters"}),
        ("opensearchserverless.create_collection", {"name": NAME, "type": "VECTOR"}),
        ("opensearchserverless.create_security_policy", {"type": "network", "name": "x" * 33, "policy": "[{}]"}),
        ("opensearchserverless.create_security_policy", {"type": "network", "name": NAME, "policy": "no json"}),
        ("opensearchserverless.create_security_policy", {"type": "encryption", "name": NAME, "policy": "[{}]"}),
        ("opensearchserverless.create_access_policy", {"type": "data", "name": NAME, "policy": '[{"Rules": []}]'}),
        ("bedrock-agent.get_knowledge_base", {"knowledgeBaseId": "short"}),
    ],
)
def test_what_boto3_lets_through_and_the_service_does_not_is_refused(aws, call, params):
    assert aws.refused(call, **params).startswith("ValidationException")


def test_documents_are_ingested_a_second_time_only_if_they_changed_and_the_bad_ones_are_named(aws):
    place, asked = aws.ready(), {"retrievalQuery": {"text": "How many people work for Amazon?"}}
    asked["knowledgeBaseId"] = place["knowledgeBaseId"]
    aws("s3.create_bucket", Bucket=NAME)
    for key in ("a.pdf", "a.pdf.metadata.json", "b.pdf", "c.psd", "d.pdf"):
        aws("s3.put_object", Bucket=NAME, Key=key, Body=b"{}")
    aws.account.bad_documents["d.pdf"] = "it is locked"
    assert aws("bedrock-agent-runtime.retrieve", **asked)["retrievalResults"] == []

    def ingest():
        job = aws("bedrock-agent.start_ingestion_job", **place)["ingestionJob"]["ingestionJobId"]
        assert "Conflict" in aws.refused("bedrock-agent.start_ingestion_job", **place)
        assert "Conflict" in aws.refused("bedrock-agent.delete_data_source", **place)
        for _ in range(3):
            found = aws("bedrock-agent.get_ingestion_job", **place, ingestionJobId=job)["ingestionJob"]
        return found["status"], {name[8:]: n for name, n in found["statistics"].items() if n}, found

    status, counts, found = ingest()
    assert status == "COMPLETE" and counts["DocumentsScanned"] == 4 and counts["NewDocumentsIndexed"] == 2
    assert counts["DocumentsFailed"] == 1 and [f"/{name}]" in str(found) for name in ("c.psd", "d.pdf")] == [True] * 2
    aws("s3.put_object", Bucket=NAME, Key="b.pdf", Body=b"new")
    aws.account.bad_documents.clear()
    assert ingest()[1].items() >= {"ModifiedDocumentsIndexed": 1, "NewDocumentsIndexed": 1}.items()
    assert aws("bedrock-agent-runtime.retrieve", **asked)["retrievalResults"]
    aws("s3vectors.delete_index", vectorBucketName=NAME, indexName=INDEX)
    assert ingest()[0] == "FAILED"
    assert len(aws("bedrock-agent.list_ingestion_jobs", **place)["ingestionJobSummaries"]) == 2  # a page of three


def test_a_bucket_has_its_tags_from_the_call_that_makes_it_and_is_listed_with_its_region(aws):
    form = {"Tags": NAMES.tag_list(), "LocationConstraint": "eu-west-1"}
    aws("s3.create_bucket", Bucket=NAME, CreateBucketConfiguration=form)
    assert aws("s3.get_bucket_tagging", Bucket=NAME)["TagSet"] == NAMES.tag_list()
    assert [one["BucketRegion"] for one in aws("s3.list_buckets", Prefix=NAME)["Buckets"]] == ["eu-west-1"]
    aws.found.take_bucket("taken")
    assert "BucketAlreadyExists" in aws.refused("s3.create_bucket", Bucket="taken")
    assert [one["Name"] for one in aws("s3.list_buckets")["Buckets"]] == [NAME]


def test_an_answer_that_is_lost_is_asked_for_again_and_two_runs_give_the_same_ids():
    def run():
        with together(Account(polls=0), On(lost(), "CreateKnowledgeBase", calls={1})) as found:
            aws = Aws(found)
            aws.clients["bedrock-agent"] = found.client("bedrock-agent")
            return aws.ready(), found.key, [call.outcome for call in found.service.calls].count("dropped")

    assert run() == run() and run()[2] == 1


def test_another_source_answers_what_is_not_the_accounts():
    others = Script({"bedrock.ListInferenceProfiles": {"inferenceProfileSummaries": []}})
    with together(Account(), others=others) as found:
        assert found.client("bedrock").list_inference_profiles()["inferenceProfileSummaries"] == []
        assert "LoopbackNoAnswer" in Aws(found).refused("bedrock.list_foundation_models")
