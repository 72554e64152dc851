"""Exact decimal arithmetic: how numbers come in, how they are worked with, and how they are written.

The money rooms run under the context `EXACT`, which raises rather than round: that nothing was rounded is not a
belief but checked at every operation. Where a division cannot come out even it is made by `divide`, and the
remainder stays with whatever was divided.

The bot's own decimal context, whatever it is, has no part in that: what is reached from outside is `exact`, or asks a
context of its own (`EXACT.add`, `divide`, `copy_abs`). Nor does the bot's code meet `EXACT`: what it wants to be called
with is called `as_the_bot`.
"""

from __future__ import annotations

import decimal
import functools
import threading
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["EXACT", "ROUGH", "ZERO", "as_the_bot", "divide", "exact", "middle", "number", "ratio", "root", "text"]

P = ParamSpec("P")
R = TypeVar("R")

ZERO = Decimal(0)
_TWO = Decimal(2)
_MOST_DIGITS = 300
_SHORT = 40  # text of no more than that is within both limits, unless it has an exponent
_FARTHEST = 400  # no price or quantity is beyond 1e400, which is more than a float can say


def _context(digits: int, *also: type[decimal.DecimalException]) -> decimal.Context:
    """Said in full: what is not said would be as the bot has `DefaultContext`."""
    return decimal.Context(
        prec=digits,
        rounding=decimal.ROUND_HALF_EVEN,
        Emin=-999_999,
        Emax=999_999,
        capitals=1,
        clamp=0,
        flags=[],
        traps=[*also, decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow],
    )


EXACT = _context(6_000, decimal.Inexact)  # wider than any sum of products of numbers within the limits above
_DIVISION = _context(34)
divide = _DIVISION.divide
root = _DIVISION.sqrt
#: For figures that are shown with fewer digits.
ROUGH = _context(10_000)


class _Bots(threading.local):
    """What the bot has set for itself on this thread, while `EXACT` stands in its place.

    No variable of the task's context: what runs under `EXACT` waits for no other task, and that costs every price.
    """

    context: decimal.Context | None = None


_bots = _Bots()
_FLOAT = float.__repr__  # numpy's float64 is a float whose own repr says more than the number


def number(value: Any) -> Decimal:
    """What `value` says, all its digits kept; floats and numpy scalars are taken as their shortest text.

    Example:
        >>> number(0.1), number("1e-7"), number(3)
        (Decimal('0.1'), Decimal('1E-7'), Decimal('3'))

    Raises:
        ValueError: It is no finite number, or beyond any market.
    """
    kind = type(value)
    try:
        if kind is str:
            found = Decimal(value)
        elif kind is float:
            found = Decimal(_FLOAT(value))
        elif kind is Decimal:
            found = value
        elif kind is int:
            found = _of_int(value)
        else:
            found = _of_other(value)
    except (decimal.InvalidOperation, ValueError, TypeError) as error:
        raise ValueError(f"not a number: {_shown(value)}") from error
    if not found.is_finite():
        raise ValueError(f"not a finite number: {_shown(value)}")
    if kind is float or (kind is str and len(value) <= _SHORT and -_SHORT <= found.adjusted() <= _SHORT):
        return found  # a float has 17 digits at most, and ends before 1e309
    if not -_FARTHEST <= found.adjusted() <= _FARTHEST or len(found.as_tuple().digits) > _MOST_DIGITS:
        if not found:
            return ZERO
        raise ValueError(f"beyond any market: {_shown(value)}")
    return found


def _of_int(value: int) -> Decimal:
    if value.bit_length() > 2_000:  # the conversion takes quadratic time
        raise ValueError("too large")
    return Decimal(value)


def _of_other(value: Any) -> Decimal:
    kind = type(value)
    if isinstance(value, bool) or kind.__name__ in ("bool_", "bool"):
        raise TypeError("a truth value")
    if isinstance(value, float):
        return Decimal(_FLOAT(value))
    if isinstance(value, Decimal):
        return Decimal(value)
    if isinstance(value, int):
        return _of_int(int(value))
    if isinstance(value, str):
        return Decimal(str.__str__(value))
    if getattr(value, "shape", None) == () and kind.__module__.partition(".")[0] == "numpy":
        return Decimal(str(value))
    raise TypeError(kind.__name__)


def text(value: Decimal) -> str:
    """`value` as it is written: plain digits, never an exponent.

    Example:
        >>> text(Decimal("1E-7")), text(Decimal("1.50")), text(Decimal("1E+3"))
        ('0.0000001', '1.50', '1000')
    """
    written = str(value)
    return format(value, "f") if "E" in written or "e" in written else written  # small, if the bot's context says so


def middle(one: Decimal, other: Decimal) -> Decimal:
    """The price between the two of a quote."""
    return divide(EXACT.add(one, other), _TWO)


def ratio(part: Decimal, whole: Decimal) -> Decimal | None:
    """`part / whole` to 34 digits; `None` where that is undefined."""
    return divide(part, whole) if whole else None


def exact(fn: Callable[P, R]) -> Callable[P, R]:
    """Run `fn` under `EXACT`, whatever context the bot has set for itself, and give the bot's back."""

    @functools.wraps(fn)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        before = decimal.getcontext()
        if before is EXACT:
            return fn(*args, **kwargs)
        _bots.context = before
        decimal.setcontext(EXACT)
        try:
            return fn(*args, **kwargs)
        finally:
            decimal.setcontext(before)

    return run


def as_the_bot(fn: Callable[P, R]) -> Callable[P, R]:
    """Run `fn`, which calls a function of the bot's, under the context that the bot has set for itself.

    Under `EXACT` a third could not be said, and a function that sets the precision would set it for all money.
    """

    @functools.wraps(fn)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if decimal.getcontext() is not EXACT:
            return fn(*args, **kwargs)
        bots = _bots.context or decimal.Context()
        decimal.setcontext(bots)
        try:
            return fn(*args, **kwargs)
        finally:
            decimal.setcontext(EXACT)
            _bots.context = bots  # what `fn` called may have been called under another one

    return run


def _shown(value: Any) -> str:
    try:
        said = repr(value)
    except Exception:  # a value that cannot even be shown
        said = type(value).__name__
    return said if len(said) <= 60 else f"{said[:57]}..."
