"""What made a model say what it said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from .base import Event

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PredictionExplained"]


@attrs.frozen(kw_only=True)
class PredictionExplained(Event):
    """A prediction was taken apart: so much came from each feature.

    `base`, the contributions and `other` add up to what was explained; `residual` is what the prediction lacks to
    that.

    Attributes:
        model: Which model.
        why: `sample`, or `order`: an order was announced in the tick.
        order_id: That order.
        predicted_ts: When it was predicted (RFC 3339); the record's own time is when it was explained.
        prediction: What the model said.
        output: Which of several outputs that is: the largest one.
        base: What the explainer begins at: what the model says of its background on average.
        contributions: How much each feature added, the largest first.
        features: The values of these features.
        other: What all other features added.
        residual: The prediction less base, contributions and `other`.
        n_features: How many features there are.
        took_ms: How long it took to explain it.
    """

    stream: ClassVar[str | None] = "explanations"

    model: str
    why: str
    order_id: str | None = None
    predicted_ts: str | None = None
    prediction: float | None = None
    output: str | int | None = None
    base: float | None = None
    contributions: Mapping[str, float]
    features: Mapping[str, Any] | None = None
    other: float = 0.0
    residual: float | None = None
    n_features: int
    took_ms: float
