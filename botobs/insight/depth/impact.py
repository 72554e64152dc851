"""What an order would pay, by the book that the bot saw when it decided."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Final, NamedTuple

import attrs

if TYPE_CHECKING:
    from botobs.insight.depth.book import Book, Levels

__all__ = ["Impact", "estimate"]

_WHOLE: Final = 1 - 1e-9  # of an order: what sums of binary fractions leave of it is no size
_TRIGGERED: Final = ("stop", "take_profit", "take-profit", "takeprofit", "trail")


@attrs.frozen(kw_only=True)
class Impact:
    """What an order is expected to pay, in bps of the middle; positive is a cost.

    Attributes:
        symbol: Of which market.
        side: `buy` or `sell`.
        qty: Its size, in the unit of the book's sizes.
        impact_bps: How far its average price is beyond the best one.
        half_spread_bps: How far the best one is from the middle.
        cost_bps: Both.
        average: The average price of what the levels hold of it.
        worst: The price of the last level that it reaches.
        levels: How many levels it reaches.
        fillable: The share of it that the levels hold, within its limit.
        mid: The middle.
        age_s: How old the book was.
        reason: Why something is `None`, or why it is not the whole of it.
    """

    symbol: str | None
    side: str | None
    qty: float | None
    impact_bps: float | None = None
    half_spread_bps: float | None = None
    cost_bps: float | None = None
    average: float | None = None
    worst: float | None = None
    levels: int | None = None
    fillable: float | None = None
    mid: float | None = None
    age_s: float | None = None
    reason: str | None = None


def estimate(  # noqa: PLR0917 - an order is said in this order
    book: Book,
    side: str | None,
    qty: float | None,
    limit: float | None,
    order_type: str | None,
    age_s: float,
) -> Impact:
    """Walk the other side of the book.

    Example:
        >>> from botobs.insight.depth import Depth
        >>> depth = Depth()
        >>> depth.book("BTC-USD", bids=[[99.5, 1]], asks=[[100.5, 1], [101.5, 1]])
        >>> found = depth.impact("BTC-USD", "buy", 2)
        >>> found.average, found.half_spread_bps, found.impact_bps, found.cost_bps
        (101.0, 50.0, 50.0, 100.0)
    """
    known = functools.partial(
        Impact, symbol=book.symbol, side=side, qty=qty, mid=book.mid, half_spread_bps=book.half_spread_bps, age_s=age_s
    )
    why = _why_not(side, qty, limit, (order_type or "").lower())
    if why is not None or qty is None:
        return known(reason=why)
    if book.mid is None or book.half_spread_bps is None:
        return known(reason=book.reasons["mid"])
    buys = side == "buy"
    levels = book.asks if buys else book.bids
    walk = _walk(levels, qty, limit, buys=buys, inverse=book.inverse)
    done = walk.done / qty
    known = functools.partial(known, levels=walk.levels, worst=walk.worst, fillable=done)
    if not walk.levels:
        return known(impact_bps=0.0, reason="it rests in the book: its limit crosses nothing")
    average, share = levels[0][0] + walk.away, f"{math.floor(done * 1000) / 10:g} %"
    if done < 1 and not walk.limited:
        return known(average=average, reason=f"the levels known hold {share} of it")
    impact = (walk.away if buys else 0.0 - walk.away) / book.mid * 1e4
    return known(
        average=average, impact_bps=impact, cost_bps=book.half_spread_bps + impact,
        reason=f"its limit crosses {share} of it; the rest rests" if done < 1 else None,
    )  # fmt: skip


def _why_not(side: str | None, qty: float | None, limit: float | None, kind: str) -> str | None:
    """Why such an order cannot be held against a book."""
    if side is None:
        return "no side"
    if qty is None:
        return "no quantity"
    if any(word in kind for word in _TRIGGERED):
        return "it waits for its trigger"
    return "its limit is not known" if limit is None and "limit" in kind else None


class _Walk(NamedTuple):
    """How far an order comes: its size that is done, how far its average is from the best price, and what ended it."""

    done: float
    away: float
    levels: int
    worst: float | None
    limited: bool


def _walk(levels: Levels, qty: float, limit: float | None, *, buys: bool, inverse: bool) -> _Walk:
    best = levels[0][0]
    done = weights = beyond = 0.0
    reached, worst, limited = 0, None, False
    for price, size in levels:
        if limit is not None and (price > limit if buys else price < limit):
            limited = True
            break
        taken = min(qty - done, size)
        weight = taken / price if inverse else taken  # the average of inverse contracts is the harmonic one
        weights += weight
        beyond += weight * (price - best)  # exactly nothing at the best price
        done += taken
        reached, worst = reached + 1, price
        if done >= qty * _WHOLE:
            done = qty
            break
    return _Walk(done, beyond / weights if weights else 0.0, reached, worst, limited)
