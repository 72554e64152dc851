"""One open trade, from its first entry until next to nothing is left of it."""

from __future__ import annotations

import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from botobs.accounting.numbers import ZERO
from botobs.accounting.statistics import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from botobs.accounting.instruments import Instrument
    from botobs.metricpack.market import Bar

__all__ = ["FLAT", "LOSS", "OUTCOMES", "WIN", "Trade", "outcome_of"]

WIN, LOSS, FLAT = 0, 1, 2
OUTCOMES = ("win", "loss", "flat")

_INF = float("inf")
_HIGHEST = sys.float_info.max  # JSON has no infinity


def outcome_of(net: Decimal) -> int:
    """Which of `OUTCOMES` it is."""
    return WIN if net > 0 else LOSS if net < 0 else FLAT


class Trade:
    """What has to be known of a trade until it is closed.

    Attributes:
        opened_ns: Time of the first entry.
        up: Whether it is long.
        regime: `trend`, `chop` or `unknown`, at the entry.
        adx: The directional index that says so.
        atr: The average true range at the entry.
        carried: What an earlier trade had left of the position; it is not this trade's to close.
        gross: What exits brought so far.
        fees: Fees so far, rebates negative.
        funding: Funding so far, received less paid.
        qty: Everything that added to it, with the sign of the position; `worth` is what that was worth.
        high: The highest price of its own executions; `low`: the lowest.
        exits: How many exits of each action won, lost, and neither.
        realized: What it has brought and cost so far, by action.
    """

    __slots__ = (
        "adx", "atr", "carried", "exits", "fees", "funding", "gross", "high", "low", "opened_ns", "qty", "realized",
        "regime", "up", "worth",
    )  # fmt: skip

    def __init__(self, opened_ns: int, regime: str, *, up: bool, adx: float | None, atr: float | None) -> None:
        self.opened_ns = opened_ns
        self.up = up
        self.regime = regime
        self.adx = adx
        self.atr = atr
        self.carried = self.gross = self.fees = self.funding = self.qty = self.worth = ZERO
        self.high = 0.0
        self.low = _HIGHEST
        self.exits: dict[str, list[int]] = {}
        self.realized: dict[str, Decimal] = {}

    @property
    def outcome(self) -> Outcome:
        """What it came to by now."""
        return Outcome(gross=self.gross, fees=self.fees, funding=self.funding)

    def enter(self, signed: Decimal, worth: Decimal, price: Decimal, fee: Decimal) -> None:
        """Something was added; `signed` and `worth` have the sign of the position."""
        self.qty += signed
        self.worth += worth
        self.fees += fee
        self._see(price)

    def leave(self, action: str, gross: Decimal, fee: Decimal, price: Decimal) -> None:
        """A part of it, or all, was closed."""
        self.gross += gross
        self.fees += fee
        self._see(price)
        self.exits.setdefault(action, [0, 0, 0])[outcome_of(gross - fee)] += 1

    def _see(self, price: Decimal) -> None:
        seen = float(price)
        if seen < _INF:  # beyond what a float can say
            self.high = max(self.high, seen)
            self.low = min(self.low, seen)

    def excursions(self, bars: Sequence[Bar], instrument: Instrument) -> tuple[float, float] | None:
        """How far the price went for it and against it, in ATR; `None` without an ATR or an entry price.

        Args:
            bars: The bars that began and ended while it was open.
            instrument: How the symbol settles.
        """
        entry = instrument.price_of(self.qty, self.worth)
        if entry is None or not self.atr:
            return None
        at = float(entry)
        high = max(self.high, *(bar.high for bar in bars)) if bars else self.high
        low = min(self.low, *(bar.low for bar in bars)) if bars else self.low
        up, down = max(high - at, 0.0) / self.atr, max(at - low, 0.0) / self.atr
        if not up + down < _INF:
            return None
        return (up, down) if self.up else (down, up)

    def state(self) -> list[Any]:
        """All it knows, for JSON."""
        return [
            self.opened_ns, self.up, self.regime, self.adx, self.atr, str(self.gross), str(self.fees),
            str(self.funding), str(self.qty), str(self.worth), self.high, self.low, self.exits,
            {action: str(amount) for action, amount in self.realized.items()}, str(self.carried),
        ]  # fmt: skip

    @classmethod
    def of_state(cls, state: list[Any]) -> Trade:
        """One that goes on where `state` was taken.

        Raises:
            ValueError, TypeError, ArithmeticError: That is no such state.
        """
        opened, up, regime, adx, atr, gross, fees, funding, qty, worth, high, low, exits, realized, carried = state
        self = cls(opened, regime, up=up, adx=adx, atr=atr)
        self.gross, self.fees, self.funding = Decimal(gross), Decimal(fees), Decimal(funding)
        self.qty, self.worth, self.carried = Decimal(qty), Decimal(worth), Decimal(carried)
        self.high, self.low = float(high), float(low)
        self.exits = {action: list(counts) for action, counts in exits.items()}
        self.realized = {action: Decimal(amount) for action, amount in realized.items()}
        return self
