"""A clock that stands still until it is told otherwise."""

from __future__ import annotations

import datetime as dt
import threading

from botobs.clock import epoch_ns, rfc3339
from botobs.config.values import seconds

__all__ = ["Clock"]

_FIRST_PERF_NS = 1_000_000_000  # not zero: that is how a stage says that it still runs


class Clock:
    """A controlled clock, for `botobs.start(clock=Clock())`, live or in a backtest. Threads may share it.

    Args:
        start: What time it is at first: a datetime (naive: UTC), RFC 3339 text, or seconds since 1970.

    Example:
        >>> clock = Clock("2026-01-02T03:04:05Z")
        >>> clock.advance("1m30s")
        >>> clock
        Clock('2026-01-02T03:05:35.000000Z')
    """

    __slots__ = ("_lock", "_perf_ns", "_time_ns")

    def __init__(self, start: dt.datetime | str | float = "2026-01-02T03:04:05Z") -> None:
        self._lock = threading.Lock()
        self._time_ns = epoch_ns(start)
        self._perf_ns = _FIRST_PERF_NS

    def time_ns(self) -> int:
        """Nanoseconds since 1970, UTC."""
        return self._time_ns

    def perf_ns(self) -> int:
        """Nanoseconds that never run backwards, for durations."""
        return self._perf_ns

    @property
    def now(self) -> dt.datetime:
        """The time in UTC, to the microsecond."""
        whole, rest = divmod(self._time_ns, 1_000_000_000)
        return dt.datetime.fromtimestamp(whole, dt.UTC).replace(microsecond=rest // 1000)

    def advance(self, by: float | dt.timedelta | str) -> None:
        """Let time pass: seconds, a `timedelta`, or text such as `"250ms"` or `"5m"`.

        Raises:
            ValueError: It is negative, endless, or no duration.
            TypeError: It is of no type that tells a duration.
        """
        ns = _nanoseconds(by)
        with self._lock:
            self._time_ns += ns
            self._perf_ns += ns

    def set(self, when: dt.datetime | str | float) -> None:
        """Make it `when`; takes what the constructor takes.

        Forwards, the time between passes, for durations too. Backwards, the time of day alone goes back, as when a
        machine's clock is corrected: durations are never negative.

        Raises:
            ValueError: It is no time.
            TypeError: It is of no type that tells a time.
        """
        ns = epoch_ns(when)
        with self._lock:
            self._perf_ns += max(ns - self._time_ns, 0)
            self._time_ns = ns

    def __repr__(self) -> str:
        return f"Clock({rfc3339(self._time_ns)!r})"


def _nanoseconds(by: float | dt.timedelta | str) -> int:
    span = seconds(by)  # its judgement on nonsense; whole numbers and timedeltas are then taken exactly
    if isinstance(by, dt.timedelta):
        return by // dt.timedelta(microseconds=1) * 1000
    return by * 1_000_000_000 if isinstance(by, int) else round(span * 1_000_000_000)
