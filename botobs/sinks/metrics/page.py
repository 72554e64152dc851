"""The Prometheus page, in its plain text or as OpenMetrics.

Of a series only numbers ever change, so the text around them is made once: a counter's line is one join, and all lines
of a histogram are one format string. Exemplars are a thing of OpenMetrics alone. It also forbids the sum (and with it
the count) of a histogram with buckets below zero, since it may fall; there the count is the bucket `+Inf`.
"""

from __future__ import annotations

import json
import re
import threading
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Any

from .pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .catalogue import Row
    from .series import Exemplar, HistogramPoint, Labels, Taken

__all__ = ["OPEN_METRICS", "PLAIN_TEXT", "PrometheusPage", "negotiate"]

PLAIN_TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_WAIT_S = 10.0
_MOST_SERIES = 20_000
_ENDLESS = {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}
_UNITS = {"s": "seconds"}


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


class PrometheusPage:
    """Collects when asked and answers with a page.

    It registers nowhere: whatever else the process exposes with prometheus_client stays apart.

    Args:
        collect: Gives what there is to show.
        resource: What it is about, for `target_info`.
    """

    def __init__(self, collect: Callable[[], Sequence[Taken]], resource: Mapping[str, Any]) -> None:
        self._collect = collect
        self._lock = threading.Lock()
        self._texts: dict[str, _Texts] = {}
        labels = ",".join(f'{name}="{_escape(value)}"' for name, value in _named(resource).items())
        self._about = f"target_info{{{labels}}} 1\n"

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The page and its content type.

        Raises:
            TimeoutError: Another collection hangs.
        """
        content_type = negotiate(accept)
        lock = self._lock
        if not lock.acquire(timeout=_WAIT_S):
            raise TimeoutError("another collection of metrics has not ended")
        try:
            found = self._collect()
        finally:
            lock.release()
        return self._page(found, open_metrics=content_type == OPEN_METRICS), content_type

    def _page(self, found: Sequence[Taken], *, open_metrics: bool) -> bytes:
        pace = Pace()
        shown, kind = ("target", "info") if open_metrics else ("target_info", "gauge")
        parts = [f"# HELP {shown} Target metadata\n# TYPE {shown} {kind}\n{self._about}".encode()]
        for taken in found:
            texts = self._texts.get(taken.name)
            if texts is None:
                texts = self._texts[taken.name] = _Texts(taken)
            parts.append(texts.heads[open_metrics])
            plain, histogram = texts.plain, texts.histogram
            for at in range(0, len(taken.plain), 20):
                parts.append("".join([plain(*point) for point in taken.plain[at : at + 20]]).encode())
                pace()
            for point in taken.histograms:
                parts.append(histogram(point, open_metrics=open_metrics).encode())
                pace()
        if open_metrics:
            parts.append(b"# EOF\n")
        return b"".join(parts)


class _Texts:
    """What stays the same of one metric: its heads, and the text around the numbers of each series."""

    def __init__(self, taken: Taken) -> None:
        self._row: Row = taken.row
        self._name = taken.name
        self._bounds = (*(repr(float(bound)) for bound in taken.bounds), "+Inf")
        self._fronts: dict[Labels, str] = {}
        self._forms: dict[tuple[Labels, bool, bool], str] = {}
        self.heads = (self._head(open_metrics=False), self._head(open_metrics=True))

    def plain(self, labels: Labels, value: float) -> str:
        """The line of a counter or gauge."""
        front = self._fronts.get(labels)
        if front is None:
            front = f"{self._name}{{{self._labels(labels)}}} " if labels else f"{self._name} "
            _remember(self._fronts, labels, front)
        return f"{front}{_number(value)}\n"

    def histogram(self, point: HistogramPoint, *, open_metrics: bool) -> str:
        """The lines of a histogram."""
        told = open_metrics and bool(point.exemplars)
        summed = not (open_metrics and self._row.below_zero)
        key = (point.labels, told, summed)
        form = self._forms.get(key)
        if form is None:
            form = self._form(point.labels, told=told, summed=summed)
            _remember(self._forms, key, form)
        below: Sequence[Any] = list(accumulate(point.counts))
        end = (below[-1], _number(point.total)) if summed else ()
        if told:
            exemplars = point.exemplars
            shown = (_exemplar(exemplars[at]) if at in exemplars else "" for at in range(len(below)))
            below = list(chain.from_iterable(zip(below, shown, strict=True)))
        return form % (*below, *end)

    def _form(self, values: Labels, *, told: bool, summed: bool) -> str:
        labels = self._labels(values).replace("%", "%%")
        with_le, alone = (labels + ",", f"{{{labels}}}") if labels else ("", "")
        number = "%d%s" if told else "%d"
        lines = [f'{self._name}_bucket{{{with_le}le="{bound}"}} {number}\n' for bound in self._bounds]
        if summed:
            lines += [f"{self._name}_count{alone} %d\n", f"{self._name}_sum{alone} %s\n"]
        return "".join(lines)

    def _labels(self, values: Labels) -> str:
        return ",".join([f'{label}="{_escape(value)}"' for label, value in zip(self._row.labels, values, strict=True)])

    def _head(self, *, open_metrics: bool) -> bytes:
        row = self._row
        shown = self._name.removesuffix("_total") if open_metrics and row.kind == "counter" else self._name
        text = row.description.replace("\\", r"\\").replace("\n", r"\n")
        if open_metrics:
            text = text.replace('"', r"\"")
        head = f"# HELP {shown} {text}\n# TYPE {shown} {row.kind}\n"
        unit = _UNITS.get(row.unit)
        if open_metrics and unit and shown.endswith("_" + unit):
            head += f"# UNIT {shown} {unit}\n"
        return head.encode()


def _exemplar(exemplar: Exemplar) -> str:
    value, trace_id, ts_ns, _ = exemplar
    return f' # {{trace_id="{trace_id}"}} {_number(value)} {ts_ns // 1_000_000_000}.{ts_ns // 1_000_000 % 1000:03d}'


def _remember(known: dict[Any, str], key: object, value: str) -> None:
    if len(known) >= _MOST_SERIES:
        known.clear()
    known[key] = value


def _number(value: float) -> str:
    text = repr(value)
    return _ENDLESS.get(text, text)


def _escape(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    text = text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _named(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes as labels; cleaned names may meet, then the last one stands."""
    return {_clean_label(key): value for key, value in attributes.items()}


def _clean_label(name: str) -> str:
    cleaned = re.sub(r"[^a-zA-Z0-9_]+", "_", name)
    return "_" + cleaned[1:] if cleaned[:1].isdigit() else cleaned
