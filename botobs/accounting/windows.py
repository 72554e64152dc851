"""The account over a window of time: what it was at the start, and what came since."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import orjson

from botobs.accounting.book import Book, TooOld
from botobs.accounting.entries import moment, stamp
from botobs.accounting.numbers import exact
from botobs.accounting.replay import entries_of, entry_of, key_of
from botobs.config.values import period

if TYPE_CHECKING:
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
def books_at(account: Account, ts: str) -> dict[BookKey, Book]:
    """What the books were before `ts`, with everything that is known today of the time before it."""
    with account.lock:
        at, seq, books = account.snapshots.before(ts)
        doubtful: set[BookKey] = set()  # something happened in the snapshot's past that it did not know
        for _, raw in account.ledger.lines(seq + 1):
            line = orjson.loads(raw)
            if line["type"] == "transfer" or line.get("ts", "") >= ts or line.get("symbol") is None:
                continue
            key = key_of(line)
            if line["ts"] < at:
                doubtful.add(key)
            if key not in doubtful and not _apply(account, books, key, line):
                doubtful.add(key)
        for key in doubtful:
            old = account.book(key)
            entries = entries_of(account, key, until=ts)
            books[key] = Book.rebuilt(old.instrument, old.cost_basis, entries, position_side=key[3])
        return books


def _apply(account: Account, books: dict[BookKey, Book], key: BookKey, line: dict[str, Any]) -> bool:
    """Whether `line` could be applied."""
    if line["type"] == "void" or line["seq"] in account.voided:
        return True  # its fill is left out wherever it stands; one from before the snapshot is doubtful already
    book = books.get(key)
    if book is None:
        book = books[key] = Book(account.book(key).instrument, account.terms.cost_basis, key[3])
    try:
        book.put(entry_of(line))
    except TooOld:
        return False
    return True
