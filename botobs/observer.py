"""The observer as its user has it: every verb and every noun."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from botobs import lifecycle
from botobs.config import Settings, load
from botobs.events import Recorded
from botobs.explainability.verbs import ModelVerbs
from botobs.explaining.noun import ExplainNouns
from botobs.insight.room import InsightNouns
from botobs.money.nouns import LedgerNoun, MoneyNouns
from botobs.money.verbs import MoneyVerbs
from botobs.parts import Parts
from botobs.run import Run
from botobs.safeguards import SafetyVerbs
from botobs.stages.engine import ENGINES
from botobs.stages.verbs import current_tick

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botobs.report import Report

__all__ = ["Observer"]


class Observer(Run, MoneyVerbs, MoneyNouns, SafetyVerbs, InsightNouns, ExplainNouns, ModelVerbs):
    """A running botobs. Made by `botobs.start`.

    A context manager: leaving it shuts it down. Its verbs (`tick`, `stage`, …, `event`) are those of the module, for
    this observer alone.

    Attributes:
        settings: What it runs with.
        run_id: This run; in every record.
        bus: Everything that happens beside ticks, for subscribers.
        previous_run: The run before on the same data directory, or `None`.
        resource: Who sends, for OpenTelemetry.
    """

    def __init__(self, settings: Settings, parts: Parts, undo: contextlib.ExitStack) -> None:
        Run.__init__(self, settings, parts, undo)
        ModelVerbs.__init__(self, self._own)
        self.ledger = LedgerNoun(self._money, self.fill)

    @classmethod
    def start(cls, bot: str, keywords: Mapping[str, Any], parts: Parts | None = None) -> Observer:
        """Build an observer and let it run; see `botobs.start`."""
        parts = parts or Parts()
        settings = load(bot, keywords, env={}, cwd=None) if parts.bare else load(bot, keywords)
        with contextlib.ExitStack() as undo:
            observer = cls(settings, parts, undo)
            undo.callback(lifecycle.leave, observer._own)
            observer._wake()
            lifecycle.enter(observer._own, observer)
            observer._begin()
            undo.pop_all()
        return observer

    def event(self, stream: str, /, **fields: Any) -> None:
        """Write a record of the bot's own, to a stream of its own.

        Args:
            stream: The stream: `logs/<stream>.jsonl`.
            **fields: Anything; secrets are taken out, what JSON does not know is written as text.
        """
        try:
            if self._over is not None or self._own not in ENGINES:
                return
            tick = current_tick()
            inside = tick.engine is self._own
            self.bus.publish(
                Recorded(
                    ts_ns=self._clock.time_ns(),
                    into=stream,
                    fields=fields,
                    symbol=tick.symbol if inside else None,
                    bar_id=tick.bar_id if inside else None,
                    trace_id=tick.id if inside and tick.keeps else None,
                )
            )
        except Exception as error:
            self.faults.error("event", error)

    def report(self) -> Report:
        """What went, what waits and what was lost so far; `delivered` if nothing waits."""
        return self._delivery.so_far(delivered=not self._delivery.waiting)

    def __repr__(self) -> str:
        state = "ended" if self._over is not None else "running"
        return f"<botobs.Observer {self.settings.bot!r} {self.run_id} {state}>"
