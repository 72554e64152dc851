"""Through a whole bot: what it says of a trade is what the command line says, and what is known around it is right."""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import random
from decimal import Decimal
from pathlib import Path

import pytest

import botobs
from botobs.cli import main
from botobs.events import DecisionSeen
from botobs.explaining import LABELS
from botobs.testing import Clock
from tests.cli.world import snapshot

D = Decimal
S = "BTC-USD"


@pytest.fixture(autouse=True)
def _somewhere_empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("BOTOBS_", "OTEL_")):
            monkeypatch.delenv(name)


def lived(obs, clock, turns=30, seed=3):
    """Some hours of a bot: orders in parts, flips, amendments, late fills, what was taken back, funding."""
    rng = random.Random(seed)
    price, held = 100.0, 0
    for n in range(turns):
        price *= 1 + rng.gauss(0, 0.001)
        bid, ask = round(price - 0.02, 2), round(price + 0.02, 2)
        obs.feature_values({"momentum": rng.random(), "depth": rng.random()} if n % 3 else {"momentum": 1.0 + n})
        with obs.tick(S, bar_id=n, bid=bid, ask=ask) as tick:
            with obs.model("lgbm"):
                clock.advance(0.002)
            pred = round(rng.gauss(0, 5), 2)
            tick.signal(source="lgbm", pred_bps=pred)
            said = {"pred_bps": pred} if n % 4 else {}
            oid = obs.order(
                S, "buy" if rng.random() * 8 > 4 + int(held) else "sell", "2", decision_px=round(price, 2), source="lgbm", strategy=f"s{n % 2}",
                reason=rng.choice((None, "take_profit")), **said,
            )  # fmt: skip
            with obs.execution("send", order=oid):
                clock.advance(0.005)
                if n % 5:
                    obs.sent(oid, px=round(price + 0.01, 2))
        for part in range(rng.choice((1, 1, 2))):
            clock.advance(rng.choice((0.1, 90)))
            fill = obs.fill(
                oid, price=round(price + rng.gauss(0, 0.03), 2), qty=rng.choice(("1", "2", "3")),
                fee=rng.choice(("0.01", None)), role=rng.choice(("maker", "taker")), fill_id=f"f{n}.{part}",
                ts=None if rng.random() < 0.9 else clock.now - dt.timedelta(seconds=40),
            )  # fmt: skip
            held = fill.position
            if part == 0 and n % 7 == 0:
                obs.order(
                    S, obs._money.orders.get(oid).side, "9", decision_px=round(price * 1.001, 2), order_id=oid,
                    source="lgbm",
                )  # fmt: skip
        if n % 9 == 8:
            obs.void(f"f{n}.0", "busted")
        if n % 11 == 0:
            obs.funding(S, "-0.003", ts=clock.now)
        clock.advance(rng.choice((30, 600)))
    obs.mark(S, round(price, 2))


def without(found, *names):
    return {name: value for name, value in found.items() if name not in names}


def test_the_running_bot_the_command_line_and_memory_agree_of_every_trade(tmp_path, capsys):
    clock = Clock()
    with botobs.start(
        "bot", mode="backtest", data_dir="data", clock=clock, strict=True, rotate_bytes=20_000, durability="os"
    ) as obs:  # fmt: skip
        lived(obs, clock)
        closed = obs.trades.closed(1_000)
        ids = [one["trade_id"] for one in closed] + [one.trade_id for one in obs.trades.open]
        said = {name: obs.explain(name) for name in ids}
        before = snapshot()
        assert main(["explain", ids[-1], "--json"]) == 0  # while the bot runs
        told = json.loads(capsys.readouterr().out)
        assert without(told, "duration_s") == without(said[ids[-1]].to_dict(), "duration_s")
        assert snapshot() == before
        assert obs.explain("last").trade_id == max(closed, key=lambda one: one["exit_ts"])["trade_id"]
    assert len(closed) > 9
    assert list(Path("data/logs/archive").glob("execution-*"))
    for name in ids[::5]:
        assert main(["explain", "--data-dir", "data", name, "--json"]) == 0
        assert without(json.loads(capsys.readouterr().out), "duration_s") == without(
            said[name].to_dict(), "duration_s"
        )  # fmt: skip
    for one in closed:
        found = said[one["trade_id"]]
        assert found.total == found.net == one["net_pnl_usd"]
        assert found.gross == one["realized_pnl_usd"]
        assert (found.mfe_bps, found.exit_reason) == (one["mfe_bps"], one["exit_reason"])
        slipped = [found.part(f"entry_{step}").amount for step in ("delay", "spread", "impact")]
        if one["slippage_entry_bps"] is not None and all(part.known for part in found.parts[2:5]):
            at = found.entry_qty * found.entry.decision_px
            if found.entry.orders == 1 and found.entry.fills == 1:
                assert float(-sum(slipped) / at * 10_000) == pytest.approx(one["slippage_entry_bps"], abs=1e-9)
    clock = Clock()
    with botobs.start("bot", mode="backtest", data_dir=None, clock=clock, strict=True) as obs:
        lived(obs, clock)
        same = 0
        for name, found in said.items():
            mine = obs.explain(name)
            assert (mine.net, mine.total) == (found.net, found.net)
            known = [without(each, "reason") for each in mine.to_dict()["parts"]]
            same += known == [without(each, "reason") for each in found.to_dict()["parts"]]
            assert mine.features == found.features
        assert same > len(said) // 3  # where neither an order was amended nor only its signal predicted


def test_everything_around_a_trade_is_told(capsys):
    clock = Clock()
    with botobs.start("bot", mode="backtest", data_dir="data", clock=clock, strict=True) as obs:
        for n in range(60):  # a trend
            obs.bar(S, 100 + n, 101 + n, 99 + n, 100.5 + n)
        seen = []
        obs.bus.subscribe(DecisionSeen, seen.append, immediate=True)
        obs.feature_value("momentum", 1.0)
        clock.advance(90)
        obs.feature_value("depth", 2.0)
        with obs.tick(S, bar_id=7, bid=159.9, ask=160.1) as tick:
            with botobs.feature("bars"):
                clock.advance(0.001)
            with obs.model("lgbm"):
                clock.advance(0.002)
            tick.signal(source="other", pred_bps=99)
            tick.signal(source="lgbm", pred_bps=10)
            order = obs.order(S, "buy", 1, decision_px=160, source="lgbm", strategy="bma", order_type="limit")
            clock.advance(0.004)
            obs.sent(order, px="160.02")
            clock.advance(0.050)
            obs.fill(order, price="160.15", qty=1, fee="0.05", fill_id="a")
        clock.advance(3600)
        obs.mark(S, 162)
        clock.advance(1)
        leave = obs.order(S, "sell", 1, decision_px=161, reason="stop_loss", bid=160.9, ask=161.1)
        obs.fill(leave, price="160.9", qty=1, fee="0.05", role="taker", fill_id="b")
        found = obs.explain("t1")
    assert [event.order_id for event in seen] == [order, leave]
    entry = found.entry
    assert (found.strategy, found.regime, found.exit_reason) == ("bma", "trend", "stop_loss")
    assert (entry.order_id, entry.order_type, entry.bar_id, entry.source) == (order, "limit", 7, "lgbm")
    assert (entry.bid, entry.ask, entry.pred_bps) == (D("159.9"), D("160.1"), 10)
    assert (entry.decision_to_sent_ms, entry.sent_to_fill_ms, entry.decision_to_fill_ms) == (4.0, 50.0, 54.0)
    assert found.latency["entry"]["model_inference_ms"] == 2.0
    assert found.latency["exit"] is None
    assert found.exit.reasons["latency"] == "it was decided in no tick"
    assert found.features == {"momentum": 90.003, "depth": 0.003}
    assert [part.amount for part in found.parts] == [
        D("0.16"), D("0.84"), D("-0.02"), D("-0.1"), D("-0.03"), None, D("-0.1"), 0, D("-0.1"), 0,
    ]  # fmt: skip
    assert (found.net, found.mfe_bps > 100) == (D("0.65"), True)
    assert main(["explain", "b"]) == 0
    out = capsys.readouterr().out
    assert out == f"{found}\n"
    assert max(map(len, out.splitlines())) <= 80
    for label in [*LABELS.values(), "regime trend", "model inference 2 ms", "stop_loss", "161.1"]:
        assert (label in out) is (label != LABELS["open"])


def test_an_order_book_tells_the_spread_where_the_tick_did_not():
    clock = Clock()
    with botobs.start("bot", mode="backtest", data_dir="data", clock=clock, strict=True) as obs:
        for n, told in enumerate(
            (
                {"bid": "99.9", "ask": "100.3"}, {"spread_bps": 40.0}, {"spread_bps": 40.0, "mid": "100.1"},
                {"bid": None, "spread_bps": "wide"},
            )
        ):  # fmt: skip
            obs.event("order_book", symbol=S, order_id=f"o{n}", impact_bps=1.5, **told)
            obs.order(S, "buy", 1, decision_px=100, order_id=f"o{n}")
            obs.fill(f"o{n}", price="100.5", qty=1, fee=0)
            obs.order(S, "sell", 1, decision_px=100, order_id=f"x{n}")
            obs.fill(f"x{n}", price="100.5", qty=1, fee=0)
            clock.advance(60)
        spreads = [obs.explain(f"o{n}").part("entry_spread").amount for n in range(4)]
        assert spreads == [D("-0.3"), D("-0.2"), D("-0.3002"), None]
        assert obs.explain("o0").entry.impact_bps == 1.5
        obs.event("order_book", symbol=S, bid=99, ask=101)
        obs.event("order_book", symbol="ETH-USD", bid=1, ask=2)
        clock.advance(4)
        obs.order(S, "buy", 1, decision_px=100, order_id="near")
        clock.advance(2)
        obs.order(S, "buy", 1, decision_px=100, order_id="far")
        obs.fill("near", price="100.5", qty=1, fee=0)
        assert obs.explain("near").part("entry_spread").amount == -1
        obs.fill("far", price="100.5", qty=1, fee=0)
        assert obs.explain("far").part("entry_spread").reason.startswith("of 1 of 2 fills")


def test_which_trade_is_meant(capsys):
    clock = Clock()
    with botobs.start("bot", mode="backtest", data_dir="data", clock=clock, strict=True) as obs:
        assert obs.explain("last") is None
        for n in range(6):
            obs.fill(f"in{n}", symbol=S, side="buy", price=100, qty=1, fee=0, fill_id=f"{n}-in")
            obs.fill(f"out{n}", symbol=S, side="sell", price=101 + n, qty=1, fee=0, fill_id=f"{n}-out")
            clock.advance(1)
        obs.fill("flip", symbol=S, side="buy", price=100, qty=1, fee=0, fill_id="13")
        obs.fill("flip2", symbol=S, side="sell", price=100, qty=2, fee=0, fill_id="14")
        obs.void("5-in", "busted")
        obs.void("5-out", "busted")
        for name, meant in {
            "t3": "t3", " t3 ": "t3", "in2": "t5", "2-out": "t5", "flip": "t13", "last": "t13",
        }.items():  # fmt: skip
            assert obs.explain(name).trade_id == meant, name
        for name in ("t2", "t", "", "flip2", "in5", "out5", "t11", "nobody", "t0", "t99999999999999999999"):
            assert obs.explain(name) is None, name
    for name, why in {
        "t2": "that line of the ledger belongs to: t1", "t1x": "the nearest are: t1", "t": "one of several trades: t1",
        "flip2": "one of several trades: t13, t14", "t11": "the fill that opened it was taken back",
    }.items():  # fmt: skip
        assert main(["explain", name]) == 1
        assert why in capsys.readouterr().err, name
    assert main(["explain"]) == 2
    assert main(["explain", "t1", "--data-dir", "nowhere"]) == 1
    capsys.readouterr()


def test_a_trade_told_by_hand_is_explained_by_its_record():
    with botobs.start("bot", mode="backtest", data_dir="data", clock=Clock(), strict=True) as obs:
        name = obs.trades.open_trade(
            S, {"side": "buy", "px": 101, "qty": 2, "ts": 1767323000, "fee": "0.1", "decision_px": 100, "pred_bps": 50}
        )  # fmt: skip
        obs.trades.close_trade(S, {"px": 103, "ts": 1767323060, "fee": "0.1", "funding": "-0.3"})
        found = obs.explain(name)
        assert {part.name: part.amount for part in found.parts if part.amount} == {
            "predicted": 1, "market": 5, "entry_impact": -2, "fees": D("-0.2"), "funding": D("-0.3"),
        }  # fmt: skip
        assert found.total == found.net == D("3.5")
        assert obs.explain(name[:9]).trade_id == name


def test_what_was_held_before_is_in_the_market(tmp_path):
    with botobs.start("bot", mode="backtest", data_dir="data", clock=Clock(), strict=True) as obs:
        obs.position(S, 2, 100)
        obs.fill("x", symbol=S, side="sell", price=103, qty=2, fee=1)
        found = obs.explain("last")
        assert (found.net, found.part("market").amount, found.fills) == (5, 6, 1)
        assert "before botobs came" in found.part("entry_impact").reason


def test_funding_that_is_due_is_told_as_such():
    clock = Clock("2026-01-10T07:00:00Z")
    with botobs.start("bot", mode="backtest", data_dir="data", clock=clock, strict=True) as obs:
        obs.mark(S, 100)
        obs.fill("a", symbol=S, side="buy", price=100, qty=2, fee=0, fill_id="a")
        obs.funding_rate(S, "0.0001", "2026-01-10T08:00:00Z")
        clock.advance("2h")
        obs.totals()
        due = obs.explain("t1").part("funding")
        assert (due.amount, due.known) == (D("-0.02"), False)
        assert due.reason == "-0.0200 of it is due and was not reported yet"
        obs.fill("b", symbol=S, side="sell", price=100, qty=2, fee=0, fill_id="b")
        obs.funding(S, "-0.03", ts="2026-01-10T08:00:02Z")
        found = obs.explain("t1")
        assert (found.part("funding").amount, found.part("funding").known, found.total) == (D("-0.03"), True, found.net)


class Hostile:
    def __str__(self):
        raise RuntimeError("no text")

    __repr__ = __hash__ = __float__ = __str__


@pytest.mark.parametrize(
    "odd", [None, math.nan, b"t1", [], Hostile(), "\ud800", "t" * 10_000, "a\nb", 10**5000], ids=type
)
def test_nothing_that_is_asked_raises(odd):
    with botobs.start("bot", mode="backtest", data_dir="data", clock=Clock()) as obs:
        obs.fill("x", symbol=S, side="sell", price=103, qty=2, fee=1)
        assert obs.explain(odd) is None


def test_damaged_lines_and_missing_streams_leave_the_money_right():
    clock = Clock()
    with botobs.start("bot", mode="backtest", data_dir="data", clock=clock, strict=True) as obs:
        order = obs.order(S, "buy", 1, decision_px=100, pred_bps=5)
        obs.fill(order, price=101, qty=1, fee=1)
        obs.fill("o", symbol=S, side="sell", price=103, qty=1, fee=1)
        whole = obs.explain("t1")
        logs = Path("data/logs")
        for path in logs.glob("*.jsonl"):
            path.write_bytes(b'{"order_id":"' + order.encode() + b'","event":"order"}\n{"trade_id":"t1"\n\xff\n')
        left = obs.explain("t1")
        assert (left.net, left.total) == (whole.net, whole.net)
        assert left.part("market").amount == left.gross
        assert left.reasons["record"]


def test_it_answers_after_the_end_and_in_a_forked_child():
    with botobs.start("bot", data_dir="data", durability="os") as obs:
        order = obs.order(S, "buy", 1, decision_px=100, pred_bps=5)
        obs.fill(order, price=101, qty=1, fee=1)
        first = obs.explain(order)  # what waits is written first
        assert first.part("predicted").amount == D("0.05")
        with obs._money.account.lock:
            child = os.fork()
            if not child:
                try:
                    os._exit(obs.explain("t1") is None)
                finally:
                    os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert obs.explain("t1").parts == first.parts
