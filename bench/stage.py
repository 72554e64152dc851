"""What one stage costs the caller."""

from __future__ import annotations

import gc
import tempfile
from collections import deque
from itertools import repeat
from pathlib import Path
from time import perf_counter_ns

from tests.servers.otlp import ReceiverProcess

from .figures import Result, median
from .workload import SYMBOL, signals

_BATCH = 20  # stages a tick, where the cost inside of one is measured


class Floor:
    """The least that a timed block can be: a slotted context manager, two clock readings, one append."""

    __slots__ = ("begun", "ended", "name")

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        self.begun = perf_counter_ns()
        return self

    def __exit__(self, *_):
        self.ended = perf_counter_ns()
        _SINK.append(self)


_SINK: deque[Floor] = deque(maxlen=1024)


def plain(value):
    return value


def run(*, quick: bool) -> Result:
    """All sorts in turn, round after round, in this process; medians."""
    result = Result("stage", "the caller's cost of one stage")
    with (
        tempfile.TemporaryDirectory(prefix="botobs-bench-") as directory,
        ReceiverProcess(max_seconds=200) as receiver,
    ):
        before = _before_start(9 if quick else 25)
        discarded, exported = OpenTelemetry(None), OpenTelemetry(f"{receiver.url}/v1/traces")
        import botobs

        obs = botobs.start("bench", data_dir=Path(directory) / "data", otlp_endpoint=receiver.endpoint)
        peers = {"otel": discarded.outside, "otel, in a span": discarded.inside, "otel, exported": exported.inside}
        cost = _measure({**_ours(botobs), **peers}, {"otel, exported": exported.settle}, 9 if quick else 51)
        obs.shutdown(10)
        discarded.close()
        exported.close()
    floor = cost["floor"]
    in_tick, outside = cost["in a tick"], cost["outside"]
    dec_in, dec_out = cost["decorated, in a tick"], cost["decorated, outside"]
    result.add("floor", floor, " ns")
    result.add("OpenTelemetry: span + record, discarded", cost["otel"], " ns")
    result.add("the same inside of a span", cost["otel, in a span"], " ns")
    result.add("the same, exported over OTLP meanwhile", cost["otel, exported"], " ns")
    for name, value, limit in (
        ("context manager, in a tick", in_tick, 3.5),
        ("context manager, outside of ticks", outside, 3.5),
        ("decorator, in a tick", dec_in, 4.5),
        ("decorator, outside of ticks", dec_out, 4.5),
    ):
        result.add(f"{name} / floor", value / floor, "x", limit=limit, note=f"{value:.0f} ns")
    for name, ours, peer in (
        ("context manager, in a tick", in_tick, "otel, in a span"),
        ("context manager, outside of ticks", outside, "otel"),
        ("decorator, in a tick", dec_in, "otel, in a span"),
        ("decorator, outside of ticks", dec_out, "otel"),
    ):
        result.add(f"OpenTelemetry, discarded / {name}", cost[peer] / ours, "x", limit=30, at_least=True)
    result.add("OpenTelemetry, exported / context manager", cost["otel, exported"] / in_tick, "x")
    result.add("OpenTelemetry, exported / decorator", cost["otel, exported"] / dec_in, "x")
    result.add("decorated call before start", before, " ns", note="above the plain call")
    result.add("tick with 5 stages", cost["tick of 5"], " ns")
    result.add("tick without stages", cost["tick of 0"], " ns")
    result.add("signal of 20 fields", cost["signal"], " ns")
    return result


def _before_start(rounds: int) -> float:
    import botobs

    decorated = botobs.feature(plain)
    costs = []
    for _ in range(rounds):
        own = _per_call(_calls(plain), 20_000)
        costs.append(_per_call(_calls(decorated), 20_000) - own)
    return median(costs)


def _ours(botobs) -> dict:
    stage = botobs.stage("bench")
    decorated = stage(plain)
    tick, feature, model, decision, risk, execution = (
        botobs.tick, botobs.feature, botobs.model, botobs.decision, botobs.risk, botobs.execution,
    )  # fmt: skip
    said = signals()[0]

    def floor(count):
        for _ in repeat(None, count):
            with Floor("bench"):
                pass

    def outside(count):
        for _ in repeat(None, count):
            with feature():
                pass

    def tick_of(each):
        def loop(count):
            for _ in repeat(None, count // _BATCH):
                with tick(SYMBOL):
                    each()

        return loop

    def twenty():
        for _ in repeat(None, _BATCH):
            with feature():
                pass

    def twenty_calls():
        for _ in repeat(None, _BATCH):
            decorated(1)

    def nothing():
        for _ in repeat(None, _BATCH):
            pass

    def empty_ticks(count):
        for _ in repeat(None, count):
            with tick(SYMBOL):
                pass

    def ticks(count):
        for i in range(count):
            with tick(SYMBOL, bar_id=i):
                with feature():
                    pass
                with model():
                    pass
                with decision():
                    pass
                with risk():
                    pass
                with execution():
                    pass

    def signalled(count):
        for _ in repeat(None, count):
            with tick(SYMBOL) as this:
                this.signal(**said)

    return {
        "loop": _empty, "floor": floor, "outside": outside, "plain call": _calls(plain),
        "decorated, outside": _calls(decorated), "ticks, twenty": tick_of(twenty),
        "ticks, twenty calls": tick_of(twenty_calls), "ticks, nothing": tick_of(nothing),
        "tick of 0": empty_ticks, "tick of 5": ticks, "signal": signalled,
    }  # fmt: skip


def _measure(sorts: dict, settle: dict, rounds: int) -> dict[str, float]:
    """Nanoseconds of each sort of stage, the loop around it taken off."""
    # about 10 ms each: short enough that a round sees one and the same machine
    counts = {"otel": 300, "otel, in a span": 300, "otel, exported": 2_000}
    counts |= {"tick of 0": 1_000, "tick of 5": 500, "signal": 500}
    taken: dict[str, list[float]] = {name: [] for name in sorts}
    for loop in sorts.values():
        loop(400)
    for _ in range(rounds):
        for name, loop in sorts.items():
            gc.collect()
            taken[name].append(_per_call(loop, counts.get(name, 4_000)))
            if name in settle:  # what it left to do in the background is not the next one's
                settle[name]()

    # rounds are compared with themselves, then the median is taken
    def over(name, base):
        return median(value - own for value, own in zip(taken[name], taken[base], strict=True))

    return {
        "floor": over("floor", "loop"),
        "outside": over("outside", "loop"),
        **{name: over(name, "loop") for name in ("otel", "otel, in a span", "otel, exported")},
        "in a tick": over("ticks, twenty", "ticks, nothing"),
        "decorated, in a tick": over("ticks, twenty calls", "ticks, nothing") - over("plain call", "loop"),
        "decorated, outside": over("decorated, outside", "plain call"),
        "tick of 0": over("tick of 0", "loop"),
        "tick of 5": over("tick of 5", "loop"),
        "signal": over("signal", "tick of 0"),
    }


def _per_call(loop, count: int) -> float:
    begun = perf_counter_ns()
    loop(count)
    return (perf_counter_ns() - begun) / count


def _empty(count):
    for _ in repeat(None, count):
        pass


def _calls(fn):
    def loop(count):
        for _ in repeat(None, count):
            fn(1)

    return loop


class OpenTelemetry:
    """A span through the batch processor and one record of a histogram with two attributes.

    Without an endpoint, what the processor hands on is discarded: the caller pays, nothing happens behind its back.
    With one it goes to a receiver over OTLP, and the caller waits for the lock whenever the exporter encodes.
    """

    def __init__(self, endpoint):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

        class Discards(SpanExporter):
            def export(self, spans):
                return SpanExportResult.SUCCESS

        self._traces = TracerProvider()
        self._metrics = MeterProvider([InMemoryMetricReader()])
        exporter = Discards() if endpoint is None else OTLPSpanExporter(endpoint)
        self._traces.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=2**16))
        self._span = self._traces.get_tracer("bench").start_as_current_span
        self._record = self._metrics.get_meter("bench").create_histogram("bench_seconds", unit="s").record
        self._attributes = {"stage": "bench", "symbol": SYMBOL}

    def outside(self, count):
        span, record, attributes = self._span, self._record, self._attributes
        for _ in repeat(None, count):
            begun = perf_counter_ns()
            with span("bench"):
                pass
            record((perf_counter_ns() - begun) / 1e9, attributes)

    def inside(self, count):
        with self._span("tick"):
            self.outside(count)

    def settle(self):
        self._traces.force_flush(10_000)

    def close(self):
        self._traces.shutdown()
        self._metrics.shutdown()
