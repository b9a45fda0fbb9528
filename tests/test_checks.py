"""The set-up check: each row is ok, or says what to do next."""

import json

import pytest

from helpers import checks, workshop
from helpers.settings import ROOT
from tests.loopback import On, Script, Service, ServiceError
from tests.loopback.faults import refused

ACCOUNT = "987654321098"
API_ANSWERS = ROOT / "tools" / "api_answers"
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
ANSWERS = {
    "sts.GetCallerIdentity": {"Account": ACCOUNT, "Arn": f"arn:aws:iam::{ACCOUNT}:user/x", "UserId": "AIDAX"},
    "bedrock.GetUseCaseForModelAccess": {"formData": b"{}"},
    "bedrock.ListFoundationModels": json.loads((API_ANSWERS / "bedrock.ListFoundationModels.json").read_text()),
    "bedrock.ListInferenceProfiles": json.loads((API_ANSWERS / "bedrock.ListInferenceProfiles.json").read_text()),
    "bedrock.GetFoundationModelAvailability": AVAILABLE,
    "bedrock-agent.GetKnowledgeBase": {"knowledgeBase": KNOWLEDGE_BASE},
}
NAMES = ["region", "identity", "Anthropic form", "model", "model access", "knowledge base"]


@pytest.fixture
def live(change, monkeypatch):
    """The rows of a live check against a service with these answers and faults."""

    def run(*faults, answers=ANSWERS, **settings):
        for name, value in {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}.items():
            monkeypatch.setenv(name, value)
        change(**{"mode": "live", "region": "us-west-2", "knowledge_base_id": "ABCDEFGHIJ", **settings})
        with Service(Script(answers), *faults) as service:
            monkeypatch.setenv("AWS_ENDPOINT_URL", service.url)
            workshop.start("00_setup_check")
            return {row.name: row for row in checks.live()}

    return run


def test_all_is_well(live):
    rows = live()
    assert list(rows) == NAMES
    assert not [row for row in rows.values() if row.to_do]
    assert ACCOUNT not in checks.table(list(rows.values())) and "ending in 1098" in rows["identity"].found
    assert "claude-sonnet-5-5" in rows["model"].found


MISSING = ServiceError("ResourceNotFoundException", 404, "no form")
PROBLEMS = {  # what is wrong: faults, other answers, settings; the last or only row that says what to do, and its words
    "expired": ([On(refused("expired"))], {}, {}, "identity", "expired"),
    "no region": ([], {}, {"region": ""}, "region", "WORKSHOP_REGION"),
    "no form": ([], {"bedrock.GetUseCaseForModelAccess": MISSING}, {}, "Anthropic form", "Submit use case details"),
    "no access": (
        [], {"bedrock.GetFoundationModelAvailability": {**AVAILABLE, "authorizationStatus": "NOT_AUTHORIZED"}}, {},
        "model access", "data/policies/learner.json",
    ),
    "an old model": ([], {}, {"model": "claude-3-sonnet"}, "model", "end of life on 2026-07-30. Use claude-sonnet-5-5"),
    "no knowledge base": ([], {}, {"knowledge_base_id": ""}, "knowledge base", "WORKSHOP_KNOWLEDGE_BASE_ID"),
}  # fmt: skip


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_problem_names_the_next_step_and_stops_the_check_where_nothing_else_can_be_asked(live, problem):
    faults, answers, settings, name, words = PROBLEMS[problem]
    rows = live(*faults, answers=ANSWERS | answers, **settings)
    assert words in rows[name].to_do
    assert len(rows) == (NAMES.index(name) + 1 if name in NAMES[:2] else len(NAMES))
    if problem == "no access":
        assert rows[name].found == "no: authorization"


def test_offline_rows_are_ok_here_and_name_what_is_not(change, monkeypatch, tmp_path):
    workshop.start("00_setup_check")
    assert not [row for row in checks.offline() if row.to_do]
    monkeypatch.setattr(checks, "PYTHON", (9, 9))
    monkeypatch.setattr(checks, "_installed", lambda name: "0.1" if name == "boto3" else "missing")
    change(letters_dir=tmp_path)
    (tmp_path / "odd.pdf").write_bytes(b"")
    rows = {row.name: row for row in checks.offline()}
    assert "install Python" in rows["Python"].to_do
    assert "boto3 0.1 (lock: " in rows["packages"].found and "make setup" in rows["packages"].to_do
    assert "odd.pdf is left out: broken, empty or locked" in rows["documents"].to_do
    (tmp_path / "odd.pdf").unlink()
    assert "WORKSHOP_LETTERS_DIR" in {row.name: row for row in checks.offline()}["documents"].to_do
