"""Watchdogs: what goes silent is noticed, reconnected, and escalated; what does not, is left in peace."""

from __future__ import annotations

import asyncio
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs.events import to_record
from botobs.events.safety import FeedStale
from botobs.faults import Faults
from botobs.testing import Clock
from botobs.vitals import reconnect
from botobs.vitals.watchdogs import Watchdogs
from tests.test_promises import ALL


class World:
    def __init__(self, *, inline=True, **more):
        self.clock, self.faults, self.events = Clock(), Faults(), []
        start = (lambda work: work()) if inline else reconnect.begin
        self.dogs = Watchdogs(self.clock, self.events.append, self.faults, start=start, **more)

    def go(self, seconds, beats=(), step=1):
        """Seconds pass, with a look at each; the feeds of `beats` are alive."""
        for _ in range(int(seconds / step)):
            self.clock.advance(step)
            for name in beats:
                self.dogs.heartbeat(name)
            self.dogs.tick()
        return self

    def kinds(self):
        return [event.kind for event in self.events]

    def alarms(self):
        return [event for event in self.events if isinstance(event, FeedStale) and not event.resolved]


def until(condition):
    """Wait for another thread."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.001)


# -- silence of a feed ------------------------------------------------------------------------------------------------


def test_a_feed_that_beats_is_left_in_peace():
    world = World()
    world.dogs.watch("ws", after="30s")
    world.go(29).go(120, ["ws"]).go(30)
    assert world.events == [] and world.dogs.stale() == {}
    assert world.dogs.ages() == {"ws": 30.0}


def test_silent_for_longer_than_its_limit_alarms_once_and_recovers():
    world = World()
    world.dogs.watch("ws", after="30s")
    world.go(5, ["ws"]).go(31)
    assert world.kinds() == ["stale", "alarm"]
    assert world.dogs.stale() == {"ws": 31.0}
    alarm = world.alarms()[0]
    assert (alarm.name, alarm.age_s, alarm.limit_s, alarm.escalated) == ("ws", 31.0, 30.0, False)
    assert to_record(alarm)["event"] == "alarm" and alarm.stream == "connections"
    world.go(600)
    assert len(world.events) == 2
    world.go(1, ["ws"])
    assert world.kinds()[2:] == ["recovered"]
    recovered = world.events[-1]
    assert recovered.resolved and recovered.alarmed and recovered.age_s == 632.0
    world.go(31)
    assert world.kinds()[3:] == ["stale", "alarm"]


def test_a_feed_that_never_came_is_silent_too():
    world = World()
    world.dogs.watch("ws", after="10s")
    assert world.go(11).kinds() == ["stale", "alarm"]


def test_a_feed_known_by_its_heartbeats_alone_has_the_usual_limit():
    world = World()
    world.go(3, ["ws"])
    assert world.go(30).events == []
    assert world.go(1).kinds() == ["stale", "alarm"]


def test_a_slow_loop_that_nobody_declared_cries_wolf_once_at_most():
    world = World()
    for _ in range(50):
        world.go(1, ["rebalance"]).go(299)
    assert len(world.alarms()) == 1
    world.go(1_300)
    assert len(world.alarms()) == 2  # it did stop


def test_one_outage_of_a_fast_feed_does_not_hide_the_next():
    world = World()
    for _ in range(4):
        world.go(300, ["ws"]).go(400)
    assert len(world.alarms()) == 4


def test_outages_of_a_slow_loop_do_not_hide_each_other():
    world = World()
    for _ in range(5):
        for _ in range(12):
            world.go(1, ["rebalance"]).go(299, step=5)
        world.go(10_800, step=5)
    assert len(world.alarms()) == 1 + 5


def test_a_declared_limit_is_taken_as_it_is():
    world = World()
    world.dogs.watch("loop", after="2m")
    for _ in range(5):
        world.go(1, ["loop"]).go(299)
    assert len(world.alarms()) == 5


def test_a_process_that_stood_still_is_given_a_moment():
    world, calls = World(), []
    world.dogs.watch("ws", after="30s", on_stale=lambda: calls.append(1))
    world.go(5, ["ws"])
    world.clock.advance(300)  # stopped, and the look comes before the feed's thread gets its turn
    world.dogs.tick()
    assert world.dogs.stalled and world.events == []
    world.go(60, ["ws"])
    assert not world.dogs.stalled and world.events == [] and calls == []
    world.clock.advance(300)
    world.dogs.tick()
    world.dogs.tick()  # one look, not more
    assert world.kinds() == ["stale", "reconnect"]


def test_setting_the_clock_makes_nothing_stale():
    world = World()
    world.dogs.watch("ws", after="30s")
    world.go(5, ["ws"])
    now = world.clock.time_ns() / 1e9
    for shift in (-86_400, +86_400):
        steady = world.clock.perf_ns()
        world.clock.set(now + shift)
        world.clock._perf_ns = steady
        world.dogs.tick()
        world.go(20, ["ws"])
    assert world.events == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 90), st.booleans()), max_size=25), st.integers(1, 60))
def test_stale_and_recovered_take_turns_and_every_silence_is_there(course, limit):
    """Against a plain model: with a look every second, silent for longer than the limit is a silence."""
    world = World()
    world.dogs.watch("ws", after=limit)
    age, silences, silent = 0, 0, False
    for seconds, beat in course:
        for _ in range(seconds):
            age += 1
            world.go(1)
            if age > limit and not silent:
                silences, silent = silences + 1, True
        if beat:
            world.dogs.heartbeat("ws")
            if age:
                age, silent = 0, False
    world.dogs.tick()
    kinds = [kind for kind in world.kinds() if kind != "alarm"]
    assert kinds == ["stale", "recovered"] * (len(kinds) // 2) + ["stale"] * (len(kinds) % 2)
    assert kinds.count("stale") == silences == len(world.alarms())
    assert bool(world.dogs.stale()) is silent


# -- reconnecting -----------------------------------------------------------------------------------------------------


def test_a_reconnect_that_helps_alarms_nobody():
    world, calls = World(), []
    world.dogs.watch("ws", after="30s", on_stale=lambda: calls.append(1))
    world.go(31)
    assert calls == [1] and world.kinds() == ["stale", "reconnect"]
    world.go(5).go(60, ["ws"])
    assert world.kinds() == ["stale", "reconnect", "recovered"]
    assert world.alarms() == [] and calls == [1]
    assert world.dogs.reconnects() == {"ws": 1}
    assert world.events[1].outcome == "done" and world.events[-1].alarmed is False


def test_one_that_comes_back_without_error_gives_the_feed_its_whole_limit():
    world, calls = World(), []
    world.dogs.watch("ws", after="30s", on_stale=lambda: calls.append(world.clock.perf_ns()))
    world.go(100)
    assert [b - a for a, b in zip(calls, calls[1:])] == [30 * 10**9, 30 * 10**9]


def test_one_that_fails_is_tried_again_with_growing_pauses_and_escalates():
    world, calls = World(), []

    def broken():
        calls.append(round((world.clock.perf_ns() - begun) / 1e9))
        raise ConnectionError("refused")

    world.dogs.watch("ws", after="30s", on_stale=broken)
    begun = world.clock.perf_ns()
    world.go(200)
    assert calls == [31, 36, 46, 66, 106, 186]  # pauses of 5, 10, 20, 40 and 80 seconds
    assert world.kinds()[:4] == ["stale", "reconnect", "alarm", "reconnect"]
    assert [(alarm.escalated, alarm.attempts) for alarm in world.alarms()] == [(False, 1), (True, 5)]
    assert world.dogs.lost().keys() == {"ws"} and world.dogs.reconnects() == {"ws": 0}
    assert world.events[1].outcome == "failed" and world.events[1].error == "ConnectionError: refused"
    assert world.faults.errors == {"on_stale": 6}
    world.go(3_600)
    assert max(b - a for a, b in zip(calls, calls[1:])) == 300
    world.go(1, ["ws"])
    assert world.dogs.lost() == {} and world.kinds()[-1] == "recovered"


def test_a_feed_that_is_back_for_a_moment_only_is_not_back():
    world, calls = World(), []
    world.dogs.watch("ws", after="30s", on_stale=lambda: calls.append(1))
    for _ in range(3):
        world.go(31).go(1, ["ws"])
    assert [alarm.attempts for alarm in world.alarms()] == [1, 2]
    world.go(100, ["ws"]).go(31)
    assert len(world.alarms()) == 2 and world.events[-1].attempts == 1


def test_an_attempt_at_a_time():
    world, running, go = World(inline=False), [], threading.Event()

    def slow():
        running.append(1)
        go.wait(10)

    world.dogs.watch("ws", after="30s", on_stale=slow)
    world.go(31)
    until(lambda: running)
    world.go(300)
    assert running == [1]
    go.set()
    until(lambda: "reconnect" in world.kinds())
    assert world.dogs.reconnects() == {"ws": 1}


def test_one_that_hangs_is_given_up(monkeypatch):
    monkeypatch.setattr("botobs.vitals.watchdogs._ATTEMPT_S", 0.02)
    world, go = World(), threading.Event()
    world.dogs.watch("ws", after="30s", on_stale=lambda: go.wait(30))
    world.go(31)
    assert world.events[-1].outcome == "hung"
    world.go(5)
    assert [event.kind for event in world.events[2:]] == ["alarm", "reconnect"]
    go.set()


@pytest.mark.parametrize(
    "error", [SystemExit, KeyboardInterrupt, RecursionError, type("Odd", (Exception,), {"__str__": lambda s: 1 / 0})]
)
def test_whatever_it_raises(error):
    world = World()

    def broken():
        raise error

    world.dogs.watch("ws", after="30s", on_stale=broken)
    world.go(31)
    assert world.events[-1].outcome == "failed" and error.__name__ in world.events[-1].error


def test_a_subscriber_that_fails_keeps_no_feed_from_its_reconnect():
    world, calls = World(), []
    world.dogs._publish = lambda event: 1 / 0
    world.dogs.watch("ws", after="30s", on_stale=lambda: calls.append(1))
    with pytest.raises(ZeroDivisionError):
        world.go(31)
    world.dogs._publish = world.events.append
    world.go(60)
    assert len(calls) == 3


def test_no_reconnect_in_a_backtest():
    world, calls = World(live=False), []
    world.dogs.watch("ws", after="30s", on_stale=lambda: calls.append(1))
    world.go(100)
    assert calls == [] and world.kinds() == ["stale", "alarm"]


def test_a_backtest_leaps_and_each_look_judges():
    world = World(live=False)
    world.dogs.watch("ws", after="90s")
    for _ in range(3):
        world.clock.advance(60)
        world.dogs.heartbeat("ws")
        world.dogs.tick()
        assert world.events == [] and not world.dogs.stalled
    world.clock.advance(91)
    world.dogs.tick()
    assert world.kinds() == ["stale", "alarm"]


def test_no_thread_to_be_had_is_tried_again():
    world, calls = World(), []

    def none(_):
        raise RuntimeError("can't start new thread")

    world.dogs._start = none
    world.dogs.watch("ws", after="30s", on_stale=lambda: calls.append(1))
    world.go(31)
    world.dogs._start = lambda work: work()
    world.go(6)
    assert calls == [1] and world.faults.errors == {"on_stale": 1}


# -- async ------------------------------------------------------------------------------------------------------------


def coming(scenario, *, heartbeat_only=False, fn):
    """Run an attempt on a loop of the bot's; what came of it."""
    world = World(inline=False)

    async def bot():
        if not heartbeat_only:
            world.dogs.watch("ws", after="30s", on_stale=fn)
        world.dogs.heartbeat("ws")
        world.go(31)
        while "reconnect" not in world.kinds():
            await asyncio.sleep(0.001)

    if heartbeat_only:
        world.dogs.watch("ws", after="30s", on_stale=fn)
    asyncio.run(asyncio.wait_for(bot(), 20))
    return next(event for event in world.events if event.kind == "reconnect")


@pytest.mark.parametrize("heartbeat_only", [False, True])
def test_a_coroutine_function_runs_on_the_bots_loop(heartbeat_only):
    threads = []

    async def again():
        await asyncio.sleep(0)
        threads.append(threading.current_thread())

    event = coming(None, heartbeat_only=heartbeat_only, fn=again)
    assert event.outcome == "done" and threads == [threading.main_thread()]


@pytest.mark.parametrize("wrap", [lambda again: lambda: again(), lambda again: lambda: Waits(again())])
def test_what_returns_an_awaitable_is_awaited_on_the_loop(wrap):
    threads = []

    async def again():
        threads.append(threading.current_thread())

    assert coming(None, fn=wrap(again)).outcome == "done" and threads == [threading.main_thread()]


class Waits:
    def __init__(self, inner):
        self.inner = inner

    def __await__(self):
        return self.inner.__await__()


def test_a_coroutine_that_fails_times_out_or_is_cancelled():
    async def fails():
        raise ConnectionError("refused")

    async def own_timeout():
        raise TimeoutError("its own")

    async def cancelled():
        raise asyncio.CancelledError

    assert coming(None, fn=fails).error == "ConnectionError: refused"
    assert coming(None, fn=own_timeout).error == "TimeoutError: its own"
    assert coming(None, fn=cancelled).outcome == "failed"


def test_a_coroutine_that_hangs_is_cancelled(monkeypatch):
    monkeypatch.setattr("botobs.vitals.watchdogs._ATTEMPT_S", 0.05)
    ended = []

    world = World(inline=False)

    async def hangs():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append(1)
            raise

    async def bot():
        world.dogs.watch("ws", after="30s", on_stale=hangs)
        world.go(31)
        while not ended:
            await asyncio.sleep(0.001)

    asyncio.run(asyncio.wait_for(bot(), 20))
    until(lambda: "reconnect" in world.kinds())
    assert world.events[-1].outcome == "hung"


def test_without_a_loop_a_coroutine_fails_and_says_why():
    world, calls = World(), []

    async def again():
        calls.append(1)

    world.dogs.watch("ws", after="30s", on_stale=again)
    world.go(31)
    assert world.events[-1].outcome == "failed" and "event loop is not known" in world.events[-1].error

    async def bot():
        world.dogs.heartbeat("ws")

    asyncio.run(bot())  # that loop has ended when it is wanted
    world.go(31)
    assert "does not run" in world.events[-1].error and calls == []
    assert world.dogs.feeds["ws"].loop is None  # so that the next one is found


# -- never raises, bounded, cheap -------------------------------------------------------------------------------------


@pytest.mark.parametrize("nasty", range(len(ALL)))
def test_hostile_names_limits_and_callbacks(nasty):
    world, value = World(), ALL[nasty]()
    world.dogs.heartbeat(value)
    world.dogs.watch(value, after=value, on_stale=value)
    world.dogs.watch("ws", after=value, on_stale=value)
    world.go(40)
    world.dogs.heartbeat("ws")
    world.dogs.tick()
    assert "ws" in world.dogs.ages()


@pytest.mark.parametrize("after", [0, -1, "soon", None, float("nan"), True, []])
def test_a_limit_that_is_none_becomes_the_usual_one(after):
    world = World()
    world.dogs.watch("ws", after=after, on_stale="not a function")
    assert world.go(30).events == [] and world.go(1).kinds() == ["stale", "alarm"]


def test_feeds_are_bounded():
    world = World()
    for at in range(1_000):
        world.dogs.heartbeat(f"feed {at}")
    assert len(world.dogs.ages()) == 256


def test_threads_beat_while_it_looks():
    world = World()
    threads = [
        threading.Thread(target=lambda n=n: [world.dogs.heartbeat(f"feed {n} {at % 20}") for at in range(2_000)]) for n in range(4)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        world.dogs.tick()
        world.dogs.ages()
        world.dogs.stale()
    assert len(world.dogs.ages()) == 80 and not world.faults.errors


@pytest.mark.skipif(sys.gettrace() is not None, reason="measured without a tracer")
def test_a_heartbeat_costs_less_than_a_microsecond():
    from botobs.clock import SystemClock

    dogs = Watchdogs(SystemClock(), lambda event: None, Faults())
    dogs.watch("ws", on_stale=lambda: None)
    beat, best = dogs.heartbeat, 1e9
    for _ in range(20):
        begun = time.perf_counter_ns()
        for _ in range(1_000):
            beat("ws")
        best = min(best, (time.perf_counter_ns() - begun) / 1_000)
    assert best < 1_000


# -- a bot that decides nothing ---------------------------------------------------------------------------------------


def test_a_bot_that_stops_deciding_is_silent_and_awakes():
    world = World()
    for _ in range(20):
        world.dogs.decided()
        world.go(60)
    assert world.events == []
    world.go(241)
    assert world.kinds() == ["silent"]
    event = world.events[0]
    assert (event.usual_s, event.limit_s, event.stream) == (60.0, 300.0, "connections") and world.dogs.silence.silent
    world.dogs.decided()
    world.go(1)
    assert world.kinds() == ["silent", "awake"] and not world.dogs.silence.silent


def test_watching_tick_says_how_long_a_bot_may_decide_nothing():
    world = World()
    world.dogs.watch("tick", after="20h")
    for _ in range(3):
        for _ in range(60):
            world.dogs.decided()
            world.go(60, step=60)
        world.go(18 * 3_600, step=60)  # the market is closed
    assert world.events == [] and world.dogs.silence.limit_s == 20 * 3_600
    world.go(21 * 3_600, step=60)
    assert world.kinds() == ["stale", "alarm"]
