"""The books from the ledger: all of it, or what came after a checkpoint."""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
import orjson

from botobs.accounting.book import Book, TooOld
from botobs.accounting.instruments import instrument_of
from botobs.accounting.lines import content_of, funding_known_as, identity_of, position_known_as
from botobs.accounting.numbers import exact
from botobs.accounting.replay import book_in, entries_of, entry_of, key_of
from botobs.clock import epoch_ns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botobs.accounting.account import Account
    from botobs.accounting.trade import Change, RoundTrip
    from botobs.accounting.valuation import BookKey

__all__ = ["Composed", "Played", "compose"]

_LAST = 4_000
_DAMAGED = 100


@exact
def compose(account: Account, *, lived: int = 0) -> Composed:
    """Bring the account up to the end of its ledger.

    Args:
        account: Its books are as of `account.applied`.
        lived: The line up to which curve and marks are known already.
    """
    with account.lock:
        composer = _Composer(account, lived)
        composer.run()
        composer.finish()
        return composer.done


#: A line that was applied: its book, the line, what it did, and the open trade after it where that may be another.
Played: TypeAlias = "tuple[BookKey, Mapping[str, Any], Change, RoundTrip | None]"


@attrs.define
class Composed:
    """What a composition found.

    Attributes:
        lines: How many lines there were.
        damaged: The first of those that could not be read.
        last: The last ones that moved a position, for whoever follows trades.
        relived: Books that had to be composed from their beginning.
    """

    lines: int = 0
    damaged: list[int] = attrs.field(factory=list)
    last: deque[Played] = attrs.field(factory=lambda: deque(maxlen=_LAST))
    relived: set[BookKey] = attrs.field(factory=set)


class _Composer:
    """Applies lines in the order in which they were written."""

    def __init__(self, account: Account, lived: int) -> None:
        self._account = account
        self._known = lived
        self._writing = account.writing  # who only looks needs no index of duplicates, and keeps no snapshots
        self._near_end = account.ledger.next_seq - _LAST  # to keep lines before that takes a tenth of the time
        self.done = Composed()
        self._broken = self.done.relived  # books in which something came too late: lived again at the end
        self._marks: dict[tuple[str | None, str], tuple[int, str]] = {}  # the last ones that lines know
        self._hour = ""
        self._lived: Mapping[str, Any] | None = None  # the last line that knows the equity

    def run(self) -> None:
        account, done = self._account, self.done
        loads, apply, snapshots = orjson.loads, self._apply, account.snapshots
        boundary = snapshots.boundary
        for seq, raw in account.ledger.lines(account.applied + 1):
            try:
                line = loads(raw)
                if line["ts"] >= boundary and self._writing:
                    boundary = snapshots.pass_over(line["ts"], seq - 1, account.books, self._broken)
                apply(line, seq)
            except (KeyError, ValueError, TypeError, AttributeError, ArithmeticError):
                if len(done.damaged) < _DAMAGED:  # `verify` names it; the others still count
                    done.damaged.append(seq)
            done.lines += 1
            account.applied = seq

    def finish(self) -> None:
        account = self._account
        for key in self._broken:
            account.books[key] = Book.rebuilt(
                account.instruments.get(key[1], key[2]), account.terms.cost_basis, entries_of(account, key),
                position_side=key[3],
            )  # fmt: skip
            account.snapshots.touched.add(key)
        for (venue, symbol), (seq, price) in self._marks.items():
            if seq > self._known or account.marks.get(venue, symbol) is None:
                account.marks.set(venue, symbol, Decimal(price))
        account.valuation.rebuild(account.books)
        if self._lived is not None:
            self._live(self._lived)

    def _apply(self, line: Mapping[str, Any], seq: int) -> None:
        account = self._account
        kind = line["type"]
        if kind == "fill":
            self._fill(line, seq)
        elif kind == "void":
            self._void(line, seq)
        elif kind == "transfer":
            account.transfers += Decimal(line["value"])
            account.moves.append((line["ts"], Decimal(line["value"])))
            if seq > self._known:
                account.curve.transfer(epoch_ns(line["received"]), Decimal(line["value"]))
        elif kind in ("funding", "position"):
            self._remember(line, seq, kind)
            self._put(line)
        if "mark" in line:
            self._marks[line.get("venue"), line["symbol"]] = seq, line["mark"]
        if "equity" in line and seq > self._known:
            self._see(line)

    def _see(self, line: Mapping[str, Any]) -> None:
        """The curve at each line that nobody has lived through; of a whole ledger at the turn of each hour."""
        if self._known:
            self._live(line)
            return
        hour = line["received"][:13]
        if hour != self._hour:
            if self._lived is not None:
                self._live(self._lived)
            self._live(line)
            self._hour = hour
        self._lived = line

    def _fill(self, line: Mapping[str, Any], seq: int) -> None:
        account, get = self._account, line.get
        fill_id = get("fill_id")
        if fill_id is not None and self._writing:
            account.index.add(identity_of(line), content_of(line), seq)
        if "instrument" in line:
            self._learn(line)
        if "voided_by" in line:
            account.voided[seq] = line["voided_by"]
            account.waiting = [void for void in account.waiting if void["seq"] != line["voided_by"]]
            return
        key = (get("account"), get("venue"), line["symbol"], get("position_side"), get("kind") == "hedger_sim")
        if self._broken and key in self._broken:
            return
        book = account.books.get(key)
        if book is None:
            book = account.book(key)
        fee = get("fee_value") or get("fee")
        try:
            if fee is not None and "fee_in" not in line:
                qty = Decimal(line["size"] if line["side"] == "buy" else "-" + line["size"])
                change = book.take((
                    line["ts"], seq, fill_id, "quote", qty, Decimal(line["price"]), Decimal(fee), get("role"), None,
                ))  # fmt: skip
            else:
                change = book.put(entry_of(line))
        except TooOld:
            self._broken.add(key)
        else:
            if seq >= self._near_end:
                self.done.last.append((key, line, change, book.trade if change.late else None))
        account.snapshots.touched.add(key)

    def _put(self, line: Mapping[str, Any]) -> None:
        if "instrument" in line:
            self._learn(line)
        key = key_of(line)
        if key not in self._broken:
            book = self._account.book(key)
            try:
                self.done.last.append((key, line, book_in(book, line), book.trade))
            except TooOld:
                self._broken.add(key)
        self._account.snapshots.touched.add(key)

    def _void(self, line: Mapping[str, Any], seq: int) -> None:
        account = self._account
        if "voids" not in line:
            account.waiting.append(dict(line))
            return
        account.voided[line["voids"]] = seq
        key = key_of(line)
        if key not in self._broken:
            book = account.book(key)
            try:
                self.done.last.append((key, line, book.remove(line["voids"]), book.trade))
            except (TooOld, KeyError):
                self._broken.add(key)
        account.snapshots.touched.add(key)

    def _remember(self, line: Mapping[str, Any], seq: int, kind: str) -> None:
        for known in funding_known_as(line) if kind == "funding" else (position_known_as(line),):
            self._account.index.add(*known, seq)

    def _learn(self, line: Mapping[str, Any]) -> None:
        told = {"symbol": line["symbol"], **line["instrument"]}
        account, instrument = self._account, instrument_of(told)
        if account.instruments.tell(line.get("venue"), instrument):
            # what was booked under other terms before, such as funding, counts under these
            now, named = account.instruments.get, instrument.symbol
            of_it = [(key, book) for key, book in account.books.items() if key[2] == named]
            self._broken.update(key for key, book in of_it if book.instrument != now(key[1], named))

    def _live(self, line: Mapping[str, Any]) -> None:
        """What the account was worth when this line was written, and the peak it had seen by then."""
        moment, equity, peak = epoch_ns(line["received"]), Decimal(line["equity"]), Decimal(line["peak"])
        curve = self._account.curve
        if peak > curve.peak:
            curve.feed(moment, peak)
        curve.feed(moment, equity)
