"""The verbs and nouns of safety, for one observer; the module-level verbs ask the running observer for these.

They stand outside of `botobs.safety`, whose rooms nobody has to load before `start`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botobs.stages.engine import ENGINES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botobs.alerts import Alerts
    from botobs.safety.room import Safety
    from botobs.safety.switch import KillSwitch
    from botobs.stages.engine import Engine
    from botobs.vitals import Staleness, Watchdogs

__all__ = ["SafetyVerbs"]


class SafetyVerbs:
    """`health`, `heartbeat`, `watch`, `feature_value`, `feature_values`, `funding_rate`. None of them raises."""

    _safety: Safety
    _own: Engine

    def health(self, **fields: Any) -> None:
        """The bot's own health, as often as it likes: a record goes out only for a reason.

        Args:
            **fields: Anything; `equity` (or `equity_value`) is watched by the kill switch, booleans are toggles, what
                ends in `_reconnects`, `_count`, `_errors` or `_total` is a counter, `calibration_drift` a level.
        """
        try:
            if self._own in ENGINES:
                self._safety.health.health(**fields)
                self._safety.said_equity(fields)
                self._safety.passing()
        except Exception as error:
            self._own.faults.error("health", error)

    def heartbeat(self, name: Any) -> None:
        """A connection or a loop is alive."""
        try:
            if self._own in ENGINES:
                self._safety.watchdogs.heartbeat(name)
                self._safety.passing()
        except Exception as error:
            self._own.faults.error("heartbeat", error)

    def watch(self, name: Any, after: Any = "30s", on_stale: Callable[..., Any] | None = None) -> None:
        """How long a feed may be silent, and what to call then.

        Args:
            name: Which, as `heartbeat` names it.
            after: For how long.
            on_stale: The bot's reconnect; sync, or async on the bot's loop.
        """
        try:
            if self._own in ENGINES:
                self._safety.watchdogs.watch(name, after, on_stale)
        except Exception as error:
            self._own.faults.error("watch", error)

    def feature_value(self, name: Any, value: Any, ts: Any = None) -> None:
        """A feature has a value now; `None` and NaN do not refresh it."""
        try:
            if self._own in ENGINES:
                self._safety.staleness.feature_value(name, value, ts)
        except Exception as error:
            self._own.faults.error("feature_value", error)

    def feature_values(self, values: Mapping[Any, Any], ts: Any = None) -> None:
        """Many features have a value now."""
        try:
            if self._own in ENGINES:
                self._safety.staleness.feature_values(values, ts)
        except Exception as error:
            self._own.faults.error("feature_values", error)

    def funding_rate(self, symbol: Any, rate: Any, next_ts: Any = None) -> None:
        """The current funding rate; its age is watched.

        Args:
            symbol: Of which symbol.
            rate: The rate; above zero, who is long pays.
            next_ts: When it is paid next: what is held then counts as funding from that time on.
        """
        try:
            if self._own in ENGINES:
                self._safety.funding.funding_rate(symbol, rate, next_ts)
        except Exception as error:
            self._own.faults.error("funding_rate", error)

    @property
    def kill_switch(self) -> KillSwitch:
        """What stops the bot."""
        return self._safety.kill_switch

    @property
    def alerts(self) -> Alerts:
        """What a person is told."""
        return self._safety.alerts

    @property
    def staleness(self) -> Staleness:
        """How old the features are."""
        return self._safety.staleness

    @property
    def watchdogs(self) -> Watchdogs:
        """How long each feed has been silent."""
        return self._safety.watchdogs
