"""When funding is due next, and at what rate: as the bot tells it, kept over a restart."""

from __future__ import annotations

import threading
from collections import deque
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import attrs

from botobs.accounting.accruing import Near
from botobs.accounting.entries import stamp
from botobs.accounting.numbers import number, text

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Due", "FundingTimes", "Passed"]

_S: Final = 1_000_000_000
_NEVER: Final = 1 << 80
_MOST_SYMBOLS: Final = 1_000
_MOST_PENDING: Final = 4
_KEPT: Final = 8  # funding times that are over: what comes late may be for one of them
_SKEW_NS: Final = 60 * _S  # the exchange may be in the next interval already while our clock is not
_LONGEST_NS: Final = 8 * 3_600 * _S  # between two funding times; where it seems longer, some were not told
_SHORTEST_NS: Final = 60 * _S
_GRACE_NS: Final = 60 * _S
_FARTHEST_NS: Final = 32 * 86_400 * _S  # a next funding time beyond that is none
_MOST_RATE: Final = Decimal("0.1")


class Due(NamedTuple):
    """A funding time that has come.

    Attributes:
        ts_ns: When, in nanoseconds since 1970.
        rate: The last one told before; `None`: it is not known.
        why: Why it is not known.
    """

    symbol: str
    ts_ns: int
    rate: Decimal | None
    why: str = ""


class Passed(NamedTuple):
    """A funding time that is over, as late fills need it.

    Attributes:
        ts: When (RFC 3339).
        rate: The one that counted.
        mark: The price then, where one was known.
    """

    ts: str
    rate: Decimal
    mark: Decimal | None


@attrs.define
class _Symbol:
    """What was told of one symbol.

    Attributes:
        pending: The next funding time, and at the turn from one to the next both; with the rate as it was told last,
            `None` if that cannot be used.
        passed: Those that are over, the newest last.
        last_ns: The newest time of those that are over, whether its rate was known or not.
        every_ns: How far they are apart.
        gap_ns: When the next one will have gone by that nobody has told of; 0: it is told.
    """

    pending: dict[int, Decimal | None] = attrs.field(factory=dict)
    passed: deque[Passed] = attrs.field(factory=lambda: deque(maxlen=_KEPT))
    last_ns: int = 0
    every_ns: int | None = None
    gap_ns: int = 0


class FundingTimes:
    """Knows when which funding is due. Threads may share it.

    Args:
        say: Takes what is wrong with a report, as a cause and a message.

    Attributes:
        due_ns: Before this time nothing is due.
        changes: Goes up with every funding time, and `steps` with every rate.
        newest: By symbol, the newest funding time that is over: what happened before it and comes later is late for it.
    """

    def __init__(self, say: Callable[[str, str], object]) -> None:
        self._say = say
        self._symbols: dict[str, _Symbol] = {}
        self._lock = threading.RLock()  # re-entrant: a signal handler may tell a rate in the middle of another
        self.due_ns = _NEVER
        self.newest: dict[str, str] = {}
        self.changes = self.steps = 0

    def told(self, symbol: str, rate: Any, next_ns: int | None, now: int) -> None:
        """The current rate, and when it is paid next. Call `take` before: what is due has the rate told before."""
        try:
            found: Decimal | None = None if rate is None else number(rate)
        except ValueError:  # no number: the one before stands
            return
        if found is None:
            return
        if found.copy_abs() > _MOST_RATE:
            self._say(
                f"huge {symbol}", f"the rate of {symbol}, {text(found)}, is above 10 %: nothing is accrued with it"
            )
            found = None
        with self._lock:
            one = self._symbols.get(symbol)
            if one is None:
                if next_ns is None:
                    return
                if len(self._symbols) >= _MOST_SYMBOLS:
                    self._say("symbols", f"more than {_MOST_SYMBOLS} symbols: the funding of {symbol!r} is not accrued")
                    return
                one = self._symbols[symbol] = _Symbol()
            self._set(symbol, one, found, next_ns, now)

    def _set(self, symbol: str, one: _Symbol, rate: Decimal | None, next_ns: int | None, now: int) -> None:
        if next_ns is None:  # the rate is for the time that is known
            ahead = [at for at in one.pending if at > now]
            if ahead:
                self._put(one, max(ahead), rate)
            return
        if next_ns <= now:
            # exchanges go on telling of a time for some seconds after it; of another one it is a mistake
            if next_ns > one.last_ns and next_ns not in one.pending:
                self._say(
                    f"past {symbol}", f"the next funding of {symbol} is said to be {_shown(next_ns)}, which is over"
                )
            return
        if next_ns > now + _FARTHEST_NS:
            self._say(f"far {symbol}", f"the next funding of {symbol} is said to be far from now: {_shown(next_ns)}")
            return
        if next_ns <= one.last_ns:  # the clock was set back: it is dealt with
            return
        for at in list(one.pending):
            # another time than was told before; but just before a time, the one after it is no other one
            if at != next_ns and not (at < next_ns and at - now <= _SKEW_NS):
                del one.pending[at]
        before = max((at for at in (*one.pending, one.last_ns) if 0 < at < next_ns), default=0)
        if before and _SHORTEST_NS <= next_ns - before <= _LONGEST_NS:
            one.every_ns = next_ns - before
        self._put(one, next_ns, rate)

    def _put(self, one: _Symbol, at: int, rate: Decimal | None) -> None:
        if at not in one.pending:
            self.changes += 1
            while len(one.pending) >= _MOST_PENDING:
                del one.pending[min(one.pending)]
        elif one.pending[at] == rate:
            return
        one.pending[at] = rate
        one.gap_ns = 0
        self.steps += 1
        self._plan()

    def take(self, now: int) -> list[Due]:
        """What is due by now, the oldest first; each once."""
        if now < self.due_ns:
            return []
        found: list[Due] = []
        with self._lock:
            for symbol, one in self._symbols.items():
                for at in sorted(at for at in one.pending if at <= now):
                    rate = one.pending.pop(at)
                    found.append(Due(symbol, at, rate, "" if rate is not None else "its rate was above 10 %"))
                    self._over(symbol, one, at)
                if one.gap_ns and now >= one.gap_ns and one.every_ns is not None:
                    at = one.last_ns + (now - _GRACE_NS - one.last_ns) // one.every_ns * one.every_ns
                    found.append(Due(symbol, at, None, "nobody told its rate before"))
                    one.gap_ns = at + one.every_ns + _GRACE_NS
            self._plan()
            if found:
                self.changes += 1
        return sorted(found, key=lambda due: due.ts_ns)

    def _over(self, symbol: str, one: _Symbol, at: int) -> None:
        one.last_ns = max(one.last_ns, at)
        one.gap_ns = 0
        if not one.pending and one.every_ns is not None:
            one.gap_ns = one.last_ns + one.every_ns + _GRACE_NS
        self.newest[symbol] = stamp(one.last_ns)

    def _plan(self) -> None:
        self.due_ns = min(
            (at for one in self._symbols.values() for at in (*one.pending, one.gap_ns or _NEVER)), default=_NEVER
        )

    def again(self, due: Due) -> None:
        """It could not be dealt with: the same once more."""
        with self._lock:
            one = self._symbols.get(due.symbol)
            if one is not None and due.rate is not None:
                one.pending[due.ts_ns] = due.rate
                self._plan()

    def passed(self, due: Due, mark: Decimal | None) -> None:
        """A funding time is over, and this was the price then."""
        assert due.rate is not None
        with self._lock:
            known, ts = self._symbols[due.symbol].passed, stamp(due.ts_ns)
            if all(passed.ts != ts for passed in known):
                known.append(Passed(ts, due.rate, mark))
            self.changes += 1

    def since(self, symbol: str, ts: str) -> list[Passed]:
        """The funding times at or after `ts` that are over, the oldest first."""
        with self._lock:
            one = self._symbols.get(symbol)
            return [] if one is None else [passed for passed in one.passed if passed.ts >= ts]

    def near(self, symbol: str) -> Near:
        """What tells for which funding time a payment is."""
        with self._lock:
            one = self._symbols.get(symbol)
            if one is None:
                return Near()
            times = (*(passed.ts for passed in one.passed), *map(stamp, one.pending))
            return Near(every_ns=one.every_ns, times=times)

    def abandon(self) -> None:
        """In a forked child: the lock may be held by a thread that does not exist here."""
        self._lock = threading.RLock()

    # -- over a restart ----------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All of it, for JSON."""
        with self._lock:
            return {
                symbol: {
                    "pending": [[at, None if rate is None else text(rate)] for at, rate in one.pending.items()],
                    "passed": [
                        [ts, text(rate), None if mark is None else text(mark)] for ts, rate, mark in one.passed
                    ],
                    "last": one.last_ns,
                    "every": one.every_ns,
                }
                for symbol, one in self._symbols.items()
            }  # fmt: skip

    def restore(self, state: Any) -> None:
        """Go on where `state` was taken; what in it is damaged is left out."""
        with self._lock:
            for symbol, told in islice(state.items(), _MOST_SYMBOLS) if isinstance(state, dict) else ():
                try:
                    one = _restored(told)
                except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError):
                    self._say("restart", f"the funding times of {symbol} are damaged, and are left out")
                    continue
                self._symbols[symbol] = one
                if one.last_ns:
                    self.newest[symbol] = stamp(one.last_ns)
                    if not one.pending and one.every_ns is not None:
                        one.gap_ns = one.last_ns + one.every_ns + _GRACE_NS
            self._plan()


def _shown(ns: int) -> str:
    """A time, or a number where the calendar has none."""
    try:
        return stamp(ns)
    except ValueError:
        return str(ns)


def _restored(told: Any) -> _Symbol:
    one = _Symbol()
    for at, rate in told["pending"][:_MOST_PENDING]:
        one.pending[_whole(at)] = None if rate is None else number(rate)
    for ts, rate, mark in told["passed"]:
        one.passed.append(Passed(str(ts), number(rate), None if mark is None else number(mark)))
    one.last_ns = _whole(told["last"])
    one.every_ns = None if told["every"] is None else _whole(told["every"])
    if one.every_ns is not None and not _SHORTEST_NS <= one.every_ns <= _LONGEST_NS:
        raise ValueError("no interval")
    return one


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < _NEVER:
        raise ValueError("no time")
    stamp(value)
    return value
