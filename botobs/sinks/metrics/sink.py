"""The metrics of one observer: what holds them, and the three ways out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
from opentelemetry.sdk.resources import Resource

from .board import Board
from .catalogue import CATALOGUE, Row
from .handing import HandingOn
from .page import PrometheusPage, negotiate
from .provided import Provided, provided
from .pushed import Points, delta_kinds
from .series import Passing
from .signals import SignalCells
from .stages import DurationCells, StageHistograms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricReader

    from botobs.clock import Clock
    from botobs.faults import Faults

__all__ = ["MetricsSink"]


class MetricsSink:
    """Everything an observer has to do with metrics.

    The page and OTLP are made of the board as it is. A provider of the user's own reads its counters and gauges from
    there as well, and gets what goes into histograms one by one, from `drain`.

    Args:
        cells: The hot path's histograms.
        bounds_ns: Their upper bounds.
        faults: Where to say what went wrong.
        clock: The observer's clock.
        resource: What the metrics are about.
        namespace: First part of the bot's metric names.
        bot: The bot's name.
        run_id: The run.
        version: Version of the instrumentation scope.
        prometheus: Whether `render` is wanted.
        push: Makes the OTLP reader, from a function that gives what there is.
        meter_provider: The user's own.
        rows: The catalogue.
        label_cap: How many values a label may have.
        inline: Nobody drains: what waits for the user's own provider is handed on where it is too much.

    Attributes:
        wanted: Whether there is any way out.
        board: What events come to and what is asked for.
        signals: What signals say.
        stages: The hot path's histograms.
    """

    def __init__(
        self,
        cells: DurationCells,
        bounds_ns: Sequence[int],
        faults: Faults,
        clock: Clock,
        *,
        resource: Resource | None = None,
        namespace: str = "bot",
        bot: str = "",
        run_id: str = "",
        version: str = "",
        prometheus: bool = True,
        push: Callable[[Points], MetricReader] | None = None,
        meter_provider: MeterProvider | None = None,
        rows: Sequence[Row] = CATALOGUE,
        label_cap: int = 200,
        inline: bool = False,
    ) -> None:
        self._faults = faults
        self.wanted = prometheus or push is not None or meter_provider is not None
        resource = Resource({}) if resource is None else resource
        passing = None
        if meter_provider is not None:
            passing = Passing(relief=(lambda: self.drain(10**9)) if inline else None)
        self.board = Board(
            faults, clock, rows=rows, namespace=namespace, bot=bot, run_id=run_id, label_cap=label_cap, passing=passing
        )
        self.stages = StageHistograms(cells, bounds_ns, self.board)
        self.signals = SignalCells(self.board, faults)
        self.board.beside("bot_stage_duration_seconds", self.stages.collect)
        self.board.beside("bot_signal_strength", self.signals.collect)
        self._page = PrometheusPage(self.board.collect, resource.attributes) if prometheus else None
        self.provider: SdkMeterProvider | None = None
        if push is not None:
            points = Points(self.board.collect, resource, version, clock, self.board.start_ns)
            reader = push(points)
            points.deltas = delta_kinds(reader)
            # it has no instruments: the reader needs it to be asked
            self.provider = SdkMeterProvider([reader], resource, shutdown_on_exit=False)
        self._provided: Provided | None = None
        self._handing: HandingOn | None = None
        if meter_provider is not None and passing is not None:
            self._join(meter_provider, version, passing, clock)

    def _join(self, provider: MeterProvider, version: str, passing: Passing, clock: Clock) -> None:
        try:
            found = provided(provider, version)
            self._handing = HandingOn(found, self.board, passing, self.stages, faults=self._faults, clock=clock)
            found.join(self.board, self._faults)
            self._provided = found
        except Exception as error:  # a user's provider may be anything: the bot starts without its metrics
            self._faults.error("metrics.provider", error)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """The page for Prometheus and its content type."""
        if self._page is None:
            return b"", negotiate("")
        return self._page.render(accept)

    def drain(self, budget_ns: int) -> bool:
        """Measure what waits, and hand on what the user's own provider gets, for about `budget_ns`.

        Only one thread may do so at a time.

        Returns:
            Whether some is left.
        """
        more = self.board.measure(budget_ns)
        return (self._handing is not None and self._handing.drain(budget_ns)) or more

    def abandon(self) -> None:
        """Fall silent in a child process, without a lock and without a word to the parent's readers."""
        if self._provided is not None:
            self._provided.abandon(self.board)
        self._provided = self._handing = None

    def close(self, timeout: float) -> bool:
        """End the own provider and its reader within `timeout` seconds; fall silent on the user's own.

        Returns:
            Whether the reader ended well.
        """
        if self._provided is not None:
            self._provided.leave(self.board)
        self._provided = self._handing = None
        provider, self.provider = self.provider, None
        try:
            if provider is not None:
                provider.shutdown(timeout_millis=max(timeout, 0.001) * 1000)
        except Exception as error:
            self._faults.error("metrics.close", error)
            return False
        return True
