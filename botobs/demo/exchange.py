"""A simulated exchange: bars by subscription, orders that take time, cost a fee, and are refused now and then."""

from __future__ import annotations

import itertools
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Final, Literal

import attrs

from botobs.demo.market import INSTRUMENTS, Bar, Market
from botobs.demo.timeline import Queue

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from botobs.demo.timeline import Timeline

__all__ = ["BARS_PER_SECOND", "SYMBOLS", "Account", "Exchange", "Fill", "RejectedError", "Side"]

Side = Literal["buy", "sell"]

BARS_PER_SECOND: Final = 20
SYMBOLS: Final = tuple(instrument.symbol for instrument in INSTRUMENTS)
_FEE: Final = Decimal("0.0001")
_HISTORY: Final = 64
_REFUSED, _SLOW = 0.06, 0.04  # how often
_REASONS: Final = (
    ("RATE_LIMIT", "too many requests, try again later"),
    ("PRICE_MOVED", "the price moved out of the protection band"),
    ("MARGIN_CHECK", "the margin service did not answer in time"),
)


class RejectedError(Exception):
    """The exchange refuses an order."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


@attrs.frozen
class Fill:
    """What became of an order."""

    order_id: str
    symbol: str
    side: Side
    qty: Decimal
    price: Decimal
    fee: Decimal


class Account:
    """Money and inventory at the exchange, exact."""

    def __init__(self) -> None:
        self.cash = Decimal(0)
        self.fees = Decimal(0)
        self.orders = 0
        self.fills = 0
        self.rejects = 0
        self.inventory: dict[str, Decimal] = dict.fromkeys(SYMBOLS, Decimal(0))

    def book(self, fill: Fill) -> None:
        """Take a fill in."""
        signed = fill.qty if fill.side == "buy" else -fill.qty
        self.cash -= signed * fill.price + fill.fee
        self.fees += fill.fee
        self.inventory[fill.symbol] += signed
        self.fills += 1


class Exchange:
    """The exchange.

    Args:
        timeline: Its time.
        seconds: How long it is open.
        seed: The same seed gives the same prices, latencies and refusals.
    """

    def __init__(self, timeline: Timeline, seconds: float, seed: int) -> None:
        self.account = Account()
        self.bars = 0
        self._timeline = timeline
        self._seconds = seconds
        self._open = True
        self._markets = {each.symbol: Market(each, seed) for each in INSTRUMENTS}
        self._past = {symbol: [each.step() for _ in range(_HISTORY)] for symbol, each in self._markets.items()}
        self._top = {symbol: bars[-1] for symbol, bars in self._past.items()}
        self._feeds = {symbol: Queue[Bar](timeline) for symbol in SYMBOLS}
        self._clock = Queue[int](timeline)
        self._draws = {symbol: Random(f"{seed} {symbol} orders") for symbol in SYMBOLS}  # noqa: S311  # a game
        self._ids = itertools.count(1)
        every = 1 / BARS_PER_SECOND
        for place, symbol in enumerate(SYMBOLS):
            self._plan_bar(symbol, 0, every * place / len(SYMBOLS))
        self._plan_second(1)

    # -- what a bot sees ----------------------------------------------------------------------------------------------

    def history(self, symbol: str) -> list[Bar]:
        """The bars before the start."""
        return list(self._past[symbol])

    def subscribe(self, symbol: str) -> AsyncIterator[Bar]:
        """Bars as they come, until the exchange closes."""
        return aiter(self._feeds[symbol])

    def seconds(self) -> AsyncIterator[int]:
        """Each second, until the exchange closes."""
        return aiter(self._clock)

    def backlog(self, symbol: str) -> int:
        """Bars that have come and were not taken yet."""
        return len(self._feeds[symbol])

    async def submit(self, symbol: str, side: Side, qty: Decimal, order_id: str) -> Fill:
        """Trade at the market.

        Raises:
            RejectedError: The exchange will not.
        """
        draw = self._draws[symbol]
        slow, refused = draw.random() < _SLOW, draw.random() < _REFUSED
        await self._timeline.sleep(draw.uniform(0.08, 0.25) if slow else 0.002 + draw.expovariate(250))
        self.account.orders += 1
        if refused:
            self.account.rejects += 1
            raise RejectedError(*draw.choice(_REASONS))
        top = self._top[symbol]
        price = top.ask if side == "buy" else top.bid
        fill = Fill(order_id, symbol, side, qty, price, (qty * price * _FEE).quantize(Decimal("0.0001")))
        self.account.book(fill)
        return fill

    def next_order_id(self) -> str:
        """An id for an order."""
        return f"demo-{next(self._ids):05d}"

    # -- what its owner sees ------------------------------------------------------------------------------------------

    @property
    def pnl(self) -> Decimal:
        """Simulated profit, open positions at the middle of the book."""
        tops = self._top.items()
        open_value = sum((self.account.inventory[name] * (top.bid + top.ask) / 2 for name, top in tops), Decimal(0))
        return (self.account.cash + open_value).quantize(Decimal("0.01"))

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
            bar = self._top[symbol] = self._markets[symbol].step()
            self.bars += 1
            self._feeds[symbol].put(bar)
            self._plan_bar(symbol, number + 1, offset)

    def _plan_second(self, number: int) -> None:
        if number <= self._seconds:
            self._timeline.at(float(number), lambda: self._second(number))
        else:
            self._timeline.at(self._seconds, self._clock.close)

    def _second(self, number: int) -> None:
        if self._open:
            self._clock.put(number)
            self._plan_second(number + 1)

    def _shut(self) -> None:
        self._open = False
        for queue in self._feeds.values():
            self._timeline.at(0.0, queue.close)
        self._timeline.at(0.0, self._clock.close)
