"""A user's file with every form of every stage: `mypy --strict` has to know what each one is."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping
from decimal import Decimal
from typing import Any, assert_type

import botobs
from botobs.explainability import Explained
from botobs.performance import Performance, Session, Summary
from botobs.safety import Trip
from botobs.trackers.slippage import Slippage, SlippageRow, SlippageTracker
from botobs.trackers.trades import OpenTrade, TradeTracker
from botobs.triggers import Drawdown, EquityBelow, When


@botobs.feature
def bare(x: int) -> str:
    return str(x)


@botobs.feature("named", attrs={"a": 1}, fresh=True)
def named(x: int, *, flag: bool = False) -> list[int]:
    return [x] if flag else []


@botobs.model
async def predict(x: float) -> float:
    return x


@botobs.model("lgbm")
async def predict_named(x: float) -> tuple[float, str]:
    return x, ""


@botobs.decision()
def decide(p: float) -> bool:
    return p > 0


@botobs.risk
def limits() -> Iterator[int]:
    yield 1


@botobs.risk("gen")
def generator() -> Generator[int, str, bytes]:
    got = yield 1
    return got.encode()


@botobs.execution(order="o-1", reduces=True)
async def fills() -> AsyncGenerator[int, str]:
    yield 1


@botobs.execution
async def quotes() -> AsyncIterator[float]:
    yield 1.0


@botobs.stage
def rank(names: list[str]) -> list[str]:
    return sorted(names)


@botobs.stage("own", attrs={"universe": "top50"})
def own() -> None: ...


@botobs.tick
def on_bar(symbol: str) -> int:
    return len(symbol)


@botobs.tick("BTC-USD", venue="x")
async def on_quote(px: float) -> float:
    return px


@botobs.explain_model(background=[[0.0]], name="mlp", every=10, most_per_s=None, window="6h")
async def predict_explained(x: list[float]) -> float:
    return x[0]


class Regression:
    def predict(self, rows: list[list[float]]) -> list[float]:
        return [row[0] for row in rows]


class Strategy:
    @botobs.feature
    def method(self, x: int) -> str:
        return str(x)

    @botobs.model("m")
    async def amethod(self) -> int:
        return 1

    @staticmethod
    @botobs.risk
    def static(x: int) -> int:
        return x


async def use(obs: botobs.Observer) -> None:
    assert_type(bare(1), str)
    assert_type(named(1, flag=True), list[int])
    assert_type(await predict(1.0), float)
    assert_type(await predict_named(1.0), tuple[float, str])
    assert_type(decide(0.5), bool)
    assert_type(limits(), Iterator[int])
    assert_type(generator(), Generator[int, str, bytes])
    assert_type(fills(), AsyncGenerator[int, str])
    assert_type(quotes(), AsyncIterator[float])
    assert_type(rank(["b"]), list[str])
    assert_type(await predict_explained([1.0]), float)
    assert_type(botobs.explain_model(bare)(1), str)
    assert_type(botobs.explain_model(Regression(), [[0.0]]), Explained)
    assert_type(obs.explain_model(Regression().predict, explainer=lambda row: row)([[1.0]]), list[float])
    assert_type(obs.explainability.importance("mlp", window="6h")[0].share, float | None)
    assert_type(on_bar("x"), int)
    assert_type(await on_quote(1.0), float)
    assert_type(Strategy().method(1), str)
    assert_type(await Strategy().amethod(), int)
    assert_type(Strategy.static(1), int)

    with botobs.tick("BTC-USD", bar_id=7, bid=1.0, ask=2.0) as tick:
        assert_type(tick, botobs.Tick)
        with botobs.feature(), botobs.model("lgbm"), botobs.decision(), botobs.risk() as stage:
            assert_type(stage, botobs.Span)
            stage.set_attribute("a", 1)
        with botobs.execution(order="o-1", reduces=True), botobs.stage("own", fresh=True):
            pass
        tick.signal(features={"a": 1}, model=0.5, decision={"dir": "buy"}, source="bma", pred_bps=4.2, mood="calm")
        assert_type(tick.id, str)
    assert_type(botobs.current_tick(), botobs.Tick)

    with obs.tick("BTC-USD") as tick, obs.decision():
        tick.keep("why")
    obs.event("notes", mood="calm")
    botobs.event("notes", mood="calm")
    report = obs.flush(1.0)
    assert_type(report.delivered, bool)
    assert_type(report.records.dropped, int)
    obs.shutdown()


async def report_money(obs: botobs.Observer) -> None:
    """The verbs: of the module, and of an observer."""
    order = botobs.order("BTC-USD", "buy", "0.5", decision_px=Decimal(100), strategy="bma", pred_bps=4.2, mood="calm")
    assert_type(order, str)
    botobs.sent(order, px=100.1)
    assert_type(botobs.fill(order, price="100.05", qty=0.5, fee="0.1", role="taker", fill_id=7), botobs.FillReport)
    assert_type(await botobs.afill(order, price=100, qty=1, ts=dt.datetime.now(dt.UTC)), botobs.FillReport)
    assert_type(botobs.fill(symbol="BTC-USD", side="sell", price=1, qty=1, kind="import"), botobs.FillReport)
    assert_type(botobs.void("7", "busted", order_id=order), botobs.FillReport)
    assert_type(botobs.funding("BTC-USD", "-0.01", rate="0.0001", funding_id=1), botobs.FillReport)
    assert_type(botobs.position("BTC-USD", 1, 100, account="main"), botobs.FillReport)
    assert_type(botobs.transfer(-500, currency="USD"), botobs.FillReport)
    botobs.reject(order, -2010, "no", attempt=2, max_retries=3, market={"bid": 1, "ask": 2}, error=OSError())
    botobs.cancel(order, "too late")
    botobs.mark("BTC-USD", 100)
    botobs.mark("BTC-USD", bid=99, ask=101, venue="x")
    botobs.bar("BTC-USD", 1, 2, 1, 2, volume=10, ts="2026-01-02T03:04:05Z")
    botobs.book("BTC-USD", bids=[["99.5", 2]], asks={100.5: 1}, ts="2026-01-02T03:04:05Z", venue="x")
    assert_type(obs.depth.impact("BTC-USD", "buy", 2, limit_px="101").impact_bps, float | None)
    botobs.instrument("BTCUSD", multiplier=100, inverse=True, base="BTC", quote="USD", dust="0.001")

    assert_type(obs.order("BTC-USD", "buy", 1, decision_px=100, order_id=1), str)
    report = obs.fill(order, price=1, qty=1)
    assert_type(await obs.afill(order, price=1, qty=1), botobs.FillReport)
    assert_type(bool(report), bool)
    assert_type(report.durable, bool)
    assert_type(report.reason, str | None)
    assert_type(report.slippage_bps, float | None)
    assert_type(report.gross_pnl, Decimal | None)


def ask_money(obs: botobs.Observer) -> None:
    """The nouns."""
    totals = obs.totals("6h", kinds=["live"])
    assert_type(totals.realized_pnl, Decimal)
    assert_type(totals.fills, int)
    assert_type(totals.inventory, Mapping[str, Decimal])
    assert_type(totals.equity, Decimal | None)
    assert_type(totals.drawdown_pct, float | None)
    assert_type(totals.reasons, Mapping[str, str])
    assert_type(totals.sharpe.annualized if totals.sharpe else None, float | None)
    assert_type(totals.to_dict(), dict[str, Any])
    assert_type(obs.equity, Decimal | None)
    assert_type(obs.equity_curve("1d"), list[dict[str, Any]])

    for held in obs.positions:
        assert_type(held.qty, Decimal)
        assert_type(held.avg_px, Decimal | None)
        assert_type(held.age_s, float | None)
    assert_type(obs.trades, TradeTracker)
    assert_type(obs.trades.open, list[OpenTrade])
    assert_type(obs.trades.closed(5), list[dict[str, Any]])
    assert_type(obs.trades.open_trade("SPX", {"side": "buy", "px": 1, "qty": 1}), str | None)
    assert_type(obs.trades.close_trade("SPX", {"px": 2}), dict[str, Any] | None)

    assert_type(obs.slippage, SlippageTracker)
    assert_type(obs.slippage.record_decision("o-1", 100), bool)
    assert_type(obs.slippage.calculate_slippage("o-1", 101, "buy", 1), Slippage | None)
    assert_type(obs.slippage.stats("venue", "6h"), list[SlippageRow])

    assert_type(obs.ledger.append(price=1, qty=1, symbol="X", side="buy"), botobs.FillReport)
    assert_type(obs.ledger.between("2026-01-02", None), Iterator[dict[str, Any]])
    assert_type(obs.ledger.latest(3), list[dict[str, Any]])
    assert_type(obs.ledger.verify().ok, bool)
    assert_type(obs.ledger.verify().problem, str | None)

    assert_type(obs.performance, Performance)
    assert_type(obs.performance.summary("7d", "bma"), Summary)
    assert_type(obs.performance.by_strategy(), dict[str, Summary])
    day = obs.performance.sessions("day")[-1]
    assert_type(day.session, Session | None)
    assert_type(day.expectancy, Decimal | None)
    assert_type(obs.performance.on_close(print), Callable[[], None])


def main() -> None:
    with botobs.start(
        "trend-bot",
        data_dir="data",
        starting_equity=10_000,
        equity_floor=9_000,
        prometheus_port=9464,
        keep_traces="tail",
    ) as obs:
        assert_type(obs, botobs.Observer)


def safety() -> None:
    obs = botobs.start(
        "bot", kill_switch=[EquityBelow(9_000), Drawdown(0.1, target="reduce_only"), When(lambda facts: False)],
        slack_bot_token="xoxb-1", slack_channel="#alerts", alert_cooldown="1h", alert_drawdown=0.05,
    )  # fmt: skip

    @obs.kill_switch.on_trip
    def flatten(trip: Trip) -> None:
        assert_type(trip.reason, str)
        assert_type(trip.drill, bool)

    @obs.kill_switch.on_trip(timeout=None)
    async def cancel(trip: Trip) -> None: ...

    obs.kill_switch.on_trip(flatten, timeout=None)
    obs.kill_switch.on_trip(flatten, "30s")

    @obs.kill_switch.keep_alive(every="15s")
    def postpone() -> int:
        return 60

    @obs.kill_switch.keep_alive
    async def postpone_later() -> None: ...

    assert_type(postpone(), int)
    assert_type(obs.kill_switch.keep_alive(postpone)(), int)
    obs.kill_switch.check(reduces=True)
    assert_type(obs.kill_switch.allows(), bool)
    assert_type(obs.kill_switch.state, str)
    assert_type(obs.kill_switch.reason, str | None)
    obs.alerts.send("warning", "Spread is wide", fields={"bps": 12}, key="spread")
    obs.alerts.resolve("spread")
    botobs.health(equity=Decimal(1), in_sync=True)
    botobs.heartbeat("book")
    botobs.watch("book", after=dt.timedelta(seconds=30), on_stale=lambda: None)
    botobs.feature_value("momentum", 0.0)
    botobs.feature_values({"momentum": 0.0}, ts=dt.datetime.now(dt.UTC))
    botobs.funding_rate("BTC-USD", Decimal("0.0001"))
    assert_type(obs.staleness.stale_features, dict[str, float])
    assert_type(obs.watchdogs.stale(), dict[str, float])
    try:
        obs.kill_switch.check()
    except botobs.TradingHalted as error:
        assert_type(error.since, str | None)
