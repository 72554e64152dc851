"""Collects metrics and sends them with the official exporter, in a thread and with deadlines of our own.

The SDK's periodic reader waits for the exporter whatever timeout it was given: half a minute with a dead
collector. Here `flush` and `close` wait for a condition, never for the network.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricReader, MetricsData

from botobs.errors import ConfigError
from botobs.sinks.otlp.sender import Counts
from botobs.sinks.otlp.transport import not_traced

if TYPE_CHECKING:
    from collections.abc import Callable

    from botobs.faults import Faults
    from botobs.sinks.otlp.target import OtlpTarget

__all__ = ["MetricsPush", "PushReader", "metric_exporter"]

_STREAM = "metrics"
_FAREWELL_S = 0.03
_LOUD: Final = (
    "opentelemetry.exporter.otlp.common.http",
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
    "opentelemetry.exporter.otlp.proto.grpc.metric_exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "urllib3.connectionpool",
)


def metric_exporter(target: OtlpTarget, *, timeout_s: float | None = None) -> MetricExporter:
    """The official exporter for `target`; it reads the temporality preference from the environment itself.

    Raises:
        ConfigError: The certificates cannot be used.
    """
    patience = min(target.timeout_s, timeout_s) if timeout_s else target.timeout_s
    try:
        return (_over_grpc if target.protocol == "grpc" else _over_http)(target, patience)
    except OSError as error:
        raise ConfigError(f"the certificates for {target.place} must be readable: {type(error).__name__}") from None


def _over_http(target: OtlpTarget, timeout_s: float) -> MetricExporter:
    # loaded only when this protocol is chosen
    from opentelemetry.exporter.otlp.proto.http import Compression  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter  # noqa: PLC0415

    return OTLPMetricExporter(
        endpoint=target.url,
        certificate_file=target.certificate,
        client_key_file=target.client_key,
        client_certificate_file=target.client_certificate,
        headers=dict(target.headers),
        timeout=timeout_s,
        compression=Compression(target.compression),
    )


def _over_grpc(target: OtlpTarget, timeout_s: float) -> MetricExporter:
    # loaded only when this protocol is chosen
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter  # noqa: PLC0415

    from botobs.sinks.otlp.grpc_transport import COMPRESSION, credentials  # noqa: PLC0415

    return OTLPMetricExporter(
        endpoint=target.url,
        insecure=target.insecure,
        credentials=None if target.insecure else credentials(target),
        headers=target.headers,
        timeout=timeout_s,
        compression=COMPRESSION[target.compression],
    )


class PushReader(MetricReader):
    """Keeps what the SDK collects until it is taken.

    Args:
        exporter: Whose temporality and aggregation the SDK shall use.
        transform: Changes what was collected before it is sent, or adds to it.
    """

    def __init__(
        self,
        exporter: MetricExporter | None = None,
        transform: Callable[[MetricsData], MetricsData] | None = None,
    ) -> None:
        super().__init__(
            # the SDK's own periodic reader reads these two as well: there is no public way to them
            preferred_temporality=exporter._preferred_temporality if exporter else None,  # noqa: SLF001
            preferred_aggregation=exporter._preferred_aggregation if exporter else None,  # noqa: SLF001
        )
        self._transform = transform
        self._latest: MetricsData | None = None

    def take(self, timeout_s: float) -> MetricsData | None:
        """Collect now; None when there is nothing."""
        if self._collect is None:
            return None  # not, or no longer, registered with a provider
        self._latest = None
        self.collect(timeout_millis=timeout_s * 1000)
        latest = self._pop()
        if self._transform is None:
            return latest
        return self._transform(latest if latest is not None else MetricsData(resource_metrics=[]))

    def _pop(self) -> MetricsData | None:
        latest, self._latest = self._latest, None
        return latest

    def _receive_metrics(
        self,
        metrics_data: MetricsData,
        timeout_millis: float = 10_000,  # noqa: ARG002  # the SDK's signature
        **_kwargs: Any,
    ) -> None:
        self._latest = metrics_data

    def shutdown(self, timeout_millis: float = 30_000, **_kwargs: Any) -> None:
        """Nothing: `MetricsPush.close` ends the sending."""


class MetricsPush:
    """Sends what a reader collects, periodically and on demand.

    Args:
        reader: Where the metrics come from.
        exporter: How they leave; shut down by `close`.
        faults: Where failures are reported.
        interval_s: How often.
        timeout_s: The most one collection may take.
    """

    def __init__(
        self,
        reader: PushReader,
        exporter: MetricExporter,
        faults: Faults,
        *,
        interval_s: float = 60.0,
        timeout_s: float = 30.0,
    ) -> None:
        self._reader, self._exporter, self._faults = reader, exporter, faults
        self._interval_s, self._timeout_s = interval_s, timeout_s
        self._asked = self._served = 0
        self._good = True
        self._closed = False
        self._delivered = self._dropped = self._flying = 0
        self.trouble: str | None = None
        self._changed = threading.Condition()
        self._quiet = _QuietThread()
        self._thread = threading.Thread(target=self._run, name="botobs-otlp-metrics", daemon=True)
        self._thread.start()

    @property
    def counts(self) -> Counts:
        """Data points delivered, in flight, and in exports that failed.

        With cumulative temporality a failed export loses only its moment: the next carries the totals.
        """
        with self._changed:
            return Counts(self._delivered, self._flying, self._dropped)

    def flush(self, deadline: float) -> bool:
        """Collect and send at once; whether that was delivered before `deadline` (of `time.monotonic`)."""
        with self._changed:
            if self._closed:
                return False
            self._asked += 1
            ticket = self._asked
            self._changed.notify_all()
            while self._served < ticket:
                left = deadline - time.monotonic()
                if left <= 0 or self._closed:
                    return False
                self._changed.wait(left)
            return self._good

    def close(self, deadline: float) -> bool:
        """Flush, then end; whether the last metrics were delivered."""
        delivered = self.flush(deadline)
        with self._changed:
            if self._closed:
                return delivered
            self._closed = True
            left, self._flying = self._flying, 0
            self._dropped += left
            self._changed.notify_all()
        if left:
            self._faults.dropped(_STREAM, left)
        # ends its waiting between two tries; what is on the wire ends by its own timeout, in a daemon thread
        self._exporter.shutdown()
        self._thread.join(max(deadline - time.monotonic(), _FAREWELL_S))
        return delivered

    def abandon(self) -> None:
        """Forget everything in a forked child: no thread, no lock, nothing sent."""
        self._closed = True

    def _run(self) -> None:
        not_traced()
        self._quiet.add()
        try:
            self._push_until_closed()
        finally:  # not earlier: an export that outlives `close` complains as loudly as any
            self._quiet.remove()

    def _push_until_closed(self) -> None:
        due = time.monotonic() + self._interval_s
        while True:
            with self._changed:
                while not self._closed and self._asked == self._served:
                    left = due - time.monotonic()
                    if left <= 0:
                        break
                    self._changed.wait(left)
                if self._closed:
                    return
                ticket = self._asked
            good = self._push()
            if time.monotonic() >= due:
                due = time.monotonic() + self._interval_s
            with self._changed:
                self._served, self._good = ticket, good
                self._changed.notify_all()

    def _push(self) -> bool:
        try:
            data = self._reader.take(self._timeout_s)
            points = _points(data) if data is not None else 0
            if data is None or not points:
                return True
            with self._changed:
                self._flying = points
            good = self._exporter.export(data) is MetricExportResult.SUCCESS
        except Exception as error:  # a callback of the bot's, or an exporter's defect
            good, points = False, self._flying
            self._faults.error("otlp-metrics", error)
        with self._changed:
            if self._closed:
                return good  # counted by `close`
            self._flying = 0
            if good:
                self._delivered += points
            else:
                self._dropped += points
            self.trouble = None if good else "metrics did not get through"
        if not good:
            self._faults.dropped(_STREAM, points)
        return good


def _points(data: MetricsData) -> int:
    return sum(
        len(metric.data.data_points)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    )


class _QuietThread(logging.Filter):
    """Keeps the exporters' complaints out of the bot's log, for the thread that added it and no other."""

    def __init__(self) -> None:
        super().__init__()
        self._ident: int | None = None

    def add(self) -> None:
        self._ident = threading.get_ident()
        for name in _LOUD:
            logging.getLogger(name).addFilter(self)

    def remove(self) -> None:
        for name in _LOUD:
            logging.getLogger(name).removeFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        return record.thread != self._ident
