"""How things stand at the end of every hour and every day: one record per boundary, whatever happens in between.

Which boundaries are done is kept as spans of time in `state/snapshots.json`. A record is with the operating system
before its boundary is noted as done, and a start looks at the stream's last lines as well: a bot that is killed
between the two, or before either, neither loses the record nor writes it twice.

Boundaries that pass while the process does not run, or sleeps with its machine, are not made up afterwards. Those that
pass while it runs, however long a turn takes, each have their record; so in a backtest whose clock leaps.
"""

from __future__ import annotations

import math
import os
import threading
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import orjson

from botobs.clock import epoch_ns, rfc3339
from botobs.datadir import atomic_write
from botobs.events.vitals import DaySnapshot, HourSnapshot
from botobs.streams.names import stream_path

from .spans import Spans

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from botobs.accounting.calendar import Calendar
    from botobs.clock import Clock
    from botobs.events import Event
    from botobs.faults import Faults

__all__ = ["FIELDS", "Cut", "Snapshots"]

Cut = Literal["hour", "day"]

FIELDS = (
    "equity_value", "drawdown_current", "daily_pnl", "rolling_sharpe", "trade_count", "win_rate", "turnover",
    "error_counts", "risk_breaches",
)  # fmt: skip

_S = 1_000_000_000
_LATE_NS = 60 * _S
_MOST_AT_ONCE = 1_000
_TAIL = 65_536
_MADE: dict[Cut, type[HourSnapshot | DaySnapshot]] = {"hour": HourSnapshot, "day": DaySnapshot}


class Snapshots:
    """Writes the hourly and daily snapshots.

    Args:
        calendar: Says when hours and days end.
        facts: What is known of the stretch from one boundary to the next, both in nanoseconds since 1970, at its end:
            the fields of `FIELDS`, and `reasons` for those that are `None`.
        publish: Takes the event; its record is with the operating system when it returns.
        clock: Tells the time.
        faults: Where errors are counted.
        data_dir: Where the state is kept and the streams lie; `None`: nothing is remembered.
        asleep_s: When the clock on the wall outruns the steady one by more, the process slept; `None`: it never does.
    """

    def __init__(
        self,
        calendar: Calendar,
        facts: Callable[[Cut, int, int], Mapping[str, Any]],
        publish: Callable[[Event], object],
        *,
        clock: Clock,
        faults: Faults,
        data_dir: Path | None = None,
        asleep_s: float | None = 60.0,
    ) -> None:
        self._asleep_ns = None if asleep_s is None else int(asleep_s * _S)
        self._calendar = calendar
        self._facts = facts
        self._publish = publish
        self._clock = clock
        self._faults = faults
        self._path = None if data_dir is None else data_dir / "state" / "snapshots.json"
        self._done: dict[Cut, Spans] = {"hour": Spans(), "day": Spans()}
        self._begun: dict[Cut, int | None] = {"hour": None, "day": None}  # the boundary that was being written
        self._at: dict[Cut, int | None] = {"hour": None, "day": None}  # the bucket that time was last seen in
        self._seen: tuple[int, int] | None = None
        self._busy = threading.Lock()
        self._pid = os.getpid()
        if data_dir is not None:
            self._restore(data_dir)

    def tick(self, now_ns: int | None = None) -> None:
        """Let it be `now_ns`: write what is due; about once a second, in a backtest whenever the clock moves."""
        if not self._busy.acquire(blocking=False):  # facts that ask a clock that drives this, or another thread
            return
        try:
            now = self._clock.time_ns() if now_ns is None else now_ns
            slept = self._slept(now)
            self._look("hour", now, slept=slept)
            self._look("day", now, slept=slept)
        except Exception as error:
            self._faults.error("snapshots", error)
        finally:
            self._busy.release()

    def abandon(self) -> None:
        """In a forked child: write nothing any more."""
        self._busy = threading.Lock()
        self._busy.acquire()

    # -- when --------------------------------------------------------------------------------------------------------

    def _slept(self, now: int) -> bool:
        before, self._seen = self._seen, (now, self._clock.perf_ns())
        if before is None or self._asleep_ns is None:
            return False
        return (now - before[0]) - (self._seen[1] - before[1]) > self._asleep_ns

    def _look(self, unit: Cut, now: int, *, slept: bool) -> None:
        start = self._calendar.bucket(now, unit)[0]
        at, self._at[unit] = self._at[unit], start
        if at == start:
            return
        if at is None:
            self._first(unit, start, now)
        elif start > at and not slept:
            boundary, steps = self._calendar.next_boundary(at, unit), 0
            while boundary < start and steps < _MOST_AT_ONCE:
                self._write(unit, boundary, now)
                boundary, steps = self._calendar.next_boundary(boundary, unit), steps + 1
            self._write(unit, start, now)

    def _first(self, unit: Cut, start: int, now: int) -> None:
        done = self._done[unit]
        if not done:  # a new bot: what lies before it is no gap
            done.add(start, start)
            self._save()
        elif self._begun[unit] == start:  # killed in the middle of it, and it is still the latest one
            self._write(unit, start, now)

    def _write(self, unit: Cut, boundary: int, now: int) -> None:
        done = self._done[unit]
        if boundary in done:  # the clock was set back
            return
        since = self._calendar.bucket(boundary - 1, unit)[0]
        gap = since not in done
        self._begun[unit] = boundary
        self._save()
        try:
            self._publish(_MADE[unit](ts_ns=boundary, record=self._record(unit, since, boundary, now, gap=gap)))
        finally:
            done.add(boundary if gap else since, boundary)
            self._begun[unit] = None
            self._save()

    # -- what --------------------------------------------------------------------------------------------------------

    def _record(self, unit: Cut, since: int, boundary: int, now: int, *, gap: bool) -> dict[str, Any]:
        reasons: dict[str, Any] = {}
        unknown = "botobs does not know it"
        told: dict[str, Any] = {}
        try:
            told = dict(self._facts(unit, since, boundary))
            given = told.pop("reasons", None)
            reasons.update(given or {})
        except Exception as error:
            unknown = f"it could not be told: {type(error).__name__}"
            self._count(error)
        record: dict[str, Any] = {"from": rfc3339(since)}
        for name in FIELDS:
            value = told.pop(name, None)
            if not _is_number(value):
                value = None
                reasons.setdefault(name, "it is no finite number")
            record[name] = value
            if value is None:
                reasons.setdefault(name, unknown)
        record.update(told)
        record["gap"] = gap
        if now - boundary > _LATE_NS:
            record["late_s"] = round((now - boundary) / _S, 3)  # what it knew then is what it knew at that time
        if reasons:
            record["reasons"] = reasons
        return record

    # -- what is remembered ------------------------------------------------------------------------------------------

    def _save(self) -> None:
        if self._path is None or os.getpid() != self._pid:
            return
        state = {unit: {"done": done.state(), "begun": self._begun[unit]} for unit, done in self._done.items()}
        try:
            atomic_write(self._path, orjson.dumps(state))
        except Exception as error:  # a full disk: the stream's last lines will tell
            self._count(error)

    def _restore(self, data_dir: Path) -> None:
        assert self._path is not None
        state: Any = None
        try:
            state = orjson.loads(self._path.read_bytes())
        except FileNotFoundError:
            pass
        except Exception as error:
            self._count(error)
        for unit, done in self._done.items():
            told = state.get(unit) if isinstance(state, dict) else None
            if isinstance(told, dict):
                done.restore(told.get("done"))
                begun = told.get("begun")
                self._begun[unit] = begun if type(begun) is int else None
            for boundary in _written(stream_path(data_dir / "logs", str(_MADE[unit].stream))):
                since = self._calendar.bucket(boundary - 1, unit)[0]
                done.add(since if since in done else boundary, boundary)

    def _count(self, error: Exception) -> None:
        try:
            self._faults.error("snapshots", error)
        except Exception:  # strict mode: the boundary must not be lost for it; the error is counted
            return


def _is_number(value: Any) -> bool:
    """False for a number that is not finite; what is no number at all passes."""
    try:
        return not isinstance(value, float | Decimal) or math.isfinite(value)
    except Exception:  # a signalling NaN
        return False


def _written(path: Path) -> list[int]:
    """The boundaries in the last lines of a stream."""
    found: list[int] = []
    try:
        with path.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _TAIL, 0))
            lines = file.read(_TAIL).split(b"\n")[:-1]  # what follows the last line's end was torn
    except OSError:
        return found
    for line in lines:
        try:
            found.append(epoch_ns(orjson.loads(line)["ts"]))
        except Exception:  # noqa: S112  # the first one is cut off in its middle
            continue
    return found
