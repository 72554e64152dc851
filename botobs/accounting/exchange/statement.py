"""A statement's fills, indexed: what it covers, which rows it has twice, and which row an id means."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from botobs.accounting.exchange.fills import Bad
from botobs.accounting.exchange.markets import Markets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from decimal import Decimal

    from botobs.accounting.exchange.comparison import Comparison
    from botobs.accounting.exchange.fills import ExchangeFill

__all__ = ["FREE", "Statement", "fits"]

FREE = -1
_MOST_BAD = 1_000


class Statement:
    """The fills of a statement, in memory.

    Attributes:
        fills: Its fills, without the rows it has twice.
        claimed: For each of them, the `seq` of our fill that it is; `FREE`: none yet.
        names: For each of them, its market.
        last: The last price of each market.
        tells_fees: Whether it says anything of fees.
    """

    def __init__(
        self, rows: Iterable[ExchangeFill | Bad], found: Comparison, wanted: Callable[[ExchangeFill], bool]
    ) -> None:
        self.fills: list[ExchangeFill] = []
        for row in rows:
            if isinstance(row, Bad):
                found.bad_count += 1
                found.harmful += not row.harmless
                if len(found.bad) < _MOST_BAD:
                    found.bad.append(row)
            elif wanted(row):
                self.fills.append(row)
        self.markets = Markets({fill.symbol for fill in self.fills})
        self._by_id: dict[tuple[str, str], list[int] | int] = {}
        self._drop_duplicates(found)
        self.names = [self.markets.of(fill.symbol) for fill in self.fills]
        self.claimed = array("q", [FREE]) * len(self.fills)
        self.last: dict[str, Decimal] = {}
        latest: dict[str, str] = {}
        for name, fill in zip(self.names, self.fills, strict=True):
            if fill.ts >= latest.get(name, ""):
                latest[name], self.last[name] = fill.ts, fill.price
        self.tells_fees = any(fill.fee is not None for fill in self.fills)
        self.accounts = self._told("account")
        self.venues = self._told("venue")
        self.start = min((fill.ts for fill in self.fills), default=None)
        self.end = self._end()

    def _told(self, name: str) -> frozenset[str] | None:
        told = {(getattr(fill, name) or "").casefold() for fill in self.fills}
        return None if "" in told or not told else frozenset(told)

    def _end(self) -> str | None:
        end = max((fill.ts for fill in self.fills), default=None)
        if end is None:
            return None
        # a statement in whole seconds covers all of its last second, and so with milliseconds
        if all(fill.ts.endswith(".000000Z") for fill in self.fills):
            return f"{end[:-8]}.999999Z"
        return f"{end[:-4]}999Z" if all(fill.ts.endswith("000Z") for fill in self.fills) else end

    def _drop_duplicates(self, found: Comparison) -> None:
        kept: list[ExchangeFill] = []
        for fill in self.fills:
            if fill.fill_id is None:
                kept.append(fill)
                continue
            key = (self.markets.of(fill.symbol), fill.fill_id)
            same = self._at(key)
            twin = next((kept[index] for index in same if _identity(kept[index]) == _identity(fill)), None)
            if twin is None:
                self._by_id[key] = [*same, len(kept)] if same else len(kept)
                kept.append(fill)
            elif _content(twin) == _content(fill):
                found.duplicates.append(fill)
            else:
                found.conflicts.append((twin, fill))
        self.fills = kept

    def _at(self, key: tuple[str, str]) -> list[int]:
        at = self._by_id.get(key)
        return [] if at is None else [at] if isinstance(at, int) else at

    def free_with_id(self, market: str, fill: ExchangeFill) -> list[int]:
        """The rows with this fill's id that nobody claimed and that may be it."""
        if fill.fill_id is None:
            return []
        claimed = self.claimed
        at = self._at((market, fill.fill_id))
        return [index for index in at if claimed[index] == FREE and fits(fill, self.fills[index])]

    def free(self) -> Iterator[int]:
        """The rows that nobody claimed."""
        return (index for index, seq in enumerate(self.claimed) if seq == FREE)


def fits(ours: ExchangeFill, theirs: ExchangeFill) -> bool:
    """Whether venue and account, where both tell them, are the same."""
    return _agree(ours.venue, theirs.venue) and _agree(ours.account, theirs.account)


def _agree(a: str | None, b: str | None) -> bool:
    return a is None or b is None or a == b or a.casefold() == b.casefold()


def _identity(fill: ExchangeFill) -> tuple[str | None, ...]:
    return fill.order_id, fill.side, fill.venue, fill.account


def _content(fill: ExchangeFill) -> tuple[object, ...]:
    return fill.ts, fill.qty, fill.price, fill.fee, fill.fee_asset, fill.extra_fees
