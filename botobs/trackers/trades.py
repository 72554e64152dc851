"""Round trips as the bot lived them: one record for each, from the order that opened it to the one that closed it.

The position engine decides what a trade is and what it earned. The tracker adds what the engine has no part in: why
the trade was opened and closed, how far the price went in between, and how long it took.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import attrs

from botobs.clock import adapt, epoch_ns, rfc3339
from botobs.events.money import PositionAged, TradeClosed, TradeOpened
from botobs.trackers import memory
from botobs.trackers.bars import Bars
from botobs.trackers.byhand import ByHand
from botobs.trackers.excursions import Excursion
from botobs.trackers.life import HAND, FillContext, Life, Note, Place, context_of
from botobs.trackers.lifecycle import lifecycle
from botobs.trackers.rewriting import pool, rewritten

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from decimal import Decimal

    from botobs.accounting.instruments import Instruments
    from botobs.accounting.trade import Change, RoundTrip
    from botobs.events.base import Event
    from botobs.trackers.life import Context, OrderLike

__all__ = ["FillContext", "OpenTrade", "TradeTracker"]

_MOST_CLOSED = 2_000
_INF = float("inf")


@attrs.frozen(kw_only=True)
class OpenTrade:
    """A trade that is not over.

    Attributes:
        qty: How much is held, without a sign.
        entry_px: The average entry price, where the books were at hand.
        age_s: How long it has been open.
    """

    trade_id: str
    symbol: str
    side: str
    qty: Decimal
    entry_px: Decimal | None
    opened_ts: str
    age_s: float
    strategy: str | None = None
    venue: str | None = None
    account: str | None = None
    position_side: str | None = None
    entry_trace_id: str | None = None


class TradeTracker:
    """Follows every trade from its first fill to its last, or as told by hand; usable on its own.

    Args:
        clock: Where the time comes from; default: the machine.
        publish: Gets the events of trades told by hand; those of booked fills are returned to the caller.
        instruments: How symbols settle, for trades told by hand; default: as their names suggest.
        trade_of: The round trip that is open at a `Place`, for the quantities of `open` and of `PositionAged`.
        most_closed: How many closed trades are remembered.

    Example:
        >>> trades = TradeTracker()
        >>> _ = trades.open_trade("BTC", {"side": "buy", "px": 100, "qty": 2, "ts": 1767323000, "fee": "0.1"})
        >>> record = trades.close_trade("BTC", {"px": 101, "ts": 1767323060, "fee": "0.1", "reason": "take_profit"})
        >>> record["net_pnl_usd"], record["duration_seconds"], record["exit_reason"]
        (Decimal('1.8'), 60.0, 'take_profit')
    """

    def __init__(
        self,
        *,
        clock: Any = None,
        publish: Callable[[Event], object] | None = None,
        instruments: Instruments | None = None,
        trade_of: Callable[[Place], RoundTrip | None] | None = None,
        most_closed: int = _MOST_CLOSED,
    ) -> None:
        self._clock = adapt(clock)
        self._trade_of = trade_of
        self._most_closed = most_closed
        self._lock = threading.RLock()
        self._open: dict[Place, Life] = {}
        # trade, its record (None: it was undone), its revision
        self._closed: OrderedDict[str, tuple[Life, dict[str, Any] | None, int]] = OrderedDict()
        self._revisions: dict[str, int] = {}  # of trades not among those, as the records of before a crash have them
        self._watched: dict[str, tuple[Excursion, ...]] = {}
        self._bars = Bars()
        self._hand = ByHand(self.booked, self._known, self._clock, publish, instruments)

    # what happens

    def booked(
        self, fill: FillContext, change: Change, order: OrderLike | None = None, open_trade: RoundTrip | None = None
    ) -> list[Event]:
        """A fill was booked; what that opened, closed or rewrote.

        Args:
            fill: The fill.
            change: What it did to its book.
            order: The order it belongs to, if known.
            open_trade: The book's open trade after it; needed only where `change.late`.
        """
        sign = 1 if fill.side == "buy" else -1
        context = context_of(order, strategy=fill.strategy, bar_id=fill.bar_id, trace_id=fill.trace_id)
        note = Note(
            fill.seq, fill.ts, fill.fill_id, sign, fill.qty, fill.price, fill.slippage_bps, context
        )  # fmt: skip
        place = fill.place
        with self._lock:
            if change.late or change.revised or change.undone:
                return self._rewrite(place, fill.ts, change, open_trade, note=note)
            when = epoch_ns(fill.ts)
            events = self._in_order(place, note, change, when)
            held = self._open.get(place)
            if held is not None:
                held.seen.follow(when, self._clock.time_ns())
            return events

    def voided(
        self, place: Place, seq: int, change: Change, open_trade: RoundTrip | None, *, ts: str | None = None
    ) -> list[Event]:
        """Entry `seq` was taken out of its book; what that undid or rewrote. `open_trade`: the book's, after it."""
        with self._lock:
            return self._rewrite(place, ts or rfc3339(self._clock.time_ns()), change, open_trade, without=seq)

    def changed(
        self, place: Place, change: Change, open_trade: RoundTrip | None, *, ts: str | None = None
    ) -> list[Event]:
        """Something that is no fill, such as late funding, rewrote trades of the position at `place`."""
        if not (change.closed or change.revised or change.undone):
            return []
        with self._lock:
            return self._rewrite(place, ts or rfc3339(self._clock.time_ns()), change, open_trade)

    def adopt(self, place: Place, trip: RoundTrip) -> None:
        """The book holds this open trade; if the tracker does not know it, it follows it from now on.

        Its entry's context and its excursions stay unknown. For a restart, and for `position`.
        """
        with self._lock:
            life = self._open.get(place)
            if life is None or life.trade_id != trip.trade_id:
                life = self._life(trip.trade_id, place, 1 if trip.side == "long" else -1, trip.opened_ts)
                life.whole = False
                self._put(life)
            life.held = abs(trip.entry_qty - trip.exit_qty)

    def agree(self, trades: Mapping[Place, RoundTrip]) -> None:
        """After a restart: these trades are open in the books, and no others.

        What ended after the state was kept is forgotten, what began since is adopted; trades told by hand stay.
        """
        with self._lock:
            for place, life in tuple(self._open.items()):
                if place.kind != HAND and place not in trades:
                    self._take(life)
            for place, trip in trades.items():
                self.adopt(place, trip)

    def recorded(self, trade_id: str, revision: int) -> None:
        """After a restart: the records have this revision of a trade, so that the next one is above it."""
        with self._lock:
            life, record, known = self._closed.get(trade_id, (None, None, 0))
            if life is None:
                self._revisions[trade_id] = revision
            elif known < revision:
                record = None if record is None else {**record, "revision": revision}
                self._closed[trade_id] = life, record, revision

    def watches(self, symbol: str) -> bool:
        """Whether prices of `symbol` matter to an open trade, one told by hand too."""
        return symbol in self._watched

    def price(
        self,
        symbol: str,
        price: Any,
        ts: str | int | None = None,
        venue: str | None = None,
        bar_id: Any = None,
        *,
        now_ns: int | None = None,
    ) -> None:
        """A mark: `ts` is RFC 3339 with microseconds or nanoseconds; without one it counts by its arrival, `now_ns`.

        For the hot path: takes no lock, and costs a look into a dictionary while no trade is open.
        """
        watched = self._watched.get(symbol)
        if watched is None:
            return
        try:
            at = float(price)
            if not 0.0 < at < _INF:
                return
            now = 0 if ts is not None else self._clock.time_ns() if now_ns is None else now_ns
            for seen in watched:
                if venue is None or seen.venue is None or venue == seen.venue:
                    seen.see(at, seen.arrived(now) if ts is None else ts)
                    if bar_id is not None and bar_id != seen.bar_id:
                        seen.turn(bar_id)
        except (TypeError, ValueError, OverflowError, ArithmeticError):  # no price, or no time: it counts for nothing
            return

    def bar(  # noqa: PLR0917 - as the verb
        self,
        symbol: str,
        open: Any,  # noqa: A002, ARG002 - the verb's own names
        high: Any,
        low: Any,
        close: Any,
        volume: Any = None,  # noqa: ARG002
        ts: str | int | None = None,
        *,
        now_ns: int | None = None,
    ) -> bool:
        """A finished bar: feeds the symbol's ATR and ADX, and counts as prices for its open trades.

        Its close counts if its time is not before the entry. Its high and low count from the second bar after the
        entry on: the first one may have begun before it. Bars of a symbol are all of one length.
        """
        with self._lock:
            now = self._clock.time_ns() if now_ns is None else now_ns
            return self._bars.told(symbol, (high, low, close), ts, now, self._watched.get(symbol, ()))

    # what is asked

    @property
    def open(self) -> list[OpenTrade]:
        """Every open trade with its age, the oldest first."""
        return self.ages()

    def ages(self, now_ns: int | None = None) -> list[OpenTrade]:
        """Every open trade with its age at `now_ns`, the oldest first."""
        now = self._clock.time_ns() if now_ns is None else now_ns
        with self._lock:
            lives = list(self._open.values())
        found = [self._shown(life, now) for life in lives]
        return sorted(found, key=lambda trade: trade.opened_ts)

    def aged(self, now_ns: int, limit_s: float | None) -> list[PositionAged]:
        """The open trades that are older than `limit_s` and were not reported yet; each is reported once."""
        if limit_s is None:
            return []
        with self._lock:
            late = [
                life
                for life in self._open.values()
                if not life.aged and now_ns - life.seen.since_ns > limit_s * 1_000_000_000
            ]
            for life in late:
                life.aged = True
        return [
            PositionAged(
                ts_ns=now_ns, symbol=shown.symbol, trade_id=shown.trade_id, venue=shown.venue, account=shown.account,
                position_side=shown.position_side, qty=shown.qty, age_s=shown.age_s, limit_s=float(limit_s),
                trace_id=shown.entry_trace_id,
            )
            for shown in (self._shown(life, now_ns) for life in late)
        ]  # fmt: skip

    def closed(self, n: int = 100) -> list[dict[str, Any]]:
        """The records of the last `n` closed trades, the newest last, each as it stands now."""
        with self._lock:
            records = [record for _, record, _ in self._closed.values() if record is not None]
        return [dict(record) for record in (records[-n:] if n > 0 else [])]

    def get(self, trade_id: str) -> dict[str, Any] | OpenTrade | None:
        """The record of a closed trade, or the open one, or `None`."""
        with self._lock:
            for life in self._open.values():
                if life.trade_id == trade_id:
                    break
            else:
                known = self._closed.get(trade_id)
                return dict(known[1]) if known is not None and known[1] is not None else None
        return self._shown(life, self._clock.time_ns())

    def contexts(self, trade_id: str) -> dict[int, Context]:
        """What was known of the order behind each remembered fill of a trade, by the fill's number in the ledger."""
        with self._lock:
            known = self._closed.get(trade_id)
            life = known[0] if known is not None else None
            if life is None or known is None or known[1] is None:
                life = next((held for held in self._open.values() if held.trade_id == trade_id), life)
            return {} if life is None else {note.seq: note.context for note in life.notes}

    def atr(self, symbol: str) -> float | None:
        """The average true range of `symbol` over 14 bars; `None` while there are too few."""
        known = self._bars.ranges.get(symbol)
        return known.atr.value if known is not None else None

    def adx(self, symbol: str) -> float | None:
        """The directional index of `symbol` over 14 bars; `None` while there are too few."""
        known = self._bars.ranges.get(symbol)
        return known.adx.value if known is not None else None

    # by hand

    def open_trade(self, symbol: str, entry_data: Mapping[str, Any]) -> str | None:
        """Open a trade by hand, or add to the one open by hand on that symbol. See `ByHand.open_trade`."""
        return self._hand.open_trade(symbol, entry_data)

    def close_trade(self, symbol: str, exit_data: Mapping[str, Any]) -> dict[str, Any] | None:
        """Close a trade opened by hand; its record, or `None`. See `ByHand.close_trade`."""
        return self._hand.close_trade(symbol, exit_data)

    @property
    def refused(self) -> int:
        """How often something told by hand could not be used."""
        return self._hand.refused

    @property
    def reason(self) -> str | None:
        """Why the last call by hand did not do what was asked; `None` when it did."""
        return self._hand.reason

    # restart

    def state(self) -> dict[str, Any]:
        """Everything that has to survive a restart, as plain JSON."""
        with self._hand.lock, self._lock:
            return {
                "open": [memory.of_life(life) for life in self._open.values()],
                "closed": memory.of_closed(self._closed),
                "revisions": dict(self._revisions),
                "bars": self._bars.state(),
                "hand": self._hand.state(),
            }

    def restore(self, state: Mapping[str, Any]) -> list[str]:
        """Go on where `state` was taken; what in it was damaged is left out and named."""
        problems: list[str] = []
        with self._hand.lock, self._lock:
            for life in memory.lives(state.get("open"), problems):
                self._put(life)
            for entry in memory.closed(state.get("closed"), problems):
                self._closed[entry[0].trade_id] = entry
            self._revisions.update(memory.revisions(state.get("revisions")))
            self._bars.restore(state.get("bars"), problems)
            self._hand.restore(state.get("hand"), set(self._open), problems)
        return problems

    def abandon(self) -> None:
        """Be usable in a forked child: another thread may have held the lock when it was made."""
        self._lock = threading.RLock()
        self._hand.abandon()

    # how

    def _known(self, trade_id: str) -> bool:
        with self._lock:
            return trade_id in self._closed or any(life.trade_id == trade_id for life in self._open.values())

    def _in_order(self, place: Place, note: Note, change: Change, when: int) -> list[Event]:
        if change.trade_id is None:
            return []
        events: list[Event] = []
        life = self._open.get(place)
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
            rest = note._replace(qty=note.qty - change.closed_qty)
            life = self._begin(later, place, rest, note.sign, when, whole=True)
            life.add(rest)
            events.append(self._opened(life, rest))
        return events

    def _begin(self, trade_id: str, place: Place, note: Note, way: int, when: int, *, whole: bool) -> Life:
        """Follow a trade from this fill on; not `whole`: it was opened without our knowledge."""
        life = self._life(trade_id, place, way, note.ts, bar_id=note.context.bar_id if whole else None, ts_ns=when)
        life.whole = whole
        self._put(life)
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
        before = self._closed.pop(life.trade_id, None)
        revision = before[2] + 1 if before is not None else self._revisions.pop(life.trade_id, 0) + 1
        record = lifecycle(life, trip, ended_ns, revision)
        self._closed[life.trade_id] = (life, record, revision)
        while len(self._closed) > self._most_closed:
            self._closed.popitem(last=False)
        if self._open.get(life.place) is life:
            self._take(life)
        return _closed(life, record, revision, ended_ns)

    def _rewrite(
        self, place: Place, ts: str, change: Change, open_trade: RoundTrip | None,
        *, note: Note | None = None, without: int | None = None,
    ) -> list[Event]:  # fmt: skip
        """Trades of one position are not what they were: cut their fills anew, as the engine did."""
        held = self._open.get(place)
        touched = (*change.undone, *(trip.trade_id for trip in change.revised))
        old = [entry[0] for key in touched if (entry := self._closed.get(key)) is not None]
        if held is not None:
            old.append(held)
        notes = pool(old, note, without)
        events: list[Event] = []
        now_closed = {trip.trade_id for trip in (*change.closed, *change.revised)}
        events.extend(self._undo(key, place, ts) for key in change.undone if key not in now_closed)
        if held is not None:
            self._take(held)
        for trip in sorted((*change.closed, *change.revised), key=lambda trip: (trip.opened_ts, trip.first_seq)):
            life = rewritten(trip, place, old, notes)
            if trip in change.revised and trip.trade_id not in self._closed:  # forgotten: it had a revision at least
                self._closed[trip.trade_id] = (life, None, self._revisions.pop(trip.trade_id, 1))
            events.append(self._end(life, trip, epoch_ns(trip.closed_ts or trip.opened_ts)))
        if open_trade is not None:
            life = rewritten(open_trade, place, old, notes)
            life.held = abs(open_trade.entry_qty - open_trade.exit_qty)
            self._put(life)
            if note is not None and open_trade.first_seq == note.seq:
                events.append(self._opened(life, note))
        return events

    def _undo(self, trade_id: str, place: Place, ts: str) -> TradeClosed:
        entry = self._closed.get(trade_id)
        life = entry[0] if entry is not None else self._life(trade_id, place, 1, ts)
        revision = entry[2] + 1 if entry is not None else self._revisions.pop(trade_id, 1) + 1
        self._closed[trade_id] = (life, None, revision)
        record = {"trade_id": trade_id, "symbol": place.symbol, "undone": True, "revision": revision}
        return _closed(life, record, revision, epoch_ns(ts), undone=True)

    def _put(self, life: Life) -> None:
        before = self._open.get(life.place)
        if before is not None:
            self._take(before)
        self._open[life.place] = life
        symbol = life.place.symbol
        self._watched[symbol] = (*self._watched.get(symbol, ()), life.seen)

    def _take(self, life: Life) -> None:
        del self._open[life.place]
        symbol = life.place.symbol
        left = tuple(seen for seen in self._watched.get(symbol, ()) if seen is not life.seen)
        if left:
            self._watched[symbol] = left
        else:
            self._watched.pop(symbol, None)

    def _shown(self, life: Life, now_ns: int) -> OpenTrade:
        trip: RoundTrip | None = None
        by_hand = life.place.kind == HAND
        ask = self._hand.trade_of if by_hand else self._trade_of
        if ask is not None:
            with contextlib.suppress(Exception):  # a question asked of the outside never fails the answer
                trip = ask(life.place)
        same = trip is not None and (by_hand or trip.trade_id == life.trade_id)
        place = life.place
        return OpenTrade(
            trade_id=life.trade_id,
            symbol=place.symbol,
            side="long" if life.sign > 0 else "short",
            qty=abs(trip.entry_qty - trip.exit_qty) if trip is not None and same else life.held,
            entry_px=trip.entry_px if trip is not None and same else None,
            opened_ts=life.opened_ts,
            age_s=max(now_ns - life.seen.since_ns, 0) / 1e9,
            strategy=life.strategy,
            venue=place.venue,
            account=place.account,
            position_side=place.position_side,
            entry_trace_id=life.entry.trace_id,
        )


def _closed(life: Life, record: dict[str, Any], revision: int, ts_ns: int, *, undone: bool = False) -> TradeClosed:
    place, leave = life.place, life.exit
    return TradeClosed(
        ts_ns=ts_ns, symbol=place.symbol, venue=place.venue, account=place.account, bar_id=leave.bar_id,
        trace_id=leave.trace_id, trade_id=life.trade_id, record=record, revision=revision, undone=undone,
    )  # fmt: skip
