"""The first look: is it alive, what is it worth, what does it hold, may it trade."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from botobs.dashboards.source.board import board
from botobs.dashboards.source.panels import Query, chart, figure, states
from botobs.dashboards.source.queries import ALL, BOT, BPS, SYMBOL, quantile

if TYPE_CHECKING:
    from botobs.dashboards.source.panels import Panel

__all__ = ["SWITCH", "overview"]

SWITCH: Final = {"0": ("active", "green"), "1": ("reduce only", "orange"), "2": ("HALTED", "red")}
_UP: Final = {"0": ("DOWN", "red"), "1": ("up", "green")}
_SILENT: Final = {"0": ("ticking", "green"), "1": ("SILENT", "red")}
_GAIN: Final = ((None, "red"), (0, "green"))


def overview() -> Any:
    """The dashboard."""
    return board(
        "botobs-overview",
        "Bot: overview",
        "Whether the bot lives, what it is worth, what it holds, and whether it may trade.",
        [
            ("Now", _now()),
            ("Money", _money()),
            ("Positions and trades", _positions()),
            ("Signals", _signals()),
            ("Feeds and safety", _safety()),
        ],
    )


def _now() -> list[Panel]:
    return [
        figure("Bot", "Whether the last scrape reached it.", "none", f"min(up{{{BOT}}})", words=_UP, empty="no target",
               width=3),
        figure("Kill switch", "active: it trades; reduce only: it may only close; HALTED: no order leaves.", "none",
               f"max(bot_kill_switch_state{{{BOT}}})", words=SWITCH, width=3),
        figure("Loop", "SILENT: the process lives, and has ended no tick for several times its usual interval.",
               "none", f"max(bot_silent{{{BOT}}})", words=_SILENT, width=3),
        figure("Last tick", "How long ago the last tick ended.", "s", f"max(bot_tick_age_seconds{{{BOT}}})", width=3,
               empty="no tick yet", decimals=1),
        figure("Equity", "What the account is worth.", "short", f"sum(bot_equity_value{{{BOT}}})", width=3, decimals=2,
               empty="undefined"),
        figure("Drawdown", "How far equity is below its peak.", "percentunit", f"max(bot_drawdown_current{{{BOT}}})",
               width=3, empty="undefined", steps=((None, "green"), (0.05, "orange"), (0.1, "red"))),
        figure("PnL", "Realized and unrealized, since the ledger began.", "short", f"sum(metrics_total_pnl{{{ALL}}})",
               width=3, empty="undefined", steps=_GAIN, decimals=2),
        figure("PnL, 6 h", "Realized and unrealized, of the last six hours.", "short",
               f'sum(metrics_total_pnl{{{BOT}, window="6h"}})', width=3, empty="undefined", steps=_GAIN, decimals=2),
    ]  # fmt: skip


def _money() -> list[Panel]:
    return [
        chart("Equity and its peak", "What the account is worth, and the most it was worth.", "short",
              Query(f"bot_equity_value{{{BOT}}}", "equity {{instance}}"),
              Query(f"metrics_peak_equity{{{ALL}}}", "peak {{instance}}"), empty="undefined", width=12),
        chart("Drawdown", "How far equity is below its peak, as a part of the peak.", "percentunit",
              Query(f"bot_drawdown_current{{{BOT}}}", "{{instance}}"), empty="undefined", width=12, zero=True),
        chart("PnL", "What closed trades brought before costs, what open ones stand at, and both less costs.", "short",
              Query(f"metrics_realized_pnl{{{ALL}}}", "realized {{instance}}"),
              Query(f"metrics_unrealized_pnl{{{ALL}}}", "unrealized {{instance}}"),
              Query(f"metrics_total_pnl{{{ALL}}}", "total {{instance}}")),
        chart("Fees and funding", "Paid in fees (less rebates); received as funding (less paid).", "short",
              Query(f"metrics_fees{{{ALL}}}", "fees {{instance}}"),
              Query(f"metrics_funding{{{ALL}}}", "funding {{instance}}"),
              Query(f"metrics_accrued_funding{{{ALL}}}", "of it accrued {{instance}}")),
        chart("Volume, 6 h", "Traded in the last six hours, as maker and as taker.", "short",
              Query(f'metrics_maker_volume{{{BOT}, window="6h"}}', "maker {{instance}}"),
              Query(f'metrics_taker_volume{{{BOT}, window="6h"}}', "taker {{instance}}"), stacked=True, zero=True),
    ]  # fmt: skip


def _positions() -> list[Panel]:
    return [
        chart("Positions", "Signed quantity held; short is below zero.", "short",
              Query(f"bot_position_size{{{SYMBOL}}}", "{{symbol}} {{instance}}"), empty="flat"),
        chart("Age of positions", "Since when the oldest open position of a symbol is held.", "s",
              Query(f"bot_position_age_seconds{{{SYMBOL}}}", "{{symbol}} {{instance}}"), empty="flat", zero=True),
        chart("Trades closed", "How many round trips ended, by symbol and side.", "short",
              Query(f"sum by (symbol, side) (increase(bot_trades_total{{{SYMBOL}}}[$__rate_interval]))",
                    "{{symbol}} {{side}}"), bars=True, stacked=True, zero=True),
        chart("PnL of trades", "Net result of round trips in basis points: the median and the tenths at both ends. "
              "A dot is a trade; a click on it opens the trace of its exit.", BPS,
              Query(quantile(0.9, "bot_trade_pnl_bps", "symbol"), "p90 {{symbol}}"),
              Query(quantile(0.5, "bot_trade_pnl_bps", "symbol"), "median {{symbol}}", exemplars=True),
              Query(quantile(0.1, "bot_trade_pnl_bps", "symbol"), "p10 {{symbol}}"), width=24),
        chart("Price events", "Round levels crossed, spikes and gaps, by symbol. The records tell what was held and "
              "done.", "short",
              Query(f"sum by (symbol, kind) (increase(bot_price_events_total{{{SYMBOL}}}[$__rate_interval]))",
                    "{{kind}} {{symbol}}"), width=24, bars=True, stacked=True, zero=True, empty="none"),
    ]  # fmt: skip


def _signals() -> list[Panel]:
    return [
        chart("Signal strength", "The last signal of each source.", "none",
              Query(f"bot_signal_strength{{{SYMBOL}}}", "{{symbol}} {{source}}"), empty="no signal with a strength"),
        chart("Confidence of the model", "Median and lowest tenth of what the model said of itself.", "percentunit",
              Query(quantile(0.5, "bot_model_confidence", "symbol"), "median {{symbol}}"),
              Query(quantile(0.1, "bot_model_confidence", "symbol"), "p10 {{symbol}}"),
              empty="no signal with a confidence"),
        chart("Stale features", "Features too old to decide on.", "short",
              Query(f"bot_stale_features{{{BOT}}}", "{{instance}}"), zero=True),
    ]  # fmt: skip


def _safety() -> list[Panel]:
    return [
        states("Kill switch", "Its state over time.", Query(f"bot_kill_switch_state{{{BOT}}}", "{{instance}}"),
               words=SWITCH),
        states("Loop", "Whether the loop turned.", Query(f"bot_silent{{{BOT}}}", "{{instance}}"), words=_SILENT),
        chart("Age of feeds", "How long ago each feed was heard of.", "ms",
              Query(f"bot_ws_staleness_ms{{{BOT}}}", "{{symbol}} {{instance}}"), zero=True, empty="no feed yet"),
        chart("Reconnects", "How often a feed was connected anew, in ten minutes.", "short",
              Query(f"sum by (symbol) (feed:bot_ws_reconnects:new_10m{{{BOT}}})", "{{symbol}}"), zero=True, bars=True,
              empty="none"),
        chart("Age of the last tick", "Beside it, what is usual: nine of ten ticks of the last day came sooner.", "s",
              Query(f"bot_tick_age_seconds{{{BOT}}}", "{{instance}}"),
              Query(f"instance:bot_tick_age_seconds:p90_1d{{{BOT}}}", "usual {{instance}}"), zero=True,
              empty="no tick yet"),
        chart("Orders refused by the kill switch", "In ten minutes, by the stage that asked.", "short",
              Query(f"sum by (stage) (stage:bot_kill_switch_refusals:new_10m{{{BOT}}})", "{{stage}}"), zero=True,
              bars=True, empty="none"),
        chart("Trips of the kill switch", "In ten minutes, by the limit that broke.", "short",
              Query(f"sum by (trigger) (trigger:bot_kill_switch_trips:new_10m{{{BOT}}})", "{{trigger}}"), zero=True,
              bars=True, empty="none"),
        chart("Funding", "1: the funding rate of a symbol is too old.", "none",
              Query(f"bot_funding_stale{{{SYMBOL}}}", "{{symbol}} {{instance}}"), zero=True,
              empty="no funding rate reported"),
    ]  # fmt: skip
