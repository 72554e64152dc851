"""Where what the bot reports about money is read, booked, and told to the others.

Everything that is wrong about a report ends here: it is set aside in `metrics/refused.jsonl` with the reason, counted,
and said in the answer. Events are published outside the account's lock.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs

from botobs.accounting.entries import Refused, moment, name, price_or_none, read_fill, shown
from botobs.accounting.numbers import ZERO, exact, number, text
from botobs.events import (
    FillBooked,
    FillConflict,
    FillRefused,
    FundingBooked,
    TransferBooked,
    VoidBooked,
)
from botobs.money.report import FillReport, Place
from botobs.money.tail import Work
from botobs.trackers.costs import cost_of_fill, cost_of_funding
from botobs.trackers.given import order_key
from botobs.trackers.life import FillContext
from botobs.trackers.life import Place as Held
from botobs.trackers.slippage import slipped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from decimal import Decimal

    from botobs.accounting.account import Account, Booking
    from botobs.accounting.entries import FillEntry
    from botobs.accounting.trade import Change
    from botobs.events import CostBooked, Event
    from botobs.faults import Faults
    from botobs.money.tail import Tail
    from botobs.trackers.orders import Order, Orders
    from botobs.trackers.slippage import Slippage, SlippageTracker
    from botobs.trackers.trades import TradeTracker

__all__ = ["Desk", "Filled", "Place"]

_new = tuple.__new__  # a FillReport without the cost of the constructor


class Filled(Work):
    """A fill that was booked, on its way to everybody else."""

    __slots__ = ("booking", "desk", "durable", "entry", "now", "order", "place", "slip")

    def __init__(  # noqa: PLR0917 - keywords would cost
        self, desk: Desk, entry: FillEntry, booking: Booking, order: Order | None, place: Place, now: int
    ) -> None:
        self.ready = False
        self.desk = desk
        self.entry = entry
        self.booking = booking
        self.order = order
        self.place = place
        self.now = now
        self.durable = False
        self.slip: tuple[float, Decimal, Decimal] | None = None

    def run(self) -> None:
        """Tell everybody."""
        self.desk.follow(self)


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
        tail: Has done what follows from a report.
        before: Called before a fill may change what the account is worth.
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
        before: Callable[[int], object],
        moved: Callable[[int | None], object],
        tail: Tail,
    ) -> None:
        self.account = account
        self.orders = orders
        self.slippage = slippage
        self.trades = trades
        self.counts: Counter[str] = Counter()
        self.followed = 0  # the last line of the ledger that the trades know of
        self._publish = publish
        self._set_aside = set_aside
        self._faults = faults
        self._wall = wall
        self._before = before
        self._moved = moved
        self.told: Callable[[str, Any, Change], object] | None = None  # of each fill, before its verb returns
        self._tail = tail

    # -- fills -------------------------------------------------------------------------------------------------------

    def fill(self, order_id: Any, said: dict[str, Any], place: Place, more: Mapping[str, Any] | None) -> FillReport:
        """Book a fill and wait until it is as durable as configured."""
        done = self.book_fill(order_id, said, place, more)
        return self.filled(done) if done.__class__ is Filled else done  # type: ignore[return-value]

    def book_fill(
        self, order_id: Any, said: dict[str, Any], place: Place, more: Mapping[str, Any] | None
    ) -> FillReport | Filled:
        """Book a fill; what it came to, or what `filled` needs to finish it once it is durable."""
        now = self._wall()
        order = None if order_id is None else self.orders.get(order_id)
        key = order_key(order_id) if order is None else order.order_id
        try:
            if order is not None:
                _complete(said, order)
            elif said["symbol"] is None:
                known = "names no order" if key is None else f"order {key!r} is not known"
                raise Refused(f"the fill names no symbol, and {known}")
            entry = read_fill(said, now_ns=now, order_id=key, trace_id=place.trace_id, more=more)
        except Refused as refused:
            return self._refused("fill", str(refused), {"order_id": order_id, **said, **(more or {})}, key)
        account = self.account
        self._before(now)
        with account.lock:
            booking = account.fill(entry, now)
            if booking.change is not None:
                done = Filled(self, entry, booking, order, place, now)
                self._tail.put(done)  # under the lock: what follows keeps the order of the books
        if booking.change is None:
            return self._not_booked(entry, booking)
        if (
            self.told is not None and entry.kind != "hedger_sim"
        ):  # who may have to stop the bot does not wait for a disk
            self.told(entry.symbol, place.bar_id, booking.change)
        self._moved(now)
        return done

    def filled(self, work: Work) -> FillReport:
        """Wait for the disk, and answer."""
        assert isinstance(work, Filled)
        entry, booking, order = work.entry, work.booking, work.order
        ticket, change, book = booking.ticket, booking.change, booking.book
        assert ticket is not None
        assert change is not None
        assert book is not None
        slip = None
        try:
            work.durable = durable = self.account.ledger.settle(ticket)
            if order is not None:
                slip = work.slip = slipped(order, book.instrument, entry.price, entry.qty, entry.side)
        finally:
            work.ready = True
        counts = self.counts
        counts["booked"] += 1
        if change.late:
            counts["late"] += 1
        self._tail.may_follow()
        bps, money = (None, None) if slip is None else slip[:2]
        return _new(FillReport, (  # all of its fields in their order: the constructor takes twice as long
            True, durable, False, False, change.late, None if durable else self._why_not(), entry.fill_id,
            entry.order_id, change.trade_id, bps, money, change.gross, change.inventory,
        ))  # fmt: skip

    def _why_not(self) -> str:
        """Why a line that was booked is not durable."""
        if self.account.ledger.root is None:
            return "there is no ledger on disk"
        return "it could not be written; it is in memory and will be written"

    @exact
    def follow(self, done: Filled) -> None:
        """What the fill was in the eyes of its order and of its trade; tell everybody."""
        entry, booking, order, place = done.entry, done.booking, done.order, done.place
        change, book = booking.change, booking.book
        assert change is not None
        assert book is not None
        assert booking.seq is not None
        self.followed = booking.seq
        if entry.kind == "hedger_sim":
            return
        slip = None
        if order is not None:
            slip = self.slippage.filled(
                order, entry.price, entry.qty, entry.side, instrument=book.instrument, fee=booking.fee_value,
                latency_ms=self.slippage.latency_ms(order, done.now), now_ns=done.now,
            )  # fmt: skip
        context = FillContext(
            symbol=entry.symbol, side=entry.side, qty=entry.qty, price=entry.price, ts=entry.ts, seq=booking.seq,
            fill_id=entry.fill_id, venue=entry.venue, account=entry.account, position_side=entry.position_side,
            strategy=entry.strategy, slippage_bps=None if slip is None else slip.bps, trace_id=entry.trace_id,
            bar_id=place.bar_id,
        )  # fmt: skip
        events = self.trades.booked(context, change, order, booking.trade)
        self._publish(_fill_event(done, slip))
        self._publish(_cost_event(done, slip))
        for event in events:
            self._publish(event)

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
        known = self.account.fills_called(found)
        with self.account.lock:
            booking = self.account.void(
                found, name(reason) or "not said", order_id=order_id, symbol=name(said.get("symbol")),
                account=name(said.get("account")), known=known,
            )  # fmt: skip
            line = booking.line or {}
            if booking.ticket is not None:
                self._tail.put(Work(self._unfollow, (booking, found, self._wall())))
        if booking.ticket is None:
            if booking.duplicate:
                return FillReport(duplicate=True, durable=True, fill_id=found, order_id=order_id)
            return self._refused("void", booking.reason or "", {"fill_id": fill_id, **said}, order_id)
        durable = self.account.ledger.settle(booking.ticket)
        self.counts["void"] += 1
        self._moved(None)
        return FillReport(
            booked=True, durable=durable, fill_id=found, order_id=line.get("order_id"),
            reason="its fill has not come yet; it is waited for" if booking.waiting else None,
            trade_id=None if booking.change is None else booking.change.trade_id,
            position=None if booking.book is None else booking.book.inventory,
        )  # fmt: skip

    @exact
    def _unfollow(self, booking: Booking, fill_id: str, now: int) -> None:
        """A fill was taken back: its order and its trade are what they would be without it."""
        self.followed = booking.seq or self.followed
        line, change, book, said = booking.removed, booking.change, booking.book, booking.line or {}
        self._publish(
            VoidBooked(
                ts_ns=now, symbol=said.get("symbol"), order_id=said.get("order_id"), venue=said.get("venue"),
                account=said.get("account"), fill_id=fill_id, reason=said.get("reason"), seq=said.get("voids"),
                waiting=booking.waiting,
            )
        )  # fmt: skip
        if line is None or change is None or book is None or line.get("kind") == "hedger_sim":
            return
        order = self.orders.get(line.get("order_id"))
        if order is not None:
            fee = line.get("fee_value", line.get("fee"))
            self.slippage.taken_back(
                order, number(line["price"]), number(line["size"]), line["side"], instrument=book.instrument,
                fee=None if fee is None else number(fee),
            )  # fmt: skip
        for event in self.trades.voided(_held(line), line["seq"], change, booking.trade, ts=line["ts"]):
            self._publish(event)

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
            if booking.ticket is not None:
                self._tail.put(Work(self._follow_funding, (booking, value, place, self._wall())))
        if booking.ticket is None:
            if not booking.conflict and not booking.duplicate:
                return self._refused(
                    "funding", booking.reason or "", {"symbol": symbol, "amount": amount, **said}, None
                )
            if booking.conflict:
                self.counts["conflict"] += 1
                self._set_aside({"what": "funding", "reason": booking.reason, "conflict": True, "seq": booking.seq,
                                 "said": {"symbol": symbol, "amount": amount, **said}})  # fmt: skip
                self._publish(FillConflict(ts_ns=self._wall(), symbol=named, seq=booking.seq, differs=booking.differs))
            else:
                self.counts["duplicate"] += 1
            return FillReport(duplicate=booking.duplicate, conflict=booking.conflict, reason=booking.reason)
        durable = self.account.ledger.settle(booking.ticket)
        trade_id = None if booking.change is None else booking.change.trade_id
        self._moved(None)
        return FillReport(
            booked=True, durable=durable, trade_id=trade_id,
            late=booking.change is not None and booking.change.late,
            position=None if booking.book is None else booking.book.inventory,
        )  # fmt: skip

    def _follow_funding(self, booking: Booking, amount: Decimal, place: Place, now: int) -> None:
        self.followed = booking.seq or self.followed
        line, change = booking.line or {}, booking.change
        assert change is not None
        self._publish(
            FundingBooked(
                ts_ns=now, symbol=line["symbol"], venue=line.get("venue"), account=line.get("account"), amount=amount,
                rate=line.get("rate"), funding_id=line.get("funding_id"), position_side=line.get("position_side"),
                trade_id=change.trade_id, bar_id=place.bar_id, trace_id=place.trace_id,
            )
        )  # fmt: skip
        self._publish(
            cost_of_funding(
                ts_ns=now, symbol=line["symbol"], amount=amount, venue=line.get("venue"), account=line.get("account"),
                trade_id=change.trade_id, trace_id=place.trace_id,
            )
        )  # fmt: skip
        for event in self.trades.changed(_held(line), change, booking.trade, ts=line["ts"]):
            self._publish(event)

    def position(self, symbol: Any, qty: Any, avg_px: Any, said: dict[str, Any]) -> FillReport:
        """Take over what was held before."""
        try:
            named, size, price = _symbol(symbol), _number("qty", qty), price_or_none(avg_px)
            if price is None:
                raise Refused(f"avg_px is not a positive number: {shown(avg_px)}")
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
        self._moved(None)
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
        self._moved(None)
        return FillReport(booked=True, durable=durable)

    # -- what cannot be booked ---------------------------------------------------------------------------------------

    def _refused(self, what: str, reason: str, said: Mapping[str, Any], order_id: str | None) -> FillReport:
        self.counts["refused"] += 1
        kept = self._set_aside({"what": what, "reason": reason, "said": dict(said)})
        symbol = name(said.get("symbol"))
        self._publish(FillRefused(ts_ns=self._wall(), symbol=symbol, order_id=order_id, reason=reason, what=what))
        self._faults.say("ledger", f"refused {what}", f"a {what} was not booked: {reason}")
        return FillReport(durable=kept, reason=reason, order_id=order_id, fill_id=name(said.get("fill_id")))


def _complete(said: dict[str, Any], order: Order) -> None:
    """What a fill does not say, its order does. One by one: a loop over names would take three times as long."""
    if said["symbol"] is None:
        said["symbol"] = order.symbol
    if said["side"] is None:
        said["side"] = order.side
    if said["venue"] is None:
        said["venue"] = order.venue
    if said["account"] is None:
        said["account"] = order.account
    if said.get("strategy") is None:
        said["strategy"] = order.strategy


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


def _fill_event(done: Filled, slip: Slippage | None) -> FillBooked:
    entry, booking, order, now = done.entry, done.booking, done.order, done.now
    change = booking.change
    assert change is not None
    assert booking.seq is not None
    known = order is not None
    sent = None if order is None else order.sent_ns
    return FillBooked(
        ts_ns=now, symbol=entry.symbol, bar_id=done.place.bar_id, trace_id=entry.trace_id, order_id=entry.order_id,
        venue=entry.venue, account=entry.account, seq=booking.seq, side=entry.side, qty=entry.qty, price=entry.price,
        fill_id=entry.fill_id, trade_id=change.trade_id, position_side=entry.position_side, strategy=entry.strategy,
        source=order.source if order is not None else None, order_type=order.order_type if order is not None else None,
        role=entry.role, fill_kind=entry.kind, fee=booking.fee, fee_asset=entry.fee_asset,
        fee_value=booking.fee_value, decision_px=order.decision_px if order is not None else None,
        slippage_bps=None if slip is None else slip.bps, slippage=None if slip is None else slip.money,
        delay_bps=None if slip is None else slip.delay_bps,
        execution_bps=None if slip is None else slip.execution_bps,
        latency_ms=None if not known or sent is None or now < sent else round((now - sent) / 1e6, 3),
        gross_pnl=change.gross, position=change.inventory, durable=done.durable, late=change.late,
        fill_ts=entry.ts, more=entry.more,
    )  # fmt: skip


def _cost_event(done: Filled, slip: Slippage | None) -> CostBooked:
    entry, booking = done.entry, done.booking
    change, book = booking.change, booking.book
    assert change is not None
    assert book is not None
    return cost_of_fill(
        ts_ns=done.now, symbol=entry.symbol, side=entry.side, qty=entry.qty, price=entry.price,
        instrument=book.instrument, slippage=slip,
        fee=booking.fee_value if entry.fee is not None or booking.fee else ZERO, order_id=entry.order_id,
        fill_id=entry.fill_id, trade_id=change.trade_id, trace_id=entry.trace_id,
        bar_id=done.place.bar_id, venue=entry.venue, account=entry.account, strategy=entry.strategy,
    )  # fmt: skip


def _held(line: Mapping[str, Any]) -> Held:
    """Which position a line of the ledger is about."""
    return Held(line["symbol"], line.get("venue"), line.get("account"), line.get("position_side"))
