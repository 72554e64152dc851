"""Edges as the bot has them: what is watched and followed, what a person is told, and what nothing may do to it."""

from __future__ import annotations

import json
import math
import os
import random
import threading

import attrs
import pytest

import botobs
from botobs.errors import ConfigError
from botobs.events import EdgeAlarm, EdgeCleared, FillBooked, MarkoutSettled, TradeClosed
from botobs.faults import Faults
from botobs.insight import Edge
from botobs.insight.edge import EdgeTerms
from botobs.testing import Capture, Clock
from botobs.triggers import Drawdown

SYMBOL = "BTC-USD"
S = 1_000_000_000
T0 = 1_767_323_000 * S


def trades(rng, mean, n, deviation=40.0):
    return [rng.gauss(mean, deviation) for _ in range(n)]


def closed(n, bps, *, strategy="bma", revision=1, undone=False):
    record = {"net_pnl_bps": bps, "strategy_id": strategy}
    return TradeClosed(
        ts_ns=T0 + n * S, symbol=SYMBOL, trade_id=f"t{n}", record=record, revision=revision, undone=undone
    )


def filled(order, bps, *, at=0, qty=1, strategy="bma", kind="live"):
    return FillBooked(
        ts_ns=T0 + at * S, seq=1, side="buy", qty=qty, price=100, order_id=order, slippage_bps=bps, strategy=strategy,
        fill_kind=kind,
    )  # fmt: skip


def test_each_strategy_is_watched_and_all_together_and_a_person_is_told_once():
    rng, told = random.Random(3), []
    edge = Edge(EdgeTerms(false_alarms=20_000.0), publish=told.append)
    for n, (good, bad) in enumerate(zip(trades(rng, 8, 700), trades(rng, 8, 400) + trades(rng, -40, 300), strict=True)):
        edge.closed(closed(2 * n, good, strategy="good"))
        edge.closed(closed(2 * n + 1, bad, strategy="bad"))
    [alarm] = [event for event in told if event.strategy == "bad"]
    assert (alarm.what, alarm.symbol, alarm.false_alarms) == ("edge", None, 20_000)
    assert alarm.value_bps < -20 < 0 < alarm.norm_bps
    assert (alarm.ts_ns - T0) // S < 2 * 440
    assert alarm.once_in >= 20_000
    assert {event.strategy for event in told if isinstance(event, EdgeAlarm)} == {"bad", "all"}
    found = {state.strategy: state.alarmed for state in edge.table()}
    assert found == {"all": True, "good": False, "bad": True}
    state = edge.standing(strategy="bad")
    assert (state.n, state.alarmed, state.level, state.reasons) == (700, True, 1.0, {})
    assert state.norm_bps == alarm.norm_bps
    assert state.changed_n > 290
    assert state.since.startswith("2026-01-02T")
    measured = {(name, *labels): value for name, value, labels in edge.measured()}
    assert measured["bot_edge_alarm", "edge", "bad"] == 1
    assert measured["bot_edge_alarm", "edge", "good"] == 0
    assert measured["bot_edge_bps", "bad"] == pytest.approx(-40, abs=25)
    edge.renew(strategy="bad")
    assert (told[-1].strategy, told[-1].why, told[-1].n) == ("bad", "renewed", state.changed_n)
    assert edge.standing(strategy="bad").norm_bps == state.changed_bps


def test_the_alarm_of_all_is_not_told_beside_that_of_the_only_strategy():
    told = []
    edge = Edge(publish=told.append)
    for n in range(400):
        edge.closed(closed(n, float(n * 7 % 11) - (20 if n >= 300 else 0)))
    assert [event.strategy for event in told] == ["bma"]
    assert edge.standing().alarmed


def test_a_trade_counts_once_and_as_it_was_when_it_closed():
    edge = Edge()
    for _ in range(3):
        edge.closed(closed(1, 5.0))
    edge.closed(closed(1, -900.0, revision=2))
    edge.closed(closed(1, None, revision=3, undone=True))
    edge.closed(closed(2, None))
    state = edge.standing()
    assert (state.n, state.recent_bps, state.level) == (1, 5.0, None)
    assert state.reasons["level"] == "its norm is being learned: 1 of 50 trades"
    none = edge.standing("slippage", "bma")
    assert (none.n, none.recent_bps, none.reasons["recent_bps"]) == (0, None, "no orders yet")


def test_an_orders_fills_count_as_one_outcome_after_a_minute():
    edge = Edge()
    edge.filled(filled("o1", 1.0, at=0, qty=3))
    edge.filled(filled("o1", 5.0, at=30, qty=1))
    edge.filled(filled("o2", 7.0, at=45))
    edge.filled(filled("o3", None, at=45))
    edge.filled(filled("o4", 9.0, at=45, kind="import"))
    edge.chore(T0 + 59 * S)
    assert edge.standing("slippage").n == 0
    edge.chore(T0 + 60 * S)
    assert (edge.standing("slippage").n, edge.standing("slippage").recent_bps) == (1, 2.0)
    edge.filled(filled("o1", 500.0, at=61))  # a part that comes late
    kept = json.loads(json.dumps(edge.state()))
    again = Edge()
    assert again.restore(kept) == []
    again.chore(T0 + 200 * S)
    assert (again.standing("slippage").n, again.standing("slippage", "bma").recent_bps) == (2, 4.5)
    for n in range(3_000):
        edge.filled(filled(f"x{n}", 1.0))
    assert edge.standing("slippage").n == 2_002  # those that wait are bounded
    edge.chore(T0 - 3600 * S)  # a clock that was set back
    assert edge.standing("slippage").n == 3_002


def test_a_norm_can_be_given_and_taken_back():
    told = []
    edge = Edge(publish=told.append)
    edge.norm(2.0, 1.0, what="slippage", strategy="bma")
    for n in range(5):
        edge.learn(6.0, what="slippage", strategy="bma", ts_ns=T0 + n)
    assert [(event.what, event.strategy, event.norm_bps) for event in told] == [("slippage", "bma", 2.0)]
    assert edge.standing("slippage", "bma").given
    edge.norm(None, what="slippage", strategy="bma")
    assert [type(event) for event in told] == [EdgeAlarm, EdgeCleared]
    for wrong in ((1.0,), (1.0, 0.0), (1.0, -1.0), (math.nan, 1.0), ("x", 1.0), (1.0, math.inf), (1e9, 1.0)):
        with pytest.raises(ValueError, match="a norm takes"):
            edge.norm(*wrong)
    for call in (edge.learn, edge.standing):
        with pytest.raises(ValueError, match="edge"):
            call(1.0, what="luck") if call == edge.learn else call("luck")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"false_alarms": "often"}, "edge.false_alarms"), ({"false_alarms": "1 per 10"}, "1 per 50"),
        ({"false_alarms": True}, "edge.false_alarms"), ({"false_alarms": "1 per ,"}, "edge.false_alarms"),
        ({"warm_up": 5}, "edge.warm_up"), ({"warm_up": 600}, "half of edge.memory"), ({"memory": 10}, "edge.memory"),
        ({"markouts": []}, "edge.markouts"), ({"markouts": ["1 bar"]}, "edge.markouts"), ({"markouts": ["0.1s"]}, "second"),
        ({"markouts": "1s"}, "edge.markouts"), ({"markouts": ["9d"]}, "week"), ({"marks": 1}, "did you mean markouts"),
        ([], "takes a table"),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_table_is_told(table, words):
    with pytest.raises(ConfigError, match=words):
        EdgeTerms.parse(table)


def test_the_table_says_how():
    terms = EdgeTerms.parse(
        {"false_alarms": "1 per 5_000 orders", "warm_up": 30, "memory": 200, "markouts": ["5m", 1, "5m"]}
    )
    assert (terms.false_alarms, terms.warm_up, terms.memory) == (5_000, 30, 200)
    assert [horizon.text for horizon in terms.markouts] == ["1s", "5m"]
    assert EdgeTerms.parse({"false_alarms": 0.002}).false_alarms == 500


class Hostile:
    def __float__(self):
        raise RuntimeError("no number")

    __hash__ = __str__ = __repr__ = __float__


@pytest.mark.parametrize(
    "odd", [None, math.nan, 10**400, "", "x", b"x", [], {}, Hostile(), object(), "\ud800"], ids=type
)
def test_nothing_that_is_said_or_asked_does_harm(odd):
    edge = Edge()
    edge.learn(odd)
    edge.learn(1.0, strategy=odd)
    edge.closed(closed(1, odd))
    assert not edge.decided(SYMBOL, 1, odd, T0)
    edge.predicted(SYMBOL, "m", odd, 1.0, T0)
    edge.decided(SYMBOL, 1, 1.0, T0)
    edge.price(SYMBOL, odd, T0, T0 + 30 * S)
    edge.finished((SYMBOL, odd, odd, odd, odd, odd, odd), T0 + 30 * S)
    edge.finished((SYMBOL, 1, 1, 1, 1, 1, odd), T0 + 30 * S)
    edge.standing(strategy=odd)
    assert edge.markouts(odd, odd, strategy=odd).points[0].after == "1s"
    assert edge.half_life(odd, odd).seconds is None
    assert edge.restore({"trades": odd, "latest_ns": odd}) != []
    assert edge.restore({**Edge().state(), "watches": [odd], "curves": [odd]}) != []
    list(edge.measured())
    json.dumps(edge.state())


def test_strategies_beyond_the_limit_count_for_all_together():
    faults = Faults()
    edge = Edge(faults=faults)
    for n in range(130):
        edge.learn(1.0, strategy=f"s{n}")
    assert len(edge.table()) == 101
    assert edge.standing().n == 130
    assert edge.left_out == {"decisions": 0, "curves": 0, "strategies": 30}


def test_threads_that_learn_and_ask_lose_nothing():
    edge = Edge()

    def work(name):
        for n in range(300):
            edge.learn(float(n % 7), strategy=name)
            edge.decided(SYMBOL, 1, 100.0, T0 + n * S, source=name)
            edge.price(SYMBOL, 100.0, T0 + n * S, T0 + n * S)
            if n % 50 == 0:
                edge.table(), edge.markouts(), list(edge.measured()), edge.state()

    threads = [threading.Thread(target=work, args=(f"s{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert edge.standing().n == 900
    assert [edge.standing(strategy=f"s{n}").n for n in range(3)] == [300] * 3


# -- through the observer ------------------------------------------------------------------------------------------------


def turn(obs, clock, price, *, pred=None, side=None, qty=1, slip=0.0, step=1.0, **more):
    """A turn of the loop, with an order that is filled at once."""
    with obs.tick(SYMBOL, price=price) as tick:
        if pred is not None:
            tick.signal(source="lgbm", pred_bps=pred)
        if side is not None:
            order = obs.order(SYMBOL, side, qty, decision_px=price, strategy="bma", source="lgbm", **more)
            px = price * (1 + (slip if side == "buy" else -slip) / 1e4)
            obs.fill(order, price=round(px, 6), qty=qty, fee=0)
    clock.advance(step)


@pytest.fixture
def backtest(tmp_path):
    clock = Clock()
    with botobs.start("edge", mode="backtest", data_dir=tmp_path, clock=clock, strict=True) as obs:
        yield obs, clock


def test_orders_are_followed_by_the_prices_of_ticks(backtest, tmp_path):
    obs, clock = backtest
    turn(obs, clock, 100.0, side="buy", step=0.5)
    turn(obs, clock, 100.05, side="buy", step=0.5)  # the same decision, said twice
    turn(obs, clock, 100.1, step=4)
    turn(obs, clock, 100.2, side="sell", reason="take_profit", step=25)  # it ends a decision
    turn(obs, clock, 100.3, side="sell", reduces=True, step=30)
    turn(obs, clock, 100.4, step=3600)
    turn(obs, clock, 100.5)
    curve = obs.edge.markouts(strategy="bma")
    found = {
        point.after: (None if point.mean_bps is None else round(point.mean_bps), point.lost) for point in curve.points
    }
    assert found == {"1s": (10, 0), "5s": (20, 0), "30s": (30, 0), "1m": (40, 0), "5m": (None, 1), "15m": (None, 1), "1h": (None, 1)}  # fmt: skip
    assert obs.edge.markouts(SYMBOL, "lgbm").points == obs.edge.markouts().points == curve.points
    obs.flush()
    [record] = [json.loads(line) for line in (tmp_path / "logs/edge.jsonl").read_text().splitlines()]
    assert {key: record[key] for key in ("event", "symbol", "side", "source", "strategy", "price", "pred_bps")} == {
        "event": "markout", "symbol": SYMBOL, "side": "buy", "source": "lgbm", "strategy": "bma", "price": 100.0,
        "pred_bps": None,
    }  # fmt: skip
    assert record["order_id"]
    assert (round(record["moves"]["1s"]), record["moves"]["1h"]) == (10, None)
    assert record["decided_ts"] < record["ts"]


def test_a_prediction_and_the_order_that_it_leads_to_are_one_decision(backtest):
    obs, clock = backtest
    obs.calibration.over("1m")
    for n in range(4):
        turn(obs, clock, 100.0 + n, pred=-5.0, side="sell", step=60)
    turn(obs, clock, 104.0, pred=0.0)
    points = {point.after: point for point in obs.edge.markouts(SYMBOL, "lgbm").points}
    assert points["1m"].n == 3
    assert points["1m"].mean_bps == pytest.approx(-98, abs=3)  # it pointed down, and up it went
    orders = {point.after: point for point in obs.edge.markouts(strategy="bma").points}
    assert orders["1m"].n == points["1m"].n


def test_the_alarm_reaches_a_person_before_the_drawdown_does_and_touches_no_switch():
    clock, rng, said = Clock(), random.Random(12), []
    switch = [Drawdown(0.10)]
    with botobs.start(
        "edge", mode="backtest", data_dir=None, clock=clock, starting_equity=1_000, kill_switch=switch, strict=True
    ) as obs:
        obs.alerts.to(lambda alert: said.append((alert.key, alert.level, alert.title)))
        halted = alarmed = None
        for n in range(400):
            made = rng.gauss(12 if n < 120 else -20, 40)
            side = "buy" if n % 2 else "sell"
            sign = 1 if side == "buy" else -1
            other = "sell" if side == "buy" else "buy"
            for way, px in ((side, 100), (other, round(100 * (1 + sign * made / 1e4), 6))):
                obs.fill(symbol=SYMBOL, side=way, price=px, qty=10, fee=0, strategy="bma")
            clock.advance(60)
            if alarmed is None and obs.edge.standing(strategy="bma").alarmed:
                alarmed = n
                assert obs.kill_switch.state == "active"
            if obs.kill_switch.state == "halted":
                halted = n
                break
        assert 120 < alarmed < 150 < halted
    _, level, title = next(one for one in said if one[0] == "edge-edge-bma")
    assert level == "warning"
    assert title.startswith("edge of bma is -")


def test_it_goes_on_after_a_restart(tmp_path):
    with Capture(tmp_path) as capture:
        for run in range(2):
            obs = capture.start(data_dir=tmp_path / "data")
            for n in range(60):
                bps = (-30 if run else 5) + n * 7 % 11
                obs.fill(symbol=SYMBOL, side="buy", price=100, qty=1, fee=0)
                obs.fill(symbol=SYMBOL, side="sell", price=100 + bps / 100, qty=1, fee=0)
                capture.clock.advance(1)
            if not run:
                state = obs.edge.standing()
                assert (state.n, state.alarmed) == (60, False)
                obs.shutdown()
                path = tmp_path / "data/state/edge.json"
                assert oct(path.stat().st_mode & 0o777) == "0o600"
        state = obs.edge.standing()
        assert (state.n, state.alarmed) == (120, True)
        assert capture.metric("bot_edge_alarm", what="edge", strategy="unnamed") == 1
        assert not capture.errors
        assert [event.strategy for event in capture.events_of(EdgeAlarm)] == ["unnamed"]


def test_trades_that_were_not_kept_are_counted_after_a_crash(tmp_path):
    class History:
        def latest(self, stream, n):
            assert (stream, n) == ("trade_lifecycle", 200)
            at = "2026-01-02T03:{:02}:00.000000Z"
            return [
                {"trade_id": "t1", "revision": 1, "exit_ts": at.format(4), "net_pnl_bps": 1.0},  # before the last one
                {"trade_id": "t2", "revision": 1, "exit_ts": at.format(5), "net_pnl_bps": 2.0},  # the last one
                {"trade_id": "t3", "revision": 1, "exit_ts": at.format(6), "net_pnl_bps": 3.0},
                {"trade_id": "t3", "revision": 2, "exit_ts": at.format(6), "net_pnl_bps": 9.0},
                {"trade_id": "t4", "revision": 1, "exit_ts": "soon", "net_pnl_bps": 9.0},
                {"trade_id": None, "revision": 1, "exit_ts": at.format(7)},
            ]

    edge = Edge()
    edge.begin(History())
    assert edge.standing().n == 0  # nothing is known of the run before
    edge.closed(attrs.evolve(closed(2, 2.0), ts_ns=1_767_323_100 * S))
    edge.begin(History())
    assert (edge.standing().n, edge.standing().recent_bps) == (2, 2.5)


def test_a_forked_child_can_ask_though_another_thread_held_the_lock(tmp_path):
    with botobs.start("fork", data_dir=tmp_path) as obs:
        with obs.edge._lock:
            child = os.fork()
            if not child:
                try:
                    obs.edge.learn(1.0)
                    os._exit(obs.edge.standing().n != 1)
                finally:
                    os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert obs.edge.standing().n == 0


def test_what_is_said_of_a_markout_is_on_the_bus():
    told = []
    edge = Edge(EdgeTerms.parse({"markouts": ["1s"]}), publish=told.append)
    assert edge.predicted(SYMBOL, "m", -3.0, 100.0, T0)
    assert edge.timed == [SYMBOL]
    edge.price(SYMBOL, 99.0, T0 + S, T0 + S)
    edge.price(SYMBOL, 98.0, T0 + 2 * S, T0 + 2 * S)
    [event] = told
    assert isinstance(event, MarkoutSettled)
    assert (event.side, event.source, event.pred_bps, event.moves) == ("sell", "m", -3.0, {"1s": pytest.approx(100.0)})
    assert edge.timed == []
