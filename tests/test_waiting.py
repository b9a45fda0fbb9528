"""Waiting: what is too new is tried again, a real mistake is not, and nobody waits for ever."""

from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError
from opensearchpy.exceptions import NotFoundError

from helpers import workshop
from helpers.knowledge_base.waiting import SPREAD, until_some, wait, when_allowed
from helpers.language import WorkshopError
from tests.loopback import rules


@pytest.fixture(autouse=True)
def nobody_waits(change, tmp_path):
    change(recordings_dir=tmp_path)
    workshop.start("lesson")


def refusal(message, operation="CreateKnowledgeBase", code="ValidationException"):
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


REAL = [
    NotFoundError(404, "not found", {}),
    refusal(rules.INVALID + "Query vector has invalid dimension: 1024. Dimension should be: 512"),
    refusal(rules.INVALID + "failed to create query: Field 'vector' is not knn_vector type."),
    refusal("no such index", operation="CreateDataSource"),
    refusal("unable to assume the given role", code="AccessDeniedException"),
]


@pytest.mark.parametrize("error", REAL, ids=str)
def test_a_real_mistake_is_not_tried_again(error):
    with pytest.raises(type(error)):
        when_allowed("permissions", Mock(side_effect=[error, "made"]))


@pytest.mark.parametrize("message", rules.TOO_NEW)
def test_what_is_too_new_is_tried_again_and_in_the_end_told_in_the_words_of_the_service(message):
    error = refusal(message)
    assert when_allowed("permissions", Mock(side_effect=[error, error, "made"])) == "made"
    with pytest.raises(WorkshopError, match="nothing has changed for 5 minutes") as told:
        when_allowed("permissions", Mock(side_effect=[error] * SPREAD))
    assert message in str(told.value)


def test_what_never_changes_or_comes_ends_the_wait(capsys):
    with pytest.raises(WorkshopError, match="nothing has changed for 30 minutes"):
        wait("job", lambda: {"ingestionJob": {"status": "STARTING"}}, "COMPLETE", ["STARTING"])
    assert capsys.readouterr().out.count(".") >= 60  # one each half-minute
    with pytest.raises(WorkshopError, match="nothing has changed for 10 minutes"):
        until_some("the first answer", list)
