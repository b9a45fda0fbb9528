"""Builds and removals that are killed, or refused, at every step, and then go on."""

import pytest

from tests.live_workshop import BUILD, CLEAN, STORES, Switch, forks, workshop
from tests.loopback import On
from tests.loopback.faults import refused

pytestmark = forks


@pytest.mark.parametrize("store", STORES)
def test_a_build_that_is_killed_anywhere_goes_on_and_makes_nothing_twice(store, tmp_path, report):
    with workshop(tmp_path, store) as one:
        changes = one.works(BUILD)["changes"]
        once = one.made()
        assert one.service.left() and set(once.values()) == {1}
        before = len(one.service.service.calls)
        one.works(BUILD)
        assert not one.made(since=before)  # a second run makes nothing
        one.works(CLEAN)
        assert one.service.left() == {} and not one.state.exists()
        points = [[number, when] for number in range(1, changes + 1) for when in ("before", "after")]
        for point in points:
            before = len(one.service.service.calls)
            assert one.run(BUILD, cut=point)["cut"], point
            if point[1] == "after":  # it goes on; a build that was cut before a call is removed as it is
                one.works(BUILD)
                assert one.made(since=before) == once, point
            one.works(CLEAN)
            assert one.service.left() == {}, point
            assert not one.state.exists(), point
    report(
        f"{store}: built, killed at {len(points)} points, continued or removed half-done: nothing twice, nothing left"
    )


@pytest.mark.parametrize("store", STORES)
def test_a_killed_clean_up_leaves_nothing_after_the_next(store, tmp_path, report):
    with workshop(tmp_path, store) as one:
        one.works(BUILD)
        removals = one.works(CLEAN)["changes"]
        for number in range(1, removals + 1):
            one.works(BUILD)
            assert one.run(CLEAN, cut=[number, "after"])["cut"]
            one.works(CLEAN)
            assert one.service.left() == {}, number
            one.works(CLEAN)  # and a third time, with nothing there
    report(f"{store}: removed after {removals} killed removals: nothing left")


@pytest.mark.parametrize("store", STORES)
def test_access_denied_at_each_call_is_one_message_and_a_later_run_goes_on(store, tmp_path, report):
    with workshop(tmp_path, store) as one:
        one.works(BUILD)
        in_build = asked(one)
        one.works(CLEAN)
        in_removal = [name for name in asked(one) if name not in in_build]
    switches = {name: Switch() for name in in_build + in_removal}
    faults = [On(refused("not authorized"), name, calls=switch) for name, switch in switches.items()]
    with workshop(tmp_path, store, *faults) as one:
        # Each run goes on where the one before was refused, and is refused at the next operation.
        for what, names in ((BUILD, in_build), (CLEAN, in_removal)):
            for name in names:
                switches[name].on = True
                error = one.run(what)["error"]
                assert error.startswith("CallFailed: You have no permission for "), (name, error)
                assert "data/policies" in error and len(error) < 400, name
                switches[name].on = False
            one.works(what)
            if what == BUILD:
                assert set(one.made().values()) == {1}
        assert one.service.left() == {}
    report(f"{store}: access denied at {len(switches)} operations, each one message, each continued")


def asked(one):
    """The operations that were called so far, in the order of their first call."""
    names = dict.fromkeys(f"{call.service}.{call.operation}" for call in one.service.service.calls)
    return [name for name in names if not name.startswith(("sts.", "opensearch."))]
