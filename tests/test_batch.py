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

    def __init__(self, **errors):
        self.errors, self.asked = {int(name[1:]): error for name, error in errors.items()}, Counter()
        self.in_flight, self.most, self.lock = 0, 0, threading.Lock()
        self.goes_on = threading.Event()  # until it is set, the calls from the ninth on take their time
        self.goes_on.set()

    def __call__(self, number):
        with self.lock:
            self.asked[number] += 1
            self.in_flight += 1
            self.most = max(self.most, self.in_flight)
        time.sleep(0.02 + number % 3 / 100)
        assert number < 8 or self.goes_on.wait(30)
        with self.lock:
            self.in_flight -= 1
        if number in self.errors:
            raise self.errors[number]
        return f"answer to {number}"


def test_results_come_in_order_and_no_more_in_flight_than_allowed():
    ask = Ask()
    results = batch.run(ask, range(40), batch.Results(), at_most=5)
    assert list(results.items()) == [(number, f"answer to {number}") for number in range(40)]
    assert ask.most == 5 and not results.failed
    assert not [thread for thread in threading.enumerate() if "_work" in thread.name]


@pytest.mark.parametrize(
    "faults",
    [
        [On(refused("too many requests"), probability=0.2), On(slow(0.005))],
        [On(quota(rate=100, burst=5))],  # waits are a hundredth here: 1 a second in real time
    ],
    ids=["a fifth", "a quota"],
)
def test_where_the_service_throttles_every_result_arrives_once(faults, live, monkeypatch):
    real = time.sleep  # back-offs at a hundredth of their length: their order stays, and the test does not wait
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: real(seconds / 100))
    with live({"bedrock-runtime.Converse": Reply("Yes.")}, *faults) as service:
        converse = clients.client("bedrock-runtime").converse
        results = batch.run(
            lambda text: converse(modelId="m.x", messages=[{"role": "user", "content": [{"text": text}]}]),
            map(str, range(40)),
            batch.Results(),
            at_most=16,
        )
    answered = [
        call.params["messages"][0]["content"][0]["text"] for call in service.calls if call.outcome == "answered"
    ]
    assert list(results) == sorted(answered, key=int) == [str(number) for number in range(40)]
    assert not results.failed and len(service.calls) > 40


def test_an_error_that_all_would_meet_ends_the_run_and_keeps_what_is_there(capsys):
    limit = ClientError({"Error": {"Code": "ThrottlingException", "Message": "Too many tokens per day"}}, "Converse")
    ask, results = Ask(_9=limit, _2=ValueError("its own")), batch.Results()
    with pytest.raises(ClientError, match="per day"):
        batch.run(ask, range(100), results, at_most=4)
    assert {*range(9)} - {2} <= {*results} and len(ask.asked) < 50
    assert f"{len(results)} of 100 are done" in capsys.readouterr().out
    with pytest.raises(ClientError, match="per day"):  # where nothing came, this too is what is raised
        batch.run(Ask(_0=ValueError(), _1=limit), [0, 1], batch.Results())
    ask = Ask(**{f"_{number}": WorkshopError("There is no recorded answer") for number in range(50)})
    with pytest.raises(WorkshopError, match="no recorded answer"):
        batch.run(ask, range(50), batch.Results())
    assert len(ask.asked) <= 4


def test_one_failure_keeps_the_others_and_the_next_run_asks_for_the_rest(capsys):
    ask, results = Ask(_3=ValueError("no JSON in 3"), _7=ValueError("no JSON in 7")), batch.Results()
    assert list(batch.run(ask, range(10), results)) == [0, 1, 2, 4, 5, 6, 8, 9]
    assert results.failed == ask.errors
    said = capsys.readouterr().out
    assert "8 of 10 are done" in said and "- 7: ValueError: no JSON in 7" in said
    assert "only 8 of 10" in batch.counted(results, range(10)) and batch.counted(results, [0, 1]) == ""
    ask.errors = {}
    assert list(batch.run(ask, range(10), results)) == list(range(10))
    assert not results.failed and ask.asked == Counter([*range(10), 3, 7])
    with pytest.raises(ValueError):  # nothing at all
        batch.run(Ask(_1=ValueError()), [1], batch.Results())
    assert batch.run(ask, [], batch.Results()) == {}


def test_an_interrupt_keeps_what_is_there_and_asks_nothing_twice(monkeypatch):
    class Stop(batch.Bar):
        """A progress bar during which the learner presses stop."""

        def update(self):
            if self.progress >= 8:
                raise KeyboardInterrupt

    for at_once in (True, False):
        ask, results = Ask(), batch.Results()
        ask.goes_on.clear()
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(batch, "Bar", Stop)
            batch.run(ask, range(20), results, at_most=4)
        assert (len(results), len(ask.asked)) == (8, 12)  # four are in flight
        threading.Timer(0.2 * at_once, ask.goes_on.set).start()
        if not at_once:  # then these have come, and no more was asked
            assert all(ended.wait(9) for ended in results.workers) and len(results) == len(ask.asked) == 12
        assert list(batch.run(ask, range(20), results, at_most=4)) == list(range(20))
        assert ask.asked == Counter(range(20)) and ask.most == 4


def test_a_bar_has_a_track_and_a_count_and_is_full_at_the_end(capsys):
    results = batch.Results()
    for _ in range(2):  # the second time there is nothing left to ask
        batch.run(str, range(3), results)
        assert capsys.readouterr().out.splitlines()[-1].endswith("] 3/3")
    bar = batch.Bar(4)
    bar._progress = 1
    assert "width: 25%" in bar._repr_html_() and "width: 60ex" in bar._repr_html_() and "1/4" in bar._repr_html_()
    assert "width: 100%" in batch.Bar(0)._repr_html_()
    with pytest.raises(WorkshopError, match="at_most is 0"):
        batch.run(str, range(3), results, at_most=0)
