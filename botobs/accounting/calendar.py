"""Hours, days, weeks and months as the clock on a wall in a timezone shows them, in nanoseconds since 1970 UTC.

Every unit cuts time into buckets without gap or overlap, whatever the zone does to its clocks:

- A day begins at the first moment with its date: mostly midnight, at 01:00 where midnight is skipped, and it has 23 or
  25 hours when the clocks change. A date that a zone leaves out (Samoa's 2011-12-30) is no day. Weeks (from Monday, as
  in ISO 8601) and months begin with their first day.
- An hour is one hour of the local clock under one UTC offset. A missing hour is none, a repeated one is two; a clock
  that is changed by half an hour, or at half past, cuts the hour in which that happens in two.

An offset is constant over long stretches, so that all of it is arithmetic on whole seconds within such a stretch.
"""

from __future__ import annotations

import bisect
import datetime as dt
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable
    from zoneinfo import ZoneInfo

__all__ = ["Calendar", "Unit"]

Unit = Literal["hour", "day", "week", "month"]

_NS = 1_000_000_000
_HOUR, _DAY, _WEEK = 3_600, 86_400, 604_800
_FARTHEST_EAST = 16 * _HOUR  # no local clock was ever further ahead of UTC
_CHUNK = 128 * _DAY  # how much of a zone's history is looked up at once
_STEP = 7 * _DAY  # no zone has changed its clocks and back within a week since 1970
_MOST_CHUNKS = 1_024
_CENTURIES = 200 * 366 * _DAY
_FIRST_DAY = dt.date(1970, 1, 1).toordinal()
# a clock gone mad: what lies outside is taken as the nearest moment inside
_EARLIEST = (dt.date(2, 1, 1).toordinal() - _FIRST_DAY) * _DAY
_LATEST = (dt.date(9998, 1, 1).toordinal() - _FIRST_DAY) * _DAY


class Calendar:
    """Buckets of time in one timezone.

    Args:
        tz: The timezone's name, such as `UTC` or `Europe/Berlin`.

    Attributes:
        tz: The timezone's name.

    Raises:
        ValueError: The machine knows no such timezone.

    Example:
        >>> berlin = Calendar("Europe/Berlin")
        >>> start, end = berlin.bucket(1_792_900_000 * 10**9, "day")  # the clocks are set back
        >>> (end - start) // (3600 * 10**9), berlin.label(start, "day"), berlin.label(start, "week")
        (25, '2026-10-25', '2026-W43')
    """

    __slots__ = ("_chunks", "_find", "_last", "_zone", "tz")

    def __init__(self, tz: str = "UTC") -> None:
        self.tz = tz
        self._zone = _zone(tz)
        self._chunks: dict[int, tuple[list[int], list[int]]] = {}
        self._last: dict[str, tuple[int, int]] = dict.fromkeys(("hour", "day", "week", "month"), (0, 0))
        self._find: dict[str, Callable[[int], tuple[int, int]]] = {
            "hour": self._hour, "day": self._of_day, "week": self._of_week, "month": self._of_month,
        }  # fmt: skip

    def bucket(self, ns: int, unit: Unit) -> tuple[int, int]:
        """Where the `unit` with the moment `ns` in it begins, and where the next one begins."""
        last = self._last[unit]
        if last[0] <= ns < last[1]:
            return last
        start, end = self._find[unit](_seconds(ns))
        self._last[unit] = found = (start * _NS, end * _NS)
        return found

    def next_boundary(self, ns: int, unit: Unit) -> int:
        """When the next `unit` begins: after `ns`, never at it."""
        return self.bucket(ns, unit)[1]

    def first_from(self, ns: int, unit: Unit) -> int:
        """The beginning of the first `unit` that lies whole at or after `ns`."""
        start, end = self.bucket(ns, unit)
        return start if start == ns else end

    def count(self, start_ns: int, end_ns: int, unit: Unit) -> int:
        """How many buckets lie between two beginnings of buckets, without walking over them.

        Hours and the clock changes among them are counted for up to two centuries; beyond that changes are not
        looked at.
        """
        start, end = _seconds(start_ns), _seconds(end_ns)
        if end <= start:
            return 0
        if unit == "hour":
            return self._hours(start, end)
        if unit == "month":
            return self._month(end) - self._month(start)
        # the clocks differ by hours at most, and a date left out has no length: the nearest whole number it is
        length = _DAY if unit == "day" else _WEEK
        return (2 * (end - start) + length) // (2 * length)

    def label(self, ns: int, unit: Unit) -> str:
        """What the `unit` with `ns` in it is called, different for each, also in a repeated hour.

        Example:
            >>> [Calendar().label(1_795_219_200 * 10**9, unit) for unit in ("hour", "day", "week", "month")]
            ['2026-11-21T00Z', '2026-11-21', '2026-W47', '2026-11']
        """
        seconds = _seconds(ns)
        if unit == "hour":
            return self._hour_label(seconds)
        date = _date(self._day(seconds))
        if unit == "day":
            return date.isoformat()
        if unit == "week":
            year, week, _ = date.isocalendar()
            return f"{year:04d}-W{week:02d}"
        return date.isoformat()[:7]

    # --- the units, in seconds -------------------------------------------------------------------------------------

    def _of_day(self, at: int) -> tuple[int, int]:
        day = self._day(at)
        return self._begin(day), self._begin(day + 1)

    def _of_week(self, at: int) -> tuple[int, int]:
        day = self._day(at)
        monday = day - (day + 3) % 7  # day 0, 1970-01-01, was a Thursday
        return self._begin(monday), self._begin(monday + 7)

    def _of_month(self, at: int) -> tuple[int, int]:
        date = _date(self._day(at))
        first = date.replace(day=1)
        following = (first + dt.timedelta(days=31)).replace(day=1)
        return self._begin(first.toordinal() - _FIRST_DAY), self._begin(following.toordinal() - _FIRST_DAY)

    def _hour(self, at: int) -> tuple[int, int]:
        begin, end, offset = self._piece(at)
        start = at - (at + offset) % _HOUR
        stop = start + _HOUR
        while start < begin:
            earlier, _, other = self._piece(begin - 1)
            if other != offset:
                start = begin
            begin = earlier
        while stop > end:
            _, later, other = self._piece(end)
            if other != offset:
                stop = end
            end = later
        return start, stop

    def _hours(self, start: int, end: int) -> int:
        if end - start > _CENTURIES:
            return -(-(end - start) // _HOUR)
        found, at, before = 0, start, None
        while at < end:
            _, until, offset = self._piece(at)
            until = min(until, end)
            found += -(-(until + offset) // _HOUR) + -(at + offset) // _HOUR  # full hours from `at`, before `until`
            if offset != before and (at + offset) % _HOUR:
                found += 1  # an hour that the change of the clocks cut in two
            at, before = until, offset
        return found

    def _hour_label(self, at: int) -> str:
        offset = self._piece(at)[2]
        day, second = divmod(at + offset, _DAY)
        sign, (hours, rest) = "+" if offset >= 0 else "-", divmod(abs(offset), _HOUR)
        zone = f"{sign}{hours:02d}:{rest // 60:02d}" if offset else "Z"
        return f"{_date(day).isoformat()}T{second // _HOUR:02d}{zone}"

    # --- days and offsets ------------------------------------------------------------------------------------------

    def _day(self, at: int) -> int:
        """The number of the day since 1970-01-01: the latest date the clocks have shown until `at`."""
        day = (at + self._piece(at)[2]) // _DAY
        while self._begin(day + 1) <= at:  # set back across midnight, or a date was left out
            day += 1
        return day

    def _begin(self, day: int) -> int:
        """The first moment at which the local date is `day` or later."""
        midnight = day * _DAY
        at = midnight - _FARTHEST_EAST
        while True:
            begin, end, offset = self._piece(at)
            found = max(begin, midnight - offset)
            if found < end:
                return found
            at = end

    def _month(self, at: int) -> int:
        date = _date(self._day(at))
        return date.year * 12 + date.month

    def _piece(self, at: int) -> tuple[int, int, int]:
        """A stretch around `at` under one offset: its beginning, its end, the offset. It may go on beyond either."""
        if self._zone is None:
            return at - _WEEK, at + _WEEK, 0
        index = at // _CHUNK
        chunk = self._chunks.get(index)
        if chunk is None:
            if len(self._chunks) >= _MOST_CHUNKS:
                self._chunks = {}
            self._chunks[index] = chunk = _changes(self._zone, index * _CHUNK, (index + 1) * _CHUNK)
        begins, offsets = chunk
        place = bisect.bisect_right(begins, at)
        end = begins[place] if place < len(begins) else (index + 1) * _CHUNK
        return begins[place - 1], end, offsets[place - 1]


def _zone(tz: str) -> ZoneInfo | None:
    if tz.upper() == "UTC":  # holds on machines without a timezone database too
        return None
    import zoneinfo  # noqa: PLC0415  # UTC, the default, does not need it

    try:
        return zoneinfo.ZoneInfo(tz)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"no timezone known by the name {tz!r}") from error


def _changes(zone: ZoneInfo, begin: int, end: int) -> tuple[list[int], list[int]]:
    """Where a new offset begins within `begin` to `end`, the beginning included, and the offsets."""
    begins, offsets = [begin], [_offset(zone, begin)]
    at = begin
    while at < end:
        then = min(at + _STEP, end)
        if _offset(zone, then) == offsets[-1]:
            at = then
            continue
        before = at
        while then - before > 1:
            middle = (before + then) // 2
            if _offset(zone, middle) == offsets[-1]:
                before = middle
            else:
                then = middle
        if then < end:
            begins.append(then)
            offsets.append(_offset(zone, then))
        at = then
    return begins, offsets


def _offset(zone: ZoneInfo, at: int) -> int:
    moment = dt.datetime.fromtimestamp(min(max(at, _EARLIEST), _LATEST), zone)
    offset = moment.utcoffset()
    return offset.days * _DAY + offset.seconds if offset is not None else 0


def _seconds(ns: int) -> int:
    return min(max(ns // _NS, _EARLIEST), _LATEST)


def _date(day: int) -> dt.date:
    return dt.date.fromordinal(day + _FIRST_DAY)
