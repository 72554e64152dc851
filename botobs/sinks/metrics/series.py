"""What a series holds, and what a collection takes of it."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .catalogue import Row
    from .numbers import Number

__all__ = ["Buckets", "Exemplar", "HistogramPoint", "Labels", "Passed", "Passing", "Plain", "Taken"]

Labels = tuple[str, ...]


class Exemplar(NamedTuple):
    """One measurement that tells its trace.

    Attributes:
        value: What was measured, in the metric's unit.
        trace_id: 32 hexadecimal digits.
        ts_ns: When, in nanoseconds since 1970.
        no: Later ones have higher numbers.
    """

    value: float
    trace_id: str
    ts_ns: int
    no: int


class Plain(NamedTuple):
    """A counter or gauge at the moment of a collection."""

    labels: Labels
    value: Number


class HistogramPoint(NamedTuple):
    """A histogram at the moment of a collection; its count is the sum of its buckets, for both are of one copy.

    Attributes:
        labels: Its label values.
        counts: How many fell into each bucket, the endless one last.
        total: The sum of what was measured.
        exemplars: The latest by bucket.
    """

    labels: Labels
    counts: Sequence[int]
    total: float
    exemplars: Mapping[int, Exemplar]


class Taken(NamedTuple):
    """One metric as a collection found it.

    Attributes:
        row: What the catalogue says of it.
        name: Its full name.
        bounds: Upper bounds of a histogram's buckets.
        plain: Points of a counter or gauge.
        histograms: Points of a histogram.
    """

    row: Row
    name: str
    bounds: Sequence[float]
    plain: Sequence[Plain]
    histograms: Sequence[HistogramPoint]


_NONE: Mapping[int, Exemplar] = {}


class Buckets:
    """A histogram of one series. Each update is a statement without a call between its load and its store."""

    __slots__ = ("counts", "exemplars", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.exemplars: dict[int, Exemplar] | None = None

    def add(self, bounds: Sequence[float], value: float, exemplar: Exemplar | None = None) -> None:
        """Count `value`."""
        place = bisect_left(bounds, value)
        self.counts[place] += 1
        self.total += value
        if exemplar is not None:
            if self.exemplars is None:
                self.exemplars = {}
            self.exemplars[place] = exemplar

    def point(self, labels: Labels) -> HistogramPoint:
        """As it is now."""
        counts = self.counts[:]  # one call into C: no thread can come between
        return HistogramPoint(labels, counts, self.total, _NONE if self.exemplars is None else self.exemplars.copy())


class Passed(NamedTuple):
    """A single measurement on its way to a provider of the user's own."""

    name: str
    value: float
    labels: Labels


class Passing:
    """Measurements on their way to a provider of the user's own, which takes them one by one.

    Args:
        most: How many may wait.
        relief: Makes room, where nobody does in the background.

    Attributes:
        lost: How many there was no room for.
    """

    def __init__(self, most: int = 100_000, relief: Callable[[], object] | None = None) -> None:
        self.waiting: deque[Passed] = deque()
        self.lost = 0
        self._most = most
        self._relief = relief

    def put(self, passed: Passed) -> None:
        """Have it handed on."""
        if len(self.waiting) >= self._most and self._relief is not None:
            self._relief()
        if len(self.waiting) < self._most:
            self.waiting.append(passed)
        else:
            self.lost += 1
