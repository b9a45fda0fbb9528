"""Waiting: every end state is taken for what it is, and nobody waits for ever."""

import pytest
from botocore.exceptions import ClientError
from opensearchpy.exceptions import AuthorizationException, NotFoundError

from helpers import recordings
from helpers.errors import WorkshopError
from helpers.knowledge_base import waiting
from helpers.knowledge_base.waiting import wait, when_allowed


@pytest.fixture(autouse=True)
def nobody_waits(change, tmp_path, monkeypatch):
    change(recordings_dir=tmp_path)
    recordings.use("lesson")
    monkeypatch.setattr(waiting, "LOOKS", 20)


def looks(*states, **more):
    """A get call that answers one state after the other, the last one again and again."""
    answers = list(states)
    return lambda: {"ingestionJob": {"status": answers.pop(0) if len(answers) > 1 else answers[0], **more}}


def test_it_waits_while_things_go_on_and_ends_when_they_are_done(capsys):
    wait(
        "job",
        looks("STARTING", "STARTING", "IN_PROGRESS", "COMPLETE"),
        "COMPLETE",
        ("STARTING", "IN_PROGRESS"),
    )
    assert "job: STARTING → IN_PROGRESS → COMPLETE" in capsys.readouterr().out


@pytest.mark.parametrize("state", ["FAILED", "STOPPING", "STOPPED", "DELETE_UNSUCCESSFUL", "SOMETHING_NEW"])
def test_any_other_state_ends_the_wait_with_the_reason_of_the_service(state):
    look = looks("STARTING", state, failureReasons=["the first", "the second"])
    with pytest.raises(WorkshopError, match=f"job is {state}, expected COMPLETE.*the first; the second"):
        wait("job", look, "COMPLETE", ("STARTING", "IN_PROGRESS"))


def test_without_a_reason_it_says_so():
    with pytest.raises(WorkshopError, match="gives no reason"):
        wait("job", looks("FAILED"), "COMPLETE", ())


def test_a_state_that_never_changes_ends_the_wait():
    with pytest.raises(WorkshopError, match="nothing has changed"):
        wait("job", looks("STARTING"), "COMPLETE", ("STARTING",))


def refusal(message, operation="CreateKnowledgeBase", code="ValidationException"):
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


PREFIX = "The knowledge base storage configuration provided is invalid... "
TOO_NEW = [
    AuthorizationException(403, "Forbidden", {}),
    refusal(PREFIX + "Request failed: [security_exception] all shards failed"),
    refusal(PREFIX + "Dependency error document status code: 404, error message: no such index [letters]"),
    refusal(PREFIX + "Bad Authorization"),
    refusal("Bedrock Knowledge Base was unable to assume the given role."),
]
REAL = [
    NotFoundError(404, "not found", {}),
    refusal(PREFIX + "The OpenSearch Serverless engine type associated with your vector index is invalid."),
    refusal("no such index", operation="CreateDataSource"),
    refusal("unable to assume the given role", code="AccessDeniedException"),
    ValueError("403"),
]


@pytest.mark.parametrize("error", TOO_NEW, ids=str)
def test_what_is_only_too_new_is_tried_again(error):
    answers = [error, error, "made"]

    def call():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert when_allowed("permissions", call) == "made" and not answers


@pytest.mark.parametrize("error", REAL, ids=str)
def test_a_real_error_is_not_tried_again(error):
    calls = []

    def call():
        calls.append(1)
        raise error

    with pytest.raises(type(error)):
        when_allowed("permissions", call)
    assert len(calls) == 1


def test_what_stays_refused_is_told_after_five_minutes(monkeypatch):
    moments = iter(range(0, 10_000, 60))
    monkeypatch.setattr(waiting.time, "monotonic", lambda: next(moments))

    def call():
        raise TOO_NEW[0]

    with pytest.raises(WorkshopError, match="still refused after") as caught:
        when_allowed("vector index", call)
    assert caught.value.__cause__ is TOO_NEW[0]
