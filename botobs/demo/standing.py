"""How the account stands, as botobs tells it, and whether the exchange's own statement says the same."""

from __future__ import annotations

import io
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import attrs

from botobs.accounting.exchange import Comparison, compare, compare_summary, read_trades

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from botobs.accounting.exchange import Bad, ExchangeFill
    from botobs.accounting.totals import Totals
    from botobs.demo.exchange import Exchange
    from botobs.money.nouns import Position
    from botobs.observer import Observer
    from botobs.performance.summary import Summary
    from botobs.trackers.comparison import SlippageRow

__all__ = ["Agreement", "Standing"]


@attrs.frozen(kw_only=True)
class Standing:
    """What the nouns answer: of the account, since its first fill; `slippage`, since the start of this run."""

    totals: Totals
    positions: Sequence[Position]
    trades: Summary
    strategies: Mapping[str, Summary]
    slippage: Sequence[SlippageRow]

    @classmethod
    def of(cls, observer: Observer) -> Standing:
        """Ask an observer."""
        slippage = observer.slippage.stats("symbol")  # what waits to be counted is counted now
        return cls(
            totals=observer.totals(),
            positions=observer.positions,
            trades=observer.performance.summary("all"),
            strategies=observer.performance.by_strategy(),
            slippage=slippage,
        )

    @property
    def orders(self) -> int:
        """Orders of this run that were answered."""
        return sum(row.orders for row in self.slippage)

    @property
    def fills(self) -> int:
        """Fills of this run."""
        return sum(row.fills for row in self.slippage)

    @property
    def rejections(self) -> int:
        """Refusals in this run."""
        return sum(row.rejections for row in self.slippage)

    @property
    def slippage_bps(self) -> float | None:
        """Mean slippage, weighted by fills; `None`: none was measured."""
        rows = [(row.mean_bps, row.n) for row in self.slippage if row.mean_bps is not None]
        return sum(mean * n for mean, n in rows) / sum(n for _, n in rows) if rows else None


@attrs.frozen(kw_only=True)
class Agreement:
    """The ledger beside the exchange's statement.

    Attributes:
        fills: One by one.
        totals: What both come to.
    """

    fills: Comparison
    totals: Comparison

    @classmethod
    def of(cls, observer: Observer, exchange: Exchange) -> Agreement:
        """Compare, to the last digit."""
        statement = exchange.statement
        told: Iterable[ExchangeFill | Bad] = ()
        if statement.fills:  # an empty file tells nobody what it is
            told = read_trades(io.StringIO("".join(statement.trades())), format="jsonl")
        return cls(
            fills=compare(observer.ledger.between(), told, whole=True),
            totals=compare_summary(observer.totals(), exchange.totals(), tolerance=Decimal(0)),
        )

    @property
    def ok(self) -> bool:
        """Whether nothing is left over."""
        return self.fills.ok and self.totals.ok

    def plain(self) -> dict[str, Any]:
        """For programs."""
        return {"ok": self.ok, "fills": self.fills.plain(), "totals": self.totals.plain()["totals"]}
