"""Record against a service that speaks Bedrock's wire format, then replay: the same answers, and nothing secret."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from helpers import clients, recordings
from helpers.recordings.file import Recording
from tests.loopback import On, Reply, Script, Service
from tests.loopback.faults import refused

ACCOUNT, KEY, SECRET = "987654321098", "AKIAQWERTYUIOPASDFGH", "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"
TOKEN = "IQoJb3JpZ2luX2VjE" + "aB3/" * 20
QUESTION = {"modelId": "m.x", "messages": [{"role": "user", "content": [{"text": "hello"}]}]}
MESSAGES = {"max_tokens": 10, "messages": [{"role": "user", "content": "hello"}]}
PASSAGE = {"content": {"text": "a passage", "type": "TEXT"}, "score": 0.5}


@pytest.fixture
def record(change, monkeypatch, tmp_path):
    """Run `session(client)` in record mode against a scripted service; the answers end up in lesson.json."""

    def run(session, answers, *faults):
        for name, value in {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_SESSION_TOKEN": TOKEN,
            "AWS_REGION": "eu-central-1",
        }.items():
            monkeypatch.setenv(name, value)
        change(mode="record", recordings_dir=tmp_path)
        with Service(Script(answers), *faults) as service:
            monkeypatch.setenv("AWS_ENDPOINT_URL", service.url)
            recordings.use("lesson")
            result = session(clients.client)
        collected = tmp_path / "lesson.new.json"
        collected.rename(tmp_path / "lesson.json")
        change(mode="replay")
        recordings.use("lesson")
        return result

    return run


def everything(client):
    """One of each kind of call; what comes back, without what differs in every response."""
    runtime, agent = client("bedrock-runtime"), client("bedrock-agent-runtime")
    stream = runtime.converse_stream(**QUESTION)["stream"]
    chunks = runtime.invoke_model_with_response_stream(modelId="m.x", body=json.dumps(MESSAGES))["body"]
    return [
        runtime.converse(**QUESTION)["output"],
        list(stream),
        json.loads(runtime.invoke_model(modelId="m.x", body=json.dumps(MESSAGES))["body"].read()),
        [json.loads(event["chunk"]["bytes"]) for event in chunks],
        agent.retrieve(knowledgeBaseId="KB12345678", retrievalQuery={"text": "q"})["retrievalResults"],
    ]


ANSWERS = {
    "sts.GetCallerIdentity": {"Account": ACCOUNT, "Arn": f"arn:aws:iam::{ACCOUNT}:user/x", "UserId": KEY},
    "bedrock-runtime.Converse": Reply("Hallo, 你好.", thinking="Which language?"),
    "bedrock-runtime.ConverseStream": Reply("one two three"),
    "bedrock-runtime.InvokeModel": Reply(f"{ACCOUNT} and {KEY} and {TOKEN}"),
    "bedrock-runtime.InvokeModelWithResponseStream": Reply("one two three"),
    "bedrock-agent-runtime.Retrieve": {"retrievalResults": [PASSAGE]},
}


def test_replay_gives_what_was_recorded(record, change, tmp_path):
    answers = {**ANSWERS, "bedrock-runtime.InvokeModel": Reply("plain")}
    live = record(everything, answers)
    assert everything(clients.client) == live
    stored = Recording(tmp_path / "lesson.json")
    assert len(stored.entries) == 5 and {entry["origin"] for entry in stored.entries} == {"service"}


def test_recording_again_changes_no_byte(record, tmp_path):
    record(everything, ANSWERS)
    first = (tmp_path / "lesson.json").read_bytes()
    record(everything, ANSWERS)
    assert (tmp_path / "lesson.json").read_bytes() == first


def test_nothing_secret_is_in_the_file(record, tmp_path):
    record(lambda client: (client("sts").get_caller_identity(), everything(client)), ANSWERS)
    text = (tmp_path / "lesson.json").read_text(encoding="utf-8")
    assert not [
        secret for secret in (ACCOUNT, KEY, SECRET, TOKEN, "127.0.0.1", "Signature") if secret in text
    ]
    assert clients.client("sts").get_caller_identity()["Account"] == "111122223333"


def test_a_retried_call_keeps_its_last_answer_only(record, tmp_path, monkeypatch):
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: None)
    throttled = On(refused("too many tokens"), operation="Converse", calls={1, 2})
    live = record(lambda client: client("bedrock-runtime").converse(**QUESTION), ANSWERS, throttled)
    assert live["ResponseMetadata"]["RetryAttempts"] == 2
    stored = Recording(tmp_path / "lesson.json").entries
    assert [entry["status"] for entry in stored] == [200]


def test_an_error_is_recorded_as_it_came(record):
    def ask(client):
        with pytest.raises(ClientError) as caught:
            client("bedrock-runtime").converse(**QUESTION)
        return caught.value.response["Error"]

    denied = On(refused("no access"), operation="Converse")
    live = record(ask, ANSWERS, denied)
    assert live["Code"] == "AccessDeniedException"
    assert ask(clients.client)["Message"] == live["Message"]


def test_threads_are_recorded_without_loss(record, tmp_path):
    questions = [{**QUESTION, "system": [{"text": str(number)}]} for number in range(40)]

    def ask_all(client):
        runtime = client("bedrock-runtime")
        with ThreadPoolExecutor(16) as pool:
            return list(pool.map(lambda question: runtime.converse(**question)["output"], questions))

    answers = {"bedrock-runtime.Converse": lambda params: Reply("answer to " + params["system"][0]["text"])}
    live = record(ask_all, answers)
    assert len(Recording(tmp_path / "lesson.json").entries) == 40
    assert ask_all(clients.client) == live
    assert "answer to 17" in json.dumps(live[17])


def test_live_mode_records_nothing(change, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    change(mode="live", recordings_dir=tmp_path, region="us-west-2")
    with Service(Script(ANSWERS)) as service:
        monkeypatch.setenv("AWS_ENDPOINT_URL", service.url)
        recordings.use("lesson")
        assert everything(clients.client)
        assert clients.client("s3").meta.region_name == "us-west-2"
    assert not list(tmp_path.glob("*.json"))
