"""How often each kind of price event came, and what followed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

__all__ = ["Counted", "Counts"]

KINDS: Final = ("level", "spike", "gap")


@attrs.frozen(kw_only=True)
class Counted:
    """The events of one kind, of one symbol.

    Attributes:
        symbol: Which market.
        kind: `level`, `spike` or `gap`.
        n: How many there were.
        held: In how many of them something was held of it (of the reference: of anything).
        followed: Of how many it is known what came after.
        acted: After how many of those the bot announced orders, or was filled.
        on_bps: The average move afterwards in the direction of the event; negative: the price came back.
        for_us_bps: The average move afterwards in favour of what was held of that symbol.
        reasons: Why something is `None`.
    """

    symbol: str
    kind: str
    n: int
    held: int
    followed: int
    acted: int
    on_bps: float | None
    for_us_bps: float | None
    reasons: Mapping[str, str] = attrs.field(factory=dict)


class _Sums:
    """What one line is made of."""

    __slots__ = ("acted", "followed", "held", "n", "on", "ons", "ours", "us")

    def __init__(self) -> None:
        self.n = self.held = self.followed = self.acted = self.ons = self.ours = 0
        self.on = self.us = 0.0


class Counts:
    """The lines of all symbols. Not locked."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], _Sums] = {}

    def came(self, symbol: str, kind: str, *, held: bool) -> None:
        """An event."""
        sums = self._sums.setdefault((symbol, kind), _Sums())
        sums.n += 1
        sums.held += held

    def followed(
        self, symbol: str, kind: str, move: float, direction: str | None, position: Decimal | None, *, acted: bool
    ) -> None:
        """What came after one; `position` is what was held at the event."""
        sums = self._sums.get((symbol, kind))
        if sums is None:
            return
        sums.followed += 1
        sums.acted += acted
        if direction is not None:
            sums.ons += 1
            sums.on += move if direction == "up" else -move
        if position:
            sums.ours += 1
            sums.us += move if position > 0 else -move

    def forget(self, symbol: str) -> None:
        """The symbol is followed no more."""
        for kind in KINDS:
            self._sums.pop((symbol, kind), None)

    def table(self) -> list[Counted]:
        """A line for each symbol and kind."""
        return [_shown(symbol, kind, sums) for (symbol, kind), sums in self._sums.items()]

    def state(self) -> list[list[Any]]:
        """All it knows, for JSON."""
        return [[*key, *(getattr(sums, name) for name in _Sums.__slots__)] for key, sums in self._sums.items()]

    def restore(self, state: Any) -> None:
        """Go on where `state` was taken.

        Raises:
            ValueError: It is no such state.
        """
        for symbol, kind, *values in state:
            named = dict(zip(_Sums.__slots__, values, strict=True))
            means = [named.pop("on"), named.pop("us")]
            if not all(type(one) is int and one >= 0 for one in named.values()) or kind not in KINDS:
                raise ValueError("not the state of counts")
            if not all(type(one) in (int, float) and math.isfinite(one) for one in means) or type(symbol) is not str:
                raise ValueError("not the state of counts")
            sums = self._sums[symbol, kind] = _Sums()
            for name, value in zip(_Sums.__slots__, values, strict=True):
                setattr(sums, name, value)


def _shown(symbol: str, kind: str, sums: _Sums) -> Counted:
    reasons: dict[str, str] = {}
    if not sums.ons:
        reasons["on_bps"] = "nothing followed yet" if not sums.followed else "none had a direction"
    if not sums.ours:
        reasons["for_us_bps"] = "nothing was held of it" if sums.followed else "nothing followed yet"
    return Counted(
        symbol=symbol, kind=kind, n=sums.n, held=sums.held, followed=sums.followed, acted=sums.acted,
        on_bps=sums.on / sums.ons if sums.ons else None, for_us_bps=sums.us / sums.ours if sums.ours else None,
        reasons=reasons,
    )  # fmt: skip
