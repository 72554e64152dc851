"""What a bot sees of safety: sentence by sentence of how it behaves, through a running observer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from decimal import Decimal as D

import pytest

import botobs
from botobs.errors import TradingHalted
from botobs.observer import Observer
from botobs.parts import Parts
from botobs.streams.reader import StreamReader
from botobs.testing import Clock
from botobs.testing.injector import FaultyDisk
from botobs.triggers import DailyLoss, Drawdown, EquityBelow, Errors, Rejections, Silence, Stale, When
from tests.money.world import until

S = "BTCUSDT"
NOW = "2026-01-02T12:00:00Z"


def start(folder, **settings):
    more = {"durability": "os", "starting_equity": 10_000, "clock": Clock(NOW), **settings}
    return botobs.start("bot", data_dir=folder, **more)


@contextlib.contextmanager
def running(folder, *, errors=False, **settings):
    obs = start(folder, **settings)
    try:
        yield obs
    finally:
        obs.shutdown(10)
    assert errors or not obs.faults.errors, (obs.faults.errors, obs.faults.last_error)


def said(obs, stream="kill_switch", event=None):
    obs.flush(5)
    return [one for one in StreamReader(obs.data_dir).read(stream) if event in (None, one.get("event"))]


def alerts(obs, key=None):
    return [one for one in said(obs, "alerts") if key in (None, one.get("key"))]


def hold(obs, qty=10, price=1000):
    assert obs.fill(symbol=S, side="buy", qty=qty, price=price, fee=0)


def refuse(obs):
    obs.reject(obs.order(S, "buy", 1, decision_px=100), "-2010", "insufficient balance")


def advance(obs, by):
    """Let time pass, and everybody look."""
    obs._clock.advance(by)
    obs._safety.chore()
    obs._safety.chore()  # a first look after a leap judges nothing: the process may have stood still


# --- limits on equity ------------------------------------------------------------------------------------------------


def test_a_mark_below_the_floor_halts_before_it_returns_on_its_own_thread(tmp_path):
    with running(tmp_path, equity_floor=9_000) as obs:
        seen = []
        obs.kill_switch.on_trip(lambda trip: seen.append((trip, obs.kill_switch.state)))
        hold(obs)
        obs.mark(S, 901)
        assert (obs.kill_switch.state, seen) == ("active", [])
        obs.mark(S, 899)
        assert obs.kill_switch.state == "halted"
        [(trip, state)] = seen
        assert (trip.trigger, trip.state, state, trip.drill) == ("EquityBelow(9000)", "halted", "halted", False)
        assert "8990" in trip.reason
        assert trip.ts == "2026-01-02T12:00:00.000000Z"
        [record] = said(obs, event="trip")
        assert record["inputs"]["equity"] == "8990"
        assert record["source"] == "trigger"
        (near,) = said(obs, event="warning")  # four fifths of the way from the peak to the floor
        assert (near["why"], near["trigger"]) == ("near", "EquityBelow(9000)")


def test_the_warning_comes_at_80_percent_of_the_way_from_the_peak(tmp_path):
    with running(tmp_path, equity_floor=9_000) as obs:
        hold(obs)
        obs.mark(S, 1100)  # peak 11,000: four fifths of the way is 9,400
        obs.mark(S, 941)
        assert not said(obs, event="warning")
        obs.mark(S, 939.9)
        assert [one["why"] for one in said(obs, event="warning")] == ["near"]
        for price in (943, 939, 950, 935, 980, 939):  # once, though it trembles; again when it had been far away
            obs.mark(S, price)
        told = alerts(obs, "kill-switch-near-EquityBelow(9000)")
        assert [(one["level"], one["fields"]["limit"], one["fate"]) for one in told] == [
            ("warning", "9000", "failed"), ("warning", "9000", "held"),
        ]  # fmt: skip
        assert told[0]["title"] == "EquityBelow(9000): 80% of the way to its limit"


def test_the_price_of_a_tick_halts_inside_the_tick(tmp_path):
    with running(tmp_path, equity_floor=9_000) as obs:
        hold(obs)
        with botobs.tick(S, bar_id=1, price=800.0):
            assert obs.kill_switch.state == "halted"
            with pytest.raises(TradingHalted), botobs.execution():
                raise AssertionError("it ran")


def test_a_fill_that_loses_halts_before_it_returns(tmp_path):
    with running(tmp_path, kill_switch=[Drawdown(0.1)]) as obs:
        hold(obs)
        obs.fill(symbol=S, side="sell", qty=10, price=890, fee=0)
        assert obs.kill_switch.state == "halted"
        assert "Drawdown" in obs.kill_switch.reason


def test_drawdown_counts_from_the_peak_and_transfers_are_none(tmp_path):
    with running(tmp_path, kill_switch=[Drawdown(0.1)]) as obs:
        hold(obs)
        obs.mark(S, 1200)
        obs.transfer(-5_000)
        assert obs.kill_switch.state == "active"
        obs.transfer(5_000)
        obs.mark(S, 1081)
        assert obs.kill_switch.state == "active"
        obs.mark(S, 1079)
        assert obs.kill_switch.state == "halted"


def test_confirm_lets_one_bad_tick_pass(tmp_path):
    with running(tmp_path, kill_switch=[EquityBelow(9_000, confirm=2)]) as obs:
        hold(obs)
        for price in (800, 1000, 801):
            obs.mark(S, price)
        assert obs.kill_switch.state == "active"
        assert said(obs, event="warning")[0]["why"] == "unconfirmed"
        obs.mark(S, 802)
        assert obs.kill_switch.state == "halted"


def test_daily_loss_begins_anew_at_midnight(tmp_path):
    with running(tmp_path, kill_switch=[DailyLoss(500)]) as obs:
        hold(obs)
        obs.mark(S, 960)
        advance(obs, "13h")
        obs.mark(S, 915)
        assert obs.kill_switch.state == "active"
        obs.mark(S, 909)
        assert obs.kill_switch.state == "halted"


def test_a_floor_of_the_settings_joins_own_triggers(tmp_path):
    with running(tmp_path, equity_floor=9_000, kill_switch=[Drawdown(0.5)]) as obs:
        assert obs.kill_switch.triggers == ("EquityBelow(9000)", "Drawdown(0.5)")
    with running(tmp_path / "none") as obs:
        assert obs.kill_switch.triggers == ()


def test_equity_of_health_decides_when_it_is_worse(tmp_path):
    with running(tmp_path, equity_floor=9_000) as obs:
        obs.health(equity=12_000)
        assert obs.kill_switch.state == "active"
        obs.health(equity=8_999.5)
        assert obs.kill_switch.state == "halted"
        assert obs.equity == D(10_000)  # never in the totals


def test_a_better_equity_of_health_makes_no_peak_and_confirms_nothing(tmp_path):
    with running(tmp_path, kill_switch=[Drawdown(0.1), EquityBelow(9_000, confirm=2)]) as obs:
        obs.health(equity_value="20000")
        hold(obs)
        obs.mark(S, 999)
        assert obs.kill_switch.state == "active"  # 9,990 is no drawdown of 50 %
        obs.mark(S, 901)
        obs.health(equity=9_500)
        assert obs.kill_switch.state == "active"


def test_the_equity_of_health_counts_after_a_transfer_as_well(tmp_path):
    with running(tmp_path, kill_switch=[Drawdown(0.1)]) as obs:
        obs.transfer(90_000)
        for _ in range(3):
            obs.health(equity=100_000)
            obs.mark(S, 1)
        obs.transfer(-90_000)
        obs.health(equity=10_000)
        assert obs.kill_switch.state == "active"


@pytest.mark.parametrize("odd", [math.nan, None, "n/a", D("NaN")])
def test_nan_equity_through_health_is_one_unknown_observation(tmp_path, odd):
    unknown = EquityBelow(9_000, on_unknown="halt", confirm=2)
    with running(tmp_path, kill_switch=[unknown]) as obs:
        obs.health(equity=odd, equity_value=odd)
        assert obs.kill_switch.state == "active"
        obs.health(equity=odd)
        assert obs.kill_switch.state == "halted"
        assert said(obs, event="trip")[0]["inputs"]["why"] == "health"


def test_unknown_equity_warns_by_default_and_the_last_price_stays(tmp_path):
    with running(tmp_path, equity_floor=9_000) as obs:
        hold(obs)
        obs.mark(S, 950)
        obs.mark(S, math.nan)
        obs.health(equity=math.nan)
        assert obs.kill_switch.state == "active"
        assert [one["why"] for one in said(obs, event="warning")] == ["unknown"]
        assert obs.equity == D(9_500)


def test_health_alone_feeds_a_floor_where_no_starting_equity_is_known(tmp_path):
    with running(tmp_path, starting_equity=None, equity_floor=9_000) as obs:
        obs.health(equity=9_500)
        assert obs.kill_switch.state == "active"
        obs.health(equity=8_000)
        assert obs.kill_switch.state == "halted"


# --- what is refused -------------------------------------------------------------------------------------------------


def test_the_error_says_state_reason_and_since_when(tmp_path):
    with running(tmp_path) as obs:
        obs.kill_switch.check()
        obs.kill_switch.trip("the exchange lies")
        with pytest.raises(
            TradingHalted, match=r"halted since 2026-01-02T12:00:00\.000000Z: the exchange lies"
        ) as found:
            obs.kill_switch.check()
        assert (found.value.state, found.value.reason) == ("halted", "the exchange lies")
        assert not obs.kill_switch.allows()
        assert not obs.kill_switch.allows(reduces=True)
        with pytest.raises(TradingHalted):
            obs.kill_switch.check(reduces=True)


def forms(stage):
    """Every way to be an execution stage, as functions that run it."""

    @stage
    def plain():
        return 1

    @stage
    async def coroutine():
        return 1

    @stage
    def generator():
        yield 1

    @stage
    async def async_generator():
        yield 1

    def manager():
        with stage:
            return 1

    async def drained():
        return [one async for one in async_generator()]

    return {
        "plain": plain, "manager": manager, "coroutine": lambda: asyncio.run(coroutine()),
        "generator": lambda: list(generator()), "async generator": lambda: asyncio.run(drained()),
    }  # fmt: skip


@pytest.mark.parametrize("inside", [False, True], ids=["bare", "in a tick"])
@pytest.mark.parametrize("form", ["plain", "manager", "coroutine", "generator", "async generator"])
@pytest.mark.parametrize("own", [False, True], ids=["botobs", "obs"])
def test_execution_stages_are_refused_in_every_form(tmp_path, form, own, inside):
    with running(tmp_path) as obs:
        verbs = obs if own else botobs
        bare, reduces = forms(verbs.execution())[form], forms(verbs.execution(reduces=True))[form]
        other = forms(verbs.decision())[form]
        with verbs.tick(S) if inside else contextlib.nullcontext():
            assert bare()
            assert reduces()
            obs.kill_switch.trip("less", target="reduce_only")
            with pytest.raises(TradingHalted):
                bare()
            assert reduces()
            obs.kill_switch.trip("no more")
            for refused in (bare, reduces):
                with pytest.raises(TradingHalted):
                    refused()
            assert other()  # only execution is guarded


def test_a_decorator_without_parentheses_is_refused_too(tmp_path):
    @botobs.execution
    def send():
        return 1

    assert send() == 1
    with running(tmp_path) as obs:
        assert send() == 1
        obs.kill_switch.trip("stop")
        with pytest.raises(TradingHalted):
            send()
    assert send() == 1  # nobody watches any more


def test_reduce_only_lets_orders_pass_that_were_announced_as_reducing(tmp_path):
    with running(tmp_path) as obs:
        hold(obs)
        closes = obs.order(S, "sell", 10, decision_px=1000, reduces=True)
        opens = obs.order(S, "buy", 10, decision_px=1000, strategy="range")
        obs.kill_switch.trip("less", target="reduce_only")
        with botobs.execution(order=closes):
            pass
        with pytest.raises(TradingHalted), botobs.execution(order=opens):
            raise AssertionError("it ran")
        [refusal] = said(obs, event="refusal")
        assert refusal["order_id"] == opens
        assert refusal["state"] == "reduce_only"
        assert refusal["reason"] == "less"
        assert {key: refusal["order"][key] for key in ("symbol", "side", "qty", "strategy")} == {
            "symbol": S, "side": "buy", "qty": "10", "strategy": "range",
        }  # fmt: skip
        assert refusal["symbol"] == S


def test_a_refusal_is_no_error_of_the_bot(tmp_path):
    with running(tmp_path, kill_switch=[Errors(1, within="1m", target="reduce_only")]) as obs:
        obs.kill_switch.trip("stop")
        with pytest.raises(TradingHalted), botobs.tick(S), botobs.decision(), botobs.execution():
            raise AssertionError("it ran")
        assert len(said(obs, event="trip")) == 1


# --- callbacks -------------------------------------------------------------------------------------------------------


def test_a_callback_flattens_while_halted_and_nobody_else_does(tmp_path):
    with running(tmp_path) as obs:
        found = {}

        @obs.kill_switch.on_trip
        def flatten(trip):
            with botobs.execution(reduces=True):
                obs.fill(symbol=S, side="sell", qty=10, price=990, fee=0)
            with contextlib.suppress(TradingHalted), botobs.execution():
                found["opened"] = True
            found["state"] = obs.kill_switch.state

        hold(obs)
        obs.kill_switch.trip("enough")
        assert found == {"state": "halted"}
        assert obs.positions == []
        with pytest.raises(TradingHalted), botobs.execution(reduces=True):
            raise AssertionError("it ran")


def test_an_async_callback_flattens_on_the_bots_loop(tmp_path):
    with running(tmp_path, equity_floor=9_000) as obs:
        done = []

        async def bot():
            over, loop = asyncio.Event(), asyncio.get_running_loop()

            @botobs.execution(reduces=True)
            async def send():
                await asyncio.sleep(0)
                return obs.fill(symbol=S, side="sell", qty=10, price=899, fee=0)

            @obs.kill_switch.on_trip
            async def flatten(trip):
                done.append((asyncio.get_running_loop() is loop, bool(await send()), trip.reason))
                over.set()

            hold(obs)
            obs.mark(S, 899)  # on the loop's own thread: started, and not waited for
            assert obs.kill_switch.state == "halted"
            assert not done
            await asyncio.wait_for(over.wait(), 5)
            with pytest.raises(TradingHalted):
                await send()

        asyncio.run(bot())
        [(same, sent, reason)] = done
        assert same
        assert sent
        assert "EquityBelow" in reason
        assert obs.positions == []


def test_a_trip_on_a_thread_runs_async_callbacks_on_the_bots_loop_and_waits(tmp_path):
    with running(tmp_path, equity_floor=9_000) as obs:
        seen = []

        async def bot():
            loop = asyncio.get_running_loop()

            @obs.kill_switch.on_trip
            async def flatten(_trip):
                await asyncio.sleep(0)
                seen.append(asyncio.get_running_loop() is loop)

            @obs.kill_switch.on_trip
            def second(_trip):
                seen.append("second")

            hold(obs)

            def feed():
                obs.mark(S, 800)
                return list(seen)

            assert await asyncio.to_thread(feed) == [True, "second"]

        asyncio.run(bot())


def test_callbacks_that_raise_hang_or_trip_again_change_nothing(tmp_path):
    with running(tmp_path, errors=True) as obs:
        seen, free = [], threading.Event()

        @obs.kill_switch.on_trip
        def raises(_trip):
            raise RuntimeError("no")

        @obs.kill_switch.on_trip(timeout=0.02)
        def hangs(_trip):
            free.wait(10)

        @obs.kill_switch.on_trip
        def again(trip):
            seen.append(trip.reason)
            obs.kill_switch.trip("again")

        obs.kill_switch.trip("once")
        free.set()
        assert seen == ["once"]
        assert obs.kill_switch.reason == "once"
        first, second = said(obs, event="trip")
        assert (first["reason"], second["reason"], second["again"]) == ("once", "again", True)
        [answered] = said(obs, event="callbacks")
        assert [one["outcome"] for one in answered["callbacks"]] == ["failed", "hung", "done"]


def test_a_drill_tells_callbacks_so_and_changes_nothing(tmp_path):
    with running(tmp_path) as obs:
        seen = []
        obs.kill_switch.on_trip(lambda trip: seen.append(trip.drill))
        found = obs.kill_switch.drill()
        assert found
        assert seen == [True]
        assert obs.kill_switch.state == "active"
        assert said(obs, event="drill")[0]["callbacks"]
        assert [one["level"] for one in alerts(obs) if "drill" in one["title"]] == ["info"]


# --- the other limits ------------------------------------------------------------------------------------------------


def test_ten_rejections_within_ten_minutes_halt_by_default(tmp_path):
    with running(tmp_path, equity_floor=9_000) as obs:
        for _ in range(9):
            refuse(obs)
        advance(obs, "11m")
        refuse(obs)
        assert obs.kill_switch.state == "active"
        for _ in range(9):
            refuse(obs)
        assert obs.kill_switch.state == "halted"
        assert said(obs, event="trip")[0]["inputs"]["last"] == {"symbol": S, "code": "-2010"}


@pytest.mark.parametrize("keep", ["tail", "all", "none"])
def test_errors_of_stages_and_ticks_count_once_each(tmp_path, keep):
    with running(tmp_path, kill_switch=[Errors(3, within="1m")], keep_traces=keep) as obs:
        with contextlib.suppress(ValueError), botobs.tick(S), botobs.decision(), botobs.risk():
            raise ValueError("one, through three stages")
        with contextlib.suppress(ValueError), botobs.stage("alone"):
            raise ValueError("two, outside of a tick")
        for stop in (KeyboardInterrupt, asyncio.CancelledError, SystemExit):
            with contextlib.suppress(stop), botobs.tick(S):
                raise stop
        assert obs.kill_switch.state == "active"
        with contextlib.suppress(ValueError), botobs.tick(S):
            raise ValueError("three")
        assert obs.kill_switch.state == "halted"
        assert said(obs, event="trip")[0]["inputs"]["last"] == "ValueError: three"


def test_a_silent_feed_halts_through_stale(tmp_path):
    with running(tmp_path, kill_switch=[Stale("book", "2m")]) as obs:
        obs.heartbeat("book")
        advance(obs, 119)
        assert obs.kill_switch.state == "active"
        advance(obs, 2)
        assert obs.kill_switch.state == "halted"
        assert said(obs, event="trip")[0]["inputs"]["feed"] == "book"


def test_a_loop_that_decides_nothing_halts_through_silence(tmp_path):
    with running(tmp_path, kill_switch=[Silence("5m", target="reduce_only")]) as obs:
        with botobs.tick(S):
            pass
        advance(obs, 299)
        assert obs.kill_switch.state == "active"

        @botobs.tick(S)
        def turns():
            yield 1

        list(turns())  # a generator's turn is one as well
        advance(obs, 299)
        assert obs.kill_switch.state == "active"
        advance(obs, 2)
        assert obs.kill_switch.state == "reduce_only"


def test_a_limit_of_the_bots_own_is_asked(tmp_path):
    with running(tmp_path, kill_switch=[When(lambda facts: facts.equity is not None and facts.equity < 9_990)]) as obs:
        hold(obs)
        obs.mark(S, 998)
        assert obs.kill_switch.state == "halted"


def test_the_observer_looks_every_second_by_itself(tmp_path):
    with running(tmp_path, kill_switch=[Stale("book", "2m")]) as obs:
        obs.heartbeat("book")
        obs._clock.advance("5m")
        until(lambda: obs._drainer.wake() or obs.kill_switch.state == "halted")


# --- over a restart --------------------------------------------------------------------------------------------------


def test_a_bot_that_starts_on_a_tripped_folder_starts_halted_and_says_why(tmp_path):
    with running(tmp_path, equity_floor=9_000) as obs:
        hold(obs)
        obs.mark(S, 800)
    with running(tmp_path, equity_floor=9_000) as obs:
        called = []
        obs.kill_switch.on_trip(called.append)
        assert obs.kill_switch.state == "halted"
        assert "EquityBelow(9000)" in obs.kill_switch.reason
        [found] = said(obs, event="found")
        assert (found["state"], found["since"]) == ("halted", "2026-01-02T12:00:00.000000Z")
        with pytest.raises(TradingHalted), botobs.execution():
            raise AssertionError("it ran")
        assert not called
        for by, reason in (("", "well"), ("me", ""), (" ", " ")):
            assert not obs.kill_switch.reset(by=by, reason=reason)
        assert obs.kill_switch.state == "halted"
        assert obs.kill_switch.reset(by="ann", reason="the price was wrong")
        assert obs.kill_switch.state == "active"
        with botobs.execution():
            pass
        reset = said(obs, event="reset")[-1]
        assert (reset["by"], reset["reason"], reset["state"]) == ("ann", "the price was wrong", "active")
    with running(tmp_path) as obs:
        assert obs.kill_switch.state == "active"


def test_peaks_and_counts_survive_a_restart(tmp_path):
    triggers = [Drawdown(0.1), Rejections(3, within="10m")]
    with running(tmp_path, kill_switch=triggers) as obs:
        hold(obs)
        obs.mark(S, 1200)
        refuse(obs)
        refuse(obs)
    with running(tmp_path, kill_switch=triggers) as obs:
        assert obs.kill_switch.state == "active"
        refuse(obs)
        assert "Rejections" in obs.kill_switch.reason
        obs.kill_switch.reset("ann", "fine")
        obs.mark(S, 1070)
    with running(tmp_path, kill_switch=triggers) as obs:
        assert obs.kill_switch.state == "active" or "Drawdown" in obs.kill_switch.reason


@pytest.mark.parametrize("content", [b"", b"{", b"\0" * 2048, b"nonsense\n" * 200])
def test_any_damage_to_the_state_file_means_halted(tmp_path, content):
    with running(tmp_path):
        pass
    (tmp_path / "state" / "kill_switch.json").write_bytes(content)
    with running(tmp_path) as obs:
        assert obs.kill_switch.state == "halted"
        assert "damaged" in obs.kill_switch.reason
        assert said(obs, event="found")[0]["damage"]


def test_a_missing_state_file_beside_a_ledger_with_fills_means_halted(tmp_path):
    with running(tmp_path) as obs:
        pass
    (tmp_path / "state" / "kill_switch.json").unlink()
    with running(tmp_path) as obs:
        assert obs.kill_switch.state == "active"
        hold(obs)
    (tmp_path / "state" / "kill_switch.json").unlink()
    with running(tmp_path) as obs:
        assert obs.kill_switch.state == "halted"
        assert "missing" in obs.kill_switch.reason
    shutil.rmtree(tmp_path / "state")
    with running(tmp_path) as obs:
        assert obs.kill_switch.state == "halted"


# --- a person is told ------------------------------------------------------------------------------------------------


def test_a_trip_is_an_alert_and_its_reset_the_end_of_it(tmp_path, caplog):
    with running(tmp_path, errors=True) as obs:
        told = []
        obs.alerts.to(told.append)

        @obs.kill_switch.on_trip
        def flatten(_trip):
            raise ConnectionError("down")

        obs.kill_switch.trip("the exchange lies")
        obs.flush(5)
        obs.kill_switch.reset("ann", "it does not")
        obs.flush(5)
        assert [(one.level, one.recovery) for one in told] == [("critical", False), ("critical", False), ("info", True)]
        assert told[0].message == (
            "the exchange lies\nNo order passes until somebody arms it again: "
            "botobs kill reset --data-dir DIR --by WHO --reason WHY"
        )
        assert told[1].title == "Kill switch: a callback failed" and "ConnectionError: down" in told[1].message
        assert told[1].message.endswith("Positions may be open still.")
        assert told[2].message.endswith("Armed again by ann: it does not")
        assert {one["fate"] for one in alerts(obs, "kill-switch")} == {"delivered"}
    logged = [record.getMessage() for record in caplog.records if "the kill switch is" in record.getMessage()]
    assert logged == [
        "botobs: the kill switch is halted: the exchange lies", "botobs: the kill switch is armed again by ann: it does not"
    ]  # fmt: skip


def test_alerts_without_anybody_to_tell_have_a_fate_too(tmp_path):
    with running(tmp_path) as obs:
        obs.alerts.send("warning", "wide", key="spread")
        obs.alerts.send("warning", "wide", key="spread")
        obs.kill_switch.trip("stop")
        assert all(one["fate"] for one in alerts(obs))
        assert alerts(obs, "spread")
        assert alerts(obs, "kill-switch")


def test_an_unclean_end_is_an_alert(tmp_path):
    with running(tmp_path / "a"):
        pass
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    run = json.loads((tmp_path / "b" / "state" / "run.json").read_bytes())
    (tmp_path / "b" / "state" / "run.json").write_text(json.dumps({**run, "clean": False, "pid": 2**22 + 5}))
    with running(tmp_path / "b") as obs:
        [alert] = alerts(obs, "unclean-end")
        assert run["run_id"] in alert["message"]


def test_equity_five_percent_below_its_peak_is_an_alert(tmp_path):
    with running(tmp_path) as obs:
        hold(obs)
        obs.mark(S, 951)
        assert not alerts(obs, "equity-drawdown")
        advance(obs, "2m")
        obs.mark(S, 940)
        advance(obs, "2m")
        assert alerts(obs, "equity-drawdown")
        assert obs.kill_switch.state == "active"


def test_a_ledger_in_trouble_is_an_alert(tmp_path):
    disk = FaultyDisk()
    obs = Observer.start("bot", {"data_dir": tmp_path, "durability": "os", "clock": Clock(NOW)}, Parts(disk=disk))
    told = []
    obs.alerts.to(lambda alert: told.append((alert.key, alert.level, alert.recovery)))
    try:
        disk.room = 0
        obs.fill(symbol=S, side="buy", qty=1, price=1, fee=0)
        until(lambda: obs._drainer.wake() or told == [("ledger-trouble", "critical", False)])
        disk.room = None
        until(lambda: obs._drainer.wake() or told[1:] == [("ledger-trouble", "info", True)])
        assert {one["fate"] for one in alerts(obs, "ledger-trouble")} == {"delivered"}
    finally:
        obs.shutdown(5)


# --- feeds, features, funding ----------------------------------------------------------------------------------------


def test_a_silent_feed_is_reconnected_alarmed_and_recovers(tmp_path):
    with running(tmp_path) as obs:
        calls, told = [], []
        obs.alerts.to(lambda alert: told.append((alert.key, alert.recovery)))
        obs.watch("book", after="30s", on_stale=lambda: calls.append(1))
        obs.heartbeat("book")
        advance(obs, 31)
        until(lambda: calls)
        until(lambda: said(obs, "connections", "reconnect"))
        advance(obs, 31)
        until(lambda: len(calls) == 2)
        obs.flush(5)
        assert told == [("feed-stale-book", False)]
        until(lambda: len(said(obs, "connections", "reconnect")) == 2)
        obs.heartbeat("book")
        advance(obs, 1)
        obs.flush(5)
        assert told[1:] == [("feed-stale-book", True)]
        assert [one["event"] for one in said(obs, "connections")] == [
            "stale", "reconnect", "alarm", "reconnect", "recovered",
        ]  # fmt: skip


def test_an_async_reconnect_runs_on_the_bots_loop(tmp_path):
    with running(tmp_path) as obs:

        async def bot():
            loop, done = asyncio.get_running_loop(), asyncio.Event()

            async def reconnect():
                assert asyncio.get_running_loop() is loop
                done.set()

            obs.watch("book", after="30s", on_stale=reconnect)
            advance(obs, 31)
            await asyncio.wait_for(done.wait(), 5)

        asyncio.run(bot())


def test_a_process_that_lives_and_decides_nothing_is_told_apart(tmp_path):
    with running(tmp_path) as obs:
        for _ in range(10):
            with botobs.tick(S):
                pass
            advance(obs, 60)
        obs.heartbeat("book")
        for _ in range(11):
            advance(obs, 29)
            obs.heartbeat("book")
        assert [one["event"] for one in said(obs, "connections")] == ["silent"]
        assert alerts(obs, "bot-silent")


def test_stale_features_are_logged_and_alert_above_five(tmp_path):
    with running(tmp_path) as obs:
        obs.feature_values({f"f{n}": 0.0 for n in range(6)})
        obs.feature_value("fresh", 1)
        obs.staleness.watch("fresh", after="1h")
        advance(obs, 200)
        obs.feature_values({f"f{n}": None for n in range(6)})  # None and NaN do not refresh
        obs.feature_value("f0", math.nan)
        assert obs.staleness.stale_features == {}
        advance(obs, 101)
        assert obs.staleness.stale_features == {f"f{n}": 301.0 for n in range(6)}
        [record] = said(obs, "feature_log", "staleness")
        assert (record["stale_count"], record["staleness_alert"]) == (6, True)
        assert alerts(obs, "features-stale")
        obs.feature_value("f0", 0.0)  # zero is a value
        assert len(obs.staleness.stale_features) == 5


def test_a_feature_that_never_changes_can_be_watched(tmp_path):
    with running(tmp_path) as obs:
        obs.staleness.watch("momentum", frozen_after="2m")
        for _ in range(4):
            obs.feature_value("momentum", 1.5)
            advance(obs, 60)
        assert list(obs.staleness.stale_features) == ["momentum"]


def test_fresh_stages_are_refused_on_old_data(tmp_path):
    with running(tmp_path) as obs:
        oid = obs.order(S, "buy", 1, decision_px=100)

        @botobs.decision(fresh=True)
        def decide():
            return 1

        obs.feature_value("momentum", 1)
        assert decide() == 1
        obs._clock.advance(301)
        with pytest.raises(TradingHalted, match="decision was refused: stale data: feature:momentum is 301 s old"):
            decide()
        with pytest.raises(TradingHalted) as found, obs.execution(order=oid, fresh=True):
            raise AssertionError("it ran")
        assert (found.value.state, found.value.reason[:10]) == (None, "stale data")
        with botobs.decision():
            pass
        first, second = said(obs, event="refusal")
        assert (first["stage"], first["state"], second["order"]["symbol"]) == ("decision", "active", S)
        obs.feature_value("momentum", 2)
        assert decide() == 1
        obs.funding_rate(S, 0.0001)
        obs._clock.advance("61m")
        obs.feature_value("momentum", 3)
        with pytest.raises(TradingHalted, match="funding"):
            decide()


def test_an_old_funding_rate_is_an_alert(tmp_path):
    with running(tmp_path) as obs:
        obs.funding_rate(S, 0.0001)
        advance(obs, "59m")
        assert not alerts(obs)
        advance(obs, "2m")
        assert [one["title"] for one in alerts(obs, f"funding-stale-{S}")] == [f"Funding rate of {S} is 3660 s old"]


def test_what_is_told_without_asking_is_a_setting(tmp_path):
    more = {
        "feed_silence": "10s",
        "funding_age": "20s",
        "feature_age": "30s",
        "stale_features": 0,
        "alert_same_bar": False,
    }
    with running(tmp_path, **more) as obs:
        obs.heartbeat("book")
        obs.funding_rate(S, 0.0001)
        obs.feature_value("rsi", 50)
        with obs.tick(S, bar_id=1):
            obs.fill(symbol=S, side="buy", qty=1, price=100, fee=0)
            obs.fill(symbol=S, side="sell", qty=1, price=100, fee=0)
        told = []
        for _ in range(4):
            advance(obs, 9)
            obs.flush(5)
            told.append(sorted({one["key"] for one in alerts(obs)}))
        feed, funding, features = "feed-stale-book", f"funding-stale-{S}", "features-stale"
        assert told == [[], [feed], [feed, funding], sorted([feed, funding, features])]


def test_what_was_learned_of_features_survives_a_restart(tmp_path):
    clock = Clock(NOW)
    with running(tmp_path, clock=clock) as obs:
        obs.feature_value("momentum", 1)
    clock.advance("10m")
    with running(tmp_path, clock=clock) as obs:
        obs.feature_value("other", 1)
        obs.staleness.watch("momentum")
        assert obs.staleness.stale_features == {"momentum": 600.0}


# --- health and snapshots --------------------------------------------------------------------------------------------


def test_health_is_recorded_for_a_reason(tmp_path):
    with running(tmp_path, health_every=10) as obs:
        obs.health(position=0, in_sync=True, ws_reconnects=0)
        for _ in range(4):
            obs.health(position=0, in_sync=True, ws_reconnects=0)
        obs.health(position=0, in_sync=False, ws_reconnects=1)
        obs.health(position=0, in_sync=False, ws_reconnects=1, calibration_drift=0.06)
        obs.health(position=0, in_sync=False, ws_reconnects=1, calibration_drift=0.07)
        hold(obs)
        obs.mark(S, 990)
        obs.health(in_sync=False)
        records = said(obs, "health")
        assert [(one["reasons"], one["suppressed"]) for one in records] == [
            (["heartbeat"], 0), (["toggle:in_sync", "counter:ws_reconnects"], 4), (["level:calibration_drift"], 0),
            (["equity"], 1),
        ]  # fmt: skip
        assert records[-1]["equity"] == "9900"


def test_snapshots_at_every_boundary_with_values_and_reasons(tmp_path):
    from botobs.vitals import FIELDS  # noqa: PLC0415

    clock = Clock("2026-01-02T22:30:00Z")
    with running(tmp_path, clock=clock, equity_floor=9_500) as obs:
        advance(obs, 1)
        hold(obs)
        obs.mark(S, 990)
        advance(obs, "45m")
        obs.fill(symbol=S, side="sell", qty=10, price=940, fee=1)  # below the floor
        advance(obs, "60m")
        hours, days = said(obs, "health_snapshot_1h"), said(obs, "health_snapshot_24h")
        assert [one["ts"] for one in hours] == ["2026-01-02T23:00:00.000000Z", "2026-01-03T00:00:00.000000Z"]
        assert [one["ts"] for one in days] == ["2026-01-03T00:00:00.000000Z"]
        assert (tmp_path / "logs/1h/health_snapshot/snapshot.jsonl").exists()
        assert (tmp_path / "logs/24h/health_snapshot/snapshot.jsonl").exists()
        for record in (*hours, *days):
            for name in FIELDS:
                assert record[name] is not None or record["reasons"][name], (name, record)
        first, second = hours
        assert (D(first["equity_value"]), D(first["turnover"]), first["trade_count"]) == (9900, 10_000, 0)
        assert (D(second["equity_value"]), D(second["turnover"]), second["trade_count"]) == (9399, 9_400, 1)
        assert first["win_rate"] is None
        assert "win_rate" in first["reasons"]
        assert second["win_rate"] == 0
        assert D(days[0]["daily_pnl"]) == -601
        assert D(days[0]["turnover"]) == 19_400
        assert days[0]["trade_count"] == 1
        assert days[0]["risk_breaches"] >= 1
        assert abs(float(days[0]["drawdown_current"]) - 0.0601) < 1e-9
        assert days[0]["gap"] is False


def test_snapshots_say_gap_after_boundaries_that_passed_while_down(tmp_path):
    clock = Clock("2026-01-02T22:30:00Z")
    with running(tmp_path, clock=clock) as obs:
        advance(obs, 1)
    clock.advance("5h")
    with running(tmp_path, clock=clock) as obs:
        advance(obs, 1)
        assert said(obs, "health_snapshot_1h") == []
        advance(obs, "31m")
        assert [(one["ts"][11:16], one["gap"]) for one in said(obs, "health_snapshot_1h")] == [("04:00", True)]


# --- where it runs ---------------------------------------------------------------------------------------------------


def test_a_backtest_trips_as_a_live_bot_does_and_leaves_no_state(tmp_path):
    clock = Clock(NOW)
    with running(
        tmp_path, mode="backtest", clock=clock, equity_floor=9_000,
        kill_switch=[Stale("book", "10m", target="reduce_only")],
    ) as obs:  # fmt: skip
        seen = []
        obs.kill_switch.on_trip(lambda trip: seen.append(trip.state))
        obs.heartbeat("book")
        for n in range(30):
            clock.advance(60)
            with obs.tick(S, bar_id=n, price=1000.0):
                pass
        assert seen == ["reduce_only"]
        hold(obs)
        with obs.tick(S, bar_id=31, price=890.0):
            pass
        assert seen == ["reduce_only", "halted"]
        with pytest.raises(TradingHalted), obs.execution():
            raise AssertionError("it ran")
    assert len(said_of(tmp_path, "kill_switch", "trip")) == 2
    assert not (tmp_path / "state" / "kill_switch.json").exists()
    assert said_of(tmp_path, "connections", "stale")


def said_of(folder, stream, event=None):
    return [one for one in StreamReader(folder).read(stream) if event in (None, one.get("event"))]


def test_timers_of_a_flat_backtest_fire_as_time_advances(tmp_path):
    clock = Clock(NOW)
    with running(tmp_path, mode="backtest", clock=clock) as obs:
        for n in range(3 * 60):
            clock.advance(60)
            with obs.tick(S, bar_id=n, price=1000.0):
                pass
    assert len(said_of(tmp_path, "health_snapshot_1h")) == 3


def test_two_observers_have_a_switch_each(tmp_path):
    with running(tmp_path / "a") as one, running(tmp_path / "b") as two:
        one.kill_switch.trip("stop")
        with pytest.raises(TradingHalted), one.execution():
            raise AssertionError("it ran")
        with two.execution(), botobs.execution():  # the newest
            pass
        with one.tick(S), pytest.raises(TradingHalted), botobs.execution():  # of the running tick
            raise AssertionError("it ran")


def test_a_forked_child_is_not_guarded_and_writes_nothing(tmp_path):
    with running(tmp_path, equity_floor=9_000) as obs:
        obs.watch("book", "30s")
        obs.feature_value("momentum", 1)
        before = (tmp_path / "state" / "kill_switch.json").read_bytes()
        pid = os.fork()
        if not pid:
            code = 1
            try:
                with botobs.execution():
                    code = 2
                obs.health(equity=1)
                obs.heartbeat("book")
                obs.watch("x", "1s")
                obs.feature_values({"a": 1})
                obs.funding_rate(S, 1)
                obs.alerts.send("critical", "child")
                obs.shutdown(1)
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
        assert (tmp_path / "state" / "kill_switch.json").read_bytes() == before
        assert obs.kill_switch.state == "active"
        obs.kill_switch.trip("the parent's")
        assert said(obs, event="trip")
        assert [one["key"] for one in alerts(obs)] == ["kill-switch"]


def test_nothing_happens_before_start_and_after_the_end(tmp_path):
    with botobs.execution(reduces=True), botobs.decision(fresh=True):
        pass
    with running(tmp_path) as obs:
        obs.kill_switch.trip("stop")
    with obs.execution():  # nobody watches any more
        pass
    with pytest.raises(TradingHalted):  # but what the switch refused, it refuses
        obs.kill_switch.check()
    for verb in (lambda: obs.health(equity=1), lambda: obs.heartbeat("x"), lambda: obs.feature_values({"a": 1})):
        assert verb() is None


def test_verbs_take_anything(tmp_path):
    class Hostile:
        def __str__(self):
            raise RuntimeError("hostile")

        __repr__ = __float__ = __hash__ = __eq__ = __str__

    with running(tmp_path, errors=True, equity_floor=9_000) as obs:
        for odd in (None, Hostile(), math.nan, "x" * 100_000, b"\0", [], {}):
            obs.health(equity_value=odd, thing=odd, in_sync=odd, x_count=odd)
            obs.heartbeat(odd)
            obs.watch(odd, odd, odd)
            obs.feature_value(odd, odd, odd)
            obs.feature_values(odd, odd)
            obs.funding_rate(odd, odd, odd)
            obs.kill_switch.trip(odd, target="reduce_only", inputs=odd)
            obs.kill_switch.reset(odd, odd)
            obs.kill_switch.on_trip(odd)
            with contextlib.suppress(TradingHalted), botobs.execution(order=odd, fresh=True):
                pass
            advance(obs, 31)
        obs.flush(5)


def test_the_latch_is_on_disk_whatever_becomes_of_the_process(tmp_path):
    code = f"""
import os, signal, botobs
obs = botobs.start("bot", data_dir={str(tmp_path)!r}, starting_equity=10_000, equity_floor=9_000)
obs.kill_switch.on_trip(lambda trip: os.kill(os.getpid(), signal.SIGKILL))
obs.fill(symbol="B", side="buy", qty=10, price=1000, fee=0)
obs.mark("B", 800)
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == -9
    with running(tmp_path, equity_floor=9_000, clock=None) as obs:
        assert obs.kill_switch.state == "halted"
        assert alerts(obs, "unclean-end")


def test_an_exit_without_shutdown_ends_in_order(tmp_path):
    code = f"""
import botobs
obs = botobs.start("bot", data_dir={str(tmp_path)!r}, starting_equity=10_000, equity_floor=9_000)
obs.alerts.send("critical", "before the end", key="last")
obs.kill_switch.keep_alive(lambda: None, every="1s")
obs.kill_switch.trip("over")
"""
    done = subprocess.run([sys.executable, "-c", code], timeout=60, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    assert [one["fate"] for one in said_of(tmp_path, "alerts") if one.get("key") == "last"]
    with running(tmp_path, clock=None) as obs:
        assert obs.kill_switch.state == "halted"
        assert not alerts(obs, "unclean-end")


def test_the_health_page_says_halted_and_stale(tmp_path):
    with running(tmp_path) as obs:
        page = obs.health_page()
        assert (page["status"], page["kill_switch"]["state"], page["last_tick_s"]) == ("ok", "active", None)
        with botobs.tick(S):
            pass
        obs.watch("book", "30s")
        obs.feature_value("momentum", 1)
        obs._clock.advance(31)
        page = obs.health_page()
        assert (page["status"], page["last_tick_s"]) == ("stale", 31.0)
        assert page["feeds"] == {"book": {"age_s": 31.0, "limit_s": 30.0, "stale": True}}
        assert page["stale_features"] == 0
        obs.heartbeat("book")
        assert obs.health_page()["status"] == "ok"
        obs._clock.advance(300)
        obs.heartbeat("book")
        assert obs.health_page()["stale_features"] == 1
        obs.kill_switch.trip("less", target="reduce_only")
        assert obs.health_page()["kill_switch"] == {
            "state": "reduce_only", "reason": "less", "since": obs.kill_switch.since,
        }  # fmt: skip
        assert obs.health_page()["status"] == "ok"
        obs.kill_switch.trip("stop")
        assert obs.health_page()["status"] == "halted"


def test_the_verbs_of_the_module_are_those_of_the_running_observer(tmp_path):
    def all_verbs(stop):
        botobs.heartbeat("book")
        botobs.watch("book", after="1s", on_stale=None)
        botobs.feature_value("a", 1)
        botobs.feature_values({"b": 2})
        botobs.funding_rate(S, 0.0001, next_ts=None)
        botobs.health(equity=1, stop=stop)

    all_verbs(stop=False)  # before the start
    with running(tmp_path / "a", equity_floor=9_000) as other, running(tmp_path / "b", equity_floor=9_000) as obs:
        all_verbs(stop=True)
        assert set(obs.watchdogs.feeds) == {"book"}
        assert set(obs.staleness.ages) == {"a", "b"}
        assert list(obs._safety.funding.state()["rates"]) == [S]
        assert (obs.kill_switch.state, other.kill_switch.state) == ("halted", "active")
        with other.tick(S):  # of the running tick
            botobs.health(equity=1)
        assert other.kill_switch.state == "halted"
        assert not other.watchdogs.feeds
        assert [one["stop"] for one in said(obs, "health")] == [True]


def test_health_answers_503_when_halted_or_stale(tmp_path):
    def ask(obs):
        try:
            with urllib.request.urlopen(f"{obs.endpoint.url}/health", timeout=20) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    with running(tmp_path, prometheus_port=0) as obs:
        assert ask(obs)[0] == 200
        obs.watch("book", "30s")
        obs._clock.advance(31)
        status, page = ask(obs)
        assert (status, page["status"], page["feeds"]["book"]["age_s"]) == (503, "stale", 31.0)
        obs.heartbeat("book")
        assert ask(obs)[0] == 200
        obs.kill_switch.trip("the exchange lies")
        status, page = ask(obs)
        assert (status, page["status"], page["kill_switch"]["reason"]) == (503, "halted", "the exchange lies")


def test_a_hundred_threads_are_all_stopped_by_one_trip(tmp_path):
    with running(tmp_path, equity_floor=9_000) as obs:
        hold(obs)
        called, ran, ready = [], [], threading.Barrier(9)
        obs.kill_switch.on_trip(called.append)

        def work(n):
            ready.wait(10)
            with contextlib.suppress(TradingHalted):
                for _ in range(10_000):
                    obs.mark(S, 800)
                    with botobs.execution():
                        ran.append(n)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        ready.wait(10)
        for thread in threads:
            thread.join(30)
        assert len(called) == 1
        assert not ran


@pytest.mark.parametrize("form", ["plain", "coroutine"])
def test_an_error_that_trips_halts_before_it_leaves_the_stage(tmp_path, form):
    with running(tmp_path, kill_switch=[Errors(1)]) as obs:

        @botobs.model
        def plain():
            raise ValueError("no")

        @botobs.model
        async def coroutine():
            raise ValueError("no")

        seen = []
        obs.kill_switch.on_trip(lambda trip: seen.append(trip.reason))
        with botobs.tick(S):
            with contextlib.suppress(ValueError):
                plain() if form == "plain" else asyncio.run(coroutine())
            assert obs.kill_switch.state == "halted"
        assert len(seen) == 1


def test_a_floor_without_a_starting_equity_says_that_it_cannot_see(tmp_path, caplog):
    def said_so():
        return [record for record in caplog.records if "starting_equity was not given" in record.getMessage()]

    with botobs.start("bot", data_dir=tmp_path / "with", starting_equity=10_000, equity_floor=9_000, durability="os"):
        assert not said_so()
    with botobs.start("bot", data_dir=tmp_path / "without", equity_floor=9_000, durability="os") as obs:
        assert len(said_so()) == 1
        obs.health(equity=8_000)
        assert obs.kill_switch.state == "halted"
