"""The events that are made of what was found."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from botobs.events.prices import LevelCrossed, PriceGapped, VolatilitySpiked
from botobs.insight.price_events.levels import Crossing
from botobs.insight.price_events.moves import Spike

if TYPE_CHECKING:
    from botobs.events.prices import PriceEvent
    from botobs.insight.price_events.track import Found

__all__ = ["bps", "made"]

_S: Final = 1_000_000_000
_FARTHEST: Final = 25.0  # as a logarithm: beyond any market, and still a number


def bps(move: float) -> float:
    """Basis points of a move that is told as a logarithm."""
    return math.expm1(min(move, _FARTHEST)) * 1e4


def made(found: Found, about: dict[str, Any]) -> PriceEvent:
    """The event of what was found; `about` is what all of them tell."""
    what = found.what
    if isinstance(what, Crossing):
        return LevelCrossed(
            **about, direction="up" if what.up else "down", level=what.last, first_level=what.first, levels=what.n,
            step=what.step,
        )  # fmt: skip
    direction = "up" if what.move > 0 else "down" if what.move < 0 else None
    usual = None if what.usual is None else bps(what.usual)
    if isinstance(what, Spike):
        return VolatilitySpiked(
            **about, direction=direction, move_bps=bps(what.move), range_bps=bps(what.range),
            usual_bps=usual or 0.0, times=what.range / what.usual if what.usual else None,
            over_s=None if found.over is None else found.over / _S,
        )  # fmt: skip
    return PriceGapped(
        **about, direction=direction, move_bps=bps(what.move), usual_bps=usual,
        times=abs(what.move) / what.usual if what.usual else None,
        missing_s=what.missing / _S if what.missing else None,
    )  # fmt: skip
