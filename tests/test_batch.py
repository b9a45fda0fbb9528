"""Many calls at a time: bounded, slower when throttled, nothing lost, nothing asked twice."""

import threading
import time
from collections import Counter

import pytest
from botocore.exceptions import ClientError

from helpers import batch, clients, workshop
from helpers.language import WorkshopError
from tests.loopback import On, Reply, Script, Service
from tests.loopback.faults import after, quota, refused, slow

KEYS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-west-2"}


@pytest.fixture
def service(change, monkeypatch):
    """Start a service that says each question back; gives `ask(number)` and the service."""
    started = []
    # Back-offs at a hundredth of their length: their order stays, and the test does not wait.
    real = time.sleep
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda seconds: real(seconds / 100))

    def start(*faults):
        for name, value in KEYS.items():
            monkeypatch.setenv(name, value)
        change(mode="live")

        def echo(params):
            return Reply("answer to " + params["messages"][0]["content"][0]["text"])

        service = Service(Script({"bedrock-runtime.Converse": echo}), *faults).__enter__()
        started.append(service)
        monkeypatch.setenv("AWS_ENDPOINT_URL", service.url)
        workshop.start("lesson")
        runtime = clients.client("bedrock-runtime")

        def ask(number):
            message = {"role": "user", "content": [{"text": str(number)}]}
            return runtime.converse(modelId="m.x", messages=[message])["output"]["message"]["content"][0]["text"]

        return ask, service

    yield start
    for each in started:
        each.__exit__()


def asked(service):
    """How often each question was answered."""
    return Counter(
        call.params["messages"][0]["content"][0]["text"] for call in service.calls if call.outcome == "answered"
    )


def test_results_come_in_order_and_no_more_in_flight_than_allowed(service):
    ask, seen = service(On(slow(before=lambda rng: rng.random() / 20)))
    results = batch.run(ask, range(40), batch.Results(), at_most=5)
    assert list(results.items()) == [(number, f"answer to {number}") for number in range(40)]
    assert seen.max_in_flight == 5 and not results.failed
    time.sleep(0.05)
    assert not [thread for thread in threading.enumerate() if "_work" in thread.name]


@pytest.mark.parametrize(
    "faults",
    [
        [On(refused("too many requests"), probability=0.2), On(slow(0.005))],
        [On(quota(rate=100, burst=5))],  # waits are a hundredth here: 1 a second in real time
    ],
    ids=["a fifth", "a quota"],
)
def test_where_the_service_throttles_every_result_arrives_once(service, faults):
    ask, seen = service(*faults)
    results = batch.run(ask, range(100), batch.Results(), at_most=16)
    assert len(results) == 100 and not results.failed
    assert set(asked(seen).values()) == {1} and len(seen.calls) > 100


def test_a_limit_per_day_stops_at_once_and_keeps_what_is_there(service):
    ask, seen = service(On(refused("per day"), calls=after(10)), On(slow(0.01)))
    results = batch.Results()
    with pytest.raises(ClientError, match="per day"):
        batch.run(ask, range(100), results, at_most=4)
    assert len(results) == 10 and len(seen.calls) <= 14


def test_one_failure_keeps_the_others_and_the_next_run_asks_for_the_rest(service, capsys):
    ask, seen = service()
    broken = {3, 7}

    def sometimes(number):
        if number in broken:
            raise ValueError(f"no JSON in {number}")
        return ask(number)

    results = batch.run(sometimes, range(10), batch.Results())
    assert list(results) == [0, 1, 2, 4, 5, 6, 8, 9]
    assert {item: str(error) for item, error in results.failed.items()} == {3: "no JSON in 3", 7: "no JSON in 7"}
    said = capsys.readouterr().out
    assert "8 of 10 are done" in said and "- 7: ValueError: no JSON in 7" in said
    broken.clear()
    assert list(batch.run(sometimes, range(10), results)) == list(range(10))
    assert not results.failed and set(asked(seen).values()) == {1}


def test_an_interrupt_keeps_what_is_there_and_asks_nothing_twice(service, monkeypatch):
    ask, seen = service(On(slow(0.05)))
    results = batch.Results()

    class Stop:
        """A progress bar during which the learner presses stop."""

        def __init__(self, total):
            self.total = total

        def display(self):
            pass

        def __setattr__(self, name, value):
            if name == "progress" and value >= 3:
                raise KeyboardInterrupt
            super().__setattr__(name, value)

    with monkeypatch.context() as patch:
        patch.setattr(batch, "Bar", Stop)
        with pytest.raises(KeyboardInterrupt):
            batch.run(ask, range(20), results, at_most=4)
    kept = len(results)
    assert 3 <= kept < 20 and results.under_way
    assert f"only {kept} of 20" in batch.counted(results, range(20))
    assert list(batch.run(ask, range(20), results, at_most=4)) == list(range(20))
    assert batch.counted(results, range(20)) == ""
    assert set(asked(seen).values()) == {1} and sum(asked(seen).values()) == 20


def test_two_runs_that_share_results_ask_nothing_twice(service):
    ask, seen = service(On(slow(0.02)))
    results = batch.Results()
    other = threading.Thread(target=batch.run, args=(ask, range(30), results))
    other.start()
    batch.run(ask, range(30), results)
    other.join()
    assert len(results) == 30 and set(asked(seen).values()) == {1}


def test_a_bar_has_a_track_and_a_count_and_is_full_at_the_end(capsys):
    results = batch.Results()
    for _ in range(2):  # the second time there is nothing left to ask
        batch.run(str, range(3), results)
        assert capsys.readouterr().out.splitlines()[-1].endswith("] 3/3")
    bar = batch.Bar(4)
    bar._progress = 1
    assert "width: 25%" in bar._repr_html_() and "width: 60ex" in bar._repr_html_() and "1/4" in bar._repr_html_()
    assert "width: 100%" in batch.Bar(0)._repr_html_()


def test_none_in_flight_is_one_clear_error():
    with pytest.raises(WorkshopError, match="at_most is 0"):
        batch.run(str, range(3), batch.Results(), at_most=0)


def test_nothing_at_all_raises_the_error_itself(service):
    def fail(number):
        raise ValueError(number)

    with pytest.raises(ValueError):
        batch.run(fail, range(3), batch.Results())

    def no_recording(number):
        calls.append(number)
        raise WorkshopError("There is no recorded answer")

    calls = []
    with pytest.raises(WorkshopError):
        batch.run(no_recording, range(50), batch.Results())
    assert len(calls) <= 4
    assert batch.run(fail, [], batch.Results()) == {}
