"""Feeds, funding rates, features, the kill switch and ticks, as they are when somebody collects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botobs.safety.room import Safety
    from botobs.sinks.metrics.readings import Said

__all__ = ["StandingReading"]


class StandingReading:
    """What watches over the bot.

    Args:
        safety: The rooms of safety.
    """

    names: Final = (
        "bot_ws_staleness_ms", "bot_ws_reconnects_total", "bot_funding_stale", "bot_kill_switch_state",
        "bot_tick_age_seconds", "bot_silent", "bot_stale_features",
    )  # fmt: skip

    def __init__(self, safety: Safety) -> None:
        self._safety = safety

    def __call__(self) -> Iterator[Said]:
        """As it is now."""
        safety = self._safety
        yield "bot_kill_switch_state", safety.kill_switch.level, ()
        silence = safety.watchdogs.silence
        yield "bot_tick_age_seconds", silence.age_s, ()
        yield "bot_silent", silence.silent, ()
        yield "bot_stale_features", len(safety.staleness.stale_features), ()
        for feed, age_s in safety.watchdogs.ages().items():
            yield "bot_ws_staleness_ms", age_s * 1e3, (feed,)
        for feed, count in safety.watchdogs.reconnects().items():
            yield "bot_ws_reconnects_total", count, (feed,)
        stale = safety.funding.stale()
        for symbol in safety.funding.rates:
            yield "bot_funding_stale", symbol in stale, (symbol,)
