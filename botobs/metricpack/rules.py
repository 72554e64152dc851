"""How events become trades: what a person may choose."""

from __future__ import annotations

import zlib
from decimal import Decimal
from typing import TYPE_CHECKING

import attrs

from botobs.metricpack.names import Names

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Rules"]


@attrs.frozen(kw_only=True)
class Rules:
    """How events become trades.

    Attributes:
        names: How the fields of an event are called.
        dust: What may be left of a trade when it is closed.
        dust_of: The same for single symbols.
        symbols: Which symbols count, in capitals; `None`: all.
        shard: Which part of all symbols is built here: the first, … of so many; `None`: all of them.
        most_symbols: How many symbols are told apart in the metrics; later ones are `other`.
        most_seen: How many events are remembered to tell duplicates.
    """

    names: Names = attrs.field(factory=Names)
    dust: Decimal = Decimal("0.001")
    dust_of: Mapping[str, Decimal] = attrs.field(factory=dict)
    symbols: frozenset[str] | None = None
    shard: tuple[int, int] | None = None
    most_symbols: int = 200
    most_seen: int = 10_000

    def elsewhere(self, symbol: str) -> bool:
        """Whether another process builds this symbol.

        Example:
            >>> [Rules(shard=(part, 2)).elsewhere("BTCUSDT") for part in (1, 2)]
            [True, False]
        """
        if self.shard is None:
            return False
        part, parts = self.shard
        return zlib.crc32(symbol.encode("utf-8", "replace")) % parts != part - 1
