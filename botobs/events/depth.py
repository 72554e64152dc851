"""What the order book was like, now and then, and when an order was decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs

from .base import Event, Importance

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

__all__ = ["BookAtDecision", "BookSeen"]

_Levels = tuple[tuple[float, float], ...]
_Some = tuple[float | None, ...]


@attrs.frozen(kw_only=True)
class BookSeen(Event):
    """The bot told of an order book, for the first time in a while.

    Attributes:
        venue: Where.
        book_ts: When it was so, as the exchange says (RFC 3339).
        bid: The best bid.
        ask: The best ask.
        mid: What is between them.
        spread_bps: From bid to ask, of the middle.
        half_spread_bps: Half of it.
        microprice: The middle, drawn to the side that has less at its best price.
        imbalance: What the bids have more than the asks, of all, within `bids` and `asks`; 1 to -1.
        bids: Price and size of the best few levels, and
        asks: the same.
        within_bps: So far from the middle the depth is told:
        bid_depth: the size of the bids, for each of `within_bps`; `None` where the levels end before,
        ask_depth: and of the asks.
        bid_value: What that size is worth, in the settlement currency, and
        ask_value: the same of the asks.
        left_out: How many levels were none.
        reasons: Why something is `None`.
    """

    stream: ClassVar[str | None] = "order_book"
    importance: ClassVar[Importance] = Importance.LOW
    whole: ClassVar[bool] = True

    venue: str | None = None
    book_ts: str | None = None
    bid: float | None = None
    ask: float | None = None
    mid: float | None = None
    spread_bps: float | None = None
    half_spread_bps: float | None = None
    microprice: float | None = None
    imbalance: float | None = None
    bids: _Levels = ()
    asks: _Levels = ()
    within_bps: tuple[float, ...] = ()
    bid_depth: _Some = ()
    ask_depth: _Some = ()
    bid_value: _Some = ()
    ask_value: _Some = ()
    left_out: int = 0
    reasons: Mapping[str, str] | None = None


@attrs.frozen(kw_only=True)
class BookAtDecision(BookSeen):
    """An order was announced: the book it was decided on, and what it would make the order pay.

    Attributes:
        decision: That it is such a record.
        order_id: Which order.
        side: `buy` or `sell`.
        qty: Its size.
        limit_px: Its limit.
        order_type: `market`, `limit`, …
        age_ms: How old the book was.
        impact_bps: How far its average price would be beyond the best one, of the middle; positive is worse.
        cost_bps: That, and half the spread.
        average_px: The average price of what the levels hold of it.
        reached: How many levels it reaches.
        fillable: The share of it that the levels hold, within its limit.
    """

    importance: ClassVar[Importance] = Importance.NORMAL

    decision: bool = True
    order_id: str
    side: str | None = None
    qty: Decimal | None = None
    limit_px: Decimal | None = None
    order_type: str | None = None
    age_ms: float | None = None
    impact_bps: float | None = None
    cost_bps: float | None = None
    average_px: float | None = None
    reached: int | None = None
    fillable: float | None = None
