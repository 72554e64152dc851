"""The mean move some time after decisions, and how sure it is.

Decisions that are close to each other see the same prices: their moves overlap, and counted as if each were news they
would make the interval far too narrow. So decisions are put together by blocks of four horizons, and the interval comes
from how much whole blocks differ. Plain sums, nothing grows; old blocks are forgotten.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from botobs.insight.edge.told import Markout
from botobs.insight.line import t_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from botobs.insight.terms import Horizon

__all__ = ["Moves", "Spread"]

_BLOCK: Final = 4
_LEAST: Final = 8.0  # blocks before there is an interval
_SURE: Final = 0.975
_SUMS: Final = 5


class Spread(NamedTuple):
    """A mean, and how sure it is.

    Attributes:
        mean: The mean.
        variance: Of the mean.
        blocks: From so many blocks.
    """

    mean: float
    variance: float
    blocks: float


class Moves:
    """The moves over one horizon. Not locked.

    Args:
        horizon: Which.
        memory: After so many decisions an old one counts a third.

    Attributes:
        n: How many there were.
        lost: How many decisions found no price in time.
    """

    __slots__ = ("_block", "_count", "_fade", "_sums", "_total", "horizon", "lost", "n")

    def __init__(self, horizon: Horizon, memory: int = 1_000) -> None:
        self.horizon = horizon
        self._fade = math.log1p(-1.0 / memory)
        self.n = self.lost = 0
        self._block, self._count, self._total = 0, 0, 0.0  # the block that is still open
        # of closed blocks: decisions, moves; squared weights times: decisions², moves², decisions times moves
        self._sums = [0.0] * _SUMS

    def add(self, move: float, since_ns: int) -> None:
        """One more, of a decision made then."""
        block = since_ns // (_BLOCK * self.horizon.ns)
        if block != self._block and self._count:
            self._sums = self._closed()
            self._count, self._total = 0, 0.0
        self._block = block
        self.n += 1
        self._count += 1
        self._total += move

    def _closed(self) -> list[float]:
        """The sums with the open block in them."""
        count, total = self._count, self._total
        if not count:
            return self._sums
        fade = math.exp(self._fade * count)
        more = (count, total, count * count, total * total, count * total)
        return [
            old * (fade if at < 2 else fade * fade) + new
            for at, (old, new) in enumerate(zip(self._sums, more, strict=True))
        ]

    @property
    def mean(self) -> float | None:
        """The mean move; `None`: there was none."""
        weight, total = self._closed()[:2]
        return total / weight if weight else None

    @property
    def spread(self) -> Spread | None:
        """The mean, and how sure it is; `None`: that cannot be told yet."""
        weight, total, nn, xx, nx = self._closed()
        if not weight or weight * weight < _LEAST * nn:
            return None
        mean, blocks = total / weight, weight * weight / nn
        left = max(xx - 2.0 * mean * nx + mean * mean * nn, 0.0)
        return Spread(mean, left / (weight * weight) * blocks / (blocks - 1.0), blocks)

    def told(self) -> Markout:
        """As somebody who asks gets it."""
        spread, mean, low, high, reason = self.spread, self.mean, None, None, None
        if spread is not None:
            half = t_quantile(_SURE, spread.blocks - 1.0) * math.sqrt(spread.variance)
            low, high = spread.mean - half, spread.mean + half
        elif not self.n:
            reason = "no decision came due"
        else:
            reason = f"the decisions lie in fewer than {_LEAST:.0f} stretches of {_BLOCK} times the horizon"
        return Markout(
            after=self.horizon.text, seconds=self.horizon.ns / 1e9, mean_bps=mean, low_bps=low, high_bps=high,
            n=self.n, lost=self.lost, reason=reason,
        )  # fmt: skip

    def state(self) -> list[Any]:
        """All it knows, for JSON."""
        return [self.horizon.text, self.n, self.lost, self._sums, self._block, self._count, self._total]

    def restore(self, state: Sequence[Any]) -> None:
        """Go on where `state` was taken.

        Raises:
            Exception: It is no such state.
        """
        _, n, lost, sums, block, count, total = state
        found = [float(one) for one in sums]
        if len(found) != _SUMS or not all(map(math.isfinite, [*found, float(total)])) or min(found[0], found[2]) < 0:
            raise ValueError("not the state of a curve")
        self.n, self.lost, self._sums = int(n), int(lost), found
        self._block, self._count, self._total = int(block), int(count), float(total)
