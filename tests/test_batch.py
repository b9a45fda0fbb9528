"""Many calls at a time: bounded, slower when throttled, nothing lost, nothing asked twice."""

import threading
import time
from collections import Counter

import pytest
from botocore.exceptions import ClientError

from helpers import batch, clients
from helpers.language import WorkshopError
from tests.loopback import On, Reply
from tests.loopback.faults import quota, refused, slow


class Ask:
    """A function that takes a moment, fails as `errors` says, and knows what it was asked."""

    def __init__(self, errors=()):
        self.errors, self.asked, self.now, self.in_flight = dict(errors), [], [], [0]
        self.goes_on = threading.Event()  # until it is set, the calls from the ninth on take their time
        self.goes_on.set()

    def __call__(self, number):
        self.asked.append(number)
        self.now.append(number)
        self.in_flight.append(len(self.now))
        time.sleep(0.02 + number % 3 / 100)
        assert number < 8 or self.goes_on.wait(30)
        self.now.remove(number)
        if number in self.errors:
            raise self.errors[number]
        return f"answer to {number}"


def test_results_come_in_order_and_no_more_in_flight_than_allowed():
    ask, results = Ask(), batch.Results()
    assert batch.run(ask, range(40), results, at_most=5) is results and not results.failed
    assert list(results.items()) == [(number, f"answer to {number}") for number in range(40)]
    assert max(ask.in_flight) == 5
    with pytest.raises(WorkshopError, match="at_most is 0"):
        batch.run(ask, range(3), results, at_most=0)


@pytest.mark.parametrize(
    "throttled", [On(refused("too many requests"), probability=0.2), On(quota(rate=100, burst=5))], ids=["", "a quota"]
)
def test_where_the_service_throttles_every_result_arrives_once(throttled, live, monkeypatch):
    real = time.sleep  # back-offs at a hundredth of their length: their order stays, and the test does not wait
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: real(seconds / 100))
    turns = [{"role": "user", "content": [{"text": "?"}]}]
    with live({"bedrock-runtime.Converse": Reply("Yes.")}, throttled, On(slow(0.005))) as service:
        converse = clients.client("bedrock-runtime").converse
        results = batch.Results()
        batch.run(lambda name: converse(modelId=name, messages=turns), map("m.{}".format, range(40)), results, 16)
    answered = Counter(call.params["modelId"] for call in service.calls if call.outcome == "answered")
    assert list(results) == [f"m.{number}" for number in range(40)] and answered == Counter(results.keys())
    assert not results.failed and len(service.calls) > 40


def test_an_error_that_all_would_meet_ends_the_run_and_keeps_what_is_there(capsys):
    limit = ClientError({"Error": {"Code": "ThrottlingException", "Message": "Too many tokens per day"}}, "Converse")
    ask, results = Ask({9: limit, 2: ValueError("its own")}), batch.Results()
    with pytest.raises(ClientError, match="per day"):
        batch.run(ask, range(100), results, at_most=4)
    assert {*range(9)} - {2} <= {*results} and len(ask.asked) < 50
    assert f"{len(results)} of 100 are done" in capsys.readouterr().out
    ask = Ask(dict.fromkeys(range(50), WorkshopError("There is no recorded answer")))
    with pytest.raises(WorkshopError, match="no recorded answer"):
        batch.run(ask, range(50), batch.Results())
    assert len(ask.asked) <= 4


def test_one_failure_keeps_the_others_and_the_next_run_asks_for_the_rest(capsys):
    ask, results = Ask({3: ValueError("no JSON in 3"), 7: ValueError("no JSON in 7")}), batch.Results()
    assert list(batch.run(ask, range(10), results)) == [0, 1, 2, 4, 5, 6, 8, 9]
    assert results.failed == ask.errors
    said = capsys.readouterr().out
    assert "8 of 10 are done" in said and "- 7: ValueError: no JSON in 7" in said
    assert "only 8 of 10" in batch.counted(results, range(10)) and batch.counted(results, [0, 1]) == ""
    ask.errors = {}
    assert list(batch.run(ask, range(10), results)) == list(range(10))
    assert not results.failed and Counter(ask.asked) == Counter([*range(10), 3, 7])
    with pytest.raises(ValueError):  # nothing at all
        batch.run(Ask({1: ValueError()}), [1], batch.Results())


def test_an_interrupt_keeps_what_is_there_and_asks_nothing_twice(monkeypatch):
    ask, results = Ask(), batch.Results()
    ask.goes_on.clear()

    class Stop(batch.Bar):
        """A progress bar during which the learner presses stop."""

        def update(self):
            if self.progress >= 8 and len(ask.asked) == 12:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(batch, "Bar", Stop)
        batch.run(ask, range(20), results, at_most=4)
    assert len(results) == 8  # four are in flight
    threading.Timer(0.2, ask.goes_on.set).start()
    assert list(batch.run(ask, range(20), results, at_most=4)) == list(range(20))
    assert Counter(ask.asked) == Counter(range(20)) and max(ask.in_flight) == 4
