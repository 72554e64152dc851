"""Round levels: which of them a price has crossed, each once however long it flutters around it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final, NamedTuple

from botobs.accounting.numbers import EXACT, text

__all__ = ["Crossing", "Levels", "usual_step"]

_APART: Final = (30, 130)  # a step of our own choice is kept while the price is between so many of it
_QUARTER: Final = Decimal("0.25")
_SURE: Final = 1e-9  # of a price: nearer than that to a level, the exact numbers decide


class Crossing(NamedTuple):
    """A price went over levels.

    Attributes:
        first: The one that it came to first.
        last: The one that it came to last, the nearest to where it is now.
        n: How many they are.
        up: Whether it rose.
        step: How far they lie apart.
    """

    first: Decimal
    last: Decimal
    n: int
    up: bool
    step: Decimal


def usual_step(price: Decimal) -> Decimal:
    """How far round levels lie apart: 1, 2 or 5 times a power of ten, from 1 % to 2.5 % of the price.

    Example:
        >>> [str(usual_step(Decimal(price))) for price in ("100000", "3000", "67", "0.3")]
        ['1000', '50', '1', '0.005']
    """
    exponent = price.adjusted() - 2
    part = EXACT.scaleb(price, -2)
    for digit in (1, 2, 5, 10):
        step = Decimal(digit).scaleb(exponent, EXACT)
        if step >= part:
            break
    return Decimal(text(step.normalize(EXACT)))


class Levels:
    """The levels around one price.

    A level that was reached is told at once. It is told again, in either direction, only after the price was a quarter
    of a step away from it: a price that flutters around a level says nothing new. So what was told last and where the
    price is never differ by more than that quarter.

    Args:
        step: How far they lie apart; `None`: as `usual_step` says, chosen anew when the price is another.

    Example:
        >>> levels = Levels(Decimal(1000))
        >>> crossed = [levels.price(Decimal(price)) for price in (99_500, 100_020, 99_990, 100_010, 99_700)]
        >>> [None if one is None else (str(one.last), one.up) for one in crossed]
        [None, ('100000', True), None, None, ('100000', False)]
    """

    __slots__ = ("_calm", "_fixed", "_muted", "_zone", "step")

    def __init__(self, step: Decimal | None = None) -> None:
        self._fixed = step
        self.step = step
        self._zone: int | None = None  # the price was told to be between level `_zone` and the next one
        self._muted: int | None = None  # the level told last, until the price was away from it
        self._calm = (0.0, 0.0)  # between these nothing can happen

    def price(self, price: Decimal) -> Crossing | None:
        """What a price, above zero, has crossed."""
        low, high = self._calm
        if low < float(price) < high:
            return None
        found = None
        if self._zone is None or self.step is None:
            self._begin(price)
        else:
            found = self._moved(price, self.step, self._zone)
        self._again(price)
        self._look()
        return found

    def _begin(self, price: Decimal) -> None:
        step = self.step = usual_step(price) if self._fixed is None else self._fixed
        self._zone = int(EXACT.divide_int(price, step))
        level = EXACT.multiply(Decimal(self._zone), step)
        self._muted = self._zone if level == price else None

    def _moved(self, price: Decimal, step: Decimal, zone: int) -> Crossing | None:
        below = int(EXACT.divide_int(price, step))
        on = EXACT.multiply(Decimal(below), step) == price
        first, last = 0, 0
        if below > zone:
            first, last, after = zone + 1, below, below
        elif below < zone or (on and below == zone):
            first = zone
            last = below if on else below + 1
            after = last - 1
        else:
            self._rest(price, step)
            return None
        if first == last == self._muted and not self._away(price, step):
            return None
        up = below > zone
        self._zone, self._muted = after, last
        self._rest(price, step)
        level = EXACT.multiply
        return Crossing(level(Decimal(first), step), level(Decimal(last), step), abs(last - first) + 1, up, step)

    def _away(self, price: Decimal, step: Decimal) -> bool:
        assert self._muted is not None
        away = EXACT.subtract(price, EXACT.multiply(Decimal(self._muted), step)).copy_abs()
        return away >= EXACT.multiply(step, _QUARTER)

    def _rest(self, price: Decimal, step: Decimal) -> None:
        """A level that the price is away from counts again."""
        if self._muted is not None and self._away(price, step):
            self._muted = None

    def _again(self, price: Decimal) -> None:
        """Another step, where the price has become another."""
        step = self.step
        if self._fixed is not None or step is None:
            return
        if EXACT.multiply(step, Decimal(_APART[0])) <= price <= EXACT.multiply(step, Decimal(_APART[1])):
            return
        muted, zone = self._muted, self._zone
        self._begin(price)
        if muted is None or zone is None or self.step is None:
            return
        told = EXACT.multiply(Decimal(muted), step)
        if EXACT.remainder(told, self.step) == 0:
            self._muted = int(EXACT.divide_int(told, self.step))
            self._zone = self._muted - (zone < muted)  # on which side of it the price was told to be

    def _look(self) -> None:
        """Between which prices nothing can happen, for a glance at most prices."""
        assert self._zone is not None
        assert self.step is not None
        self._calm = (0.0, 0.0)
        if self._muted is not None:
            return
        step = float(self.step)
        try:
            low, high = self._zone * step, (self._zone + 1) * step
        except OverflowError:  # a step that is nothing beside the price
            return
        if self._fixed is None:
            low, high = max(low, _APART[0] * step), min(high, _APART[1] * step)
        self._calm = (low * (1 + _SURE), high * (1 - _SURE))

    # -- over a restart ----------------------------------------------------------------------------------------------

    def state(self) -> list[Any]:
        """All it knows, for JSON."""
        return [None, None, None] if self.step is None else [text(self.step), self._zone, self._muted]

    def restore(self, state: Any) -> None:
        """Go on where `state` was taken, unless the step is another by now.

        Raises:
            ValueError: It is no such state.
        """
        said, zone, muted = state
        if zone is None:  # there was no price yet
            return
        if type(said) is not str or type(zone) is not int or not (muted is None or type(muted) is int):
            raise ValueError("not the state of levels")
        try:
            step = Decimal(said)
        except ArithmeticError as error:
            raise ValueError("not the state of levels") from error
        if not (step.is_finite() and step > 0 and zone >= -1):
            raise ValueError("not the state of levels")
        if self._fixed is None or self._fixed == step:
            self.step, self._zone, self._muted = step, zone, muted
            self._look()
