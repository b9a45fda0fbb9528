"""The set-up check: each row is ok, or says what to do next."""

import json
import shutil
from types import SimpleNamespace

import pytest

from helpers import checks, workshop
from helpers.settings import ROOT
from tests.loopback import On, ServiceError
from tests.loopback.faults import garbled, refused

ACCOUNT = "987654321098"
LISTS = ("bedrock.ListFoundationModels", "bedrock.ListInferenceProfiles")
ANSWERS = {name: json.loads((ROOT / f"tools/api_answers/{name}.json").read_text()) for name in LISTS}
AVAILABLE = {
    "modelId": "anthropic.claude-sonnet-5-5",
    "agreementAvailability": {"status": "AVAILABLE"},
    "authorizationStatus": "AUTHORIZED",
    "entitlementAvailability": "AVAILABLE",
    "regionAvailability": "AVAILABLE",
}
KNOWLEDGE_BASE = {
    "knowledgeBaseId": "ABCDEFGHIJ",
    "knowledgeBaseArn": f"arn:aws:bedrock:us-west-2:{ACCOUNT}:knowledge-base/ABCDEFGHIJ",
    "name": "letters",
    "roleArn": f"arn:aws:iam::{ACCOUNT}:role/x",
    "knowledgeBaseConfiguration": {"type": "VECTOR"},
    "status": "ACTIVE",
    "createdAt": "2026-11-22T00:00:00Z",
    "updatedAt": "2026-11-22T00:00:00Z",
}
ANSWERS |= {
    "sts.GetCallerIdentity": {"Account": ACCOUNT, "Arn": f"arn:aws:iam::{ACCOUNT}:user/x", "UserId": "AIDAX"},
    "bedrock.GetUseCaseForModelAccess": {"formData": b"{}"},
    "bedrock.GetFoundationModelAvailability": AVAILABLE,
    "bedrock-agent.GetKnowledgeBase": {"knowledgeBase": KNOWLEDGE_BASE},
}
NAMES = ["region", "identity", "Anthropic form", "model", "model access", "knowledge base"]
NO_FORM = {"bedrock.GetUseCaseForModelAccess": ServiceError("ResourceNotFoundException", 404, "no form")}
REFUSED = {"bedrock.GetFoundationModelAvailability": {**AVAILABLE, "authorizationStatus": "NOT_AUTHORIZED"}}
MAKING = {"bedrock-agent.GetKnowledgeBase": {"knowledgeBase": {**KNOWLEDGE_BASE, "status": "CREATING"}}}
CASES = [  # other answers, settings; the only row with something to do ("": none), and its words
    ({}, {}, "", ""),
    ({}, {"region": ""}, "region", "not ok | No AWS region is set. Put WORKSHOP_REGION"),
    (NO_FORM, {}, "Anthropic form", "not submitted | Bedrock console, Model catalog, any Claude model: *Submit use"),
    (REFUSED, {}, "model access", "no: authorization | attach data/policies/learner.json"),
    ({}, {"model": "claude-3-sonnet"}, "model", "not ok | claude-3-sonnet reached its end of life on 2026-07-30."),
    ({}, {"knowledge_base_id": ""}, "knowledge base", "not ok | There is no knowledge base yet."),
    (MAKING, {}, "knowledge base", "letters: creating | wait, or look"),
]


@pytest.mark.parametrize(("answers", "settings", "name", "words"), CASES)
def test_each_row_is_ok_or_names_the_next_step(answers, settings, name, words, live):
    with live(ANSWERS | answers, **{"knowledge_base_id": "ABCDEFGHIJ", **settings}):
        rows = checks.live()
    page = checks.table(rows)
    assert [row.name for row in rows] == (NAMES[:1] if name == "region" else NAMES)
    wanted = {name, "model access"} if name == "model" else {name} - {""}  # which needs the model
    assert {row.name for row in rows if row.to_do} == wanted and (not name or f"| {name} | {words}" in page)
    assert ACCOUNT not in page and (name == "region" or "account ending in 1098 | ok" in page)


def test_without_credentials_nothing_else_is_asked(live):
    with live(ANSWERS, On(refused("expired"))) as service:
        assert "aws sso login" in checks.live()[-1].to_do
    assert [call.operation for call in service.calls] == ["GetCallerIdentity"]
    with live(ANSWERS, On(garbled('<html xmlns="http://www.w3.org/1999/xhtml"></html>'), "GetCallerIdentity")):
        assert "sign-in page of your network" in checks.live()[-1].to_do


def test_offline_rows_are_ok_here_and_name_what_is_not(change, monkeypatch, tmp_path):
    workshop.start("00_setup_check")
    assert not [row for row in checks.offline() if row.to_do]
    old = SimpleNamespace(version="0.1")
    monkeypatch.setattr(checks, "distributions", lambda name: [old] if name == "boto3" else [])
    change(letters_dir=tmp_path)
    shutil.copy(next((ROOT / "data" / "letters").glob("*.pdf")), tmp_path / "A.PDF")
    (tmp_path / "odd.pdf").write_bytes(b"")
    rows = {row.name: row for row in checks.offline()}
    assert "boto3 0.1 (lock: " in rows["packages"].found and "jupyterlab missing (lock: " in rows["packages"].found
    assert "make setup" in rows["packages"].to_do
    assert "1 PDFs to ask" in rows["documents"].found
    assert "odd.pdf is left out: broken, empty or locked" in rows["documents"].to_do
    (tmp_path / "A.PDF").unlink()
    (tmp_path / "odd.pdf").unlink()
    assert "WORKSHOP_LETTERS_DIR" in {row.name: row for row in checks.offline()}["documents"].to_do
