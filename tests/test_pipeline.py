"""The drainer: small slices, rests between them, and aside when something must not wait."""

from __future__ import annotations

import threading
import time
from itertools import pairwise

import pytest

import botobs
from botobs.faults import Faults
from botobs.pipeline import Drainer
from botobs.triggers import EquityBelow


@pytest.fixture
def drainer():
    made = []

    def make(*jobs, chores=()):
        made.append(Drainer(jobs, chores, Faults()))
        made[-1].start()
        return made[-1]

    yield make
    for each in made:
        assert each.close(time.monotonic() + 5)


def _busy(ns):
    until = time.thread_time_ns() + ns  # what others take of the machine meanwhile is no work
    while time.thread_time_ns() < until:
        pass
    return True


def test_it_rests_after_a_slice_even_between_two_jobs(drainer, monkeypatch):
    rests, enough = [], threading.Event()
    sleep = time.sleep

    def rest(seconds):
        rests.append(len(done))
        sleep(seconds)

    done = []

    def job(ns):
        done.append(ns)
        if len(done) > 20:
            enough.set()
        return _busy(ns)

    monkeypatch.setattr("botobs.pipeline.time.sleep", rest)
    drainer(job, job, job).wake()
    assert enough.wait(10)
    assert {1, 2, 3, 4, 5} <= set(rests), "each of the three is followed by a rest"


def test_the_last_job_is_not_followed_by_a_rest(drainer, monkeypatch):
    rests, ended = [], threading.Event()
    sleep = time.sleep

    def rest(seconds):
        rests.append(seconds)
        sleep(seconds)

    def job(_ns):
        _busy(1_000_000)
        jobs.append(1)

    jobs: list[int] = []
    monkeypatch.setattr("botobs.pipeline.time.sleep", rest)
    monkeypatch.setattr("botobs.pipeline._ROUND_S", 1000.0)
    drain = drainer(job, job, chores=[lambda: _busy(1_000_000) and None])
    drain.wake()
    while not drain.cpu_ns:
        ended.wait(0.001)
    assert (len(jobs), len(rests)) == (2, 2)


def test_waiting_for_the_disk_is_no_reason_to_rest(drainer, monkeypatch):
    rests, waited, ended = [], threading.Event(), threading.Event()
    monkeypatch.setattr("botobs.pipeline.time.sleep", rests.append)
    monkeypatch.setattr("botobs.pipeline._ROUND_S", 1000.0)
    monkeypatch.setattr("botobs.pipeline._SLICE_NS", 20_000_000)
    drain = drainer(lambda _ns: waited.wait(0.03), lambda _ns: None)
    drain.wake()
    while not drain.cpu_ns:
        ended.wait(0.001)
    assert rests == []


def test_told_to_stand_aside_it_begins_no_job_for_a_moment(drainer):
    begun, running = [], threading.Event()

    def job(ns):
        begun.append(time.monotonic())
        running.set()
        return _busy(ns)

    drain = drainer(job, job)
    drain.wake()
    assert running.wait(10)
    told = time.monotonic()
    drain.stand_aside()
    asked = threading.Event()
    while len([at for at in begun if at > told]) < 3:
        asked.wait(0.001)
    late = sorted(at - told for at in begun if at > told)
    assert late[1] > 0.015, "one may have been under way to begin"


def test_told_so_while_it_rests_between_rounds_it_goes_on_resting(drainer, monkeypatch):
    begun, told, enough = [], [], threading.Event()
    sleep = time.sleep

    def rest(seconds):
        if not told:
            told.append(time.monotonic())
            drain.stand_aside()
        sleep(seconds)

    def job(_ns):
        begun.append(time.monotonic())
        if len(begun) == 2:
            enough.set()
        return True

    monkeypatch.setattr("botobs.pipeline.time.sleep", rest)
    drain = drainer(job)
    drain.wake()
    assert enough.wait(10)
    assert begun[0] < told[0] and begun[1] > told[0] + 0.015


def test_told_so_while_it_has_nothing_to_do_it_begins_no_chore(drainer):
    begun, once = [], threading.Event()

    def chore():
        begun.append(time.monotonic())
        once.set()

    drain = drainer(chores=[chore])
    drain.wake()
    assert once.wait(10)
    once.clear()
    told = time.monotonic()
    drain.stand_aside()
    drain.wake()
    assert once.wait(10)
    assert begun[-1] > told + 0.015


def test_chores_are_done_once_a_second_though_the_work_never_ends(drainer, monkeypatch):
    monkeypatch.setattr("botobs.pipeline._ROUND_S", 0.02)
    done, enough = [], threading.Event()

    def chore():
        done.append(time.monotonic())
        if len(done) == 4:
            enough.set()

    drainer(_busy, chores=[chore]).wake()
    assert enough.wait(10)
    assert all(later - before >= 0.02 for before, later in pairwise(done))


def test_a_chore_in_pieces_is_cut_between_them(drainer, monkeypatch):
    rests, done, enough = [], [], threading.Event()
    sleep = time.sleep

    def rest(seconds):
        rests.append(len(done))
        sleep(seconds)

    def pieces():
        for n in range(4):
            _busy(60_000)
            done.append(n)
            yield
        enough.set()
        raise ValueError("one that fails ends itself alone")

    monkeypatch.setattr("botobs.pipeline.time.sleep", rest)
    monkeypatch.setattr("botobs.pipeline._ROUND_S", 1000.0)
    last = threading.Event()
    drain = drainer(chores=[pieces, last.set])
    drain.wake()
    assert enough.wait(10) and last.wait(10)
    assert {1, 2, 3, 4} <= set(rests)
    assert drain._faults.errors == {"drain": 1}


def test_rung_often_it_makes_one_round(drainer, monkeypatch):
    monkeypatch.setattr("botobs.pipeline._ROUND_S", 1000.0)
    begun, go_on, again, rounds = threading.Event(), threading.Event(), threading.Event(), []

    def chore():
        rounds.append(1)
        begun.set()
        go_on.wait(10)
        if len(rounds) == 2:
            again.set()

    drain = drainer(chores=[chore])
    drain.wake()
    assert begun.wait(10)
    for _ in range(5):
        drain.wake()  # while it is at work: once more, and no more
    go_on.set()
    assert again.wait(10)
    assert drain.close(time.monotonic() + 10)
    assert len(rounds) <= 3  # the end is one more


def test_a_trip_asks_for_it(tmp_path):
    asked = []
    with botobs.start("bot", data_dir=tmp_path, starting_equity=10, kill_switch=[EquityBelow(9)]) as obs:
        obs.kill_switch.hurry = lambda: asked.append(obs.kill_switch.state)
        obs.kill_switch.on_trip(lambda trip: asked.append("called"))
        obs.health(equity=8)
    assert asked == ["halted", "called"]
    with botobs.start("bot", data_dir=tmp_path / "other") as obs:
        assert obs.kill_switch.hurry == obs._drainer.stand_aside
