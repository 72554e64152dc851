"""The rooms of an observer: money, safety, insight and the rest, built upon the spine and joined."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from botobs.events import OrderAnnounced, TradeClosed, TradeOpened
from botobs.explaining.deciding import Decisions
from botobs.health_page import HealthPage
from botobs.insight.room import Insight
from botobs.money.room import Money
from botobs.performance import Performance, Targets
from botobs.pipeline import Drainer
from botobs.safety.room import Safety
from botobs.spine import Spine, undone
from botobs.streams.earlier import EarlierRuns

if TYPE_CHECKING:
    import contextlib

    from botobs.backup.schedule import Schedule
    from botobs.config import Settings
    from botobs.parts import Parts
    from botobs.report import Report
    from botobs.stages.site import Stage

__all__ = ["Rooms"]


class Rooms(Spine):
    """Builds them; none has begun, and the bot's verbs reach none of them.

    Args:
        settings: What the observer runs with.
        parts: What stands in the place of the real thing.
        undo: Gets what has to be closed again if the start fails.
    """

    _safety: Safety
    _insight: Insight
    _decisions: Decisions
    _over: Report | None  # what came of the run, once it is over

    def __init__(self, settings: Settings, parts: Parts, undo: contextlib.ExitStack) -> None:
        super().__init__(settings, parts, undo)
        self._money = self._bank(parts, undo)
        self._safety = self._guard(undo)
        self._insight = self._explain(undo)
        self._backups = self._back_up()
        if self._redis is not None:
            self._delivery.attach(self._redis)  # last: a server that is away may take all the time there is
        self._metrics.about_money(self._money, self._performance)
        self._metrics.about_safety(self._safety)
        self._metrics.board.ask(self._insight.names, self._insight.measured)
        self._metrics.about_botobs(
            waiting=lambda: self._delivery.waiting,
            overhead=lambda: self._overhead.ratio,
            endpoint=lambda: self.endpoint,
        )
        chores = (
            self.bus.housekeep,
            self._overhead_now,
            self._now_and_then,
            self._money.pieces,
            self._safety.pieces,
            self._performance.chore,
            self._insight.pieces,
            *(() if self._backups is None else (self._backups.chore,)),
        )
        self._health_page = HealthPage(
            settings, self.run_id, faults=self.faults, delivery=self._delivery, bus=self.bus, safety=self._safety,
            otlp=self._otlp, endpoint=self.endpoint, redis=self._redis, over=lambda: self._over is not None,
        )  # fmt: skip
        self._drainer = Drainer(self._delivery.jobs, chores, self.faults)
        undo.callback(undone, self._drainer.close)
        self._beats = 0

    @property
    def performance(self) -> Performance:
        """How well the bot does: by strategy, by session, over the last trades."""
        self._money.tail.settle()
        return self._performance

    def _bank(self, parts: Parts, undo: contextlib.ExitStack) -> Money:
        """Everything about money."""
        data_dir = self.data_dir
        money = Money(
            self.settings,
            data_dir,
            clock=self._clock,
            disk=parts.disk,
            faults=self.faults,
            publish=self.bus.publish,
            set_aside=self._set_aside,
            redact=lambda said: orjson.loads(self._redactor.line(said)),
            history=None if data_dir is None else EarlierRuns(data_dir, self.faults),
            run_id=self.run_id,
        )
        undo.callback(undone, money.close)
        self._delivery.attach(money)
        self._delivery.also += [money.tail.drain, self._own.names.look]
        self._performance = self._judge()
        undo.callback(undone, self._performance.close)
        self._delivery.attach(self._performance)
        return money

    def _judge(self) -> Performance:
        """How well the bot does, by strategy and by session."""
        settings = self.settings
        targets = Targets.parse(settings.tables.get("targets"), window=settings.performance_rolling_window)
        for warning in targets.warnings:
            self.faults.say("config", warning, warning)
        performance = Performance(
            self.data_dir,
            timezone=settings.timezone,
            clock=self._clock,
            faults=self.faults,
            rolling_window=settings.performance_rolling_window,
            starting_equity=settings.starting_equity,
            targets=targets,
            publish=self.bus.publish,
            bot=settings.bot,
            background=settings.mode == "live",
            store=settings.performance_store,
        )
        for event in (TradeOpened, TradeClosed):
            self.bus.subscribe(event, performance.on_event, immediate=True, _trusted=True)
        return performance

    def _set_aside(self, record: dict[str, Any]) -> bool:
        """Write what cannot be booked; whether it is with the operating system."""
        return self._store.write_now("refused", self._records.line(self._clock.time_ns(), record))

    def _guard(self, undo: contextlib.ExitStack) -> Safety:
        """What watches over the bot."""
        safety = Safety(
            self.settings,
            self.data_dir,
            clock=self._clock,
            faults=self.faults,
            bus=self.bus,
            redactor=self._redactor,
            money=self._money,
            performance=lambda: self.performance,
            run_id=self.run_id,
        )
        undo.callback(undone, safety.close)
        self._delivery.attach(safety)
        self._delivery.first.append(safety.kill_switch.settle)
        self._delivery.hurry = safety.alerts.hurry
        self._delivery.alerts = lambda: safety.alerts.counts
        return safety

    def _explain(self, undo: contextlib.ExitStack) -> Insight:
        """What explains the bot's results."""
        insight = Insight(
            self.settings, self.data_dir, clock=self._clock, engine=self._own, faults=self.faults, bus=self.bus,
            money=self._money, silent_s=lambda: self._safety.watchdogs.silence.age_s,
        )  # fmt: skip
        undo.callback(undone, insight.close)
        self._delivery.attach(insight)
        self._decisions = self._remember(insight)
        return insight

    def _remember(self, insight: Insight) -> Decisions:
        """What the bot sees when it decides, for whoever explains a trade later."""
        safety = self._safety
        decisions = Decisions(
            publish=self.bus.publish, last_seen=safety.staleness.last_seen, regime=insight.regime.name,
            tail=self._money.tail, faults=self.faults,
        )  # fmt: skip
        self.bus.subscribe(OrderAnnounced, decisions.order, immediate=True, _trusted=True)
        return decisions

    def _back_up(self) -> Schedule | None:
        """What makes backups while the bot runs; `None`: nobody wants that."""
        if self.settings.backup_url is None:
            return None
        from botobs.backup.schedule import open_schedule  # noqa: PLC0415 - few have it, and it may need an extra

        schedule = open_schedule(
            self.settings, self.data_dir, clock=self._clock, faults=self.faults, publish=self.bus.publish
        )
        if schedule is not None:
            self._delivery.attach(schedule)
        return schedule

    def _admit(self, stage: Stage) -> None:
        """Refuse a stage that may not run now.

        Raises:
            TradingHalted: It may not.
        """
        if stage.kind == "execution":
            self._safety.kill_switch.guard(stage.order, reduces=stage.reduces, stage=stage.label)
        if stage.fresh:
            self._safety.refuse_stale(stage)

    def _overhead_now(self) -> None:
        self._overhead.update(self._drainer.cpu_ns)

    def _now_and_then(self) -> None:
        self._beats += 1
        if self._data_dir is not None and self._beats % 60 == 1:
            self._data_dir.touch()
        if self.endpoint is not None and self._beats % 30 == 0:
            self.endpoint.retry()
