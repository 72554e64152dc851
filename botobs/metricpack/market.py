"""Bars, and what they say of an entry: the regime and the average true range."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from botobs.accounting.wilder import Range

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CHOP", "MOST", "TREND", "UNKNOWN", "Bar", "Market", "NoMarket", "Setting", "setting_of"]

TREND: Final = "trend"
CHOP: Final = "chop"
UNKNOWN: Final = "unknown"
#: How many bars are looked at: Wilder's averages over 14 bars forget what is older than that.
MOST: Final = 150

_TREND_ABOVE: Final = 25.0
_CHOP_BELOW: Final = 20.0


class Bar(NamedTuple):
    """One finished bar.

    Attributes:
        start_ns: When it began, nanoseconds since 1970.
        end_ns: When it ended.
    """

    start_ns: int
    end_ns: int
    high: float
    low: float
    close: float


class Setting(NamedTuple):
    """What the market was like at an entry.

    Attributes:
        regime: `trend`, `chop` or `unknown`.
        adx: The directional index; `None`: too few bars.
        atr: The average true range; `None`: too few bars.
    """

    regime: str
    adx: float | None
    atr: float | None


class Market(Protocol):
    """Where bars come from. Asked with the time of an event, never with the clock's; never raises."""

    def before(self, symbol: str, ts_ns: int) -> Sequence[Bar]:
        """The last `MOST` bars that had ended by `ts_ns`, the newest last; fewer, if there are no more."""
        ...

    def during(self, symbol: str, start_ns: int, end_ns: int) -> Sequence[Bar]:
        """The bars that began at `start_ns` or later and had ended by `end_ns`, in order."""
        ...


class NoMarket:
    """No bars at all: every regime is unknown."""

    def before(self, symbol: str, ts_ns: int) -> Sequence[Bar]:  # noqa: ARG002
        """None."""
        return ()

    def during(self, symbol: str, start_ns: int, end_ns: int) -> Sequence[Bar]:  # noqa: ARG002
        """None."""
        return ()


def setting_of(bars: Sequence[Bar]) -> Setting:
    """What `bars` say: an ADX(14) above 25 is a trend, one below 20 is chop, anything else is unknown.

    Example:
        >>> rising = [Bar(at, at + 1, 101.0 + at, 99.0 + at, 100.5 + at) for at in range(40)]
        >>> setting_of(rising).regime, setting_of(rising[:20]).regime
        ('trend', 'unknown')
    """
    averages = Range(14)
    for bar in bars:
        averages.bar(bar.high, bar.low, bar.close)
    adx, atr = averages.adx.value, averages.atr.value
    regime = UNKNOWN if adx is None else TREND if adx > _TREND_ABOVE else CHOP if adx < _CHOP_BELOW else UNKNOWN
    return Setting(regime, adx, atr)
