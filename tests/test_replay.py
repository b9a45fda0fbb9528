"""Replay: recorded answers on botocore's clients, and the settings that choose them."""

import json
import re

import boto3
import pytest
from botocore.exceptions import ParamValidationError

from helpers import clients, replay, workshop
from helpers.replay.recording import RecordingMissing, request_of


def asked(text, **more):
    return {"modelId": "m.x", "messages": [{"role": "user", "content": [{"text": text}]}], **more}


def said(text):
    message = {"role": "assistant", "content": [{"text": text}]}
    usage = {"inputTokens": 3, "outputTokens": 4, "totalTokens": 7}
    return {"json": {"output": {"message": message}, "stopReason": "end_turn", "usage": usage}}


def entry(call, params, body, **more):
    return {"call": call, "origin": "model", "request": request_of(params), "body": body, **more}


def store(path, *entries, date="2026-01-01"):
    """A recording of these entries at `path`."""
    path.write_text(json.dumps({"date": date, "entries": entries}))


@pytest.fixture
def recorded(tmp_path, change):
    """Start replay over the given entries; the client of the models."""

    def start(*entries):
        change(recordings_dir=tmp_path)
        store(tmp_path / "lesson.json", *entries)
        workshop.start("lesson")
        return boto3.client("bedrock-runtime")  # the first client after the set-up is a cell's own

    return start


def test_replay_needs_nothing_of_the_machine_opens_no_socket_and_says_what_is_estimated(
    recorded, monkeypatch, tmp_path, capsys
):
    (tmp_path / "config").write_text("[broken")
    odd = dict.fromkeys(("PROFILE", "ENDPOINT_URL", "RETRY_MODE", "MAX_ATTEMPTS", "CA_BUNDLE"), "nonsense")
    odd |= dict.fromkeys(("CONFIG_FILE", "SHARED_CREDENTIALS_FILE"), str(tmp_path / "config"))
    for name, value in odd.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("replay opened a connection"))
    runtime = recorded(entry("bedrock-runtime.Converse", asked("hello"), said("hi"), estimated=["usage"]))
    assert "1 from a Claude model outside Amazon Bedrock" in capsys.readouterr().out
    for client in (runtime, clients.client("bedrock-runtime")):
        response = client.converse(**asked("hello"))
        assert response["output"]["message"]["content"] == [{"text": "hi"}] and replay.estimated(response)
    assert clients.client("s3").meta.region_name == "us-east-1"
    with pytest.raises(ParamValidationError, match="messages"):  # botocore still looks at the request
        runtime.converse(modelId="m.x", messages="hello")


def test_a_missing_answer_says_where_it_differs_what_there_is_and_how_to_go_on(recorded):
    long = "The same beginning of a long prompt. " * 20
    limit = {"inferenceConfig": {"maxTokens": 900}}
    runtime = recorded(
        entry("bedrock-runtime.Converse", asked("This is longer. " * 60 + "Something else", **limit), said("-")),
        entry("bedrock-runtime.Converse", asked(long + "What is Amazon doing?", **limit), said("-")),
    )
    with pytest.raises(RecordingMissing) as caught:
        runtime.converse(**asked(long + "What is Google doing?", **limit))
    message = str(caught.value)
    assert "recorded: …" in message and "Amazon doing?" in message and "Google doing?" in message
    assert "This is longer. Something else (at most 900 tokens)" in message
    assert "undo the edit" in message and "WORKSHOP_MODE=live" in message
    assert len(message.splitlines()) == 8 and len(message) < 900
    assert caught.value._render_traceback_() == [f"RecordingMissing: {message}"]
    with pytest.raises(RecordingMissing, match=r"- the same, with the system prompt …Speak as a poet\."):
        rules = {"system": [{"text": "Speak as a poet."}]}
        recorded(entry("bedrock-runtime.Converse", asked("Hello", **rules), said("-"))).converse(**asked("Hello"))


@pytest.mark.parametrize("text", ['{"entries": [', "[1]", '{"date": "today"}', '{"entries": [{"call": "a.B"}]}'])
def test_a_broken_file_is_one_clear_error(text, tmp_path, change):
    change(recordings_dir=tmp_path)
    (tmp_path / "lesson.json").write_text(text)
    with pytest.raises(workshop.WorkshopError, match=r"lesson\.json is not a recording .*git checkout"):
        workshop.start("lesson")


def test_before_the_set_up_cell_there_is_one_clear_error():
    with pytest.raises(workshop.WorkshopError, match="Run the set-up cell first"):
        clients.client("s3")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"WORKSHOP_MODE=lively\n", "WORKSHOP_MODE is 'lively'"),
        (b"WORKSHOP_MODE=server\n", "Which model?"),
        (b"", "no setting WORKSHOP_MODELL. Did you mean WORKSHOP_MODEL?"),  # but in the environment
    ],
)
def test_what_is_wrong_with_a_setting_is_one_clear_error(content, words, change, tmp_path, monkeypatch):
    (tmp_path / ".env").write_bytes(content)
    monkeypatch.delenv("WORKSHOP_MODE")
    change(env_file=tmp_path / ".env", letters_dir="data/letters", **{} if content else {"modell": "x"})
    with pytest.raises(workshop.WorkshopError, match=re.escape(words)):
        workshop.start("lesson")
    monkeypatch.delenv("WORKSHOP_MODELL", raising=False)
    (tmp_path / ".env").write_bytes(b"WORKSHOP_MODE=replay\n")
    workshop.start("lesson")  # what is corrected counts
