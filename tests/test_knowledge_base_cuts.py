"""Builds and removals that are killed, or refused, at every step, and then go on."""

import pytest

from tests.live_workshop import BUILD, CLEAN, STORES, Switch, forks, workshop
from tests.loopback import On
from tests.loopback.faults import refused

pytestmark = forks


@pytest.mark.parametrize("store", STORES)
def test_a_build_that_is_killed_anywhere_goes_on_and_makes_nothing_twice(store, tmp_path, report):
    with workshop(tmp_path, store) as one:
        one.works(BUILD)
        once, there = one.made(), one.service.left()
        assert there and set(once.values()) == {1}
        before = len(one.calls())
        one.works(BUILD)
        assert not one.made(since=before)  # a second run makes nothing
        one.cleans()
        before, steps = len(one.calls()), []
        one.account.ids = 0  # the next thing gets the id that it had before
        # Each run goes on where the one before was killed, when the next call was answered and the answer not read.
        while step := one.run(BUILD, cut=["after", steps])["cut"]:
            steps.append(step)
        assert one.made(since=before) == once and one.service.left().keys() == there.keys()
        one.cleans()
        for number in range(len(steps)):  # one that was killed before it sent the next call is removed as it is
            one.account.ids = 0
            assert one.run(BUILD, cut=["before", steps[:number]])["cut"] == steps[number]
            one.cleans()
    report(f"{store}: killed at {2 * len(steps)} points, continued, removed half-done: nothing twice, nothing left")


@pytest.mark.parametrize("store", STORES)
def test_a_killed_clean_up_leaves_nothing_after_the_next(store, tmp_path, report):
    with workshop(tmp_path, store) as one:
        one.works(BUILD)
        steps = 0
        while one.run(CLEAN, cut=["after", []])["cut"]:  # each removes one thing more
            steps += 1
        assert steps > 5 and one.service.left() == {} and not one.state.exists()
    report(f"{store}: removed by a run after {steps} killed ones: nothing left")


def test_a_refusal_at_each_call_is_one_message_and_a_later_run_goes_on(tmp_path, report):
    with workshop(tmp_path, "opensearch") as one:
        one.works(BUILD)
        in_build = asked(one)
        one.works(CLEAN)
        in_removal = [name for name in asked(one) if name not in in_build]
    switches = {name: Switch() for name in in_build + in_removal}
    faults = [On(refused("not authorized"), name, calls=switch) for name, switch in switches.items()]
    with workshop(tmp_path, "opensearch", *faults) as one:
        # Each run goes on where the one before was refused, and is refused at the next operation.
        for what, names in ((BUILD, in_build), (CLEAN, in_removal)):
            for name in names:
                switches[name].on = True
                error = one.run(what)["error"]
                assert error.startswith("CallFailed: You have no permission for ") and "data/policies" in error, error
                assert len(error) < 400 and (one.state.exists() or name in in_build[:1])
                switches[name].on = False
            one.works(what)
            if what == BUILD:
                assert set(one.made().values()) == {1}
        assert one.service.left() == {}
    report(f"refused at {len(switches)} operations, each one message, each continued")


def asked(one):
    """The operations that were called so far, in the order of their first call."""
    names = dict.fromkeys(f"{call.service}.{call.operation}" for call in one.calls())
    return [name for name in names if not name.startswith(("sts.", "opensearch."))]
