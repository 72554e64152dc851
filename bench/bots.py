"""The same bot, watched by nobody, by botobs, and by its peers.

A bot has `turn(i)`, one turn of the loop; `drain()`, which delivers everything and tells what was lost;
`port`, where its metrics can be scraped, if anywhere. Only the variant that is asked for imports its library.
"""

from __future__ import annotations

import datetime as dt
from time import perf_counter_ns
from types import SimpleNamespace
from typing import TYPE_CHECKING

from .workload import STAGES, SYMBOL, signals

if TYPE_CHECKING:
    from pathlib import Path

_SAID = signals()
_MANY = len(_SAID)
_BOUNDS = [step * 10.0**power for power in range(-5, 1) for step in (1, 2.5, 5)] + [10.0]
_DRAIN_MS = 60_000


def none(work, directory: Path, endpoint: str):
    """Nobody watches."""

    def turn(_i):
        work()
        work()
        work()
        work()
        work()

    return SimpleNamespace(turn=turn, drain=dict, port=None)


def botobs_all(work, directory: Path, endpoint: str):
    return _botobs(work, directory, endpoint, "all")


def botobs_tail(work, directory: Path, endpoint: str):
    return _botobs(work, directory, endpoint, "tail")


def _botobs(work, directory: Path, endpoint: str, keep: str):
    import botobs

    obs = botobs.start(
        "bench", data_dir=directory, otlp_endpoint=endpoint, prometheus_port=0, keep_traces=keep, strict=False
    )
    tick, feature, model, decision, risk, execution = (
        botobs.tick, botobs.feature, botobs.model, botobs.decision, botobs.risk, botobs.execution,
    )  # fmt: skip

    def turn(i):
        with tick(SYMBOL, bar_id=i, bid=99.5, ask=100.5) as this:
            with feature():
                work()
            with model():
                work()
            with decision():
                work()
            with risk():
                work()
            with execution():
                work()
            this.signal(**_SAID[i % _MANY])

    def drain():
        report = obs.flush(_DRAIN_MS / 1000)
        return {
            # counted where traces are chosen, not where they are sent: six spans each
            "delivered": report.delivered, "spans_expected": 6 * sum(obs._own.kept_by.values()),
            "records": report.records.delivered, "dropped": dict(obs.faults.drops),
            "errors": dict(obs.faults.errors),
        }  # fmt: skip

    return SimpleNamespace(turn=turn, drain=drain, port=obs.endpoint.port)


def opentelemetry(work, directory: Path, endpoint: str):
    """A span a stage through the batch processor and the OTLP exporter, a histogram, a line of JSON."""
    import orjson
    import prometheus_client
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create({"service.name": "bench"})
    traces = TracerProvider(resource=resource)
    # a queue in which everything has room: nothing may be lost on this side either
    exporter = OTLPSpanExporter(f"{endpoint}/v1/traces")
    traces.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=2**20))
    readers = [
        PeriodicExportingMetricReader(OTLPMetricExporter(f"{endpoint}/v1/metrics")),
        PrometheusMetricReader(),
    ]
    metrics = MeterProvider(readers, resource=resource)
    tracer = traces.get_tracer("bench")
    record = (
        metrics.get_meter("bench")
        .create_histogram("bot_stage_duration", unit="s", explicit_bucket_boundaries_advisory=_BOUNDS)
        .record
    )
    server, _ = prometheus_client.start_http_server(0, "127.0.0.1")
    path = directory / "signals.jsonl"
    directory.mkdir(parents=True, exist_ok=True)
    file = path.open("ab")
    labels = [{"stage": stage, "symbol": SYMBOL} for stage in STAGES]
    pairs = list(zip(STAGES, labels, strict=True))
    open_span, dumps, now = tracer.start_as_current_span, orjson.dumps, dt.datetime.now
    turns = 0

    def turn(i):
        nonlocal turns
        turns += 1
        latency = {}
        with open_span("tick", attributes={"symbol": SYMBOL, "bar_id": i, "bid": 99.5, "ask": 100.5}) as span:
            for stage, attributes in pairs:
                begun = perf_counter_ns()
                with open_span(stage):
                    work()
                took = perf_counter_ns() - begun
                record(took / 1e9, attributes)
                latency[stage] = took / 1e6
            line = {
                "ts": now(dt.UTC).isoformat(), "symbol": SYMBOL, "bar_id": i, **_SAID[i % _MANY],
                "trace_id": f"{span.get_span_context().trace_id:032x}", "latency": latency,
            }  # fmt: skip
            file.write(dumps(line) + b"\n")

    def drain():
        delivered = traces.force_flush(_DRAIN_MS) and metrics.force_flush(_DRAIN_MS)
        file.flush()
        return {"delivered": delivered, "spans_expected": turns * 6, "records": turns}

    return SimpleNamespace(turn=turn, drain=drain, port=server.server_port)


def logfire(work, directory: Path, endpoint: str):
    """Its spans, a histogram and a log event; nothing leaves the process, which is its best case."""
    import logging

    import logfire as library

    logging.getLogger("logfire").setLevel(logging.ERROR)
    library.configure(
        send_to_logfire=False,
        console=False,
        service_name="bench",
        data_dir=directory,
        inspect_arguments=False,
    )
    record = library.metric_histogram("bot_stage_duration", unit="s").record
    pairs = [(stage, {"stage": stage, "symbol": SYMBOL}) for stage in STAGES]
    open_span, info = library.span, library.info

    def turn(i):
        with open_span("tick", symbol=SYMBOL, bar_id=i, bid=99.5, ask=100.5):
            for stage, attributes in pairs:
                begun = perf_counter_ns()
                with open_span(stage):
                    work()
                record((perf_counter_ns() - begun) / 1e9, attributes)
            info("signal", **_SAID[i % _MANY])

    def drain():
        return {"delivered": library.force_flush(_DRAIN_MS)}

    return SimpleNamespace(turn=turn, drain=drain, port=None)


def structlog(work, directory: Path, endpoint: str):
    """A line of JSON a turn, and prometheus_client's histogram a stage; no traces."""
    import orjson
    import prometheus_client
    import structlog as library

    directory.mkdir(parents=True, exist_ok=True)
    file = (directory / "signals.jsonl").open("ab")
    library.configure(
        processors=[
            library.contextvars.merge_contextvars,
            library.processors.add_log_level,
            library.processors.TimeStamper(fmt="iso", utc=True),
            library.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        logger_factory=library.BytesLoggerFactory(file),
        cache_logger_on_first_use=True,
    )
    log = library.get_logger().bind(bot="bench", symbol=SYMBOL)
    histogram = prometheus_client.Histogram(
        "bot_stage_duration_seconds", "stages", ["stage", "symbol"], buckets=_BOUNDS
    )
    server, _ = prometheus_client.start_http_server(0, "127.0.0.1")
    pairs = [(stage, histogram.labels(stage, SYMBOL)) for stage in STAGES]
    turns = 0

    def turn(i):
        nonlocal turns
        turns += 1
        latency = {}
        for stage, child in pairs:
            begun = perf_counter_ns()
            work()
            took = perf_counter_ns() - begun
            child.observe(took / 1e9)
            latency[stage] = took / 1e6
        log.info("signal", bar_id=i, latency=latency, **_SAID[i % _MANY])

    def drain():
        file.flush()
        return {"delivered": True, "records": turns}

    return SimpleNamespace(turn=turn, drain=drain, port=server.server_port)


BOTS = {
    "none": none,
    "botobs-all": botobs_all,
    "botobs-tail": botobs_tail,
    "opentelemetry": opentelemetry,
    "logfire": logfire,
    "structlog": structlog,
}
