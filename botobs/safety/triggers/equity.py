"""Limits on equity: a floor, a drawdown, the loss of a day.

Each works out beforehand at which equity it warns and at which it breaks, so that to observe is to compare.
Money moved in or out shifts all of it, so that it is neither profit nor loss.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from botobs.accounting.numbers import EXACT, ZERO, divide, number
from botobs.safety.triggers.base import Trigger, Verdict, duration, text_of

if TYPE_CHECKING:
    from botobs.safety.pace import Pace

__all__ = ["DailyLoss", "Drawdown", "EquityBelow", "FromPeak", "OfEquity"]

_plus, _minus, _times = EXACT.add, EXACT.subtract, EXACT.multiply
_CALMER = Decimal("0.9")
_STEP = Decimal("0.0001")  # a peak that is higher by that much is remembered at once
_DAYS_KEPT = 3
_NEVER = Decimal("-Infinity")
_FIRST_S = 300.0


def _span_or_none(value: Any) -> float | None:
    return None if value is None else duration(value)


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class OfEquity(Trigger):
    """A limit on equity.

    Args:
        stale_after: How old the last known equity may be; `None`: it does not age. A run that was told none at all has
            five minutes.
    """

    feed: ClassVar[str] = "equity"

    stale_after: float | None = attrs.field(default=None, kw_only=True, converter=_span_or_none)

    value: Decimal | None = attrs.field(default=None, init=False, repr=False)
    moved: Decimal = attrs.field(default=ZERO, init=False, repr=False)
    halt_at: Decimal = attrs.field(default=_NEVER, init=False, repr=False)
    near_at: Decimal = attrs.field(default=_NEVER, init=False, repr=False)
    calm_at: Decimal = attrs.field(default=_NEVER, init=False, repr=False)
    begun_at: int = attrs.field(default=0, init=False, repr=False)
    known_at: int = attrs.field(default=0, init=False, repr=False)  # in this run; 0: never
    saved: Decimal | None = attrs.field(default=None, init=False, repr=False)  # the value that is remembered

    def observe(self, value: Decimal | None, peak: Decimal | None, moved: Decimal) -> Verdict:
        """Equity is `value`; `moved` is all that was ever moved in, less what was moved out."""
        if value is None:
            return Verdict.UNKNOWN
        if moved is not self.moved and moved != self.moved:
            self.shift(_minus(moved, self.moved))
            self.moved = moved
            self.stirred = True
        self.meet(value, peak)
        self.value = value
        if self.stale_after is not None or not self.known_at:
            self.known_at = self.pace.steady()
        if value >= self.calm_at:
            return Verdict.FINE
        if self.breaks(value):
            return Verdict.BROKEN
        return Verdict.NEAR if value <= self.near_at else Verdict.SOME

    def meet(self, value: Decimal, peak: Decimal | None) -> None:
        """Work out the levels anew, if `value` changes them."""
        raise NotImplementedError

    def breaks(self, value: Decimal) -> bool:
        """Whether `value` is beyond the limit."""
        return value <= self.halt_at

    def shift(self, by: Decimal) -> None:
        """Money was moved."""
        if self.value is not None:
            self.value = _plus(self.value, by)

    def counts_from(self) -> Decimal | None:
        """The equity that nothing of the limit is used at."""
        raise NotImplementedError

    def levels(self, top: Decimal, halt: Decimal) -> None:
        """Warn and break between `top`, where nothing is used, and `halt`, where all is."""
        way = _minus(top, halt)
        if way <= 0:
            self.halt_at = self.near_at = self.calm_at = halt
            return
        share = number(self.warn_at)
        self.halt_at = halt
        self.near_at = _minus(top, _times(way, share))
        self.calm_at = _minus(top, _times(_times(way, share), _CALMER))

    def passing(self) -> Verdict | None:
        """Time has passed."""
        limit_s = self.stale_after
        if limit_s is None:
            if self.known_at:
                return None
            limit_s = _FIRST_S  # a limit of what nobody ever tells protects nobody
        return Verdict.UNKNOWN if self.pace.steady() - (self.known_at or self.begun_at) > limit_s * 1e9 else None

    def begin(self, pace: Pace) -> None:
        """A run begins."""
        super().begin(pace)
        self.begun_at = pace.steady()

    def used(self) -> float | None:
        """Which share of the limit is used."""
        top = self.counts_from()
        if top is None or self.value is None or self.halt_at == _NEVER:
            return None
        way = _minus(top, self.halt_at)
        return float(divide(_minus(top, self.value), way)) if way > 0 else 1.0

    def inputs(self) -> dict[str, Any]:
        """The figures that decide it."""
        limit = None if self.halt_at == _NEVER else self.halt_at
        said = {"equity": self.value, "limit": limit, "counted_from": self.counts_from()}
        return {key: text_of(value) for key, value in said.items() if value is not None}

    def state(self) -> dict[str, Any]:
        """What it has to remember."""
        return {**super().state(), "value": text_of(self.value), "moved": text_of(self.moved)}

    def restore(self, state: dict[str, Any]) -> None:
        """Remember."""
        self.value, self.moved = _read(state.get("value")), number(state.get("moved", "0"))
        super().restore(state)


def _read(value: Any) -> Decimal | None:
    return None if value is None else number(value)


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class FromPeak(OfEquity):
    """A limit that counts from the highest equity."""

    top: Decimal | None = attrs.field(default=None, init=False, repr=False)
    kept: Decimal = attrs.field(default=_NEVER, init=False, repr=False)  # from here on it is remembered at once
    own: bool = attrs.field(default=False, init=False, repr=False)  # counts from a reset, not from the account's peak

    def meet(self, value: Decimal, peak: Decimal | None) -> None:
        """Work out the levels anew, if `value` changes them."""
        top = self.top
        if top is not None and value <= top:
            return
        if top is None and peak is not None and peak > value and not self.own:
            self.top = peak
        else:
            self.top = value
        self.stirred = True
        if self.top > self.kept:
            self.pressing = True
            self.kept = _plus(self.top, _times(self.top.copy_abs(), _STEP))
        self._levels()

    def _levels(self) -> None:
        raise NotImplementedError

    def shift(self, by: Decimal) -> None:
        """Money was moved."""
        super().shift(by)
        if self.top is not None:
            self.top = _plus(self.top, by)
            self.kept = _NEVER
            self._levels()

    def counts_from(self) -> Decimal | None:
        """The equity that nothing of the limit is used at."""
        return self.top

    def rearm(self) -> None:
        """Count anew."""
        super().rearm()
        self.top, self.own = self.value, True
        if self.top is not None:
            self._levels()

    def state(self) -> dict[str, Any]:
        """What it has to remember."""
        return {**super().state(), "top": text_of(self.top), "own": self.own}

    def restore(self, state: dict[str, Any]) -> None:
        """Remember."""
        super().restore(state)
        self.top, self.own = _read(state.get("top")), bool(state.get("own"))
        if self.top is not None:
            self._levels()


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class EquityBelow(FromPeak):
    """Equity is below a floor.

    It warns on the way from the peak to the floor. A reset does not move the floor: equity that is still below it
    trips again.

    Args:
        floor: The lowest equity that is allowed.

    Example:
        >>> EquityBelow(9000, confirm=2).label
        'EquityBelow(9000)'
    """

    floor: Decimal = attrs.field(converter=number)

    def breaks(self, value: Decimal) -> bool:
        """Whether `value` is beyond the limit."""
        return value < self.halt_at

    def _levels(self) -> None:
        assert self.top is not None
        self.levels(self.top, self.floor)


def _fraction(value: Any) -> Decimal:
    found = number(value)
    if not 0 < found < 1:
        raise ValueError(f"Drawdown({value!r}) is wrong: it takes a fraction between 0 and 1, such as 0.10")
    return found


def _positive(value: Any) -> Decimal:
    found = number(value)
    if found <= 0:
        raise ValueError(f"{value!r} is wrong: it takes an amount above 0")
    return found


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class Drawdown(FromPeak):
    """Equity has fallen by a fraction of its peak.

    After a reset the peak is counted from the equity there is then.

    Args:
        limit: The fraction: 0.10 is ten per cent.
    """

    limit: Decimal = attrs.field(converter=_fraction)

    def _levels(self) -> None:
        top = self.top
        assert top is not None
        if top > 0:
            self.levels(top, _minus(top, _times(top, self.limit)))
        else:  # a fraction of nothing is undefined
            self.halt_at = self.near_at = self.calm_at = _NEVER


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class DailyLoss(OfEquity):
    """Equity has fallen by an amount since the day began, in the timezone of the settings.

    The day begins with the last equity known before it. After a reset it begins with the equity there is then.

    Args:
        limit: The amount.
    """

    limit: Decimal = attrs.field(converter=_positive)

    days: dict[int, Decimal] = attrs.field(factory=dict, init=False, repr=False)
    day: int = attrs.field(default=-1, init=False, repr=False)

    def meet(self, value: Decimal, peak: Decimal | None) -> None:  # noqa: ARG002  # a day's loss knows no peak
        """Work out the levels anew, if `value` changes them."""
        today = self.pace.day()
        if today == self.day:
            return
        if today < self.day:  # the clock was ahead: what it called tomorrow was not
            begun = self.days[self.day]
            self.days = {day: start for day, start in self.days.items() if day <= today}
            self.days.setdefault(today, begun)
        else:
            self.days[today] = value if self.value is None else self.value
        while len(self.days) > _DAYS_KEPT:
            del self.days[min(self.days)]
        self.day = today
        self.pressing = True
        self._levels()

    def _levels(self) -> None:
        start = self.days[self.day]
        self.levels(start, _minus(start, self.limit))

    def shift(self, by: Decimal) -> None:
        """Money was moved."""
        super().shift(by)
        self.days = {day: _plus(start, by) for day, start in self.days.items()}
        if self.days:
            self._levels()

    def counts_from(self) -> Decimal | None:
        """The equity that nothing of the limit is used at."""
        return self.days.get(self.day)

    def rearm(self) -> None:
        """Count anew."""
        super().rearm()
        if self.value is not None and self.days:
            self.days = {self.day: self.value}
            self._levels()

    def state(self) -> dict[str, Any]:
        """What it has to remember."""
        return {**super().state(), "days": {str(day): text_of(start) for day, start in self.days.items()}}

    def restore(self, state: dict[str, Any]) -> None:
        """Remember."""
        super().restore(state)
        self.days = {int(day): number(start) for day, start in state["days"].items()}
        if self.days:
            self.day = max(self.days)
            self._levels()
