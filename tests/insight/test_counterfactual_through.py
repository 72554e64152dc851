"""What would have been, as the bot has it: through signals, orders, guards and risk stages."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import runpy
import threading
from decimal import Decimal
from pathlib import Path

import pytest

import botobs
from botobs.events.counterfactual import DecisionSettled, VetoSettled
from botobs.testing import Capture, Clock

SYMBOL = "BTC-USD"
BOTH = {"pros": "buy", "amateurs": "sell"}


@pytest.fixture
def backtest(request):
    """An observer without a disk, its clock, a market, and what was settled."""
    clock, events = Clock(), []
    with botobs.start("insight", mode="backtest", data_dir=None, clock=clock, strict=True) as obs:
        for kind in (DecisionSettled, VetoSettled):
            obs.bus.subscribe(kind, events.append, immediate=True)
        yield obs, clock, SYMBOL, events


def decide(obs, symbol, price, way="buy", order=False, candidates=BOTH, **more):
    """A turn with candidates; whether an order comes of it, and before or after the signal."""
    with obs.tick(symbol, price=price) as tick:
        made = obs.order(symbol, way, 1, decision_px=price) if order == "before" else None
        tick.signal(candidates=candidates, decision={"dir": way}, **{"source": "pros", **more})
        return obs.order(symbol, way, 1, decision_px=price) if order is True else made


def bar(obs, symbol, close):
    obs.bar(symbol, close, close, close, close)


def refused(obs, **stage):
    with contextlib.suppress(botobs.TradingHalted), obs.execution(**stage):
        raise AssertionError("it ran")


# -- decisions ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", [True, "before"])
def test_the_first_decision_of_a_horizon_is_taken_and_any_that_an_order_came_of(backtest, when):
    obs, clock, symbol, events = backtest
    for price in (100.0, 101.0, 102.0):
        for turn in range(3):
            decide(obs, symbol, price + turn / 10, order=when if turn == 1 and price == 101.0 else False)
            clock.advance(10)
        bar(obs, symbol, price + 1)
    assert [(event.began_px, event.ended_px) for event in events] == [(100.0, 101.0), (101.0, 102.0), (102.0, 103.0)]
    clock.advance(60)
    assert obs.counterfactual.table(symbol).waiting == 1  # the order still works


@pytest.mark.parametrize("when", [True, "before"])
def test_all_candidates_are_settled_with_the_trade_that_came_of_it(backtest, when):
    obs, clock, symbol, events = backtest
    order = decide(obs, symbol, 100.0, order=when, candidates={**BOTH, "model": {"pred_bps": 0.0}})
    obs.fill(order, price=100.1, qty=1, fee="0.02")
    bar(obs, symbol, 120.0)
    clock.advance(3600)
    assert events == []
    leave = obs.order(symbol, "sell", 1, decision_px=103)
    obs.fill(leave, price=102.9, qty=1, fee="0.02")
    [event] = events
    [net] = [one["net_pnl_bps"] for one in closed_trades(obs, symbol)]
    assert (event.rule, event.chosen, event.done, event.revision) == ("trade", "pros", "long", 1)
    assert event.chosen_bps == pytest.approx(net)
    table = obs.counterfactual.table(symbol)
    assert table["pros"].pnl == table.done.pnl == Decimal("2.76")
    assert table["model"].pnl_bps == 0.0
    # who went the other way had the same costs: fees twice, and both slippages
    slip = 0.1 / 100 * 1e4 + 0.1 / 103 * 1e4
    assert table["amateurs"].pnl_bps == pytest.approx(-(2.8 / 100.1 * 1e4 + slip) - slip - 0.04 / 100.1 * 1e4, abs=1e-6)
    assert event.regret_bps == 0.0


def test_what_the_chosen_came_to_is_what_the_trades_made(backtest):
    obs, clock, symbol, events = backtest
    chance, price = random.Random(3), 100.0
    for _ in range(25):
        way = chance.choice(["buy", "sell"])
        order = decide(obs, symbol, price, way, order=True, candidates={"model": way, "other": "buy"}, source="model")
        obs.fill(order, price=round(price * (1 + chance.gauss(0, 2e-4)), 4), qty="0.7", fee="0.011")
        obs.fill(order, price=round(price, 4), qty="0.3", fee="0.004")
        if chance.random() < 0.5:
            obs.funding(symbol, "-0.02")
        for _ in range(chance.randint(1, 4)):
            price *= 1 + chance.gauss(0, 1e-3)
            clock.advance(60)
            bar(obs, symbol, price)
        leave = obs.order(symbol, "sell" if way == "buy" else "buy", 1, decision_px=price)
        report = obs.fill(leave, price=round(price * (1 + chance.gauss(0, 2e-4)), 4), qty=1, fee="0.015")
        assert report.position == 0
    table = obs.counterfactual.table(symbol)
    assert [event.rule for event in events] == ["trade"] * 25
    net = sum(trade["net_pnl_usd"] for trade in closed_trades(obs, symbol))
    assert table["model"].pnl == table.done.pnl == net
    assert table["model"].low_bps < table["model"].mean_bps < table["model"].high_bps
    assert table["model"].regret_bps == 0.0
    assert table.regret.mean_bps >= 0.0


def closed_trades(obs, symbol):
    return [record for record in obs.trades.closed(2_000) if record["symbol"] == symbol]


def test_a_late_fill_and_a_void_change_what_was_settled(backtest):
    obs, clock, symbol, events = backtest
    order = decide(obs, symbol, 100.0, order=True)
    obs.fill(order, price=100, qty=1, fee=0, fill_id=f"{symbol}-1")
    clock.advance(60)
    leave = obs.order(symbol, "sell", 1, decision_px=110)
    obs.fill(leave, price=110, qty=1, fee=0, fill_id=f"{symbol}-2")
    assert obs.counterfactual.table(symbol)["pros"].pnl == 10
    clock.advance(60)
    obs.void(f"{symbol}-2", "taken back")
    assert len(obs.counterfactual.table(symbol)) == 0
    obs.fill(leave, price=90, qty=1, fee=0, fill_id=f"{symbol}-3")
    assert obs.counterfactual.table(symbol)["pros"].pnl == -10
    assert [event.revision for event in events] == sorted(event.revision for event in events)
    assert [event.undone for event in events] == [False, True, False]


def test_a_source_that_is_no_candidate_went_the_way_of_the_decision(backtest):
    obs, clock, symbol, events = backtest
    decide(obs, symbol, 100.0, "sell", source="model_bma")
    bar(obs, symbol, 99.0)
    clock.advance(60)
    decide(obs, symbol, 99.0, "buy", source=None)
    bar(obs, symbol, 98.0)
    decide(obs, symbol, 98.0, "?", source="unheard of")
    bar(obs, symbol, 99.0)
    assert [event.chosen for event in events] == ["model_bma", "bot", None]
    table = obs.counterfactual.table(symbol)
    assert table["model_bma"].pnl_bps == pytest.approx(100.0)
    assert (table["pros"].n, table["pros"].compared, table.done.n) == (3, 2, 2)


def test_candidates_stay_in_the_record_of_the_signal_and_the_settlement_leads_to_its_trace(tmp_path):
    with Capture(tmp_path) as capture:
        obs = capture.start()
        decide(obs, SYMBOL, 100.0, strength=0.5)
        with obs.tick(SYMBOL, price=100.0) as tick:
            tick.signal(decision={"dir": "buy"})  # none, and none are missed
        bar(obs, SYMBOL, 101.0)
        assert obs.counterfactual.table(SYMBOL)["pros"].n == 1
        signal = capture.records("signals")[0]
        settled = capture.record("counterfactual")
        assert signal["candidates"] == BOTH
        assert settled["trace_id"] == signal["trace_id"]
        assert settled["candidates"]["amateurs"] == {
            "side": "short",
            "result_bps": settled["candidates"]["amateurs"]["result_bps"],
        }
        assert settled["event"] == "decision"
        assert capture.metric("bot_counterfactual_pnl_bps", symbol=SYMBOL, source="pros") == pytest.approx(100.0)


# -- refusals -----------------------------------------------------------------------------------------------------------


def test_a_tripped_switch_saves_and_costs_by_the_order_that_it_stopped(backtest):
    obs, clock, symbol, events = backtest
    obs.kill_switch.trip("equity 900 below 1000")
    with obs.tick(symbol, price=100.0):
        named = obs.order(symbol, "buy", 3, decision_px=100.0, strategy="a")
        refused(obs, order=named)
    with obs.tick(symbol, price=100.0):
        obs.order(symbol, "sell", 1, decision_px=100.0, strategy="b")
        refused(obs)  # of this tick's order
        refused(obs)
    with obs.tick(symbol, price=100.0) as tick:
        tick.signal(decision={"dir": "buy"})
        with contextlib.suppress(botobs.TradingHalted):
            obs.kill_switch.check()
    clock.advance(30)
    bar(obs, symbol, 98.0)
    found = {(event.strategy, event.stage): event for event in events}
    assert {key: (event.side, round(event.saved_bps), event.saved) for key, event in found.items()} == {
        ("a", "execution"): ("buy", 200, pytest.approx(Decimal(6))),
        ("b", "execution"): ("sell", -200, pytest.approx(Decimal(-2))),
        (None, "check"): ("buy", 200, None),
    }
    assert found["b", "execution"].repeats == 1
    assert found["a", "execution"].order_id == named
    assert {event.by for event in events} == {"kill switch"}


def test_a_risk_stage_vetoes_by_an_error_or_by_saying_so(backtest):
    obs, clock, symbol, events = backtest

    @obs.risk("limits")
    def limits():
        raise ValueError("position 17 is over 10")

    with obs.tick(symbol, price=100.0) as tick, contextlib.suppress(ValueError):
        tick.signal(decision={"side": "short"}, candidates=BOTH, source="amateurs")
        limits()
    with obs.tick(symbol, price=100.0), obs.risk("said") as risk:
        other = obs.order(symbol, "buy", 2, decision_px=100.0)
        risk.veto("too much", order=other)
    with obs.risk("told") as risk:
        risk.veto("too much", order={"symbol": symbol, "side": "sell", "qty": 5, "price": 100.0})
    clock.advance(5)
    bar(obs, symbol, 101.0)
    vetoes = {event.stage: event for event in events if isinstance(event, VetoSettled)}
    assert {key: (event.side, round(event.saved_bps), event.reason) for key, event in vetoes.items()} == {
        "limits": ("sell", 100, "ValueError: position 17 is over 10"), "said": ("buy", -100, "too much"),
        "told": ("sell", 100, "too much"),
    }  # fmt: skip
    [decided] = [event for event in events if isinstance(event, DecisionSettled)]
    assert (decided.chosen_bps, decided.done) == (pytest.approx(-100.0), "flat")  # it was held back
    rows = obs.counterfactual.vetoes()
    assert next(row for row in rows if row.stage == "limits").reason == "ValueError: position # is over #"


def test_what_is_no_veto(backtest):
    obs, _clock, symbol, events = backtest
    before = obs.counterfactual.vetoes().total.unknown

    @obs.risk("slow")
    async def slow():
        await asyncio.sleep(3600)

    @obs.risk("items")
    def items():
        yield 1
        yield 2

    async def cancelled():
        task = asyncio.ensure_future(slow())
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    with obs.tick(symbol, price=100.0) as tick:
        tick.signal(decision={"dir": "buy"})
        asyncio.run(cancelled())
        running = items()
        next(running)
        running.close()
        for error in (KeyboardInterrupt, SystemExit):
            with contextlib.suppress(BaseException), obs.risk("ended"):
                raise error
        with contextlib.suppress(ValueError), obs.stage("not risk"):
            raise ValueError
    bar(obs, symbol, 101.0)
    assert events == []
    assert obs.counterfactual.vetoes().total.unknown == before
    with contextlib.suppress(ValueError), obs.risk("nothing"):  # nobody said what it stopped
        raise ValueError
    assert obs.counterfactual.vetoes().total.unknown == before + 1


def test_halted_in_a_risk_stage_is_the_switchs_refusal_and_no_other(backtest):
    obs, _clock, symbol, events = backtest
    obs.kill_switch.trip("stop")
    with obs.tick(symbol, price=100.0) as tick:
        tick.signal(decision={"dir": "buy"})
        with contextlib.suppress(botobs.TradingHalted), obs.risk("gate"):
            obs.kill_switch.check()
    bar(obs, symbol, 101.0)
    assert [(event.by, round(event.saved_bps)) for event in events] == [("kill switch", -100)]


def test_an_order_withdrawn_for_risk_was_refused_and_one_that_was_filled_was_not(backtest):
    obs, _clock, symbol, events = backtest
    withdrawn = obs.counterfactual.vetoes().withdrawn
    for reason in ("risk_limit", "Veto: too large", "changed my mind", None):
        obs.cancel(obs.order(symbol, "buy", 1, decision_px=100, strategy=str(reason)), reason)
    order = obs.order(symbol, "sell", 1, decision_px=100)
    obs.fill(order, price=100, qty="0.5", fee=0)
    obs.cancel(order, "risk_limit")
    obs.kill_switch.trip("stop")
    again = obs.order(symbol, "sell", 1, decision_px=100)
    refused(obs, order=again)
    obs.kill_switch.reset("me", "checked")
    obs.fill(again, price=100, qty=1, fee=0)
    bar(obs, symbol, 101.0)
    assert [(event.by, event.reason) for event in events] == [("cancel", "risk_limit"), ("cancel", "Veto: too large")]
    assert obs.counterfactual.vetoes().withdrawn == withdrawn + 1


@pytest.mark.parametrize("reduces", [True, None])
def test_a_way_out_that_was_refused_costs_what_the_position_lost(backtest, reduces):
    obs, clock, symbol, events = backtest
    order = obs.order(symbol, "buy", 2, decision_px=100)
    obs.fill(order, price=100, qty=2, fee=1)
    obs.kill_switch.trip("stop")
    with obs.tick(symbol, price=100.0):
        leave = obs.order(symbol, "sell", 2, decision_px=100, reduces=reduces)
        refused(obs, order=leave, reduces=bool(reduces))
    clock.advance(5)
    bar(obs, symbol, 97.0)
    [event] = events
    assert (event.reduces, event.saved_bps, event.saved) == (True, pytest.approx(-300), pytest.approx(Decimal(-6)))


def test_stale_data_refuses_too(tmp_path):
    clock = Clock()
    with botobs.start("stale", mode="backtest", data_dir=tmp_path, clock=clock, strict=True) as obs:
        obs.staleness.watch("rsi", after="5s")
        obs.feature_value("rsi", 1.0)
        clock.advance(60)
        with obs.tick(SYMBOL, price=100.0):
            obs.order(SYMBOL, "buy", 1, decision_px=100.0)
            with contextlib.suppress(botobs.TradingHalted), obs.execution(fresh=True):
                raise AssertionError("it ran")
        bar(obs, SYMBOL, 99.0)
        row = obs.counterfactual.vetoes()["stale data"]
        assert (row.n, row.net_bps) == (1, pytest.approx(100.0))


# -- what it costs and what goes wrong ----------------------------------------------------------------------------------


class Hostile:
    def __getattr__(self, name):
        raise RuntimeError(name)

    def __str__(self):
        raise RuntimeError

    __hash__ = __repr__ = __float__ = __eq__ = __str__


def test_nothing_reaches_the_bot(backtest):
    obs = backtest[0]
    before = dict(obs.faults.errors)
    for odd in (Hostile(), 7, [], {}, "", {"a": Hostile()}, {Hostile: 1}, [1, 2], {"a": float("nan")}):
        for symbol in ("odd", None, 7, ("a",), []):
            with obs.tick(symbol, price=1.0) as tick, obs.risk() as risk:
                tick.signal(candidates=odd, source="a", decision="buy")
                tick.signal(candidates={"a": "buy"}, decision=odd if type(odd) is not Hostile else None)
                risk.veto(odd, order=odd if type(odd) in (int, dict) else None)
                risk.veto("x", order=Hostile())
    bar(obs, "odd", 2.0)
    assert str(obs.counterfactual.table())
    assert dict(obs.faults.errors) == before


def test_a_signal_without_candidates_and_a_stage_without_errors_ask_nobody(backtest, monkeypatch):
    obs = backtest[0]
    asked = []
    monkeypatch.setattr(obs._own, "on_candidates", lambda *said: asked.append(said))
    monkeypatch.setattr(obs._own, "on_veto", lambda *said: asked.append(said))
    with obs.tick("quiet", price=1.0) as tick, obs.risk():
        tick.signal(decision={"dir": "buy"}, source="a", pred_bps=1.0, mood="calm")
    assert asked == []


def test_a_live_bot_settles_in_time_and_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "botobs.toml").write_text('[counterfactual]\nover = "1m"\ncost_bps = 2\n')
    clock = Clock()
    with botobs.start("live", data_dir="data", clock=clock, keep_traces="none", strict=True) as obs:
        order = decide(obs, "ETH-USD", 100.0, order=True)
        obs.fill(order, price=100, qty=1, fee=0)
        decide(obs, SYMBOL, 100.0)
        assert obs.counterfactual.table().waiting == 2
        for price in (101.0, 102.0, 103.0):
            clock.advance(30)
            with obs.tick(SYMBOL, price=price):
                pass
            obs._insight.chore()
        assert obs.counterfactual.table(SYMBOL)["pros"].pnl_bps == pytest.approx(198.0)
        decide(obs, SYMBOL, 103.0)
        assert obs.counterfactual.table().waiting == 2
    with botobs.start("live", data_dir="data", clock=clock, strict=True) as obs:
        table = obs.counterfactual.table()
        assert (table["pros"].n, table.waiting, table.lost) == (1, 1, 1)
        leave = obs.order("ETH-USD", "sell", 1, decision_px=102)
        obs.fill(leave, price=102, qty=1, fee=0)
        assert obs.counterfactual.table()["pros"].pnl == 2
    records = [json.loads(line) for line in (tmp_path / "data/logs/counterfactual.jsonl").read_text().splitlines()]
    assert [(one["rule"], one["symbol"]) for one in records] == [("horizon", SYMBOL), ("trade", "ETH-USD")]
    (tmp_path / "botobs.toml").write_text('[counterfactual]\nover = "trade"\n')
    with pytest.raises(botobs.ConfigError, match=r"counterfactual\.over"):
        botobs.start("live", data_dir="data")


def test_after_a_crash_a_decision_is_settled_by_the_trade_that_closed_before_it_was_kept(tmp_path):
    state = tmp_path / "state/counterfactual.json"
    with botobs.start("crash", data_dir=tmp_path) as obs:
        order = decide(obs, SYMBOL, 100.0, order=True)
        obs.fill(order, price=100, qty=1, fee=0)
        assert obs.counterfactual.table().waiting == 1
        obs._insight._save()
        kept = state.read_bytes()
        obs.fill(symbol=SYMBOL, side="sell", price=103, qty=1, fee=0)
    state.write_bytes(kept)  # as a crash would have left it
    for _ in range(2):
        with botobs.start("crash", data_dir=tmp_path) as obs:
            table = obs.counterfactual.table()
            assert (table["pros"].n, table["pros"].pnl, table["amateurs"].pnl, table.waiting) == (1, 3, -3, 0)


def test_threads_may_decide_at_once(tmp_path):
    with botobs.start("threads", data_dir=tmp_path) as obs:

        def work(symbol):
            for n in range(100):
                order = decide(obs, symbol, 100.0, order=n % 5 == 0)
                if order:
                    obs.cancel(order, "risk" if n % 10 else None)
                bar(obs, symbol, 101.0)

        threads = [threading.Thread(target=work, args=(f"s{n}",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        obs._insight.chore()
        table = obs.counterfactual.table()
        assert table["pros"].n + table.waiting == 400
        assert table["pros"].n == sum(obs.counterfactual.table(f"s{n}")["pros"].n for n in range(4))
        assert obs.counterfactual.vetoes()["cancel"].n == 40
        assert not obs.faults.errors


def test_a_forked_child_leaves_what_is_the_parents_alone(tmp_path):
    with botobs.start("fork", data_dir=tmp_path) as obs:
        decide(obs, SYMBOL, 100.0)
        with obs.counterfactual._lock:
            child = os.fork()
            if not child:
                try:
                    obs.counterfactual.table()
                    obs._insight.close(0.0)
                    os._exit((tmp_path / "state/counterfactual.json").exists())
                finally:
                    os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        bar(obs, SYMBOL, 101.0)
        assert obs.counterfactual.table()["pros"].n == 1


def test_the_picture_is_of_this_code(tmp_path):
    docs = Path(__file__).resolve().parents[2] / "docs"
    runpy.run_path(str(docs / "pictures/counterfactual.py"))["main"](tmp_path)
    drawn = (tmp_path / "counterfactual.svg").read_text("utf-8")
    assert drawn.startswith("<svg")
    assert (docs / "_static/counterfactual.svg").read_text("utf-8") == drawn, "run docs/pictures/counterfactual.py"
