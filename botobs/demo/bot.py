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
from botobs.demo.exchange import SYMBOLS, RejectedError
from botobs.demo.market import INSTRUMENTS

if TYPE_CHECKING:
    from botobs.demo.exchange import Exchange, Fill, Side
    from botobs.demo.market import Bar

__all__ = ["Bot"]

_WINDOW: Final = 64
_LOTS: Final = {each.symbol: each.lot for each in INSTRUMENTS}
_WIDEST_BPS: Final = 4.0  # the spread at which it does not trade
_MOST_BACKLOG: Final = 2  # bars it may be behind and still open positions
_ENTER_BPS, _EXIT_BPS = 2.6, 1.0


@attrs.frozen
class View:
    """What the model says."""

    pred_bps: float
    confidence: float
    source: str  # trend or reversion


@attrs.frozen
class Intent:
    """What the bot wants."""

    side: Side | None
    qty: Decimal
    why: str


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

    async def trade(self, symbol: str) -> None:
        """Turn once for each bar."""
        async for bar in self._exchange.subscribe(symbol):
            self._bars[symbol].append(bar)
            await self.on_bar(bar)

    async def keep_books(self) -> None:
        """Record the account, once a second."""
        account = self._exchange.account
        async for second in self._exchange.seconds():
            botobs.event(
                "account", second=second, cash=account.cash, fees=account.fees, inventory=dict(account.inventory),
                simulated_pnl=self._exchange.pnl,
            )  # fmt: skip

    async def on_bar(self, bar: Bar) -> None:
        """One turn: look, predict, decide, check, trade."""
        with botobs.tick(bar.symbol, bar_id=bar.id, bid=bar.bid, ask=bar.ask) as tick:
            x = features(self._bars[bar.symbol])
            view = await predict(x)
            held = self._exchange.account.inventory[bar.symbol]
            with botobs.decision():
                wanted = self._decide(bar.symbol, view, held)
            intent = within_limits(wanted, x, held, self._exchange.backlog(bar.symbol))
            tick.signal(
                features=x,
                model={"name": "two-factor", "pred_bps": view.pred_bps},
                decision={"side": intent.side, "qty": intent.qty, "why": intent.why},
                source=view.source,
                pred_bps=view.pred_bps,
                strength=round(math.tanh(view.pred_bps / 5), 4),
                confidence=view.confidence,
                mid=bar.mid,
            )
            if intent.side is not None:
                await self._order(bar, intent.side, intent.qty)

    def _decide(self, symbol: str, view: View, held: Decimal) -> Intent:
        lot, move = _LOTS[symbol], view.pred_bps
        if abs(move) >= _ENTER_BPS:
            target = lot if move > 0 else -lot
        elif abs(move) <= _EXIT_BPS or (move > 0) != (held > 0):
            target = Decimal(0)
        else:
            target = held
        change = target - held
        if not change:
            return Intent(None, Decimal(0), "as wanted")
        return Intent("buy" if change > 0 else "sell", abs(change), "enter" if target else "exit")

    async def _order(self, bar: Bar, side: Side, qty: Decimal) -> None:
        order_id = self._exchange.next_order_id()
        asked = {"order_id": order_id, "side": side, "qty": qty, "decision_mid": bar.mid}
        try:
            fill = await self._send(bar.symbol, side, qty, order_id)
        except RejectedError as refused:  # the next bar asks again, if it still wants to
            botobs.event("orders", **asked, status="rejected", code=refused.code, message=str(refused))
        else:
            botobs.event("orders", **asked, status="filled", price=fill.price, fee=fill.fee)

    @botobs.execution
    async def _send(self, symbol: str, side: Side, qty: Decimal, order_id: str) -> Fill:
        return await self._exchange.submit(symbol, side, qty, order_id)


def _ema(values: list[float], span: int) -> float:
    share, level = 2 / (span + 1), values[0]
    for value in values:
        level += share * (value - level)
    return level
