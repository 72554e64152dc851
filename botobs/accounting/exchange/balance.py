"""The small judgements of a comparison: which candidate is likeliest, what is near enough, and the totals' rows."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from botobs.accounting.exchange.comparison import Row
from botobs.accounting.numbers import ZERO, text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from botobs.accounting.exchange.effects import Sums
    from botobs.accounting.exchange.fills import ExchangeFill

__all__ = ["best", "rows_of", "shifted", "shown", "within"]

_ORDER = ("volume", "quantity", "fees", "cash", "pnl")


def best(fill: ExchangeFill, candidates: list[int], rows: list[ExchangeFill]) -> int | None:
    """The candidate most like the fill; one of the other side only if it is of the same order."""
    if not candidates:
        return None
    likely = max(
        candidates, key=lambda at: (rows[at].side == fill.side, rows[at].qty == fill.qty, rows[at].price == fill.price)
    )  # fmt: skip
    row = rows[likely]
    return likely if row.side == fill.side or row.order_id == fill.order_id or len(candidates) == 1 else None


def rows_of(ours: Sums, theirs: Sums, causes: Mapping[str, Sums]) -> list[Row]:
    """The totals of both sides, and what the causes explain of each difference."""
    out = []
    for key in sorted(ours.keys() | theirs.keys(), key=lambda key: (_ORDER.index(key[0]), key[1])):
        mine, their = ours.get(key, ZERO), theirs.get(key, ZERO)
        explained = {cause: sums[key] for cause, sums in causes.items() if sums.get(key)}
        unexplained = mine - their - sum(explained.values(), ZERO)
        row = Row(
            name=key[0], of=key[1], ours=mine, theirs=their, difference=mine - their, explained=explained,
            unexplained=unexplained,
        )  # fmt: skip
        out.append(row)
    return out


def shown(fees: Mapping[str, Decimal]) -> str:
    """Fees by asset, for a reader."""
    return " + ".join(f"{text(paid)} {name}" for name, paid in fees.items()) or "0"


def shifted(ts: str | None, seconds: float) -> str | None:
    """A time so many seconds later."""
    if ts is None:
        return None
    try:
        moved = dt.datetime.fromisoformat(ts) + dt.timedelta(seconds=seconds)
    except (ValueError, OverflowError):
        return ts
    return f"{moved:%Y-%m-%dT%H:%M:%S.%f}Z"


def within(a: str, b: str, seconds: float) -> bool:
    """Whether two times are at most so far apart."""
    if a == b:
        return True
    try:
        apart = dt.datetime.fromisoformat(a) - dt.datetime.fromisoformat(b)
    except ValueError:
        return False
    return abs(apart.total_seconds()) <= seconds
