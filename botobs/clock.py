"""The only source of time.

Everything asks a `Clock`; only `SystemClock` asks the machine. A backtest or a test gives its own. Module functions
are looked up at the call (`time.time_ns()`, never a captured reference), so that freezegun works as well.
"""

from __future__ import annotations

import datetime as dt
import math
import time
from typing import Any, Protocol, runtime_checkable

__all__ = ["Clock", "SystemClock", "adapt", "epoch_ns", "rfc3339"]

_S, _MS, _US = 1_000_000_000, 1_000_000, 1_000


@runtime_checkable
class Clock(Protocol):
    """Wall time and a steady counter, both in nanoseconds."""

    def time_ns(self) -> int:
        """Nanoseconds since 1970, UTC."""
        ...

    def perf_ns(self) -> int:
        """Nanoseconds that never run backwards, for durations."""
        ...


class SystemClock:
    """The machine's clock."""

    def time_ns(self) -> int:
        """Nanoseconds since 1970, UTC."""
        return time.time_ns()

    def perf_ns(self) -> int:
        """Nanoseconds that never run backwards."""
        return time.perf_counter_ns()


class _Adapted:
    """A user's clock: one function that tells the time; durations are differences of it, never negative."""

    def __init__(self, now: Any) -> None:
        self._now = now
        self._latest = 0

    def time_ns(self) -> int:
        return epoch_ns(self._now())

    def perf_ns(self) -> int:
        self._latest = max(self._latest, self.time_ns())
        return self._latest


def adapt(clock: Any) -> Clock:
    """Make a `Clock` of what a user has: one of ours, an object with `time_ns`, `timestamp_ns`, `time` or `now`,
    or a function; each may give nanoseconds, seconds, or a datetime.

    Raises:
        TypeError: It is none of these.
    """  # fmt: skip  # noqa: D205
    if clock is None:
        return SystemClock()
    if callable(getattr(clock, "time_ns", None)) and callable(getattr(clock, "perf_ns", None)):
        return clock  # type: ignore[no-any-return]
    for name in ("time_ns", "timestamp_ns", "time", "now"):
        method = getattr(clock, name, None)
        if callable(method):
            return _Adapted(method)
    if callable(clock):
        return _Adapted(clock)
    raise TypeError("a clock needs one of time_ns(), timestamp_ns(), time(), now(), or to be a function")


def epoch_ns(value: Any) -> int:
    """Nanoseconds since 1970 of a datetime (naive: UTC), RFC 3339 text, or a number in s, ms, µs or ns.

    Example:
        >>> epoch_ns("2026-01-02T03:04:05Z") == epoch_ns(1767323045) == epoch_ns(1767323045000)
        True

    Raises:
        ValueError: It is no time.
        TypeError: It is of no type that tells a time.
    """
    if isinstance(value, str):
        value = dt.datetime.fromisoformat(value)
    if isinstance(value, dt.datetime):
        moment: dt.datetime = value if value.tzinfo is not None else value.replace(tzinfo=dt.UTC)
        delta = moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
        return (delta.days * 86_400 + delta.seconds) * _S + delta.microseconds * _US
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        raise TypeError(f"not a time: {type(value).__name__}")
    size = abs(float(value))
    if not math.isfinite(size):
        raise ValueError(f"not a time: {value}")
    # told by magnitude: seconds are below 1e11 until the year 5138
    unit = _S if size < 1e11 else _MS if size < 1e14 else _US if size < 1e17 else 1
    whole = int(value)
    return whole * unit + round((float(value) - whole) * unit) if size < 1e17 else whole


def rfc3339(ns: int) -> str:
    """`ns` as RFC 3339 in UTC with microseconds.

    Example:
        >>> rfc3339(1_767_323_045_000_001_000)
        '2026-01-02T03:04:05.000001Z'
    """
    seconds, rest = divmod(ns, _S)
    try:
        stamp = dt.datetime.fromtimestamp(seconds, dt.UTC)
    except (OverflowError, ValueError, OSError):  # a clock gone mad must not lose the record
        stamp = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return f"{stamp:%Y-%m-%dT%H:%M:%S}.{rest // _US:06d}Z"
