"""Wilder's average true range and directional index, one bar at a time: the project's only ones.

They follow J. Welles Wilder, "New Concepts in Technical Trading Systems" (1978), and agree with what TA-Lib computes:
where the first value appears, how the sums are started, and what happens where a range is zero. Each bar costs the
same, however many went before; nothing is kept but a few sums.

A bar that is no bar (a missing or infinite price, a high below its low) is left out, and the next one is measured
against the last good close, as after any gap. TA-Lib would answer NaN from there on.
"""

from __future__ import annotations

import math
from typing import Any

__all__ = ["ATR", "DirectionalIndex", "Range"]

_ZERO = 1e-14  # what TA-Lib takes for zero


def _good(high: float, low: float, close: float) -> bool:
    return math.isfinite(high) and math.isfinite(low) and math.isfinite(close) and high >= low


class ATR:
    """The average true range over `n` bars; the first value comes with bar `n + 1` (with bar 2 for `n = 1`).

    Example:
        >>> atr = ATR(2)
        >>> [atr.bar(*bar) for bar in [(10, 8, 9), (11, 9, 10), (12, 9, 11), (11, 10, 10)]]
        [None, None, 2.5, 1.75]
    """

    __slots__ = ("_close", "_seen", "_sum", "n", "value")

    def __init__(self, n: int = 14) -> None:
        if n < 1:
            raise ValueError("an average goes over at least one bar")
        self.n = n
        self.value: float | None = None
        self._seen = 0  # true ranges
        self._sum = 0.0
        self._close: float | None = None

    def bar(self, high: float, low: float, close: float) -> float | None:
        """The value after one more bar; `None` while there are too few."""
        if not _good(high, low, close):
            return self.value
        before, self._close = self._close, close
        if before is None:
            return None
        true_range = max(high - low, abs(high - before), abs(low - before))
        if self.value is not None:
            self.value = (self.value * (self.n - 1) + true_range) / self.n
            return self.value
        self._sum += true_range
        self._seen += 1
        if self._seen == self.n:
            self.value = self._sum / self.n
        return self.value

    def state(self) -> list[Any]:
        """All it knows, for JSON; `of_state` goes on exactly from there."""
        return [self.n, self.value, self._seen, self._sum, self._close]

    @classmethod
    def of_state(cls, state: list[Any]) -> ATR:
        """An average that goes on where `state` was taken.

        Raises:
            ValueError: It is no such state.
        """
        (n,), floats = _read(state, whole=(0,), size=5)
        self = cls(n)
        self.value, self._sum, self._close = floats[1], floats[3] or 0.0, floats[4]
        self._seen = int(floats[2] or 0)
        return self


class DirectionalIndex:
    """Wilder's ADX with its +DI and -DI over `n` bars; the first ADX comes with bar `2 n`, the first DI with `n + 1`.

    A market without any movement has no direction: its DIs are 0, and it adds a DX of 0 to the first average and
    leaves the later ones as they were.

    Attributes:
        value: The ADX.
        plus: The +DI.
        minus: The -DI.

    Example:
        >>> adx = DirectionalIndex(2)
        >>> [adx.bar(*bar) for bar in [(10, 8, 9), (11, 9, 10), (12, 10, 11), (13, 11, 12)]]
        [None, None, None, 100.0]
    """

    __slots__ = ("_bars", "_down", "_dx", "_last", "_range", "_up", "minus", "n", "plus", "value")

    def __init__(self, n: int = 14) -> None:
        if n < 2:
            raise ValueError("a directional index goes over at least two bars")
        self.n = n
        self.value: float | None = None
        self.plus: float | None = None
        self.minus: float | None = None
        self._bars = 0
        self._dx = 0.0
        self._up = self._down = self._range = 0.0
        self._last: tuple[float, float, float] | None = None

    def bar(self, high: float, low: float, close: float) -> float | None:
        """The ADX after one more bar; `None` while there are too few."""
        if not _good(high, low, close):
            return self.value
        last, self._last = self._last, (high, low, close)
        self._bars += 1
        if last is None:
            return None
        self._smooth(last, high, low)
        if self._bars > self.n:
            self._average(self._direction())
        return self.value

    def _smooth(self, last: tuple[float, float, float], high: float, low: float) -> None:
        rise, fall = high - last[0], last[1] - low
        up = rise if rise > fall and rise > 0 else 0.0
        down = fall if fall > rise and fall > 0 else 0.0
        true_range = max(high - low, abs(high - last[2]), abs(low - last[2]))
        if self._bars <= self.n:  # sums of the first n - 1 movements
            self._up += up
            self._down += down
            self._range += true_range
        else:
            n = self.n
            self._up = self._up - self._up / n + up
            self._down = self._down - self._down / n + down
            self._range = self._range - self._range / n + true_range

    def _direction(self) -> float | None:
        """The DX; `None` where there is no movement to take it of."""
        if abs(self._range) < _ZERO:
            self.plus = self.minus = 0.0
            return None
        self.minus = 100.0 * (self._down / self._range)
        self.plus = 100.0 * (self._up / self._range)
        both = self.minus + self.plus
        return 100.0 * (abs(self.minus - self.plus) / both) if abs(both) >= _ZERO else None

    def _average(self, dx: float | None) -> None:
        if self.value is not None:
            if dx is not None:
                self.value = (self.value * (self.n - 1) + dx) / self.n
            return
        self._dx += dx or 0.0
        if self._bars == 2 * self.n:
            self.value = self._dx / self.n

    def state(self) -> list[Any]:
        """All it knows, for JSON; `of_state` goes on exactly from there."""
        last = self._last or (None, None, None)
        return [
            self.n, self._bars, self.value, self.plus, self.minus, self._dx, self._up, self._down, self._range, *last
        ]  # fmt: skip

    @classmethod
    def of_state(cls, state: list[Any]) -> DirectionalIndex:
        """An index that goes on where `state` was taken.

        Raises:
            ValueError: It is no such state.
        """
        (n, bars), floats = _read(state, whole=(0, 1), size=12)
        self = cls(n)
        self._bars = bars
        self.value, self.plus, self.minus = floats[2:5]
        self._dx, self._up, self._down, self._range = (value or 0.0 for value in floats[5:9])
        high, low, close = floats[9:12]
        if high is not None and low is not None and close is not None:
            self._last = (high, low, close)
        return self


class Range:
    """ATR and ADX of one symbol, fed together.

    Attributes:
        bars: How many bars it was fed, bad ones left out.
    """

    __slots__ = ("adx", "atr", "bars")

    def __init__(self, n: int = 14) -> None:
        self.atr = ATR(n)
        self.adx = DirectionalIndex(n)
        self.bars = 0

    def bar(self, high: float, low: float, close: float) -> bool:
        """Take one more bar; whether it was one."""
        if not _good(high, low, close):
            return False
        self.bars += 1
        self.atr.bar(high, low, close)
        self.adx.bar(high, low, close)
        return True

    def state(self) -> list[Any]:
        """All it knows, for JSON; `of_state` goes on exactly from there."""
        return [self.bars, self.atr.state(), self.adx.state()]

    @classmethod
    def of_state(cls, state: Any) -> Range:
        """One that goes on where `state` was taken.

        Raises:
            ValueError: It is no such state.
        """
        if not isinstance(state, (list, tuple)) or len(state) != 3 or type(state[0]) is not int:
            raise ValueError("not the state of a range")
        self = cls.__new__(cls)
        self.bars, self.atr, self.adx = state[0], ATR.of_state(state[1]), DirectionalIndex.of_state(state[2])
        return self


def _read(state: Any, whole: tuple[int, ...], size: int) -> tuple[tuple[int, ...], list[float | None]]:
    """The whole numbers of `state`, and all its entries as numbers; a damaged one never becomes a wrong average."""
    if not isinstance(state, (list, tuple)) or len(state) != size:
        raise ValueError("not the state of an average")
    for value in state:
        if value is not None and (type(value) not in (int, float) or not math.isfinite(value)):
            raise ValueError("not the state of an average")
    if any(type(state[at]) is not int for at in whole):
        raise ValueError("not the state of an average")
    return tuple(state[at] for at in whole), list(state)
