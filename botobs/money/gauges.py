"""The totals as gauges, for all time and for the last six hours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from botobs.accounting.totals import Totals

__all__ = ["WINDOWS", "publish_totals"]

WINDOWS: Final = ("all", "6h")

# the figures of Totals that are one number each
_FIGURES: Final = (
    "gross_pnl", "fees", "funding", "realized_pnl", "unrealized_pnl", "total_pnl", "cash_flow", "volume",
    "maker_volume", "taker_volume", "fills", "equity", "peak_equity", "drawdown", "drawdown_pct", "max_drawdown",
    "max_drawdown_pct",
)  # fmt: skip


def publish_totals(totals: Totals, window: str, gauge: Callable[..., None]) -> None:
    """Set `metrics_<figure>{window}`; what is undefined is left out."""
    for figure in _FIGURES:
        value: Any = getattr(totals, figure)
        if value is not None:
            gauge(f"metrics_{figure}", value, window=window)
    sharpe = totals.sharpe
    if sharpe is not None and sharpe.annualized is not None:
        gauge("metrics_sharpe", sharpe.annualized, window=window)
