"""The nouns of money that an observer answers with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from botobs.accounting.numbers import exact
from botobs.accounting.windows import since
from botobs.clock import epoch_ns

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from decimal import Decimal
    from pathlib import Path

    from botobs.accounting.ledger import Verification
    from botobs.accounting.totals import Totals
    from botobs.money.funding import AccruedFunding
    from botobs.money.report import FillReport
    from botobs.money.room import Money
    from botobs.trackers.slippage import SlippageTracker
    from botobs.trackers.trades import TradeTracker

__all__ = ["LedgerNoun", "MoneyNouns", "Position"]


@attrs.frozen(kw_only=True)
class Position:
    """An open position.

    Attributes:
        qty: Signed.
        avg_px: The average price of what is held; harmonic for inverse contracts.
        mark: The price it is valued at.
        value: What it is worth at that, in its settlement currency.
        age_s: How long the round trip has been open, in seconds.
    """

    symbol: str
    qty: Decimal
    avg_px: Decimal | None
    mark: Decimal | None
    value: Decimal | None
    unrealized_pnl: Decimal | None
    currency: str
    side: str
    venue: str | None = None
    account: str | None = None
    position_side: str | None = None
    trade_id: str | None = None
    opened: str | None = None
    age_s: float | None = None


class LedgerNoun:
    """The ledger, to ask; and to append to."""

    def __init__(self, money: Money, fill: Callable[..., FillReport]) -> None:
        self._money = money
        self._fill = fill

    def append(self, order_id: Any = None, **fill: Any) -> FillReport:
        """Book a fill: the same as the verb."""
        return self._fill(order_id, **fill)

    def between(self, start: Any = None, end: Any = None) -> Iterator[dict[str, Any]]:
        """The lines from one exchange time up to another; only files that overlap are opened."""
        return self._money.ledger.between(start, end)

    def latest(self, n: int = 100) -> list[dict[str, Any]]:
        """The last lines, newest last."""
        return self._money.ledger.latest(n)

    def find(self, seq: int) -> dict[str, Any] | None:
        """The line with that number."""
        return self._money.ledger.find(seq)

    def verify(self) -> Verification:
        """Whether every line is there, unchanged and in order; else the first that is not."""
        return self._money.ledger.verify()

    def archive(self) -> Path | None:
        """Begin a new file now; where the old one is."""
        return self._money.ledger.archive()

    @property
    def pending(self) -> int:
        """Lines that are in memory only, because the disk does not take them."""
        return self._money.ledger.pending

    def __len__(self) -> int:
        return self._money.ledger.next_seq - 1

    def __repr__(self) -> str:
        root = self._money.ledger.root
        return f"<Ledger of {len(self)} lines {'in memory' if root is None else f'in {root}'}>"

    def __bool__(self) -> bool:
        return True


class MoneyNouns:
    """`ledger`, `totals`, `accrued`, `positions`, `trades`, `slippage`, `equity_curve`, `equity`."""

    _money: Money
    ledger: LedgerNoun

    @property
    def trades(self) -> TradeTracker:
        """Open and closed round trips."""
        self._money.tail.settle()
        return self._money.trades

    @property
    def slippage(self) -> SlippageTracker:
        """Decision prices, and what became of them."""
        self._money.tail.settle()
        return self._money.slippage

    @property
    def equity(self) -> Decimal | None:
        """What the account is worth now; `None` where `starting_equity` was not given."""
        return self._money.account.equity

    @property
    def positions(self) -> list[Position]:
        """Open positions, with their age."""
        return _positions(self._money)

    @property
    def accrued(self) -> tuple[AccruedFunding, ...]:
        """Funding that was due and whose payment was not reported yet, the oldest first."""
        money = self._money
        money.turn(money.account.wall())
        return money.funding.open

    def totals(self, window: Any = "all", *, kinds: Collection[str] | None = None) -> Totals:
        """What a window of the account's life came to.

        Args:
            window: `all`, a duration such as `6h`, or a time since when.
            kinds: Which fills count (`live`, `import`, `hedger_sim`); `None`: all but a hedger's simulation.

        Raises:
            ValueError: It is no window.
        """
        return self._money.totals(window, kinds=kinds)

    def equity_curve(self, window: Any = "all") -> list[dict[str, Any]]:
        """The written equity curve, oldest first: `ts`, `equity`, `peak`, `drawdown`, `drawdown_pct`, …, to plot.

        Raises:
            ValueError: It is no window.
        """
        money = self._money
        money.turn(money.account.wall())
        start = since(window, money.account.wall())
        found = money.samples.since(-1 if start is None else epoch_ns(start) - 1)
        return [{"ts": sample.ts, **{key: value for key, value in sample.record.items() if key != "segment"}}
                for sample in found]  # fmt: skip


@exact
def _positions(money: Money) -> list[Position]:
    account, found = money.account, []
    now = account.wall()
    with account.lock:
        for key, book in account.valuation.open_books():
            mark = account.valuation.mark(key, book)
            trip = book.trade
            opened = None if trip is None else trip.opened_ts
            found.append(
                Position(
                    symbol=key[2], qty=book.inventory, avg_px=book.avg_price, mark=mark,
                    value=None if mark is None else book.instrument.worth(book.inventory, mark),
                    unrealized_pnl=None if mark is None else book.unrealized(mark),
                    currency=account.valuation.settles(book), side="long" if book.inventory > 0 else "short",
                    account=key[0], venue=key[1], position_side=key[3],
                    trade_id=None if trip is None else trip.trade_id, opened=opened,
                    age_s=None if opened is None else max(now - epoch_ns(opened), 0) / 1e9,
                )
            )  # fmt: skip
    return found
