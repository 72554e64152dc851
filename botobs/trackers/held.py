"""An open trade as it is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from botobs.accounting.numbers import EXACT

if TYPE_CHECKING:
    from decimal import Decimal

    from botobs.accounting.trade import RoundTrip
    from botobs.trackers.life import Life

__all__ = ["OpenTrade", "shown", "size"]


@attrs.frozen(kw_only=True)
class OpenTrade:
    """A trade that is not over.

    Attributes:
        qty: How much is held, without a sign.
        entry_px: The average entry price, where the books were at hand.
        age_s: How long it has been open.
    """

    trade_id: str
    symbol: str
    side: str
    qty: Decimal
    entry_px: Decimal | None
    opened_ts: str
    age_s: float
    strategy: str | None = None
    venue: str | None = None
    account: str | None = None
    position_side: str | None = None
    entry_trace_id: str | None = None


def size(trip: RoundTrip) -> Decimal:
    """How much of an open round trip is held, without a sign."""
    return EXACT.abs(EXACT.subtract(trip.entry_qty, trip.exit_qty))


def shown(life: Life, trip: RoundTrip | None, now_ns: int) -> OpenTrade:
    """A trade at `now_ns`; `trip` is what its book says, `None` where that is not at hand."""
    place = life.place
    return OpenTrade(
        trade_id=life.trade_id,
        symbol=place.symbol,
        side="long" if life.sign > 0 else "short",
        qty=life.held if trip is None else size(trip),
        entry_px=None if trip is None else trip.entry_px,
        opened_ts=life.opened_ts,
        age_s=max(now_ns - life.seen.since_ns, 0) / 1e9,
        strategy=life.strategy,
        venue=place.venue,
        account=place.account,
        position_side=place.position_side,
        entry_trace_id=life.entry.trace_id,
    )
