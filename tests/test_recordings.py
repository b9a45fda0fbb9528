"""The seam: replay, record and live on the same clients."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError, EventStreamError, ParamValidationError
from opensearchpy.exceptions import AuthorizationException

from helpers import clients, recordings
from helpers.errors import WorkshopError
from helpers.recordings import wire
from helpers.recordings.file import Recording, RecordingMissing
from helpers.recordings.scrub import ACCOUNT, scrub
from helpers.settings import settings


def user(text):
    return [{"role": "user", "content": [{"text": text}]}]


def reply(text):
    message = {"role": "assistant", "content": [{"text": text}]}
    usage = {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}
    return {"json": {"output": {"message": message}, "stopReason": "end_turn", "usage": usage}}


def entry(call, params, body, **more):
    return {"call": call, "origin": "model", "request": recordings.request_of(params), "body": body, **more}


@pytest.fixture
def recorded(tmp_path, change, capsys):
    """Start replay over the given entries."""

    def start(*entries):
        change(recordings_dir=tmp_path)
        recording = Recording(tmp_path / "lesson.json")
        for each in entries:
            recording.add(each)
        recording.save()
        return recordings.use("lesson")

    return start


def test_replay_answers_converse_and_says_what_is_estimated(recorded, capsys):
    params = {"modelId": "m.x", "messages": user("hello")}
    recorded(entry("bedrock-runtime.Converse", params, reply("hi"), estimated=["usage"]))
    assert "1 from a Claude model outside Amazon Bedrock" in capsys.readouterr().out
    response = clients.client("bedrock-runtime").converse(**params)
    assert response["output"]["message"]["content"] == [{"text": "hi"}]
    assert recordings.estimated(response)


def test_replay_needs_nothing_of_the_machine(recorded, monkeypatch, tmp_path):
    (tmp_path / "config").write_text("[broken")
    for name, value in {
        "AWS_PROFILE": "nonsense",
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "config"),
        "AWS_ENDPOINT_URL": "not a url",
        "AWS_RETRY_MODE": "never",
        "AWS_MAX_ATTEMPTS": "many",
        "AWS_CA_BUNDLE": "/nowhere",
    }.items():
        monkeypatch.setenv(name, value)
    params = {"modelId": "m.x", "messages": user("hello")}
    recorded(entry("bedrock-runtime.Converse", params, reply("hi")))
    assert clients.client("bedrock-runtime").converse(**params)["stopReason"] == "end_turn"
    assert boto3.client("bedrock-runtime").converse(**params)["stopReason"] == "end_turn"
    assert clients.client("s3").meta.region_name == "us-east-1"


def test_replay_never_opens_a_socket(recorded, monkeypatch):
    params = {"modelId": "m.x", "messages": user("hello")}
    recorded(entry("bedrock-runtime.Converse", params, reply("hi")))
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("replay opened a connection"))
    clients.client("bedrock-runtime").converse(**params)


def test_botocore_still_validates_the_request(recorded):
    recorded()
    with pytest.raises(ParamValidationError, match="messages"):
        clients.client("bedrock-runtime").converse(modelId="m.x", messages="hello")


def test_event_streams_and_their_exceptions(recorded):
    params = {"modelId": "m.x", "messages": user("hello")}
    delta = {"event": "contentBlockDelta", "data": {"contentBlockIndex": 0, "delta": {"text": "né 缺孔"}}}
    broken = {"exception": "modelStreamErrorException", "data": {"message": "it broke"}}
    start = {"event": "messageStart", "data": {"role": "assistant"}}
    recorded(entry("bedrock-runtime.ConverseStream", params, {"events": [start, delta, broken]}))
    stream = clients.client("bedrock-runtime").converse_stream(**params)["stream"]
    assert next(iter(stream)) == {"messageStart": {"role": "assistant"}}
    with pytest.raises(EventStreamError, match="it broke"):
        texts = [event["contentBlockDelta"]["delta"]["text"] for event in stream]
        assert texts == ["né 缺孔"]


def test_invoke_model_stream_chunks(recorded):
    params = {"modelId": "m.x", "body": '{"a": 1}'}
    chunk = {"event": "chunk", "data": {"chunk": {"type": "message_stop"}}}
    recorded(entry("bedrock-runtime.InvokeModelWithResponseStream", params, {"events": [chunk]}))
    client = clients.client("bedrock-runtime")
    body = client.invoke_model_with_response_stream(modelId="m.x", body=b'{ "a":1 }')["body"]
    assert [json.loads(event["chunk"]["bytes"]) for event in body] == [{"type": "message_stop"}]


def test_the_nth_same_request_gets_the_nth_answer_and_the_last_repeats(recorded):
    params = {"knowledgeBaseId": "ABCDEFGHIJ"}
    states = [{"json": {"knowledgeBase": {"status": state}}} for state in ("CREATING", "ACTIVE")]
    recorded(*(entry("bedrock-agent.GetKnowledgeBase", params, state) for state in states))
    client = clients.client("bedrock-agent")
    seen = [client.get_knowledge_base(**params)["knowledgeBase"]["status"] for _ in range(4)]
    assert seen == ["CREATING", "ACTIVE", "ACTIVE", "ACTIVE"]


def test_recorded_errors_are_raised_at_once(recorded, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("replay slept"))
    params = {"modelId": "m.x", "messages": user("hello")}
    body = {"json": {"message": "Too many requests, please wait before trying again."}}
    headers = {"x-amzn-errortype": "ThrottlingException"}
    recorded(entry("bedrock-runtime.Converse", params, body, status=429, headers=headers))
    with pytest.raises(ClientError) as caught:
        clients.client("bedrock-runtime").converse(**params)
    assert caught.value.response["Error"]["Code"] == "ThrottlingException"


def test_s3_speaks_xml_and_files_become_digests(recorded, tmp_path):
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7 hello")
    with open(tmp_path / "a.pdf", "rb") as file:
        params = {"Bucket": "b", "Key": "a.pdf", "Body": file}
        recorded(entry("s3.PutObject", params, {"text": ""}, headers={"etag": '"x"'}))
        assert clients.client("s3").put_object(**params)["ETag"] == '"x"'
    text = (tmp_path / "lesson.json").read_text()
    assert "hello" not in text and '"bytes": 14' in text


def test_opensearch_goes_through_the_same_file(recorded):
    asked = {"path": "/letters", "params": {}, "body": b'{"settings": {"index.knn": true}}'}
    missing = {"path": "/letters", "params": {}, "body": None}
    forbidden = {"json": {"status": 403, "error": {"type": "security_exception", "reason": "403 Forbidden"}}}
    kind = {"headers": {"content-type": "application/json"}}
    recorded(
        entry("opensearch.HEAD", missing, {"text": ""}, status=404, **kind),
        entry("opensearch.PUT", asked, forbidden, status=403, **kind),
        entry("opensearch.PUT", asked, {"json": {"acknowledged": True}}, status=200, **kind),
    )
    client = clients.opensearch("https://abc.us-east-1.aoss.amazonaws.com")
    assert client.indices.exists(index="letters") is False
    settings_body = {"settings": {"index.knn": True}}
    with pytest.raises(AuthorizationException, match="security_exception"):
        client.indices.create(index="letters", body=settings_body)
    assert client.indices.create(index="letters", body=settings_body) == {"acknowledged": True}


def test_threads_get_their_own_answers(recorded):
    calls = [{"modelId": "m.x", "messages": user(f"question {number}")} for number in range(64)]
    recorded(*(entry("bedrock-runtime.Converse", call, reply(f"answer {n}")) for n, call in enumerate(calls)))
    client, start = clients.client("bedrock-runtime"), threading.Barrier(16)

    def ask(number):
        if number < 16:
            start.wait()
        return client.converse(**calls[number])["output"]["message"]["content"][0]["text"]

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(64))) == [f"answer {number}" for number in range(64)]


def test_a_missing_recording_says_where_it_differs_and_how_to_go_on(recorded):
    long = "The same beginning of a long prompt. " * 20
    near = {"modelId": "m.x", "messages": user(long + "What is Amazon doing?")}
    far = {"modelId": "m.x", "messages": user("Something else entirely"), "system": [{"text": "Be brief."}]}
    recorded(*(entry("bedrock-runtime.Converse", params, reply("-")) for params in (far, near)))
    with pytest.raises(RecordingMissing) as caught:
        clients.client("bedrock-runtime").converse(
            modelId="m.x", messages=user(long + "What is Google doing?")
        )
    message = str(caught.value)
    assert "messages[0].content[0].text" in message
    assert "Amazon doing?" in message and "Google doing?" in message
    assert "undo the edit" in message and "WORKSHOP_MODE=live" in message
    assert len(message.splitlines()) == 5 and len(message) < 600
    assert caught.value._render_traceback_() == [f"RecordingMissing: {message}"]


def test_a_missing_call_is_named(recorded):
    recorded()
    with pytest.raises(RecordingMissing, match=r"no recorded answer to bedrock-runtime\.Converse"):
        clients.client("bedrock-runtime").converse(modelId="m.x", messages=user("hello"))


def test_before_use_there_is_one_clear_error():
    with pytest.raises(WorkshopError, match="Run the set-up cell first"):
        clients.client("s3")


def test_a_broken_file_is_one_clear_error(tmp_path, change):
    change(recordings_dir=tmp_path)
    (tmp_path / "lesson.json").write_text('{"entries": [')
    with pytest.raises(WorkshopError, match=r"lesson\.json is not valid JSON"):
        recordings.use("lesson")


def test_scrub_leaves_no_secret_behind():
    secrets = {
        "account": "987654321098",
        "key": "AKIAQWERTYUIOPASDFGH",
        "temporary": "ASIAQWERTYUIOPASDFGH",
        "token": "IQoJb3JpZ2luX2VjE" + "aB3/" * 20,
        "api key": "ABSKQmVkcm9ja0FQSUtleS" + "x" * 30,
        "own": "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY",
        "host": "ip-10-0-3-17.ec2.internal",
    }
    text = json.dumps(
        {
            "arn": f"arn:aws:iam::{secrets['account']}:role/x",
            "bucket": f"kb-{secrets['account']}-letters",
            "SecretAccessKey": "short but secret",
            "text": " ".join(secrets.values()),
            "sentence": f"This is account {secrets['account']}. {secrets['account']}.dkr.ecr.amazonaws.com",
            "url": "https://s3/x?X-Amz-Signature=abcdef&X-Amz-Credential=AKIA/1",
        }
    )
    clean = scrub(text, [secrets["own"]])
    assert not [name for name, secret in secrets.items() if secret in clean]
    assert "short but secret" not in clean and "abcdef" not in clean
    assert f"arn:aws:iam::{ACCOUNT}:role/x" in clean
    assert scrub(clean) == clean
    assert (
        scrub('"$386 billion, 1,298,000 people, 3.141592653589"')
        == '"$386 billion, 1,298,000 people, 3.141592653589"'
    )


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", {"json": {"a": [1, "é"], "b": None}}),
        ("text/xml", {"text": "<a>é</a>"}),
        ("application/octet-stream", {"base64": "/9j/4AAQ"}),
        ("application/vnd.amazon.eventstream", {"events": [{"event": "x", "data": {"a": "é"}}]}),
        ("application/vnd.amazon.eventstream", {"events": [{"exception": "e", "data": {"message": "m"}}]}),
    ],
)
def test_bodies_come_back_as_they_were(kind, body):
    assert wire.readable(kind, wire.raw(body)) == body


def test_a_save_is_whole_or_not_at_all(tmp_path, monkeypatch):
    recording = Recording(tmp_path / "lesson.json")
    recording.add(entry("a.B", {"x": 1}, {"json": {}}))
    recording.save()
    before = recording.path.read_bytes()
    recording.add(entry("a.B", {"x": 2}, {"json": {}}))
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        recording.save()
    assert recording.path.read_bytes() == before


def test_entries_are_sorted_and_events_stand_one_on_a_line(tmp_path):
    recording = Recording(tmp_path / "lesson.json")
    events = {"events": [{"event": "x", "data": {"text": f"line {number}"}} for number in range(3)]}
    recording.add(entry("b.Z", {"x": 1}, events))
    recording.add(entry("a.A", {"x": 1}, {"json": {}}))
    recording.save()
    lines = recording.path.read_text(encoding="utf-8").splitlines()
    assert [line.strip() for line in lines if '"event": "x"' in line] == [
        f'{{"event": "x", "data": {{"text": "line {number}"}}}}{"," * (number < 2)}' for number in range(3)
    ]
    assert [each["call"] for each in json.loads(recording.path.read_text())["entries"]] == ["a.A", "b.Z"]
    again = Recording(recording.path)
    again.save()
    assert recording.path.read_text(encoding="utf-8").splitlines() == lines


def test_importing_helpers_is_light():
    import subprocess
    import sys

    modules = (
        "helpers, helpers.settings, helpers.clients, helpers.models, helpers.recordings, helpers.retrieval"
    )
    heavy = "{'langchain_core', 'langchain_aws', 'matplotlib'}"
    code = f"import sys, {modules}; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_settings_name_what_is_wrong(change, monkeypatch):
    change(mode="reply")
    with pytest.raises(WorkshopError, match=r"WORKSHOP_MODE is 'reply'.*'replay'"):
        settings()
    change(mode="replay")
    monkeypatch.setenv("WORKSHOP_LANGUAG", "x")
    with pytest.raises(WorkshopError, match=r"no setting WORKSHOP_LANGUAG\. Did you mean WORKSHOP_LANGUAGE"):
        settings()


def test_relative_folders_are_relative_to_the_workshop(change):
    change(letters_dir="data/letters")
    assert settings().letters_dir == Path(__file__).resolve().parents[1] / "data" / "letters"
