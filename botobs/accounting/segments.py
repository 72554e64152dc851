"""Stretches of an equity curve that join exactly: the drawdown of a window is that of its segments, joined.

Money moved in or out is no profit and no loss, and a peak moves along with it. So a segment counts in equity less what
was moved in since its beginning: there, a drop in money is a difference and nothing else.

The drop as a fraction of the peak needs more, for the same drop weighs more after money was taken out, and a higher
peak before the segment makes each of its falls longer. A segment therefore keeps its *falls*: the few pairs of peak
and equity of which, whatever peak came before, one is the deepest. Money at hand, that is at most two for each amount
moved: the lowest equity and the deepest fall. Below zero, where a higher peak makes a *smaller* fraction, it is every
fall that no other beats in both.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import attrs

from botobs.accounting.numbers import EXACT, ZERO, divide

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

__all__ = ["Fall", "Segment", "deeper", "fraction", "prune", "read"]

_plus, _minus, _times = EXACT.add, EXACT.subtract, EXACT.multiply


@attrs.frozen
class Fall:
    """From a peak to an equity, both as they were.

    Attributes:
        peak: The peak at that moment.
        equity: The equity at that moment.
        moved: Money moved in since the beginning of the segment.
    """

    peak: Decimal
    equity: Decimal
    moved: Decimal = ZERO

    def pct(self) -> float | None:
        """The fall as a fraction of the peak; `None` unless the peak is above zero."""
        return fraction(self.peak, self.equity)


@attrs.frozen
class Segment:
    """A stretch of the curve. Its first peak is the equity at its beginning.

    Attributes:
        first: Equity at the beginning.
        last: Equity at the end, less `moved`.
        high: The highest equity, less what had been moved.
        low: The lowest equity, less what had been moved.
        drop: The largest fall from a peak within, in money.
        falls: What the largest fall as a fraction follows from, also after other segments.
        moved: Money moved in within, less money moved out.

    Example:
        >>> from decimal import Decimal as D
        >>> morning, evening = Segment.of([D(100), D(120), D(110)]), Segment.of([D(110), D(90), D(115)])
        >>> day = morning.join(evening)
        >>> day.drop, day.drop_pct(), day == Segment.of([D(100), D(120), D(110), D(90), D(115)])
        (Decimal('30'), 0.25, True)
    """

    first: Decimal
    last: Decimal
    high: Decimal
    low: Decimal
    drop: Decimal
    falls: tuple[Fall, ...]
    moved: Decimal = ZERO

    @classmethod
    def of(cls, points: Iterable[Decimal]) -> Segment:
        """The segment through `points`, at least one, without transfers."""
        return cls.joined(cls(point, point, point, point, ZERO, (Fall(point, point),)) for point in points)

    @classmethod
    def joined(cls, segments: Iterable[Segment]) -> Segment:
        """Many in one, in the order of time.

        Raises:
            ValueError: There is none.
        """
        whole: Segment | None = None
        for segment in segments:
            whole = segment if whole is None else whole.join(segment)
        if whole is None:
            raise ValueError("no segment")
        return whole

    def join(self, later: Segment) -> Segment:
        """This one and the `later` one that follows it, as one."""
        moved, high = self.moved, self.high
        later_low, later_high = _minus(later.low, moved), _minus(later.high, moved)
        falls = list(self.falls)
        for fall in later.falls:
            moved_then = _plus(moved, fall.moved)
            falls.append(Fall(max(fall.peak, _plus(high, moved_then)), fall.equity, moved_then))
        return Segment(
            first=self.first,
            last=_minus(later.last, moved),
            high=max(high, later_high),
            low=min(self.low, later_low),
            drop=max(self.drop, later.drop, _minus(high, later_low)),
            falls=prune(falls),
            moved=_plus(moved, later.moved),
        )

    @property
    def end(self) -> Decimal:
        """Equity at the end, as it was."""
        return _plus(self.last, self.moved)

    @property
    def profit(self) -> Decimal:
        """What was made within, transfers left out."""
        return _minus(self.last, self.first)

    def drop_pct(self) -> float | None:
        """The largest fall as a fraction of its peak; `None` if no peak was above zero."""
        worst: Fall | None = None
        for fall in self.falls:
            worst = deeper(worst, fall)
        return None if worst is None else worst.pct()

    def record(self) -> dict[str, Any]:
        """As it is written: strings, what says nothing left out. `of_record` reads it."""
        said: dict[str, Any] = {
            "first": str(self.first), "last": str(self.last), "high": str(self.high), "low": str(self.low),
            "drop": str(self.drop),
        }  # fmt: skip
        if self.falls != (Fall(self.first, self.first),):
            said["falls"] = [
                [str(fall.peak), str(fall.equity), *([str(fall.moved)] if fall.moved else ())] for fall in self.falls
            ]
        if self.moved:
            said["moved"] = str(self.moved)
        return said

    @classmethod
    def of_record(cls, said: dict[str, Any]) -> Segment:
        """The segment that `record` wrote.

        Raises:
            ValueError: It is no such record.
        """
        try:
            first, last, high, low, drop = (read(said[name]) for name in ("first", "last", "high", "low", "drop"))
            falls = [Fall(*map(read, fall)) for fall in said.get("falls", ())] or [Fall(first, first)]
            return cls(first, last, high, low, drop, tuple(falls), read(said.get("moved", "0")))
        except (KeyError, TypeError, ArithmeticError, AttributeError) as error:
            raise ValueError(f"no segment of a curve: {type(error).__name__}") from error


def fraction(peak: Decimal, equity: Decimal) -> float | None:
    """How far `equity` is below `peak`, as a fraction of it; `None` unless the peak is above zero."""
    return float(divide(_minus(peak, equity), peak)) if peak > 0 else None


def deeper(one: Fall | None, other: Fall) -> Fall | None:
    """The one that fell by the larger fraction, compared exactly; falls from no peak above zero do not count."""
    if other.peak <= 0:
        return one
    if one is None or _shallower(one, other):
        return other
    return one


def prune(falls: list[Fall]) -> tuple[Fall, ...]:
    """Those of `falls` that are needed, in a fixed order, whatever peak may have come before them."""
    if len(falls) == 1:
        return tuple(falls)
    kept: list[Fall] = []
    for _, group in itertools.groupby(sorted(falls, key=_level), key=_level):
        kept += _needed(list(group))
    return tuple(kept)


def _level(fall: Fall) -> tuple[Decimal, bool]:
    return fall.moved, fall.peak > 0


def _needed(falls: list[Fall]) -> list[Fall]:
    """Of falls with the same amount moved, all from peaks above zero or none of them."""
    falls.sort(key=_by_depth)
    lowest = falls[0]
    if lowest.peak <= 0:
        return [lowest]  # no fraction yet: with a peak above zero before, only how low it went counts
    kept = [lowest]
    for fall in falls[1:]:  # ever higher; needed if they fell by more, from a higher peak or one nearer to zero
        if _shallower(kept[-1], fall):
            if lowest.equity > 0 and len(kept) > 1:
                kept.pop()
            kept.append(fall)
    return kept


def _by_depth(fall: Fall) -> tuple[Decimal, Decimal]:
    # of two that went as low, the larger fraction first: from the higher peak, below zero from the lower one
    return fall.equity, fall.peak if fall.equity <= 0 else -fall.peak


def _shallower(one: Fall, other: Fall) -> bool:
    """Whether one fell by a smaller fraction: its equity is a larger part of its peak. Peaks are above zero."""
    return _times(one.equity, other.peak) > _times(other.equity, one.peak)


def read(said: Any) -> Decimal:
    """A finite number that was written as text, all digits of it.

    Raises:
        ValueError: It is none.
        TypeError: It is no text.
    """
    found = EXACT.create_decimal(said)
    if not isinstance(said, str) or not found.is_finite():
        raise ValueError(f"not a finite number: {str(said)[:60]}")
    return found
