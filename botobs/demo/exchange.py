"""A simulated exchange: bars by subscription, funding, and orders that take time, cost fees, are filled in parts and
refused now and then.
"""  # noqa: D205 - the list is the summary

from __future__ import annotations

import itertools
import time
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs

from botobs.demo.market import INSTRUMENTS, Bar, Market
from botobs.demo.statement import Fill, Payment, Side, Statement
from botobs.demo.timeline import Queue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from botobs.demo.timeline import Timeline

__all__ = ["BARS_PER_SECOND", "DEPOSIT", "SYMBOLS", "Exchange", "Order", "RejectedError"]

BARS_PER_SECOND: Final = 20
SYMBOLS: Final = tuple(instrument.symbol for instrument in INSTRUMENTS)
DEPOSIT: Final = Decimal(10_000)
_FEES: Final = {"maker": Decimal("-0.00005"), "taker": Decimal("0.00015")}
_CENTS: Final = Decimal("0.00000001")
_FUNDING_S: Final = 2  # what takes hours elsewhere
_HISTORY: Final = 64
_REFUSED, _SLOW, _MET = 0.06, 0.04, 0.4  # how often
_REASONS: Final = (
    ("RATE_LIMIT", "too many requests, try again later"),
    ("PRICE_MOVED", "the price moved out of the protection band"),
    ("MARGIN_CHECK", "the margin service did not answer in time"),
)


class RejectedError(Exception):
    """The exchange refuses an order."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@attrs.frozen(kw_only=True)
class Order:
    """What a bot asks for.

    Attributes:
        limit_px: The worst price that will do; what cannot be had at it is not filled. `None`: any.
    """

    id: str
    symbol: str
    side: Side
    qty: Decimal
    limit_px: Decimal | None = None


class Exchange:
    """The exchange.

    Args:
        timeline: Its time.
        seconds: How long it is open.
        seed: The same seed gives the same prices, latencies and refusals.
        folder: Where it keeps its books; what they have from before goes on. `None`: nowhere.
        session: What ids of orders begin with.
    """

    def __init__(
        self, timeline: Timeline, seconds: float, seed: int, *, folder: Path | None = None, session: str = "demo"
    ) -> None:
        self.statement = Statement(folder, DEPOSIT)
        self.bars = 0
        self._opened_ms: int | None = None
        self._session = session
        self._timeline = timeline
        self._seconds = seconds
        self._open = True
        self._markets = {each.symbol: Market(each, seed) for each in INSTRUMENTS}
        self._past = {symbol: [each.step() for _ in range(_HISTORY)] for symbol, each in self._markets.items()}
        self._top = {symbol: bars[-1] for symbol, bars in self._past.items()}
        self._feeds = {symbol: Queue[Bar](timeline) for symbol in SYMBOLS}
        self._payments = Queue[Payment](timeline)
        self._rates = Random(f"{seed} funding")  # noqa: S311  # a game
        self._draws = {symbol: Random(f"{seed} {symbol} orders") for symbol in SYMBOLS}  # noqa: S311  # a game
        self._ids = itertools.count(1)
        every = 1 / BARS_PER_SECOND
        for place, symbol in enumerate(SYMBOLS):
            self._plan_bar(symbol, 0, every * place / len(SYMBOLS))
        self._plan_funding(_FUNDING_S)

    # -- what a bot sees ----------------------------------------------------------------------------------------------

    def history(self, symbol: str) -> list[Bar]:
        """The bars before the start."""
        past, now = self._past[symbol], self._now_ms()
        return [attrs.evolve(bar, ts=now - 1000 * back // BARS_PER_SECOND) for back, bar in _backwards(past)]

    def subscribe(self, symbol: str) -> AsyncIterator[Bar]:
        """Bars as they come, until the exchange closes."""
        return aiter(self._feeds[symbol])

    def funding(self) -> AsyncIterator[Payment]:
        """Funding payments, until the exchange closes."""
        return aiter(self._payments)

    def position(self, symbol: str) -> Decimal:
        """What is held, signed."""
        return self.statement.held(symbol)

    def quote(self, symbol: str) -> Bar:
        """The newest bar, whether it was taken or not: as a book feed would have it."""
        return self._top[symbol]

    def backlog(self, symbol: str) -> int:
        """Bars that have come and were not taken yet."""
        return len(self._feeds[symbol])

    async def submit(self, order: Order) -> list[Fill]:
        """Execute what can be had at once; the rest of a limit order is withdrawn.

        Raises:
            RejectedError: The exchange will not.
        """
        draw = self._draws[order.symbol]
        slow, refused = draw.random() < _SLOW, draw.random() < _REFUSED
        await self._timeline.sleep(draw.uniform(0.08, 0.25) if slow else 0.002 + draw.expovariate(250))
        if refused:
            raise RejectedError(*draw.choice(_REASONS))
        fills = []
        parts = _parts(order.qty, draw)
        for deep, part in enumerate(parts):
            # it waits a moment at its own side of the book, and now and then somebody comes
            maker = order.limit_px is not None and draw.random() < _MET
            price = self._price(order, deep, maker=maker)
            if order.limit_px is None or (price <= order.limit_px if order.side == "buy" else price >= order.limit_px):
                fills.append(self._trade(order, part, price, maker=maker))
                await self._timeline.sleep(0.001)
        return fills

    def next_order_id(self) -> str:
        """An id for an order."""
        return f"{self._session}-{next(self._ids):05d}"

    # -- what its owner sees ------------------------------------------------------------------------------------------

    def totals(self) -> dict[str, Any]:
        """The statement's sums, open positions at the middle of the book."""
        return self.statement.totals({symbol: top.mid for symbol, top in self._top.items()})

    def close(self) -> None:
        """Close early: no more bars; orders under way are answered at once."""
        if self._open:
            self._timeline.at(0.0, self._shut)
            self._timeline.hurry()

    # -- what happens -------------------------------------------------------------------------------------------------

    def _plan_bar(self, symbol: str, number: int, offset: float) -> None:
        when = number / BARS_PER_SECOND + offset
        if number < round(self._seconds * BARS_PER_SECOND):
            self._timeline.at(when, lambda: self._bar(symbol, number, offset))
        else:
            self._timeline.at(when, self._feeds[symbol].close)

    def _bar(self, symbol: str, number: int, offset: float) -> None:
        if self._open:
            bar = self._top[symbol] = attrs.evolve(self._markets[symbol].step(), ts=self._now_ms())
            self.bars += 1
            self._feeds[symbol].put(bar)
            self._plan_bar(symbol, number + 1, offset)

    def _plan_funding(self, second: int) -> None:
        if second <= self._seconds:
            self._timeline.at(float(second), lambda: self._fund(second))
        else:
            self._timeline.at(self._seconds, self._payments.close)

    def _fund(self, second: int) -> None:
        """Longs pay shorts, or the other way round."""
        if not self._open:
            return
        for symbol in SYMBOLS:
            rate = Decimal(self._rates.randint(-10, 30)).scaleb(-6)
            worth = self.position(symbol) * self._top[symbol].mid
            if worth and rate:
                number = f"funding-{len(self.statement.payments) + 1}"
                amount = -(worth * rate).quantize(_CENTS)
                payment = Payment(id=number, symbol=symbol, amount=amount, rate=rate, ts=self._now_ms())
                self.statement.pay(payment)
                self._payments.put(payment)
        self._plan_funding(second + _FUNDING_S)

    def _price(self, order: Order, deep: int, *, maker: bool) -> Decimal:
        """At the touch; each further part of an order that takes is a tick deeper in the book."""
        top = self._top[order.symbol]
        if maker:
            return top.bid if order.side == "buy" else top.ask
        further = deep * self._markets[order.symbol].instrument.tick
        return top.ask + further if order.side == "buy" else top.bid - further

    def _trade(self, order: Order, qty: Decimal, price: Decimal, *, maker: bool) -> Fill:
        role: Literal["maker", "taker"] = "maker" if maker else "taker"
        fill = Fill(
            id=str(len(self.statement.fills) + 1), order_id=order.id, symbol=order.symbol, side=order.side, qty=qty,
            price=price, role=role, fee=(qty * price * _FEES[role]).quantize(_CENTS), ts=self._now_ms(),
        )  # fmt: skip
        self.statement.book(fill)
        return fill

    def _now_ms(self) -> int:
        if self._opened_ms is None:
            self._opened_ms = time.time_ns() // 1_000_000 - round(self._timeline.now * 1000)
        return self._opened_ms + round(self._timeline.now * 1000)

    def _shut(self) -> None:
        self._open = False
        for queue in self._feeds.values():
            self._timeline.at(0.0, queue.close)
        self._timeline.at(0.0, self._payments.close)


def _backwards(bars: list[Bar]) -> Iterator[tuple[int, Bar]]:
    """Bars in their order, each with how many bars before the start it was."""
    return zip(range(len(bars), 0, -1), bars, strict=True)


def _parts(qty: Decimal, draw: Random) -> list[Decimal]:
    """A quantity as it is met: at once, or in up to three parts."""
    count = draw.choice((1, 1, 2, 3))
    part = (qty / count).quantize(qty)
    return [part] * (count - 1) + [qty - part * (count - 1)]
