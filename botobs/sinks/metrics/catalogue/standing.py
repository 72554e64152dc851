"""How things stand: equity, positions, feeds, the kill switch, strategies and sessions."""

from __future__ import annotations

from typing import Final

from botobs.events import KillSwitchRefused, KillSwitchTripped

from .row import Measured, Row

__all__ = ["ACCOUNT", "PERFORMANCE", "SAFETY", "STAGES", "STAGE_DURATION"]


def _trip(event: KillSwitchTripped) -> Measured:
    return None if event.drill else (1, (event.trigger or event.source,))


def _refusal(event: KillSwitchRefused) -> Measured:
    return 1 + (event.suppressed or 0), (event.stage or "check",)


def _read(name: str, unit: str, description: str, *labels: str) -> Row:
    return Row(name, "gauge", unit, description, labels, source="reading")


STAGE_DURATION: Final = Row(
    "bot_stage_duration_seconds", "histogram", "s", "How long a stage of a tick took.", ("stage", "symbol"),
    source="stages",
)  # fmt: skip

STAGES: Final = (STAGE_DURATION,)

ACCOUNT: Final = (
    _read("bot_equity_value", "{currency}", "What the account is worth.", "symbol", "bot_version"),
    _read("bot_drawdown_current", "1", "How far equity is below its peak, as a fraction of it.", "symbol"),
    _read("bot_position_size", "{unit}", "What is held; negative is short, 0 was held before.", "symbol"),
    _read("bot_position_age_seconds", "s", "Age of the oldest open trade.", "symbol"),
)

SAFETY: Final = (
    _read("bot_ws_staleness_ms", "ms", "Time since a feed was last alive.", "symbol"),
    Row(
        "bot_ws_reconnects_total", "counter", "{reconnect}", "Reconnects of a feed that worked.", ("symbol",),
        source="reading",
    ),
    _read("bot_funding_stale", "1", "1 while the funding rate is too old.", "symbol"),
    _read("bot_kill_switch_state", "1", "0 active, 1 reduce only, 2 halted."),
    Row(
        "bot_kill_switch_trips_total", "counter", "{trip}", "Trips of the kill switch, by what tripped it; no drills.",
        ("trigger",), source="event", event=KillSwitchTripped, measure=_trip,
    ),
    Row(
        "bot_kill_switch_refusals_total", "counter", "{order}", "Orders that were not let through, by stage.",
        ("stage",), source="event", event=KillSwitchRefused, measure=_refusal,
    ),
    _read("bot_tick_age_seconds", "s", "Time since the last tick ended."),
    _read("bot_silent", "1", "1 while the bot lives and decides nothing for several times its usual interval."),
    _read("bot_stale_features", "{feature}", "How many features are stale."),
)  # fmt: skip

PERFORMANCE: Final = (
    _read("bot_strategy_net_pnl", "{currency}", "Net PnL of a strategy's closed trades.", "strategy"),
    _read("bot_strategy_win_rate", "1", "The part of a strategy's trades that made money.", "strategy"),
    _read("bot_strategy_profit_factor", "1", "What a strategy's winners made, over what its losers lost.", "strategy"),
    _read("bot_strategy_expectancy", "{currency}", "What a trade of a strategy makes on average.", "strategy"),
    _read("bot_strategy_max_drawdown", "{currency}", "The largest fall of a strategy's summed PnL.", "strategy"),
    _read("bot_edge_bps", "{bps}", "The mean net PnL of a strategy's latest 50 trades.", "strategy"),
    _read("bot_edge_alarm", "1", "1 while its trades or its slippage are worse than their norm.", "what", "strategy"),
    _read("bot_session_net_pnl", "{currency}", "Net PnL of the trades closed in the running session.", "session"),
    _read("bot_session_trades", "{trade}", "Trades closed in the running session.", "session"),
    _read("bot_session_win_rate", "1", "The part of the running session's trades that made money.", "session"),
)
