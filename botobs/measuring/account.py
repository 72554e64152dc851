"""Equity, positions and the ledger's totals, as they are when somebody collects."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from botobs.accounting.summing import totals
from botobs.clock import epoch_ns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botobs.accounting.account import Account
    from botobs.clock import Clock
    from botobs.events import TradeOpened
    from botobs.money.room import Money
    from botobs.sinks.metrics.readings import Said

__all__ = ["TOTALS", "AccountReading", "TotalsReading"]

WINDOWS: Final = ("all", "6h")

# the figures of Totals that are one number each
_FIGURES: Final = (
    "gross_pnl", "fees", "funding", "accrued_funding", "realized_pnl", "unrealized_pnl", "total_pnl", "cash_flow",
    "volume", "maker_volume", "taker_volume", "fills", "equity", "peak_equity", "drawdown", "drawdown_pct",
    "max_drawdown", "max_drawdown_pct",
)  # fmt: skip
#: The metrics that `TotalsReading` knows.
TOTALS: Final = (*(f"metrics_{figure}" for figure in _FIGURES), "metrics_sharpe")

_ALL: Final = ("all",)
_WAIT_S: Final = 1.0
_TOTALS_NS: Final = 10_000_000_000
_MOST_SYMBOLS: Final = 10_000


class AccountReading:
    """What the account is worth and what it holds.

    Args:
        money: Whose account.
        bot_version: The bot's version.
    """

    names = (
        "bot_equity_value", "bot_drawdown_current", "bot_position_size", "bot_position_age_seconds",
        "botobs_ledger_pending",
    )  # fmt: skip

    def __init__(self, money: Money, bot_version: str) -> None:
        self._money = money
        self._account = money.account
        self._version = bot_version
        self._held: dict[str, None] = {}  # every symbol that was held: it goes on with 0

    def opened(self, event: TradeOpened) -> None:
        """A position was opened: whenever it is closed, its size is 0 and no gap."""
        self._hold(event.symbol)

    def _hold(self, symbol: str | None) -> None:
        if symbol is not None and len(self._held) < _MOST_SYMBOLS:
            self._held[symbol] = None

    def __call__(self) -> Iterator[Said]:
        """As it is now."""
        account = self._account
        yield "botobs_ledger_pending", self._money.ledger.pending, ()
        wait_for(account)
        if account.terms.starting_equity is not None:
            yield "bot_equity_value", account.equity, ("all", self._version)
            yield "bot_drawdown_current", account.curve.drawdown_pct, _ALL
        sizes: dict[str, Decimal] = dict.fromkeys(self._held.copy(), Decimal(0))
        since: dict[str, str] = {}
        with account.lock:
            held = [(key[2], book.inventory, book.opened_ts) for key, book in account.valuation.open_books()]
        for symbol, qty, opened in held:
            sizes[symbol] = sizes.get(symbol, Decimal(0)) + qty
            self._hold(symbol)
            if opened is not None:
                since[symbol] = min(opened, since.get(symbol, opened))  # RFC 3339 in UTC: the order of the texts
        now = account.wall()
        for symbol, size in sizes.items():
            yield "bot_position_size", size, (symbol,)
        for symbol, opened in since.items():
            yield "bot_position_age_seconds", max(now - epoch_ns(opened), 0) / 1e9, (symbol,)


class TotalsReading:
    """`metrics_…`: the totals for all time and for the last six hours, reckoned anew every ten seconds at most.

    Args:
        money: Whose ledger.
        clock: The observer's clock.
    """

    names = TOTALS

    def __init__(self, money: Money, clock: Clock) -> None:
        self._money = money
        self._now = clock.perf_ns
        self._lock = threading.RLock()
        self._said: list[Said] = []
        self._at: int | None = None

    def __call__(self) -> list[Said]:
        """As they were ten seconds ago, or are now."""
        now = self._now()
        with self._lock:  # to reckon them twice at once would help nobody
            if self._at is None or not 0 <= now - self._at < _TOTALS_NS:
                wait_for(self._money.account)
                self._said = [said for window in WINDOWS for said in self._figures(window)]
                self._at = now
            return self._said

    def _figures(self, window: str) -> Iterator[Said]:
        """The figures of a window; what is undefined says nothing."""
        # not as a verb does it: who collects writes no point of the curve, and publishes nothing
        found = totals(self._money.account, window, samples=self._money.samples)
        for figure in _FIGURES:
            yield f"metrics_{figure}", getattr(found, figure), (window,)
        if found.sharpe is not None:
            yield "metrics_sharpe", found.sharpe.annualized, (window,)


def wait_for(account: Account) -> None:
    """Be sure that the account can be asked: a disk that hangs must not make the page hang.

    Raises:
        TimeoutError: Somebody holds it for long.
    """
    lock: Any = account.lock
    if not lock.acquire(timeout=_WAIT_S):
        raise TimeoutError("the account is busy")
    lock.release()
