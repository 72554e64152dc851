"""Which symbols mean the same market, however an exchange, a library and a bot spell them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from botobs.accounting.instruments import guess

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Markets", "asset", "market"]

_KRAKEN = re.compile(r"[XZ]([A-Z]{3,4})[XZ]([A-Z]{3})")
_EXPIRY = re.compile(r"\d{6,8}|\d{1,2}[A-Z]{3}\d{2}|[FGHJKMNQUVXZ]\d{1,2}")
_PARTS = re.compile(r"[-_:/ ]")
_OPTION = re.compile(r"[-_]\d+(?:\.\d+)?[-_][CP]\b")
_FUTURES = re.compile(r"(?:PF|PI|FI|FF)_(?=[A-Z])")  # what Kraken puts in front of perpetuals and futures
_SAME = {"XBT": "BTC", "XDG": "DOGE", "BCC": "BCH"}
_cache: dict[str, str] = {}


def asset(name: str | None) -> str | None:
    """The usual name of an asset."""
    if not name:
        return None
    name = name.strip().upper()
    return _SAME.get(name, name)


def market(symbol: str) -> str:
    """The market of a symbol: base, quote, and an expiry if it has one.

    Example:
        >>> {market(symbol) for symbol in ("BTC/USDT", "BTCUSDT", "btc-usdt", "XBT/USDT", "BTC/USDT:USDT")}
        {'BTC/USDT'}
        >>> market("XXBTZUSD"), market("BTCUSDT_260327"), market("AAPL")
        ('BTC/USD', 'BTC/USDT 260327', 'AAPL')
    """  # fmt: skip
    found = _cache.get(symbol)
    if found is None:
        found = _market(symbol)
        if len(_cache) < 10_000:
            _cache[symbol] = found
    return found


def _market(symbol: str) -> str:
    said = _FUTURES.sub("", symbol.strip().upper())
    if _OPTION.search(said):
        return said
    kraken = _KRAKEN.fullmatch(said)
    if kraken is not None:
        return f"{asset(kraken[1])}/{asset(kraken[2])}"
    expiry = next((part for part in _PARTS.split(said)[1:] if _EXPIRY.fullmatch(part)), None)
    told = guess(said if expiry is None else _PARTS.split(said.replace(expiry, "").rstrip("-_: "), maxsplit=0)[0])
    if expiry is None or told.quote is None:
        told = guess(said)
    if not told.quote:  # nothing is known of such a name; half of it may stand for many markets
        return said
    pair = f"{asset(told.base)}/{asset(told.quote)}"
    return pair if expiry is None else f"{pair} {expiry}"


class Markets:
    """The markets of a statement, and which of them a symbol of ours is.

    Where a statement tells spot and swap apart (`BTC/USDT` and `BTC/USDT:USDT`), they stay apart here.
    """

    def __init__(self, symbols: Iterable[str]) -> None:
        self._spelled: dict[str, set[str]] = {}
        for symbol in symbols:
            self._spelled.setdefault(market(symbol), set()).add(symbol)

    def of(self, symbol: str) -> str:
        """The market of a symbol, as far as this statement tells them apart."""
        found = market(symbol)
        spelled = self._spelled.get(found, ())
        if len(spelled) < 2:
            return found
        if symbol in spelled:
            return symbol
        alike = [each for each in spelled if _settles(each) == _settles(symbol)]
        return min(alike) if alike else min(spelled)


def _settles(symbol: str) -> bool:
    said = symbol.upper()
    return ":" in said or any(word in said for word in ("SWAP", "PERP"))
