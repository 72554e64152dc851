"""Round trips as the bot lived them: one record for each, from the order that opened it to the one that closed it.

The position engine decides what a trade is and what it earned. The tracker adds what the engine has no part in: why
the trade was opened and closed, how far the price went in between, and how long it took.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

from botobs.accounting.numbers import exact
from botobs.clock import adapt, epoch_ns, rfc3339
from botobs.events.money import PositionAged
from botobs.trackers import memory
from botobs.trackers.bars import Bars
from botobs.trackers.byhand import ByHand
from botobs.trackers.followed import Followed
from botobs.trackers.held import OpenTrade, shown
from botobs.trackers.life import HAND, FillContext, Note, Place, context_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botobs.accounting.instruments import Instruments
    from botobs.accounting.trade import Change, RoundTrip
    from botobs.events.base import Event
    from botobs.trackers.life import Context, Life, OrderLike

__all__ = ["FillContext", "OpenTrade", "TradeTracker"]

_MOST_CLOSED = 2_000
_INF = float("inf")


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
        self._lock = threading.RLock()
        self._bars = Bars()
        self._followed = Followed(self._bars, most_closed)
        self._watched = self._followed.watched  # the hot path looks here
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
                return self._followed.rewrite(place, fill.ts, change, open_trade, note=note)
            when = epoch_ns(fill.ts)
            events = self._followed.in_order(place, note, change, when)
            held = self._followed.open.get(place)
            if held is not None:
                held.seen.follow(when, self._clock.time_ns())
            return events

    def voided(
        self, place: Place, seq: int, change: Change, open_trade: RoundTrip | None, *, ts: str | None = None
    ) -> list[Event]:
        """Entry `seq` was taken out of its book; what that undid or rewrote. `open_trade`: the book's, after it."""
        with self._lock:
            return self._followed.rewrite(place, ts or rfc3339(self._clock.time_ns()), change, open_trade, without=seq)

    def changed(
        self, place: Place, change: Change, open_trade: RoundTrip | None, *, ts: str | None = None
    ) -> list[Event]:
        """Something that is no fill, such as late funding, rewrote trades of the position at `place`."""
        if not (change.closed or change.revised or change.undone):
            return []
        with self._lock:
            return self._followed.rewrite(place, ts or rfc3339(self._clock.time_ns()), change, open_trade)

    def adopt(self, place: Place, trip: RoundTrip) -> None:
        """The book holds this open trade; if the tracker does not know it, it follows it from now on.

        Its entry's context and its excursions stay unknown. For a restart, and for `position`.
        """
        with self._lock:
            self._followed.adopt(place, trip)

    def agree(self, trades: Mapping[Place, RoundTrip]) -> None:
        """After a restart: these trades are open in the books, and no others.

        What ended after the state was kept is forgotten, what began since is adopted; trades told by hand stay.
        """
        with self._lock:
            self._followed.agree(trades)

    def recorded(self, trade_id: str, revision: int) -> None:
        """After a restart: the records have this revision of a trade, so that the next one is above it."""
        with self._lock:
            self._followed.recorded(trade_id, revision)

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

    def __repr__(self) -> str:
        with self._lock:
            closed = sum(record is not None for _, record, _ in self._followed.closed.values())
            return f"<TradeTracker: {len(self._followed.open)} open, {closed} closed>"

    @property
    def open(self) -> list[OpenTrade]:
        """Every open trade with its age, the oldest first."""
        return self.ages()

    def ages(self, now_ns: int | None = None) -> list[OpenTrade]:
        """Every open trade with its age at `now_ns`, the oldest first."""
        now = self._clock.time_ns() if now_ns is None else now_ns
        with self._lock:
            lives = list(self._followed.open.values())
        found = [self._shown(life, now) for life in lives]
        return sorted(found, key=lambda trade: trade.opened_ts)

    def aged(self, now_ns: int, limit_s: float | None) -> list[PositionAged]:
        """The open trades that are older than `limit_s` and were not reported yet; each is reported once."""
        if limit_s is None:
            return []
        with self._lock:
            late = [
                life
                for life in self._followed.open.values()
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
            records = [record for _, record, _ in self._followed.closed.values() if record is not None]
        return [dict(record) for record in (records[-n:] if n > 0 else [])]

    def get(self, trade_id: str) -> dict[str, Any] | OpenTrade | None:
        """The record of a closed trade, or the open one, or `None`."""
        with self._lock:
            for life in self._followed.open.values():
                if life.trade_id == trade_id:
                    break
            else:
                known = self._followed.closed.get(trade_id)
                return dict(known[1]) if known is not None and known[1] is not None else None
        return self._shown(life, self._clock.time_ns())

    def contexts(self, trade_id: str) -> dict[int, Context]:
        """What was known of the order behind each remembered fill of a trade, by the fill's number in the ledger."""
        with self._lock:
            known = self._followed.closed.get(trade_id)
            life = known[0] if known is not None else None
            if life is None or known is None or known[1] is None:
                life = next((held for held in self._followed.open.values() if held.trade_id == trade_id), life)
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
                "open": [memory.of_life(life) for life in self._followed.open.values()],
                "closed": memory.of_closed(self._followed.closed),
                "revisions": dict(self._followed.revisions),
                "bars": self._bars.state(),
                "hand": self._hand.state(),
            }

    def restore(self, state: Mapping[str, Any]) -> list[str]:
        """Go on where `state` was taken; what in it was damaged is left out and named."""
        problems: list[str] = []
        with self._hand.lock, self._lock:
            for life in memory.lives(state.get("open"), problems):
                self._followed.put(life)
            for entry in memory.closed(state.get("closed"), problems):
                self._followed.closed[entry[0].trade_id] = entry
            self._followed.revisions.update(memory.revisions(state.get("revisions")))
            self._bars.restore(state.get("bars"), problems)
            self._hand.restore(state.get("hand"), set(self._followed.open), problems)
        return problems

    def abandon(self) -> None:
        """Be usable in a forked child: another thread may have held the lock when it was made."""
        self._lock = threading.RLock()
        self._hand.abandon()

    # how

    def _known(self, trade_id: str) -> bool:
        with self._lock:
            return self._followed.knows(trade_id)

    @exact
    def _shown(self, life: Life, now_ns: int) -> OpenTrade:
        trip: RoundTrip | None = None
        by_hand = life.place.kind == HAND
        ask = self._hand.trade_of if by_hand else self._trade_of
        if ask is not None:
            with contextlib.suppress(Exception):  # a question asked of the outside never fails the answer
                trip = ask(life.place)
        if trip is not None and not by_hand and trip.trade_id != life.trade_id:
            trip = None  # another one has been opened there since
        return shown(life, trip, now_ns)
