"""Moves that are large for their market: spikes within a bar, and gaps between two.

What is usual is the range of a bar against the close before it, in logarithms, averaged over some thirty bars. It is
not the average true range that the rest of botobs asks (`accounting.wilder`): one crash in that would be the usual
thing for hours, and hide the next one. Here a bar counts for no more than what would make it a spike.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from typing import Any, Final, NamedTuple

__all__ = ["Bar", "Gap", "Minute", "Moves", "Scale", "Spike"]

WARM: Final = 20  # bars before anything is usual
_MEMORY: Final = 30
_HOLE: Final = 2.5  # usual intervals without a bar
_INTERVALS: Final = 9
_FEW: Final = 3
_S: Final = 1_000_000_000
MINUTE: Final = 60 * _S


class Bar(NamedTuple):
    """What happened up to `at`, in nanoseconds."""

    open: float
    high: float
    low: float
    close: float
    at: int


class Spike(NamedTuple):
    """A range that is large for this market.

    Attributes:
        move: From the close before (after a gap: from the open) to the close, as a logarithm.
        range: The range, as one.
        usual: What is usual, as one.
    """

    move: float
    range: float
    usual: float


class Gap(NamedTuple):
    """Between two bars the price jumped, or time is missing.

    Attributes:
        move: From the close to the open after it, as a logarithm.
        usual: The range that a bar usually has, as one; `None`: not known yet.
        missing: Nanoseconds without a bar, beyond the usual interval; 0: none.
    """

    move: float
    usual: float | None
    missing: int


class Scale:
    """The usual size of something: a mean that fades, and that no single value moves far.

    It begins at the median of the first ones. Nothing is usual while it is `None`.

    Example:
        >>> scale = Scale()
        >>> for _ in range(20):
        ...     scale.learn(1.0, 5.0)
        >>> scale.learn(1_000.0, 5.0)
        >>> round(scale.value, 3)
        1.133
    """

    __slots__ = ("_first", "value")

    def __init__(self) -> None:
        self.value: float | None = None
        self._first: list[float] = []

    def learn(self, size: float, most: float) -> None:
        """One more; it counts for at most `most` times what is usual."""
        if self.value is not None:
            self.value += (min(size, most * self.value) - self.value) / _MEMORY
            if size > 0.0 == self.value:  # nothing ever moved: begin again
                self._first, self.value = [size], None
            return
        self._first.append(size)
        if len(self._first) >= WARM:
            # where most are 0, the mean
            self.value = statistics.median(self._first) or statistics.fmean(self._first)
            self._first = []

    def state(self) -> list[Any]:
        """All it knows, for JSON."""
        return [self.value, self._first]

    def restore(self, state: Any) -> None:
        """Go on where `state` was taken.

        Raises:
            ValueError: It is no such state.
        """
        value, first = state
        if not isinstance(first, list) or len(first) >= WARM or not all(_size(one) for one in (value or 0.0, *first)):
            raise ValueError("not the state of a scale")
        self.value, self._first = None if value is None else float(value), [float(one) for one in first]


class Moves:
    """The bars of one symbol, one after the other.

    Args:
        spike: A range of so many usual ones is a spike; 0: none is.
        gap: A jump of so many between two bars is a gap; 0: none is.
        least: As a logarithm: what is smaller is neither.
        every: Nanoseconds from one bar to the next; `None`: as they come.

    Attributes:
        usual_ns: How long a bar usually is; `None`: not known yet.
        spiking: A spike was told, and it has not calmed.
    """

    __slots__ = ("_every", "_gap", "_intervals", "_least", "_spike", "close", "scale", "since", "spiking", "usual_ns")

    def __init__(self, spike: float, gap: float, least: float, every: int | None = None) -> None:
        self._spike, self._gap, self._least, self._every = spike, gap, least, every
        self._intervals: deque[int] = deque(maxlen=_INTERVALS)
        self.scale = Scale()
        self.usual_ns = every
        self.spiking = False
        self.close: float | None = None
        self.since = 0  # when the last bar ended

    def begins(self, opened: float, at: int, *, sure: bool = True) -> Gap | None:
        """The gap before a bar that opens so.

        Args:
            opened: The open.
            at: When it ends; of minutes the time of the price itself.
            sure: The open is a price of its own; where it only repeats the close, it tells of no jump.
        """
        if self.close is None or not self._gap:
            return None
        move, usual, missing = math.log(opened) - math.log(self.close), self.scale.value, self.missing(at)
        jumps = sure and usual is not None and self._large(abs(move), self._gap, usual)
        # minutes are made of prices that may be rare: for them, both
        found = jumps or missing > 0 if self._every is None else jumps and missing > 0
        return Gap(move, usual, missing) if found else None

    def missing(self, at: int) -> int:
        """Nanoseconds without a bar before one of `at`, beyond the usual interval; 0: none that matter."""
        usual, passed = self.usual_ns, at - self.since
        return passed - usual if usual is not None and passed > _HOLE * usual and usual >= _S else 0

    def large(self, high: float, low: float, close: float, *, opened: float | None = None) -> Spike | None:
        """The spike that a bar is so far; `opened`: measured from there, because a gap came before it."""
        usual, before = self.scale.value, self.close if opened is None else opened
        if usual is None or before is None or not self._spike:
            return None
        size = math.log(max(high, before)) - math.log(min(low, before))
        if self.spiking or not self._large(size, self._spike, usual):
            return None
        self.spiking = True
        return Spike(math.log(close) - math.log(before), size, usual)

    def _large(self, size: float, times: float, usual: float) -> bool:
        return size >= self._least and size >= times * usual

    def ended(self, bar: Bar, *, apart: bool) -> None:
        """A bar is over; `apart`: a gap came before it, and tells nothing of what is usual within one."""
        before, after_hole = self.close, self.missing(bar.at) > 0
        if before is None or apart:
            before = bar.open
        size = math.log(max(bar.high, before)) - math.log(min(bar.low, before))
        usual = self.scale.value
        if self.spiking and (usual is None or size < self._spike / 2 * usual or size < self._least / 2):
            self.spiking = False
        if not (after_hole and self._every is not None):  # a minute after hours is no usual one
            self.scale.learn(size, self._spike or 5.0)
        self._follow(bar.at)
        self.close = bar.close

    def _follow(self, at: int) -> None:
        passed, self.since = at - self.since, at
        if self.close is None or self._every is not None or passed < _S:
            return
        self._intervals.append(passed)
        if len(self._intervals) >= _FEW:
            self.usual_ns = sorted(self._intervals)[len(self._intervals) // 2]

    def state(self) -> list[Any]:
        """All it knows, for JSON."""
        return [self.close, self.since, self.spiking, list(self._intervals), *self.scale.state()]

    def restore(self, state: Any) -> None:
        """Go on where `state` was taken.

        Raises:
            ValueError: It is no such state.
        """
        close, since, spiking, intervals, *scale = state
        if type(since) is not int or not (close is None or (_size(close) and close > 0.0)):
            raise ValueError("not the state of moves")
        if not isinstance(intervals, list) or not all(type(one) is int and one >= _S for one in intervals):
            raise ValueError("not the state of moves")
        self.scale.restore(scale)
        self.close, self.since, self.spiking = close, since, spiking is True
        self._intervals.extend(intervals)
        if self._every is None and len(self._intervals) >= _FEW:
            self.usual_ns = sorted(self._intervals)[len(self._intervals) // 2]


class Minute:
    """A minute of sampled prices, while it lasts.

    Attributes:
        apart: It is measured from its own open: there was nothing for long before it.
    """

    __slots__ = ("apart", "close", "high", "low", "number", "open")

    def __init__(self, price: float, at: int) -> None:
        self.number = at // MINUTE
        self.open = self.high = self.low = self.close = price
        self.apart = False

    def price(self, price: float) -> bool:
        """One more price; whether it is further than any before."""
        self.close = price
        if self.low <= price <= self.high:
            return False
        self.low, self.high = min(self.low, price), max(self.high, price)
        return True

    def bar(self) -> Bar:
        """What it came to."""
        return Bar(self.open, self.high, self.low, self.close, (self.number + 1) * MINUTE)


def _size(value: Any) -> bool:
    return type(value) in (int, float) and 0.0 <= value < math.inf
