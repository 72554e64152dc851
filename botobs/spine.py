"""What everything goes through, whichever room it comes from: clock, data directory, engine, bus, and the ways out."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.resources import Resource

import botobs
from botobs.bus import Bus
from botobs.clock import SystemClock, adapt, rfc3339
from botobs.datadir import DataDir
from botobs.delivery import Delivery
from botobs.events import Event
from botobs.faults import Faults
from botobs.measuring import Measuring
from botobs.overhead import Overhead
from botobs.sinks.endpoint import Endpoint
from botobs.sinks.otlp_out import OtlpOut
from botobs.sinks.provider import ProviderSpans
from botobs.sinks.records import RecordSink
from botobs.sinks.spans import SpanEncoder
from botobs.stages.cells import CellTable
from botobs.stages.engine import Engine
from botobs.stages.ids import Ids
from botobs.streams.redact import Redactor
from botobs.streams.store import StreamStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from botobs.config import Settings
    from botobs.health_page import HealthPage
    from botobs.money.room import Money
    from botobs.parts import Parts
    from botobs.runfile import PreviousRun
    from botobs.sinks.redis.publisher import RedisPublisher

__all__ = ["Spine", "undone"]

_DAY_NS = 86_400 * 10**9
_UNDO_S = 0.5


class Spine:
    """Builds it; the rooms are built upon it.

    Args:
        settings: What the observer runs with.
        parts: What stands in the place of the real thing.
        undo: Gets what has to be closed again if the start fails.
    """

    _money: Money  # a room: built later, and asked for the order of an execution

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
        undo.callback(undone, self._store.close)
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
        self.bus = Bus(self.faults, queue_size=settings.queue_size, threaded=not backtest)
        undo.callback(undone, self.bus.close)
        self._overhead = Overhead(self._cells)
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

    @property
    def data_dir(self) -> Any:
        """Where everything is written, absolute; `None` in a backtest without a disk."""
        return None if self._data_dir is None else self._data_dir.path

    def health_page(self) -> dict[str, Any]:
        """What `/health` says."""
        return {"status": "starting"} if self._health_page is None else self._health_page()

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
            undo.callback(undone, publisher.close)
        return publisher

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
            undo.callback(undone, self._otlp.close)
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
            run_id=self.run_id,
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
            undo.callback(undone, self.endpoint.close)


def undone(close: Callable[[float], object]) -> None:
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
