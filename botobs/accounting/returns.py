"""Returns of an equity curve by calendar day or hour, as it was lived; buckets without change are not stored."""

from __future__ import annotations

import bisect
import math
import operator
from array import array
from typing import TYPE_CHECKING, Any, Literal

from botobs.accounting.numbers import EXACT, ZERO, divide
from botobs.accounting.segments import read
from botobs.accounting.statistics import Sharpe, sharpe

if TYPE_CHECKING:
    from decimal import Decimal

    from botobs.accounting.calendar import Calendar

__all__ = ["Returns"]

_plus, _minus = EXACT.add, EXACT.subtract
_EVER = 1 << 80  # ns; beyond any clock
_NS = 1_000_000_000
_HOURS = 24
_SET_BACK = 8 * 86_400 * _NS  # nothing arrives so late
_NO_BASE = "the equity at the start of a {bucket} was not above zero"


class Returns:
    """What Sharpe is made of: change over equity at the start, for each bucket, transfers left out.

    A bucket ends when something arrives from a later one, and stays as it was then: what comes late counts for the
    open one. Only if the clock is set back by more than a week, it had gone mad: the open one is put where the clock is
    now, and buckets that had ended in a future that never came are forgotten, lest Sharpe stand still until then.

    Args:
        calendar: Whose days or hours they are.
        bucket: `day` or `hour`.
        days_per_year: To annualize with.

    Attributes:
        first: Where the first bucket begins, once there is one.
        early: What is earlier than this does not belong to the open bucket, but to a clock set back.
        until: Where the open bucket ends.
        moved: Money moved in within the open bucket.
    """

    __slots__ = (
        "_base", "_calendar", "_returns", "_start", "_starts", "bucket", "days_per_year", "early", "first", "moved",
        "until",
    )  # fmt: skip

    def __init__(self, calendar: Calendar, bucket: Literal["day", "hour"], days_per_year: float) -> None:
        self._calendar = calendar
        self.bucket: Literal["day", "hour"] = bucket
        self.days_per_year = days_per_year
        self.first: int | None = None
        self._start = 0
        self._base = ZERO
        self.moved = ZERO
        self.early = self.until = -_EVER
        self._starts = array("q")  # in seconds
        self._returns = array("d")  # NaN: the equity at the start was not above zero

    def turn(self, ts_ns: int, equity: Decimal) -> None:
        """Something happens at `ts_ns`, outside the open bucket; until now equity was `equity`."""
        start, until = self._calendar.bucket(ts_ns, self.bucket)
        if self.first is None:
            self.first = start
            self._base = equity
        elif ts_ns < self.early:
            start, until = self._set_back(start, until)
        elif start <= self._start:  # beyond all calendars: the same last bucket for ever
            return
        else:
            if equity != self._base or self.moved:
                self._starts.append(self._start // _NS)
                self._returns.append(self._return(equity))
            self._base, self.moved = equity, ZERO
        self._start, self.until = start, until
        self.early = start - _SET_BACK

    def _set_back(self, start: int, until: int) -> tuple[int, int]:
        starts = self._starts
        while starts and starts[-1] * _NS > start:
            starts.pop()
            self._returns.pop()
        if starts and starts[-1] * _NS == start:
            return self._calendar.bucket(until, self.bucket)
        if self.first is not None:
            self.first = min(self.first, start)
        return start, until

    def _return(self, equity: Decimal) -> float:
        if self._base <= 0:
            return math.nan
        return float(divide(_minus(_minus(equity, self._base), self.moved), self._base))

    def sharpe(self, now_ns: int, equity: Decimal, since_ns: int | None = None) -> Sharpe:
        """Of all buckets that have ended by `now_ns`; with `since_ns`, of those that lie whole after it."""
        per_year = self.days_per_year * (_HOURS if self.bucket == "hour" else 1)
        if self.first is None:
            return Sharpe(bucket=self.bucket, n=0, reason="no equity yet")
        calendar, bucket = self._calendar, self.bucket
        begin = self.first if since_ns is None else max(self.first, calendar.first_from(since_ns, bucket))
        finish = max(calendar.bucket(now_ns, bucket)[0], self._start)
        n = calendar.count(begin, finish, bucket) if begin < finish else 0
        changed = self._returns[bisect.bisect_left(self._starts, begin // _NS) :].tolist()
        if begin <= self._start < finish and (equity != self._base or self.moved):
            changed.append(self._return(equity))
        # a bucket without change has a return as well, and it is as undefined as any if there was nothing to lose
        if any(map(math.isnan, changed)) or (n and self._idle_without_base(begin, finish, equity)):
            return Sharpe(bucket=bucket, n=n, reason=_NO_BASE.format(bucket=bucket))
        return sharpe(changed, n=max(n, len(changed)), bucket=bucket, per_year=per_year)

    def _idle_without_base(self, begin: int, finish: int, equity: Decimal) -> bool:
        """Whether there was no equity above zero in unchanged buckets: just before the open one, it, or after it.

        Those before another one that changed need no look: it began with the same equity.
        """
        if self._base <= 0:
            if begin <= self._start < finish:
                return True
            before = self._calendar.bucket(self._start - 1, self.bucket)[0]
            if begin <= before and not (self._starts and self._starts[-1] * _NS >= before):
                return True
        return equity <= 0 and finish > max(begin, self.until)

    def state(self) -> dict[str, Any]:
        """All of it, as JSON can say it."""
        first = None if self.first is None else self.first // _NS
        return {
            "first": first, "start": self._start // _NS, "until": None if first is None else self.until // _NS,
            "base": str(self._base), "moved": str(self.moved), "starts": self._starts.tolist(),
            "returns": [None if math.isnan(value) else value for value in self._returns],
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `state` told."""
        starts, returns = array("q", state["starts"]), state["returns"]
        if len(starts) != len(returns) or any(map(operator.ge, starts, starts[1:])):
            raise ValueError("as many returns as buckets are needed, and the buckets in order")
        self._starts = starts
        self._returns = array("d", [math.nan if value is None else value for value in returns])
        self._base, self.moved = read(state["base"]), read(state["moved"])
        if state["first"] is None:
            return
        first, start, until = (operator.index(state[name]) * _NS for name in ("first", "start", "until"))
        if not first <= start < until:
            raise ValueError("the buckets are not in order")
        self.first, self._start, self.until, self.early = first, start, until, start - _SET_BACK
