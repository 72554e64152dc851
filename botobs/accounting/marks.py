"""The last price of everything, and what one currency is worth in another."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from botobs.accounting.numbers import divide, number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botobs.accounting.instruments import Instruments

__all__ = ["Currencies", "Marks"]

_ONE = Decimal(1)
_LIKE_USD = {"USDT": "USD", "USDC": "USD"}
_MOST = 20_000


class Currencies:
    """Which currencies count as one.

    Args:
        told: Table `[currencies]` of the settings: `USDT = "USDT"` lets it count for itself.
    """

    def __init__(self, told: Mapping[str, str] | None = None) -> None:
        self._as = {**_LIKE_USD, **{str(name).upper(): str(as_).upper() for name, as_ in (told or {}).items()}}

    def counts_as(self, currency: str) -> str:
        """What `currency` counts as."""
        upper = currency.upper()
        return self._as.get(upper, upper)

    def same(self, one: str, other: str) -> bool:
        """Whether both count as the same."""
        return self.counts_as(one) == self.counts_as(other)


class Marks:
    """The newest price per venue and symbol.

    A symbol that was never marked at a venue has the mark without a venue, else the newest of any venue.
    """

    def __init__(self, instruments: Instruments, currencies: Currencies) -> None:
        self._instruments = instruments
        self._currencies = currencies
        self.prices: dict[tuple[str | None, str], Decimal] = {}
        self._noted: dict[tuple[str | None, str], float] = {}  # of what nobody holds: read when they are needed
        self._any: dict[str, tuple[str | None, str]] = {}  # the key last marked, by symbol
        self._pairs: dict[tuple[str, str], tuple[str | None, str]] = {}  # (base, quote) -> the key last marked
        self.left_out = 0

    def note(self, venue: str | None, symbol: str, price: float) -> None:
        """Take a price that nobody needs yet; cheap."""
        noted = self._noted
        if len(noted) < _MOST:
            noted[venue, symbol] = price

    def settle(self) -> None:
        """Make marks of what was noted."""
        noted = self._noted
        while noted:
            try:
                key, price = noted.popitem()
            except KeyError:  # another thread was faster
                return
            self.set(*key, number(price))

    def set(self, venue: str | None, symbol: str, price: Decimal) -> bool:
        """Take a price; False if there are too many symbols already."""
        key = (venue, symbol)
        if self._noted:
            self._noted.pop(key, None)
        if key not in self.prices:
            if len(self.prices) >= _MOST:
                self.left_out += 1
                return False
            instrument = self._instruments.get(venue, symbol)
            if instrument.base and instrument.quote:
                self._pairs[self._pair(instrument.base, instrument.quote)] = key
        self.prices[key] = price
        self._any[symbol] = key
        return True

    def get(self, venue: str | None, symbol: str) -> Decimal | None:
        """The mark of `symbol` at `venue`."""
        if self._noted:
            self.settle()
        prices = self.prices
        found = prices.get((venue, symbol))
        if found is None and venue is not None:
            found = prices.get((None, symbol))
        if found is None:
            key = self._any.get(symbol)
            found = None if key is None else prices.get(key)
        return found

    def rate(self, currency: str, into: str, *, direct: bool = False) -> Decimal | None:
        """What one `currency` is worth in `into`, at the newest marks; `None`: nobody said.

        Args:
            currency: What is had.
            into: What is asked for.
            direct: Only by an instrument with that base and that quote.
        """
        if self._currencies.same(currency, into):
            return _ONE
        if self._noted:
            self.settle()
        key = self._pairs.get(self._pair(currency, into))
        if key is not None:
            return self.prices[key]
        if direct:
            return None
        key = self._pairs.get(self._pair(into, currency))
        return None if key is None else divide(_ONE, self.prices[key])

    def _pair(self, base: str, quote: str) -> tuple[str, str]:
        return base.upper(), self._currencies.counts_as(quote)
