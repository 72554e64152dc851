"""The same metrics on a `MeterProvider` of the user's own.

OpenTelemetry registers an instrument of one name once for each provider and never lets go of its callback. So that a
second observer on the same provider (or a later one in the same process) is heard too, there is one `Provided` for each
provider, and observers join and leave it. Counters of several observers add up, and none falls when one leaves. Gauges
of several bots stand apart: each carries `bot`, and those of one name `run_id`, else one would overwrite the other.
Histograms get every measurement, one by one.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import get_current
from opentelemetry.metrics import Observation

from .catalogue import SCOPE, Row
from .labels import OTHER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from opentelemetry.metrics import CallbackOptions, Histogram, Meter, MeterProvider

    from botobs.faults import Faults

    from .board import Board
    from .numbers import Number
    from .series import Labels

__all__ = ["Provided", "provided"]

_MOST_SERIES: Final = 2_000  # of a counter, of all bots that ever were


class _Observed:
    """One counter or gauge, for all observers that have it."""

    def __init__(self, row: Row) -> None:
        self.row = row
        self.speakers: tuple[tuple[Board, Faults], ...] = ()
        self._left: dict[Labels, Number] = {}  # last words of counters whose observer has ended
        self._lock = threading.Lock()

    def __call__(self, _: CallbackOptions) -> Iterable[Observation]:
        return self._totals() if self.row.kind == "counter" else self._apart()

    def leave(self, board: Board) -> None:
        """Ask an observer for its last words; what it counted stays counted."""
        with self._lock:
            for speaker in self.speakers:
                if speaker[0] is board and self.row.kind == "counter":
                    self._add(self._left, *speaker)
            self._forget(board)

    def abandon(self, board: Board) -> None:
        """In a forked child: hear an observer no more."""
        self._lock = threading.Lock()
        self._forget(board)

    def _forget(self, board: Board) -> None:
        self.speakers = tuple(speaker for speaker in self.speakers if speaker[0] is not board)

    def _totals(self) -> list[Observation]:
        with self._lock:  # somebody who leaves must not be counted twice
            totals, speakers = dict(self._left), self.speakers
        for speaker in speakers:
            self._add(totals, *speaker)
        return [Observation(value, self._attributes(labels)) for labels, value in totals.items()]

    def _apart(self) -> list[Observation]:
        speakers = self.speakers
        several = len(speakers) > 1
        names = Counter(board.bot for board, _ in speakers)
        found = []
        for board, faults in speakers:
            for labels, value in self._said(board, faults):
                attributes = self._attributes(labels)
                if several:
                    attributes["bot"] = board.bot
                if names[board.bot] > 1:
                    attributes["run_id"] = board.run_id
                found.append(Observation(value, attributes))
        return found

    def _add(self, totals: dict[Labels, Number], board: Board, faults: Faults) -> None:
        for labels, value in self._said(board, faults):
            place = labels
            if place not in totals and len(totals) >= _MOST_SERIES:
                place = (OTHER,) * len(labels)
            totals[place] = totals.get(place, 0) + value

    def _said(self, board: Board, faults: Faults) -> Iterable[tuple[Labels, Number]]:
        try:
            return board.series(self.row.name).items()
        except Exception as error:
            faults.error("metrics.reading", error)
            return ()

    def _attributes(self, labels: Labels) -> dict[str, str]:
        return dict(zip(self.row.labels, labels, strict=True))


class Provided:
    """The instruments on one provider.

    Args:
        meter: Makes them.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._lock = threading.Lock()
        self._observed: dict[str, _Observed] = {}
        self._records: dict[str, Callable[[float, dict[str, str]], object]] = {}

    def join(self, board: Board, faults: Faults) -> None:
        """Let an observer speak."""
        with self._lock:
            for row in board.rows.values():
                if row.kind != "histogram":
                    observed = self._observed_of(row, board.names[row.name])
                    observed.speakers = (*observed.speakers, (board, faults))

    def record(self, row: Row, name: str, bounds: Sequence[float]) -> Callable[[float, dict[str, str]], object]:
        """What takes the measurements of a histogram."""
        with self._lock:
            found = self._records.get(name)
            if found is None:
                histogram = _create_histogram(self._meter, row, name, bounds)
                found = self._records[name] = _below_zero(histogram) if row.below_zero else histogram.record
            return found

    def leave(self, board: Board) -> None:
        """An observer has ended; what it counted stays counted."""
        with self._lock:
            for observed in self._observed.values():
                observed.leave(board)

    def abandon(self, board: Board) -> None:
        """Forget an observer in a child process: a thread that is not here any more may hold the lock."""
        self._lock = threading.Lock()
        for observed in self._observed.values():
            observed.abandon(board)

    def _observed_of(self, row: Row, name: str) -> _Observed:
        known = self._observed.get(name)
        if known is None:
            known = self._observed[name] = _Observed(row)
            make: Any = self._meter.create_observable_gauge
            if row.kind == "counter":
                make = self._meter.create_observable_counter
            make(name, [known], row.unit, row.description)
        return known


def _create_histogram(meter: Meter, row: Row, name: str, bounds: Sequence[float]) -> Histogram:
    """A histogram with its boundaries, on implementations of the API too that do not know them yet."""
    try:
        return meter.create_histogram(
            name, row.unit, row.description, explicit_bucket_boundaries_advisory=list(bounds) or None
        )
    except TypeError:
        return meter.create_histogram(name, row.unit, row.description)


def _below_zero(histogram: Histogram) -> Callable[[float, dict[str, str]], object]:
    """As its `record`, for what may be negative too.

    The SDK's `record` refuses that, though its aggregations take it: there the measurement goes in behind the check.

    Raises:
        ValueError: A negative one, on a provider of another make.
    """
    consumer = getattr(histogram, "_measurement_consumer", None)
    consume = getattr(consumer, "consume_measurement", None)
    enabled = getattr(histogram, "_is_enabled", None)
    if consume is None:
        return _refusing(histogram)
    from opentelemetry.sdk.metrics._internal.measurement import Measurement  # noqa: PLC0415  # where it is the SDK's

    def record(value: float, attributes: dict[str, str]) -> None:
        if value >= 0:
            histogram.record(value, attributes)
        elif enabled is None or enabled():
            consume(Measurement(value, time.time_ns(), histogram, get_current(), attributes))  # type: ignore[arg-type]  # it is the SDK's own

    return record


def _refusing(histogram: Histogram) -> Callable[[float, dict[str, str]], object]:
    def record(value: float, attributes: dict[str, str]) -> None:
        if value < 0:
            raise ValueError("this MeterProvider takes no negative values in a histogram")
        histogram.record(value, attributes)

    return record


_known: weakref.WeakKeyDictionary[MeterProvider, Provided] = weakref.WeakKeyDictionary()
_known_lock = threading.Lock()


def provided(provider: MeterProvider, version: str) -> Provided:
    """The `Provided` of `provider`, made at the first call."""
    with _known_lock:
        try:
            found = _known.get(provider)
            if found is None:
                found = _known[provider] = Provided(provider.get_meter(SCOPE, version))
            return found
        except TypeError:  # a provider that cannot be remembered (no hash, no weak reference) gets one each time
            return Provided(provider.get_meter(SCOPE, version))
