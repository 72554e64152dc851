"""How a line has done lately: how often moves lay in its band, and how far it was off."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Track"]

_MEMORY: Final = 200
_FADE: Final = 1.0 - 1.0 / _MEMORY
_LEAST: Final = 20  # bands judged before there is a drift
_ERRORS: Final = 3.0  # standard errors that chance may explain
_SUMS: Final = 6


class Track:
    """Means over about the last 200 predictions. Not locked.

    Args:
        band: The share that was stated.

    Attributes:
        judged: How many moves there was a band for.
    """

    __slots__ = ("_band", "_sums", "judged")

    def __init__(self, band: float = 0.8) -> None:
        self._band = band
        # of bands: count, count of squared weights, hits; of misses: count, as adjusted, as predicted
        self._sums = [0.0] * _SUMS
        self.judged = 0

    def add(self, *, in_band: bool | None, adjusted_miss: float, raw_miss: float) -> None:
        """One more prediction came due."""
        sums = self._sums
        if in_band is not None:
            self.judged += 1
            sums[0] = sums[0] * _FADE + 1.0
            sums[1] = sums[1] * _FADE * _FADE + 1.0
            sums[2] = sums[2] * _FADE + in_band
        sums[3] = sums[3] * _FADE + 1.0
        sums[4] = sums[4] * _FADE + abs(adjusted_miss)
        sums[5] = sums[5] * _FADE + abs(raw_miss)

    @property
    def in_band_rate(self) -> float | None:
        """How often the move lay in its band; `None` before there was one."""
        return self._sums[2] / self._sums[0] if self.judged else None

    @property
    def drift(self) -> float | None:
        """How far that is from what was stated, less what chance explains; `None` before 20 were judged."""
        rate = self.in_band_rate
        if rate is None or self.judged < _LEAST:
            return None
        count = self._sums[0] * self._sums[0] / self._sums[1]
        chance = _ERRORS * math.sqrt(self._band * (1.0 - self._band) / count)
        return max(abs(rate - self._band) - chance, 0.0)

    @property
    def miss_bps(self) -> float | None:
        """By how much the adjusted prediction was off on average."""
        return self._sums[4] / self._sums[3] if self._sums[3] else None

    @property
    def raw_miss_bps(self) -> float | None:
        """By how much the prediction itself was off on average."""
        return self._sums[5] / self._sums[3] if self._sums[3] else None

    def state(self) -> list[Any]:
        """All it knows, for JSON."""
        return [self._band, self.judged, self._sums]

    @classmethod
    def of_state(cls, state: Sequence[Any], band: float) -> Track:
        """One that goes on where `state` was taken; anew if another band was stated then.

        Raises:
            ValueError: It is no such state.
        """
        before, judged, sums = state
        self = cls(band)
        if before != band:
            return self
        if type(judged) is not int or len(sums) != _SUMS:
            raise ValueError("not the state of a track")
        self._sums = [float(value) for value in sums]
        if not all(0.0 <= value < math.inf for value in self._sums):
            raise ValueError("not the state of a track")
        self.judged = judged if self._sums[0] and self._sums[1] else 0
        return self
