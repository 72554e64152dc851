"""What botobs says about itself, as observable instruments.

OpenTelemetry registers an instrument of one name once for each provider and never lets go of its callback. So
that a second observer on the same provider (or a later one in the same process) is heard too, there is one
`About` for each provider, and observers join and leave it. Values of several observers add up; a counter
never falls when one leaves.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs
from opentelemetry.metrics import Observation

from .catalogue import CATALOGUE, SCOPE, Row
from .instruments import number
from .labels import OTHER, clean_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider

    from botobs.faults import Faults

__all__ = ["About", "SelfReadings", "about"]

_MOST_VALUES = 200

Number = float | None


@attrs.frozen
class SelfReadings:
    """Where the values come from, asked at each collection. `None` means: nothing to say now.

    Args:
        dropped: Events dropped so far, by stream.
        queue_depth: What waits in the queues.
        errors: Internal errors so far, by place.
        overhead: The part of one core that background work takes.
        kept: Traces kept so far, by reason.
        folded: Labels that the stage cells have folded into `other` so far.
        prometheus_up: Whether the endpoint has its port; `None` when there is no endpoint.
    """

    dropped: Callable[[], Mapping[str, int]]
    queue_depth: Callable[[], Number]
    errors: Callable[[], Mapping[str, int]]
    overhead: Callable[[], Number]
    kept: Callable[[], Mapping[str, int]]
    folded: Callable[[], Number]
    prometheus_up: Callable[[], Number] = lambda: None


class About:
    """The self metrics of every observer on one provider."""

    def __init__(self, meter: Meter, rows: Sequence[Row] = CATALOGUE) -> None:
        self._lock = threading.Lock()
        self._speakers: tuple[tuple[SelfReadings, Faults], ...] = ()
        self._left: dict[str, dict[str, float]] = {}  # last words of counters whose observer has ended
        for row in rows:
            if row.reading:
                self._register(meter, row)

    def _register(self, meter: Meter, row: Row) -> None:
        def observe(_: CallbackOptions) -> Iterable[Observation]:
            return self._observe(row)

        make = {"counter": meter.create_observable_counter, "updown": meter.create_observable_up_down_counter}
        make.get(row.kind, meter.create_observable_gauge)(row.name, [observe], row.unit, row.description)

    def join(self, readings: SelfReadings, faults: Faults) -> None:
        """Let an observer speak."""
        with self._lock:
            self._speakers = (*self._speakers, (readings, faults))

    def leave(self, readings: SelfReadings, rows: Sequence[Row] = CATALOGUE) -> None:
        """Ask an observer for its last words; what it counted stays counted."""
        with self._lock:
            leaving = [speaker for speaker in self._speakers if speaker[0] is readings]
            self._speakers = tuple(speaker for speaker in self._speakers if speaker[0] is not readings)
            for row in rows:
                if row.reading and row.kind == "counter":
                    totals = self._left.setdefault(row.name, {})
                    for speaker in leaving:
                        _add(totals, _read(row, *speaker))

    def abandon(self, readings: SelfReadings) -> None:
        """Forget an observer in a child process: a thread that is not here any more may hold the lock."""
        self._lock = threading.Lock()
        self._speakers = tuple(speaker for speaker in self._speakers if speaker[0] is not readings)

    def _observe(self, row: Row) -> list[Observation]:
        with self._lock:
            totals = dict(self._left.get(row.name, ()))
            speakers = self._speakers
        for speaker in speakers:
            _add(totals, _read(row, *speaker))
        if not row.labels:
            return [Observation(value) for value in totals.values()]
        return [Observation(value, {row.labels[0]: key}) for key, value in _capped(totals).items()]


def _read(row: Row, readings: SelfReadings, faults: Faults) -> dict[str, float]:
    """What an observer says to `row`, by label value; a reading that fails is counted and says nothing."""
    try:
        said: Any = getattr(readings, row.reading)()
        values = said if isinstance(said, Mapping) else {"": said}
        return {clean_text(str(key)): value for key, found in values.items() if (value := number(found)) is not None}
    except Exception as error:
        faults.error("metrics.self", error)
        return {}


def _add(totals: dict[str, float], values: Mapping[str, float]) -> None:
    for key, value in values.items():
        totals[key] = totals.get(key, 0) + value


def _capped(totals: dict[str, float]) -> dict[str, float]:
    if len(totals) <= _MOST_VALUES:
        return totals
    capped: dict[str, float] = {}
    for key, value in totals.items():  # in the order they came up, so that a series once shown stays
        _add(capped, {key if len(capped) < _MOST_VALUES else OTHER: value})
    return capped


_known: weakref.WeakKeyDictionary[MeterProvider, About] = weakref.WeakKeyDictionary()
_known_lock = threading.Lock()


def about(provider: MeterProvider, version: str) -> About:
    """The `About` of `provider`, made at the first call."""
    with _known_lock:
        try:
            found = _known.get(provider)
            if found is None:
                found = _known[provider] = About(provider.get_meter(SCOPE, version))
            return found
        except TypeError:  # a provider that cannot be remembered (no hash, no weak reference) gets one each time
            return About(provider.get_meter(SCOPE, version))
