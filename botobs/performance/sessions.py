"""Days, weeks and months: which ones a trade belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from botobs.accounting.calendar import Calendar
from botobs.clock import epoch_ns, rfc3339
from botobs.performance.summary import Session

if TYPE_CHECKING:
    from botobs.accounting.calendar import Unit

__all__ = ["KINDS", "SessionCalendar"]

KINDS: Final[tuple[Unit, ...]] = ("day", "week", "month")


class SessionCalendar:
    """Tells the sessions of an exit; those of the exit before are remembered, for most trades are of today.

    Args:
        timezone: Whose midnights.
    """

    __slots__ = ("_calendar", "_last")

    def __init__(self, timezone: str) -> None:
        self._calendar = Calendar(timezone)
        self._last: tuple[Session, ...] = ()

    def of(self, exit_ts: str) -> tuple[Session, ...]:
        """The day, the week and the month in which `exit_ts` (RFC 3339, microseconds, `Z`) lies."""
        last = self._last
        # the week and the month of a day are those of each moment in it: they begin with a day
        if not last or not last[0].start <= exit_ts < last[0].end:
            self._last = last = tuple(self._session(epoch_ns(exit_ts), kind) for kind in KINDS)
        return last

    def _session(self, ns: int, kind: Unit) -> Session:
        start, end = self._calendar.bucket(ns, kind)
        return Session(kind=kind, key=self._calendar.label(ns, kind), start=rfc3339(start), end=rfc3339(end))
