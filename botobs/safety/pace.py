"""Time for limits: a steady one for spans, and a time of day that does not believe every jump of the clock.

A clock that is set wrong for some minutes must neither begin a new day, which would forget the day's loss, nor bring
back an old one. So a jump counts when it has lasted; until then the time of day goes on by the steady counter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from botobs.accounting.calendar import Calendar
from botobs.clock import rfc3339

if TYPE_CHECKING:
    from botobs.clock import Clock

__all__ = ["Pace"]

_S: Final = 1_000_000_000
_DAY_NS: Final = 86_400 * _S
_JUMP_NS: Final = 2 * _S
_BELIEVED_NS: Final = 600 * _S


class Pace:
    """Tells the time to triggers.

    Args:
        clock: What it is told by.
        timezone: Whose days are counted.
    """

    __slots__ = ("_calendar", "_clock", "_dated", "_doubted", "_perf", "_wall", "steady", "wall")

    def __init__(self, clock: Clock, timezone: str = "UTC") -> None:
        self._clock = clock
        self._calendar = Calendar(timezone)
        self.steady = clock.perf_ns  # nanoseconds that never run backwards
        self.wall = clock.time_ns  # what the clock says, right or wrong
        self._wall, self._perf = clock.time_ns(), clock.perf_ns()
        self._doubted: int | None = None
        self._dated = 0, "1970-01-01T"
        self.stamp(self._wall)

    def now(self) -> int:
        """The time of day, in nanoseconds since 1970."""
        wall, perf = self.wall(), self.steady()
        passed = perf - self._perf
        expected = self._wall + passed
        if -_JUMP_NS <= wall - expected <= _JUMP_NS or passed < 0:
            self._doubted = None
        elif self._doubted is None:
            self._doubted = perf
            return expected
        elif perf - self._doubted < _BELIEVED_NS:
            return expected
        else:
            self._doubted = None
        self._wall, self._perf = wall, perf
        return wall

    def day(self) -> int:
        """When today began, in nanoseconds since 1970."""
        return self._calendar.bucket(self.now(), "day")[0]

    def until_tomorrow(self, day: int) -> int:
        """Until when the day that began at `day` lasts, by the steady counter, which nobody sets."""
        end = self._calendar.bucket(day, "day")[1]
        return self.steady() + end - self.now()

    def text(self) -> str:
        """What the clock says, as records say it."""
        return self.stamp(self.wall())

    def stamp(self, ns: int) -> str:
        """A time as records say it.

        In a trip each instruction comes from memory, and a calendar is many of them: so the date is kept.
        """
        midnight, date = self._dated
        if not 0 <= ns - midnight < _DAY_NS:
            self._dated = midnight, date = ns - ns % _DAY_NS, rfc3339(ns)[:11]
        minutes, micros = divmod((ns - midnight) // 1_000, 60_000_000)
        seconds, micros = divmod(micros, 1_000_000)
        return f"{date}{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}.{micros:06d}Z"
