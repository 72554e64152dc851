"""Callbacks without a limit: on the thread that trips, at once, and among the others in their order."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import subprocess
import sys
import threading

import pytest

import botobs
from botobs.errors import TradingHalted
from botobs.safety import outside
from botobs.safety.latch import Latch
from botobs.streams import StreamReader
from botobs.triggers import ConsecutiveLosses, EquityBelow
from tests.money.world import until
from tests.safety.switches import D, Room
from tests.soak.processes import environment


def outcomes(event):
    return [(one["name"], one["outcome"]) for one in event.callbacks]


def test_it_is_called_on_the_thread_that_trips_when_the_latch_is_written_and_before_anything_is_said(room):
    switch = room.switch(EquityBelow(9000))
    seen = []

    @switch.on_trip(timeout=None)
    def flag(trip):
        file = outside.status(room.folder)["state"]
        seen.append((threading.current_thread(), trip.reason, switch.state, file, list(room.kinds())))

    switch.equity(D(8999), D(10_000))
    assert seen == [(threading.current_thread(), switch.reason, "halted", "halted", [])]
    assert room.kinds() == ["trip", "callbacks"] and outcomes(room.last("callbacks")) == [("flag", "done")]
    assert switch.reset("me", "ok")
    other = threading.Thread(target=switch.trip, args=("elsewhere",))
    other.start()
    other.join()
    assert seen[1][0] is other
    assert switch.reset("me", "ok") and outside.trip(room.folder, "the office")
    looking = threading.Thread(target=switch.look)
    looking.start()
    looking.join()
    assert seen[2][0] is looking and seen[2][1] == "the office"


def test_the_order_is_that_of_registration_whatever_the_limit(room):
    switch = room.switch()
    seen, here = [], threading.current_thread()

    def callback(name):
        def called(trip):
            seen.append((name, threading.current_thread() is here))

        called.__qualname__ = name
        return called

    for name, limit in (("a", "5s"), ("b", None), ("c", None), ("d", 5), ("e", None)):
        switch.on_trip(callback(name), timeout=limit)
    switch.trip("test")
    assert seen == [("a", False), ("b", True), ("c", True), ("d", False), ("e", True)]
    assert outcomes(room.last("callbacks")) == [(name, "done") for name in "abcde"]


@pytest.mark.parametrize("error", [RuntimeError("broken"), SystemExit(3), GeneratorExit(), asyncio.CancelledError()])
def test_what_it_raises_is_counted_and_recorded_and_keeps_nobody(room, error):
    switch = room.switch()
    seen = []

    @switch.on_trip(timeout=None)
    def fails(trip):
        raise error

    switch.on_trip(seen.append, timeout=None)
    switch.on_trip(lambda trip: seen.append(trip))
    switch.trip("test")
    assert len(seen) == 2 and room.faults.errors["kill_switch.callback"] == 1
    first = room.last("callbacks").callbacks[0]
    assert first["outcome"] == "failed" and first["error"].startswith(type(error).__name__)
    assert room.last("callbacks").failed


def test_ctrl_c_within_it_is_raised_when_everybody_was_called(room):
    switch = room.switch()
    seen = []

    @switch.on_trip(timeout=None)
    def interrupted(trip):
        signal.raise_signal(signal.SIGINT)

    switch.on_trip(lambda trip: seen.append("after"), timeout=None)
    switch.on_trip(lambda trip: seen.append("last"))
    with pytest.raises(KeyboardInterrupt):
        switch.trip("test")
    assert seen == ["after", "last"] and switch.state == "halted"
    assert [outcome for _name, outcome in outcomes(room.last("callbacks"))] == ["failed", "done", "done"]
    assert switch.reset("me", "ok") and switch.allows()


def test_ctrl_c_while_one_with_a_limit_is_waited_for_is_raised_then_too(room):
    switch = room.switch()
    seen, released = [], threading.Event()

    @switch.on_trip(timeout=60)
    def slow(trip):
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        released.wait(30)

    switch.on_trip(lambda trip: seen.append("after"), timeout=None)
    with pytest.raises(KeyboardInterrupt):
        switch.trip("test")
    released.set()
    assert seen == ["after"] and switch.state == "halted"
    assert room.last("callbacks").failed == ["slow failed: KeyboardInterrupt"]


def test_an_exit_while_one_is_waited_for_is_raised_when_everybody_was_called(room):
    switch = room.switch()
    seen, released = [], threading.Event()

    def terminated(*_):
        released.set()
        sys.exit(5)

    @switch.on_trip(timeout=60)
    def slow(trip):
        signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)
        released.wait(30)

    switch.on_trip(lambda trip: seen.append("with a limit"))
    switch.on_trip(lambda trip: seen.append("without"), timeout=None)
    before = signal.signal(signal.SIGTERM, terminated)
    try:
        with pytest.raises(SystemExit):
            switch.trip("test")
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == ["with a limit", "without"]
    assert room.kinds() == ["trip", "callbacks"] and room.last("callbacks").failed == ["slow failed: 5"]


def test_ctrl_c_while_it_is_written_leaves_nobody_out(room, monkeypatch):
    switch = room.switch()
    seen, put = [], Latch._put

    def interrupted(latch, standing):
        monkeypatch.setattr(Latch, "_put", put)
        raise KeyboardInterrupt

    monkeypatch.setattr(Latch, "_put", interrupted)
    switch.on_trip(lambda trip: seen.append(outside.status(room.folder)["state"]))
    with pytest.raises(KeyboardInterrupt):
        switch.trip("test")
    assert seen == ["halted"] and room.kinds() == ["trip", "callbacks"] and room.last("trip").durable


def test_a_reset_within_one_is_recorded_after_the_trip(room):
    switch = room.switch()
    switch.on_trip(lambda trip: switch.reset("me", "it was nothing"), timeout=None)
    switch.trip("test")
    assert switch.state == "active" and room.kinds() == ["trip", "reset", "callbacks"]


def test_one_that_ends_the_bot_ends_it_with_the_trip_on_record_and_told(tmp_path):
    told = []
    obs = botobs.start("bot", data_dir=tmp_path, durability="os")
    obs.alerts.to(told.append)
    reports = []
    obs.kill_switch.on_trip(lambda trip: reports.append(obs.shutdown(10)), timeout=None)
    obs.kill_switch.trip("the exchange is down")
    assert reports[0].delivered
    assert [one["reason"] for one in StreamReader(tmp_path).read("kill_switch")] == ["the exchange is down"]
    assert [alert.key for alert in told] == ["kill-switch"]


def test_in_strict_mode_each_thread_gets_what_its_own_trip_raised(tmp_path):
    room = Room(tmp_path, strict=True)
    switch = room.switch()
    within, released, raised = threading.Event(), threading.Event(), []

    @switch.on_trip(timeout=None)
    def fails(trip):
        if trip.reason == "first":
            within.set()
            released.wait(30)
        raise ValueError(trip.reason)

    @switch.on_trip(timeout=None)
    def waits(trip):
        if trip.reason == "second":  # its own error is owed by now, and the other thread's too
            released.set()
            first.join(30)

    def trip_first():
        with pytest.raises(ValueError) as caught:
            switch.trip("first", target="reduce_only")
        raised.append(str(caught.value))

    first = threading.Thread(target=trip_first)
    first.start()
    assert within.wait(30)
    with pytest.raises(ValueError, match="second"):
        switch.trip("second")
    first.join(30)
    assert raised == ["first"]
    room.close()


def test_in_strict_mode_everybody_is_called_first(tmp_path):
    room = Room(tmp_path, strict=True)
    switch = room.switch()
    seen = []
    switch.on_trip(lambda trip: 1 / 0, timeout=None)
    switch.on_trip(seen.append, timeout=None)
    with pytest.raises(ZeroDivisionError):
        switch.trip("test")
    assert len(seen) == 1 and switch.state == "halted"
    room.close()


def test_what_reduces_passes_within_it_and_in_what_it_starts(room):
    switch = room.switch()
    kept = {}
    said = contextvars.ContextVar("said", default="nothing")

    @switch.on_trip(timeout=None)
    def flatten(trip):
        switch.check(reduces=True)
        with pytest.raises(TradingHalted):
            switch.check()
        kept["context"] = contextvars.copy_context()
        said.set("within")

    switch.trip("test")
    assert outcomes(room.last("callbacks")) == [("flatten", "done")]
    with pytest.raises(TradingHalted):
        switch.check(reduces=True)
    kept["context"].run(switch.check, True)
    assert said.get() == "nothing", "what it sets in its context is its own"
    assert switch.reset("me", "ok")
    with pytest.raises(TradingHalted):
        switch._callbacks = ()
        switch.trip("another")
        kept["context"].run(switch.check, True)


def test_a_trip_within_it_is_recorded_and_a_worse_one_calls_everybody_in_its_turn(room):
    switch = room.switch(ConsecutiveLosses(1, target="reduce_only"))
    seen = []

    @switch.on_trip(timeout=None)
    def worse(trip):
        seen.append(("worse", trip.state))
        switch.trip("once more")

    @switch.on_trip
    def limited(trip):
        seen.append(("limited", trip.state))

    switch.closed(D(-1))
    assert seen == [("worse", "reduce_only"), ("worse", "halted"), ("limited", "halted"), ("limited", "reduce_only")]
    assert switch.state == "halted" and switch.reason == "once more"
    assert [bool(getattr(event, "again", False)) for event in room.said("trip")].count(True) == 1
    assert len(room.said("callbacks")) == 2


def test_a_drill_calls_it_too(room):
    switch = room.switch()
    seen = []

    @switch.on_trip(timeout=None)
    def press(trip):
        seen.append((trip.drill, threading.current_thread()))
        with pytest.raises(AssertionError):
            assert not switch.allows()

    found = switch.drill()
    assert found and seen == [(True, threading.current_thread())] and switch.state == "active"
    assert [(one.name, one.outcome) for one in found.callbacks] == [("press", "done")]
    switch.on_trip(lambda trip: 1 / 0, timeout=None)
    assert not switch.drill()


def test_one_with_a_limit_that_hangs_keeps_it_for_no_longer_than_that(room):
    switch = room.switch()
    seen, released = [], threading.Event()
    switch.on_trip(lambda trip: seen.append("before"), timeout=None)

    @switch.on_trip(timeout=0.05)
    def hangs(trip):
        released.wait(30)

    switch.on_trip(lambda trip: seen.append("after"), timeout=None)
    switch.trip("test")
    assert seen == ["before", "after"] and not released.is_set()
    assert [outcome for _name, outcome in outcomes(room.last("callbacks"))] == ["done", "hung", "done"]
    released.set()


def test_one_that_hangs_does_not_keep_the_trip_from_being_recorded(room):
    switch = room.switch()
    inside, released = threading.Event(), threading.Event()

    @switch.on_trip(timeout=None)
    def hangs(trip):
        inside.set()
        released.wait(30)

    tripping = threading.Thread(target=switch.trip, args=("test",))
    tripping.start()
    assert inside.wait(30) and room.kinds() == []
    switch.now()  # once a second
    until(lambda: room.kinds() == ["trip"])
    with pytest.raises(TradingHalted):
        switch.check()
    switch.trip("other threads do not wait")
    assert tripping.is_alive()
    released.set()
    tripping.join(30)
    assert room.kinds().count("callbacks") == 1 and len(room.said("trip")) == 2


def test_tasks_of_the_loop_can_be_cancelled_when_it_is_the_loop_that_trips(room):
    switch = room.switch(EquityBelow(9000))

    async def bot():
        quoting = asyncio.create_task(asyncio.sleep(3600))
        stop = asyncio.Event()

        @switch.on_trip(timeout=None)
        def cancel(trip):
            asyncio.get_running_loop()
            quoting.cancel()
            stop.set()

        switch.equity(D(8000), D(10_000))
        assert quoting.cancelling() and stop.is_set()
        await asyncio.wait_for(stop.wait(), 10)
        with pytest.raises(asyncio.CancelledError):
            await quoting

    asyncio.run(bot())


def test_an_async_one_has_no_limit_and_is_waited_for_except_on_its_own_loop(room):
    switch = room.switch()
    seen = []

    async def bot():
        begun, go = asyncio.Event(), asyncio.Event()

        @switch.on_trip(timeout=None)
        async def flatten(trip):
            seen.append((trip.reason, asyncio.get_running_loop() is loop))
            begun.set()
            await go.wait()
            switch.check(reduces=True)

        @switch.on_trip(timeout=None)
        def soon(trip):
            return flatten(trip) if trip.reason == "elsewhere" else None

        loop = asyncio.get_running_loop()
        switch.trip("here")
        assert outcomes(room.last("callbacks")) == [("flatten", "started"), ("soon", "done")]
        await begun.wait()
        go.set()
        while not room.last("callbacks").late:
            await asyncio.sleep(0)
        assert outcomes(room.last("callbacks")) == [("flatten", "done")]
        assert switch.reset("me", "ok")
        begun.clear(), go.clear()
        waiting = asyncio.create_task(asyncio.to_thread(switch.trip, "elsewhere"))
        await begun.wait()
        assert not waiting.done()
        go.set()
        await waiting
        assert outcomes(room.last("callbacks")) == [("flatten", "done"), ("soon", "done")]

    asyncio.run(bot())
    assert seen == [("here", True), ("elsewhere", True), ("elsewhere", True)]
    assert switch.reset("me", "ok")
    seen.clear()
    switch._callbacks = ()
    threads = []

    @switch.on_trip(timeout=None)
    async def alone(trip):
        threads.append(threading.current_thread())

    switch.trip("the loop is gone")
    assert threads == [threading.current_thread()], "one of its own is better than none"


def test_an_async_one_whose_loop_stops_is_not_waited_for_any_longer(room, monkeypatch):
    monkeypatch.setattr("botobs.safety.callbacks._LOOP_LOOK_S", 0.01)
    switch = room.switch()
    loop = asyncio.new_event_loop()

    @switch.on_trip(timeout=None)
    async def never(trip):
        loop.stop()
        await asyncio.Event().wait()

    running = threading.Thread(target=loop.run_forever)
    running.start()
    asyncio.run_coroutine_threadsafe(_met(switch), loop).result(30)
    switch.trip("test")
    running.join(30)
    assert outcomes(room.last("callbacks")) == [("never", "hung")]
    assert "has ended" in room.last("callbacks").callbacks[0]["error"]
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


async def _met(switch):
    switch.allows()
    switch._caller.note_loop()


KILLED = """
import os, signal, sys
from decimal import Decimal
from pathlib import Path
from botobs.triggers import EquityBelow
from tests.safety.switches import Room
switch = Room(Path(sys.argv[1])).switch(EquityBelow(9000))
switch.on_trip(lambda trip: os.kill(os.getpid(), signal.SIGKILL), timeout=None)
switch.equity(Decimal(8000), Decimal(10000))
"""


def test_killed_right_after_it_began_the_next_start_is_halted(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path], env=environment(), check=False, capture_output=True, cwd=os.getcwd()
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    switch = Room(tmp_path).switch(EquityBelow(9000))
    assert switch.state == "halted" and "EquityBelow(9000) is broken" in switch.reason
    switch.close()


def test_a_timeout_that_is_none_of_these_is_five_seconds_and_not_none(room):
    switch = room.switch()
    for limit in ("", "soon", 0, False):
        switch.on_trip(lambda trip: None, timeout=limit)
    assert [callback.limit_s for callback in switch._callbacks] == [5.0] * 4


def test_through_the_observer_it_is_called_within_the_verb(tmp_path):
    seen = []
    with botobs.start("bot", data_dir=tmp_path, starting_equity=10_000, equity_floor=9_000) as obs:

        @obs.kill_switch.on_trip(timeout=None)
        def flatten(trip):
            with botobs.execution(reduces=True):
                seen.append(threading.current_thread())

        obs.fill(symbol="BTC-USD", side="buy", qty=10, price=1_000, fee=0)
        obs.mark("BTC-USD", 890)
        assert seen == [threading.current_thread()]
        with pytest.raises(TradingHalted), botobs.execution(reduces=True):
            pass
