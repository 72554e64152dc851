"""The metrics of one observer: which provider, which readers, and the way of the stage durations to each."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import attrs
from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider

from .about import About, SelfReadings, about
from .catalogue import CATALOGUE, SCOPE, STAGE_DURATION, Row
from .exposition import PrometheusReader, negotiate
from .histograms import DurationCell, DurationCells, StageHistograms, StageTransform, prefers_delta
from .instruments import STREAM, Instruments, create_histogram
from .labels import LabelCap, clean_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.metrics import Histogram, Meter, MeterProvider
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.resources import Resource

    from botobs.clock import Clock
    from botobs.faults import Faults

__all__ = ["MetricsSink"]


class MetricsSink:
    """Everything an observer has to do with metrics.

    There may be two providers. The own one exists for the endpoint (`prometheus`) and for OTLP (`push`); its
    stage histograms come from the cells' bucket arrays. A provider of the user's own gets the same
    instruments, and every stage duration one by one, from `drain`.

    Args:
        cells: The hot path's histograms.
        bounds_ns: Their upper bounds.
        readings: What botobs says about itself.
        faults: Where to say what went wrong.
        clock: The observer's clock.
        resource: What the own provider's metrics are about.
        namespace: First part of the bot's metric names.
        version: Version of the instrumentation scope.
        prometheus: Whether `render` is wanted.
        push: Makes the OTLP reader, from a function that adds the stage histograms to what it collects.
        meter_provider: The user's own.
        rows: The catalogue.
        label_cap: How many values a label may have.
    """

    def __init__(
        self,
        cells: DurationCells,
        bounds_ns: Sequence[int],
        readings: SelfReadings,
        faults: Faults,
        clock: Clock,
        *,
        resource: Resource | None = None,
        namespace: str = "bot",
        version: str = "",
        prometheus: bool = True,
        push: Callable[[StageTransform], MetricReader] | None = None,
        meter_provider: MeterProvider | None = None,
        rows: Sequence[Row] = CATALOGUE,
        label_cap: int = 200,
    ) -> None:
        self._cells = cells
        self._faults = faults
        self._clock = clock
        cap = LabelCap(label_cap)
        self._readings = attrs.evolve(readings, folded=lambda: (readings.folded() or 0) + cap.folded)
        self._abouts: list[About] = []
        self.stages = StageHistograms(cells, bounds_ns, clock, namespace=namespace, version=version)
        self._prometheus = PrometheusReader(self.stages.transform()) if prometheus else None
        self.provider = self._own_provider(push, resource)
        meters: list[Meter] = []
        for provider in (self.provider, meter_provider):
            if provider is not None:
                meters += self._join(provider, version)
        self._raw = self._raw_histogram(meter_provider, version, namespace)
        self._attributes: dict[tuple[str, str], dict[str, str]] = {}
        self._waiting: deque[DurationCell] = deque()
        self._lost = 0
        self.instruments = Instruments(meters, faults, rows=rows, namespace=namespace, cap=cap)

    def _own_provider(
        self, push: Callable[[StageTransform], MetricReader] | None, resource: Resource | None
    ) -> SdkMeterProvider | None:
        readers: list[MetricReader] = []
        if self._prometheus is not None:
            readers.append(self._prometheus)
        if push is not None:
            transform = self.stages.transform()
            reader = push(transform)
            transform.delta = prefers_delta(reader)
            readers.append(reader)
        if not readers:
            return None
        return SdkMeterProvider(readers, resource, shutdown_on_exit=False)

    def _join(self, provider: MeterProvider, version: str) -> list[Meter]:
        try:
            meter = provider.get_meter(SCOPE, version)
            found = about(provider, version)
            found.join(self._readings, self._faults)
            self._abouts.append(found)
            return [meter]
        except Exception as error:  # a user's provider may be anything: the bot starts without its metrics
            self._faults.error("metrics.provider", error)
            return []

    def _raw_histogram(self, provider: MeterProvider | None, version: str, namespace: str) -> Histogram | None:
        if provider is None:
            return None
        try:
            meter = provider.get_meter(SCOPE, version)
            return create_histogram(meter, STAGE_DURATION, namespace, self.stages.bounds)
        except Exception as error:
            self._faults.error("metrics.provider", error)
            return None

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The page for Prometheus and its content type."""
        if self._prometheus is None:
            return b"", negotiate("")
        return self._prometheus.render(accept)

    def drain(self, budget_ns: int) -> bool:
        """Hand waiting stage durations to the user's own provider, for about `budget_ns`.

        Only one thread may do so at a time.

        Returns:
            Whether some are left.
        """
        if self._raw is None:
            return False
        until = self._clock.perf_ns() + budget_ns
        if not self._waiting:
            self._find_waiting()
        while self._waiting:
            cell = self._waiting[0]
            if not self._hand_over(self._raw, cell, until):
                self._waiting.rotate(-1)  # a busy stage must not starve the others
                return True
            self._waiting.popleft()
        return False

    def _find_waiting(self) -> None:
        lost = 0
        for cell in self._cells.all():
            lost += cell.lost
            if cell.pending:
                self._waiting.append(cell)
        if lost > self._lost:
            self._faults.dropped(STREAM, lost - self._lost)
            self._lost = lost

    def _hand_over(self, histogram: Histogram, cell: DurationCell, until: int) -> bool:
        """Hand over what `cell` holds now; `False` when time is up before its end."""
        pending = cell.pending
        if not pending:
            return True
        key = (cell.label, cell.symbol)
        attributes: Any = self._attributes.get(key)
        if attributes is None:
            attributes = {"stage": clean_text(key[0]), "symbol": clean_text(key[1])}
            self._attributes[key] = attributes
        for _ in range(len(pending)):  # what comes meanwhile waits for the next round
            try:
                histogram.record(pending.popleft() / 1e9, attributes)
            except Exception as error:
                self._faults.dropped(STREAM)
                self._faults.error("metrics.record", error)
            if self._clock.perf_ns() >= until:
                return not pending
        return True

    def abandon(self) -> None:
        """Fall silent in a child process, without a lock and without a word to the parent's readers."""
        for found in self._abouts:
            found.abandon(self._readings)
        self._abouts.clear()
        self._raw = None

    def close(self, timeout: float) -> bool:
        """End the own provider and its readers within `timeout` seconds; fall silent on the user's own.

        Returns:
            Whether every reader ended well.
        """
        for found in self._abouts:
            found.leave(self._readings)
        self._abouts.clear()
        provider, self.provider = self.provider, None
        try:
            if provider is not None:
                provider.shutdown(timeout_millis=max(timeout, 0.001) * 1000)
        except Exception as error:
            self._faults.error("metrics.close", error)
            return False
        return True
