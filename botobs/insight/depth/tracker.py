"""The book of each market as the bot told it last: recorded now and then, and held against each order."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, ClassVar, Final

import attrs

from botobs.accounting.entries import moment
from botobs.accounting.instruments import Instrument
from botobs.accounting.numbers import number
from botobs.accounting.routes import known_name, name, shown
from botobs.accounting.sides import side as side_of
from botobs.clock import SystemClock, rfc3339
from botobs.events.depth import BookAtDecision, BookSeen
from botobs.insight.depth.book import Book, book_of
from botobs.insight.depth.impact import Impact, estimate
from botobs.insight.depth.levels import Taken, read, take
from botobs.insight.part import Part
from botobs.insight.terms import OrderBookTerms
from botobs.money.tail import Tail, Work
from botobs.stages.tick import INERT
from botobs.stages.verbs import current_tick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from botobs.events.base import Event
    from botobs.events.money import OrderAnnounced
    from botobs.faults import Faults
    from botobs.sinks.metrics.readings import Said
    from botobs.stages.tick import Tick

__all__ = ["Depth"]

_S: Final = 1_000_000_000
_MOST: Final = 2_000  # markets
_MOST_ORDERS: Final = 20_000
_GONE_NS: Final = 60 * _S  # a market that nothing was heard of for so long makes room, and is in no metric
_LEAST, _FARTHEST = 1e-100, 1e100


class _Held:
    """A book as it was told: read when somebody wants it."""

    __slots__ = ("at", "book", "market", "raw", "tick", "ts", "wall")

    def __init__(self, market: _Market, raw: tuple[Taken, Taken], ts: Any, at: int, tick: Tick) -> None:
        self.market = market
        self.raw: tuple[Taken, Taken] | None = raw
        self.ts = ts
        self.at = at  # steady
        self.wall: int | None = None  # since 1970; most are asked by nobody
        self.tick = tick
        self.book: Book | None = None


class _Market:
    """What is known of one symbol at one venue."""

    __slots__ = ("mixed", "newest", "seen", "symbol", "told", "venue")

    def __init__(self, venue: str | None, symbol: str) -> None:
        self.venue = venue
        self.symbol = symbol
        self.newest: _Held | None = None
        self.seen: _Held | None = None  # the newest that was read for a record
        self.told: int | None = None  # when the last record was made, steady
        self.mixed = False  # its levels come in no order


class Depth(Part):
    """Order books as the bot sees them, and what they would make an order pay; usable on its own.

    Safe to use from many threads, and takes no lock.

    Args:
        terms: How often, how many levels, how far.
        publish: Gets `BookSeen` and `BookAtDecision`.
        faults: Where books that are none are counted.
        instrument: Tells how a symbol of a venue settles; default: linear, multiplier 1.
        now: Steady nanoseconds.
        wall: Nanoseconds since 1970.
        tail: Has done what is not done on the bot's time; default: it is done at once.

    Attributes:
        odd: How many books, or levels of those that were read, were none.
        left_out: How often a book came of a market that is one too many.

    Example:
        >>> depth = Depth()
        >>> depth.book("BTC-USD", bids=[["99.5", "2"], ["99", "9"]], asks=[["100.5", "1"], ["101.5", "4"]])
        >>> found = depth.last("BTC-USD")
        >>> found.mid, found.spread_bps, found.bids[0]
        (100.0, 100.0, (99.5, 2.0))
        >>> depth.impact("BTC-USD", "buy", 2).impact_bps
        50.0
    """

    names: ClassVar[tuple[str, ...]] = ("bot_book_spread_bps", "bot_book_imbalance")

    def __init__(
        self,
        terms: OrderBookTerms | None = None,
        *,
        publish: Callable[[Event], object] | None = None,
        faults: Faults | None = None,
        instrument: Callable[[str | None, str], Instrument] | None = None,
        now: Callable[[], int] | None = None,
        wall: Callable[[], int] | None = None,
        tail: Tail | None = None,
    ) -> None:
        if faults is None:
            from botobs.faults import Faults as Made  # noqa: PLC0415 - only where it stands alone

            faults = Made()
        self._terms = terms or OrderBookTerms()
        self._every_ns, self._fresh_ns = round(self._terms.every * _S), round(self._terms.fresh * _S)
        self._publish = publish
        self._faults = faults
        self._instrument = instrument or (lambda _venue, symbol: Instrument(symbol))
        self._now = now or SystemClock().perf_ns
        self._wall = wall or SystemClock().time_ns
        self._tail = Tail(faults, inline=True) if tail is None else tail  # one that is empty is false
        self._markets: dict[tuple[str | None, str], _Market] = {}
        self._latest: dict[str, _Market] = {}  # of a symbol, at whatever venue
        self._orders: OrderedDict[str, float | None] = OrderedDict()
        self._swept: int | None = None
        self.odd = 0
        self.left_out = 0

    # -- what happens ------------------------------------------------------------------------------------------------

    def book(self, symbol: Any, bids: Any, asks: Any, ts: Any = None, venue: Any = None) -> None:
        """The levels that the bot sees. Costs a microsecond, and a thirtieth for each level that is taken."""
        named = known_name(symbol) if type(symbol) is str else name(symbol)
        where = None if venue is None else known_name(venue) if type(venue) is str else name(venue)
        if named is None:
            self._unusable("symbol", "a book names no symbol")
            return
        market = self._markets.get((where, named))
        if market is None:
            market = self._begun(where, named)
            if market is None:
                return
        terms, mixed = self._terms, market.mixed
        try:
            raw = take(bids, terms.keep, highest=True, mixed=mixed), take(asks, terms.keep, highest=False, mixed=mixed)
        except Exception as error:  # whatever the bot has there
            self._unusable("levels", f"book of {shown(named)}: {type(error).__name__}; it takes [[price, size], ...]")
            return
        now = self._now()
        market.newest = held = _Held(market, raw, ts, now, current_tick())
        self._latest[named] = market
        told = market.told
        if told is None or not 0 <= now - told < self._every_ns:
            market.told = now
            held.wall = self._wall()
            self._tail.put(Work(self._record, (held,)))

    def order(self, event: OrderAnnounced) -> None:
        """An order was announced: hold it against the book that it was decided on, if that is new enough."""
        market = None if event.symbol is None else self._find(event.venue, event.symbol)
        held = None if market is None else market.newest
        if market is None or held is None:
            return
        now = self._now()
        age = now - held.at
        if age > self._fresh_ns and not self._same_turn(held):
            return
        market.told = now  # its record is the market's, too
        self._tail.put(Work(self._decided, (event, held, max(age, 0))))

    def impact_of(self, order_id: str | None, role: str | None = None) -> float | None:
        """What was estimated when the order was announced; nothing for a fill that had rested in the book.

        Called in the background only, as what estimates is.
        """
        if order_id is None or order_id not in self._orders:
            return None
        return 0.0 if role == "maker" else self._orders[order_id]

    # -- what is asked -----------------------------------------------------------------------------------------------

    def last(self, symbol: Any, venue: Any = None) -> Book | None:
        """The newest book of a market; `None`: there was none. Without a venue, of whichever was told last."""
        held = self._held(symbol, venue)
        return None if held is None else self._read(held)

    def impact(
        self,
        symbol: Any,
        side: Any,
        qty: Any,
        *,
        limit_px: Any = None,
        order_type: str | None = None,
        venue: Any = None,
    ) -> Impact:
        """What an order would pay now, by the newest book, unless that is too old.

        Args:
            symbol: What.
            side: `buy` or `sell`, however it is spelt.
            qty: How much, in the unit of the book's sizes.
            limit_px: Its limit.
            order_type: `market`, `limit`, …
            venue: Where.

        Example:
            >>> Depth().impact("BTC-USD", "buy", 1).reason
            'no book of it was told'
        """
        held = self._held(symbol, venue)
        spelt, size, limit = _side(side), _size(qty), None if limit_px is None else _size(limit_px)
        if held is None:
            return Impact(symbol=name(symbol), side=spelt, qty=size, reason="no book of it was told")
        age = max(self._now() - held.at, 0)
        if age > self._fresh_ns and not self._same_turn(held):
            return Impact(
                symbol=held.market.symbol, side=spelt, qty=size, age_s=age / _S,
                reason=f"the book is {age / _S:.3g} s old",
            )  # fmt: skip
        kind = order_type if type(order_type) is str else None if limit_px is None else "limit"
        return estimate(self._read(held), spelt, size, limit, kind, age / _S)

    def measured(self) -> Iterator[Said]:
        """Spread and imbalance of each symbol, by its last record."""
        now = self._now()
        for symbol, market in list(self._latest.items()):
            seen = market.seen
            book = None if seen is None or now - seen.at > _GONE_NS else seen.book
            if book is not None:
                yield "bot_book_spread_bps", book.spread_bps, (symbol,)
                yield "bot_book_imbalance", book.imbalance, (symbol,)

    def abandon(self) -> None:
        """In a forked child: what waits is the parent's."""
        self._tail.abandon()

    # -- how ---------------------------------------------------------------------------------------------------------

    def _begun(self, venue: str | None, symbol: str) -> _Market | None:
        """A market that is new; `None`: there are too many."""
        if len(self._markets) >= _MOST:
            self._sweep()
            if len(self._markets) >= _MOST:
                self.left_out += 1
                self._faults.say("book", "too many", f"only the books of {_MOST} markets are known at a time")
                return None
        return self._markets.setdefault((venue, symbol), _Market(venue, symbol))

    def _sweep(self) -> None:
        """Forget markets that nothing was heard of for long; it is not tried more often than once a second."""
        now = self._now()
        if self._swept is not None and 0 <= now - self._swept < _S:
            return
        self._swept = now
        for key, market in list(self._markets.items()):
            if market.newest is None or now - market.newest.at > _GONE_NS:
                self._markets.pop(key, None)
                if self._latest.get(market.symbol) is market:
                    self._latest.pop(market.symbol, None)

    def _find(self, venue: str | None, symbol: str) -> _Market | None:
        """The market of an order: at its venue, or where the bot names none."""
        if venue is None:
            return self._latest.get(symbol)
        return self._markets.get((venue, symbol)) or self._markets.get((None, symbol))

    def _held(self, symbol: Any, venue: Any) -> _Held | None:
        named = name(symbol)
        market = None if named is None else self._find(name(venue), named)
        return None if market is None else market.newest

    def _same_turn(self, held: _Held) -> bool:
        """Whether the bot's loop has not turned since: then it is what the bot decides on, however long it takes."""
        return held.tick is not INERT and held.tick is current_tick()

    def _read(self, held: _Held) -> Book:
        """The book, read once; by two threads at a time to the same effect."""
        raw = held.raw
        if raw is None:
            assert held.book is not None
            return held.book
        market = held.market
        bids, asks = read(raw[0], highest=True), read(raw[1], highest=False)
        odd = bids.odd + asks.odd
        if odd:
            self.odd += odd
            self._faults.say("book", "levels", f"book of {market.symbol}: {odd} levels are no price and size")
        if bids.mixed or asks.mixed:
            market.mixed = True
        if held.wall is None:
            held.wall = self._wall() - max(self._now() - held.at, 0)
        found = book_of(
            market.symbol, market.venue, rfc3339(held.wall), self._time(held.ts), bids, asks, self._terms,
            self._instrument(market.venue, market.symbol),
        )  # fmt: skip
        held.book = found
        held.raw = None
        return found

    def _unusable(self, cause: str, message: str) -> None:
        self.odd += 1
        self._faults.say("book", cause, message)

    def _time(self, ts: Any) -> str | None:
        """When the exchange made it; `None`: it said nothing that tells."""
        if ts is None:
            return None
        try:
            return moment("ts", ts)
        except Exception:  # whatever the bot has there
            self._unusable("ts", f"a book's ts is no time: {shown(ts)}")
            return None

    def _record(self, held: _Held) -> None:
        book = self._seen(held)
        if self._publish is not None:
            self._publish(BookSeen(ts_ns=held.wall or 0, symbol=book.symbol, **self._figures(book, book.reasons)))

    def _decided(self, event: OrderAnnounced, held: _Held, age: int) -> None:
        book = self._seen(held)
        limit = None if event.limit_px is None else _size(event.limit_px)
        found = estimate(book, event.side, _size(event.qty), limit, event.order_type, age / _S)
        order_id, orders = event.order_id or "", self._orders
        orders[order_id] = found.impact_bps
        orders.move_to_end(order_id)
        if len(orders) > _MOST_ORDERS:
            orders.popitem(last=False)
        if self._publish is None:
            return
        reasons = book.reasons if found.reason is None else {**book.reasons, "impact_bps": found.reason}
        self._publish(
            BookAtDecision(
                ts_ns=event.ts_ns, symbol=event.symbol, bar_id=event.bar_id, trace_id=event.trace_id,
                order_id=order_id, side=event.side, qty=event.qty, limit_px=event.limit_px,
                order_type=event.order_type, age_ms=round(age / 1e6, 3), impact_bps=_short(found.impact_bps),
                cost_bps=_short(found.cost_bps), average_px=_short(found.average), reached=found.levels,
                fillable=_short(found.fillable), **self._figures(book, reasons),
            )
        )  # fmt: skip

    def _seen(self, held: _Held) -> Book:
        book = self._read(held)
        held.market.seen = held
        return book

    def _figures(self, book: Book, reasons: Any) -> dict[str, Any]:
        """A book as its record has it: the best few levels, and what follows in ten digits."""
        n = self._terms.levels
        told: dict[str, Any] = {}
        for field in _FIGURES:
            value = getattr(book, field)
            told[field] = _short(value) if type(value) is float else value
        for field in _LISTS:
            told[field] = tuple([_short(value) for value in getattr(book, field)])
        return told | {"bids": book.bids[:n], "asks": book.asks[:n], "reasons": reasons or None}


_LISTS: Final = ("bid_depth", "ask_depth", "bid_value", "ask_value")
_FIGURES: Final = tuple(
    field.name
    for field in attrs.fields(BookSeen)
    if field.name not in {*_LISTS, "ts_ns", "symbol", "bar_id", "trace_id", "bids", "asks", "reasons"}
)


def _short(value: float | None) -> float | None:
    """Ten digits: what is beyond comes of binary fractions."""
    return None if value is None else float(f"{value:.10g}")


def _size(value: Any) -> float | None:
    """A quantity or a limit, as a number; `None`: it is none."""
    if value is None:
        return None
    try:
        found = float(number(value))
    except Exception:  # whatever the bot has there
        return None
    return found if _LEAST <= found <= _FARTHEST else None


def _side(value: Any) -> str | None:
    try:
        return side_of(value)
    except ValueError:
        return None
