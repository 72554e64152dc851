"""The `[fees]` table: what a fill costs when nobody says."""

from __future__ import annotations

import difflib
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from botobs.accounting.exchange.markets import market
from botobs.accounting.numbers import EXACT, number
from botobs.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FeeTable"]

_KEYS = {"maker": "maker", "maker_bps": "maker", "taker": "taker", "taker_bps": "taker"}
_BPS = Decimal("0.0001")
_MOST_BPS = 10_000
_MOST_KNOWN = 10_000
_TAKES = "basis points of the notional, such as taker_bps = 5 (0.05 %), negative for a rebate"

_Rates = dict[str, Decimal]


class FeeTable:
    """Fee rates in basis points of the notional, for all fills, a venue, a symbol, or a symbol at a venue.

    ```toml
    [fees]
    maker_bps = 2
    taker_bps = 5
    [fees.binance]
    taker_bps = 4
    [fees.binance."BNB/USDT"]
    taker_bps = 3
    [fees."BTC/USDT"]
    maker_bps = -0.5
    ```

    The nearest rate holds: of the symbol at the venue, of the symbol, of the venue, of all. A fill whose role nobody
    knows counts as a taker's. It is truthy if it has any rate.

    Example:
        >>> table = FeeTable.parse({"maker_bps": 2, "taker_bps": 5, "binance": {"taker": "0.04%"}})
        >>> table.fee("taker", "binance", "BTC/USDT", Decimal(1000)), table.fee(None, None, "X", Decimal(1000))
        (Decimal('0.400000'), Decimal('0.5000'))
    """

    def __init__(self, rates: Mapping[tuple[str | None, str | None], _Rates]) -> None:
        self._rates = rates
        self._known: dict[tuple[str | None, str | None, str], Decimal | None] = {}

    @classmethod
    def parse(cls, table: Any, origin: str = "botobs.toml") -> FeeTable:
        """Read `[fees]`; `None` and an empty table have no rates.

        Raises:
            ConfigError: A key or a value is wrong; the message names it and what is right.
        """
        rates: dict[tuple[str | None, str | None], _Rates] = {}
        if table is not None:
            _read(table, ("fees",), rates, origin)
        return cls(rates)

    def __bool__(self) -> bool:
        return bool(self._rates)

    def fee(self, role: str | None, venue: str | None, symbol: str, notional: Decimal) -> Decimal | None:
        """The fee of a fill, exactly; `None`: the table has no rate for it.

        Args:
            role: `maker` or `taker`; anything else counts as taker.
            venue: Where, if known.
            symbol: Of what; spellings of one market are the same.
            notional: The worth of the fill; its sign does not matter.
        """
        if not self._rates:
            return None
        key = ("maker" if role == "maker" else "taker", venue, symbol)
        try:
            rate = self._known[key]
        except KeyError:
            rate = self._find(*key)
            if len(self._known) < _MOST_KNOWN:
                self._known[key] = rate
        return None if rate is None else EXACT.multiply(EXACT.multiply(EXACT.abs(notional), rate), _BPS)

    def _find(self, role: str, venue: str | None, symbol: str) -> Decimal | None:
        at, of = None if venue is None else venue.casefold(), market(symbol)
        for place in ((at, of), (None, of), (at, None), (None, None)):
            rate = self._rates.get(place, {}).get(role)
            if rate is not None:
                return rate
        return None


def _read(table: Any, path: tuple[str, ...], rates: dict[tuple[str | None, str | None], _Rates], origin: str) -> None:
    if not isinstance(table, dict):
        raise ConfigError(f"{_dotted(path)} = {_shown(table)} ({origin}) is wrong; it takes a table with {_TAKES}")
    own: _Rates = {}
    for key, value in table.items():
        name = str(key)
        role = _KEYS.get(name.lower())
        if role is not None:
            rate = _rate(value, (*path, name), origin)
            if own.get(role, rate) != rate:
                raise ConfigError(f"{_dotted((*path, name))} ({origin}) is given twice, as {role} and {role}_bps")
            own[role] = rate
        elif isinstance(value, dict) and len(path) < 3:
            _read(value, (*path, name), rates, origin)
        else:
            near = difflib.get_close_matches(name.lower(), _KEYS, 1, 0.6)
            hint = (
                f"did you mean {near[0]}?" if near else f"it takes {', '.join(_KEYS)}, or a table of a venue or symbol"
            )
            raise ConfigError(f"unknown setting {_dotted((*path, name))} ({origin}); {hint}")
    if own:
        for place in _places(path):
            # a name may be a venue's or a symbol's; only one of them is ever asked for
            rates.setdefault(place, {}).update(own)


def _places(path: tuple[str, ...]) -> list[tuple[str | None, str | None]]:
    if len(path) == 1:
        return [(None, None)]
    if len(path) == 2:
        return [(path[1].casefold(), None), (None, market(path[1]))]
    return [(path[1].casefold(), market(path[2]))]


def _rate(value: Any, path: tuple[str, ...], origin: str) -> Decimal:
    wrong = f"{_dotted(path)} = {_shown(value)} ({origin}) is wrong"
    try:
        said = value.strip() if isinstance(value, str) else value
        if isinstance(said, str) and said.endswith("%"):
            found = EXACT.multiply(number(said[:-1].strip()), Decimal(100))
        else:
            found = number(said.lower().removesuffix("bps").strip() if isinstance(said, str) else said)
    except ValueError:
        raise ConfigError(f"{wrong}; it takes {_TAKES}") from None
    if abs(found) >= _MOST_BPS:
        raise ConfigError(f"{wrong}: that is all of the notional; it takes {_TAKES}")
    return found


def _dotted(path: tuple[str, ...]) -> str:
    return ".".join(part if part.isidentifier() else f'"{part}"' for part in path)


def _shown(value: Any) -> str:
    said = repr(value)
    return said if len(said) <= 80 else f"{said[:77]}..."
