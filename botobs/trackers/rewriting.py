"""What a late fill or a void makes of the trades around it: their fills are dealt out anew.

The position engine says which trades there are now; each takes the fills between its first and its last one, and what
the trades that were there before it saw of prices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botobs.accounting.book import Book, Entry
from botobs.accounting.numbers import EXACT, ZERO
from botobs.trackers.excursions import Excursion
from botobs.trackers.life import Life

if TYPE_CHECKING:
    from collections.abc import Sequence

    from botobs.accounting.trade import RoundTrip
    from botobs.trackers.life import Note, Place

__all__ = ["pool", "rewritten"]


def pool(old: Sequence[Life], note: Note | None, without: int | None) -> list[Note]:
    """Every fill remembered of some trades of one position, in the engine's order; a flip's two parts are one again."""
    found: dict[int, Note] = {}
    for life in old:
        for one in life.notes:
            if one.seq != without:
                known = found.get(one.seq)
                found[one.seq] = one if known is None else one._replace(qty=EXACT.add(known.qty, one.qty))
    if note is not None:
        found[note.seq] = note
    return sorted(found.values(), key=_order)


def _order(note: Note) -> tuple[Any, ...]:
    return Book.order(Entry(note.ts, note.seq, note.fill_id, "quote", ZERO))


def rewritten(trip: RoundTrip, place: Place, old: Sequence[Life], notes: Sequence[Note]) -> Life:
    """The trade that `trip` is now, made of the trades that were there and their fills."""
    around = [life for life in old if life.trade_id == trip.trade_id or _overlap(life, trip)]
    base = next((life for life in around if life.trade_id == trip.trade_id), around[0] if around else None)
    sign = 1 if trip.side == "long" else -1
    same = base is not None and base.opened_ts == trip.opened_ts and base.trade_id == trip.trade_id
    if base is not None and same and len(around) == 1:
        seen = base.seen
    else:
        seen = Excursion.merged(trip.opened_ts, place.venue, [life.seen for life in around])
    life = Life(trip.trade_id, place, sign, trip.opened_ts, seen)
    life.closed_ts = trip.closed_ts
    own = _between(trip, notes)
    # a trade that opened and closed in the same microsecond overlaps none; its fills were in some trade all the same
    life.whole = bool(own) and own[0].seq == trip.first_seq and all(one.whole for one in around or old)
    if base is not None:
        life.atr, life.aged = base.atr, base.aged
        if same:
            life.bars, life.folded = base.bars, base.folded
    for note in _parts(trip, sign, own) if life.folded is None else own:
        life.add(note)
    return life


def _overlap(life: Life, trip: RoundTrip) -> bool:
    """Whether both were open at some time."""
    return (trip.closed_ts is None or life.opened_ts < trip.closed_ts) and (
        life.closed_ts is None or life.closed_ts > trip.opened_ts
    )


def _between(trip: RoundTrip, notes: Sequence[Note]) -> list[Note]:
    at = {note.seq: index for index, note in enumerate(notes)}
    first = at.get(trip.first_seq)
    last = at.get(trip.last_seq)
    return [
        note
        for index, note in enumerate(notes)
        if (note.ts >= trip.opened_ts if first is None else index >= first)
        and (trip.closed_ts is None or (note.ts <= trip.closed_ts if last is None else index <= last))
    ]


def _parts(trip: RoundTrip, sign: int, notes: list[Note]) -> list[Note]:
    """The fills with what this trade has of them: of one that flips, what is missing to the trade's sums."""
    found = list(notes)
    for index, total, wanted in ((0, trip.entry_qty, sign), (-1, trip.exit_qty, -sign)):
        if not found or found[index].sign != wanted:
            continue
        own = found[index]
        others = ZERO
        for note in found:
            if note is not own and note.sign == wanted:
                others = EXACT.add(others, note.qty)
        missing = EXACT.subtract(total, others)
        if ZERO < missing < own.qty:
            found[index] = own._replace(qty=missing)
    return found
