"""Waiting: every end state is taken for what it is, and nobody waits for ever."""

from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError
from opensearchpy.exceptions import AuthorizationException, NotFoundError

from helpers import workshop
from helpers.knowledge_base.waiting import LOOKS, SPREAD, until, until_some, wait, when_allowed
from helpers.language import WorkshopError
from tests.loopback import rules

GOING_ON = ("STARTING", "IN_PROGRESS")


@pytest.fixture(autouse=True)
def nobody_waits(change, tmp_path):
    change(recordings_dir=tmp_path)
    workshop.start("lesson")


def looks(*states, **more):
    """A get call that answers one state after the other, the last one again and again."""
    answers = list(states)
    return lambda: {"ingestionJob": {"status": answers.pop(0) if len(answers) > 1 else answers[0], **more}}


def test_it_waits_while_things_go_on_and_shows_what_was_not_done(capsys):
    look = looks("STARTING", "STARTING", "IN_PROGRESS", "COMPLETE", failureReasons=["Ignored 1 file [a.psd]"])
    assert wait("job", look, "COMPLETE", GOING_ON)["status"] == "COMPLETE"
    assert "job: STARTING → IN_PROGRESS → COMPLETE\nIgnored 1 file [a.psd]\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("state", "reasons"), [("FAILED", ["the first", "the second"]), ("STOPPED", []), ("SOMETHING_NEW", [])]
)
def test_any_other_state_ends_the_wait_with_the_reason_of_the_service(state, reasons):
    told = f"job is {state}, expected COMPLETE. The service says: {'; '.join(reasons) or 'no reason'}"
    with pytest.raises(WorkshopError, match=told):
        wait("job", looks("STARTING", state, failureReasons=reasons), "COMPLETE", GOING_ON)


def test_a_state_that_never_changes_ends_the_wait_and_shows_a_dot_each_half_minute(capsys):
    with pytest.raises(WorkshopError, match="nothing has changed for 30 minutes"):
        wait("job", looks("STARTING"), "COMPLETE", GOING_ON)
    assert capsys.readouterr().out.count(".") >= LOOKS / 6


def test_what_is_not_listed_yet_and_what_says_nothing_are_waited_for_in_sight(capsys):
    look = Mock(side_effect=[{"collectionDetails": []}, {"collectionDetails": [{"status": "ACTIVE"}]}])
    assert wait("collection", look, "ACTIVE", ())["status"] == "ACTIVE"
    until("role", Mock(side_effect=[(False, "")] * 6 + [(True, "removed")]))  # as a removal
    assert capsys.readouterr().out == "collection: none → ACTIVE\nrole: .removed\n"


def refusal(message, operation="CreateKnowledgeBase", code="ValidationException"):
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


TOO_NEW = [
    AuthorizationException(403, "Forbidden", {}),
    refusal(rules.INVALID + "Request failed: [security_exception] all shards failed"),
    refusal(rules.INVALID + "Bad Authorization"),
    *map(refusal, rules.TOO_NEW),
]
REAL = [
    NotFoundError(404, "not found", {}),
    refusal(rules.INVALID + "The OpenSearch Serverless engine type associated with your vector index is invalid."),
    refusal(rules.INVALID + "Query vector has invalid dimension: 1024. Dimension should be: 512"),
    refusal(rules.INVALID + "failed to create query: Field 'vector' is not knn_vector type."),
    refusal("no such index", operation="CreateDataSource"),
    refusal("unable to assume the given role", code="AccessDeniedException"),
    ValueError("403"),
]


@pytest.mark.parametrize("error", TOO_NEW, ids=str)
def test_what_is_too_new_is_tried_again(error):
    assert when_allowed("permissions", Mock(side_effect=[error, error, "made"])) == "made"


@pytest.mark.parametrize("error", REAL, ids=str)
def test_a_real_mistake_is_not(error):
    with pytest.raises(type(error)):
        when_allowed("permissions", Mock(side_effect=[error, "made"]))


def test_what_stays_refused_is_told_in_the_words_of_the_service():
    call = Mock(side_effect=[TOO_NEW[0]] * (SPREAD - 1) + [TOO_NEW[1]])
    with pytest.raises(WorkshopError, match=r"nothing has changed for 5 minutes.*all shards failed"):
        when_allowed("permissions", call)


def test_the_first_answers_may_be_empty_but_not_for_ever(capsys):
    assert until_some("the first answer", Mock(side_effect=[[], [], ["a", "b"]])) == ["a", "b"]
    assert "the first answer: nothing found yet → 2 found" in capsys.readouterr().out
    with pytest.raises(WorkshopError, match="nothing has changed for 10 minutes"):
        until_some("the first answer", list)
