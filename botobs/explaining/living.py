"""A trade lived again: what each fill was to it, as the position engine deals fills out.

Nothing is reckoned here: the ledger's entries go through a book once more, and what the open trade's sums grew by is
what the fill brought to it, be it a part of one that flips, with a fee in the base, or beside a carried dust.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from botobs.accounting.numbers import ZERO, exact
from botobs.accounting.replay import key_of, life_since
from botobs.explaining.waterfall import Leg

if TYPE_CHECKING:
    from collections.abc import Iterable

    from botobs.accounting.books import Books
    from botobs.accounting.instruments import Instrument
    from botobs.accounting.trade import RoundTrip
    from botobs.accounting.valuation import BookKey

__all__ = ["Lived", "holders", "key_and_ts", "lines_of", "live"]


class Lived(NamedTuple):
    """A trade and its fills.

    Attributes:
        key: Whose position.
        trip: What the engine says of it.
        legs: Its fills, and what was held before botobs came, in the order of time.
        held: The signed quantity in the position; zero if the trade is closed.
        basis: What that cost.
        accrued: The part of its funding that is due and was not reported yet.
    """

    key: BookKey
    trip: RoundTrip
    legs: tuple[Leg, ...]
    held: Any = ZERO
    basis: Any = ZERO
    accrued: Any = ZERO

    @property
    def instrument(self) -> Instrument:
        """How it settles."""
        return self.trip.instrument


@exact
def live(books: Books, key: BookKey, trade_id: str, opened: str, until: str | None = None) -> Lived | None:
    """The trade of that name; `None`: the position at `key` has none.

    Args:
        books: The account.
        key: Whose position.
        trade_id: Which.
        opened: When its first fill happened.
        until: Nothing later is looked at; `None`: all is.
    """
    book, entries = life_since(books, key, opened, until)
    legs: list[Leg] = []
    accrued = ZERO  # the book itself lists only the last ones
    for entry in entries:
        before, due = book.trade if book.trade_id == trade_id else None, book.accrued
        change = book.put(entry)
        if book.trade_id == trade_id:
            accrued += book.accrued - due
        after = book.trade if book.trade_id == trade_id else None
        if after is None:
            after = next((trip for trip in change.closed if trip.trade_id == trade_id), None)
            if after is None:
                continue
        leg = _grown(entry.seq, entry.ts, entry.price, before, after)
        if leg is not None:
            legs.append(leg)
        if after.closed_ts is not None:
            return Lived(key, after, tuple(legs), accrued=accrued)
    trip = book.trade
    if trip is None or trip.trade_id != trade_id:
        return None
    return Lived(key, trip, tuple(legs), book.inventory, book.basis, accrued)


def _grown(seq: int, ts: str, price: Any, before: RoundTrip | None, after: RoundTrip) -> Leg | None:
    """What an entry added to the trade's sums; `None`: it moved no quantity."""
    added, left, bought, sold = after.entry_qty, after.exit_qty, after.entry_worth, after.exit_worth
    if before is not None:
        added -= before.entry_qty
        left -= before.exit_qty
        bought -= before.entry_worth
        sold -= before.exit_worth
    if not added and not left:
        return None
    adds = bool(added)
    qty, worth = (added, bought) if adds else (left, sold)
    up = adds is (after.side == "long")  # it bought
    # a worth has the sign of its quantity, that of an inverse contract the other one
    return Leg(seq, ts, adds, qty if up else -qty, worth if up is not after.instrument.inverse else -worth, price)


@exact
def holders(books: Books, key: BookKey, seq: int, ts: str) -> tuple[str, ...]:
    """The trades that the entry `seq` of `ts` belongs to: one that flips to two, one in the dust to none."""
    book, entries = life_since(books, key, ts, ts)
    for entry in entries:
        change = book.put(entry)
        if entry.seq == seq:
            return tuple(name for name in (change.trade_id, change.next_trade_id) if name is not None)
    return ()


def key_and_ts(line: Any) -> tuple[BookKey, str]:
    """Whose position a line of the ledger moved, and when."""
    return key_of(line), line["ts"]


def lines_of(books: Books, seqs: Iterable[int]) -> dict[int, dict[str, Any]]:
    """The lines of these numbers, in one pass."""
    wanted = set(seqs)
    found: dict[int, dict[str, Any]] = {}
    for seq, raw in books.ledger.lines(min(wanted), max(wanted)) if wanted else ():
        if seq in wanted:
            found[seq] = orjson.loads(raw)
    return found
