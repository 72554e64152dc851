"""What happens to prices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from botobs.events import PriceEvent

from .row import UNKNOWN, Measured, Row

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["PRICES"]


def _event(event: PriceEvent) -> Measured:
    return 1, (event.symbol, event.kind or UNKNOWN)


PRICES: Final[Sequence[Row]] = (
    Row(
        "bot_price_events_total", "counter", "{event}", "Round levels crossed, spikes and gaps, by kind.",
        ("symbol", "kind"), source="event", event=PriceEvent, measure=_event,
    ),
)  # fmt: skip
