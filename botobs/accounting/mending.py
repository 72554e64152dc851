"""What comes too late for what a book remembers: its life is lived again, from the ledger."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from botobs.accounting.book import Book, TooOld
from botobs.accounting.books import Books
from botobs.accounting.numbers import ZERO, exact
from botobs.accounting.replay import entries_of, life_since
from botobs.accounting.trade import Change, difference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botobs.accounting.book import Entry
    from botobs.accounting.trade import RoundTrip
    from botobs.accounting.valuation import BookKey

__all__ = ["Mending"]


class Mending(Books):
    """Books that take entries in any order, however old."""

    def put(self, key: BookKey, entry: Entry) -> Change:
        """Book what is no fill."""
        self.turn(entry.ts)
        try:
            change = self.book(key).put(entry)
        except TooOld:
            change = self.relived(key, entry)
        self.snapshots.touched.add(key)
        return change

    def remove(self, key: BookKey, seq: int, ts: str) -> Change:
        """Take the entry `seq` of `ts` out, as if it had never been."""
        try:
            change = self.book(key).remove(seq)
        except TooOld:
            change = self.relived(key, None, gone=(ts, seq))
        self.snapshots.touched.add(key)
        self.valuation.changed(key, self.books[key], self.marks.get(key[1], key[2]))
        return change

    def swapped(self, key: BookKey, seq: int, entry: Entry) -> Change:
        """Put `entry` in the place of the entry `seq`, which has the same time."""
        try:
            change = self.book(key).swap(seq, entry)
        except TooOld:
            change = self.relived(key, entry, gone=(entry.ts, seq))
        self.snapshots.touched.add(key)
        return change

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
        gone = {seq for seq, by in self.voided.items() if by <= began}
        known = entries_of(self, key, voided=gone, upto=began)
        Book.rebuilt(old.instrument, old.cost_basis, known, position_side=key[3], trips=before)
        book = Book.rebuilt(old.instrument, old.cost_basis, entries, position_side=key[3], trips=after)
        self.books[key] = book
        self.snapshots.touched.add(key)
        closed, revised, undone = difference(before, after)
        change = Change(ZERO, book.inventory, ZERO, ZERO, ZERO, None, None, closed, late=True)
        return change._replace(revised=revised, undone=undone)

    def relived(self, key: BookKey, entry: Entry | None, *, gone: tuple[str, int] = ("", 0)) -> Change:
        """Something came for a time that the book has forgotten: live its life again, from the ledger.

        Args:
            key: Whose.
            entry: What came; `None`: nothing.
            gone: Time and number of what was taken back.
        """
        if self._bulk is not None and entry is not None:
            self._bulk.add(key)
            worth = self.books[key].instrument.worth(entry.qty, entry.price) if entry.price else ZERO
            return Change(-worth, self.books[key].inventory, ZERO, entry.fee, ZERO, None, None, (), late=True)
        old = self.books[key]
        book, entries = life_since(self, key, gone[0] if entry is None else entry.ts)
        before: list[RoundTrip] = []
        as_it_was = book.copy()
        for known in entries:
            before.extend(as_it_was.put(known).closed)
        entries = [known for known in entries if known.seq != gone[1]]
        if entry is not None:
            entries.append(entry)
            entries.sort(key=Book.order)
        after: list[RoundTrip] = []
        own = None
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

    def turn(self, ts: str) -> None:
        """Keep what the books were at the turn of the hour, before an entry of `ts` changes one."""
        if ts >= self.snapshots.boundary:
            self.snapshots.pass_over(ts, self.applied, self.books, self._bulk or ())
