"""Each limit: when it warns, when it breaks, what it does with what is not known, and what clocks do to it."""

from __future__ import annotations

import datetime as dt
import inspect
import math
import threading
import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs import triggers
from botobs.errors import TradingHalted
from botobs.triggers import (
    ConsecutiveLosses,
    DailyLoss,
    Drawdown,
    EquityBelow,
    Errors,
    Rejections,
    SameBarRoundTrip,
    Silence,
    Stale,
    When,
)  # fmt: skip
from tests.safety.switches import D, Room
from tests.slack import SLACK_S
from tests.soak.switch import days


def warned(room):
    return [(event.trigger, event.why) for event in room.said("warning")]


def test_a_warning_at_80_percent_of_the_way_from_the_peak_to_the_floor(room):
    switch = room.switch(EquityBelow(9000))
    switch.equity(D(10_500), D(10_500))
    switch.equity(D("9300.01"), D(10_500))
    assert not warned(room)
    switch.equity(D(9300), D(10_500))
    assert warned(room) == [("EquityBelow(9000)", "near")] and room.last("warning").used == 0.8
    for equity in (9301, 9299, 9310, 9250):  # at the edge it is not said with every tick
        switch.equity(D(equity), D(10_500))
    assert len(warned(room)) == 1
    switch.equity(D(10_000), D(10_500))
    switch.equity(D(9200), D(10_500))
    assert len(warned(room)) == 2 and switch.state == "active"


@pytest.mark.parametrize(("trigger", "near", "broken"), [
    (Drawdown(0.10), D(9200), D(9000)),
    (Drawdown("0.5", warn_at=0.5), D(7500), D(5000)),
    (DailyLoss(500), D(9600), D(9500)),
])  # fmt: skip
def test_where_limits_on_equity_warn_and_break(room, trigger, near, broken):
    switch = room.switch(trigger)
    switch.equity(D(10_000), D(10_000))
    switch.equity(near + D("0.01"), D(10_000))
    assert not warned(room)
    switch.equity(near, D(10_000))
    assert len(warned(room)) == 1
    switch.equity(broken + D("0.01"), D(10_000))
    assert switch.state == "active"
    switch.equity(broken, D(10_000))
    assert switch.state == "halted"


def test_one_bad_tick_halts_nothing_and_n_in_a_row_do(room):
    switch = room.switch(EquityBelow(9000, confirm=3))
    for _ in range(3):
        for equity in (10_000, 1, 1, 10_000):
            switch.equity(D(equity), D(10_000))
    assert switch.state == "active" and ("EquityBelow(9000)", "unconfirmed") in warned(room)
    switch.equity(D(1), D(10_000))
    switch.equity(None, D(10_000))  # neither one nor the other
    switch.equity(D(1), D(10_000))
    assert switch.state == "active"
    switch.equity(D(1), D(10_000))
    assert switch.state == "halted"


def test_a_confirmation_survives_kill_9(room):
    switch = room.switch(EquityBelow(9000, confirm=2))
    switch.equity(D(1), D(10_000))
    room.open.clear()
    switch = room.switch(EquityBelow(9000, confirm=2))
    switch.equity(D(1), D(10_000))
    assert switch.state == "halted"


def test_unknown_halts_if_it_is_to_and_may_have_to_be_confirmed(room):
    switch = room.switch(EquityBelow(9000, on_unknown="halt", confirm=2, target="reduce_only"))
    switch.equity(D(10_000), D(10_000))
    switch.equity(D("NaN"), D(10_000), "no price")
    switch.equity(D(10_000), D(10_000))
    switch.equity(None, D(10_000), "no price")
    assert switch.state == "active"
    switch.equity(None, D(10_000), "no price")
    assert switch.state == "reduce_only" and "not known" in switch.reason
    assert room.last("trip").inputs["why"] == "no price"


def test_equity_may_not_be_older_than_told(room):
    switch = room.switch(EquityBelow(9000, on_unknown="halt", stale_after="1m"))
    switch.now()
    switch.equity(D(10_000), D(10_000))
    room.clock.advance(60)
    switch.now()
    assert switch.state == "active"
    room.clock.advance(1)
    switch.now()
    assert switch.state == "halted"


@pytest.mark.parametrize("policy", ["warn", "halt"])
def test_a_limit_of_an_equity_that_nobody_tells_is_unknown_after_five_minutes(room, policy):
    for run in range(2):  # what an earlier run knew is not what this one knows
        switch = room.switch(EquityBelow(9000, on_unknown=policy), EquityBelow(1, stale_after="1h"), threaded=False)
        room.clock.advance(300)
        switch.now()
        assert not warned(room) and switch.state == "active"
        room.clock.advance(1)
        for _ in range(3):
            switch.now()
        assert warned(room) == [("EquityBelow(9000)", "unknown")], run
        assert room.last("warning").inputs["why"] == "none was told since the start"
        assert switch.state == {"warn": "active", "halt": "halted"}[policy]
        switch.reset("me", "ok")
        switch.equity(D(10_000), D(10_000))
        switch.close()
        room.events.clear()
        room.open.clear()
    switch = room.switch(EquityBelow(9000, on_unknown=policy), threaded=False)
    switch.equity(D(10_000), D(10_000))
    room.clock.advance(86_400)  # it does not age unless it is told to
    switch.now()
    assert not warned(room) and switch.state == "active"


def test_an_equity_that_stays_unknown_is_told_again_after_a_minute_and_once(room):
    switch = room.switch(EquityBelow(9000), When(lambda: None, name="mine"), threaded=False)

    def told():
        switch.now()
        said = [(event.trigger, event.inputs.get("why"), event.lasting) for event in room.said("warning")]
        room.events.clear()
        return said

    switch.equity(D(10_000), D(10_000))
    switch.equity(math.nan, why="price")
    assert told() == [("When(mine)", None, None), ("EquityBelow(9000)", "price", None)]
    room.clock.advance(59)
    assert told() == []
    room.clock.advance(1)
    long = [("EquityBelow(9000)", "not known for a minute", True), ("When(mine)", "not known for a minute", True)]
    assert told() == long
    for _ in range(3):
        room.clock.advance(60)
        switch.equity(math.nan, why="price")
        assert told() == []
    switch.equity(D(10_000), D(10_000))
    switch.equity(math.nan, why="price")
    assert told() == [("EquityBelow(9000)", "price", None)]
    room.clock.advance(60)
    assert told() == long[:1]
    assert switch.state == "active"


def test_money_moved_is_neither_loss_nor_drawdown(room):
    switch = room.switch(Drawdown(0.1), DailyLoss(500))
    switch.equity(D(10_000), D(10_000), None, D(0))
    switch.equity(D(5_100), D(5_100), None, D(-5_000))
    switch.equity(D(5_000), D(5_100), None, D(-5_000))
    switch.equity(D(25_000), D(25_100), None, D(15_000))
    assert switch.state == "active"
    room.open.clear()
    switch = room.switch(Drawdown(0.1), DailyLoss(500))  # money was moved while it was down
    switch.equity(D(4_900), D(5_100), None, D(-5_000))
    assert switch.state == "active"
    switch.equity(D(4_500), D(5_100), None, D(-5_000))
    assert switch.state == "halted"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(5_000, 15_000), st.integers(-2_000, 2_000)), min_size=1, max_size=30), st.booleans()
)
def test_the_drawdown_against_a_plain_model(path, kill):
    """Profit is what counts: its peak, moved by transfers."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        room = Room(Path(folder))
        switch = room.switch(Drawdown("0.1"))
        moved, top, expected = 0, None, False
        for turn, (equity, by) in enumerate(path):
            moved += by
            top = equity - moved if top is None else max(top, equity - moved)
            peak = top + moved
            expected = expected or (peak > 0 and Fraction(peak - equity) >= Fraction(peak) / 10)
            if kill and turn % 5 == 4 and not expected:
                room.open.clear()
                switch = room.switch(Drawdown("0.1"))
            switch.equity(D(equity), D(peak), None, D(moved))
            assert (switch.state == "halted") is expected
        room.close()


# -- days and clocks -----------------------------------------------------------------------------------------------------


def test_a_day_begins_where_the_settings_say_and_with_the_last_equity_before(room):
    room.clock.set(dt.datetime(2026, 3, 28, 22, 59, tzinfo=dt.UTC))  # 23:59 in Berlin
    switch = room.switch(DailyLoss(500), timezone="Europe/Berlin")
    switch.equity(D(10_000), D(10_000))
    switch.equity(D(9_600), D(10_000))
    room.clock.advance("2m")
    switch.equity(D(9_200), D(10_000))
    assert switch.state == "active"
    room.clock.advance("22h")  # that day had 23 hours
    switch.equity(D(9_101), D(10_000))
    assert switch.state == "active"
    switch.equity(D(9_100), D(10_000))
    assert switch.state == "halted"


def test_the_start_of_the_day_survives_kill_9_and_midnight(room):
    switch = room.switch(DailyLoss(500))
    switch.equity(D(10_000), D(10_000))
    switch.equity(D(9_700), D(10_000))
    switch.now()
    room.open.clear()
    switch = room.switch(DailyLoss(500))
    switch.equity(D(9_600), D(10_000))
    switch.now()
    assert switch.state == "active"
    room.open.clear()
    room.clock.advance("1d")
    switch = room.switch(DailyLoss(500))
    switch.equity(D(9_101), D(10_000))
    assert switch.state == "active"
    switch.equity(D(9_100), D(10_000))
    assert switch.state == "halted"


class Off:
    """A clock whose time of day is wrong by `off`, while time passes."""

    def __init__(self):
        self.true, self.off = 1_767_355_200 * 10**9, 0

    def time_ns(self):
        return self.true + self.off * 10**9

    def perf_ns(self):
        return self.true - 1_767_000_000 * 10**9


@pytest.mark.parametrize("hours", [-30, -13, -1, 1, 13, 30])
@pytest.mark.parametrize("kill", [False, True])
def test_a_clock_that_is_wrong_for_minutes_neither_forgets_a_loss_nor_makes_one(tmp_path, hours, kill):
    clock = Off()  # noon
    room = Room(tmp_path, clock)
    switch = room.switch(DailyLoss(500), Rejections(3, within="10m"))

    def see(equity):
        nonlocal switch
        clock.true += 60 * 10**9
        switch.equity(D(equity), D(10_000))
        switch.now()
        if kill and not clock.off:
            room.open.clear()
            switch = room.switch(DailyLoss(500), Rejections(3, within="10m"))

    see(10_000)
    see(9_700)
    switch.rejected("BTC", "x")
    clock.off = hours * 3600
    see(9_650)
    switch.rejected("BTC", "x")
    clock.off = 0
    see(9_600)
    assert switch.state == "active"
    switch.rejected("BTC", "x")
    assert switch.state == "halted", "the clock took no rejection out of the window"
    assert switch.reset("me", "next")
    switch._limits.triggers[0].days = {switch._limits.triggers[0].day: D(10_000)}
    switch._limits.triggers[0]._levels()
    see(9_500)
    assert switch.state == "halted"
    room.close()


def test_a_clock_that_stays_where_it_was_set_is_believed_after_ten_minutes(tmp_path):
    clock = Off()
    room = Room(tmp_path, clock)
    switch = room.switch(DailyLoss(500))
    switch.equity(D(10_000), D(10_000))
    clock.off = 24 * 3600
    for _ in range(12):
        switch.equity(D(9_700), D(10_000))
        switch.now()
        clock.true += 60 * 10**9
    switch.equity(D(9_400), D(10_000))
    assert switch.state == "active", "another day"
    switch.equity(D(9_200), D(10_000))
    assert switch.state == "halted"
    room.close()


# -- counts ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [Rejections, Errors])
def test_so_many_within_a_span(room, make):
    switch = room.switch(make(5, within="10m"))
    tell = (lambda: switch.rejected("BTC", "x")) if make is Rejections else (lambda: switch.failed(ValueError("x")))
    for _ in range(20):
        tell()
        room.clock.advance("151s")
    assert switch.state == "active"
    assert [why for _, why in warned(room)] == ["near"], "four of five"
    room.clock.advance("10m")
    switch.now()
    for _ in range(4):
        tell()
    assert len(warned(room)) == 2 and switch.state == "active"
    tell()
    assert switch.state == "halted" and room.last("trip").inputs["count"] == 5


def test_a_refusal_of_our_own_is_no_error_of_the_bots(room):
    switch = room.switch(Errors(1))
    switch.failed(TradingHalted("x"))
    assert switch.state == "active"
    switch.failed(object())
    assert switch.state == "halted"


def test_losses_in_a_row(room):
    switch = room.switch(ConsecutiveLosses(3))
    for net in (-1, -1, 0, -1, -1, 1, -1, None, "NaN", -1):
        switch.closed(net if net is None or isinstance(net, str) else D(net))
    assert switch.state == "active"
    switch.closed(D("-0.01"))
    assert switch.state == "halted"


def test_a_round_trip_within_one_bar(room):
    switch = room.switch(SameBarRoundTrip(confirm=2))
    switch.fill("BTC", 1, opened="t1")
    switch.fill("ETH", 1, opened="t2")
    switch.fill("BTC", 1, opened="t3", closed=["t1"])  # turned round
    assert switch.state == "active"
    switch.fill("ETH", 2, closed=["t2"])
    switch.fill("BTC", 1, closed=["t3"])
    switch.fill("BTC", None, opened="t4")
    switch.fill("BTC", None, closed=["t4"])
    switch.fill("BTC", 3, opened="t5")  # of one symbol, another account's
    switch.fill("BTC", 2, closed=["t6"])  # nobody knows in which bar it was opened
    assert switch.state == "active", "the other bar was in between"
    switch.fill("BTC", 3, closed=["t5"])
    assert switch.state == "halted" and room.last("trip").inputs["symbol"] == "BTC"


def test_silence_of_feeds_and_of_the_loop(room):
    switch = room.switch(Stale("ws", after="30s", confirm=2), Silence(after="60s"))
    switch.feeds({"other": 1000.0})
    switch.feeds({"ws": 24.0})
    assert warned(room) == [("Stale(ws, 30)", "near")]
    switch.feeds({"ws": 31.0})
    switch.feeds({"ws": 1.0})
    switch.feeds({"ws": float("nan")})
    switch.feeds({})
    switch.silence(59)
    assert switch.state == "active"
    switch.feeds({"ws": 31.0})
    switch.feeds({"ws": 32.0})
    assert switch.state == "halted" and room.last("trip").inputs["feed"] == "ws"
    switch.reset("me", "ok")
    switch.silence(60)
    assert switch.state == "halted" and room.last("trip").trigger == "Silence(60)"


# -- the bot's own ---------------------------------------------------------------------------------------------------------


def test_when_is_asked_with_each_equity_and_once_a_second(room):
    seen = []

    def broke(facts):
        seen.append(facts.equity)
        return facts.equity is not None and facts.equity < 5000

    switch = room.switch(When(broke), When(lambda: False, name="never"))
    switch.equity(D(10_000), D(10_000))
    switch.equity(D(10_000), D(10_000))
    assert seen == [D(10_000)]
    switch.now()
    assert len(seen) == 2
    switch.equity(D(4000), D(10_000))
    assert switch.state == "halted" and room.last("trip").trigger == "When(broke)"


def test_when_that_fails_is_unknown_and_one_that_hangs_delays_no_verb_twice(room):
    leave = threading.Event()
    switch = room.switch(
        When(lambda: 1 / 0, name="fails"), When(lambda: leave.wait(20), name="hangs"), When(lambda: None, name="none")
    )
    switch.equity(D(1), D(1))
    assert sorted(warned(room)) == [("When(fails)", "unknown"), ("When(hangs)", "unknown"), ("When(none)", "unknown")]
    begun = time.monotonic()
    for equity in range(2, 100):  # with 0.1 s for each
        switch.equity(D(equity), D(1))
    assert time.monotonic() - begun < 2 + SLACK_S
    leave.set()
    assert switch.state == "active"


def test_when_that_reports_equity_itself_does_not_go_round_in_circles(room):
    switch = room.switch(When(lambda facts: switch.equity(facts.equity + 1, None) is not None))
    switch.equity(D(1), D(1))
    assert switch.state == "active"


@pytest.mark.parametrize("make", [
    lambda: EquityBelow("much"), lambda: EquityBelow(float("nan")), lambda: Drawdown(10), lambda: Drawdown(0), lambda: DailyLoss(-1),
    lambda: Rejections(0), lambda: Rejections(2.5), lambda: Rejections(3, within="soon"), lambda: Errors(True), lambda: Stale(""),
    lambda: Stale("ws", after=0), lambda: When(7), lambda: EquityBelow(1, target="active"), lambda: EquityBelow(1, confirm=0),
    lambda: EquityBelow(1, on_unknown="ignore"), lambda: EquityBelow(1, warn_at=80), lambda: Silence(after="-1s"),
])  # fmt: skip
def test_a_wrong_trigger_says_so_when_it_is_made(make):
    with pytest.raises(ValueError, match=r"takes|number"):
        make()


def test_two_observers_may_share_a_trigger(tmp_path):
    trigger = ConsecutiveLosses(2)
    one, two = Room(tmp_path / "1").switch(trigger), Room(tmp_path / "2").switch(trigger)
    one.closed(D(-1))
    two.closed(D(-1))
    assert one.state == two.state == "active"
    one.close(), two.close()


def test_every_trigger_takes_what_all_take():
    for name in (
        "EquityBelow",
        "Drawdown",
        "DailyLoss",
        "Rejections",
        "SameBarRoundTrip",
        "Stale",
        "Silence",
        "ConsecutiveLosses",
        "Errors",
        "When",
    ):
        parameters = inspect.signature(getattr(triggers, name)).parameters
        assert {"target", "confirm", "on_unknown", "warn_at"} <= set(parameters), name


# -- the exchange's own switch ---------------------------------------------------------------------------------------------


def test_keep_alive_calls_while_the_bot_is_well(room):
    switch = room.switch(threaded=False)
    calls = []
    switch.keep_alive(lambda: calls.append(room.clock.now), every="15s")
    for _ in range(60):
        switch.now()
        room.clock.advance(1)
    assert len(calls) == 4
    switch.silence(61)
    room.clock.advance(60)
    switch.now()
    assert len(calls) == 4 and "silent" in room.last("keep_alive").why
    switch.silence(0.1)
    switch.now()
    assert len(calls) == 5 and room.last("keep_alive").calling
    room.clock.advance(61)  # whoever tells of silence is silent itself
    switch.now()
    assert len(calls) == 5
    switch.silence(0.1)
    switch.trip("less", target="reduce_only")
    switch.now()
    assert len(calls) == 6
    switch.trip("stop")
    room.clock.advance(60)
    switch.now()
    assert len(calls) == 6 and "halted: stop" in room.last("keep_alive").why
    switch.silence(0.1)
    switch.reset("me", "ok")
    switch.now()
    assert len(calls) == 7


def test_a_keep_alive_that_fails_is_reported_and_tried_again_sooner(room):
    switch = room.switch(threaded=False)
    calls = []

    @switch.keep_alive(every="15s")
    def ping():
        calls.append(1)
        if len(calls) < 3:
            raise ConnectionError("down")

    for _ in range(12):
        switch.now()
        room.clock.advance(1)
    assert len(calls) == 3
    assert [event.failures for event in room.said("keep_alive_failed")] == [1, 2]
    assert [(event.calling, event.why) for event in room.said("keep_alive")] == [
        (True, "it works again, after 2 failures")
    ]
    assert "ConnectionError: down" in room.last("keep_alive_failed").error
    assert room.faults.errors["kill_switch.keep_alive"] == 2


def test_keep_alive_has_a_thread_of_its_own(room):
    switch = room.switch()
    called = threading.Event()
    names = []

    async def ping():
        names.append(threading.current_thread().name)
        called.set()

    switch.keep_alive(ping, every=0.01)
    assert called.wait(20) and names[0] != threading.current_thread().name
    assert switch.close(time.monotonic() + 5)


# -- days ------------------------------------------------------------------------------------------------------------------


def test_a_sample_of_generated_days(tmp_path):
    figures = days(tmp_path / "days", 25, 20260105)
    assert figures["healthy days"] == figures["bad days"] == 25
    assert not figures["false halts"] and not figures["missed halts"]


def test_what_is_reported_counts_by_itself(room):
    """The peak of one source and the equity of another make no drawdown."""
    switch = room.switch(EquityBelow(9000), Drawdown(0.1))
    for turn in range(3):
        switch.equity(D(10_000), D(10_000))
        switch.equity(D(12_000 - turn), source="health")
        switch.now()
    assert switch.state == "active" and not warned(room)
    room.open.clear()
    switch = room.switch(EquityBelow(9000), Drawdown(0.1))
    switch.equity(D(10_000), D(10_000))
    switch.equity("10800", source="health")  # ten per cent of what was reported before the restart
    assert switch.state == "halted" and room.last("trip").inputs["reported_by"] == "health"
    assert switch.reset("me", "ok")
    switch.equity(D(10_000), D(10_000))
    switch.equity(8999.5, source="health")
    assert switch.state == "halted"


def test_a_limit_that_is_new_counts_from_the_accounts_peak_also_after_a_reset_long_ago(room):
    switch = room.switch()
    switch.trip("x")
    switch.reset("me", "ok")
    switch.close()
    (room.folder / "triggers.json").unlink()
    switch = room.switch(Drawdown(0.1))
    switch.equity(D(9000), D(10_000))
    assert switch.state == "halted"
