"""All series of an observer but those of the hot path: what events come to, and what is asked for.

The bot's threads leave an event in a queue. The drainer measures it, or whoever collects first, so that a page shows
what happened a moment before. A counter is a number and a histogram an array of numbers: OpenTelemetry's instruments
cost ten times as much, and its histograms take nothing below zero.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from .catalogue import CATALOGUE, Row
from .labels import OTHER, LabelCap
from .numbers import number
from .pace import Pace
from .readings import Ask, Reading
from .series import Buckets, Exemplar, Labels, Passed, Passing, Plain, Taken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from botobs.clock import Clock
    from botobs.events import Event
    from botobs.faults import Faults

    from .numbers import Number

__all__ = ["STREAM", "Board"]

STREAM: Final = "metrics"  # what could not be measured is counted as dropped from this stream

_MOST_WAITING: Final = 2_000
_SOME_NS: Final = 1_000_000
_WAIT_S: Final = 5.0
_MOST_SERIES: Final = 2_000  # of one metric: two labels at their caps would be forty thousand
_NO_TRACE: Final = "0" * 32


class Board:
    """Counters, gauges and histograms by name and label values.

    What is no finite number (NaN, infinite, text that is no number), and a negative amount for what cannot fall, is
    left out and counted as dropped from `metrics`; `None` is nothing and not counted. An unknown name or a wrong
    number of label values is an internal error.

    Args:
        faults: Where to say what went wrong.
        clock: Tells when counting began.
        rows: The catalogue.
        namespace: First part of the bot's metric names.
        bot: Whose they are, where several bots share a provider.
        run_id: Of which run, where several of those have one name.
        label_cap: How many values a label may have.
        passing: Takes single measurements of histograms, for a provider of the user's own.

    Attributes:
        rows: The catalogue by name.
        names: The full names by name.
        trace_of: Tells the kept trace that an event belongs to.

    Example:
        >>> from botobs.clock import SystemClock
        >>> from botobs.faults import Faults
        >>> faults = Faults()
        >>> board = Board(faults, SystemClock())
        >>> board.add("bot_trades_total", 1, "BTC-USD", "trend", "long")
        >>> board.add("bot_trades_total", float("nan"), "BTC-USD", "trend", "long")
        >>> board.series("bot_trades_total"), faults.drops
        ({('BTC-USD', 'trend', 'long'): 1}, {'metrics': 1})
    """

    def __init__(
        self,
        faults: Faults,
        clock: Clock,
        *,
        rows: Sequence[Row] = CATALOGUE,
        namespace: str = "bot",
        bot: str = "",
        run_id: str = "",
        label_cap: int = 200,
        passing: Passing | None = None,
    ) -> None:
        self.cap = LabelCap(label_cap)
        self.bot = bot
        self.run_id = run_id
        self.start_ns = clock.time_ns()
        self.rows = {row.name: row for row in rows}
        self.names = {row.name: row.full_name(namespace) for row in rows}
        self.passing = passing
        self.trace_of: Callable[[Event], str | None] = _own_trace
        self.numbering = itertools.count(1)  # of exemplars
        self._faults = faults
        self._plain: dict[str, dict[Labels, Number]] = {row.name: {} for row in rows if row.kind != "histogram"}
        self._buckets: dict[str, dict[Labels, Buckets]] = {row.name: {} for row in rows if row.kind == "histogram"}
        self._others: list[tuple[str, Callable[[], Iterable[Taken]]]] = []
        self._readings: list[Reading] = []
        self._read_by: dict[str, Reading] = {}
        self._waiting: deque[Event] = deque()
        self._hands = threading.RLock()  # re-entrant: measuring may log, and a handler of the bot's may report events
        self._measured: dict[type[Event], tuple[Row, ...]] = {}

    # -- what it shows -----------------------------------------------------------------------------------------------

    def ask(self, names: Iterable[str], ask: Ask) -> None:
        """Ask this function for the values of these metrics, at each collection."""
        reading = Reading([self.rows[name] for name in names], ask, self.cap, self._faults)
        self._readings.append(reading)
        self._read_by.update(dict.fromkeys(reading.names, reading))

    def beside(self, name: str, collect: Callable[[], Iterable[Taken]]) -> None:
        """Show what another room collects of this metric."""
        self._others.append((name, collect))

    @property
    def event_types(self) -> tuple[type[Event], ...]:
        """The classes of events that are measured."""
        return tuple(dict.fromkeys(row.event for row in self.rows.values() if row.event is not None))

    # -- measuring ---------------------------------------------------------------------------------------------------

    def take(self, event: Event) -> None:
        """Have an event measured soon; on the bot's thread."""
        self._waiting.append(event)
        if len(self._waiting) > _MOST_WAITING:  # more than that waits for nobody: the caller does some of it
            self.measure(_SOME_NS)

    def measure(self, budget_ns: int) -> bool:
        """Measure waiting events for about `budget_ns`; whether some are left."""
        if not self._waiting or not self._hands.acquire(blocking=False):
            return False
        try:
            return self._measure(time.perf_counter_ns() + budget_ns)
        finally:
            self._hands.release()

    def settle(self) -> None:
        """Measure what waits.

        Raises:
            TimeoutError: Somebody else is at it and does not get on.
        """
        if not self._waiting:
            return
        if not self._hands.acquire(timeout=_WAIT_S):
            raise TimeoutError("events are being measured, and that does not end")
        try:
            self._measure(None)
        finally:
            self._hands.release()

    def _measure(self, until: int | None) -> bool:
        waiting = self._waiting
        while waiting:
            try:
                event = waiting.popleft()
            except IndexError:  # another thread was quicker
                break
            self._count(event)
            if until is not None and time.perf_counter_ns() >= until:
                return bool(waiting)
        return False

    def _count(self, event: Event) -> None:
        kind = type(event)
        rows = self._measured.get(kind)
        if rows is None:
            rows = self._measured[kind] = tuple(
                row for row in self.rows.values() if row.event is not None and issubclass(kind, row.event)
            )
        for row in rows:
            try:
                assert row.measure is not None
                found = row.measure(event)
            except Exception as error:  # an event of the bot's own making may hold anything
                self._faults.error(STREAM, error)
                continue
            if found is None or found[0] is None:
                continue
            if row.kind == "histogram":
                self._record(row, found[0], found[1], self._trace(event), event.ts_ns)
            else:
                self._add(row, found[0], found[1])

    def _trace(self, event: Event) -> str | None:
        try:
            return self.trace_of(event)
        except Exception as error:
            self._faults.error(STREAM, error)
            return None

    def add(self, name: str, amount: Any, /, *labels: Any) -> None:
        """Add to a counter."""
        self._add(self.rows[name], amount, labels)

    def record(self, name: str, value: Any, /, *labels: Any, trace_id: str | None = None, ts_ns: int = 0) -> None:
        """Record into a histogram.

        Args:
            name: Which.
            value: What was measured.
            *labels: Its label values.
            trace_id: The trace it belongs to, if that is kept.
            ts_ns: When it was measured.
        """
        self._record(self.rows[name], value, labels, trace_id, ts_ns)

    def _add(self, row: Row, amount: Any, labels: tuple[Any, ...]) -> None:
        found = number(amount)
        if found is None or found < 0:  # a counter never falls
            self._drop(amount)
            return
        try:
            series = self._plain[row.name]
            named = self._named(row, labels, series)
            with self._hands:
                series[named] = series.get(named, 0) + found
        except Exception as error:
            self._faults.error(STREAM, error)

    def _record(self, row: Row, value: Any, labels: tuple[Any, ...], trace_id: str | None, ts_ns: int) -> None:
        found = number(value)
        if found is None or (found < 0 and not row.below_zero):
            self._drop(value)
            return
        try:
            named = self._named(row, labels, self._buckets[row.name])
            exemplar = None
            if trace_id is not None and trace_id != _NO_TRACE:
                exemplar = Exemplar(found, trace_id, ts_ns, next(self.numbering))
            with self._hands:
                self.buckets(row, named).add(row.boundaries, found, exemplar)
            if self.passing is not None:
                self.passing.put(Passed(row.name, found, named))
        except Exception as error:
            self._faults.error(STREAM, error)

    def buckets(self, row: Row, labels: Labels) -> Buckets:
        """The histogram of one series."""
        series = self._buckets[row.name]
        found = series.get(labels)
        # setdefault: two threads that meet a series at once must count into the same one
        return series.setdefault(labels, Buckets(row.boundaries)) if found is None else found

    def _named(self, row: Row, labels: tuple[Any, ...], series: Mapping[Labels, object]) -> Labels:
        """The label values as text, within the cap."""
        try:
            if labels in series:
                return labels
        except Exception:  # noqa: S110  # one that has no hash, or a hostile one: its text has
            pass
        text = self.cap.text
        named = tuple([text(label, value) for label, value in zip(row.labels, labels, strict=True)])
        if len(series) >= _MOST_SERIES and named not in series:
            self.cap.folded += 1
            return (OTHER,) * len(named)
        return named

    def _drop(self, value: Any) -> None:
        if value is not None:
            self._faults.dropped(STREAM)

    # -- collecting --------------------------------------------------------------------------------------------------

    def collect(self) -> list[Taken]:
        """Everything there is to show now, in the order of the catalogue."""
        self.settle()
        beside = {taken.row.name: taken for _, collect in self._others for taken in collect()}
        asked: dict[str, Mapping[Labels, Number]] = {}
        pace = Pace()
        for reading in self._readings:  # the last of them tells how many labels there are
            asked.update(reading.fresh())
            pace()
        return [taken for row in self.rows.values() if (taken := self._taken(row, asked, beside)) is not None]

    def _taken(
        self, row: Row, asked: Mapping[str, Mapping[Labels, Number]], beside: Mapping[str, Taken]
    ) -> Taken | None:
        if row.name in beside:
            return beside[row.name]
        if row.kind == "histogram":
            found = self._buckets[row.name]
            if not found:
                return None
            points = [buckets.point(labels) for labels, buckets in found.copy().items()]
            return Taken(row, self.names[row.name], row.boundaries, (), points)
        values = self._plain[row.name].copy() if row.source == "event" else asked.get(row.name)
        if not values:
            return None
        return Taken(row, self.names[row.name], (), [Plain(*point) for point in values.items()], ())

    def series(self, name: str) -> Mapping[Labels, Number]:
        """The values of one counter or gauge by label values, for who asks for one metric after the other."""
        reading = self._read_by.get(name)
        if reading is not None:
            return reading.of(name)
        self.settle()
        if self.rows[name].source == "event":
            return self._plain[name].copy()
        beside = [taken for theirs, collect in self._others if theirs == name for taken in collect()]
        return {point.labels: point.value for taken in beside for point in taken.plain}


def _own_trace(event: Event) -> str | None:
    return event.trace_id
