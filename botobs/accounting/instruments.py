"""What a symbol means for money: what it settles in, how large one unit is, and whether it is inverse."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs

from botobs.accounting.numbers import ZERO, divide

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Instrument", "Instruments", "guess", "instrument_of"]

_ONE = Decimal(1)
# the currencies that end a symbol written in one word, the longest first
_QUOTES = (
    "FDUSD", "USDT", "USDC", "BUSD", "TUSD", "USDD", "USDP", "PYUSD", "RLUSD", "USDE", "DAI", "USD", "EUR", "GBP",
    "JPY", "CHF", "AUD", "CAD", "NZD", "TRY", "BRL", "KRW", "MXN", "ZAR", "PLN", "UAH", "ARS", "BTC", "ETH", "BNB",
    "XBT",
)  # fmt: skip
_SPLIT = re.compile(r"[/\-_]")
_WORD = re.compile(r"[A-Za-z0-9.]+")
_MOST = 10_000


@attrs.frozen
class Instrument:
    """How one symbol settles.

    Attributes:
        symbol: The symbol.
        multiplier: Units of the base per contract.
        inverse: Whether contracts are worth a fixed amount of the quote currency and settle in the base.
        base: What is bought and sold, if known.
        quote: What it is priced in, if known.
        dust: A remainder of at most this closes a trade.
    """

    symbol: str
    multiplier: Decimal = _ONE
    inverse: bool = False
    base: str | None = None
    quote: str | None = None
    dust: Decimal = ZERO

    @property
    def settle(self) -> str | None:
        """The currency that PnL comes in; `None`: not known, the account's own."""
        return self.base if self.inverse else self.quote

    def worth(self, qty: Decimal, price: Decimal) -> Decimal:
        """What `qty` at `price` counts for in the settlement currency; PnL is the difference of two worths.

        An inverse contract is worth less of the coin the higher the price, hence the minus.
        """
        if self.inverse:
            return -divide(qty * self.multiplier, price)
        return qty * price if self.multiplier is _ONE else qty * self.multiplier * price

    def price_of(self, qty: Decimal, worth: Decimal) -> Decimal | None:
        """The average price of `qty` that is worth `worth`: arithmetic mean, or harmonic for inverse contracts."""
        if not qty or not worth:
            return None
        if self.inverse:
            return divide(-qty * self.multiplier, worth)
        return divide(worth, qty * self.multiplier)


class Instruments:
    """The instruments known by name; an unknown symbol is linear, with multiplier 1 and what its name tells."""

    def __init__(self) -> None:
        self.known: dict[tuple[str | None, str], Instrument] = {}
        self._guessed: dict[str, Instrument] = {}

    def get(self, venue: str | None, symbol: str) -> Instrument:
        """The instrument of `symbol` at `venue`, else the one told for all venues, else a guess."""
        found = self.known.get((venue, symbol)) or self.known.get((None, symbol)) or self._guessed.get(symbol)
        if found is None:
            found = guess(symbol)
            if len(self._guessed) < _MOST:
                self._guessed[symbol] = found
        return found

    def declared(self, venue: str | None, symbol: str) -> bool:
        """Whether the bot said how `symbol` settles."""
        return bool(self.known) and ((venue, symbol) in self.known or (None, symbol) in self.known)

    def tell(self, venue: str | None, instrument: Instrument) -> bool:
        """Remember what the bot says of a symbol; whether that changes anything."""
        if self.known.get((venue, instrument.symbol)) == instrument:
            return False
        self.known[venue, instrument.symbol] = instrument
        return True


def guess(symbol: str, **told: Any) -> Instrument:
    """The instrument that a symbol's name suggests; `told` wins.

    Example:
        >>> guess("BTC/USDT:USDT").base, guess("BNB-USDT").quote, guess("ETHUSDC").quote, guess("AAPL").quote
        ('BTC', 'USDT', 'USDC', None)
    """
    base, quote = _parts(symbol)
    given: Mapping[str, Any] = {key: value for key, value in told.items() if value is not None}
    return Instrument(symbol, **{"base": base, "quote": quote, **given})


def _parts(symbol: str) -> tuple[str | None, str | None]:
    pair, _, _settle = symbol.strip().upper().partition(":")
    words = [word for word in _SPLIT.split(pair) if word]
    if len(words) >= 2 and all(_WORD.fullmatch(word) for word in words[:2]):
        if words[1] in _QUOTES or "/" in pair or len(words[1]) in (3, 4):
            quote = words[1]
            return (words[0], quote) if quote not in ("PERP", "SWAP", "SPOT") else _one_word(words[0])
        return _one_word(words[0])
    return _one_word(words[0] if words else "")


def _one_word(word: str) -> tuple[str | None, str | None]:
    for quote in _QUOTES:
        # XBTUSD is XBT in USD, not XB in TUSD
        if word.endswith(quote) and len(word) > len(quote) + (2 if quote == "TUSD" else 1):
            return word[: -len(quote)], quote
    return (word or None), None


def instrument_of(told: Mapping[str, Any]) -> Instrument:
    """An instrument as a state or a line tells it."""
    return Instrument(**{**told, "multiplier": Decimal(told["multiplier"]), "dust": Decimal(told.get("dust", "0"))})
