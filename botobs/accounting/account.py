"""The account: every fill, void, funding payment and transfer goes through here, once, in one order.

One lock, the ledger's: whoever books decides, changes the books and appends the line under it. What comes out of a
run, of a cold composition and of a restart is the same because all of them end in the same `Book`.
"""

from __future__ import annotations

import contextlib
import decimal
import functools
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Concatenate, Literal, NamedTuple, ParamSpec

import attrs
import orjson

from botobs.accounting.book import Book, Entry, TooOld
from botobs.accounting.curve import Curve
from botobs.accounting.entries import stamp
from botobs.accounting.instruments import Instrument, Instruments
from botobs.accounting.ledger import FillIndex
from botobs.accounting.lines import (
    NO_FEE,
    content_of,
    differences,
    fill_line,
    identity_of,
    is_meant,
    known_as,
    position_known_as,
    some,
    terms_of,
)
from botobs.accounting.marks import Currencies, Marks
from botobs.accounting.numbers import EXACT, ZERO, exact, text
from botobs.accounting.replay import entries_of, key_of
from botobs.accounting.snapshots import Snapshots
from botobs.accounting.trade import Change, difference
from botobs.accounting.valuation import BookKey, Valuation
from botobs.streams.encode import dumps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from botobs.accounting.entries import FillEntry
    from botobs.accounting.exchange.fees import FeeTable
    from botobs.accounting.ledger import Ledger, Ticket
    from botobs.accounting.trade import RoundTrip

__all__ = ["Account", "Booking", "Terms"]


@attrs.frozen(kw_only=True)
class Terms:
    """How the account counts.

    Attributes:
        starting_equity: What it was worth before the first fill.
        currency: What totals of several currencies are converted to, and what a symbol settles in that names none.
        currencies: Which currencies count as one.
        fees: What a fill without a fee is taken to have cost.
    """

    starting_equity: Decimal | None = None
    currency: str = "USD"
    currencies: Currencies = attrs.field(factory=Currencies)
    cost_basis: str = "average"
    fees: FeeTable | None = None
    timezone: str = "UTC"
    sharpe_bucket: Literal["day", "hour"] = "day"
    days_per_year: float = 365.0
    bot: str = "bot"
    run_id: str = ""


class Booking(NamedTuple):
    """What became of an entry.

    Attributes:
        seq: Its number in the ledger.
        ticket: To be settled outside the lock.
        fee_value: What the fee was worth in the settlement currency; `None`: nobody can say.
        waiting: A void whose fill has not come; or the fill that a void had waited for.
        trade: The book's open trade after it, where that may be another than before (late, void).
        removed: The line of the fill that a void takes back.
        differs: What a conflicting report says otherwise: field -> (booked, reported).
    """

    seq: int | None = None
    ticket: Ticket | None = None
    change: Change | None = None
    book: Book | None = None
    fee: Decimal | None = None
    fee_value: Decimal | None = None
    line: Mapping[str, Any] | None = None
    duplicate: bool = False
    conflict: bool = False
    waiting: bool = False
    reason: str | None = None
    differs: Mapping[str, Any] | None = None
    removed: Mapping[str, Any] | None = None
    trade: RoundTrip | None = None


P = ParamSpec("P")
_ONE = Decimal(1)
_new = tuple.__new__  # a Booking without the cost of the constructor


def _alone(fn: Callable[Concatenate[Account, P], Booking]) -> Callable[Concatenate[Account, P], Booking]:
    """Book under the lock and with exact numbers, one at a time.

    The lock is re-entrant, so a signal handler may come in the middle of an entry that its own thread is booking:
    what it reports then is not booked, and its caller sets it aside.
    """

    @functools.wraps(fn)
    def run(self: Account, /, *args: P.args, **kwargs: P.kwargs) -> Booking:
        before = decimal.getcontext()
        decimal.setcontext(EXACT)
        try:
            with self.lock:
                if self.busy:
                    return Booking(reason="it was reported in the middle of another report, from a signal handler")
                self.busy = True
                try:
                    return fn(self, *args, **kwargs)
                finally:
                    self.busy = False
        finally:
            decimal.setcontext(before)

    return run


class Account:
    """The books of one bot.

    Args:
        ledger: Where every line goes; its lock is the account's.
        terms: How to count.
        wall: Tells the time, in nanoseconds since 1970.
        snapshots: The file of hourly snapshots; `None`: memory.
        writing: Whether this process writes; the command line only reads.
    """

    def __init__(
        self,
        ledger: Ledger,
        terms: Terms,
        wall: Callable[[], int],
        *,
        snapshots: Path | None = None,
        writing: bool = True,
    ) -> None:
        self.ledger = ledger
        self.lock = ledger.lock
        self.terms = terms
        self.wall = wall
        self._head = {"schema": "v1", "bot": terms.bot, "run_id": terms.run_id}
        self.instruments = Instruments()
        self.marks = Marks(self.instruments, terms.currencies)
        self.valuation = Valuation(terms.currency, terms.currencies, self.marks)
        self.curve = Curve(
            terms.starting_equity, tz=terms.timezone, bucket=terms.sharpe_bucket, days_per_year=terms.days_per_year
        )
        self.writing = writing
        self.snapshots = Snapshots(snapshots, writing=writing)
        self._peak = ZERO, "0"  # the curve's, and as text
        self.busy = False  # an entry is half booked
        self._bulk: set[BookKey] | None = None  # the books in which much that is old is being booked
        self.forget()

    def forget(self) -> None:
        """Be as before the first line."""
        self.index = FillIndex()
        self.books: dict[BookKey, Book] = {}
        self.voided: dict[int, int] = {}  # a fill's seq -> the void's
        self.waiting: list[dict[str, Any]] = []  # voids whose fill has not come
        self.transfers = ZERO
        self.moves: list[tuple[str, Decimal]] = []  # each transfer: when, and its value
        self.applied = 0  # the last seq in the books

    # -- fills -------------------------------------------------------------------------------------------------------

    @_alone
    def fill(self, entry: FillEntry, now_ns: int | None = None) -> Booking:
        """Book a fill: index, book, ledger, curve. The caller settles the ticket outside the lock.

        One straight path, as calls cost: a bot waits for it.
        """
        symbol, venue = entry.symbol, entry.venue
        key = (entry.account, venue, symbol, entry.position_side, entry.kind == "hedger_sim")
        book = self.books.get(key) or self.book(key)
        line = fill_line(entry, self._head)
        identity, content = b"", 0
        if entry.fill_id is not None:
            identity, content = identity_of(line), content_of(line)
            before = self.index.get(identity)
            if before is not None:
                return self._again(entry, before, content)
        seq = self.ledger.next_seq
        where, amount, value = self._fee(entry, book.instrument, line)
        paid = entry.fee if entry.fee is not None else amount if where == "quote" else ZERO
        void = self._awaited(line) if self.waiting else None
        if void is not None:
            line["voided_by"] = self.voided[seq] = void["seq"]
            self.waiting.remove(void)
            if identity:
                self.index.add(identity, content, seq)
            ticket = self._add(line, key, book)
            reason = f"the exchange had taken it back: {void.get('reason')}"
            return Booking(seq, ticket, None, book, paid, value, line, waiting=True, reason=reason)
        ts, asset = entry.ts, NO_FEE if entry.fee is None else entry.fee_asset
        if ts >= self.snapshots.boundary:
            self._turn(ts)
        try:
            change = book.fill(ts, seq, entry.fill_id, entry.signed, entry.price, amount, entry.role, where, asset)
        except TooOld:
            late = Entry(ts, seq, entry.fill_id, where, entry.signed, entry.price, amount, entry.role, asset)
            change = self._relived(key, late)
            book = self.books[key]
        self.snapshots.touched.add(key)
        line["quote_delta"] = text(change.quote_delta)
        line["inventory"] = text(change.inventory)
        line["trade_id"] = change.trade_id
        if change.next_trade_id is not None:
            line["next_trade_id"] = change.next_trade_id
        if change.late:
            line["late"] = True
        if identity:
            self.index.add(identity, content, seq)
        ticket = self._add(line, key, book, now_ns)
        return _new(Booking, (
            seq, ticket, change, book, paid, value, None, False, False, False, None, None, None,
            book.trade if change.late else None,
        ))  # fmt: skip

    def _put(self, key: BookKey, entry: Entry) -> Change:
        """Book what is no fill."""
        self._turn(entry.ts)
        try:
            change = self.book(key).put(entry)
        except TooOld:
            change = self._relived(key, entry)
        self.snapshots.touched.add(key)
        return change

    def _again(self, entry: FillEntry, before: tuple[int, int], crc: int) -> Booking:
        """It is in the index already: the same, or in conflict with what was booked."""
        if before[0] == crc:
            return Booking(seq=before[1], duplicate=True)
        line = self.ledger.find(before[1])
        differs = {"line": ("lost", "reported again")} if line is None else differences(line, entry)
        if not differs:
            return Booking(seq=before[1], duplicate=True, line=line)
        said = ", ".join(f"{what} {old} is booked, {new} was reported" for what, (old, new) in differs.items())
        return Booking(seq=before[1], conflict=True, differs=differs, line=line, reason=f"conflict: {said}")

    def _fee(
        self, entry: FillEntry, instrument: Instrument, line: dict[str, Any]
    ) -> tuple[str, Decimal, Decimal | None]:
        """How the fee counts, the amount for the book, and its value (`None`: none, or nobody can say).

        The line gets what a later composition has to know of it.
        """
        fee, asset = entry.fee, entry.fee_asset
        if fee is None:
            table = self.terms.fees
            if table is not None:
                notional = abs(instrument.worth(entry.qty, entry.price))
                fee = table.fee(entry.role, entry.venue, entry.symbol, notional)
            if fee is None:
                return "unpriced", _ONE, None  # counted, as `NO_FEE`
            line["fee"], line["fee_from"] = text(fee), "table"
            return "quote", fee, fee
        settle = instrument.settle or self.terms.currency
        if asset is None or asset == settle or asset.upper() == settle.upper():
            return "quote", fee, fee
        if instrument.base is not None and asset.upper() == instrument.base.upper():
            line["fee_in"], value = "base", fee * entry.price
            line["fee_value"] = text(value)
            return "base", fee, value
        rate = self.marks.rate(asset, settle, direct=True)
        if rate is None:
            line["fee_in"] = "unpriced"
            return "unpriced", fee, None
        value = fee * rate
        line["fee_value"] = text(value)
        return "quote", value, value

    # -- voids -------------------------------------------------------------------------------------------------------

    @_alone
    def void(
        self,
        fill_id: str,
        reason: str,
        *,
        order_id: str | None,
        symbol: str | None,
        account: str | None,
        known: tuple[int, list[dict[str, Any]]] = (0, []),
    ) -> Booking:
        """Remove a fill as if it had never been; one that has not come yet is waited for.

        `known` is what `fills_called` found before the lock was taken: reading it all would hold up fills.
        """
        asked = {"fill_id": fill_id, "order_id": order_id, "symbol": symbol, "account": account}
        lines = [*known[1], *self.fills_called(fill_id, known[0] + 1)[1]]
        found = [line for line in lines if is_meant(line, asked)]
        left = [line for line in found if line["seq"] not in self.voided]
        if left and len(found) > 1:  # be it that one of them was taken back already: which one is meant now?
            named = "; ".join(
                ", ".join(f"{name}={line[name]}" for name in ("symbol", "order_id", "account", "venue", "side")
                          if line.get(name))
                for line in found[:10]
            )  # fmt: skip
            return Booking(reason=f"fill_id {fill_id!r} is ambiguous, {len(found)} fills have it: {named}")
        if found and not left:
            return Booking(seq=self.voided[found[0]["seq"]], duplicate=True)
        if not found and any(all(void.get(k) == v for k, v in asked.items()) for void in self.waiting):
            return Booking(duplicate=True)
        now = stamp(self.wall())
        fields = {"type": "void", "ts": left[0]["ts"] if left else now, "received": now, **self._head, **asked}
        fields["reason"] = reason
        change = book = None
        if left:
            line = left[0]
            fields.update({name: line.get(name) for name in ("order_id", "symbol", "account", "venue", "side")})
            fields.update({name: line.get(name) for name in ("position_side", "kind")})
            fields["voids"] = line["seq"]
            key = key_of(line)
            change = self._remove(key, line["seq"])
            book = self.books[key]
            self.voided[line["seq"]] = self.ledger.next_seq
        fields = {name: value for name, value in fields.items() if value is not None}
        seq = self.ledger.next_seq
        if not left:
            self.waiting.append({**fields, "seq": seq})
        ticket = self._add(fields, None, None)
        return Booking(
            seq=seq,
            ticket=ticket,
            change=change,
            book=book,
            waiting=not left,
            line=fields,
            removed=left[0] if left else None,
            trade=None if book is None else book.trade,
        )

    def _remove(self, key: BookKey, seq: int) -> Change:
        try:
            change = self.book(key).remove(seq)
        except TooOld:
            change = self._relived(key, None, gone=seq)
        self.snapshots.touched.add(key)
        self.valuation.changed(key, self.books[key], self.marks.get(key[1], key[2]))
        return change

    def _awaited(self, line: Mapping[str, Any]) -> dict[str, Any] | None:
        return next((void for void in self.waiting if is_meant(line, void)), None)

    def fills_called(self, fill_id: str, since_seq: int = 1) -> tuple[int, list[dict[str, Any]]]:
        """Every fill with that id, and up to which line; from the ledger: a void is rare, an index of all ids large."""
        needle, last, found = b'"fill_id":' + dumps(fill_id), since_seq - 1, list[dict[str, Any]]()
        for last, raw in self.ledger.lines(since_seq):  # noqa: B007 - the last one is wanted
            if needle in raw and b'"type":"fill"' in raw:
                with contextlib.suppress(ValueError):
                    found.append(orjson.loads(raw))
        return last, found

    # -- funding, what was held before, transfers --------------------------------------------------------------------

    @_alone
    def fund(
        self,
        symbol: str,
        amount: Decimal,
        *,
        ts: str | None,
        rate: Any = None,
        funding_id: str | None = None,
        account: str | None = None,
        venue: str | None = None,
        position_side: str | None = None,
        trace_id: str | None = None,
    ) -> Booking:
        """Book a funding payment: negative is paid."""
        received = stamp(self.wall())
        key = self._resolved(account, venue, symbol, position_side)
        line = some({
            "type": "funding", "ts": ts or received, "received": received, **self._head, "symbol": symbol,
            "amount": text(amount), "rate": rate, "funding_id": funding_id, "account": key[0], "venue": key[1],
            "position_side": key[3], "timed": True if ts is not None else None, "trace_id": trace_id,
            "of_account": account,
        })  # fmt: skip
        known = known_as(line, "funding")
        if known is not None:
            before = self.index.get(known[0])
            if before is not None and before[0] == known[1]:
                return Booking(seq=before[1], duplicate=True)
            if before is not None:
                old = (self.ledger.find(before[1]) or {}).get("amount")
                return Booking(
                    seq=before[1], conflict=True, differs={"amount": (old, text(amount))},
                    reason=f"conflict: amount {old} is booked, {text(amount)} was reported",
                )  # fmt: skip
        seq = self.ledger.next_seq
        change = self._put(key, Entry(ts or received, seq, None, "funding", amount))
        book = self.books[key]
        line["inventory"] = text(change.inventory)
        if change.trade_id is not None:
            line["trade_id"] = change.trade_id
        if change.late:
            line["late"] = True
        if known is not None:
            self.index.add(known[0], known[1], seq)
        ticket = self._add(line, key, book)
        return Booking(seq=seq, ticket=ticket, change=change, book=book, line=line, trade=book.trade)

    @_alone
    def hold(
        self,
        symbol: str,
        qty: Decimal,
        avg_px: Decimal,
        *,
        ts: str | None = None,
        account: str | None = None,
        venue: str | None = None,
        position_side: str | None = None,
    ) -> Booking:
        """Take over what was held before botobs came: once per position, before its first fill."""
        key = (account, venue, symbol, position_side, False)
        book, received = self.book(key), stamp(self.wall())
        line = some({
            "type": "position", "ts": ts or received, "received": received, **self._head, "symbol": symbol,
            "qty": text(qty), "avg_px": text(avg_px), "account": account, "venue": venue,
            "position_side": position_side,
        })  # fmt: skip
        known, crc = position_known_as(line)
        before = self.index.get(known)
        if before is not None and before[0] == crc:
            return Booking(seq=before[1], duplicate=True)
        if before is not None or book.fills:
            return Booking(reason=f"the position in {symbol} is known already: {text(book.inventory)}")
        seq = self.ledger.next_seq
        change = self._put(key, Entry(ts or received, seq, None, "position", qty, avg_px))
        line.update(quote_delta=text(change.quote_delta), inventory=text(change.inventory))
        if change.trade_id is not None:
            line["trade_id"] = change.trade_id
        book = self.books[key]
        self.index.add(known, crc, seq)
        ticket = self._add(line, key, book)
        return Booking(seq=seq, ticket=ticket, change=change, book=book, line=line, trade=book.trade)

    @_alone
    def transfer(self, amount: Decimal, *, currency: str | None = None, ts: str | None = None) -> Booking:
        """Money moved in (positive) or out: no profit, no drawdown."""
        rate = self.marks.rate(currency or self.terms.currency, self.terms.currency)
        if rate is None:
            return Booking(reason=f"nobody said what {currency} is worth in {self.terms.currency}")
        received, seq = stamp(self.wall()), self.ledger.next_seq
        line = {
            "type": "transfer", "ts": ts or received, "received": received, **self._head, "amount": text(amount),
            "currency": currency, "value": text(amount * rate),
        }  # fmt: skip
        self._moved(ts or received, amount * rate)
        ticket = self._add(some(line), None, None)
        return Booking(seq=seq, ticket=ticket, line=line)

    def _moved(self, ts: str, value: Decimal) -> None:
        self.transfers += value
        self.moves.append((ts, value))
        self.curve.transfer(self.wall(), value)

    # -- prices ------------------------------------------------------------------------------------------------------

    @exact
    def mark(self, symbol: str, price: Decimal, venue: str | None = None, now_ns: int | None = None) -> bool:
        """Take a price; whether it changed what the account is worth."""
        with self.lock:
            self.marks.set(venue, symbol, price)
            if not self.valuation.marked(symbol):
                return False
            self.curve.feed(self.wall() if now_ns is None else now_ns, self._worth())
            return True

    @exact
    def tell(self, instrument: Instrument, venue: str | None = None) -> str | None:
        """Learn how a symbol settles; why not, if that cannot be any more."""
        with self.lock:
            if self.instruments.known.get((venue, instrument.symbol)) == instrument:
                return None
            unlike: list[BookKey] = []
            for key, book in self.books.items():
                if (
                    key[2] == instrument.symbol
                    and venue in (None, key[1])
                    and terms_of(book.instrument) != terms_of(instrument)
                ):
                    if book.fills or book.inventory:
                        return f"{instrument.symbol} has fills under other terms: {terms_of(book.instrument)}"
                    unlike.append(key)
            self.instruments.tell(venue, instrument)
            for key in unlike:  # no fill was booked in them; funding may have been, and it counts on
                told = self.instruments.get(key[1], key[2])
                entries = entries_of(self, key)
                self.books[key] = Book.rebuilt(told, self.terms.cost_basis, entries, position_side=key[3])
                self.snapshots.touched.add(key)
            if unlike:
                self.valuation.rebuild(self.books)
            self.marks.told(instrument.symbol)
            return None

    # -- inside ------------------------------------------------------------------------------------------------------

    def book(self, key: BookKey) -> Book:
        """The book of a position, made if there is none."""
        book = self.books.get(key)
        if book is None:
            book = Book(self.instruments.get(key[1], key[2]), self.terms.cost_basis, key[3])
            self.books[key] = book
        return book

    @property
    def equity(self) -> Decimal | None:
        """What the account is worth now; `None` where nobody said what it began with."""
        if self.terms.starting_equity is None:
            return None
        with self.lock:
            return exact(self._worth)()

    def _worth(self) -> Decimal:
        return (self.terms.starting_equity or ZERO) + self.transfers + self.valuation.pnl()

    def _resolved(self, account: str | None, venue: str | None, symbol: str, side: str | None) -> BookKey:
        """The position that is meant where the bot named it only in part."""
        key = (account, venue, symbol, side, False)
        if key in self.books:
            return key
        near = [
            (known, book)
            for known, book in self.books.items()
            if known[2] == symbol and not known[4] and account in (None, known[0]) and venue in (None, known[1])
            and side in (None, known[3])
        ]  # fmt: skip
        still = [known for known, book in near if book.inventory]
        if len(still) == 1:
            return still[0]
        return near[0][0] if len(near) == 1 else key

    @contextlib.contextmanager
    def bulk(self) -> Iterator[list[tuple[BookKey, Change]]]:
        """Book much that may be old: books in which something comes too late are put right once, at the end.

        Gives a list that then has what that changed about their trades.
        """
        changes: list[tuple[BookKey, Change]] = []
        with self.lock:
            began, self._bulk = self.applied, set()
        try:
            yield changes
        finally:
            with self.lock:
                late, self._bulk = self._bulk, None
                changes.extend((key, exact(self._put_right)(key, began)) for key in late or ())
                exact(self.valuation.rebuild)(self.books)

    @exact
    def compared(self, key: BookKey, began: int) -> Change:
        """What came after line `began` has changed about the trades of a position."""
        with self.lock:
            change = self._put_right(key, began)
            self.valuation.rebuild(self.books)
            return change

    def _put_right(self, key: BookKey, began: int) -> Change:
        entries, old = entries_of(self, key), self.books[key]
        before: list[RoundTrip] = []
        after: list[RoundTrip] = []
        known = [entry for entry in entries if entry.seq <= began]
        Book.rebuilt(old.instrument, old.cost_basis, known, position_side=key[3], trips=before)
        book = Book.rebuilt(old.instrument, old.cost_basis, entries, position_side=key[3], trips=after)
        self.books[key] = book
        self.snapshots.touched.add(key)
        closed, revised, undone = difference(before, after)
        change = Change(ZERO, book.inventory, ZERO, ZERO, ZERO, None, None, closed, late=True)
        return change._replace(revised=revised, undone=undone)

    def _relived(self, key: BookKey, entry: Entry | None, *, gone: int | None = None) -> Change:
        """Something came for a time that the book has forgotten: live its life again, from the ledger."""
        if self._bulk is not None and entry is not None:
            self._bulk.add(key)
            worth = self.books[key].instrument.worth(entry.qty, entry.price) if entry.price else ZERO
            return Change(-worth, self.books[key].inventory, ZERO, entry.fee, ZERO, None, None, (), late=True)
        entries, old = entries_of(self, key), self.books[key]
        before: list[RoundTrip] = []
        Book.rebuilt(old.instrument, old.cost_basis, entries, position_side=key[3], trips=before)
        entries = [known for known in entries if known.seq != gone]
        if entry is not None:
            entries.append(entry)
            entries.sort(key=Book.order)
        after: list[RoundTrip] = []
        book, own = Book(old.instrument, old.cost_basis, key[3]), None
        for known in entries:
            change = book.put(known)
            after.extend(change.closed)
            if entry is not None and known.seq == entry.seq:
                own = change
        self.books[key] = book
        closed, revised, undone = difference(before, after)
        if own is not None:
            return own._replace(late=True, closed=closed, revised=revised, undone=undone)
        return Change(
            book.turn - old.turn, book.inventory, book.gross - old.gross, book.fees - old.fees, ZERO, None, None,
            closed, late=True, revised=revised, undone=undone,
        )  # fmt: skip

    def _turn(self, ts: str) -> None:
        """Keep what the books were at the turn of the hour, before an entry of `ts` changes one."""
        if ts >= self.snapshots.boundary:
            self.snapshots.pass_over(ts, self.applied, self.books, self._bulk or ())

    def _add(self, line: dict[str, Any], key: BookKey | None, book: Book | None, now_ns: int | None = None) -> Ticket:
        """Value the book, feed the curve, and append the line with what is needed to compose it again from nothing."""
        if key is not None and book is not None:
            mark = self.marks.get(key[1], key[2])
            self.valuation.changed(key, book, mark)
            if mark is not None:
                line["mark"] = text(mark)
            if self.instruments.known and self.instruments.declared(key[1], key[2]):
                line["instrument"] = terms_of(book.instrument)
        now, worth = self.wall() if now_ns is None else now_ns, self._worth()
        self.curve.feed(now, worth)
        if self.terms.starting_equity is not None:
            line["equity"] = text(worth)
            peak = self.curve.peak
            if peak is not self._peak[0]:  # it stays for long
                self._peak = peak, text(peak)
            line["peak"] = self._peak[1]
        ticket = self.ledger.add(line, now)
        self.applied = ticket.seq
        return ticket
