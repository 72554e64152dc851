"""What is held of one symbol at one place, by the project's position engine, in the order of the stream."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from botobs.accounting.instruments import Instrument
from botobs.accounting.numbers import ZERO
from botobs.accounting.position import Position

if TYPE_CHECKING:
    from botobs.accounting.trade import Change
    from botobs.metricpack.event import Execution

__all__ = ["Holding"]


class Holding(Position):
    """A position that keeps what it holds and what that cost, and nothing else. Runs under `numbers.EXACT`.

    The engine's sums are taken from each change; so the state stays small, and is the same after a restart. Entries
    count in the order in which they come: a stream says what happened in its own order, and what was told of an exit
    cannot be taken back when an older fill turns up.
    """

    __slots__ = ()

    @classmethod
    def of(cls, event: Execution) -> Holding:
        """An empty one, for the symbol of `event`."""
        return cls(Instrument(event.symbol, event.multiplier, event.inverse))

    def fill(self, signed: Decimal, price: Decimal, fee: Decimal, fee_in: str) -> Change:
        """Book a fill: what it closed, and what is held then."""
        return self._only(self._fill(("", 1, None, fee_in, signed, price, fee, None, None)))

    def hold(self, signed: Decimal, price: Decimal) -> Change:
        """Take over what was held before."""
        return self._only(self._move("", 1, signed, self.instrument.worth(signed, price), ZERO, price, 0))

    def _only(self, change: Change) -> Change:
        """Forget everything but what is held."""
        self.gross = self.fees = self.turn = ZERO
        self.other_volume = self.loose_gross = self.loose_fees = ZERO
        self._entry_qty = self._entry_worth = self._max_qty = ZERO
        self._inventory0 = self._turn0 = self._gross0 = self._fees0 = ZERO
        self.fills, self.last_price, self.trade_id = 0, None, None
        if self.unpriced:
            self.unpriced = {}
        self._closed.clear()
        return change

    def state(self) -> list[Any]:
        """All that matters of it, for JSON."""
        told = self.instrument
        return [str(self.inventory), str(self.basis), str(told.multiplier), told.inverse]

    @classmethod
    def of_state(cls, symbol: str, state: list[Any]) -> Holding:
        """One that goes on where `state` was taken.

        Raises:
            ValueError, TypeError, ArithmeticError: That is no such state.
        """
        inventory, basis, multiplier, inverse = state
        units = Decimal(multiplier)
        self = cls(Instrument(symbol, units, inverse) if units != 1 else Instrument(symbol, inverse=inverse))
        self.inventory, self.basis = Decimal(inventory), Decimal(basis)
        self._up = self.inventory > ZERO if self.inventory else None
        return self
