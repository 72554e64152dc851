"""The last price of everything, and what one currency is worth in another."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from botobs.accounting.numbers import divide, middle, number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botobs.accounting.instruments import Instruments

__all__ = ["Currencies", "Marks"]

_ONE = Decimal(1)
_LIKE_USD = {"USDT": "USD", "USDC": "USD"}
_MOST = 20_000
_UNKNOWN = ("", "")


class Currencies:
    """Which currencies count as one.

    Args:
        told: Table `[currencies]` of the settings: `USDT = "USDT"` lets it count for itself.
    """

    def __init__(self, told: Mapping[str, str] | None = None) -> None:
        self.told = dict(told or {})
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

    A price without a venue is one for all venues. A symbol that was never marked at a venue, or is asked for without
    one, has the newest of any.

    Attributes:
        prices: The marks, by venue and symbol.
        noted: Prices of what nobody holds, read when they are needed; until then `prices` may not be the newest.
    """

    def __init__(self, instruments: Instruments, currencies: Currencies) -> None:
        self._instruments = instruments
        self._currencies = currencies
        self.prices: dict[tuple[str | None, str], Decimal] = {}
        # of what nobody holds, a price or the two around it: read when they are needed
        self.noted: dict[tuple[str | None, str], float | tuple[float, float]] = {}
        self._any: dict[str, tuple[str | None, str]] = {}  # the key last marked, by symbol
        self._venues: dict[str, set[str]] = {}  # where there is a newer price than the one without a venue, by symbol
        self._pair_of: dict[str, tuple[str, str] | None] = {}  # base and quote, by symbol
        self._pairs: dict[tuple[str, str], str] = {}  # base and quote -> the symbol last marked
        self.left_out = 0

    def note(self, venue: str | None, symbol: str, price: float | tuple[float, float]) -> None:
        """Take a price that nobody needs yet, or the best bid and ask around it; cheap."""
        noted = self.noted
        if len(noted) < _MOST:
            noted[venue, symbol] = price

    def settle(self) -> None:
        """Make marks of what was noted."""
        noted = self.noted
        while noted:
            try:
                key, price = noted.popitem()
            except KeyError:  # another thread was faster
                return
            exact = middle(number(price[0]), number(price[1])) if isinstance(price, tuple) else number(price)
            self.set(*key, exact)

    def set(self, venue: str | None, symbol: str, price: Decimal) -> bool:
        """Take a price; False if there are too many symbols already."""
        key = (venue, symbol)
        if self.noted:
            self.noted.pop(key, None)
        if key not in self.prices:
            if len(self.prices) >= _MOST:
                self.left_out += 1
                return False
            if venue is not None:
                self._venues.setdefault(symbol, set()).add(venue)
        self.prices[key] = price
        self._any[symbol] = key
        if venue is None and symbol in self._venues:  # it is newer than those of the venues
            for other in self._venues.pop(symbol):
                del self.prices[other, symbol]
        pair = self._pair_of.get(symbol, _UNKNOWN)
        if pair is _UNKNOWN:
            instrument = self._instruments.get(venue, symbol)
            base, quote = instrument.base, instrument.quote
            pair = self._pair_of[symbol] = self._pair(base, quote) if base and quote else None
        if pair is not None:
            self._pairs[pair] = symbol
        return True

    def told(self, symbol: str) -> None:
        """The bot said how `symbol` settles: it may be another pair than was thought."""
        pair = self._pair_of.pop(symbol, None)
        if pair is not None and self._pairs.get(pair) == symbol:
            del self._pairs[pair]
        key = self._any.get(symbol)
        if key is not None:
            self.set(*key, self.prices[key])

    def newest_last(self) -> list[tuple[str | None, str, Decimal]]:
        """Venue, symbol and price of every mark, so that setting them in this order comes to the same."""
        last, pairs = set(self._any.values()), set(self._pairs.values())
        order = {key: (key in last, key[1] in pairs, key[0] is not None) for key in self.prices}
        return [(*key, self.prices[key]) for key in sorted(self.prices, key=order.__getitem__)]

    def get(self, venue: str | None, symbol: str) -> Decimal | None:
        """The mark of `symbol` at `venue`."""
        if self.noted:
            self.settle()
        prices = self.prices
        if venue is not None:
            found = prices.get((venue, symbol))
            if found is None:
                found = prices.get((None, symbol))
            if found is not None:
                return found
        key = self._any.get(symbol)
        return None if key is None else prices.get(key)

    def rate(self, currency: str, into: str, *, direct: bool = False) -> Decimal | None:
        """What one `currency` is worth in `into`, at the newest marks; `None`: nobody said.

        Args:
            currency: What is had.
            into: What is asked for.
            direct: Only by an instrument with that base and that quote.
        """
        if self._currencies.same(currency, into):
            return _ONE
        if self.noted:
            self.settle()
        symbol = self._pairs.get(self._pair(currency, into))
        if symbol is not None:
            return self.get(None, symbol)
        if direct:
            return None
        symbol = self._pairs.get(self._pair(into, currency))
        price = None if symbol is None else self.get(None, symbol)
        return None if price is None else divide(_ONE, price)

    def _pair(self, base: str, quote: str) -> tuple[str, str]:
        return base.upper(), self._currencies.counts_as(quote)
