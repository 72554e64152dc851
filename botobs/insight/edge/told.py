"""What the room of edges answers with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Curve", "EdgeState", "HalfLife", "Markout"]


@attrs.frozen(kw_only=True)
class EdgeState:
    """How a watched series stands; figures that cannot be told yet are `None`, with a reason.

    Attributes:
        what: `edge` (net PnL of trades) or `slippage` (of orders), in bps.
        strategy: Whose; `all`: of all together.
        n: How many outcomes there were.
        alarmed: Whether it has left its norm.
        level: How near it is to an alarm, from 0 to 1.
        norm_bps: The norm: the mean of outcomes before the change, or what a person gave.
        scale_bps: How far an outcome of the norm usually is from the middle.
        recent_bps: The mean of the latest 50 outcomes.
        changed_bps: The mean since the change began; `changed_n` outcomes make it.
        since: When the first of them came (RFC 3339).
        once_in: In how many outcomes chance alone goes as far once.
        given: Whether a person gave the norm.
        reasons: Why something is `None`.
    """

    what: str
    strategy: str
    n: int
    alarmed: bool = False
    level: float | None = None
    norm_bps: float | None = None
    scale_bps: float | None = None
    recent_bps: float | None = None
    changed_bps: float | None = None
    changed_n: int = 0
    since: str | None = None
    once_in: float | None = None
    given: bool = False
    reasons: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Markout:
    """Where prices were, some time after decisions.

    Attributes:
        after: The time.
        seconds: The same.
        mean_bps: The mean move, positive where decisions were right; `None`: there was none.
        low_bps: The lower end of its 95 % interval; `high_bps` is the upper end.
        n: How many decisions make it.
        lost: How many found no price in time.
        reason: Why there is no interval.
    """

    after: str
    seconds: float
    mean_bps: float | None
    low_bps: float | None
    high_bps: float | None
    n: int
    lost: int
    reason: str | None = None


@attrs.frozen(kw_only=True)
class Curve:
    """The moves after decisions, the nearest first.

    Attributes:
        symbol: Of which market; `None`: of all.
        source: After which signal's decisions; `None`: any.
        strategy: After which strategy's orders; `None`: any decision.
        points: One for each time.
    """

    symbol: str | None
    source: str | None
    strategy: str | None
    points: tuple[Markout, ...]


@attrs.frozen(kw_only=True)
class HalfLife:
    """How fast the edge of decisions goes into the price.

    Attributes:
        seconds: After so long, half of the move that was to come has come; `None`: it cannot be told.
        low: The lower end of its 95 % interval; `high` is the upper end.
        edge_bps: The whole move: what a fill at the decision's price, at no cost, would be worth.
        n: How many decisions it is from.
        reason: Why it cannot be told.
    """

    seconds: float | None
    low: float | None = None
    high: float | None = None
    edge_bps: float | None = None
    n: int = 0
    reason: str | None = None
