"""The trades of every position, as fills open, close and rewrite them."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from botobs.accounting.numbers import EXACT
from botobs.clock import epoch_ns
from botobs.events.money import TradeClosed, TradeOpened
from botobs.trackers.excursions import Excursion
from botobs.trackers.held import size
from botobs.trackers.life import HAND, Life, Place
from botobs.trackers.lifecycle import lifecycle
from botobs.trackers.rewriting import pool, rewritten

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botobs.accounting.trade import Change, RoundTrip
    from botobs.events.base import Event
    from botobs.trackers.bars import Bars
    from botobs.trackers.life import Note

__all__ = ["Followed"]


class Followed:
    """Open trades and those that closed lately; the caller holds the lock.

    Args:
        bars: Know the range at an entry.
        most_closed: How many closed trades are remembered.

    Attributes:
        open: By where they are held.
        closed: Each with its record (`None`: it was undone) and its revision.
        revisions: Of trades not among those, as the records of before a crash have them.
        watched: The excursions that a symbol's prices are for.
    """

    def __init__(self, bars: Bars, most_closed: int) -> None:
        self._bars = bars
        self._most_closed = most_closed
        self.open: dict[Place, Life] = {}
        self.closed: OrderedDict[str, tuple[Life, dict[str, Any] | None, int]] = OrderedDict()
        self.revisions: dict[str, int] = {}
        self.watched: dict[str, tuple[Excursion, ...]] = {}

    def adopt(self, place: Place, trip: RoundTrip) -> None:
        """The book holds this open trade: follow it, with what is not known of it left open."""
        life = self.open.get(place)
        if life is None or life.trade_id != trip.trade_id:
            life = self._life(trip.trade_id, place, 1 if trip.side == "long" else -1, trip.opened_ts)
            life.whole = False
            self.put(life)
        life.held = size(trip)

    def agree(self, trades: Mapping[Place, RoundTrip]) -> None:
        """These trades are open in the books and no others, but for those told by hand."""
        for place, life in tuple(self.open.items()):
            if place.kind != HAND and place not in trades:
                self.take(life)
        for place, trip in trades.items():
            self.adopt(place, trip)

    def recorded(self, trade_id: str, revision: int) -> None:
        """The records have this revision of a trade: the next one is above it."""
        life, record, known = self.closed.get(trade_id, (None, None, 0))
        if life is None:
            self.revisions[trade_id] = revision
        elif known < revision:
            record = None if record is None else {**record, "revision": revision}
            self.closed[trade_id] = life, record, revision

    def knows(self, trade_id: str) -> bool:
        """Whether there is, or lately was, such a trade."""
        return trade_id in self.closed or any(life.trade_id == trade_id for life in self.open.values())

    def in_order(self, place: Place, note: Note, change: Change, when: int) -> list[Event]:
        """A fill came behind all the others; what that opened and closed."""
        if change.trade_id is None:
            return []
        events: list[Event] = []
        life = self.open.get(place)
        if life is None or life.trade_id != change.trade_id:
            opening = place.kind == HAND or change.trade_id == f"t{note.seq}"
            way = note.sign if opening or not change.closed_qty else -note.sign
            life = self._begin(change.trade_id, place, note, way, when, whole=opening)
            if opening:
                events.append(self._opened(life, note))
        later = change.next_trade_id
        life.add(note if later is None else note._replace(qty=change.closed_qty))
        events.extend(self._end(life, trip, when) for trip in change.closed)
        if later is not None:
            rest = note._replace(qty=EXACT.subtract(note.qty, change.closed_qty))
            life = self._begin(later, place, rest, note.sign, when, whole=True)
            life.add(rest)
            events.append(self._opened(life, rest))
        return events

    def _begin(self, trade_id: str, place: Place, note: Note, way: int, when: int, *, whole: bool) -> Life:
        """Follow a trade from this fill on; not `whole`: it was opened without our knowledge."""
        life = self._life(trade_id, place, way, note.ts, bar_id=note.context.bar_id if whole else None, ts_ns=when)
        life.whole = whole
        self.put(life)
        return life

    def _life(
        self, trade_id: str, place: Place, sign: int, ts: str, *, bar_id: Any = None, ts_ns: int | None = None
    ) -> Life:
        life = Life(trade_id, place, sign, ts, Excursion(ts, place.venue, bar_id, ts_ns))
        known = self._bars.ranges.get(place.symbol)
        if known is not None:
            life.atr = known.atr.value
            life.bars = True
        return life

    def _opened(self, life: Life, note: Note) -> TradeOpened:
        place, context = life.place, note.context
        return TradeOpened(
            ts_ns=life.seen.since_ns, symbol=place.symbol, trade_id=life.trade_id, venue=place.venue,
            account=place.account, position_side=place.position_side, side="long" if life.sign > 0 else "short",
            strategy=context.strategy, qty=note.qty, price=note.px, bar_id=context.bar_id,
            trace_id=context.trace_id,
        )  # fmt: skip

    def _end(self, life: Life, trip: RoundTrip, ended_ns: int) -> TradeClosed:
        """A trade is over, or over with other figures."""
        life.sign = 1 if trip.side == "long" else -1
        life.closed_ts = trip.closed_ts
        before = self.closed.pop(life.trade_id, None)
        revision = before[2] + 1 if before is not None else self.revisions.pop(life.trade_id, 0) + 1
        record = lifecycle(life, trip, ended_ns, revision)
        self.closed[life.trade_id] = (life, record, revision)
        while len(self.closed) > self._most_closed:
            self.closed.popitem(last=False)
        if self.open.get(life.place) is life:
            self.take(life)
        return _closed(life, record, revision, ended_ns)

    def rewrite(
        self, place: Place, ts: str, change: Change, open_trade: RoundTrip | None,
        *, note: Note | None = None, without: int | None = None,
    ) -> list[Event]:  # fmt: skip
        """Trades of one position are not what they were: cut their fills anew, as the engine did."""
        held = self.open.get(place)
        touched = (*change.undone, *(trip.trade_id for trip in change.revised))
        old = [entry[0] for key in touched if (entry := self.closed.get(key)) is not None]
        if held is not None:
            old.append(held)
        notes = pool(old, note, without)
        events: list[Event] = []
        now_closed = {trip.trade_id for trip in (*change.closed, *change.revised)}
        events.extend(self._undo(key, place, ts) for key in change.undone if key not in now_closed)
        if held is not None:
            self.take(held)
        for trip in sorted((*change.closed, *change.revised), key=lambda trip: (trip.opened_ts, trip.first_seq)):
            life = rewritten(trip, place, old, notes)
            if trip in change.revised and trip.trade_id not in self.closed:  # forgotten: it had a revision at least
                self.closed[trip.trade_id] = (life, None, self.revisions.pop(trip.trade_id, 1))
            events.append(self._end(life, trip, epoch_ns(trip.closed_ts or trip.opened_ts)))
        if open_trade is not None:
            life = rewritten(open_trade, place, old, notes)
            life.held = size(open_trade)
            self.put(life)
            if note is not None and open_trade.first_seq == note.seq:
                events.append(self._opened(life, note))
        return events

    def _undo(self, trade_id: str, place: Place, ts: str) -> TradeClosed:
        entry = self.closed.get(trade_id)
        life = entry[0] if entry is not None else self._life(trade_id, place, 1, ts)
        revision = entry[2] + 1 if entry is not None else self.revisions.pop(trade_id, 1) + 1
        self.closed[trade_id] = (life, None, revision)
        record = {"trade_id": trade_id, "symbol": place.symbol, "undone": True, "revision": revision}
        return _closed(life, record, revision, epoch_ns(ts), undone=True)

    def put(self, life: Life) -> None:
        """Follow this trade in the place of the one that was held there."""
        before = self.open.get(life.place)
        if before is not None:
            self.take(before)
        self.open[life.place] = life
        symbol = life.place.symbol
        self.watched[symbol] = (*self.watched.get(symbol, ()), life.seen)

    def take(self, life: Life) -> None:
        """Follow it no more."""
        del self.open[life.place]
        symbol = life.place.symbol
        left = tuple(seen for seen in self.watched.get(symbol, ()) if seen is not life.seen)
        if left:
            self.watched[symbol] = left
        else:
            self.watched.pop(symbol, None)


def _closed(life: Life, record: dict[str, Any], revision: int, ts_ns: int, *, undone: bool = False) -> TradeClosed:
    place, leave = life.place, life.exit
    return TradeClosed(
        ts_ns=ts_ns, symbol=place.symbol, venue=place.venue, account=place.account, bar_id=leave.bar_id,
        trace_id=leave.trace_id, trade_id=life.trade_id, record=record, revision=revision, undone=undone,
    )  # fmt: skip
