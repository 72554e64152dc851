"""How far the price went for and against an open trade, from prices after its entry only.

A trade remembers each new highest and lowest price with its time. A closing fill is often told a moment after it
happened; what the price did in between does not belong to the trade any more, and is left out at the end.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from botobs.clock import epoch_ns

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Excursion"]

_MOST = 256  # new extremes of each kind; more than that between a fill and its report is nothing to know
_FAR_NS = 60_000_000_000
_INF = float("inf")


class Excursion:
    """The extreme prices since an entry.

    A price counts from the time of the entry on; one of the very same time counts if it is told after the entry was.

    Attributes:
        since: The time of the entry, RFC 3339.
        since_ns: The same in nanoseconds.
        venue: Prices of other venues do not count; `None`: all do.
        bar_id: The bar that was seen last.
        turns: How often that changed.
        undated: The time that a price without one gets; `None`: the clock's. See `follow`.
        bars: Finished bars told since the entry.

    Example:
        >>> trip = Excursion("2026-01-02T00:00:01.000000Z", None)
        >>> for second, price in enumerate((90.0, 100.0, 104.0, 99.0, 120.0)):
        ...     trip.see(price, f"2026-01-02T00:00:0{second}.000000Z")
        >>> trip.extremes(trip.since_ns, trip.since_ns + 2_000_000_000)
        (104.0, 99.0, True, True)
    """

    __slots__ = ("bar_id", "bars", "downs", "high", "low", "since", "since_ns", "turns", "undated", "ups", "venue")

    def __init__(self, since: str, venue: str | None, bar_id: Any = None, since_ns: int | None = None) -> None:
        self.since = since
        self.since_ns = epoch_ns(since) if since_ns is None else since_ns
        self.venue = venue
        self.bar_id = bar_id
        self.turns = 0
        self.undated: int | None = None
        self.bars = 0
        self.high = -_INF
        self.low = _INF
        self.ups: deque[tuple[str | int, float]] = deque(maxlen=_MOST)
        self.downs: deque[tuple[str | int, float]] = deque(maxlen=_MOST)

    def see(self, price: float, ts: str | int) -> None:
        """A price at `ts`: RFC 3339 with microseconds, or nanoseconds. NaN is higher and lower than nothing."""
        if ts < (self.since if ts.__class__ is str else self.since_ns):  # type: ignore[operator]
            return  # see is_before; a call would cost as much as all the rest
        # no call between the look and the store: CPython's lock makes them one
        if price > self.high:
            self.high = price
            self.ups.append((ts, price))
        if price < self.low:
            self.low = price
            self.downs.append((ts, price))

    def follow(self, when_ns: int, now_ns: int) -> None:
        """A fill of the trade happened at `when_ns` and is told at `now_ns`.

        Where the two are far apart the fills are of another time than the clock's, as when a day is told again. What
        comes without a time of its own then counts by its arrival: it is as old as the latest fill.
        """
        self.undated = max(when_ns, self.since_ns) if abs(now_ns - when_ns) > _FAR_NS else None

    def arrived(self, now_ns: int) -> int:
        """The time of what came at `now_ns` without one of its own: after the entry, whatever the exchange's clock."""
        return max(now_ns, self.since_ns) if self.undated is None else self.undated

    def is_before(self, ts: str | int) -> bool:
        """Whether `ts` is before the entry."""
        return ts < self.since if isinstance(ts, str) else ts < self.since_ns

    def turn(self, bar_id: Any) -> None:
        """The bot is at `bar_id` now."""
        if bar_id != self.bar_id:
            self.bar_id = bar_id
            self.turns += 1

    def extremes(self, start: int, end: int) -> tuple[float | None, float | None, bool, bool]:
        """The highest and the lowest price between two times (`None`: there was none), and whether that is certain.

        It is not where a more extreme price came before `start`: what came after it was not remembered.
        """
        high, sure_high = _within(self.ups, start, end, max)
        low, sure_low = _within(self.downs, start, end, min)
        return high, low, sure_high, sure_low

    def state(self) -> list[Any]:
        """All it knows, for JSON."""
        return [
            self.since, self.venue, self.bar_id, self.turns, self.bars, self.undated,
            [list(entry) for entry in tuple(self.ups)], [list(entry) for entry in tuple(self.downs)],
        ]  # fmt: skip

    @classmethod
    def of_state(cls, state: list[Any]) -> Excursion:
        """One that goes on where `state` was taken."""
        since, venue, bar_id, turns, bars, undated, ups, downs = state
        self = cls(since, venue, bar_id)
        self.turns, self.bars = int(turns), int(bars)
        self.undated = None if undated is None else int(undated)
        self.ups.extend((ts, float(price)) for ts, price in ups)
        self.downs.extend((ts, float(price)) for ts, price in downs)
        self.high = max((price for _, price in self.ups), default=-_INF)
        self.low = min((price for _, price in self.downs), default=_INF)
        return self

    @classmethod
    def merged(cls, since: str, venue: str | None, parts: Sequence[Excursion]) -> Excursion:
        """What several trades of one position saw, for a trade that a late fill or a void made of them.

        How many bars that one lived is not known.
        """
        self = cls(since, venue)
        for part in parts:
            self.undated = part.undated
            self.high, self.low = max(self.high, part.high), min(self.low, part.low)
        self.ups.extend(sorted((entry for part in parts for entry in part.ups), key=_when))
        self.downs.extend(sorted((entry for part in parts for entry in part.downs), key=_when))
        return self


def _when(entry: tuple[str | int, float]) -> int:
    return entry[0] if type(entry[0]) is int else epoch_ns(entry[0])


def _within(entries: deque[tuple[str | int, float]], start: int, end: int, best: Any) -> tuple[float | None, bool]:
    inside: float | None = None
    earlier = len(entries) == _MOST
    end += 999  # fills are timed to the microsecond
    for entry in reversed(tuple(entries)):
        when = _when(entry)
        if when < start:
            earlier = True
        elif when <= end:
            inside = entry[1] if inside is None else best(inside, entry[1])
    return inside, inside is not None or not earlier
