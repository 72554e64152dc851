"""What a person should hear of: equity, feeds, funding, features, and the kill switch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from .base import Event, Importance

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

__all__ = [
    "EquityDrawdown",
    "FeaturesStale",
    "FeedStale",
    "FundingStale",
    "KillSwitchChanged",
    "SameBarRoundTrip",
]


@attrs.frozen(kw_only=True)
class EquityDrawdown(Event):
    """Equity fell too far below its peak, or came back.

    Attributes:
        equity: What it is.
        peak: What it was at its highest.
        drawdown_pct: How far below, as a fraction of the peak.
        limit: The fraction that was broken.
        resolved: It is back within the limit.
    """

    importance: ClassVar[Importance] = Importance.HIGH

    equity: Decimal | None = None
    peak: Decimal | None = None
    drawdown_pct: float
    limit: float | None = None
    resolved: bool = False


@attrs.frozen(kw_only=True)
class FeedStale(Event):
    """A feed is silent for longer than its limit, or speaks again.

    Attributes:
        name: The feed, as named in `heartbeat`.
        age_s: How long it has been silent.
        limit_s: How long it may be.
        reconnects: How often reconnecting was tried.
        escalated: Reconnecting does not help.
        resolved: It speaks again.
    """

    importance: ClassVar[Importance] = Importance.HIGH

    name: str
    age_s: float = 0.0
    limit_s: float | None = None
    reconnects: int = 0
    escalated: bool = False
    resolved: bool = False


@attrs.frozen(kw_only=True)
class FundingStale(Event):
    """The funding rate of `symbol` is older than its limit, or was renewed."""

    importance: ClassVar[Importance] = Importance.HIGH

    age_s: float = 0.0
    limit_s: float | None = None
    resolved: bool = False


@attrs.frozen(kw_only=True)
class SameBarRoundTrip(Event):
    """A position in `symbol` was opened and closed on the bar `bar_id`."""

    importance: ClassVar[Importance] = Importance.HIGH

    trade_id: str | None = None
    strategy: str | None = None


@attrs.frozen(kw_only=True)
class FeaturesStale(Event):
    """More features are stale than may be, or few enough again.

    Attributes:
        count: How many are.
        limit: How many may be.
        features: Their ages in seconds.
        resolved: It is over.
    """

    importance: ClassVar[Importance] = Importance.HIGH

    count: int
    limit: int | None = None
    features: Mapping[str, Any] | None = None
    resolved: bool = False


@attrs.frozen(kw_only=True)
class KillSwitchChanged(Event):
    """The kill switch was tripped or reset.

    Attributes:
        state: `active`, `reduce_only` or `halted` from now on.
        previous: What it was.
        reason: Why.
        trigger: What tripped it.
        by: Who reset it.
        drill: It was only a drill.
    """

    importance: ClassVar[Importance] = Importance.CRITICAL

    state: str
    previous: str | None = None
    reason: str | None = None
    trigger: str | None = None
    by: str | None = None
    drill: bool = False
