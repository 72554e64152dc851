"""What a bot saw when it decided on an order."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs

from .base import Event

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DecisionSeen"]


@attrs.frozen(kw_only=True)
class DecisionSeen(Event):
    """An order was announced: what the bot saw at that moment, as far as it told botobs.

    Attributes:
        order_id: Which order.
        bid: The best bid of the tick in which it was decided, as the bot said it; `ask`: the best ask.
        regime: The market's regime.
        features: How old each feature was, in seconds, the oldest first; at most 100 of the first 500.
        features_count: How many there were.
    """

    stream: ClassVar[str | None] = "decisions"

    order_id: str
    venue: str | None = None
    bid: str | None = None
    ask: str | None = None
    regime: str | None = None
    features: Mapping[str, float] | None = None
    features_count: int | None = None
