"""Ledger lines back into books: the same arithmetic as when they were booked, only the lines come from disk."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson

from botobs.accounting.book import FIRST, Book, Entry
from botobs.accounting.ledger.reading import told_time
from botobs.accounting.lines import NO_FEE
from botobs.streams.encode import dumps

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping

    from botobs.accounting.books import Books
    from botobs.accounting.trade import Change
    from botobs.accounting.valuation import BookKey

__all__ = ["book_in", "entries_of", "entry_of", "key_of", "life_since"]


_ONE = Decimal(1)


def key_of(line: Mapping[str, Any]) -> BookKey:
    """Whose book a line belongs to."""
    get = line.get
    return get("account"), get("venue"), line["symbol"], get("position_side"), get("kind") == "hedger_sim"


def entry_of(line: Mapping[str, Any]) -> Entry:
    """What a line of a fill, funding or position says to its book."""
    get = line.get
    kind = line["type"]
    if kind == "funding":
        if "accrued" in line:
            return Entry(line["ts"], line["seq"], FIRST, "accrued", Decimal(line["rate"]), Decimal(line["at_px"]))
        first = FIRST if "settles" in line else None
        return Entry(line["ts"], line["seq"], first, "funding", Decimal(line["amount"]))
    if kind == "position":
        return Entry(line["ts"], line["seq"], None, "position", Decimal(line["qty"]), Decimal(line["avg_px"]))
    qty = Decimal(line["size"])
    where = get("fee_in") or "quote"
    asset = get("fee_asset")
    if "fee" not in line:
        where, fee, asset = "unpriced", _ONE, NO_FEE
    else:
        fee = Decimal(line.get("fee_value", line["fee"]) if where == "quote" else line["fee"])
    return Entry(
        line["ts"], line["seq"], get("fill_id"), where, qty if line["side"] == "buy" else -qty, Decimal(line["price"]),
        fee, get("role"), asset,
    )  # fmt: skip


def entries_of(
    account: Books,
    key: BookKey,
    until: str | None = None,
    voided: Container[int] | None = None,
    upto: int | None = None,
) -> list[Entry]:
    """Everything that the ledger has of one book, sorted.

    Without what was `voided`, and what was accrued and is paid; before `until`, and as of the line `upto`.
    """
    gone = account.voided if voided is None else voided
    return _sorted(
        line
        for line in _lines(account, key[2])
        if line["type"] != "void" and key_of(line) == key and line["seq"] not in gone
        and (until is None or line["ts"] < until) and (upto is None or line["seq"] <= upto)
    )  # fmt: skip


def _sorted(lines: Iterable[Mapping[str, Any]]) -> list[Entry]:
    found: dict[int, Entry] = {}
    for line in lines:  # a payment comes after what it settles
        if "settles" in line:
            found.pop(line["settles"], None)
        found[line["seq"]] = entry_of(line)
    return sorted(found.values(), key=Book.order)


def book_in(book: Book, line: Mapping[str, Any]) -> Change:
    """Book a line that is no void.

    Raises:
        TooOld: It belongs before what the book remembers.
    """
    entry = entry_of(line)
    if "settles" in line:
        with contextlib.suppress(KeyError):  # the line of what it settles is lost
            return book.swap(line["settles"], entry)
    return book.put(entry)


def life_since(books: Books, key: BookKey, ts: str, until: str | None = None) -> tuple[Book, list[Entry]]:
    """A book as it was some time before `ts`, and everything that the ledger has of it since then, sorted.

    With `until`, nothing of a later time but what settles something: such lines are not even read.

    It begins at the turn of an hour that was kept, if nothing older was told or taken back since; else at an earlier
    one, or with the first line.
    """
    now = books.book(key)
    while True:
        at, seq, known = books.snapshots.before(ts, books.applied, only=key)
        book = known.get(key, None if key in known else Book(now.instrument, now.cost_basis, key[3]))
        if not at or book is None or book.instrument != now.instrument:
            at, seq, book = "", 0, Book(now.instrument, now.cost_basis, key[3])
        lines = [line for line in _lines(books, key[2], seq + 1, until) if key_of(line) == key]
        earliest = min((line["ts"] for line in lines), default=at)
        if earliest >= at:
            break
        ts = earliest
    return book, _sorted(line for line in lines if line["type"] != "void" and line["seq"] not in books.voided)


def _lines(account: Books, symbol: str, since: int = 1, until: str | None = None) -> Iterator[dict[str, Any]]:
    needle = b'"symbol":' + dumps(symbol)
    last = None if until is None else until.encode()
    for _, raw in account.ledger.lines(since):
        if needle in raw and (last is None or told_time(raw) <= last or b'"settles":' in raw):
            with contextlib.suppress(ValueError):  # a damaged line counts nowhere; `verify` names it
                yield orjson.loads(raw)
