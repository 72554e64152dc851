"""Which strategy earns the money, and how the running day, week and month go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botobs.dashboards.source.board import board
from botobs.dashboards.source.panels import Query, chart, figure, grid
from botobs.dashboards.source.queries import ALL, BOT, BPS, SYMBOL

if TYPE_CHECKING:
    from botobs.dashboards.source.panels import Panel

__all__ = ["strategies"]


def strategies() -> Any:
    """The dashboard."""
    return board(
        "botobs-strategies",
        "Bot: strategies and sessions",
        "Round trips by strategy and by signal source, and the running sessions.",
        [("Sessions", _sessions()), ("Strategies", _strategies()), ("Account", _account())],
    )


def _sessions() -> list[Panel]:
    found = []
    for session in ("day", "week", "month"):
        chosen = f'{BOT}, session="{session}"'
        about = f"of the running {session}, in the bot's time zone"
        found += [
            figure(f"This {session}", f"Net PnL of round trips {about}.", "short",
                   f"sum(bot_session_net_pnl{{{chosen}}})", width=4, empty="no trade yet",
                   steps=((None, "red"), (0, "green")), decimals=2),
            figure("Trades", f"Round trips {about}.", "short", f"sum(bot_session_trades{{{chosen}}})", width=2,
                   empty="none"),
            figure("Won", f"Part of the round trips won, {about}.", "percentunit",
                   f"avg(bot_session_win_rate{{{chosen}}})", width=2, empty="undefined"),
        ]  # fmt: skip
    return [
        *found,
        chart("Net PnL of the sessions", "Each begins at zero.", "short",
              Query(f"sum by (session) (bot_session_net_pnl{{{BOT}}})", "{{session}}"), width=24, empty="no trade yet"),
    ]  # fmt: skip


def _strategies() -> list[Panel]:
    return [
        grid("Strategies", "Since the ledger began. What is undefined is left empty: a profit factor needs a loss.",
             "strategy", [
                 ("Trades", "short", f"sum by (strategy) (bot_strategy_trades_total{{{BOT}}})"),
                 ("Net PnL", "short", f"sum by (strategy) (bot_strategy_net_pnl{{{BOT}}})"),
                 ("Won", "percentunit", f"avg by (strategy) (bot_strategy_win_rate{{{BOT}}})"),
                 ("Profit factor", "none", f"avg by (strategy) (bot_strategy_profit_factor{{{BOT}}})"),
                 ("Expectancy", "short", f"avg by (strategy) (bot_strategy_expectancy{{{BOT}}})"),
                 ("Max drawdown", "short", f"max by (strategy) (bot_strategy_max_drawdown{{{BOT}}})"),
             ], empty="no trade yet"),
        chart("Net PnL", "Of round trips, by strategy.", "short",
              Query(f"sum by (strategy) (bot_strategy_net_pnl{{{BOT}}})", "{{strategy}}"), empty="no trade yet"),
        chart("Won", "Part of the round trips that were won.", "percentunit",
              Query(f"avg by (strategy) (bot_strategy_win_rate{{{BOT}}})", "{{strategy}}"), zero=True,
              empty="no trade yet"),
        chart("Trades an hour", "Round trips that ended in the last hour.", "short",
              Query(f"sum by (strategy) (increase(bot_strategy_trades_total{{{BOT}}}[1h]))", "{{strategy}}"), zero=True,
              empty="no trade yet"),
        chart("Trades by source of the signal", "Round trips that ended in the last hour.", "short",
              Query(f"sum by (source) (increase(bot_trades_total{{{SYMBOL}}}[1h]))", "{{source}}"), width=24, zero=True,
              bars=True, stacked=True),
        chart("What each source would have made", "In basis points after costs, since the bot first ran: every "
              "candidate of a decision is settled under the same rule.", BPS,
              Query(f"sum by (source) (bot_counterfactual_pnl_bps{{{SYMBOL}}})", "{{source}}"),
              empty="no decision with candidates was settled"),
        chart("What refusals saved", "In basis points of the orders that were refused, less what they cost, since the "
              "bot first ran.", BPS, Query(f"sum by (by) (bot_veto_saved_bps{{{BOT}}})", "{{by}}"),
              empty="no refusal was settled"),
        chart("Recent edge", "Mean net PnL of the latest 50 trades, in basis points of what was entered with.", BPS,
              Query(f"avg by (strategy) (bot_edge_bps{{{BOT}}})", "{{strategy}}"), empty="no trade yet"),
        chart("Worse than its norm", "1 while trades (edge) or orders (slippage) are worse than they were in the long "
              "run, by a test with a known rate of false alarms.", "short",
              Query(f"max by (what, strategy) (bot_edge_alarm{{{BOT}}})", "{{what}} {{strategy}}"), width=12, zero=True,
              empty="no trade yet"),
        chart("Half-life of signals", "How long it takes until half of the move that follows a decision has come.", "s",
              Query(f"bot_signal_half_life_seconds{{{SYMBOL}}}", "{{symbol}} {{source}}"), width=12, zero=True,
              empty="too few decisions"),
        chart("Features that count", "Of what all features add to the predictions of a model: the ten largest parts.",
              "percentunit", Query(f"bot_feature_importance{{{BOT}}}", "{{feature}} {{model}}"), width=24, zero=True,
              stacked=True, empty="no prediction was explained"),
    ]  # fmt: skip


def _account() -> list[Panel]:
    return [
        chart("Sharpe ratio", "Of calendar buckets of equity, annualized. It needs several of them.", "none",
              Query(f"metrics_sharpe{{{ALL}}}", "{{instance}}"), empty="undefined: too few buckets of equity"),
        chart("Max drawdown", "The largest so far, as a part of the peak.", "percentunit",
              Query(f"metrics_max_drawdown_pct{{{ALL}}}", "{{instance}}"), zero=True, empty="undefined"),
        chart("Fills", "Since the ledger began.", "short",
              Query(f"metrics_fills{{{ALL}}}", "{{instance}}"), zero=True),
    ]  # fmt: skip
