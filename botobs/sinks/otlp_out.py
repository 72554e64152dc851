"""What leaves over OTLP: the choice of targets and transports, spans and metrics, and their end."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from botobs.sinks.otlp.envelope import envelope
from botobs.sinks.otlp.metrics_push import MetricsPush, PushReader, metric_exporter
from botobs.sinks.otlp.sender import SpanSender
from botobs.sinks.otlp.target import batching, pushing, resolve
from botobs.sinks.otlp.transport import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.sdk.metrics.export import MetricsData
    from opentelemetry.sdk.resources import Resource

    from botobs.faults import Faults
    from botobs.sinks.otlp.transport import Transport

__all__ = ["OtlpOut"]


class OtlpOut:
    """Spans and metrics on their way to a collector.

    Args:
        endpoint: The `otlp_endpoint` setting; the standard variables hold beside it.
        resource: Who sends.
        version: botobs's version, for the instrumentation scope.
        faults: Where drops and failures are counted.
        transport: Takes the spans instead of the network.
        env: The environment.
    """

    def __init__(
        self,
        endpoint: str | None,
        resource: Resource,
        version: str,
        faults: Faults,
        *,
        transport: Transport | None = None,
        env: Mapping[str, str] = os.environ,
    ) -> None:
        self._faults = faults
        self.sender: SpanSender | None = None
        self.push: MetricsPush | None = None
        # everything that may be refused comes before the first thread
        self._metrics = resolve("metrics", endpoint, env)
        self._pushing = pushing(env)
        pace = batching(env)
        target = None
        if transport is None:
            target = resolve("traces", endpoint, env)
            transport = None if target is None else connect(target, "traces")
        if transport is not None:
            self.sender = SpanSender(
                envelope(resource, "botobs", version), transport, faults, queue_spans=pace.queue_spans,
                batch_spans=pace.batch_spans, delay_s=pace.delay_s,
                timeout_s=pace.timeout_s if target is None else min(target.timeout_s, pace.timeout_s),
            )  # fmt: skip

    @property
    def wants_metrics(self) -> bool:
        """Whether there is a collector for metrics."""
        return self._metrics is not None

    def reader(self, transform: Callable[[MetricsData], MetricsData]) -> PushReader:
        """The reader that collects what is pushed."""
        assert self._metrics is not None
        exporter = metric_exporter(self._metrics, timeout_s=min(self._metrics.timeout_s, self._pushing.timeout_s))
        reader = PushReader(exporter, transform)
        self.push = MetricsPush(
            reader,
            exporter,
            self._faults,
            interval_s=self._pushing.interval_s,
            timeout_s=self._pushing.timeout_s,
        )
        return reader

    def flush(self, deadline: float) -> bool:
        """Send what waits, before `deadline`; whether all of it has gone."""
        sent = self.sender is None or self.sender.flush(deadline)
        return (self.push is None or self.push.flush(deadline)) and sent

    def close(self, deadline: float) -> bool:
        """Flush, then end."""
        sent = self.sender is None or self.sender.close(deadline)
        return (self.push is None or self.push.close(deadline)) and sent

    def abandon(self) -> None:
        """Forget everything in a forked child."""
        if self.sender is not None:
            self.sender.abandon()
        if self.push is not None:
            self.push.abandon()
