"""What becomes of an edge: prices after decisions, and alarms when outcomes leave their norm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from .base import Event, Importance

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EdgeAlarm", "EdgeCleared", "MarkoutSettled"]


@attrs.frozen(kw_only=True)
class EdgeAlarm(Event):
    """The outcomes of a strategy have left their long-run norm, to the worse.

    Attributes:
        what: `edge` (net PnL of trades) or `slippage` (of orders), in bps.
        strategy: Whose; `all`: of all together.
        value_bps: The mean since the change began; `n` outcomes make it.
        norm_bps: The mean before; `scale_bps` is how far an outcome usually is from the middle.
        since: When the first outcome came that belongs to the change (RFC 3339).
        once_in: In how many outcomes chance alone goes as far once.
        false_alarms: In how many outcomes one false alarm is allowed.
    """

    stream: ClassVar[str | None] = "edge"
    kind: ClassVar[str | None] = "alarm"
    importance: ClassVar[Importance] = Importance.HIGH
    whole: ClassVar[bool] = True

    what: str
    strategy: str
    value_bps: float | None = None
    norm_bps: float | None = None
    scale_bps: float | None = None
    n: int
    since: str | None = None
    once_in: float | None = None
    false_alarms: float


@attrs.frozen(kw_only=True)
class EdgeCleared(Event):
    """An alarm is over.

    Attributes:
        what: As in the alarm; `strategy` too.
        why: `back`: outcomes are as they were before; `renewed`: they have been as they are for as long as it takes to
            make a norm, or a person said that this is the norm now.
        value_bps: The mean of the latest outcomes.
        norm_bps: The norm from now on.
        n: How many outcomes came while it lasted, from the onset on.
    """

    stream: ClassVar[str | None] = "edge"
    kind: ClassVar[str | None] = "cleared"
    importance: ClassVar[Importance] = Importance.HIGH
    whole: ClassVar[bool] = True

    what: str
    strategy: str
    why: str
    value_bps: float | None = None
    norm_bps: float | None = None
    n: int


@attrs.frozen(kw_only=True)
class MarkoutSettled(Event):
    """All horizons of a decision are over: where the price went afterwards.

    Attributes:
        side: `buy` or `sell`; of a prediction, the way it pointed.
        source: The signal's; `strategy` and `order_id` are an order's.
        decided_ts: When (RFC 3339); `price` is the price then.
        pred_bps: What was predicted.
        moves: By horizon the move in bps, positive where the decision was right; `None`: no price came in time.
    """

    stream: ClassVar[str | None] = "edge"
    kind: ClassVar[str | None] = "markout"
    importance: ClassVar[Importance] = Importance.LOW
    whole: ClassVar[bool] = True

    side: str
    source: str | None = None
    strategy: str | None = None
    order_id: str | None = None
    decided_ts: str
    price: float
    pred_bps: float | None = None
    moves: Mapping[str, Any]
