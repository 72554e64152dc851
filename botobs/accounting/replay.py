"""Ledger lines back into books: the same arithmetic as when they were booked, only the lines come from disk."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson

from botobs.accounting.book import Book, Entry
from botobs.accounting.lines import NO_FEE
from botobs.streams.encode import dumps

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

    from botobs.accounting.books import Books
    from botobs.accounting.valuation import BookKey

__all__ = ["entries_of", "entry_of", "key_of", "life_since"]


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
        return Entry(line["ts"], line["seq"], None, "funding", Decimal(line["amount"]))
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
    account: Books, key: BookKey, until: str | None = None, voided: Container[int] | None = None
) -> list[Entry]:
    """Everything that the ledger has of one book, sorted; without what was `voided`, and before `until`."""
    gone = account.voided if voided is None else voided
    found = [
        entry_of(line)
        for line in _lines(account, key[2])
        if line["type"] != "void" and key_of(line) == key and line["seq"] not in gone
        and (until is None or line["ts"] < until)
    ]  # fmt: skip
    found.sort(key=Book.order)
    return found


def life_since(books: Books, key: BookKey, ts: str) -> tuple[Book, list[Entry]]:
    """A book as it was some time before `ts`, and everything that the ledger has of it since then, sorted.

    It begins at the turn of an hour that was kept, if nothing older was told or taken back since; else at an earlier
    one, or with the first line.
    """
    now = books.book(key)
    while True:
        at, seq, known = books.snapshots.before(ts, books.applied, only=key)
        book = known.get(key, None if key in known else Book(now.instrument, now.cost_basis, key[3]))
        if not at or book is None or book.instrument != now.instrument:
            return Book(now.instrument, now.cost_basis, key[3]), entries_of(books, key)
        lines = [line for line in _lines(books, key[2], seq + 1) if key_of(line) == key]
        earliest = min((line["ts"] for line in lines), default=at)
        if earliest >= at:
            break
        ts = earliest
    entries = [entry_of(line) for line in lines if line["type"] != "void" and line["seq"] not in books.voided]
    entries.sort(key=Book.order)
    return book, entries


def _lines(account: Books, symbol: str, since: int = 1) -> Iterator[dict[str, Any]]:
    needle = b'"symbol":' + dumps(symbol)
    for _, raw in account.ledger.lines(since):
        if needle in raw:
            with contextlib.suppress(ValueError):  # a damaged line counts nowhere; `verify` names it
                yield orjson.loads(raw)
