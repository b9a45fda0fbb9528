"""Every recorded answer says where it comes from, and has the form that the service's model gives it."""

import json
from functools import cache

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
from helpers.replay.recording import Recording
from helpers.settings import ROOT
from tools.notebooks import FOLDER, edition_of
from tools.recorder import save

FILES = sorted((ROOT / "data" / "recordings").rglob("*.json"))
# Kinds of secrets that a scanner of its own looks for. Not entropy: digests of pictures look like keys to it.
SCANNED = ("AWSKey", "GitHubToken", "JwtToken", "OpenAI", "PrivateKey", "Slack", "BasicAuth")


def provenance_problem(entry):
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


def form_problem(entry):
    """What botocore's service model, or Anthropic's, finds wrong with the response; empty if nothing."""
    service, _, name = entry["call"].partition(".")
    operation = _model(service).operation_model(name)
    parser = create_parser(_model(service).resolved_protocol)
    try:
        answer = convert_to_response_dict(response("", entry), operation)
        parsed = parser.parse(answer, operation.output_shape)
        if name == "InvokeModel":
            message = anthropic.types.Message.model_validate(entry["body"]["json"], strict=True)
            assert message.content and message.usage.output_tokens > 0
    except (ValueError, TypeError, ResponseParserError) as error:
        return str(error)
    parsed.pop("ResponseMetadata")
    if entry.get("status", 200) >= 300:
        return "" if parsed.get("Error", {}).get("Code") else "the error has no code"
    if operation.output_shape is None:
        return f"nothing is expected, found {parsed}" if parsed else ""
    shape = operation.output_shape
    checks = [(parsed, shape)]
    if operation.has_event_stream_output:
        kinds = operation.get_event_stream_output().members
        checks = [(each["data"], kinds[each["event"]]) for each in entry["body"]["events"]]
        if not checks:
            return "the stream is empty"
    elif operation.has_streaming_output:
        parsed[shape.serialization["payload"]] = b""
    reports = [ParamValidator().validate(value, each).generate_report() for value, each in checks]
    return "; ".join(filter(None, reports))


@cache
def _model(service):
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


def scanned(path):
    """Kinds of secrets that detect-secrets finds in a file."""
    plugins = [{"name": f"{kind}Detector"} for kind in SCANNED]
    with transient_settings({"plugins_used": plugins, "filters_used": []}):
        return {found.type for found in scan_file(str(path))}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_recording_is_as_it_would_be_written_and_each_entry_true_to_its_origin(path, tmp_path):
    recording, edition = Recording(path), edition_of(path)
    assert recording.entries and list(FOLDER.glob(f"{path.name.partition('.')[0]}.ipynb"))  # of a lesson
    for entry in recording.entries:
        assert provenance_problem(entry) == ""
        if not entry["call"].startswith("opensearch."):
            assert form_problem(entry) == "", entry["request"]
        if entry["origin"] == "index":
            index = open_index(ROOT / "data" / "letters" / edition)
            assert entry["body"]["json"] == json.loads(json.dumps(index.retrieve(entry["request"])))
    save(recording, tmp_path / path.name)  # sorted, scrubbed
    text = path.read_text(encoding="utf-8")
    assert (tmp_path / path.name).read_text(encoding="utf-8") == text and scanned(path) == set()
    assert not any(word in text for word in ("/home/", "/Users/", "/work/", "/root/"))


def test_control_the_scanner_finds_a_planted_secret_and_saving_removes_it(tmp_path):
    planted = tmp_path / "x.json"
    key = {"key": "AKIAQWERTYUIOPASDFGH", "token": "ghp_" + "a1B2" * 9}
    planted.write_text(json.dumps({"entries": [{**_good(), "request": key}]}))
    assert scanned(planted) == {"AWS Access Key", "GitHub Token"}
    save(Recording(planted), planted)
    assert scanned(planted) == set()


def _good(**changes):
    usage = {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}
    message = {"role": "assistant", "content": [{"text": "hi"}]}
    body = {"output": {"message": message}, "stopReason": "end_turn", "usage": usage, "metrics": {"latencyMs": 1}}
    marks = {"origin": "model", "estimated": ["usage", "latency"]}
    return {"call": "bedrock-runtime.Converse", **marks, "request": {}, "body": {"json": body | changes}}


STREAMED, INVOKED = {"call": "bedrock-runtime.ConverseStream"}, {"call": "bedrock-runtime.InvokeModel"}
ODD_EVENT = {"event": "contentBlockDelta", "data": {"delta": {"text": 5}}}


def test_control_what_is_wrong_is_found():
    for entry, problem in [
        (_good(), ""),
        (_good() | {"origin": "api-model"}, "answer of the model"),
        (_good() | {"estimated": []}, "estimates"),
        (_good(stopReason=7), "stopReason"),
        (_good() | INVOKED | {"body": {"json": {"id": "x", "type": "message"}}}, "content"),
        (_good() | STREAMED | {"body": {"events": []}}, "empty"),
        (_good() | STREAMED | {"body": {"events": [ODD_EVENT]}}, "text"),
    ]:
        found = provenance_problem(entry) or form_problem(entry)
        assert problem in found and bool(problem) == bool(found)
