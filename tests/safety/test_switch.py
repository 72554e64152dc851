"""Tripping, refusing, flattening, resetting."""

from __future__ import annotations

import asyncio
import contextvars
import math
import threading
import time

import pytest

from botobs.errors import ConfigError, TradingHalted
from botobs.triggers import ConsecutiveLosses, Drawdown, EquityBelow, Rejections, When
from tests.money.world import until
from tests.safety.switches import D, Room
from tests.slack import SLACK_S


def test_the_decision_is_made_before_the_verb_returns_and_on_its_thread(room):
    switch = room.switch(EquityBelow(9000))
    seen = []
    switch.on_trip(lambda trip: seen.append((trip, switch.state)))
    switch.equity(D(10_000), D(10_000))
    switch.equity(D("8999.99"), D(10_000))
    assert switch.state == "halted"
    ((trip, state),) = seen
    assert state == "halted" and trip.state == "halted" and not trip.drill
    assert trip.trigger == "EquityBelow(9000)" and trip.inputs["equity"] == "8999.99" and trip.ts.endswith("Z")
    event = room.last("trip")
    assert event.inputs == trip.inputs and event.source == "trigger" and event.durable and event.previous == "active"
    with pytest.raises(TradingHalted, match=r"halted since 2026.*EquityBelow\(9000\)") as caught:
        switch.check()
    assert (caught.value.state, caught.value.reason, caught.value.since) == ("halted", trip.reason, trip.ts)


def test_a_floor_is_broken_below_it_and_a_drawdown_at_it(room):
    switch = room.switch(EquityBelow(9000))
    switch.equity(D(9000), D(10_000))
    assert switch.state == "active"
    switch = room.switch(Drawdown(0.1), folder=None)
    switch.equity(D("9000.01"), D(10_000))
    assert switch.state == "active"
    switch.equity(D(9000), D(10_000))
    assert switch.state == "halted"


def test_callbacks_run_in_order_each_isolated_and_limited(room):
    switch = room.switch()
    seen, hang = [], threading.Event()

    @switch.on_trip
    def first(trip):
        seen.append("first")
        raise RuntimeError("broken")

    @switch.on_trip(timeout=0.05)
    def second(trip):
        seen.append("second")
        hang.wait(10)

    @switch.on_trip
    def third(trip):
        seen.append("third")
        switch.trip("again from within")
        raise SystemExit

    @switch.on_trip
    def fourth(trip):
        seen.append("fourth")

    begun = time.monotonic()
    switch.trip("test")
    assert time.monotonic() - begun < 6
    hang.set()
    assert seen == ["first", "second", "third", "fourth"]
    assert switch.state == "halted" and switch.reason == "test"
    outcomes = [(one["name"].rpartition(".")[2], one["outcome"]) for one in room.last("callbacks").callbacks]
    assert outcomes == [("first", "failed"), ("second", "hung"), ("third", "failed"), ("fourth", "done")]
    assert room.faults.errors["kill_switch.callback"] == 3
    assert [event.again for event in room.said("trip") if event.reason == "again from within"] == [True]


def test_the_trip_is_recorded_while_a_callback_takes_its_time(room):
    switch = room.switch()
    seen = []

    @switch.on_trip
    def slow(_trip):
        until(lambda: "trip" in room.kinds())
        seen.append(1)

    switch.trip("now")
    assert seen == [1]
    assert room.kinds() == ["trip", "callbacks"]


def test_a_second_trip_is_recorded_and_calls_nobody(room):
    switch = room.switch(EquityBelow(9000), Drawdown(0.05))
    seen = []
    switch.on_trip(seen.append)
    switch.equity(D(8000), D(10_000))
    for equity in (7000, 6000, 5000):
        switch.equity(D(equity), D(10_000))
    assert len(seen) == 1
    again = [event for event in room.said("trip") if getattr(event, "again", False)]
    assert [event.trigger for event in again] == ["Drawdown(0.05)"], "once, not with every price"


def test_reduce_only_may_become_halted_and_calls_again(room):
    switch = room.switch(ConsecutiveLosses(2, target="reduce_only"), EquityBelow(9000))
    seen = []
    switch.on_trip(lambda trip: seen.append(trip.state))
    switch.closed(D(-1))
    switch.closed(D(-1))
    assert switch.state == "reduce_only"
    switch.check(reduces=True)
    assert switch.allows(reduces=True) and not switch.allows()
    with pytest.raises(TradingHalted):
        switch.check()
    switch.equity(D(8000), D(10_000))
    assert seen == ["reduce_only", "halted"] and switch.state == "halted"
    with pytest.raises(TradingHalted):
        switch.check(reduces=True)
    assert switch.trip("less", target="reduce_only") and switch.state == "halted"


def test_inside_a_callback_what_reduces_passes_and_what_it_starts_too(room):
    switch = room.switch()
    seen = {}

    @switch.on_trip
    def flatten(trip):
        switch.check(reduces=True)
        seen["allows"] = switch.allows(reduces=True), switch.allows()
        with pytest.raises(TradingHalted):
            switch.check()
        room.orders["exit"] = {"symbol": "BTC", "reduces": True}
        switch.guard("exit")
        seen["context"] = contextvars.copy_context()

    switch.trip("test")
    assert seen["allows"] == (True, False)
    with pytest.raises(TradingHalted):
        switch.check(reduces=True)
    seen["context"].run(switch.check, True)  # a task that the callback started
    switch.reset("me", "seen to")
    switch._callbacks = ()
    switch.trip("another")
    with pytest.raises(TradingHalted):
        seen["context"].run(switch.check, True)


def test_an_async_callback_runs_on_the_bots_loop_and_a_verb_there_does_not_wait(room):
    switch = room.switch()
    seen = []

    async def bot():
        done = asyncio.Event()

        @switch.on_trip
        async def flatten(trip):
            seen.append(asyncio.get_running_loop() is loop)
            await asyncio.sleep(0)
            switch.check(reduces=True)
            seen.append("flat")
            done.set()

        switch.on_trip(lambda trip: seen.append("sync"))
        loop = asyncio.get_running_loop()
        switch.trip("test")
        assert seen == ["sync"], "the task comes when the loop does"
        await asyncio.wait_for(done.wait(), 5)
        assert seen == ["sync", True, "flat"]
        for _ in range(20):  # of the loop's turns; how many it takes is the loop's affair
            await asyncio.sleep(0)
        told = [(event.late, [one["outcome"] for one in event.callbacks]) for event in room.said("callbacks")]
        assert told == [(None, ["started", "done"]), (True, ["done"])]
        # from another thread it is waited for
        assert switch.reset("me", "ok")
        await asyncio.to_thread(switch.trip, "elsewhere")
        assert seen[3:] == [True, "flat", "sync"]
        assert [one["outcome"] for one in room.last("callbacks").callbacks] == ["done", "done"]

    asyncio.run(bot())


def test_an_async_callback_whose_loop_ends_under_it_failed_and_says_why(room):
    switch = room.switch()
    begun, trips = threading.Event(), []

    async def main():
        @switch.on_trip(timeout=60)
        async def flatten(trip):
            begun.set()
            await asyncio.sleep(60)

        trips.append(threading.Thread(target=switch.trip, args=("test",)))
        trips[0].start()
        while not begun.is_set():
            await asyncio.sleep(0)

    asyncio.run(main())
    trips[0].join(30)
    why = "CancelledError: the bot's event loop ended before it had"
    assert room.last("callbacks").failed == [f"flatten failed: {why}"]


def test_an_async_callback_finds_the_loop_that_orders_are_sent_on(room):
    switch = room.switch()
    seen = []

    @switch.on_trip
    async def flatten(trip):
        seen.append(asyncio.get_running_loop())

    async def bot():
        switch.check()
        await asyncio.to_thread(switch.trip, "test")
        assert seen == [asyncio.get_running_loop()]

    assert switch.shut
    asyncio.run(bot())
    assert switch.reset("me", "ok") and not switch.shut
    switch.trip("the loop is gone")  # one of its own is better than none
    assert len(seen) == 2


def test_an_async_callback_that_hangs_or_fails_is_given_up_and_counted(room):
    switch = room.switch()

    async def bot():
        @switch.on_trip(timeout=0.05)
        async def hangs(trip):
            await asyncio.sleep(30)

        @switch.on_trip
        async def fails(trip):
            raise ValueError("no")

        await asyncio.to_thread(switch.trip, "test")
        assert [one["outcome"] for one in room.last("callbacks").callbacks] == ["hung", "failed"]
        assert room.faults.errors["kill_switch.callback"] == 2
        switch.reset("me", "ok")
        switch.trip("here")  # nobody waits for it: what becomes of it is told later
        while len([event for event in room.said("callbacks") if event.late]) < 2:
            await asyncio.sleep(0.005)

    asyncio.run(bot())
    late = room.said("callbacks")[-2:]
    assert [event.failed for event in late] == [["fails failed: ValueError: no"], late[1].failed]
    assert late[1].failed[0].startswith("hangs hung: TimeoutError")
    assert room.faults.errors["kill_switch.callback"] == 4


def test_other_threads_never_wait_for_callbacks(room):
    switch = room.switch(EquityBelow(9000))
    inside, leave = threading.Event(), threading.Event()

    @switch.on_trip
    def slow(trip):
        inside.set()
        leave.wait(10)

    tripping = threading.Thread(target=switch.trip, args=("test",))
    tripping.start()
    assert inside.wait(10)
    begun = time.monotonic()
    switch.equity(D(100), D(10_000))
    switch.trip("too")
    switch.rejected("BTC", "x")
    with pytest.raises(TradingHalted):
        switch.check()
    assert time.monotonic() - begun < SLACK_S
    leave.set()
    tripping.join()


def test_a_refusal_keeps_the_order_it_stopped(room):
    switch = room.switch()
    room.orders["o1"] = {"symbol": "BTC", "side": "buy", "qty": D(1)}
    room.orders["o2"] = {"symbol": "BTC", "side": "sell", "reduces": True}
    switch.trip("test", target="reduce_only")
    with pytest.raises(TradingHalted):
        switch.guard("o1", stage="send")
    event = room.last("refusal")
    assert event.order == room.orders["o1"] and event.symbol == "BTC" and event.stage == "send"
    assert event.reason == "test" and event.since == switch.since and event.order_id == "o1"
    switch.guard("o2")  # announced as reducing
    switch.guard("o1", reduces=True)
    switch.trip("test")
    for call in (lambda: switch.guard("o2"), lambda: switch.guard("unheard of")):
        with pytest.raises(TradingHalted):
            call()


def test_ten_thousand_questions_do_not_fill_the_disk_and_orders_are_all_kept(room):
    switch = room.switch()
    switch.trip("test")
    for _ in range(1000):
        with pytest.raises(TradingHalted):
            switch.check()
    for n in range(300):
        room.orders[f"o{n}"] = {"symbol": "BTC"}
        with pytest.raises(TradingHalted):
            switch.guard(f"o{n}")
    said = room.said("refusal")
    assert sum(event.order_id is not None for event in said) == 300
    assert len(said) < 500 and sum(event.suppressed or 0 for event in said) + len(said) == 1300


def test_a_reset_needs_a_name_and_a_reason(room):
    switch = room.switch()
    switch.trip("test")
    for by, reason in (("", "x"), ("me", ""), ("  ", " "), (None, None), ("me", "\n")):
        answer = switch.reset(by, reason)
        assert not answer and "needs" in answer.reason and switch.state == "halted"
    assert room.last("reset").allowed is False
    assert switch.reset("me", "fixed") and switch.state == "active" and switch.allows()
    event = room.last("reset")
    assert (event.by, event.reason, event.previous, event.state) == ("me", "fixed", "halted", "active")


def test_after_a_reset_a_floor_trips_again_and_a_drawdown_counts_anew(room):
    floor = room.switch(EquityBelow(9000), folder=None)
    floor.equity(D(8000), D(10_000))
    answer = floor.reset("me", "go on")
    assert answer and answer.reason == "EquityBelow(9000) is still broken: the next equity trips it again"
    floor.equity(D(8000), D(10_000))
    assert floor.state == "halted"
    fall = room.switch(Drawdown(0.1), Rejections(2), folder=None)
    fall.equity(D(8000), D(10_000))
    assert fall.state == "halted" and fall.reset("me", "go on").reason == ""
    fall.equity(D(8000), D(10_000))
    fall.equity(D(7201), D(10_000))
    assert fall.state == "active"
    fall.equity(D(7200), D(10_000))
    assert fall.state == "halted"


def test_a_drill_calls_everybody_and_changes_nothing(room):
    switch = room.switch(EquityBelow(9000))
    trips = []
    switch.on_trip(trips.append)
    before = (room.folder / "kill_switch.json").read_bytes()
    found = switch.drill()
    assert found and found.took_ms >= found.written_ms > 0 and found.durable
    assert [trip.drill for trip in trips] == [True] and trips[0].state == "halted"
    assert switch.state == "active" and switch.allows() and (room.folder / "kill_switch.json").read_bytes() == before
    event = room.last("drill")
    assert event.drill and event.state == "active" and event.callbacks[0]["outcome"] == "done"
    assert switch.trip("only", drill=True) is None and switch.state == "active"
    switch.on_trip(lambda trip: 1 / 0)
    assert not switch.drill()


@pytest.mark.parametrize("bad", [None, math.nan, "NaN", D("NaN"), D("sNaN"), "ten", object(), True, D("Infinity"), [1]])
def test_no_value_raises_and_unknown_equity_is_told_once(room, bad):
    switch = room.switch(EquityBelow(9000), Drawdown(0.1))
    switch.equity(D(10_000), D(10_000))
    for _ in range(3):
        switch.equity(bad, bad, "no price", bad)
    assert switch.state == "active" and not room.faults.errors
    assert [(event.why, event.trigger) for event in room.said("warning")] == [
        ("unknown", "EquityBelow(9000)"),
        ("unknown", "Drawdown(0.1)"),
    ]
    assert room.last("warning").inputs["why"] == "no price"
    switch.rejected(bad, bad)
    switch.closed(bad)
    switch.failed(bad)
    switch.silence(None)
    switch.feeds({})
    switch.fill("BTC", bad, opened="t1", closed=["t1"])
    switch.equity(D(8999), D(10_000))
    assert switch.state == "halted"


def test_what_is_wrong_in_a_call_raises_nothing(room):
    switch = room.switch()
    assert switch.on_trip("no function") == "no function"
    switch.on_trip(lambda trip: None, timeout="soon")
    switch.keep_alive(7)
    switch.keep_alive(lambda: None, every="never")
    switch.trip(None, target="asleep", inputs=7)
    assert switch.state == "halted" and switch.reason == "no reason given"


def test_in_strict_mode_every_callback_runs_and_then_the_error_is_raised(tmp_path):
    room = Room(tmp_path, strict=True)
    switch = room.switch()
    seen = []
    switch.on_trip(lambda trip: 1 / 0)
    switch.on_trip(seen.append)
    with pytest.raises(ZeroDivisionError):
        switch.trip("test")
    assert len(seen) == 1 and switch.state == "halted"
    room.close()


def test_a_publisher_that_fails_stops_nothing(room):
    switch = room.switch(EquityBelow(9000))
    seen = []
    switch.on_trip(seen.append)
    room.published = None
    switch._publish = lambda event: 1 / 0
    switch.equity(D(1), D(10_000))
    assert seen and switch.state == "halted" and switch.drill()
    with pytest.raises(TradingHalted):
        switch.check()
    assert switch.reset("me", "ok")


def test_the_floor_comes_with_rejections_and_joins_other_triggers(room):
    assert room.switch(triggers=None, equity_floor=D(9000), folder=None).triggers == (
        "EquityBelow(9000)",
        "Rejections(10, 600)",
    )
    assert room.switch(triggers=None, folder=None).triggers == ()
    assert room.switch(Drawdown(0.1), equity_floor=D(9000), folder=None).triggers == (
        "EquityBelow(9000)",
        "Drawdown(0.1)",
    )
    with pytest.raises(ConfigError, match="no trigger"):
        room.switch(object(), folder=None)


def test_without_threads_everything_runs_here(room):
    switch = room.switch(When(lambda: True), threaded=False, folder=None)
    threads = []

    @switch.on_trip
    async def one(trip):
        threads.append(threading.current_thread())

    switch.on_trip(lambda trip: threads.append(threading.current_thread()))
    switch.now()
    assert threads == [threading.current_thread()] * 2
    assert [kind for kind in room.kinds() if kind != "warning"] == ["trip", "callbacks"]
