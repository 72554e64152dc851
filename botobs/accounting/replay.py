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

    from botobs.accounting.account import Account
    from botobs.accounting.valuation import BookKey

__all__ = ["entries_of", "entry_of", "key_of"]


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
    account: Account, key: BookKey, until: str | None = None, voided: Container[int] | None = None
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


def _lines(account: Account, symbol: str) -> Iterator[dict[str, Any]]:
    needle = b'"symbol":' + dumps(symbol)
    for _, raw in account.ledger.lines():
        if needle in raw:
            with contextlib.suppress(ValueError):  # a damaged line counts nowhere; `verify` names it
                yield orjson.loads(raw)
