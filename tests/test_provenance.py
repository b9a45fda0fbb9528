"""Every recorded answer says where it comes from, and has the form that the service's model gives it."""

import json
from pathlib import Path
from typing import Any

import anthropic.types
import pytest
from botocore.endpoint import convert_to_response_dict
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import ResponseParserError, create_parser
from botocore.validate import ParamValidator
from detect_secrets.core.scan import scan_file
from detect_secrets.settings import transient_settings

from helpers.replay import ORIGINS, response
from helpers.replay.index import open_index
from helpers.replay.recording import Recording, key
from helpers.settings import ROOT
from tools.notebooks import FOLDER
from tools.scrub import scrub

FOLDER_OF_RECORDINGS = ROOT / "data" / "recordings"
FILES = sorted(FOLDER_OF_RECORDINGS.rglob("*.json"))
NAMED = pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")


def provenance_problem(entry: dict[str, Any]) -> str:
    """What is wrong with where `entry` says it comes from; empty if nothing."""
    origin = entry.get("origin")
    if origin not in ORIGINS:
        return f"{entry['call']} has origin {origin!r}, not one of {', '.join(ORIGINS)}"
    is_model = entry["call"].startswith("bedrock-runtime.") and entry.get("status", 200) == 200
    if is_model and origin not in ("model", "service"):
        return f"{entry['call']} is an answer of the model, but its origin is {origin!r}"
    if origin == "model" and set(entry.get("estimated", [])) != {"usage", "latency"}:
        return f"{entry['call']} does not say that usage and latency are estimates"
    return ""


def form_problem(entry: dict[str, Any]) -> str:
    """What botocore's service model finds wrong with the response; empty if nothing."""
    service, _, name = entry["call"].partition(".")
    operation = _model(service).operation_model(name)
    parser = create_parser(_model(service).resolved_protocol)
    try:
        answer = convert_to_response_dict(response("", entry), operation)
        parsed = parser.parse(answer, operation.output_shape)
    except (ValueError, TypeError, ResponseParserError) as error:
        return str(error)
    parsed.pop("ResponseMetadata")
    if entry.get("status", 200) >= 300:
        return "" if parsed.get("Error", {}).get("Code") else "the error has no code"
    if operation.output_shape is None:
        return "" if not parsed else f"nothing is expected, found {parsed}"
    shape = operation.output_shape
    checks = [(parsed, shape)]
    if operation.has_event_stream_output:
        events = operation.get_event_stream_output()
        (member,) = [
            name for name, each in shape.members.items() if each.serialization.get("eventstream") or each is events
        ]
        stream = parsed.pop(member)
        checks = [(event[kind], events.members[kind]) for event in stream for kind in event]
        if not checks:
            return "the stream is empty"
    elif operation.has_streaming_output:
        parsed[shape.serialization["payload"]] = b""
    reports = [ParamValidator().validate(value, each) for value, each in checks]
    return "; ".join(report.generate_report() for report in reports if report.has_errors())


def _model(service: str, _known: dict[str, ServiceModel] = {}) -> ServiceModel:  # noqa: B006  a cache
    if service not in _known:
        _known[service] = ServiceModel(Loader().load_service_model(service, "service-2"), service)
    return _known[service]


def test_there_is_a_recording_for_each_lesson_and_no_other():
    lessons = {path.stem for path in FOLDER.glob("**/*.ipynb")}
    assert FILES and {path.name.partition(".")[0] for path in FILES} <= lessons


@NAMED
def test_entries_say_where_they_come_from_and_have_the_form_of_their_operation(path):
    entries = Recording(path).entries
    assert entries and [key(entry) for entry in entries] == sorted(key(entry) for entry in entries)
    for entry in entries:
        assert provenance_problem(entry) == ""
        if not entry["call"].startswith("opensearch."):
            assert form_problem(entry) == "", entry["request"]
        if entry["call"] == "bedrock-runtime.InvokeModel":
            message = anthropic.types.Message.model_validate(entry["body"]["json"], strict=True)
            assert message.content and message.usage.output_tokens > 0


@NAMED
def test_what_the_index_found_is_what_it_finds_and_nothing_secret_or_private_is_there(path):
    chinese = path.parent.name == "zh"
    index = open_index(ROOT / "data" / "letters" / "zh" if chinese else ROOT / "data" / "letters")
    for entry in Recording(path).entries:
        if entry["origin"] == "index":
            assert entry["body"]["json"] == json.loads(json.dumps(index.retrieve(entry["request"])))
    text = path.read_text(encoding="utf-8")
    assert scrub(text) == text and scanned(path) == set()
    assert not any(word in text for word in ("/home/", "/Users/", "/work/", "/root/"))


# Kinds of secrets that a scanner of its own looks for. Not entropy: digests of pictures look like keys to it.
SCANNED = ("AWSKeyDetector", "GitHubTokenDetector", "JwtTokenDetector", "OpenAIDetector", "PrivateKeyDetector",
           "SlackDetector", "BasicAuthDetector")  # fmt: skip


def scanned(path: Path) -> set[str]:
    """Kinds of secrets that detect-secrets finds in a file."""
    with transient_settings({"plugins_used": [{"name": name} for name in SCANNED], "filters_used": []}):
        return {found.type for found in scan_file(str(path))}


def test_control_the_scanner_finds_a_planted_secret(tmp_path):
    planted = tmp_path / "x.json"
    planted.write_text('{"key": "AKIAQWERTYUIOPASDFGH", "token": "ghp_' + "a1B2" * 9 + '"}')
    assert scanned(planted) == {"AWS Access Key", "GitHub Token"}


def _good() -> dict[str, Any]:
    usage = {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}
    message = {"role": "assistant", "content": [{"text": "hi"}]}
    body = {"output": {"message": message}, "stopReason": "end_turn", "usage": usage, "metrics": {"latencyMs": 1}}
    marks = {"origin": "model", "estimated": ["usage", "latency"]}
    return {"call": "bedrock-runtime.Converse", **marks, "request": {}, "body": {"json": body}}


def test_control_what_is_wrong_is_found():
    assert provenance_problem(_good()) == "" and form_problem(_good()) == ""
    assert "origin None" in provenance_problem({k: v for k, v in _good().items() if k != "origin"})
    assert "answer of the model" in provenance_problem({**_good(), "origin": "api-model"})
    assert "estimates" in provenance_problem({**_good(), "estimated": []})
    for change in ({"stopReason": 7}, {"usage": {"inputTokens": "many"}}, {"output": {"message": {"role": "x"}}}):
        body = {"json": {**_good()["body"]["json"], **change}}
        assert form_problem({**_good(), "body": body}) != "", change
    with pytest.raises(ValueError, match="content"):
        anthropic.types.Message.model_validate({"id": "x", "type": "message", "role": "assistant"}, strict=True)
    stream = [{"event": "contentBlockDelta", "data": {"delta": {"text": 5}}}]
    assert form_problem({**_good(), "call": "bedrock-runtime.ConverseStream", "body": {"events": stream}}) != ""
    assert form_problem({**_good(), "call": "bedrock-runtime.ConverseStream", "body": {"events": []}}) != ""
