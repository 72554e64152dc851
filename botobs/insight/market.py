"""The market of one symbol, bar by bar: how strongly it moves, and where to."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs

from botobs.accounting.wilder import Range

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Market", "Meter"]

_BARS = 14


@attrs.frozen(kw_only=True)
class Market:
    """A finished bar and what is known after it; what there are too few bars for is `None`.

    Attributes:
        symbol: Which market.
        ts: When the bar was (RFC 3339), or when it arrived, where nobody said.
        bars: How many bars went before, this one included.
        adx: Wilder's directional index over 14 bars; `plus_di` and `minus_di` are its two directions.
        atr: The average true range over 14 bars.
        volatility_bps: The deviation of the close from bar to bar, smoothed over 14 bars.
        regime: The regime before this bar.
    """

    symbol: str
    ts: str
    open: float
    high: float
    low: float
    close: float
    volume: float | None = None
    bars: int = 1
    adx: float | None = None
    plus_di: float | None = None
    minus_di: float | None = None
    atr: float | None = None
    volatility_bps: float | None = None
    regime: str = "unknown"


class Meter:
    """What is kept of one symbol's bars: Wilder's range and the volatility. Not locked.

    Attributes:
        range: ATR and ADX.
        close: The last close.
    """

    __slots__ = ("_returns", "_square", "close", "range")

    def __init__(self) -> None:
        self.range = Range(_BARS)
        self.close: float | None = None
        self._square = 0.0
        self._returns = 0

    def bar(self, high: float, low: float, close: float) -> bool:
        """Take one more bar; whether it was one."""
        if not 0.0 < low <= close <= high < math.inf:
            return False
        self.range.bar(high, low, close)
        before, self.close = self.close, close
        if before is not None:
            moved = math.log(close / before) if close / before > 0 else 0.0
            self._returns = min(self._returns + 1, _BARS)
            self._square += (moved * moved - self._square) / self._returns
        return True

    @property
    def volatility_bps(self) -> float | None:
        """The deviation of the close from bar to bar; `None` before there were 14."""
        return math.sqrt(self._square) * 1e4 if self._returns >= _BARS else None

    def state(self) -> list[Any]:
        """All it knows, for JSON."""
        return [self.range.state(), self.close, self._square, self._returns]

    @classmethod
    def of_state(cls, state: Sequence[Any]) -> Meter:
        """One that goes on where `state` was taken.

        Raises:
            ValueError: It is no such state.
        """
        known, close, square, returns = state
        self = cls()
        self.range = Range.of_state(known)
        if type(returns) is not int or not 0 <= returns <= _BARS or not 0.0 <= float(square) < math.inf:
            raise ValueError("not the state of a meter")
        if close is not None and not 0.0 < float(close) < math.inf:
            raise ValueError("not the state of a meter")
        self.close, self._square, self._returns = close, float(square), returns
        return self
