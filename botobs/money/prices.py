"""Prices: of ticks, marks and bars. Each is a mark; on an open position it moves the equity curve."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

from botobs.accounting.entries import moment
from botobs.accounting.numbers import middle, number
from botobs.accounting.routes import known_name, name, shown
from botobs.events import BarClosed
from botobs.money.tail import Work

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from botobs.accounting.account import Account
    from botobs.accounting.sampling import CurveSampler
    from botobs.events import Event
    from botobs.faults import Faults
    from botobs.money.tail import Tail
    from botobs.trackers.trades import TradeTracker

__all__ = ["Prices"]

_MOST_TIMES = 20_000


class Seen(Work):
    """A price, on its way to the trades."""

    __slots__ = ("now", "price", "symbol", "trades", "ts", "venue")

    def __init__(  # noqa: PLR0917 - keywords would cost
        self, trades: TradeTracker, symbol: str, price: Decimal, ts: str | None, venue: str | None, now: int
    ) -> None:
        self.ready = True
        self.trades = trades
        self.symbol = symbol
        self.price = price
        self.ts = ts
        self.venue = venue
        self.now = now

    def run(self) -> None:
        """Tell them."""
        self.trades.price(self.symbol, self.price, self.ts, self.venue, now_ns=self.now)


class Prices:
    """Takes prices in.

    Args:
        account: Whose positions they value.
        trades: Whose excursions they are.
        tail: Has done what follows from a price.
        before: Called before a mark may change what the account is worth,
        sampler: unless this one says that there is no need.
        moved: Called when the account's worth has changed, on the caller's thread.
        faults: Counts what is no price.
        wall: Tells the time.
        publish: Tells the bus of a bar.

    Attributes:
        odd: How many prices could not be used.
    """

    def __init__(
        self,
        account: Account,
        trades: TradeTracker,
        *,
        before: Callable[[int], object],
        sampler: CurveSampler,
        moved: Callable[[int | None], object],
        tail: Tail,
        faults: Faults,
        wall: Callable[[], int],
        publish: Callable[[Event], object],
    ) -> None:
        self._account = account
        self._trades = trades
        self._before = before
        self._sampler = sampler
        self._moved = moved
        self._tail = tail
        self.unknown: Callable[[], object] | None = None  # what is held has no price now
        self.on_bar: Callable[[tuple[Any, ...], int], object] | None = None  # a bar was told, and when it came
        self.on_book: Callable[[Any, Any, Any, Any, Any], object] | None = None  # of an order book: no mark
        self._faults = faults
        self._wall = wall
        self._publish = publish
        self._told: dict[tuple[str | None, str], str] = {}  # when the exchange said the newest mark was
        self._lock = threading.RLock()  # a signal handler may report a price in the middle of another
        self.odd = 0

    def tick(self, symbol: Any, price: Any, bid: Any, ask: Any, venue: Any) -> None:
        """The price of a turn. Costs a microsecond while nothing is held; raises nothing into the turn."""
        if symbol is None:
            return
        if price is None and (bid is None or ask is None):
            return
        account = self._account
        try:
            if (
                type(price) is float
                and type(symbol) is str
                and (venue is None or type(venue) is str)
                and 0.0 < price < math.inf
            ):
                if account.valuation.holds(symbol) or self._trades.watches(symbol):
                    where = None if venue is None else known_name(venue)
                    self._take(known_name(symbol) or symbol, number(price), where, None)
                else:
                    account.marks.note(venue, symbol, price)  # read when it is needed
                return
            if (
                price is None
                and type(bid) is float
                and type(ask) is float
                and type(symbol) is str
                and (venue is None or type(venue) is str)
                and 0.0 < bid < math.inf
                and 0.0 < ask < math.inf
                and not account.valuation.holds(symbol)
                and not self._trades.watches(symbol)
            ):
                account.marks.note(venue, symbol, (bid, ask))  # their middle, exactly, when it is needed
                return
            self.mark(symbol, price, bid, ask, venue, None)
        except Exception as error:
            self._faults.error("mark", error)

    def mark(  # noqa: PLR0917 - as `tick`
        self, symbol: Any, price: Any, bid: Any, ask: Any, venue: Any, ts: Any
    ) -> None:
        """A mark. What is no price leaves the last good one in use."""
        named, where = name(symbol), None if venue is None else name(venue)
        found = _price(price, bid, ask)
        if named is None or found is None:
            self._unusable(f"mark of {shown(symbol)}: no price")
            if named is not None and self.unknown is not None and self._account.valuation.holds(named):
                self.unknown()
            return
        when = None if ts is None else self._time(ts)
        if when is not None and not self._newer(where, named, when):
            return
        self._take(named, found, where, when)

    def _take(self, symbol: str, price: Decimal, venue: str | None, when: str | None) -> None:
        now, trades = self._wall(), self._trades
        calm = self._sampler
        if not calm.since <= now < calm.until:
            self._before(now)
        moved = self._account.mark(symbol, price, venue, now)
        if moved or trades.watches(symbol):
            self._tail.put(Seen(trades, symbol, price, when, venue, now))
        if moved:
            self._moved(now)

    def bar(  # noqa: PLR0917 - a bar is said in this order
        self, symbol: Any, open_: Any, high: Any, low: Any, close: Any, volume: Any, ts: Any
    ) -> None:
        """A finished bar."""
        named = name(symbol)
        values = [_price(value, None, None) for value in (open_, high, low, close)]
        if named is None or None in values or not (values[2] <= values[1]):  # type: ignore[operator]
            self._unusable(f"bar of {shown(symbol)}: not four prices")
            return
        when = None if ts is None else self._time(ts)
        bar, now = (named, *values, volume, when), self._wall()
        self._tail.put(Work(self._barred, (bar, now)))
        if self.on_bar is not None:
            self.on_bar(bar, now)
        self.mark(named, close, None, None, None, ts)

    def _barred(self, bar: tuple[Any, ...], now: int) -> None:
        self._trades.bar(*bar, now_ns=now)
        symbol, opened, high, low, close, volume, when = bar
        said = BarClosed(
            ts_ns=now, symbol=symbol, bar_ts=when, open=opened, high=high, low=low, close=close, volume=volume
        )
        self._publish(said)

    def _time(self, ts: Any) -> str | None:
        """When the exchange made the mark; `None`: it said nothing that tells."""
        try:
            return moment("ts", ts)
        except ValueError as error:
            self._unusable(str(error))
            return None

    def _newer(self, venue: str | None, symbol: str, when: str) -> bool:
        """Whether the exchange made this mark after the newest one that it dated."""
        key = (venue, symbol)
        with self._lock:
            if when < self._told.get(key, ""):
                return False
            if key in self._told or len(self._told) < _MOST_TIMES:
                self._told[key] = when
        return True

    def abandon(self) -> None:
        """In a forked child: another thread may have held the lock."""
        self._lock = threading.RLock()

    def _unusable(self, message: str) -> None:
        self.odd += 1
        self._faults.say("mark", "no price", message)


def _price(price: Any, bid: Any, ask: Any) -> Decimal | None:
    """The price, else the middle of the quote; `None` if there is none."""
    try:
        found = number(price) if price is not None else middle(number(bid), number(ask))
    except Exception:
        return None
    return found if found > 0 else None
