"""What it all comes to: one `Totals`, whoever asks."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs

from botobs.accounting.numbers import ZERO, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from botobs.accounting.book import Book
    from botobs.accounting.statistics import Sharpe

__all__ = ["Flows", "Totals", "plain"]


@attrs.frozen(kw_only=True)
class Totals:
    """What a window of the account's life came to; see "What the numbers mean" in the documentation.

    Attributes:
        gross_pnl: What was closed, before costs.
        fees: Paid is positive, a rebate negative.
        funding: Received is positive.
        accrued_funding: The part of `funding` that was due and has not been reported.
        realized_pnl: `gross_pnl - fees + funding`.
        unrealized_pnl: What the open positions are worth beyond their cost; in a window, its change.
        total_pnl: `realized_pnl + unrealized_pnl`.
        cash_flow: Σ quote_delta - fees.
        inventory: Signed quantity by symbol, now.
        equity: `starting_equity + transfers + total_pnl`, now.
        transfers: Money that was moved in, less what was moved out; no profit.
        peak_equity: The highest equity that was seen.
        drawdown: How far equity is below its peak, in money; `drawdown_pct` is the fraction.
        sharpe: From calendar buckets of equity.
        unpriced_fees: Fees in assets without a price, in no sum.
        by_currency: The exact sums of each currency.
        reasons: Why a figure is `None`, or what it leaves out.
        window: From and to (RFC 3339).
    """

    gross_pnl: Decimal = ZERO
    fees: Decimal = ZERO
    funding: Decimal = ZERO
    accrued_funding: Decimal = ZERO
    realized_pnl: Decimal = ZERO
    unrealized_pnl: Decimal = ZERO
    total_pnl: Decimal = ZERO
    cash_flow: Decimal = ZERO
    volume: Decimal = ZERO
    maker_volume: Decimal = ZERO
    taker_volume: Decimal = ZERO
    fills: int = 0
    inventory: Mapping[str, Decimal] = attrs.field(factory=dict)
    equity: Decimal | None = None
    transfers: Decimal = ZERO
    peak_equity: Decimal | None = None
    drawdown: Decimal | None = None
    drawdown_pct: float | None = None
    max_drawdown: Decimal | None = None
    max_drawdown_pct: float | None = None
    sharpe: Sharpe | None = None
    unpriced_fees: Mapping[str, Decimal] = attrs.field(factory=dict)
    by_currency: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    currency: str = "USD"
    reasons: Mapping[str, str] = attrs.field(factory=dict)
    window: tuple[str | None, str] = (None, "")

    def to_dict(self) -> dict[str, Any]:
        """As JSON: the same keys, decimals as strings."""
        found: dict[str, Any] = plain(attrs.asdict(self))
        found["window"] = {"from": self.window[0], "to": self.window[1]}
        return found


def plain(value: Any) -> Any:
    """`value` as JSON knows it; decimals become strings."""
    if isinstance(value, Decimal):
        return text(value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


_MONEY = ("gross", "fees", "funding", "accrued", "cash", "volume", "maker_volume", "taker_volume", "unrealized")


@attrs.define
class Flows:
    """The sums of some books that settle in one currency."""

    gross: Decimal = ZERO
    fees: Decimal = ZERO
    funding: Decimal = ZERO
    accrued: Decimal = ZERO
    cash: Decimal = ZERO
    volume: Decimal = ZERO
    maker_volume: Decimal = ZERO
    taker_volume: Decimal = ZERO
    unrealized: Decimal = ZERO
    fills: int = 0

    @classmethod
    def of(cls, books: Iterable[tuple[Book, Decimal | None]]) -> Flows:
        """Of books, each with its mark (`None`: it holds nothing that would need one)."""
        flows = cls()
        for book, mark in books:
            flows.gross += book.gross
            flows.fees += book.fees
            flows.funding += book.funding
            flows.accrued += book.accrued
            flows.cash += book.cash
            flows.volume += book.volume
            flows.maker_volume += book.maker_volume
            flows.taker_volume += book.taker_volume
            flows.fills += book.fills
            if mark is not None:
                flows.unrealized += book.unrealized(mark)
        return flows

    def less(self, earlier: Flows) -> Flows:
        """What came since `earlier`."""
        less = Flows(*(getattr(self, key) - getattr(earlier, key) for key in _MONEY))
        less.fills = self.fills - earlier.fills
        return less

    def plus(self, other: Flows, rate: Decimal) -> None:
        """Add `other`, converted."""
        for key in _MONEY:
            setattr(self, key, getattr(self, key) + getattr(other, key) * rate)
        self.fills += other.fills

    def sums(self) -> dict[str, Any]:
        """The figures of `Totals` that are sums."""
        realized = self.gross - self.fees + self.funding
        return {
            "gross_pnl": self.gross,
            "fees": self.fees,
            "funding": self.funding,
            "accrued_funding": self.accrued,
            "realized_pnl": realized,
            "unrealized_pnl": self.unrealized,
            "total_pnl": realized + self.unrealized,
            "cash_flow": self.cash,
            "volume": self.volume,
            "maker_volume": self.maker_volume,
            "taker_volume": self.taker_volume,
            "fills": self.fills,
        }
