"""Metrics that events set: by name, with whatever value and labels a bot has, never raising."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .catalogue import CATALOGUE, STAGE_DURATION, Row
from .labels import LabelCap

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.metrics import Histogram, Meter

    from botobs.faults import Faults

__all__ = ["STREAM", "Instruments", "create_histogram", "number"]

STREAM = "metrics"  # what could not be measured is counted as dropped from this stream

_INT64 = 2**63


class Instruments:
    """Every metric of the catalogue that events set, on every meter of an observer.

    What is no finite number (`None`, NaN, infinite, text that is no number), and a negative amount for a
    counter or histogram (OpenTelemetry takes none), is left out and counted as dropped from `metrics`. An
    unknown name or label is an internal error.

    Args:
        meters: Where to; each gets every measurement.
        faults: Where to say what went wrong.
        rows: The catalogue.
        namespace: First part of the names.
        cap: The cap on label values.

    Example:
        >>> from botobs.faults import Faults
        >>> faults = Faults()
        >>> rows = [Row("bot_trades_total", "counter", "{trade}", "Closed trades.", ("symbol",))]
        >>> instruments = Instruments([], faults, rows=rows)
        >>> instruments.add("bot_trades_total", 1, symbol="BTC-USD")
        >>> instruments.add("bot_trades_total", float("nan"), symbol="BTC-USD")
        >>> faults.drops
        {'metrics': 1}
    """

    def __init__(
        self,
        meters: Sequence[Meter],
        faults: Faults,
        *,
        rows: Sequence[Row] = CATALOGUE,
        namespace: str = "bot",
        cap: LabelCap | None = None,
    ) -> None:
        self.cap = cap or LabelCap()
        self._faults = faults
        self._rows: dict[str, tuple[Row, list[Callable[..., None]]]] = {}
        for row in rows:
            if not row.reading and row is not STAGE_DURATION:
                self._rows[row.name] = (row, [_measure(meter, row, namespace) for meter in meters])

    def add(self, name: str, value: Any = 1, /, **labels: Any) -> None:
        """Add to a counter or up-down counter."""
        self._take(("counter", "updown"), name, value, labels)

    def set(self, name: str, value: Any, /, **labels: Any) -> None:
        """Set a gauge."""
        self._take(("gauge",), name, value, labels)

    def record(self, name: str, value: Any, /, **labels: Any) -> None:
        """Record into a histogram."""
        self._take(("histogram",), name, value, labels)

    def _take(self, kinds: tuple[str, ...], name: str, value: Any, labels: dict[str, Any]) -> None:
        try:
            row, measures = self._rows[name]
            if row.kind not in kinds:
                raise TypeError(f"{name} is a {row.kind}")
            if unknown := labels.keys() - row.labels:
                raise TypeError(f"{name} has no label {', '.join(sorted(unknown))}")
            amount = number(value)
            # the SDK would only log a negative amount: its histograms take none either
            if amount is None or (amount < 0 and row.kind in ("counter", "histogram")):
                self._faults.dropped(STREAM)
                return
            attributes = {
                label: self.cap.text(label, labels[label]) for label in row.labels if labels.get(label) is not None
            }
            for measure in measures:
                measure(amount, attributes)
        except Exception as error:
            self._faults.error("metrics", error)


def number(value: Any) -> int | float | None:
    """`value` as a number that every exporter can carry, or `None` if it is none.

    Example:
        >>> from decimal import Decimal
        >>> number(Decimal("1.5")), number("2"), number(True), number(2**70), number(float("nan"))
        (1.5, 2.0, 1, 1.1805916207174113e+21, None)
    """
    try:
        if isinstance(value, int) and -_INT64 <= value < _INT64:
            return int(value)
        found = float(value)
    except Exception:  # whatever a bot hands in: its __float__ may do anything
        return None
    return found if math.isfinite(found) else None


def create_histogram(meter: Meter, row: Row, namespace: str, boundaries: Sequence[float]) -> Histogram:
    """A histogram with its boundaries, on implementations of the API too that do not know them yet."""
    name = row.full_name(namespace)
    try:
        return meter.create_histogram(
            name, row.unit, row.description, explicit_bucket_boundaries_advisory=boundaries or None
        )
    except TypeError:
        return meter.create_histogram(name, row.unit, row.description)


def _measure(meter: Meter, row: Row, namespace: str) -> Callable[..., None]:
    name = row.full_name(namespace)
    if row.kind == "histogram":
        return create_histogram(meter, row, namespace, row.boundaries).record
    if row.kind == "gauge":
        return meter.create_gauge(name, row.unit, row.description).set
    if row.kind == "updown":
        return meter.create_up_down_counter(name, row.unit, row.description).add
    return meter.create_counter(name, row.unit, row.description).add
