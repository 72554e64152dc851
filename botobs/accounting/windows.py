"""The account over a window of time: what it was at the start, and what came since."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import orjson

from botobs.accounting.book import Book, TooOld
from botobs.accounting.entries import moment, stamp
from botobs.accounting.numbers import exact
from botobs.accounting.replay import book_in, entries_of, key_of
from botobs.config.values import period

if TYPE_CHECKING:
    from collections.abc import Container

    from botobs.accounting.account import Account
    from botobs.accounting.valuation import BookKey

__all__ = ["books_at", "since"]


def since(window: Any, now_ns: int) -> str | None:
    """When a window begins (RFC 3339); `None`: it is all there is.

    Args:
        window: `all`, a duration such as `6h`, a `timedelta`, or a time (datetime, RFC 3339, epoch).
        now_ns: When it ends.

    Raises:
        ValueError: It is no window.
    """
    if window is None or (isinstance(window, str) and window.strip().lower() == "all"):
        return None
    if isinstance(window, dt.timedelta):
        return stamp(now_ns - int(window.total_seconds() * 1e9))
    if isinstance(window, str) and not window.strip().replace(".", "", 1).isdigit():
        try:
            seconds = period(window.strip())
        except ValueError:
            seconds = None
        if seconds is not None:
            return stamp(now_ns - int(seconds * 1e9))
    try:
        return moment("window", window)
    except ValueError as error:
        raise ValueError(f"not a window: {window!r:.60}; 'all', a duration such as '6h', or a time") from error


@exact
def books_at(account: Account, ts: str, upto: int, voided: Container[int]) -> dict[BookKey, Book]:
    """What the books were before `ts`, with everything that is known today of the time before it.

    Needs no lock.

    Args:
        account: Whose.
        ts: When.
        upto: The last line that counts.
        voided: The fills that were taken back by then.
    """
    at, seq, known = account.snapshots.before(ts, upto)
    books = {key: book for key, book in known.items() if book is not None}
    now = account.instruments.get
    books = {key: book for key, book in books.items() if book.instrument == now(key[1], key[2])}  # of the same terms
    doubtful = known.keys() - books.keys()  # and those in whose past something happened that it did not know
    for _, raw in account.ledger.lines(seq + 1, upto):
        try:
            line = orjson.loads(raw)
        except ValueError:  # a damaged line counts nowhere
            continue
        if line["type"] == "transfer" or line["ts"] >= ts or line.get("symbol") is None:
            continue
        key = key_of(line)
        if line["ts"] < at:
            doubtful.add(key)
        if line["type"] == "void" or line["seq"] in voided or key in doubtful:
            continue  # a void's fill is left out wherever it stands; one from before the snapshot is doubtful already
        if not _put(account, books, key, line):
            doubtful.add(key)
    for key in doubtful:
        entries = entries_of(account, key, ts, voided, upto)
        instrument = account.instruments.get(key[1], key[2])
        books[key] = Book.rebuilt(instrument, account.terms.cost_basis, entries, position_side=key[3])
    return books


def _put(account: Account, books: dict[BookKey, Book], key: BookKey, line: dict[str, Any]) -> bool:
    """Whether `line` could be booked."""
    book = books.get(key)
    if book is None:
        book = books[key] = Book(account.instruments.get(key[1], key[2]), account.terms.cost_basis, key[3])
    try:
        book_in(book, line)
    except TooOld:
        return False
    return True
