"""Sums and quantiles of slippage for one kind of order, small enough to keep for every kind there is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from botobs.accounting.numbers import ZERO

if TYPE_CHECKING:
    from collections.abc import Iterable

    from botobs.trackers.comparison import Filled, Key

__all__ = ["Cell", "Sketch"]

_GROWTH = 1.02  # each bucket is 2 % wider than the one before: a quantile is within 1 % of the true one
_LOG = math.log(_GROWTH)
_SMALLEST = 0.01  # what is smaller, in bps or ms, counts as 0
_PER_LOG = 1.0 / _LOG
_OFFSET = 1 - math.floor(math.log(_SMALLEST) * _PER_LOG)
_log, _floor = math.log, math.floor


class Sketch:
    """Counts in buckets that widen by 2 %: quantiles within 1 %, merged without loss, taken back again.

    Example:
        >>> sketch = Sketch()
        >>> for bps in (1.0, 2.0, 3.0):
        ...     sketch.add(bps)
        >>> round(sketch.quantile(0.5), 1)
        2.0
    """

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}

    def add(self, value: float, count: int = 1) -> None:
        """Count `value`."""
        if value >= _SMALLEST:
            bucket = int(_log(value) * _PER_LOG + 1_000_000) - 1_000_000 + _OFFSET
        elif value <= -_SMALLEST:
            bucket = -(int(_log(-value) * _PER_LOG + 1_000_000) - 1_000_000 + _OFFSET)
        else:
            bucket = 0
        counts = self.counts
        counts[bucket] = counts.get(bucket, 0) + count

    def merge(self, other: Sketch) -> None:
        """Count all that `other` counted."""
        for bucket, count in list(other.counts.items()):
            self.counts[bucket] = self.counts.get(bucket, 0) + count

    def quantile(self, share: float) -> float | None:
        """The value that `share` of all values are not above; `None`: there are none."""
        total = sum(self.counts.values())
        if total <= 0:
            return None
        wanted, seen = math.ceil(share * total), 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= wanted:
                break
        if bucket == 0:
            return 0.0
        low = math.exp((abs(bucket) - _OFFSET) * _LOG)
        return math.copysign(2 * low * _GROWTH / (1 + _GROWTH), bucket)  # off by the same share at both ends


class Cell:
    """What came of the orders of one symbol, side, type, venue and strategy (in one settlement currency).

    Attributes:
        fills: How many there were; `n`: how many of them had a decision to be measured against.
        weight: The quantity of those, `weighted`: times their bps, `value`: their worth.
        fee_value: The worth of the fills whose fees are known.
    """

    __slots__ = (
        "answered", "bps", "fee_value", "fees", "fills", "key", "latency", "money", "n", "refused", "rejections",
        "value", "weight", "weighted",
    )  # fmt: skip

    def __init__(self, key: Key) -> None:
        self.key = key
        self.fills = self.n = self.answered = self.refused = self.rejections = 0
        self.weight = self.weighted = self.value = self.fee_value = 0.0
        self.money = self.fees = ZERO
        self.bps, self.latency = Sketch(), Sketch()

    def enter(self, entry: Filled) -> None:
        """A fill, or one that was taken back; under `EXACT`. One straight piece: it runs at every fill."""
        _, count, answered, found, qty, value, fee, latency_ms = entry
        self.fills += count
        if answered:
            self.answered += 1
        if found is not None:
            bps, money, _ = found
            qty *= count
            self.n += count
            self.weight += qty
            self.weighted += qty * bps
            self.value += value * count
            self.money += money if count > 0 else -money
            self.bps.add(bps, count)
        if fee is not None:
            self.fees += fee if count > 0 else -fee
            self.fee_value += value * count
        if latency_ms is not None:
            self.latency.add(latency_ms)

    def refuse(self, *, first: bool, answered: bool) -> None:
        """An order was refused: for the `first` time, and as the first answer it got."""
        self.rejections += 1
        self.refused += first
        self.answered += answered

    def merge(self, other: Cell) -> None:
        """Take in what `other` has; under `EXACT`."""
        self.fills += other.fills
        self.n += other.n
        self.answered += other.answered
        self.refused += other.refused
        self.rejections += other.rejections
        self.weight += other.weight
        self.weighted += other.weighted
        self.value += other.value
        self.fee_value += other.fee_value
        self.money += other.money
        self.fees += other.fees
        self.bps.merge(other.bps)
        self.latency.merge(other.latency)


def mean_bps(cells: Iterable[Cell]) -> float | None:
    """The mean of cells of one currency: weighted by quantity within a symbol, by value between symbols."""
    symbols: dict[str | None, list[float]] = {}
    for cell in cells:
        if cell.n > 0:
            sums = symbols.setdefault(cell.key[0], [0.0, 0.0, 0.0])
            for index, more in enumerate((cell.weighted, cell.weight, cell.value)):
                sums[index] += more
    means = [(weighted / weight, value) for weighted, weight, value in symbols.values() if weight > 0]
    if len(means) == 1 and math.isfinite(means[0][0]):
        return means[0][0]
    whole = sum(value for _, value in means)
    found = sum(mean * value for mean, value in means) / whole if whole > 0 else math.nan
    return found if math.isfinite(found) else None
