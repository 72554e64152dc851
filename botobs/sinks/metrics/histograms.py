"""Stage durations: from the hot path's bucket arrays to OpenTelemetry points, for every reader alike.

The bot's threads add to plain integer arrays. When a reader collects, a `StageTransform` reads them and puts
one histogram beside what the SDK collected, cumulative or delta as the reader prefers.

What a snapshot promises: its count is the sum of its buckets, because both come from one copy of the array.
The sum of the durations is read a moment later and may contain one duration whose bucket comes with the next
snapshot. Smallest and largest are not kept (the hot path would pay for them) and are left out: the SDK's
classes ask for a number, the official encoder sends the field only if there is one, and an invented number
would be a lie.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol, cast

from opentelemetry.sdk.metrics import Histogram as HistogramInstrument
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricReader,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from .catalogue import SCOPE, STAGE_DURATION
from .labels import clean_text
from .pace import Pace

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterator, Sequence

    from botobs.clock import Clock

__all__ = ["DurationCell", "DurationCells", "StageHistograms", "StageTransform", "prefers_delta"]

_UNKNOWN = cast("float", None)  # see the module's docstring: absent on the wire, not a number made up


class DurationCell(Protocol):
    """One histogram of the hot path: one stage and symbol."""

    @property
    def label(self) -> str:
        """The stage."""
        ...

    @property
    def symbol(self) -> str:
        """The symbol."""
        ...

    @property
    def counts(self) -> list[int]:
        """How many durations fell into each bucket."""
        ...

    @property
    def total_ns(self) -> int:
        """The sum of the durations."""
        ...

    @property
    def pending(self) -> deque[int] | None:
        """Durations that a user's own provider has yet to get."""
        ...

    @property
    def lost(self) -> int:
        """How many of those there was no room for."""
        ...


class DurationCells(Protocol):
    """All cells of an observer."""

    def all(self) -> Sequence[DurationCell]:
        """Every cell there is by now."""
        ...


_Key = tuple[str, str]
_Count = tuple[list[int], int]


class StageHistograms:
    """The cells of one observer as a histogram of OpenTelemetry.

    Args:
        cells: Where the hot path counts.
        bounds_ns: Upper bounds of the cells' buckets.
        clock: Tells when the histogram begins and when it was read.
        namespace: First part of the metric's name.
        version: Version of the instrumentation scope.
    """

    def __init__(
        self,
        cells: DurationCells,
        bounds_ns: Sequence[int],
        clock: Clock,
        *,
        namespace: str = "bot",
        version: str = "",
    ) -> None:
        self.name = STAGE_DURATION.full_name(namespace)
        self.bounds = tuple(bound / 1e9 for bound in bounds_ns)
        self.scope = InstrumentationScope(SCOPE, version)
        self.clock = clock
        self.start_ns = clock.time_ns()
        self._cells = cells
        self._attributes: dict[_Key, dict[str, str]] = {}

    def cells(self) -> Sequence[DurationCell]:
        """Every cell there is by now."""
        return self._cells.all()

    def attributes(self, key: _Key) -> dict[str, str]:
        """The attributes of a cell, the same dictionary each time."""
        known = self._attributes.get(key)
        if known is None:
            known = self._attributes[key] = {"stage": clean_text(key[0]), "symbol": clean_text(key[1])}
        return known

    def read(self) -> Iterator[tuple[_Key, _Count]]:
        """What each cell that saw anything holds now; cells of the same stage and symbol are one."""
        found: dict[_Key, _Count] = {}
        pace = Pace()
        for cell in self.cells():
            counts = cell.counts[:]  # one call into C: no thread can come between
            total = cell.total_ns
            if any(counts):
                key = (cell.label, cell.symbol)
                if key in found:
                    other, other_total = found[key]
                    counts = [a + b for a, b in zip(counts, other, strict=True)]
                    total += other_total
                found[key] = (counts, total)
            pace()
        return iter(found.items())

    def transform(self, *, delta: bool = False) -> StageTransform:
        """A function that adds the histogram to what a reader collected; one for each reader."""
        return StageTransform(self, delta=delta)


class StageTransform:
    """Adds the stage histogram to what one reader collected.

    With delta temporality it holds what this reader has already been told, so each reader needs its own.
    """

    def __init__(self, stages: StageHistograms, *, delta: bool = False) -> None:
        self.delta = delta
        self._stages = stages
        self._lock = threading.Lock()
        self._told: dict[_Key, _Count] = {}
        self._told_ns = stages.start_ns

    def __call__(self, data: MetricsData) -> MetricsData:
        """`data` with the stage histogram; `data` itself is left as it is."""
        if not data.resource_metrics:
            return data  # the SDK is switched off; asked later, the same points are still to be told
        points = self._points()
        if not points:
            return data
        temporality = AggregationTemporality.DELTA if self.delta else AggregationTemporality.CUMULATIVE
        metric = Metric(
            self._stages.name,
            STAGE_DURATION.description,
            STAGE_DURATION.unit,
            Histogram(data_points=points, aggregation_temporality=temporality),
        )
        first, *others = data.resource_metrics
        return MetricsData([self._with(first, metric), *others])

    def _with(self, resource: ResourceMetrics, metric: Metric) -> ResourceMetrics:
        scopes = list(resource.scope_metrics)
        for place, scope in enumerate(scopes):
            if scope.scope.name == SCOPE:
                scopes[place] = ScopeMetrics(scope.scope, [metric, *scope.metrics], scope.schema_url)
                break
        else:
            scopes.insert(0, ScopeMetrics(self._stages.scope, [metric], ""))
        return ResourceMetrics(resource.resource, scopes, resource.schema_url)

    def _points(self) -> list[HistogramDataPoint]:
        stages, bounds = self._stages, self._stages.bounds
        points: list[HistogramDataPoint] = []
        with self._lock:  # two collections at once must not tell the same delta twice
            start = self._told_ns if self.delta else stages.start_ns
            now = max(stages.clock.time_ns(), start)  # a clock that was set back must not end before it began
            pace = Pace()
            for key, count in stages.read():
                counts, total = self._since_told(key, count) if self.delta else count
                size = sum(counts)
                if size:
                    points.append(
                        HistogramDataPoint(
                            stages.attributes(key),
                            start,
                            now,
                            size,
                            total / 1e9,
                            counts,
                            bounds,
                            _UNKNOWN,
                            _UNKNOWN,
                        )
                    )
                pace()
            self._told_ns = now
        return points

    def _since_told(self, key: _Key, count: _Count) -> _Count:
        told = self._told.get(key)
        self._told[key] = count
        if told is None:
            return count
        return [now - then for now, then in zip(count[0], told[0], strict=True)], count[1] - told[1]


def prefers_delta(reader: MetricReader) -> bool:
    """Whether `reader` wants histograms as deltas; it decides itself, by its arguments or the environment."""
    # the SDK has no public way to ask; where it changes, cumulative (its default) is the answer
    wishes = getattr(reader, "_instrument_class_temporality", None) or {}
    for kind, temporality in wishes.items():
        if isinstance(kind, type) and issubclass(kind, HistogramInstrument):
            return bool(temporality is AggregationTemporality.DELTA)
    return False
