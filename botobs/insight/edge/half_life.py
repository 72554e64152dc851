"""How fast an edge goes into the price: the half-life of what is left of it, from the moves after decisions.

The move that is to come is taken to come exponentially: after one half-life half of it has, after two three quarters.
The whole move and the half-life are fitted to what was added from one horizon to the next: these pieces are independent
of each other where prices are a random walk, while the moves themselves share their noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from botobs.insight.edge.told import HalfLife

if TYPE_CHECKING:
    from collections.abc import Sequence

    from botobs.insight.edge.curve import Spread

__all__ = ["half_life"]

_LEAST_N: Final = 30
_LEAST_POINTS: Final = 3
_SURE: Final = 3.841  # of χ² with one degree of freedom, 95 % lie below
_CHANCE: Final = 9.0  # what chance hardly reaches, though the best half-life is looked for
_STEPS: Final = 100
_BEYOND: Final = 4.0  # half-lives are looked for from a quarter of the shortest to four times the longest horizon
_SAME: Final = 0.25


#: The end of the horizon, what was added since the one before, and its variance.
_Piece = tuple[float, float, float]


class _Fit(NamedTuple):
    """The best whole move for one half-life, and how much of the moves it explains."""

    after: float
    whole: float
    explains: float


def half_life(points: Sequence[tuple[float, Spread]], n: int) -> HalfLife:
    """The half-life that a curve tells.

    Args:
        points: By horizon in seconds, rising, the mean move and how sure it is.
        n: How many decisions they are from.

    Example:
        >>> from botobs.insight.edge.curve import Spread
        >>> curve = [(t, Spread(10 * (1 - 0.5 ** (t / 60)), 0.01, 500)) for t in (1, 5, 30, 60, 300, 900)]
        >>> found = half_life(curve, 500)
        >>> 50 < found.low < 59 < found.seconds < 61 < found.high < 70, round(found.edge_bps, 1)
        (True, 10.0)
    """
    if n < _LEAST_N or len(points) < _LEAST_POINTS:
        why = f"fewer than {_LEAST_N} decisions came due" if n < _LEAST_N else "fewer than 3 horizons can be told"
        return HalfLife(seconds=None, n=n, reason=why)
    pieces = _pieces(points)
    shortest, longest = points[0][0] / _BEYOND, points[-1][0] * _BEYOND
    fits = [_fit(pieces, after) for after in _between(shortest, longest)]
    best = max(fits, key=lambda fit: fit.explains)
    if best.explains < _CHANCE:
        return HalfLife(seconds=None, n=n, reason="the moves cannot be told from chance")
    if best.whole <= 0.0:
        return HalfLife(seconds=None, edge_bps=best.whole, n=n, reason="prices go against the decisions")
    likely = [at for at, fit in enumerate(fits) if fit.whole > 0.0 and fit.explains >= best.explains - _SURE]
    lowest, highest = max(likely[0] - 1, 0), min(likely[-1] + 1, _STEPS)
    low, high, at = fits[lowest].after, fits[highest].after, fits.index(best)
    around = fits[max(at - 1, 0)].after, fits[min(at + 1, _STEPS)].after
    right = max((_fit(pieces, after) for after in _between(*around)), key=lambda fit: fit.explains)
    first, last = lowest == 0, highest == _STEPS
    if last or right.after > points[-1][0]:
        why = "the move goes on beyond the longest horizon that can be told"
        return HalfLife(seconds=None, low=None if first else low, n=n, reason=why)
    if first:
        why = "half of the move has come before the shortest horizon can tell"
        return HalfLife(seconds=None, high=high, edge_bps=right.whole, n=n, reason=why)
    return HalfLife(seconds=right.after, low=low, high=high, edge_bps=right.whole, n=n)


def _pieces(points: Sequence[tuple[float, Spread]]) -> list[_Piece]:
    """What came from one horizon to the next."""
    pieces = []
    mean, variance = 0.0, 0.0
    for after, spread in points:
        # moves over two horizons share the noise of the shorter one
        noise = max(spread.variance - variance, _SAME * max(spread.variance, variance))
        pieces.append((after, spread.mean - mean, max(noise, 1e-6 * spread.mean * spread.mean, 1e-12)))
        mean, variance = spread.mean, spread.variance
    return pieces


def _fit(pieces: Sequence[_Piece], after: float) -> _Fit:
    """The best whole move, if half of it comes within `after` seconds."""
    top = bottom = 0.0
    left, decay = 1.0, -1.0 / after
    for end, added, noise in pieces:
        before, left = left, 2.0 ** (end * decay)
        share = (before - left) / noise
        top += share * added
        bottom += share * (before - left)
    return _Fit(after, top / bottom, top * top / bottom) if bottom else _Fit(after, 0.0, 0.0)


def _between(low: float, high: float) -> list[float]:
    """Half-lives to try, each as much longer than the one before."""
    wide = (high / low) ** (1.0 / _STEPS)
    return [low * wide**step for step in range(_STEPS + 1)]
