"""Strategies and sessions, reckoned when a trade has closed or some seconds have passed."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from botobs.clock import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botobs.clock import Clock
    from botobs.performance import Performance
    from botobs.performance.summary import Summary
    from botobs.sinks.metrics.readings import Said

__all__ = ["PerformanceReading"]

_KINDS: Final = ("day", "week", "month")
_STRATEGY: Final = {
    "bot_strategy_net_pnl": "net",
    "bot_strategy_win_rate": "win_rate",
    "bot_strategy_profit_factor": "profit_factor",
    "bot_strategy_expectancy": "expectancy",
    "bot_strategy_max_drawdown": "max_drawdown",
}
_AGAIN_NS: Final = 10_000_000_000


class PerformanceReading:
    """How the strategies do, and the running day, week and month.

    Args:
        performance: Who is asked.
        clock: The observer's clock.
    """

    names: Final = (*_STRATEGY, "bot_session_net_pnl", "bot_session_trades", "bot_session_win_rate")

    def __init__(self, performance: Performance, clock: Clock) -> None:
        self._performance = performance
        self._clock = clock
        self._lock = threading.RLock()
        self._said: list[Said] = []
        self._at: int | None = None

    def closed(self, _event: object) -> None:
        """A trade was closed or has changed: what was reckoned is old."""
        self._at = None

    def __call__(self) -> list[Said]:
        """As it is now."""
        performance = self._performance
        now = self._clock.perf_ns()
        with self._lock:  # to reckon them twice at once would help nobody
            at = self._at
            if at is None or not 0 <= now - at < _AGAIN_NS:
                self._at = now  # before: a trade that closes meanwhile has to be reckoned next time
                try:
                    self._said = [*_strategies(performance), *self._sessions(performance)]
                except BaseException:
                    self._at = None
                    raise
            return self._said

    def _sessions(self, performance: Performance) -> Iterator[Said]:
        now = rfc3339(self._clock.time_ns())
        for kind in _KINDS:
            latest: Summary | None = next(iter(performance.sessions(kind, last=1)), None)
            if latest is None or latest.session is None or not latest.session.start <= now < latest.session.end:
                yield "bot_session_net_pnl", 0, (kind,)  # nothing was closed in the running one
                yield "bot_session_trades", 0, (kind,)
                continue
            yield "bot_session_net_pnl", latest.net, (kind,)
            yield "bot_session_trades", latest.trades, (kind,)
            yield "bot_session_win_rate", latest.win_rate, (kind,)


def _strategies(performance: Performance) -> Iterator[Said]:
    for strategy, summary in performance.by_strategy().items():
        for name, figure in _STRATEGY.items():
            yield name, getattr(summary, figure), (strategy,)
