"""Where what the bot reports about money is read, booked, and told to the others.

Everything that is wrong about a report ends here: it is set aside in `metrics/refused.jsonl` with the reason, counted,
and said in the answer. Events are published outside the account's lock.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs

from botobs.accounting.entries import Refused, moment, name, price_or_none, read_fill
from botobs.accounting.numbers import ZERO, exact, number, text
from botobs.events import (
    FillBooked,
    FillConflict,
    FillRefused,
    FundingBooked,
    TransferBooked,
    VoidBooked,
)
from botobs.money.report import FillReport
from botobs.trackers.costs import cost_of_fill, cost_of_funding
from botobs.trackers.given import order_key
from botobs.trackers.life import FillContext
from botobs.trackers.life import Place as Held

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from decimal import Decimal

    from botobs.accounting.account import Account, Booking
    from botobs.accounting.entries import FillEntry
    from botobs.events import CostBooked, Event
    from botobs.faults import Faults
    from botobs.trackers.orders import Order, Orders
    from botobs.trackers.slippage import Slippage, SlippageTracker
    from botobs.trackers.trades import TradeTracker

__all__ = ["Desk", "Place"]


@attrs.frozen
class Place:
    """Where in the bot's loop something was reported.

    Attributes:
        bar_id: The running tick's bar.
        trace_id: Its trace, if it is kept.
    """

    bar_id: Any = None
    trace_id: str | None = None


NOWHERE = Place()


class Desk:
    """Books what is reported.

    Args:
        account: The books.
        orders: The orders that fills belong to.
        slippage: Measures fills against decisions.
        trades: Keeps round trips.
        publish: Takes events.
        set_aside: Takes what cannot be booked, as a record for `refused`; whether it is on disk.
        faults: Counts.
        wall: Tells the time.
        moved: Called when the account's worth may have changed.
    """

    def __init__(
        self,
        account: Account,
        orders: Orders,
        slippage: SlippageTracker,
        trades: TradeTracker,
        *,
        publish: Callable[[Event], object],
        set_aside: Callable[[dict[str, Any]], bool],
        faults: Faults,
        wall: Callable[[], int],
        moved: Callable[[], object],
    ) -> None:
        self.account = account
        self.orders = orders
        self.slippage = slippage
        self.trades = trades
        self.counts: Counter[str] = Counter()
        self._publish = publish
        self._set_aside = set_aside
        self._faults = faults
        self._wall = wall
        self._moved = moved

    # -- fills -------------------------------------------------------------------------------------------------------

    def fill(self, order_id: Any, said: dict[str, Any], place: Place, more: Mapping[str, Any] | None) -> FillReport:
        """Book a fill and wait until it is as durable as configured."""
        return self.filled(*self.book_fill(order_id, said, place, more))

    def book_fill(
        self, order_id: Any, said: dict[str, Any], place: Place, more: Mapping[str, Any] | None
    ) -> tuple[FillReport, Any]:
        """Book a fill; what it came to, and what `filled` needs to finish it once it is durable."""
        now = self._wall()
        key = None if order_id is None else order_key(order_id)
        order = None if key is None else self.orders.get(key)
        try:
            entry = self._entry(key, order, said, place, more, now)
        except Refused as refused:
            return self._refused("fill", str(refused), {"order_id": order_id, **said, **(more or {})}, key), None
        slip: Slippage | None = None
        events: list[Event] = []
        with self.account.lock:
            booking = self.account.fill(entry)
            if booking.change is not None and entry.kind != "hedger_sim":
                slip, events = self._followed(entry, booking, order, place, now)
        if booking.change is None:
            return self._not_booked(entry, booking), None
        return FillReport(), (entry, booking, order, slip, events, place, now)

    @exact
    def _followed(
        self, entry: FillEntry, booking: Booking, order: Order | None, place: Place, now: int
    ) -> tuple[Slippage | None, list[Event]]:
        """What the fill was in the eyes of its order and of its trade. Under the account's lock: in the same order."""
        change, book = booking.change, booking.book
        assert change is not None
        assert book is not None
        assert booking.seq is not None
        slip = None
        if order is not None:
            slip = self.slippage.filled(
                order, entry.price, entry.qty, entry.side, instrument=book.instrument, fee=booking.fee_value,
                latency_ms=self.slippage.latency_ms(order, now), now_ns=now,
            )  # fmt: skip
        context = FillContext(
            symbol=entry.symbol, side=entry.side, qty=entry.qty, price=entry.price, ts=entry.ts, seq=booking.seq,
            fill_id=entry.fill_id, venue=entry.venue, account=entry.account, position_side=entry.position_side,
            strategy=entry.strategy, slippage_bps=None if slip is None else slip.bps, trace_id=entry.trace_id,
            bar_id=place.bar_id,
        )  # fmt: skip
        return slip, self.trades.booked(context, change, order, book.trade if change.late else None)

    def filled(self, early: FillReport, work: Any) -> FillReport:
        """Wait for the disk, then tell everybody."""
        if work is None:
            return early
        entry, booking, order, slip, events, place, now = work
        durable = self.account.ledger.settle(booking.ticket)
        change = booking.change
        self.counts["booked"] += 1
        if change.late:
            self.counts["late"] += 1
        if entry.kind != "hedger_sim":
            self._publish(_fill_event(entry, booking, order, slip, place, now, durable=durable))
            self._publish(_cost_event(entry, booking, slip, place, now))
        for event in events:
            self._publish(event)
        self._moved()
        return FillReport(
            booked=True, durable=durable, late=change.late, fill_id=entry.fill_id, order_id=entry.order_id,
            trade_id=change.trade_id, slippage_bps=None if slip is None else slip.bps,
            slippage=None if slip is None else slip.money, gross_pnl=change.gross, position=change.inventory,
            reason=None if durable else "it could not be written; it is in memory and will be written",
        )  # fmt: skip

    def _entry(
        self,
        order_id: str | None,
        order: Order | None,
        said: dict[str, Any],
        place: Place,
        more: Mapping[str, Any] | None,
        now: int,
    ) -> FillEntry:
        if order is not None:
            for field in ("symbol", "side", "venue", "account", "strategy"):
                if said.get(field) is None:
                    said[field] = getattr(order, field)
        elif said.get("symbol") is None:
            known = "names no order" if order_id is None else f"order {order_id!r} is not known"
            raise Refused(f"the fill names no symbol, and {known}")
        return read_fill(now_ns=now, order_id=order_id, trace_id=place.trace_id, more=more, **said)

    def _not_booked(self, entry: FillEntry, booking: Booking) -> FillReport:
        """A duplicate, a conflict, or a fill that a void had waited for."""
        durable = booking.ticket is not None and self.account.ledger.settle(booking.ticket)
        if booking.ticket is None and not booking.duplicate and not booking.conflict:
            return self._refused("fill", booking.reason or "", _told(entry), entry.order_id)
        if booking.duplicate:
            self.counts["duplicate"] += 1
        elif booking.conflict:
            self.counts["conflict"] += 1
            self._set_aside({
                "what": "fill", "reason": booking.reason, "conflict": True, "seq": booking.seq,
                "said": _told(entry),
            })  # fmt: skip
            self._publish(
                FillConflict(
                    ts_ns=self._wall(), symbol=entry.symbol, order_id=entry.order_id, venue=entry.venue,
                    account=entry.account, fill_id=entry.fill_id, seq=booking.seq, differs=booking.differs,
                )
            )  # fmt: skip
            self._faults.say("ledger", "conflict", f"fill {entry.fill_id} of {entry.symbol}: {booking.reason}")
        return FillReport(
            duplicate=booking.duplicate, conflict=booking.conflict, durable=durable, reason=booking.reason,
            fill_id=entry.fill_id, order_id=entry.order_id,
        )  # fmt: skip

    # -- the other reports -------------------------------------------------------------------------------------------

    def void(self, fill_id: Any, reason: Any, said: dict[str, Any]) -> FillReport:
        """Take a fill back."""
        found = name(fill_id)
        if found is None:
            return self._refused("void", "no fill_id", {"fill_id": fill_id, "reason": reason, **said}, None)
        order_id = None if said.get("order_id") is None else order_key(said["order_id"])
        with self.account.lock:
            booking = self.account.void(
                found, name(reason) or "not said", order_id=order_id, symbol=name(said.get("symbol")),
                account=name(said.get("account")),
            )  # fmt: skip
            events: list[Event] = []
            line = booking.line or {}
            if booking.change is not None and line.get("kind") != "hedger_sim":
                events = self._unfollowed(booking)
        if booking.ticket is None:
            if booking.duplicate:
                return FillReport(duplicate=True, durable=True, fill_id=found, order_id=order_id)
            return self._refused("void", booking.reason or "", {"fill_id": fill_id, **said}, order_id)
        durable = self.account.ledger.settle(booking.ticket)
        self.counts["void"] += 1
        self._publish(
            VoidBooked(
                ts_ns=self._wall(), symbol=line.get("symbol"), order_id=line.get("order_id"), venue=line.get("venue"),
                account=line.get("account"), fill_id=found, reason=line.get("reason"), seq=line.get("voids"),
                waiting=booking.waiting,
            )
        )  # fmt: skip
        for event in events:
            self._publish(event)
        return FillReport(
            booked=True, durable=durable, fill_id=found, order_id=line.get("order_id"),
            reason="its fill has not come yet; it is waited for" if booking.waiting else None,
            trade_id=None if booking.change is None else booking.change.trade_id,
            position=None if booking.book is None else booking.book.inventory,
        )  # fmt: skip

    @exact
    def _unfollowed(self, booking: Booking) -> list[Event]:
        """A fill was taken back: its order and its trade are what they would be without it."""
        line, change, book = booking.removed, booking.change, booking.book
        assert line is not None
        assert change is not None
        assert book is not None
        order = self.orders.get(line.get("order_id"))
        if order is not None:
            fee = line.get("fee_value", line.get("fee"))
            self.slippage.taken_back(
                order, number(line["price"]), number(line["size"]), line["side"], instrument=book.instrument,
                fee=None if fee is None else number(fee),
            )  # fmt: skip
        return self.trades.voided(_held(line), line["seq"], change, book.trade, ts=line["ts"])

    def funding(self, symbol: Any, amount: Any, said: dict[str, Any], place: Place) -> FillReport:
        """Book a funding payment."""
        try:
            named, value = _symbol(symbol), _number("amount", amount)
            ts = None if said.get("ts") is None else moment("ts", said["ts"])
        except Refused as refused:
            return self._refused("funding", str(refused), {"symbol": symbol, "amount": amount, **said}, None)
        rate = said.get("rate")
        words = {key: name(said.get(key)) for key in ("funding_id", "account", "venue", "position_side")}
        with self.account.lock:
            booking = self.account.fund(
                named, value, ts=ts, rate=None if rate is None else _rate(rate), trace_id=place.trace_id, **words
            )
            events: list[Event] = []
            if booking.change is not None and booking.book is not None and booking.line is not None:
                place_of = _held(booking.line)
                events = self.trades.changed(place_of, booking.change, booking.book.trade, ts=booking.line["ts"])
        if booking.ticket is None:
            if not booking.conflict and not booking.duplicate:
                return self._refused("funding", booking.reason or "", {"symbol": symbol, "amount": amount, **said}, None)
            if booking.conflict:
                self.counts["conflict"] += 1
                self._set_aside({"what": "funding", "reason": booking.reason, "conflict": True, "seq": booking.seq,
                                 "said": {"symbol": symbol, "amount": amount, **said}})  # fmt: skip
                self._publish(FillConflict(ts_ns=self._wall(), symbol=named, seq=booking.seq, differs=booking.differs))
            else:
                self.counts["duplicate"] += 1
            return FillReport(duplicate=booking.duplicate, conflict=booking.conflict, reason=booking.reason)
        durable = self.account.ledger.settle(booking.ticket)
        line, now = booking.line or {}, self._wall()
        trade_id = None if booking.change is None else booking.change.trade_id
        self._publish(
            FundingBooked(
                ts_ns=now, symbol=named, venue=line.get("venue"), account=line.get("account"), amount=value,
                rate=line.get("rate"), funding_id=line.get("funding_id"), position_side=line.get("position_side"),
                trade_id=trade_id, bar_id=place.bar_id, trace_id=place.trace_id,
            )
        )  # fmt: skip
        self._publish(
            cost_of_funding(
                ts_ns=now, symbol=named, amount=value, venue=line.get("venue"), account=line.get("account"),
                trade_id=trade_id, trace_id=place.trace_id,
            )
        )  # fmt: skip
        for event in events:
            self._publish(event)
        return FillReport(
            booked=True, durable=durable, trade_id=trade_id,
            late=booking.change is not None and booking.change.late,
            position=None if booking.book is None else booking.book.inventory,
        )  # fmt: skip

    def position(self, symbol: Any, qty: Any, avg_px: Any, said: dict[str, Any]) -> FillReport:
        """Take over what was held before."""
        try:
            named, size, price = _symbol(symbol), _number("qty", qty), price_or_none(avg_px)
            if price is None:
                raise Refused(f"avg_px is not a positive number: {avg_px!r:.60}")  # noqa: TRY301 - one place for all
            ts = None if said.get("ts") is None else moment("ts", said["ts"])
        except Refused as refused:
            return self._refused(
                "position", str(refused), {"symbol": symbol, "qty": qty, "avg_px": avg_px, **said}, None
            )
        words = {key: name(said.get(key)) for key in ("account", "venue", "position_side")}
        if not size:
            return FillReport(duplicate=True, durable=True, reason="nothing is held")
        with self.account.lock:
            booking = self.account.hold(named, size, price, ts=ts, **words)
            if booking.book is not None and booking.book.trade is not None:
                self.trades.adopt(
                    Held(named, words["venue"], words["account"], words["position_side"]), booking.book.trade
                )
        if booking.ticket is None:
            if booking.duplicate:
                return FillReport(duplicate=True, durable=True)
            return self._refused("position", booking.reason or "", {"symbol": symbol, "qty": qty, **said}, None)
        durable = self.account.ledger.settle(booking.ticket)
        return FillReport(booked=True, durable=durable, position=size)

    def transfer(self, amount: Any, said: dict[str, Any]) -> FillReport:
        """Money was moved in or out."""
        try:
            value = _number("amount", amount)
            ts = None if said.get("ts") is None else moment("ts", said["ts"])
        except Refused as refused:
            return self._refused("transfer", str(refused), {"amount": amount, **said}, None)
        currency = name(said.get("currency"))
        booking = self.account.transfer(value, currency=currency, ts=ts)
        if booking.ticket is None:
            return self._refused("transfer", booking.reason or "", {"amount": amount, **said}, None)
        durable = self.account.ledger.settle(booking.ticket)
        self._publish(TransferBooked(ts_ns=self._wall(), amount=value, currency=currency))
        return FillReport(booked=True, durable=durable)

    # -- what cannot be booked ---------------------------------------------------------------------------------------

    def _refused(self, what: str, reason: str, said: Mapping[str, Any], order_id: str | None) -> FillReport:
        self.counts["refused"] += 1
        kept = self._set_aside({"what": what, "reason": reason, "said": dict(said)})
        symbol = name(said.get("symbol"))
        self._publish(FillRefused(ts_ns=self._wall(), symbol=symbol, order_id=order_id, reason=reason, what=what))
        self._faults.say("ledger", f"refused {what}", f"a {what} was not booked: {reason}")
        return FillReport(durable=kept, reason=reason, order_id=order_id, fill_id=name(said.get("fill_id")))


def _told(entry: FillEntry) -> dict[str, Any]:
    return {name: value for name, value in attrs.asdict(entry).items() if value is not None}


def _symbol(value: Any) -> str:
    found = name(value)
    if found is None:
        raise Refused("no symbol")
    return found


def _number(what: str, value: Any) -> Decimal:
    try:
        return number(value)
    except Exception as error:
        raise Refused(f"{what}: {error if type(error) is ValueError else 'not a number'}") from error


def _rate(value: Any) -> str | None:
    try:
        return text(number(value))
    except Exception:
        return None


def _fill_event(
    entry: FillEntry,
    booking: Booking,
    order: Order | None,
    slip: Slippage | None,
    place: Place,
    now: int,
    *,
    durable: bool,
) -> FillBooked:
    change = booking.change
    assert change is not None
    assert booking.seq is not None
    event = {
        "ts_ns": now, "symbol": entry.symbol, "bar_id": place.bar_id, "trace_id": entry.trace_id,
        "order_id": entry.order_id, "venue": entry.venue, "account": entry.account, "seq": booking.seq,
        "side": entry.side, "qty": entry.qty, "price": entry.price, "fill_id": entry.fill_id,
        "trade_id": change.trade_id, "position_side": entry.position_side, "strategy": entry.strategy,
        "role": entry.role, "fill_kind": entry.kind, "fee": booking.fee, "fee_asset": entry.fee_asset,
        "fee_value": booking.fee_value, "gross_pnl": change.gross, "position": change.inventory, "durable": durable,
        "late": change.late, "fill_ts": entry.ts, "more": entry.more,
    }  # fmt: skip
    if order is not None:
        event.update(source=order.source, order_type=order.order_type, decision_px=order.decision_px)
        if order.sent_ns is not None:
            event["latency_ms"] = round((now - order.sent_ns) / 1e6, 3)
    if slip is not None:
        event.update(
            slippage_bps=slip.bps, slippage=slip.money, delay_bps=slip.delay_bps, execution_bps=slip.execution_bps
        )
    return FillBooked(**event)


@exact
def _cost_event(entry: FillEntry, booking: Booking, slip: Slippage | None, place: Place, now: int) -> CostBooked:
    change, book = booking.change, booking.book
    assert change is not None
    assert book is not None
    return cost_of_fill(
        ts_ns=now, symbol=entry.symbol, side=entry.side, qty=entry.qty, price=entry.price, instrument=book.instrument,
        fee=booking.fee_value if booking.fee is not None else ZERO, slippage=slip, order_id=entry.order_id,
        fill_id=entry.fill_id, trade_id=change.trade_id, trace_id=entry.trace_id, bar_id=place.bar_id,
        venue=entry.venue, account=entry.account, strategy=entry.strategy,
    )  # fmt: skip


def _held(line: Mapping[str, Any]) -> Held:
    """Which position a line of the ledger is about."""
    return Held(line["symbol"], line.get("venue"), line.get("account"), line.get("position_side"))
