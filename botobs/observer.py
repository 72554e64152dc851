"""The one place where everything is built and joined."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import orjson
from opentelemetry.sdk.resources import Resource

import botobs
from botobs import lifecycle
from botobs.bus import Bus
from botobs.clock import SystemClock, adapt, rfc3339
from botobs.config import Settings, load, seconds
from botobs.datadir import DataDir
from botobs.delivery import Delivery
from botobs.events import (
    Event,
    OrderAnnounced,
    Recorded,
    RunEnded,
    RunStarted,
    TailRepaired,
    TradeClosed,
    TradeOpened,
    UncleanEnd,
)
from botobs.explainability.verbs import ModelVerbs
from botobs.explaining.deciding import Decisions
from botobs.explaining.noun import ExplainNouns
from botobs.faults import Faults
from botobs.health_page import HealthPage
from botobs.insight.room import Insight, InsightNouns
from botobs.measuring import Measuring
from botobs.money.migrating import migrate
from botobs.money.nouns import LedgerNoun, MoneyNouns
from botobs.money.room import Money
from botobs.money.verbs import MoneyVerbs
from botobs.overhead import Overhead
from botobs.parts import Attached, Parts
from botobs.performance import Performance, Targets
from botobs.pipeline import Drainer
from botobs.report import Report
from botobs.safeguards import SafetyVerbs
from botobs.safety.room import Safety
from botobs.sinks.endpoint import Endpoint
from botobs.sinks.otlp_out import OtlpOut
from botobs.sinks.provider import ProviderSpans
from botobs.sinks.records import RecordSink
from botobs.sinks.spans import SpanEncoder
from botobs.stages.cells import CellTable
from botobs.stages.engine import ENGINES, Engine
from botobs.stages.ids import Ids
from botobs.stages.verbs import current_tick
from botobs.streams.reader import StreamReader
from botobs.streams.redact import Redactor
from botobs.streams.store import StreamStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from botobs.backup.schedule import Schedule
    from botobs.datadir import PreviousRun
    from botobs.sinks.redis.publisher import RedisPublisher
    from botobs.stages.site import Stage

__all__ = ["Observer"]

_DAY_NS = 86_400 * 10**9
_FLUSH_S = 5.0
_UNDO_S = 0.5


class Observer(MoneyVerbs, MoneyNouns, SafetyVerbs, InsightNouns, ExplainNouns, ModelVerbs):
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
        self.settings = settings
        backtest = settings.mode == "backtest"
        self._clock = adapt(settings.clock)
        now_ns = self._clock.time_ns()
        self.run_id = parts.run_id or _run_id(now_ns, backtest=backtest)
        self.faults = Faults(strict=settings.strict)
        self._data_dir = self._claim(settings, undo)
        self.previous_run: PreviousRun | None = None if self._data_dir is None else self._data_dir.previous
        self._redactor = Redactor(settings.redact)
        self._store = StreamStore(
            None if self._data_dir is None else self._data_dir.path,
            queue_size=settings.queue_size,
            rotate_bytes=settings.rotate_bytes,
            rotate_ns=int(settings.rotate_days * _DAY_NS),
            clock=self._clock,
            disk=parts.disk,
            faults=self.faults,
            synchronous=backtest,
        )
        undo.callback(_undone, self._store.close)
        self._cells = CellTable(
            raw=settings.meter_provider is not None,
            # no drainer runs in a backtest, and nothing may be lost there
            relief=(lambda: self._metrics.drain(10**9)) if backtest else None,
        )
        self._redis = self._open_redis(undo)
        put: Callable[[str, bytes], None] = self._store.put
        write_now: Callable[[str, bytes], bool] = self._store.write_now
        if self._redis is not None:
            put, write_now = self._redis.beside(put), self._redis.beside(write_now)
        live_clock = isinstance(self._clock, SystemClock)
        head = self._redactor.line({"schema": "v1", "bot": settings.bot, "run_id": self.run_id})[1:-1]
        self._own = Engine(
            now=time.perf_counter_ns if live_clock else self._clock.perf_ns,
            wall=self._clock.time_ns,
            cells=self._cells,
            put=put,
            line=self._redactor.line,
            head=head,
            faults=self.faults,
            keep=settings.keep_traces,
            ids=Ids(parts.seed if parts.seed is not None or not backtest else settings.bot),
        )
        super().__init__(self._own)
        self.bus = Bus(self.faults, queue_size=settings.queue_size, threaded=not backtest)
        undo.callback(_undone, self.bus.close)
        self._overhead = Overhead(self._cells)
        self._ending = threading.Lock()
        self._ender = 0  # the thread that ends it
        self._over: Report | None = None
        self._health_page: HealthPage | None = None  # until all that it tells of is built
        self.resource = _resource(settings, self.run_id)
        encode = self._send_out(parts, undo)
        self._measure(parts, undo)
        self._delivery = Delivery(
            self._own, self._store, self.bus, self._metrics, otlp=self._otlp, encode=encode, faults=self.faults,
            sync=settings.durability == "fsync",
        )  # fmt: skip
        self._records = RecordSink(self._own, put, write_now)
        self.bus.subscribe(Event, self._records, immediate=True, _trusted=True)
        self._money = self._bank(parts, undo)
        self.ledger = LedgerNoun(self._money, self.fill)
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
        self._beats = 0
        self._began_ns = self._own.now()  # in a backtest the clock's own time

    @classmethod
    def start(cls, bot: str, keywords: Mapping[str, Any], parts: Parts | None = None) -> Observer:
        """Build an observer and let it run; see `botobs.start`."""
        parts = parts or Parts()
        settings = load(bot, keywords, env={}, cwd=None) if parts.bare else load(bot, keywords)
        with contextlib.ExitStack() as undo:
            observer = cls(settings, parts, undo)
            undo.callback(_undone, observer._drainer.close)
            undo.callback(lifecycle.leave, observer._own)
            observer._run()
            undo.pop_all()
        return observer

    # -- building ----------------------------------------------------------------------------------------------------

    def _claim(self, settings: Settings, undo: contextlib.ExitStack) -> DataDir | None:
        if settings.data_dir is None:
            return None
        claimed = DataDir.claim(
            settings.data_dir,
            bot=settings.bot,
            run_id=self.run_id,
            clock=self._clock,
            warn=lambda text: self.faults.say("data_dir", "warning", str(text)),
        )
        # a start that fails must not pass for the clean end of a run that had none
        undo.callback(claimed.release, clean=claimed.previous is None or claimed.previous.clean)
        return claimed

    def _open_redis(self, undo: contextlib.ExitStack) -> RedisPublisher | None:
        """What publishes to Redis; `None`: nobody wants that."""
        if self.settings.redis_url is None:
            return None
        from botobs.sinks.redis.opening import open_publisher  # noqa: PLC0415 - an extra, and few have it

        def order(key: str) -> Any:  # the orders' room is built later
            return self._money.orders.get(key)

        publisher = open_publisher(self.settings, self.faults, self.data_dir, order)
        if publisher is not None:
            undo.callback(_undone, publisher.close)
        return publisher

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
            history=None if data_dir is None else StreamReader(data_dir),
            run_id=self.run_id,
        )
        undo.callback(_undone, money.close)
        self._delivery.attach(money)
        self._delivery.also.append(money.tail.drain)
        self._performance = self._judge()
        undo.callback(_undone, self._performance.close)
        self._delivery.attach(self._performance)
        return money

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
        undo.callback(_undone, safety.close)
        self._delivery.attach(safety)
        self._delivery.alerts = lambda: safety.alerts.counts
        return safety

    def _explain(self, undo: contextlib.ExitStack) -> Insight:
        """What explains the bot's results."""
        insight = Insight(
            self.settings, self.data_dir, clock=self._clock, engine=self._own, faults=self.faults, bus=self.bus,
            money=self._money, silent_s=lambda: self._safety.watchdogs.silence.age_s,
        )  # fmt: skip
        undo.callback(_undone, insight.close)
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

    def _admit(self, stage: Stage) -> None:
        """Refuse a stage that may not run now.

        Raises:
            TradingHalted: It may not.
        """
        if stage.kind == "execution":
            self._safety.kill_switch.guard(stage.order, reduces=stage.reduces, stage=stage.label)
        if stage.fresh:
            self._safety.refuse_stale(stage)

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

    def _send_out(self, parts: Parts, undo: contextlib.ExitStack) -> SpanEncoder | ProviderSpans | None:
        """Where kept traces go."""
        engine, settings = self._own, self.settings
        self._otlp: OtlpOut | None = None
        encode: SpanEncoder | ProviderSpans | None = None
        if settings.mode == "live":
            self._otlp = OtlpOut(
                settings.otlp_endpoint, self.resource, botobs.__version__, self.faults, transport=parts.transport,
                env={} if parts.bare else os.environ,
            )  # fmt: skip
            undo.callback(_undone, self._otlp.close)
            if settings.tracer_provider is not None:
                encode = ProviderSpans(settings.tracer_provider, engine, botobs.__version__, self._redactor.shown)
            elif self._otlp.sender is not None:
                encode = SpanEncoder(engine, self._otlp.sender.put, self._redactor.shown)
        if encode is None:
            engine.export = _let_go  # nobody to send them to
        elif isinstance(encode, SpanEncoder) and self._otlp is not None and self._otlp.sender is not None:
            engine.export = encode  # some microseconds now; a background thread would hold up the bot for longer
            engine.crowded = self._otlp.sender.crowded
        return encode

    def _measure(self, parts: Parts, undo: contextlib.ExitStack) -> None:
        """Metrics and where they can be read."""
        settings = self.settings
        self.endpoint: Endpoint | None = None
        serve = settings.prometheus_port is not None and settings.mode == "live"
        self._metrics = Measuring(
            settings,
            self._own,
            faults=self.faults,
            clock=self._clock,
            resource=self.resource,
            otlp=self._otlp,
            version=botobs.__version__,
            page=serve or parts.scrape,
            bus=self.bus,
        )
        undo.callback(self._metrics.close, 0.0)
        if serve:
            assert settings.prometheus_port is not None
            self.endpoint = Endpoint(
                settings.prometheus_host,
                settings.prometheus_port,
                self._metrics.render,
                self.health_page,
                self.faults,
                token=settings.prometheus_token,
                cert=settings.prometheus_tls_cert,
                key=settings.prometheus_tls_key,
            )
            undo.callback(_undone, self.endpoint.close)

    def _run(self) -> None:
        """Everything is built: begin, and say what was found."""
        settings = self.settings
        if settings.mode == "live":
            self._overhead.calibrate()
            self._drainer.start()
            self._store.on_pressure = self._drainer.wake
        lifecycle.enter(self._own, self)
        now = self._clock.time_ns()
        self._money.begin()
        if self._redis is not None:
            self._redis.start()
        if self._backups is not None:
            self._backups.begin()
        if settings.migrate_csv is not None:
            migrate(self._money, settings.migrate_csv, publish=self.bus.publish, relieve=self.flush, faults=self.faults)
        self._own.on_price = self._money.prices.tick
        self._safety.begin()
        self._money.on_equity, self._money.desk.told = self._safety.equity, self._safety.filled
        self._money.prices.unknown = self._safety.unknown_equity
        self._safety.funding.on_rate = self._money.funding.told
        self._money.on_reject, self._money.on_time = self._safety.kill_switch.rejected, self._safety.chore
        self._insight.begin(None if self.data_dir is None else StreamReader(self.data_dir))
        self._safety.kill_switch.hurry = self._drainer.stand_aside
        self._own.guard = self._admit
        self._own.on_failure = self._safety.kill_switch.failed
        self._own.on_decided = self._safety.decided if settings.mode == "backtest" else self._safety.watchdogs.decided
        self.bus.publish(
            RunStarted(
                ts_ns=now, pid=self._pid(), mode=settings.mode, bot_version=settings.bot_version,
                botobs_version=botobs.__version__,
            )
        )  # fmt: skip
        previous = self.previous_run
        if previous is not None and previous.unclean:
            self.bus.publish(
                UncleanEnd(
                    ts_ns=now, run_id=previous.run_id or "unknown", pid=previous.pid, started=previous.started,
                    last_seen=previous.last_seen,
                )
            )  # fmt: skip
            self.faults.say(
                "start", "unclean end", f"the run before ({previous.run_id}, pid {previous.pid}) did not end cleanly; "
                f"last seen {previous.last_seen}",
            )  # fmt: skip
        for repair in self._store.repairs:
            self.bus.publish(
                TailRepaired(
                    ts_ns=now, tail_of=repair.stream, bytes_set_aside=repair.bytes,
                    where=str(repair.where),
                )
            )  # fmt: skip
        for warning in settings.warnings:
            self.faults.say("config", warning, warning)

    # -- verbs -------------------------------------------------------------------------------------------------------

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

    # -- answers -----------------------------------------------------------------------------------------------------

    @property
    def performance(self) -> Performance:
        """How well the bot does: by strategy, by session, over the last trades."""
        self._money.tail.settle()
        return self._performance

    @property
    def data_dir(self) -> Any:
        """Where everything is written, absolute; `None` in a backtest without a disk."""
        return None if self._data_dir is None else self._data_dir.path

    def report(self) -> Report:
        """What went, what waits and what was lost so far; `delivered` if nothing waits."""
        return self._delivery.so_far(delivered=not self._delivery.waiting)

    def health_page(self) -> dict[str, Any]:
        """What `/health` says."""
        return {"status": "starting"} if self._health_page is None else self._health_page()

    # -- the end -----------------------------------------------------------------------------------------------------

    def flush(self, timeout: float = _FLUSH_S) -> Report:
        """Write what waits to disk and send what waits to the collector, for at most `timeout` seconds.

        A record that a true `delivered` covers survives the process's death.

        Returns:
            What went, what waits, and what was lost since the start.
        """
        begun = time.monotonic()
        if self._over is not None:
            return self._over
        try:
            with lifecycle.finishing():
                return self._delivery.report(begun, done=self._delivery.flush(begun + _timeout(timeout)))
        except Exception as error:
            self.faults.error("flush", error)
            return Report(delivered=False, took_s=time.monotonic() - begun)

    def attach(self, part: Attached) -> bool:
        """Let `part` be flushed, closed and abandoned with this observer; whether it still runs."""
        with self._ending:
            if self._over is None:
                self._delivery.attach(part)
        return self._over is None

    def shutdown(self, timeout: float = _FLUSH_S) -> Report:
        """End: deliver what waits within `timeout` seconds, close everything, give the data directory back.

        Happens by itself at exit and on SIGTERM. A second call gives the first one's report.
        """
        return self.end(timeout, how="shutdown")

    def end(self, timeout: float = _FLUSH_S, *, how: str = "shutdown") -> Report:
        """As `shutdown`; `how` is written into the run's last record."""
        begun = time.monotonic()
        deadline = begun + _timeout(timeout)
        if self._ender == threading.get_ident():  # a signal handler, in the middle of it
            return Report(delivered=False, took_s=0.0)
        with lifecycle.finishing():
            if self._over is None and self._ending.acquire(timeout=max(deadline - time.monotonic(), 0.0)):
                self._ender = threading.get_ident()
                try:
                    if self._over is None:
                        self._over = self._ended(begun, deadline, how)
                finally:
                    self._ender = 0
                    self._ending.release()
            over = self._over
            return Report(delivered=False, took_s=time.monotonic() - begun) if over is None else over

    def _ended(self, begun: float, deadline: float, how: str) -> Report:
        lifecycle.stop(self._own)
        done = False
        try:
            self.bus.publish(
                RunEnded(
                    ts_ns=self._clock.time_ns(), pid=self._pid(), how=how,
                    ran_s=round((self._own.now() - self._began_ns) / 1e9, 3), dropped=dict(self.faults.drops) or None,
                )
            )  # fmt: skip
            self._delivery.write(deadline)  # at once: a subscriber may hang till the deadline
        except Exception as error:  # the rest of the end must come whatever happens
            self._counted("shutdown", error)
        else:
            done = True
        self._tried(self._insight.explainability.close, deadline)  # while subscribers still hear of it
        self._drainer.close(deadline)
        done = self._delivery.close(deadline) and done
        self._release(deadline)
        report = self._delivery.report(begun, done=done)
        lifecycle.leave(self._own)
        return report

    def _release(self, deadline: float) -> None:
        """Give back what nothing has to go through any more."""
        if self.endpoint is not None:
            self._tried(self.endpoint.close, deadline)
        self._tried(self._metrics.close, max(deadline - time.monotonic(), 0.0))
        if self._data_dir is not None:
            self._tried(functools.partial(self._data_dir.release, clean=True))

    def _tried(self, close: Callable[..., object], *args: float) -> None:
        try:
            close(*args)
        except Exception as error:
            self._counted("shutdown", error)

    def _counted(self, where: str, error: Exception) -> None:
        with contextlib.suppress(Exception):  # strict mode raises; here the work has to go on
            self.faults.error(where, error)

    def abandon(self) -> None:
        """In a forked child: let go of everything that is the parent's. The verbs do nothing from here on."""
        self._over = Report(delivered=False, took_s=0.0)
        self._ending, self._ender = threading.Lock(), 0
        self.faults.abandon()
        for part in (self._delivery, self.endpoint, self._data_dir):
            if part is not None:
                with contextlib.suppress(Exception):  # a child that cannot tidy up must still run
                    part.abandon()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()

    def __repr__(self) -> str:
        state = "ended" if self._over is not None else "running"
        return f"<botobs.Observer {self.settings.bot!r} {self.run_id} {state}>"

    # -- background --------------------------------------------------------------------------------------------------

    def _pid(self) -> int | None:
        # a backtest leaves the same records whichever process runs it
        return None if self.settings.mode == "backtest" else os.getpid()

    def _overhead_now(self) -> None:
        self._overhead.update(self._drainer.cpu_ns)

    def _now_and_then(self) -> None:
        self._beats += 1
        if self._data_dir is not None and self._beats % 60 == 1:
            self._data_dir.touch()
        if self.endpoint is not None and self._beats % 30 == 0:
            self.endpoint.retry()


def _undone(close: Callable[[float], object]) -> None:
    """Close a part of a start that failed; that failure is what has to be told."""
    with contextlib.suppress(Exception):
        close(time.monotonic() + _UNDO_S)


def _let_go(kept: Any) -> None:
    """Nobody takes traces: free the tick's stages."""
    if hasattr(kept, "forget"):
        kept.forget()


def _run_id(now_ns: int, *, backtest: bool) -> str:
    stamp = rfc3339(now_ns).replace("-", "").replace(":", "").partition(".")[0]
    return f"{stamp}-backtest" if backtest else f"{stamp}-{secrets.token_hex(3)}"


def _resource(settings: Settings, run_id: str) -> Resource:
    return Resource.create(
        {
            "service.name": settings.bot,
            "service.version": settings.bot_version,
            "service.instance.id": run_id,
            "process.pid": os.getpid(),
            "telemetry.distro.name": "botobs",
            "telemetry.distro.version": botobs.__version__,
        }
    )


def _timeout(value: Any) -> float:
    """A deadline that a bot may have given in any way; nonsense counts as the usual one."""
    try:
        wait = seconds(value)
    except Exception:
        return _FLUSH_S
    return min(max(wait, 0.0), 3600.0) if math.isfinite(wait) else _FLUSH_S
