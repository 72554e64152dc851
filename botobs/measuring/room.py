"""Joins the metrics to the rooms that they are about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from botobs.events import TradeClosed, TradeOpened
from botobs.measuring.account import AccountReading, TotalsReading
from botobs.measuring.own import OwnReading
from botobs.measuring.performance import PerformanceReading
from botobs.measuring.standing import StandingReading
from botobs.sinks.metrics import MetricsSink
from botobs.stages.cells import BOUNDS_NS

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.resources import Resource

    from botobs.bus import Bus
    from botobs.clock import Clock
    from botobs.config import Settings
    from botobs.events import Event
    from botobs.faults import Faults
    from botobs.money.room import Money
    from botobs.performance import Performance
    from botobs.safety.room import Safety
    from botobs.sinks.endpoint import Endpoint
    from botobs.sinks.otlp_out import OtlpOut
    from botobs.stages.engine import Engine

__all__ = ["Measuring"]

_LEVELS: Final = ("info", "warning", "critical")
_ENDS: Final = ("delivered", "failed")


class Measuring(MetricsSink):
    """The metrics of one observer.

    Args:
        settings: What it runs with.
        engine: Its hot path.
        faults: Counts.
        clock: Its clock.
        resource: Who sends.
        otlp: What leaves over OTLP.
        version: Version of botobs.
        page: Whether the Prometheus page is wanted.
        bus: Where events come from.
        run_id: The run.
    """

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        *,
        faults: Faults,
        clock: Clock,
        resource: Resource,
        otlp: OtlpOut | None,
        version: str,
        page: bool,
        bus: Bus,
        run_id: str,
    ) -> None:
        super().__init__(
            engine.cells,
            BOUNDS_NS,
            faults,
            clock,
            resource=resource,
            namespace=settings.namespace,
            bot=settings.bot,
            run_id=run_id,
            version=version,
            prometheus=page,
            push=otlp.reader if otlp is not None and otlp.wants_metrics else None,
            meter_provider=settings.meter_provider,
            inline=settings.mode == "backtest",
        )
        self._engine = engine
        self._clock = clock
        self._bus = bus
        self._bot_version = settings.bot_version
        if not self.wanted:
            return
        engine.on_strength, engine.on_confidence = self.signals.strength, self.signals.confidence
        engine.on_kept = self.stages.kept
        for event in self.board.event_types:
            bus.subscribe(event, self.board.take, immediate=True, _trusted=True)

    def about_botobs(
        self,
        *,
        waiting: Callable[[], int],
        overhead: Callable[[], float | None],
        endpoint: Callable[[], Endpoint | None],
    ) -> None:
        """Ask botobs itself.

        Args:
            waiting: What waits in all queues.
            overhead: The part of one core that background work takes.
            endpoint: Where the page is served.
        """
        own = OwnReading(
            self._faults, self._engine, self.board.cap, waiting=waiting, overhead=overhead, endpoint=endpoint
        )
        self.board.ask(own.names, own)

    def about_money(self, money: Money, performance: Performance) -> None:
        """Ask the account, and what its trades came to."""

        def trace_of(event: Event) -> str | None:
            """The turn in which it happened, else the one in which its order was decided: fills come when they come."""
            if event.trace_id is not None:
                return event.trace_id
            order = money.orders.get(getattr(event, "order_id", None))
            return None if order is None else order.trace_id

        self.board.trace_of = trace_of
        account = AccountReading(money, self._bot_version)
        self.board.ask(account.names, account)
        totals = TotalsReading(money, self._clock)
        self.board.ask(totals.names, totals)
        trades = PerformanceReading(performance, self._clock)
        self.board.ask(trades.names, trades)
        if self.wanted:
            self._bus.subscribe(TradeOpened, account.opened, immediate=True, _trusted=True)
            self._bus.subscribe(TradeClosed, trades.closed, immediate=True, _trusted=True)

    def about_safety(self, safety: Safety) -> None:
        """Ask what watches over the bot; counters of trouble are there from the start, so that the first is a rise."""
        standing = StandingReading(safety)
        self.board.ask(standing.names, standing)
        for trigger in (*safety.kill_switch.triggers, "bot", "outside"):
            self.board.add("bot_kill_switch_trips_total", 0, trigger)
        self.board.add("bot_kill_switch_refusals_total", 0, "check")
        for level in _LEVELS:
            for fate in _ENDS:
                self.board.add("botobs_alerts_total", 0, level, fate)
