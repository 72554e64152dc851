"""A line `a + b·pred` that is learned from one prediction after the other, and tells how sure it is.

A Bayesian linear regression of what was missed (move less prediction) on the prediction. The prior is that the
prediction is right (a = 0, b = 1), and weighs as much as ten predictions of the usual size, whatever their scale. Old
predictions are forgotten exponentially, the prior is not: without news a line goes back to it.

Noise is taken to be Student's t with eight degrees of freedom, which comes to weighing each prediction by how far off
it was: an outlier hardly counts. The first predictions are weighed together, with the median as their first scale, so
that it does not matter whether the outlier comes first. Plain sums, nothing grows.
"""

from __future__ import annotations

import functools
import math
from statistics import NormalDist, median
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Forecast", "Line", "t_quantile"]

_PRIOR: Final = 10.0  # predictions that the prior weighs
_TOGETHER: Final = 32  # the first so many are weighed together
_ROUNDS: Final = 4
_HEAVY: Final = 8.0  # degrees of freedom of the noise
_FAR: Final = 8.0  # so many scales away, a prediction says nothing of the line
_LEAST: Final = 5  # predictions before there is a band
_SURE: Final = 1.4826  # from the median of absolute values to a deviation
_TINY: Final = 1e-12
_SUMS: Final = 7
_LATEST: Final = 15
_LOUDER: Final = 3.0
_QUIETER: Final = 6.0
_AFRESH: Final = 30.0  # predictions that what was learned is worth when the market is another


class Forecast(NamedTuple):
    """What a line makes of a prediction; `low` and `high` are `None` where it has seen too few."""

    value: float
    low: float | None
    high: float | None


class Line:
    """One line. Not locked.

    Args:
        memory: After so many predictions an old one counts a third.
        band: The share of moves that the band is to hold.

    Attributes:
        n: How many predictions it has seen.
        a: The intercept; `b` the slope.
        noise: The scale of what is left.
        outliers: How many were too far off to say anything.

    Example:
        >>> line = Line()
        >>> for n in range(400):
        ...     _ = line.learn(n % 7 - 3, 1 + 0.5 * (n % 7 - 3))
        >>> round(line.a, 1), round(line.b, 1)
        (1.0, 0.5)
    """

    __slots__ = ("_band", "_fade", "_first", "_recent", "_sums", "a", "b", "n", "noise", "outliers")

    def __init__(self, memory: int = 500, band: float = 0.8) -> None:
        self._fade = 1.0 - 1.0 / memory
        self._band = band
        self._first: list[tuple[float, float]] | None = []
        # of weights times 1, x, xx, the miss and x · miss; then for the scale: how many, and their squares
        self._sums = [0.0] * _SUMS
        self._recent: list[float] = []
        self.a, self.b, self.noise = 0.0, 1.0, 0.0
        self.n = self.outliers = 0

    def forecast(self, pred: float, prior: Line | None = None) -> Forecast:
        """What it makes of a prediction, and the band in which the move should lie.

        Args:
            pred: The prediction.
            prior: A line over more, whose slope and intercept stand in for what this one has not seen.
        """
        a, b = self.coefficients(prior)
        value = a + b * pred
        if self.n < _LEAST:
            return Forecast(value, None, None)
        _, _, aa, ab, bb = self._solved(0.0, 1.0)
        unsure = max(aa + 2.0 * ab * pred + bb * pred * pred, 0.0)
        freedom = min(_HEAVY, self.n - 1.0)
        half = t_quantile((1.0 + self._band) / 2.0, freedom) * self.noise * math.sqrt(1.0 + unsure)
        return Forecast(value, value - half, value + half)

    def coefficients(self, prior: Line | None = None) -> tuple[float, float]:
        """Intercept and slope; `prior` as in `forecast`."""
        return (self.a, self.b) if prior is None else self._solved(prior.a, prior.b)[:2]

    def learn(self, pred: float, move: float) -> bool:
        """A move came after a prediction; whether that told anything (an outlier does not)."""
        self.n += 1
        first = self._first
        if first is not None:
            first.append((pred, move))
            self._together(first)
            if len(first) >= _TOGETHER:
                self._first = None
            return True
        return self._on(pred, move)

    def spread(self) -> tuple[float, float] | None:
        """The standard deviations of `a` and `b`; `None`: too few were seen."""
        if self.n < _LEAST:
            return None
        _, _, aa, _, bb = self._solved(0.0, 1.0)
        return self.noise * math.sqrt(max(aa, 0.0)), self.noise * math.sqrt(max(bb, 0.0))

    # -- how ---------------------------------------------------------------------------------------------------------

    def _on(self, pred: float, move: float) -> bool:
        sums, fade = self._sums, self._fade
        left = move - (self.a + self.b * pred)
        self._notice(abs(left))
        far = _apart(left, self.noise)
        weight = (_HEAVY + 1.0) / (_HEAVY + far * far)
        for at in range(_SUMS):
            sums[at] *= fade
        sums[5] += 1.0
        # bounded, however far it is: one outlier does not make the noise
        sums[6] += weight * left * left if weight else (_HEAVY + 1.0) * self.noise * self.noise
        telling = far < _FAR
        if telling:
            _add(sums, pred, move - pred, weight)
        else:
            self.outliers += 1
        self._settle()
        return telling

    def _notice(self, left: float) -> None:
        """Where most of the latest are far off, they are no outliers: the market is another, and is learned anew.

        The same where most are far closer than they were.
        """
        recent = self._recent
        recent.append(left)
        if len(recent) <= _LATEST:
            return
        del recent[0]
        if _QUIETER * left < self.noise or left > 2.0 * self.noise:  # else the median need not be asked
            usual = _SURE * median(recent)
            if usual > _LOUDER * self.noise or _QUIETER * usual < self.noise:
                self.noise = usual
                less = min(1.0, _AFRESH / self._sums[5])
                self._sums = [one * less for one in self._sums]
                self._sums[6] = self._sums[5] * usual * usual

    def _together(self, first: list[tuple[float, float]]) -> None:
        """Weigh all of the first ones by how far they are from the line through them."""
        self.a, self.b = 0.0, 1.0
        for _ in range(_ROUNDS):
            left = [move - (self.a + self.b * pred) for pred, move in first]
            scale = _SURE * median([abs(one) for one in left])
            sums = self._sums = [0.0] * _SUMS
            for (pred, move), one in zip(first, left, strict=True):
                far = _apart(one, scale)
                weight = (_HEAVY + 1.0) / (_HEAVY + far * far)
                if far < _FAR:
                    _add(sums, pred, move - pred, weight)
                sums[5] += 1.0
                sums[6] += weight * one * one if weight else (_HEAVY + 1.0) * scale * scale
            self._settle()

    def _settle(self) -> None:
        self.a, self.b = self._solved(0.0, 1.0)[:2]
        sums = self._sums
        self.noise = math.sqrt(sums[6] / sums[5]) if sums[5] > 0.0 else 0.0

    def _solved(self, a: float, b: float) -> tuple[float, float, float, float, float]:
        """Intercept, slope, and their covariances in units of the noise, given the prior `a`, `b`."""
        weight, x, xx, e, xe = self._sums[:5]
        if weight <= _TINY:
            return a, b, 1.0 / _PRIOR, 0.0, 0.0
        usual = xx / weight  # the prior is worth ten predictions of the usual size
        top, bottom = weight + _PRIOR, xx + _PRIOR * usual
        missed, missed_x = e + _PRIOR * a, xe + _PRIOR * usual * (b - 1.0)
        whole = top * bottom - x * x
        if bottom <= _TINY or whole <= _TINY * top * bottom:  # all predictions are zero: nothing is known of the slope
            return missed / top, b, 1.0 / top, 0.0, 0.0
        return (
            (bottom * missed - x * missed_x) / whole,
            1.0 + (top * missed_x - x * missed) / whole,
            bottom / whole,
            -x / whole,
            top / whole,
        )

    # -- over a restart ----------------------------------------------------------------------------------------------

    def state(self) -> list[Any]:
        """All it knows, for JSON."""
        return [self.n, self.outliers, self._sums, self._first, self._recent]

    @classmethod
    def of_state(cls, state: Sequence[Any], memory: int = 500, band: float = 0.8) -> Line:
        """One that goes on where `state` was taken.

        Raises:
            ValueError: It is no such state.
        """
        n, outliers, sums, first, recent = state
        self = cls(memory, band)
        if type(n) is not int or type(outliers) is not int or len(sums) != _SUMS:
            raise ValueError("not the state of a line")
        self._sums = [float(value) for value in sums]
        if not all(map(math.isfinite, self._sums)) or min(self._sums[0], *self._sums[5:7]) < 0.0:
            raise ValueError("not the state of a line")
        self._first = None if first is None else [(float(pred), float(move)) for pred, move in first][:_TOGETHER]
        self._recent = [abs(float(left)) for left in recent][-_LATEST:]
        if not all(map(math.isfinite, self._recent)):
            raise ValueError("not the state of a line")
        self.n, self.outliers = n, outliers
        self._settle()
        return self


def _add(sums: list[float], pred: float, miss: float, weight: float) -> None:
    sums[0] += weight
    sums[1] += weight * pred
    sums[2] += weight * pred * pred
    sums[3] += weight * miss
    sums[4] += weight * pred * miss


def _apart(left: float, noise: float) -> float:
    """How many scales a miss is."""
    if noise > _TINY:
        return abs(left) / noise
    return 0.0 if abs(left) <= _TINY else math.inf


@functools.lru_cache(maxsize=64)
def t_quantile(share: float, freedom: float) -> float:
    """The quantile of Student's t, from the normal one's by its expansion in 1/freedom; good from four on.

    Example:
        >>> round(t_quantile(0.9, 8), 3), round(t_quantile(0.975, 4), 2)
        (1.397, 2.77)
    """
    z = NormalDist().inv_cdf(share)
    q = z * z
    return z * (
        1.0
        + (q + 1.0) / (4.0 * freedom)
        + (5.0 * q * q + 16.0 * q + 3.0) / (96.0 * freedom**2)
        + (3.0 * q**3 + 19.0 * q * q + 17.0 * q - 15.0) / (384.0 * freedom**3)
    )
