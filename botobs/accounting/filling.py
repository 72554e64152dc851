"""How a fill gets into the books and into the ledger."""

from __future__ import annotations

from decimal import Decimal, getcontext, setcontext
from typing import TYPE_CHECKING, Any

from botobs.accounting.book import Entry, TooOld
from botobs.accounting.booking import BUSY, Booking
from botobs.accounting.lines import NO_FEE, content, differences, is_meant, said_of_fill
from botobs.accounting.mending import Mending
from botobs.accounting.numbers import EXACT, ZERO, text
from botobs.quick import maker

if TYPE_CHECKING:
    from botobs.accounting.book import Book
    from botobs.accounting.entries import FillEntry

__all__ = ["Filling"]

_ONE = Decimal(1)
_booking = maker(Booking)


class Filling(Mending):
    """Books that take fills.

    A bot waits for what is done here, and calls cost: so this is one straight path.
    """

    def fill(self, entry: FillEntry, now_ns: int | None = None) -> Booking:
        """Book a fill: index, book, ledger, curve. The caller settles the ticket outside the lock."""
        with self.lock:
            return self.fill_locked(entry, self.wall() if now_ns is None else now_ns)

    def fill_locked(  # noqa: C901, PLR0912, PLR0915 - one straight path
        self, entry: FillEntry, now_ns: int
    ) -> Booking:
        """As `fill`, for a caller that holds the lock."""
        if self.busy:
            return BUSY
        before = getcontext()
        setcontext(EXACT)
        self.busy = True
        try:
            route, qty, price, ts, timed, _, fee, order_id, fill_id, _, _ = entry
            key, asset, ledger = route.key, route.fee_asset, self.ledger
            book = self.books.get(key) or self.book(key)
            # numbers are written by `str`, which takes half the time of `text`; an exponent is seen to below
            size, cost, paid = str(qty), str(price), None if fee is None else str(fee)
            if "E" in size or "E" in cost or (paid is not None and "E" in paid):
                size, cost, paid = text(qty), text(price), None if fee is None else text(fee)
            value: Decimal | None
            if fee is not None and (asset is None or asset == book.settles):
                where, amount, value, fees = "quote", fee, fee, f',"fee":"{paid}"'
            else:
                where, amount, value, fees = self._fee(entry, book)
            identity, checksum = b"", 0
            if fill_id is not None:
                identity = route.identity(order_id, fill_id)
                checksum = content(size, cost, paid, asset, ts if timed else None)
                known = self.index.get(identity)
                if known is not None:
                    return self._again(entry, known, checksum)
            seq = ledger.next_seq
            void, voided_by = self._awaited(entry) if self.waiting else None, None
            if void is not None:
                self.voided[seq] = voided_by = void["seq"]
                self.waiting.remove(void)
                change, late = None, False
            else:
                if ts >= self.snapshots.boundary:
                    self.turn(ts)
                row = (
                    ts, seq, fill_id, where, qty if route.buys else -qty, price, amount, route.role,
                    NO_FEE if fee is None else asset,
                )  # fmt: skip
                try:
                    change = book.take(row)
                except TooOld:
                    change = self.relived(key, Entry(*row))
                    book = self.books[key]
                late = change[8]  # to ask for it by name takes longer
                self.snapshots.touched.add(key)
            if identity:
                self.index.enter(identity, checksum, seq)
            ending = self.ending(key, book, now_ns)
            ledger.add_said(said_of_fill(self._opening, entry, size, cost, fees, change, ending, voided_by), ts, now_ns)
            self.applied = seq
            worth = fee if fee is not None else amount if where == "quote" else ZERO
            if void is not None:
                reason = f"the exchange had taken it back: {void.get('reason')}"
                return Booking(seq, seq, None, book, worth, value, waiting=True, reason=reason)
            booking = _booking((  # all of its fields in their order
                seq, seq, change, book, worth, value, None, False, False, False, None, None, None, None, None, None, (),
            ))  # fmt: skip
            return booking._replace(trade=book.trade) if late else booking
        finally:
            self.busy = False
            setcontext(before)

    def _again(self, entry: FillEntry, known: tuple[int, int], checksum: int) -> Booking:
        """It is in the index already: the same, or in conflict with what was booked."""
        if known[0] == checksum:
            return Booking(seq=known[1], duplicate=True)
        line = self.ledger.find(known[1])
        differs = {"line": ("lost", "reported again")} if line is None else differences(line, entry)
        if not differs:
            return Booking(seq=known[1], duplicate=True, line=line)
        said = ", ".join(f"{what} {old} is booked, {new} was reported" for what, (old, new) in differs.items())
        return Booking(seq=known[1], conflict=True, differs=differs, line=line, reason=f"conflict: {said}")

    def _fee(self, entry: FillEntry, book: Book) -> tuple[str, Decimal, Decimal | None, str]:
        """How the fee counts, the amount for the book, its value (`None`: none, or nobody can say), and what the line
        says of it, so that a later composition comes to the same.
        """  # noqa: D205 - the list is the summary
        route, fee = entry.route, entry.fee
        asset, instrument = route.fee_asset, book.instrument
        if fee is None:
            table = self.terms.fees
            if table is not None:
                notional = abs(instrument.worth(entry.qty, entry.price))
                fee = table.fee(route.role, route.venue, route.symbol, notional)
            if fee is None:
                return "unpriced", _ONE, None, ""  # counted, as `NO_FEE`
            return "quote", fee, fee, f',"fee":"{text(fee)}","fee_from":"table"'
        said, settle = f',"fee":"{text(fee)}"', book.settles or self.terms.currency
        if asset is None or asset.upper() == settle.upper():
            return "quote", fee, fee, said
        if instrument.base is not None and asset.upper() == instrument.base.upper():
            value = fee * entry.price
            return "base", fee, value, f'{said},"fee_in":"base","fee_value":"{text(value)}"'
        rate = self.marks.rate(asset, settle, direct=True)
        if rate is None:
            return "unpriced", fee, None, f'{said},"fee_in":"unpriced"'
        value = fee * rate
        return "quote", value, value, f'{said},"fee_value":"{text(value)}"'

    def _awaited(self, entry: FillEntry) -> dict[str, Any] | None:
        """The void that was told before its fill came."""
        told = entry.told()
        return next((void for void in self.waiting if is_meant(told, void)), None)
