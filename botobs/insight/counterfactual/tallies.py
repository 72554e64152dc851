"""Sums of what decisions came to, with intervals that overlapping decisions do not make too narrow.

Decisions that were running at the same time tell nearly the same story: of one market in overlapping stretches, of
several markets that move together. They are put into clusters, and an interval is that of a mean over clusters: its
spread comes from how whole clusters differ, and Student's t has the degrees of freedom of so many clusters.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from botobs.accounting.numbers import EXACT, ZERO, text
from botobs.insight.line import t_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

__all__ = ["LEAST", "Interval", "Mean", "Tally"]

#: Independent clusters before there is an interval.
LEAST: Final = 5
_SHARE: Final = 0.975
_OPEN: Final = 8  # clusters that may still grow
_Z: Final = 1.959963984540054


class Interval(NamedTuple):
    """A mean with its 95 % interval; `low` and `high` are `None` where it has seen too little."""

    mean: float | None
    low: float | None
    high: float | None


class Mean:
    """A mean over values that come in clusters. Not locked.

    Attributes:
        n: How many values.
        total: Their sum.

    Example:
        >>> mean = Mean()
        >>> for n in range(40):
        ...     mean.add(1.0 if n % 2 else -1.0, cluster=n)
        >>> [round(end, 2) for end in mean.interval()]
        [0.0, -0.32, 0.32]
    """

    __slots__ = ("_across", "_closed", "_open", "_sizes", "_squares", "n", "total")

    def __init__(self) -> None:
        self.n = 0
        self.total = 0.0
        # of closed clusters: how many, and the sums of S², of S · size and of size²
        self._closed = 0
        self._squares = self._across = self._sizes = 0.0
        self._open: dict[int, tuple[float, int]] = {}

    def add(self, value: float, cluster: int, count: int = 1) -> None:
        """One more value; with `count` -1 one that was counted is taken back."""
        self.n += count
        self.total += value * count
        before, size = self._open.get(cluster, (0.0, 0))
        self._open[cluster] = (before + value * count, size + count)
        if len(self._open) > _OPEN:
            self._close(min(self._open))

    def _close(self, cluster: int) -> None:
        total, size = self._open.pop(cluster)
        self._closed += size > 0
        self._squares += total * total
        self._across += total * size
        self._sizes += size * size

    @property
    def clusters(self) -> float:
        """How many clusters of equal size tell as much; a few large ones tell less than their number."""
        sizes = self._sizes + sum(size * size for _, size in self._open.values())
        return self.n * self.n / sizes if sizes and self.n > 0 else 0.0

    def interval(self) -> Interval:
        """The mean, and where the true one lies with 95 %."""
        n = self.n
        if n <= 0:
            return Interval(None, None, None)
        mean = self.total / n
        clusters = self.clusters
        if clusters < LEAST:
            return Interval(mean, None, None)
        spread, count = self._squares - 2 * mean * self._across + mean * mean * self._sizes, self._closed
        for total, size in self._open.values():
            spread += (total - mean * size) ** 2
            count += size > 0
        if count < 2:
            return Interval(mean, None, None)
        error = math.sqrt(max(spread, 0.0) * count / (count - 1)) / n
        half = error * t_quantile(_SHARE, round(clusters - 1.0, 1))
        return Interval(mean, mean - half, mean + half)

    def state(self) -> list[Any]:
        """All of it, for JSON; clusters do not go on after a restart."""
        for cluster in sorted(self._open):
            self._close(cluster)
        return [self.n, self.total, self._closed, self._squares, self._across, self._sizes]

    @classmethod
    def of_state(cls, state: Sequence[Any]) -> Mean:
        """One that goes on where `state` was taken.

        Raises:
            Exception: It is no such state.
        """
        self = cls()
        n, total, closed, *sums = state
        self.n, self._closed = int(n), int(closed)
        self.total, (self._squares, self._across, self._sizes) = float(total), map(float, sums)
        if not math.isfinite(self.total + self._squares + self._across + self._sizes):
            raise ValueError("not a number")
        return self


class Tally:
    """What following one source came to. Not locked.

    Attributes:
        result: In bps of the value at the beginning, after costs; flat is 0.
        over: By how much it was better than what was chosen.
        sided: How many times it took a side; `hits`: made money with it; `chosen`: was the one chosen.
        money: What it would have made, where the quantity is known: `priced` times.
    """

    __slots__ = ("chosen", "hits", "money", "over", "priced", "result", "sided")

    def __init__(self) -> None:
        self.result, self.over = Mean(), Mean()
        self.sided = self.hits = self.chosen = self.priced = 0
        self.money = ZERO

    def add(  # noqa: PLR0917 - made for each candidate of each decision
        self, sign: int, value: float, over: float | None, money: Decimal | None, cluster: int, count: int
    ) -> None:
        """One more decision; with `count` -1 one is taken back."""
        self.result.add(value, cluster, count)
        if sign:
            self.sided += count
            self.hits += count if value > 0 else 0
        if over is not None:
            self.over.add(over, cluster, count)
        if money is not None:
            self.priced += count
            self.money = (EXACT.add if count > 0 else EXACT.subtract)(self.money, money)

    def hit_rate(self) -> Interval:
        """How often a side that it took made money (Wilson's interval, over as many tries as are independent)."""
        if self.sided <= 0:
            return Interval(None, None, None)
        rate = self.hits / self.sided
        tries = self.sided * min(self.result.clusters / max(self.result.n, 1), 1.0)
        if tries < LEAST:
            return Interval(rate, None, None)
        middle = (rate + _Z * _Z / (2 * tries)) / (1 + _Z * _Z / tries)
        half = _Z / (1 + _Z * _Z / tries) * math.sqrt(rate * (1 - rate) / tries + _Z * _Z / (4 * tries * tries))
        return Interval(rate, max(middle - half, 0.0), min(middle + half, 1.0))

    def state(self) -> list[Any]:
        """All of it, for JSON."""
        counts = [self.sided, self.hits, self.chosen, self.priced, text(self.money)]
        return [self.result.state(), self.over.state(), *counts]

    @classmethod
    def of_state(cls, state: Sequence[Any]) -> Tally:
        """One that goes on where `state` was taken.

        Raises:
            Exception: It is no such state.
        """
        self = cls()
        result, over, *counts, money = state
        self.result, self.over = Mean.of_state(result), Mean.of_state(over)
        self.sided, self.hits, self.chosen, self.priced = map(int, counts)
        self.money = EXACT.create_decimal(str(money))
        if not self.money.is_finite():
            raise ValueError("not a number")
        return self
