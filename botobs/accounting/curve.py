"""The equity curve as it was lived: in the order of arrival, and never rewritten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from botobs.accounting.calendar import Calendar
from botobs.accounting.numbers import EXACT, ZERO
from botobs.accounting.returns import Returns
from botobs.accounting.sampling import CurveSampler
from botobs.accounting.segments import Fall, Segment, deeper, fraction, prune, read

if TYPE_CHECKING:
    from decimal import Decimal

    from botobs.accounting.statistics import Sharpe

__all__ = ["Curve", "CurveSampler"]

_plus, _minus = EXACT.add, EXACT.subtract
_VERSION = 1
_NO_PEAK = "no peak above zero yet: give starting_equity"
_MANY_FALLS = 32


class Curve:
    """Equity, its peak, the drawdowns and the returns, fed at every mark and every fill.

    The starting equity is the first peak. Whoever feeds it holds the account's lock; equity is a finite `Decimal`.
    Works out differences only when asked or at a turning point, so that to feed it is two or three comparisons; its
    arithmetic is exact whatever the decimal context.

    Transfers move equity and peak alike: a drawdown in money stays what it is. As a fraction it is of the peak there
    is now, so that money taken out during a drawdown makes the fraction larger, and that counts.

    Args:
        starting_equity: What the account began with; `None`: not known, the curve begins at zero, and fractions of
            it are undefined until there is a peak above zero.
        tz: The timezone whose days and hours are counted.
        bucket: The bucket for Sharpe, `day` or `hour`.
        days_per_year: To annualize with.

    Attributes:
        equity: The equity now.
        peak: The highest equity so far, moved by transfers.

    Example:
        >>> from decimal import Decimal
        >>> curve = Curve(Decimal(1000))
        >>> for second, equity in enumerate((900, 1200, 1080)):
        ...     curve.feed(second * 10**9, Decimal(equity))
        >>> curve.peak, curve.drawdown, curve.drawdown_pct, curve.max_drawdown, curve.max_drawdown_pct
        (Decimal('1200'), Decimal('120'), 0.1, Decimal('120'), 0.1)
    """

    __slots__ = (
        "_bottom", "_deepest", "_early", "_falls", "_first", "_high", "_low", "_moved", "_returns", "_seg_drop",
        "_trough", "_until", "_worst", "calendar", "equity", "peak", "starting_equity",
    )  # fmt: skip

    def __init__(
        self,
        starting_equity: Decimal | None = None,
        tz: str = "UTC",
        bucket: Literal["day", "hour"] = "day",
        days_per_year: float = 365.0,
    ) -> None:
        self.starting_equity = starting_equity
        self.calendar = Calendar(tz)
        start = ZERO if starting_equity is None else starting_equity
        # of the whole: the lowest since the peak, and the worst of the falls that a new peak has ended
        self.equity = self.peak = self._bottom = start
        self._worst = ZERO
        self._deepest: Fall | None = None
        self._returns = Returns(self.calendar, bucket, days_per_year)
        self._early, self._until = self._returns.early, self._returns.until
        # of the open segment: as they are, but `_low` less what was moved within
        self._first = self._high = self._trough = self._low = start
        self._seg_drop = self._moved = ZERO
        self._falls = [Fall(start, start)]

    # --- feeding ---------------------------------------------------------------------------------------------------

    def feed(self, ts_ns: int, equity: Decimal) -> None:
        """Equity is `equity` now; `ts_ns` tells the bucket."""
        if not self._early <= ts_ns < self._until:
            self._turn(ts_ns)
        self.equity = equity
        # a low or a high of the whole is one of the segment too
        if equity < self._trough:
            self._trough = equity
            if equity < self._bottom:  # noqa: PLR1730  # a call of min() costs more than all of this
                self._bottom = equity
        elif equity > self._high:
            self._rise(equity)

    def transfer(self, ts_ns: int, amount: Decimal) -> None:
        """Money was moved in, or out if negative: no profit, no drawdown, no return."""
        if not self._early <= ts_ns < self._until:
            self._turn(ts_ns)
        self._end_fall()
        self._end_fall_of_segment()
        self.equity = self._bottom = self._trough = _plus(self.equity, amount)
        self.peak = _plus(self.peak, amount)
        self._high = _plus(self._high, amount)
        self._moved = _plus(self._moved, amount)
        self._returns.moved = _plus(self._returns.moved, amount)
        self._falls.append(Fall(self._high, self.equity, self._moved))

    def absorb(self, ts_ns: int, segment: Segment) -> None:
        """Live through a stretch that was written down, for a curve that is put together again from its samples.

        Args:
            ts_ns: A moment of it; its bucket gets the change.
            segment: The stretch; the curve's open segment begins anew after it.
        """
        if not self._early <= ts_ns < self._until:
            self._turn(ts_ns)
        self._end_fall()
        self._worst = max(self._worst, segment.drop, _minus(self.peak, segment.low))
        for fall in segment.falls:
            peak = max(fall.peak, _plus(self.peak, fall.moved))
            self._deepest = deeper(self._deepest, Fall(peak, fall.equity))
        self.peak = _plus(max(self.peak, segment.high), segment.moved)
        self._returns.moved = _plus(self._returns.moved, segment.moved)
        self.equity = self._bottom = segment.end
        self._begin_segment()

    def _turn(self, ts_ns: int) -> None:
        returns = self._returns
        returns.turn(ts_ns, self.equity)
        self._early, self._until = returns.early, returns.until

    def _rise(self, equity: Decimal) -> None:
        if self._trough < self._high:
            self._end_fall_of_segment()
        if self._high <= 0 < equity:  # from here on there are fractions
            self._falls.append(Fall(equity, equity, self._moved))
        self._high = self._trough = equity
        if equity > self.peak:
            if self._bottom < self.peak:
                self._end_fall()
            self.peak = self._bottom = equity

    def _end_fall(self) -> None:
        self._worst = max(self._worst, _minus(self.peak, self._bottom))
        self._deepest = deeper(self._deepest, Fall(self.peak, self._bottom))

    # --- drawdown --------------------------------------------------------------------------------------------------

    @property
    def drawdown(self) -> Decimal:
        """How far equity is below its peak now, in money."""
        return _minus(self.peak, self.equity)

    @property
    def drawdown_pct(self) -> float | None:
        """How far equity is below its peak now, as a fraction of it; `None` without a peak above zero."""
        return fraction(self.peak, self.equity)

    @property
    def max_drawdown(self) -> Decimal:
        """The largest drawdown in money so far."""
        return max(self._worst, _minus(self.peak, self._bottom))

    @property
    def max_drawdown_pct(self) -> float | None:
        """The largest drawdown as a fraction so far, maybe of another moment; `None` without a peak above zero."""
        worst = deeper(self._deepest, Fall(self.peak, self._bottom))
        return None if worst is None else worst.pct()

    def reasons(self) -> dict[str, str]:
        """Why a figure is `None`, by the figure's name."""
        figures = {"drawdown_pct": self.drawdown_pct, "max_drawdown_pct": self.max_drawdown_pct}
        return {name: _NO_PEAK for name, value in figures.items() if value is None}

    @property
    def lived(self) -> tuple[Decimal, ...]:
        """What changes whenever the curve has seen something that it did not know."""
        return self.equity, self.peak, self._bottom, self._worst, self._low, self._high, self._trough, self._moved

    # --- segments --------------------------------------------------------------------------------------------------

    @property
    def segment(self) -> Segment:
        """The stretch since the last `cut`."""
        low = min(self._low, _minus(self._trough, self._moved))
        high = _minus(self._high, self._moved)
        drop = max(self._seg_drop, _minus(self._high, self._trough))
        falls = prune([*self._falls, Fall(self._high, self._trough, self._moved)])
        return Segment(self._first, _minus(self.equity, self._moved), high, low, drop, falls, self._moved)

    def cut(self) -> Segment:
        """End the open segment and give it; the next one begins with the equity now."""
        ended = self.segment
        self._begin_segment()
        return ended

    def _begin_segment(self) -> None:
        self._first = self._low = self._high = self._trough = self.equity
        self._seg_drop = self._moved = ZERO
        self._falls = [Fall(self.equity, self.equity)]

    def _end_fall_of_segment(self) -> None:
        self._low = min(self._low, _minus(self._trough, self._moved))
        self._seg_drop = max(self._seg_drop, _minus(self._high, self._trough))
        self._falls.append(Fall(self._high, self._trough, self._moved))
        if len(self._falls) >= _MANY_FALLS:
            self._falls = list(prune(self._falls))

    # --- Sharpe ----------------------------------------------------------------------------------------------------

    def sharpe(self, now_ns: int, since_ns: int | None = None) -> Sharpe:
        """Of the buckets that have ended by `now_ns`; with `since_ns`, of those that lie whole after it."""
        return self._returns.sharpe(now_ns, self.equity, since_ns)

    # --- keeping ---------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """All of it, as JSON can say it; `of_state` makes the same curve of it."""
        deepest = self._deepest
        return {
            "version": _VERSION,
            "starting_equity": None if self.starting_equity is None else str(self.starting_equity),
            "tz": self.calendar.tz,
            "bucket": self._returns.bucket,
            "days_per_year": self._returns.days_per_year,
            "equity": str(self.equity),
            "peak": str(self.peak),
            "bottom": str(self._bottom),
            "worst": str(self._worst),
            "deepest": None if deepest is None else [str(deepest.peak), str(deepest.equity)],
            "segment": {
                **{name: str(getattr(self, f"_{name}")) for name in ("first", "high", "low", "trough", "moved")},
                "drop": str(self._seg_drop),
                "falls": [[str(fall.peak), str(fall.equity), str(fall.moved)] for fall in self._falls],
            },
            "returns": self._returns.state(),
        }

    @classmethod
    def of_state(
        cls,
        state: dict[str, Any],
        *,
        tz: str | None = None,
        bucket: Literal["day", "hour"] | None = None,
        days_per_year: float | None = None,
    ) -> Curve:
        """The curve that `state` told of.

        What is given goes before what it says. Buckets in another timezone or of another length are no buckets any
        more: then the returns for Sharpe begin anew, and all else stays.

        Raises:
            ValueError: It is no such state.
        """
        try:
            return cls._of_state(state, tz, bucket, days_per_year)
        except (KeyError, TypeError, ArithmeticError, AttributeError) as error:
            raise ValueError(f"no state of a curve: {type(error).__name__}: {error}") from error

    @classmethod
    def _of_state(
        cls, state: dict[str, Any], tz: str | None, bucket: Literal["day", "hour"] | None, days_per_year: float | None
    ) -> Curve:
        if state["version"] != _VERSION:
            raise ValueError(f"the state of a curve of version {state['version']!r}, not {_VERSION}")
        start = state["starting_equity"]
        curve = cls(
            None if start is None else read(start), tz or state["tz"], bucket or state["bucket"],
            state["days_per_year"] if days_per_year is None else days_per_year,
        )  # fmt: skip
        curve.equity, curve.peak, curve._bottom, curve._worst = (
            read(state[name]) for name in ("equity", "peak", "bottom", "worst")
        )
        curve._deepest = None if state["deepest"] is None else Fall(*map(read, state["deepest"]))
        segment = state["segment"]
        for name in ("first", "high", "low", "trough", "moved"):
            setattr(curve, f"_{name}", read(segment[name]))
        curve._seg_drop = read(segment["drop"])
        curve._falls = [Fall(*map(read, fall)) for fall in segment["falls"]]
        if (curve.calendar.tz, curve._returns.bucket) == (state["tz"], state["bucket"]):
            curve._returns.restore(state["returns"])
            curve._early, curve._until = curve._returns.early, curve._returns.until
        return curve
