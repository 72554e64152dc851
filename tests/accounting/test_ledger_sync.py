"""Those who wait for one trip to the disk are told when it is over, and go by themselves where nobody else does."""

from __future__ import annotations

import threading

import pytest

from botobs.accounting.ledger import sync
from botobs.accounting.ledger.sync import SharedSync


@pytest.mark.parametrize("how", ["reach", "alone"])
def test_whoever_waits_is_told_when_the_leader_is_back(monkeypatch, how):
    monkeypatch.setattr(sync, "_LOOK_S", 600.0)  # nobody looks by himself
    leads, back, trips = threading.Event(), threading.Event(), []

    def to_the_disk():
        trips.append(threading.get_ident())
        leads.set()
        assert back.wait(30)
        return 5

    shared, found = SharedSync(to_the_disk), []

    def follow():
        if how == "reach":
            found.append(shared.reach(4))
        else:
            with shared.alone() as alone:
                found.append(alone)

    threads = [threading.Thread(target=shared.reach, args=(3,))]
    threads[0].start()
    assert leads.wait(30)
    threads += [threading.Thread(target=follow) for _ in range(3)]
    for thread in threads[1:]:
        thread.start()
    while shared._waiting < 3:
        threads[1].join(0.001)
    back.set()
    for thread in threads:
        thread.join(30)
    assert found == [True] * 3 and len(trips) == 1 and shared.durable == 5 and shared._waiting == 0


def test_whoever_stops_waiting_is_not_waited_for():
    leads, back = threading.Event(), threading.Event()

    def to_the_disk():
        leads.set()
        assert back.wait(30)
        return 1

    shared = SharedSync(to_the_disk)
    leader = threading.Thread(target=shared.reach, args=(1,))
    leader.start()
    assert leads.wait(30)
    assert not shared.reach(1, deadline=sync.time.monotonic() + 0.001) and shared._waiting == 0
    back.set()
    leader.join(30)
    assert shared.reach(1) and shared._leader == 0
