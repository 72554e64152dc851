"""What the SDK collected as Prometheus text, or as OpenMetrics text.

OpenTelemetry's own Prometheus reader makes an object and a dictionary for each line of the page. Of a
histogram's lines only the numbers ever change, so here each series is a format string made once. Tests hold
both pages to be the same. Two things differ on purpose: metrics of botobs keep their names exactly (the
official reader appends the unit once more to a name that abbreviates it), and `le` stands last.
"""

from __future__ import annotations

import json
import re
import threading
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.metrics.export import (
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricReader,
    MetricsData,
    NumberDataPoint,
    Sum,
)

from .catalogue import SCOPE
from .pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["OPEN_METRICS", "PLAIN_TEXT", "PrometheusReader", "negotiate"]

PLAIN_TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_WAIT_S = 10.0
_MOST_SERIES = 20_000
_ENDLESS = {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}
_UNITS = {
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "min": "minutes",
    "h": "hours",
    "d": "days",
    "By": "bytes",
    "Hz": "hertz",
    "Cel": "celsius",
    "%": "percent",
    "1": "",
}


def negotiate(accept: str) -> str:
    """The content type for an `Accept` header: OpenMetrics for who asks for it, else plain text.

    Example:
        >>> negotiate("application/openmetrics-text;version=1.0.0,text/plain;q=0.5") == OPEN_METRICS
        True
        >>> negotiate("*/*") == negotiate("") == PLAIN_TEXT
        True
    """
    for offer in accept.split(","):
        kind, *parameters = (part.strip() for part in offer.split(";"))
        if kind == "application/openmetrics-text":
            version = next((p.removeprefix("version=") for p in parameters if p.startswith("version=")), "1")
            if re.match(r"[1-9]", version):  # 0.0.1 was a draft
                return OPEN_METRICS
        elif kind == "text/plain":
            return PLAIN_TEXT
    return PLAIN_TEXT


class PrometheusReader(MetricReader):
    """Collects when asked and answers with a page.

    It registers nowhere: whatever else the process exposes with prometheus_client stays apart.

    Args:
        transform: What to add to what the SDK collected.
    """

    def __init__(self, transform: Callable[[MetricsData], MetricsData]) -> None:
        super().__init__()
        self._transform = transform
        self._lock = threading.Lock()
        self._inbox: list[MetricsData] = []
        self._series = _Series()

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The page and its content type.

        Raises:
            TimeoutError: Another collection hangs.
        """
        content_type = negotiate(accept)
        if not self._lock.acquire(timeout=_WAIT_S):
            raise TimeoutError("another collection of metrics has not ended")
        try:
            self._inbox.clear()
            self.collect()
            collected = self._inbox.copy()
        finally:
            self._lock.release()
        page = _Page(self._series, open_metrics=content_type == OPEN_METRICS)
        for data in collected:
            page.take(self._transform(data))
        return page.encode(), content_type

    def _receive_metrics(self, metrics_data: MetricsData, *_: Any, **__: Any) -> None:
        self._inbox.append(metrics_data)

    def shutdown(self, timeout_millis: float = 30_000, **_: Any) -> None:
        """There is nothing to end."""


class _Page:
    """One page in the making: families by name, each with its head and its lines."""

    def __init__(self, series: _Series, *, open_metrics: bool) -> None:
        self._series = series
        self._open = open_metrics
        self._families: dict[str, tuple[str, str, list[str]]] = {}
        self._pace = Pace()

    def take(self, data: MetricsData) -> None:
        for resource in data.resource_metrics:
            labels = self._series.labels(resource.resource.attributes)
            self._family("target_info", "info", "Target metadata", "").append(f"target_info{{{labels}}} 1\n")
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    self._metric(metric, foreign=scope.scope.name != SCOPE)

    def encode(self) -> bytes:
        """Join the lines family by family, so that no single stretch is long."""
        parts: list[bytes] = []
        for _, head, lines in self._families.values():
            parts.append(head.encode())
            for at in range(0, len(lines), 20):
                parts.append("".join(lines[at : at + 20]).encode())
                self._pace()
        if self._open:
            parts.append(b"# EOF\n")
        return b"".join(parts)

    def _metric(self, metric: Metric, *, foreign: bool) -> None:
        data = metric.data
        unit = _unit(metric.unit or "")
        name = _clean_name(metric.name)
        total = ""
        if isinstance(data, Sum) and data.is_monotonic:
            name, kind, total = name.removesuffix("_total"), "counter", "_total"
        elif isinstance(data, Sum | Gauge):
            kind = "gauge"
        elif isinstance(data, Histogram):
            kind = "histogram"
        else:
            return  # exponential histograms have no form in this text; no reader of ours asks for them
        if foreign and unit and not name.endswith("_" + unit):
            name += "_" + unit
        lines = self._family(name + total, kind, metric.description or "", unit)
        for point in data.data_points:
            if isinstance(point, HistogramDataPoint):
                lines.append(self._series.histogram(name, point))
            elif isinstance(point, NumberDataPoint):
                lines.append(self._series.plain(name + total, point))
            self._pace()

    def _family(self, name: str, kind: str, description: str, unit: str) -> list[str]:
        """The lines of a family. Two scopes may share one; if they differ in kind, the later is left out."""
        base = name.removesuffix("_total") if kind == "counter" else name.removesuffix("_info")
        shown, text = (base if self._open else name), description.replace("\\", r"\\").replace("\n", r"\n")
        if self._open:
            text = text.replace('"', r"\"")
        shown_kind = "gauge" if kind == "info" and not self._open else kind
        head = f"# HELP {shown} {text}\n# TYPE {shown} {shown_kind}\n"
        if self._open and unit and shown.endswith("_" + unit):
            head += f"# UNIT {shown} {unit}\n"
        known_kind, _, lines = self._families.setdefault(base, (kind, head, []))
        return lines if known_kind == kind else []


class _Series:
    """What stays the same from page to page: the text around the numbers of each series."""

    def __init__(self) -> None:
        self._plain: dict[tuple[Any, ...], str] = {}
        self._histograms: dict[tuple[Any, ...], str] = {}

    def plain(self, name: str, point: NumberDataPoint) -> str:
        key = (name, *(point.attributes or {}).items())
        front = self._plain.get(key)
        if front is None:
            labels = self.labels(point.attributes)
            front = _remember(self._plain, key, f"{name}{{{labels}}} " if labels else f"{name} ")
        return f"{front}{_number(point.value)}\n"

    def histogram(self, name: str, point: HistogramDataPoint) -> str:
        # the bounds belong to the key: a view may give one name two sets of them
        key = (name, point.explicit_bounds, *(point.attributes or {}).items())
        form = self._histograms.get(key)
        if form is None:
            form = _remember(self._histograms, key, self._form(name, point))
        *below, count = accumulate(point.bucket_counts)
        return form % (*below, count, count, _number(point.sum))

    def _form(self, name: str, point: HistogramDataPoint) -> str:
        labels = self.labels(point.attributes).replace("%", "%%")
        with_le, alone = (labels + ",", f"{{{labels}}}") if labels else ("", "")
        bounds = (*(repr(float(bound)) for bound in point.explicit_bounds), "+Inf")
        lines = [f'{name}_bucket{{{with_le}le="{bound}"}} %d\n' for bound in bounds]
        return "".join([*lines, f"{name}_count{alone} %d\n", f"{name}_sum{alone} %s\n"])

    @staticmethod
    def labels(attributes: Mapping[str, Any] | None) -> str:
        # cleaned names may meet: the last one stands, two of one name would spoil the page
        named = {_clean_label(key): value for key, value in (attributes or {}).items()}
        return ",".join(f'{name}="{_escape(value)}"' for name, value in named.items())


def _remember(known: dict[tuple[Any, ...], str], key: tuple[Any, ...], value: str) -> str:
    if len(known) >= _MOST_SERIES:
        known.clear()
    known[key] = value
    return value


def _number(value: float) -> str:
    text = repr(value)
    return _ENDLESS.get(text, text)


def _escape(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    text = text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _clean_name(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_:]+", "_", name)  # OpenTelemetry lets none begin with a digit


def _clean_label(name: str) -> str:
    cleaned = re.sub(r"[^a-zA-Z0-9_]+", "_", name)
    return "_" + cleaned[1:] if cleaned[:1].isdigit() else cleaned


def _unit(unit: str) -> str:
    """The word Prometheus has for a UCUM unit; what stands in braces is no unit."""
    bare = re.sub(r"\{.*\}", "", unit)
    return _UNITS[bare] if bare in _UNITS else re.sub(r"[^a-zA-Z0-9]+", "_", bare).strip("_")
