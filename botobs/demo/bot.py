"""The demo's bot: a task per symbol, features, a small model, limits, orders; observed as any bot would be.

Nothing here knows the observer: the module-level verbs find the one that runs.
"""

from __future__ import annotations

import math
from collections import deque
from decimal import Decimal
from itertools import pairwise
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Final

import attrs

import botobs
from botobs.demo.exchange import SYMBOLS, Order, RejectedError
from botobs.demo.market import INSTRUMENTS

if TYPE_CHECKING:
    from botobs.demo.exchange import Exchange
    from botobs.demo.market import Bar
    from botobs.demo.statement import Fill, Payment, Side

__all__ = ["Bot"]

_WINDOW: Final = 64
_LOTS: Final = {each.symbol: each.lot for each in INSTRUMENTS}
_TICKS: Final = {each.symbol: each.tick for each in INSTRUMENTS}
_ATTEMPTS: Final = 2
_STOP_BPS, _TARGET_BPS = 15, 30
_WIDEST_BPS: Final = 4.0  # the spread at which it does not trade
_MOST_BACKLOG: Final = 2  # bars it may be behind and still open positions
_ENTER_BPS, _EXIT_BPS = 3.0, 0.5


@attrs.frozen
class View:
    """What the model says."""

    pred_bps: float
    confidence: float
    source: str  # trend or reversion

    @property
    def strength(self) -> float:
        """How strong the signal is, from -1 to 1."""
        return round(math.tanh(self.pred_bps / 5), 4)


@attrs.frozen
class Intent:
    """What the bot wants."""

    side: Side | None
    qty: Decimal
    why: str


@attrs.frozen
class Goal:
    """Where an open position ends."""

    stop_px: Decimal
    target_px: Decimal

    @classmethod
    def of(cls, bar: Bar, side: Side) -> Goal:
        """For a position that is opened now."""
        way = bar.mid / 10_000 * (1 if side == "buy" else -1)
        tick = _TICKS[bar.symbol]
        return cls(_on_tick(bar.mid - _STOP_BPS * way, tick), _on_tick(bar.mid + _TARGET_BPS * way, tick))


@botobs.feature
def features(bars: deque[Bar]) -> dict[str, float]:
    """What the model sees."""
    closes = [bar.close for bar in bars]
    moves = [(b / a - 1) * 1e4 for a, b in pairwise(closes)]
    last, volatility = bars[-1], pstdev(moves[-20:]) or 1e-9
    mean = fmean(closes[-20:])
    ups = fmean(max(move, 0.0) for move in moves[-14:])
    downs = fmean(max(-move, 0.0) for move in moves[-14:])
    found = {
        "ret_1_bps": moves[-1],
        "ret_5_bps": sum(moves[-5:]),
        "ret_20_bps": sum(moves[-20:]),
        "trend": (_ema(closes, 8) / _ema(closes, 32) - 1) * 1e4 / volatility,
        "zscore": (closes[-1] - mean) / (pstdev(closes[-20:]) or 1e-9),
        "volatility_bps": volatility,
        "range_bps": (last.high - last.low) / last.close * 1e4,
        "rsi": 100 * ups / (ups + downs or 1e-9),
        "imbalance": (last.bid_qty - last.ask_qty) / (last.bid_qty + last.ask_qty),
        "spread_bps": last.spread_bps,
        "volume_ratio": last.volume / fmean(bar.volume for bar in bars),
    }
    return {name: round(value, 4) for name, value in found.items()}


@botobs.model("two-factor")
async def predict(x: dict[str, float]) -> View:
    """The move to come: with the trend where there is one, else back to the mean; the book breaks the tie."""
    trending = abs(x["trend"]) > 1.2
    push = x["trend"] * 0.6 if trending else -0.8 * x["zscore"]
    move = push + 2.2 * x["imbalance"]
    sure = 1 / (1 + math.exp(-abs(move) / (1 + x["volatility_bps"] / 10)))
    return View(round(move, 3), round(sure, 4), "trend" if trending else "reversion")


@botobs.risk
def within_limits(intent: Intent, x: dict[str, float], held: Decimal, backlog: int) -> Intent:
    """What of it the limits allow."""
    if intent.side is None:
        return intent
    reduces = (held > 0) == (intent.side == "sell") and held != 0
    if x["spread_bps"] > _WIDEST_BPS and not reduces:
        return Intent(None, Decimal(0), "spread too wide")
    if backlog > _MOST_BACKLOG and not reduces:
        return Intent(None, Decimal(0), "behind the market")
    return intent


class Bot:
    """Trades two symbols, each on a task of its own.

    Args:
        exchange: Where.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._bars = {symbol: deque(exchange.history(symbol), maxlen=_WINDOW) for symbol in SYMBOLS}
        self._goals: dict[str, Goal] = {}

    def catch_up(self) -> None:
        """At the start: report what the exchange has. What had been reported before is not booked twice."""
        for fill in self._exchange.statement.fills:
            botobs.fill(
                fill.order_id, symbol=fill.symbol, side=fill.side, price=fill.price, qty=fill.qty, fee=fill.fee,
                role=fill.role, fill_id=fill.id, ts=fill.ts,
            )  # fmt: skip
        for payment in self._exchange.statement.payments:
            _report(payment)
        for symbol in SYMBOLS:
            if not self._exchange.position(symbol):  # ranges need bars; but old prices are none of an open position's
                for bar in self._bars[symbol]:
                    _report_bar(bar)

    async def trade(self, symbol: str) -> None:
        """Turn once for each bar."""
        async for bar in self._exchange.subscribe(symbol):
            self._bars[symbol].append(bar)
            _report_bar(bar)
            botobs.heartbeat(f"bars:{symbol}")
            await self.on_bar(bar)

    async def take_funding(self) -> None:
        """Report funding as it comes."""
        async for payment in self._exchange.funding():
            _report(payment)
            botobs.funding_rate(payment.symbol, payment.rate)

    async def on_bar(self, bar: Bar) -> None:
        """One turn: look, predict, decide, check, trade."""
        with botobs.tick(bar.symbol, bar_id=bar.id) as tick:
            # a tick takes prices too; a mark also says when the exchange made it, however late it got here
            botobs.mark(bar.symbol, bid=bar.bid, ask=bar.ask, ts=bar.ts)
            botobs.book(bar.symbol, [(bar.bid, bar.bid_qty)], [(bar.ask, bar.ask_qty)], ts=bar.ts)
            x = features(self._bars[bar.symbol])
            view = await predict(x)
            held = self._exchange.position(bar.symbol)
            with botobs.decision():
                wanted = self._decide(bar, view, held)
            intent = within_limits(wanted, x, held, self._exchange.backlog(bar.symbol))
            tick.signal(
                features=x,
                model={"name": "two-factor", "pred_bps": view.pred_bps},
                decision={"side": intent.side, "qty": intent.qty, "why": intent.why},
                source=view.source,
                pred_bps=view.pred_bps,
                strength=view.strength,
                confidence=view.confidence,
                candidates={"trend": x["trend"], "reversion": -x["zscore"]},
                mid=bar.mid,
            )
            if intent.side is not None:
                await self._order(bar, view, held, intent)

    def _decide(self, bar: Bar, view: View, held: Decimal) -> Intent:
        lot, move = _LOTS[bar.symbol], view.pred_bps
        why = self._over(bar, held)
        if why is not None:
            target = Decimal(0)
        elif abs(move) >= _ENTER_BPS:
            target, why = (lot if move > 0 else -lot), "signal_flip" if held else "entry"
        elif abs(move) <= _EXIT_BPS or (move > 0) != (held > 0):
            target, why = Decimal(0), "signal_exit"
        else:
            target = held
        change = target - held
        if not change or why is None:
            return Intent(None, Decimal(0), "as wanted")
        return Intent("buy" if change > 0 else "sell", abs(change), why)

    def _over(self, bar: Bar, held: Decimal) -> str | None:
        """Why a position has to be closed, whatever the model says."""
        goal = self._goals.get(bar.symbol)
        if not held or goal is None:
            return None
        way = 1 if held > 0 else -1
        if way * (bar.mid - goal.stop_px) <= 0:
            return "stop_loss"
        return "take_profit" if way * (bar.mid - goal.target_px) >= 0 else None

    async def _order(self, bar: Bar, view: View, held: Decimal, intent: Intent) -> None:
        """Report the order, send it, and report what came of it."""
        side, reduces = intent.side, intent.qty <= abs(held) and (held > 0) == (intent.side == "sell")
        assert side is not None
        goal = limit_px = None
        if not reduces:  # no hurry: a little beyond the touch, and no further
            goal = self._goals[bar.symbol] = Goal.of(bar, side)
            limit_px = bar.ask + 2 * _TICKS[bar.symbol] if side == "buy" else bar.bid - 2 * _TICKS[bar.symbol]
        order = Order(
            id=self._exchange.next_order_id(), symbol=bar.symbol, side=side, qty=intent.qty, limit_px=limit_px
        )
        botobs.order(
            bar.symbol, side, intent.qty, decision_px=bar.mid, order_id=order.id,
            order_type="market" if limit_px is None else "limit", limit_px=limit_px, strategy=view.source,
            source="two-factor", pred_bps=view.pred_bps, strength=view.strength, reason=intent.why,
            stop_px=goal and goal.stop_px, target_px=goal and goal.target_px, reduces=reduces,
        )  # fmt: skip
        for fill in await self._sent(bar, order):
            await botobs.afill(
                order.id, price=fill.price, qty=fill.qty, fee=fill.fee, role=fill.role, fill_id=fill.id, ts=fill.ts
            )

    async def _sent(self, bar: Bar, order: Order) -> list[Fill]:
        """Send an order, a second time if it was refused; its fills."""
        for attempt in range(1, _ATTEMPTS + 1):
            botobs.sent(order.id, px=self._exchange.quote(order.symbol).mid)
            try:
                fills = await self._send(order)
            except RejectedError as refused:
                market = {"bid": bar.bid, "ask": bar.ask, "spread_bps": bar.spread_bps, "volume": bar.volume}
                botobs.reject(
                    order.id, refused.code, str(refused), attempt=attempt, max_retries=_ATTEMPTS, market=market,
                    error=refused,
                )  # fmt: skip
            else:
                if sum(fill.qty for fill in fills) < order.qty:
                    botobs.cancel(order.id, "the rest could not be had within the limit")
                return fills
        return []  # the next bar asks again, if it still wants to

    @botobs.execution
    async def _send(self, order: Order) -> list[Fill]:
        return await self._exchange.submit(order)


def _report_bar(bar: Bar) -> None:
    botobs.bar(bar.symbol, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.ts)


def _report(payment: Payment) -> None:
    botobs.funding(
        payment.symbol, payment.amount, rate=payment.rate, ts=payment.ts, funding_id=payment.id
    )  # fmt: skip


def _on_tick(price: Decimal, tick: Decimal) -> Decimal:
    return (price / tick).to_integral_value() * tick


def _ema(values: list[float], span: int) -> float:
    share, level = 2 / (span + 1), values[0]
    for value in values:
        level += share * (value - level)
    return level
