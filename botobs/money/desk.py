"""Where what the bot reports about money is read, booked, and told to the others.

Everything that is wrong about a report ends here: it is set aside in `metrics/refused.jsonl` with the reason, counted,
and said in the answer. Events are published outside the account's lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botobs.accounting.accruing import Near, funding_id_of
from botobs.accounting.entries import moment, price_or_none
from botobs.accounting.numbers import exact, number, text
from botobs.accounting.routes import Refused, name, position_side_of, shown
from botobs.events import FillConflict, FundingBooked, TransferBooked, VoidBooked
from botobs.money.fills import FillDesk, Filled
from botobs.money.report import FillReport, Place
from botobs.money.tail import Work
from botobs.trackers.given import order_key
from botobs.trackers.life import Place as Held

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from botobs.accounting.account import Booking

__all__ = ["Desk", "Filled", "Place"]


class Desk(FillDesk):
    """Books what is reported: fills, as `FillDesk` does, and all else."""

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
        durable = self.account.ledger.settle_line(booking.ticket)
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
        if self.funds is not None:
            if line["ts"] < self.funds.times.newest.get(line["symbol"], ""):
                self.funds.late(line["symbol"], line["ts"])
            self.funds.looked = booking.seq or self.funds.looked
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
            side = position_side_of(said.get("position_side"))
        except Refused as refused:
            return self._refused("funding", str(refused), {"symbol": symbol, "amount": amount, **said}, None)
        (rate, odd), now = _rate(said.get("rate")), self._wall()
        if odd is not None:  # the payment counts all the same
            self._faults.say("funding", "rate", f"funding of {named}: {odd}")
        words = {key: name(said.get(key)) for key in ("funding_id", "account", "venue")} | {"position_side": side}
        if self.funds is not None:
            self.funds.cross(now)  # it may be the payment for what is due by now
        with self.account.lock:
            booking = self.account.fund(
                named, value, ts=ts, rate=rate, trace_id=place.trace_id,
                near=Near() if self.funds is None else self.funds.near(named), **words,
            )  # fmt: skip
            for one in () if booking.ticket is None else (booking, *booking.also):
                self._tail.put(Work(self._follow_funding, (one, place, now)))
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
        last = booking.also[-1].ticket if booking.also else booking.ticket
        durable = self.account.ledger.settle_line(booking.ticket if last is None else last)
        trade_id = None if booking.change is None else booking.change.trade_id
        self._moved(None)
        return FillReport(
            booked=True, durable=durable, trade_id=trade_id, reason=odd,
            late=booking.change is not None and booking.change.late,
            position=None if booking.book is None else booking.book.inventory,
        )  # fmt: skip

    def _follow_funding(self, booking: Booking, place: Place, now: int) -> None:
        self.followed = booking.seq or self.followed
        line, change, settled = booking.line or {}, booking.change, booking.accrual
        assert change is not None
        self._publish(
            FundingBooked(
                ts_ns=now, symbol=line["symbol"], venue=line.get("venue"), account=line.get("account"),
                amount=number(line["amount"]), rate=line.get("rate"), funding_id=line.get("funding_id"),
                position_side=line.get("position_side"), trade_id=change.trade_id, bar_id=place.bar_id,
                trace_id=place.trace_id, accrued=None if settled is None else settled.amount,
                settles=None if settled is None else funding_id_of(line["symbol"], settled.ts),
            )
        )  # fmt: skip
        if self.funds is not None:
            self.funds.costs.paid(booking, now)
        for event in self.trades.changed(_held(line), change, booking.trade, ts=line["ts"]):
            self._publish(event)

    def position(self, symbol: Any, qty: Any, avg_px: Any, said: dict[str, Any]) -> FillReport:
        """Take over what was held before."""
        try:
            named, size, price = _symbol(symbol), _number("qty", qty), price_or_none(avg_px)
            if price is None:
                raise Refused(f"avg_px is not a positive number: {shown(avg_px)}")
            ts = None if said.get("ts") is None else moment("ts", said["ts"])
            side = position_side_of(said.get("position_side"))
        except Refused as refused:
            return self._refused(
                "position", str(refused), {"symbol": symbol, "qty": qty, "avg_px": avg_px, **said}, None
            )
        words = {key: name(said.get(key)) for key in ("account", "venue")} | {"position_side": side}
        if not size:
            return FillReport(duplicate=True, durable=True, reason="nothing is held")
        with self.account.lock:
            booking = self.account.hold(named, size, price, ts=ts, **words)
            if self.funds is not None and ts is not None and ts < self.funds.times.newest.get(named, ""):
                self.funds.late(named, ts)
            if booking.book is not None and booking.book.trade is not None:
                self.trades.adopt(
                    Held(named, words["venue"], words["account"], words["position_side"]), booking.book.trade
                )
        if booking.ticket is None:
            if booking.duplicate:
                return FillReport(duplicate=True, durable=True)
            return self._refused("position", booking.reason or "", {"symbol": symbol, "qty": qty, **said}, None)
        durable = self.account.ledger.settle_line(booking.ticket)
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
        durable = self.account.ledger.settle_line(booking.ticket)
        self._publish(TransferBooked(ts_ns=self._wall(), amount=value, currency=currency))
        self._moved(None)
        return FillReport(booked=True, durable=durable)


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


def _rate(value: Any) -> tuple[str | None, str | None]:
    """A payment's rate as text; and what is wrong with it, if it is none."""
    try:
        return None if value is None else text(_number("rate", value)), None
    except Refused as refused:
        return None, f"booked without its rate: {refused}"


def _held(line: Mapping[str, Any]) -> Held:
    """Which position a line of the ledger is about."""
    return Held(line["symbol"], line.get("venue"), line.get("account"), line.get("position_side"))
