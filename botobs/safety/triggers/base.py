"""What all triggers share: what they do when broken, how they judge, and what they remember."""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from botobs.config.values import period
from botobs.safety.latch import HALTED, REDUCE_ONLY

if TYPE_CHECKING:
    from decimal import Decimal

    from botobs.safety.pace import Pace

__all__ = ["Trigger", "Verdict", "count", "duration", "figure", "name", "text", "text_of"]

_CALMER = 0.9  # a warning is given again when the figure was this much below where it warns


class Verdict(enum.IntEnum):
    """What an observation means."""

    FINE = 0
    SOME = 1  # below the warning, but not so far below that it would be given again
    NEAR = 2
    BROKEN = 3
    UNKNOWN = 4


def _target(value: Any) -> str:
    if value not in (HALTED, REDUCE_ONLY):
        raise ValueError(f"target = {value!r}: it takes 'halted' or 'reduce_only'")
    return str(value)


def _policy(value: Any) -> str:
    if value not in ("warn", "halt"):
        raise ValueError(f"on_unknown = {value!r}: it takes 'warn' or 'halt'")
    return str(value)


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ValueError(f"warn_at = {value!r}: it takes a share above 0 up to 1, such as 0.8")
    return float(value)


def count(value: Any) -> int:
    """A whole number from 1.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{value!r} is wrong: it takes a whole number from 1")
    return value


def duration(value: Any) -> float:
    """A duration in seconds.

    Raises:
        ValueError: It is none.
    """
    try:
        return period(value)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{value!r} is wrong: it takes a duration such as '30s'") from error


def name(value: Any) -> str:
    """A name.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{value!r} is wrong: it takes a name")
    return value


def figure(value: Any) -> float:
    """`value` as a number; NaN for what is none."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError, ArithmeticError):
        return math.nan
    return math.nan if isinstance(value, bool) else found


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class Trigger:
    """A limit. Made by whoever writes the bot; the switch works with a copy of its own.

    Args:
        target: The state it trips into: `halted` or `reduce_only`.
        confirm: How many observations in a row have to break it.
        on_unknown: What an unknown figure does: `warn`, or `halt` as if the limit were broken.
        warn_at: At which share of the limit a warning is given.
    """

    feed: ClassVar[str] = ""

    target: str = attrs.field(default=HALTED, kw_only=True, converter=_target)
    confirm: int = attrs.field(default=1, kw_only=True, converter=count)
    on_unknown: str = attrs.field(default="warn", kw_only=True, converter=_policy)
    warn_at: float = attrs.field(default=0.8, kw_only=True, converter=_share)

    bad: int = attrs.field(default=0, init=False, repr=False)  # observations in a row that broke it
    warned: bool = attrs.field(default=False, init=False, repr=False)
    lost: bool = attrs.field(default=False, init=False, repr=False)  # said to be unknown
    lost_at: int = attrs.field(default=0, init=False, repr=False)
    blind: bool = attrs.field(default=False, init=False, repr=False)  # said to be so for long
    told: bool = attrs.field(default=False, init=False, repr=False)  # tripped, or recorded while tripped already
    restless: bool = attrs.field(default=False, init=False, repr=False)  # any of them
    pressing: bool = attrs.field(default=False, init=False, repr=False)  # to be remembered now
    stirred: bool = attrs.field(default=False, init=False, repr=False)  # to be remembered within a second
    called: str = attrs.field(default="", init=False, repr=False)  # the label, made once
    pace: Pace = attrs.field(default=None, init=False, repr=False)

    @property
    def label(self) -> str:
        """How records name it: `EquityBelow(9000)`."""
        said = [
            f"{_shown(getattr(self, field.name))}"
            for field in attrs.fields(type(self))
            if field.init and not field.kw_only
        ]
        return f"{type(self).__name__}({', '.join(said)})"

    @property
    def key(self) -> str:
        """Under which name its memory is kept; limits may change, what was counted stays."""
        return type(self).__name__

    def begin(self, pace: Pace) -> None:
        """A run begins."""
        self.pace = pace
        self.called = self.label

    def used(self) -> float | None:
        """Which share of the limit is used."""
        return None

    def inputs(self) -> dict[str, Any]:
        """The figures that decide it."""
        return {}

    def passing(self) -> Verdict | None:
        """Time has passed; `None`: that alone changes nothing."""
        return None

    def verdict(self, *, broken: bool) -> Verdict:
        """What `used` means."""
        if broken:
            return Verdict.BROKEN
        used = self.used() or 0.0
        if used >= self.warn_at:
            return Verdict.NEAR
        return Verdict.SOME if used > self.warn_at * _CALMER else Verdict.FINE

    def settle(self) -> None:
        """Work out whether there is anything left to come back from."""
        self.restless = self.warned or self.lost or self.told or self.bad > 0

    def rearm(self) -> None:
        """A person has reset the switch: what was counted counts no more."""
        self.bad = 0
        self.warned = self.lost = self.told = self.restless = False
        self.pressing = True

    def state(self) -> dict[str, Any]:
        """What it has to remember."""
        return {"bad": self.bad, "warned": self.warned, "told": self.told} if self.restless else {}

    def restore(self, state: dict[str, Any]) -> None:
        """Remember.

        Raises:
            ValueError: It is no such state; so do `KeyError`, `TypeError` and `ArithmeticError`.
        """
        self.bad = int(state.get("bad", 0))
        self.warned, self.told = bool(state.get("warned")), bool(state.get("told"))
        self.settle()


def _shown(value: Any) -> str:
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    if callable(value):
        return str(getattr(value, "__name__", type(value).__name__))
    return str(value)


def text(value: Any, longest: int) -> str:
    """`value` as text; never raises."""
    try:
        return str(value)[:longest]
    except Exception:  # an object that cannot say what it is
        return type(value).__name__


def text_of(value: Decimal | None) -> str | None:
    """A figure as people read it, in plain digits: the zeros at the end of an exact sum say nothing.

    Example:
        >>> from decimal import Decimal
        >>> text_of(Decimal("9989.900")), text_of(Decimal("1E+3")), text_of(Decimal("NaN")), text_of(None)
        ('9989.9', '1000', 'NaN', None)
    """
    if value is None:
        return None
    written = f"{value:f}"
    return written.rstrip("0").rstrip(".") if "." in written else written
