"""What everything came to, as plain values: for the command line, and to compare two builders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botobs.accounting.numbers import text
from botobs.metricpack.trade import OUTCOMES

if TYPE_CHECKING:
    from botobs.metricpack.builder import Builder

__all__ = ["summary_of"]


def summary_of(builder: Builder | None) -> dict[str, Any]:
    """Counts and figures; decimals as text, what is undefined as `None`.

    Example:
        >>> from botobs.metricpack.builder import Builder
        >>> summary_of(Builder())["trades"]
        0
    """
    if builder is None:
        return {}
    counts = builder.memory.counts
    return {
        "events": counts.get("events", 0),
        "trades": counts.get("closed", 0),
        "open_trades": builder.open_trades,
        "duplicates": counts.get("duplicates", 0),
        "unreadable": counts.get("unreadable", 0),
        "ignored": dict(sorted(builder.memory.ignored.items())),
        "actions": [
            {
                "symbol": symbol, "regime": regime, "action": action, "realized_pnl": text(tally.pnl),
                "winrate": tally.win_rate, "exits": dict(zip(OUTCOMES, tally.exits, strict=True)),
                "trades": dict(zip(OUTCOMES, tally.trades, strict=True)),
            }
            for (symbol, regime, action), tally in sorted(builder.by_action.items())
        ],
        "regimes": [
            {
                "symbol": symbol, "regime": regime, "trades": found.stats.trades, "net": text(found.stats.net),
                "expectancy": _text(found.stats.expectancy.value), "profit_factor": found.stats.profit_factor.value,
                "time_in_trade_seconds": found.held.total, "mfe_atr": found.mfe.total, "mae_atr": found.mae.total,
                "measured": sum(found.mfe.counts),
            }
            for (symbol, regime), found in sorted(builder.by_regime.items())
        ],
    }  # fmt: skip


def _text(value: Any) -> str | None:
    return None if value is None else text(value)
