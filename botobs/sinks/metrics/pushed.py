"""What a collection took, as OpenTelemetry's points for OTLP: cumulative or delta, as the reader prefers.

Smallest and largest values are not kept (the hot path would pay for them) and are left out, and so is the sum of a
histogram with buckets below zero, since it may fall. The SDK's classes ask for a number there; the official encoder
sends the field only if there is one, and an invented number would be a lie.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, cast

from opentelemetry.sdk.metrics import Counter as CounterInstrument
from opentelemetry.sdk.metrics import Exemplar as SdkExemplar
from opentelemetry.sdk.metrics import Histogram as HistogramInstrument
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricReader,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from .catalogue import SCOPE
from .pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.sdk.resources import Resource

    from botobs.clock import Clock

    from .catalogue import Kind
    from .series import Exemplar, HistogramPoint, Labels, Taken

__all__ = ["Points", "delta_kinds"]

_UNKNOWN: Final = cast("float", None)  # see the module's docstring: absent on the wire, not a number made up
_NO_SPAN: Final = 0  # the trace is known, the span is not


class Points:
    """Gives one reader what there is. With delta temporality it holds what this reader has been told already.

    Args:
        collect: Takes everything.
        resource: Who sends.
        version: Version of the instrumentation scope.
        clock: Tells when it was read.
        start_ns: When counting began.

    Attributes:
        deltas: The kinds that are told as what came since the last time.
    """

    def __init__(
        self,
        collect: Callable[[], Sequence[Taken]],
        resource: Resource,
        version: str,
        clock: Clock,
        start_ns: int,
    ) -> None:
        self.deltas: frozenset[Kind] = frozenset()
        self._collect = collect
        self._resource = resource
        self._scope = InstrumentationScope(SCOPE, version)
        self._clock = clock
        self._start_ns = self._told_ns = start_ns
        self._lock = threading.Lock()
        self._told: dict[tuple[str, Labels], Any] = {}
        self._last_exemplar = 0

    def __call__(self, _data: MetricsData) -> MetricsData:
        """Everything there is to tell; the SDK's own part of it is empty."""
        with self._lock:  # two collections at once must not tell the same delta twice
            found = self._collect()
            now = max(self._clock.time_ns(), self._told_ns)  # a clock that was set back must not end before it began
            pace = Pace()
            metrics = [metric for taken in found if (metric := self._metric(taken, now, pace)) is not None]
            self._told_ns = now
            told = (each.no for taken in found for point in taken.histograms for each in point.exemplars.values())
            self._last_exemplar = max([self._last_exemplar, *told])
        if not metrics:
            return MetricsData([])
        return MetricsData([ResourceMetrics(self._resource, [ScopeMetrics(self._scope, metrics, "")], "")])

    def _metric(self, taken: Taken, now: int, pace: Pace) -> Metric | None:
        row = taken.row
        delta = row.kind in self.deltas
        start = self._told_ns if delta else self._start_ns
        temporality = AggregationTemporality.DELTA if delta else AggregationTemporality.CUMULATIVE
        data: Histogram | Sum | Gauge
        if row.kind == "histogram":
            found = [point for each in taken.histograms if (point := self._histogram(taken, each, start, now))]
            pace()
            data = Histogram(found, temporality)
        else:
            plain = self._plain(taken, start, now)
            pace()
            data = Sum(plain, temporality, is_monotonic=True) if row.kind == "counter" else Gauge(plain)
        return Metric(taken.name, row.description, row.unit, data) if data.data_points else None

    def _plain(self, taken: Taken, start: int, now: int) -> list[NumberDataPoint]:
        points = []
        for labels, value in taken.plain:
            told = value
            if taken.row.kind == "counter" and "counter" in self.deltas:
                key = (taken.name, labels)
                told -= self._told.get(key, 0)
                self._told[key] = value
                if not told:
                    continue
            points.append(NumberDataPoint(_attributes(taken, labels), start, now, told))
        return points

    def _histogram(self, taken: Taken, point: HistogramPoint, start: int, now: int) -> HistogramDataPoint | None:
        counts, total = point.counts, point.total
        if "histogram" in self.deltas:
            key = (taken.name, point.labels)
            told_counts, told_total = self._told.get(key, ((0,) * len(counts), 0.0))
            self._told[key] = (counts, total)
            counts = [now_ - then for now_, then in zip(counts, told_counts, strict=True)]
            total -= told_total
        size = sum(counts)
        if not size:
            return None
        exemplars = [_exemplar(each) for each in point.exemplars.values() if each.no > self._last_exemplar]
        return HistogramDataPoint(
            _attributes(taken, point.labels), start, now, size, _UNKNOWN if taken.row.below_zero else total, counts,
            taken.bounds, _UNKNOWN, _UNKNOWN, exemplars,
        )  # fmt: skip


def _attributes(taken: Taken, labels: Labels) -> Mapping[str, str]:
    return dict(zip(taken.row.labels, labels, strict=True))


def _exemplar(exemplar: Exemplar) -> SdkExemplar:
    # without a span id the official encoder leaves the trace out, too
    return SdkExemplar({}, float(exemplar.value), exemplar.ts_ns, _NO_SPAN, int(exemplar.trace_id, 16))


def delta_kinds(reader: MetricReader) -> frozenset[Kind]:
    """What `reader` wants as deltas, which it decides itself, by its arguments or the environment."""
    # the SDK has no public way to ask; where it changes, cumulative (its default) is the answer
    wishes = getattr(reader, "_instrument_class_temporality", None) or {}
    found: set[Kind] = set()
    for kind, temporality in wishes.items():
        if isinstance(kind, type) and temporality is AggregationTemporality.DELTA:
            if issubclass(kind, HistogramInstrument):
                found.add("histogram")
            elif issubclass(kind, CounterInstrument):
                found.add("counter")
    return frozenset(found)
