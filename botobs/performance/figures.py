"""The statistics of some trades with the time they span; every formula is `accounting.statistics`'."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import orjson

from botobs.accounting.numbers import EXACT
from botobs.accounting.statistics import RunningStats
from botobs.performance.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from decimal import Decimal

    from botobs.accounting.statistics import Outcome
    from botobs.performance.closed import Closed
    from botobs.performance.summary import Session

__all__ = ["Figures"]

_RATIOS = (
    "win_rate", "profit_factor", "expectancy", "average_win", "average_loss", "payoff", "average_risk_reward",
)  # fmt: skip


class Figures:
    """Statistics of trades, one after the other in the order of their exits.

    Attributes:
        stats: What they came to.
        start: The first exit.
        end: The last one.
    """

    __slots__ = ("end", "start", "stats")

    def __init__(self) -> None:
        self.stats = RunningStats()
        self.start: str | None = None
        self.end: str | None = None

    @classmethod
    def of(cls, trades: Iterable[Closed]) -> Figures:
        """Those of `trades`, in their order."""
        found = cls()
        for trade in trades:
            found.add(trade, trade.outcome)
        return found

    @property
    def trades(self) -> int:
        """How many."""
        return self.stats.trades

    @property
    def net(self) -> Decimal:
        """What they made."""
        return self.stats.net

    def add(self, trade: Closed, outcome: Outcome) -> None:
        """One more trade, later than those before."""
        if self.start is None:
            self.start = trade.exit_ts
        self.end = trade.exit_ts
        self.stats.add(outcome)

    def copy(self) -> Figures:
        """The same, to go on from."""
        other = Figures()
        other.stats, other.start, other.end = copy.copy(self.stats), self.start, self.end
        return other

    def packed(self) -> bytes:
        """All of it, small, as JSON."""
        return orjson.dumps((self.start, self.end, self.stats.state()))

    @classmethod
    def unpacked(cls, packed: bytes) -> Figures:
        """The inverse of `packed`."""
        found = cls()
        found.start, found.end, state = orjson.loads(packed)
        found.stats = RunningStats.of_state(state)
        return found

    def summary(
        self,
        *,
        strategy: str | None = None,
        window: str = "all",
        session: Session | None = None,
        equity_before: Decimal | None = None,
        reasons: Mapping[str, str] | None = None,
    ) -> Summary:
        """What they came to, for people.

        Args:
            strategy: Whose trades they are.
            window: Which ones, in words.
            session: Of which session.
            equity_before: Equity before the first of them.
            reasons: What is to be said besides.
        """
        stats = self.stats
        why = dict(reasons or {})
        counts: dict[str, int] = {}
        ratios: dict[str, Any] = {}
        for name in _RATIOS:
            figure = getattr(stats, name)
            ratios[name], counts[name] = figure.value, figure.n
            if figure.reason is not None:
                why[name] = figure.reason
        if "expectancy" in why:
            why["average"] = why["expectancy"]
        sharpe = stats.sharpe
        counts["sharpe"] = sharpe.n
        if sharpe.reason is not None:
            why["sharpe"] = sharpe.reason
        if not stats.trades:
            why.update(dict.fromkeys(("best", "worst", "max_drawdown", "peak_pnl", "peak_equity"), "no trades"))
        elif equity_before is None:
            why["peak_equity"] = "no starting_equity to stand on"
        some = stats.trades > 0
        return Summary(
            strategy=strategy,
            window=window,
            session=session,
            start=self.start,
            end=self.end,
            trades=stats.trades,
            wins=stats.wins,
            losses=stats.losses,
            gross=stats.gross,
            net=stats.net,
            commissions=stats.commissions,
            funding=stats.funding,
            best=stats.best,
            worst=stats.worst,
            max_drawdown=stats.max_drawdown if some else None,
            peak_pnl=stats.peak if some else None,
            peak_equity=EXACT.add(equity_before, stats.peak) if some and equity_before is not None else None,
            sharpe=sharpe,
            streak=stats.streak,
            longest_win_streak=stats.longest_win,
            longest_loss_streak=stats.longest_loss,
            counts=counts,
            reasons=why,
            average=ratios["expectancy"],
            **ratios,
        )
