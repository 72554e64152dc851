"""The three ways out: the page, OTLP cumulative and delta, a provider of the user's own; threads, several observers."""

from __future__ import annotations

import logging
import threading
from bisect import bisect_left
from typing import ClassVar

import attrs
import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader, MetricReader, MetricsData
from opentelemetry.sdk.resources import Resource
from prometheus_client.parser import text_string_to_metric_families

from botobs.events import Event
from botobs.faults import Faults
from botobs.sinks.metrics import CATALOGUE, MetricsSink, Row
from botobs.sinks.metrics.catalogue.row import BPS
from botobs.stages.cells import BOUNDS_NS, CellTable

MS = 1_000_000
STAGE = "bot_stage_duration_seconds"
TRACE = "ab" * 16
DELTA, CUMULATIVE = AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE


@attrs.frozen(kw_only=True)
class Moved(Event):
    """An event that a test makes."""

    stream: ClassVar[str | None] = None

    bps: float


def measured(event):
    return event.bps, (event.symbol,)


ROWS = (
    *CATALOGUE,
    Row("bot_moves_total", "counter", "{move}", "Moves.", ("symbol",), source="event", event=Moved,
        measure=lambda event: (1, (event.symbol,))),
    Row("bot_move_bps", "histogram", "{bps}", "Move.", ("symbol",), BPS, source="event", event=Moved,
        measure=measured),
    Row("bot_depth", "gauge", "1", "Depth.", ("symbol",), source="reading"),
    Row("bot_seen_total", "counter", "{thing}", "Seen.", ("symbol",), source="reading"),
)  # fmt: skip


class Clock:
    def __init__(self):
        self.wall, self.perf, self.step = 1_000 * 10**9, 0, 0

    def time_ns(self):
        return self.wall

    def perf_ns(self):
        self.perf += self.step
        return self.perf


class Push(MetricReader):
    """Keeps what the OTLP reader would send."""

    def __init__(self, transform, **wishes):
        super().__init__(**wishes)
        self.transform, self.sent = transform, []

    def _receive_metrics(self, metrics_data, timeout_millis=0, **_):
        raise AssertionError("the SDK has nothing of its own")

    def shutdown(self, timeout_millis=0, **_):
        pass

    def metrics(self):
        self.collect()
        self.sent.append(self.transform(MetricsData([])))
        encode_metrics(self.sent[-1])  # whatever was taken must be fit to be sent
        return flat(self.sent[-1])


def flat(data):
    return {m.name: m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics} if data else {}


def values(metric):
    return {tuple(point.attributes.values()): point.value for point in metric.data.data_points}


def observe(table, stage, symbol, took_ns):
    cell = table.of(symbol, b'"?"')[stage]
    cell.counts[bisect_left(BOUNDS_NS, took_ns)] += 1
    cell.total_ns += took_ns
    cell.hand_on(took_ns)


def move(one, bps, symbol="X", trace_id=None):
    one.board.take(Moved(ts_ns=7, symbol=symbol, bps=bps, trace_id=trace_id))


@pytest.fixture
def sink():
    made = []

    def make(table=None, said=(("bot_depth", 7, ("X",)),), clock=None, faults=None, **settings):
        one = MetricsSink(
            table or CellTable(), BOUNDS_NS, faults or Faults(), clock or Clock(), **{"rows": ROWS, **settings}
        )
        one.board.ask(["bot_depth", "bot_seen_total"], lambda: said)
        made.append(one)
        return one

    yield make
    for one in made:
        one.close(1)


def page(sink):
    families = text_string_to_metric_families(sink.render()[0].decode())
    return {(s.name, *sorted(s.labels.items())): s.value for f in families for s in f.samples}


def stage_points(metrics):
    return {(p.attributes["stage"], p.attributes["symbol"]): p for p in metrics[STAGE].data.data_points}


def test_prometheus_shows_the_stages(sink):
    table = CellTable()
    for took in (5_000, 10_000, 10_001, 3 * MS, 20_000 * MS):
        observe(table, "feature", "BTC-USD", took)
    lines = sink(table, resource=Resource({"service.name": "trend"})).render()[0].decode().splitlines()
    own = 'stage="feature",symbol="BTC-USD"'
    assert f'{STAGE}_bucket{{{own},le="1e-05"}} 2' in lines
    assert f'{STAGE}_bucket{{{own},le="2.5e-05"}} 3' in lines
    assert f'{STAGE}_bucket{{{own},le="10.0"}} 4' in lines
    assert f'{STAGE}_bucket{{{own},le="+Inf"}} 5' in lines
    assert f"{STAGE}_count{{{own}}} 5" in lines
    assert f"{STAGE}_sum{{{own}}} 20.003025001" in lines
    assert 'target_info{service_name="trend"} 1' in lines
    assert not any("otel_scope" in line for line in lines)


def test_the_three_ways_show_the_same(sink):
    table, pushed, reader = CellTable(raw=True), [], InMemoryMetricReader()
    said = [("bot_depth", -1.5, ("A",)), ("bot_seen_total", 3, ("A",))]
    one = sink(
        table,
        said,
        push=lambda transform: pushed.append(Push(transform)) or pushed[0],
        meter_provider=MeterProvider([reader], shutdown_on_exit=False),
        version="1.2",
        resource=Resource({"service.name": "trend"}),
    )
    for n in range(200):
        observe(table, f"s{n % 3}", f"SYM{n % 5}", n * n * 1000)
        move(one, n - 100, f"SYM{n % 5}")
    one.signals.strength("A", "x", 0.5)
    one.signals.confidence("A", 0.75)
    shown, metrics = page(one), pushed[0].metrics()
    while one.drain(10**9):
        pass
    theirs = flat(reader.get_metrics_data())
    assert metrics.keys() == theirs.keys()
    assert metrics.keys() == {
        STAGE, "bot_moves_total", "bot_move_bps", "bot_depth", "bot_seen_total", "bot_signal_strength",
        "bot_model_confidence",
    }  # fmt: skip
    for name, metric in metrics.items():
        other = theirs[name]
        assert (metric.unit, metric.description, type(metric.data)) == (
            other.unit, other.description, type(other.data)
        )  # fmt: skip
        if name in ("bot_moves_total", "bot_depth", "bot_seen_total", "bot_signal_strength"):
            assert values(metric) == values(other)
            for point in metric.data.data_points:
                assert shown[(name, *sorted(point.attributes.items()))] == point.value
            continue
        assert metric.data.aggregation_temporality is CUMULATIVE
        also = {tuple(point.attributes.values()): point for point in other.data.data_points}
        for point in metric.data.data_points:
            same = also[tuple(point.attributes.values())]
            assert (tuple(same.explicit_bounds), list(same.bucket_counts)) == (
                tuple(point.explicit_bounds), list(point.bucket_counts)
            )  # fmt: skip
            own = tuple(sorted(point.attributes.items()))
            assert shown[(name + "_count", *own)] == point.count == sum(point.bucket_counts)
            total = same.sum if point.sum is None else point.sum
            assert shown[(name + "_sum", *own)] == pytest.approx(total)
            assert (point.sum is None) == (name == "bot_move_bps")  # it may fall: no sum over OTLP
    scopes = [(r.resource.attributes, s.scope) for r in pushed[0].sent[0].resource_metrics for s in r.scope_metrics]
    assert [(a["service.name"], s.name, s.version) for a, s in scopes] == [("trend", "botobs", "1.2")]
    sent = encode_metrics(pushed[0].sent[0]).resource_metrics[0].scope_metrics[0].metrics
    points = {m.name: m.histogram.data_points[0] for m in sent if m.HasField("histogram")}
    assert {name: (p.HasField("sum"), p.HasField("min"), p.HasField("max")) for name, p in points.items()} == {
        STAGE: (True, False, False), "bot_move_bps": (False, False, False), "bot_model_confidence": (True, False, False),
    }  # fmt: skip


def test_a_namespace_renames_the_bots_metrics_only(sink):
    table, pushed = CellTable(), []
    observe(table, "risk", "X", 5)
    one = sink(table, namespace="My-Desk", push=lambda t: pushed.append(Push(t)) or pushed[0])
    one.board.add("botobs_alerts_total", 1, "info", "delivered")
    names = {key[0] for key in page(one)}
    assert {"my_desk_stage_duration_seconds_count", "my_desk_depth", "botobs_alerts_total"} <= names
    assert not any(name.startswith("bot_") for name in names)
    assert {"my_desk_stage_duration_seconds", "my_desk_depth"} <= pushed[0].metrics().keys()


def test_times_and_a_clock_that_is_set_back(sink):
    table, clock, pushed = CellTable(), Clock(), []
    sink(table, clock=clock, push=lambda t: pushed.append(Push(t)) or pushed[0])
    began = clock.wall
    observe(table, "risk", "X", 5)
    clock.wall += 60 * 10**9
    point = stage_points(pushed[0].metrics())["risk", "X"]
    assert (point.start_time_unix_nano, point.time_unix_nano) == (began, clock.wall)
    clock.wall = began - 5 * 10**9
    point = stage_points(pushed[0].metrics())["risk", "X"]
    assert point.start_time_unix_nano <= point.time_unix_nano


def test_deltas_for_the_reader_that_prefers_them(sink):
    table, clock, pushed = CellTable(), Clock(), []
    wish = {Histogram: DELTA, Counter: DELTA}
    said = [("bot_seen_total", 3, ("X",)), ("bot_depth", 1, ("X",))]
    one = sink(table, said, clock, push=lambda t: pushed.append(Push(t, preferred_temporality=wish)) or pushed[0])
    began = clock.wall
    observe(table, "risk", "X", 5)
    observe(table, "risk", "Y", 5)
    move(one, -5, trace_id=TRACE)
    clock.wall += 10
    metrics = pushed[0].metrics()
    for name in (STAGE, "bot_move_bps", "bot_moves_total", "bot_seen_total"):
        assert metrics[name].data.aggregation_temporality is DELTA
    first = stage_points(metrics)["risk", "X"]
    assert (first.start_time_unix_nano, first.time_unix_nano, first.count) == (began, began + 10, 1)
    assert values(metrics["bot_seen_total"]) == {("X",): 3}
    assert [each.trace_id for each in metrics["bot_move_bps"].data.data_points[0].exemplars] == [int(TRACE, 16)]
    observe(table, "risk", "X", 2 * MS)
    observe(table, "risk", "X", 2 * MS)
    move(one, -5)
    move(one, 50)
    said[0] = ("bot_seen_total", 5, ("X",))
    page(one)  # another reader takes nothing away
    clock.wall += 10
    metrics = pushed[0].metrics()
    points = stage_points(metrics)
    assert points.keys() == {("risk", "X")}
    second = points["risk", "X"]
    assert (second.start_time_unix_nano, second.time_unix_nano) == (began + 10, began + 20)
    assert (second.count, sum(second.bucket_counts), second.sum) == (2, 2, 0.004)
    assert values(metrics["bot_moves_total"]) == {("X",): 2}
    assert values(metrics["bot_seen_total"]) == {("X",): 2}
    assert metrics["bot_move_bps"].data.data_points[0].exemplars == []  # told already
    assert pushed[0].metrics().keys() == {"bot_depth"}  # nothing new
    assert page(one)[STAGE + "_count", ("stage", "risk"), ("symbol", "X")] == 3


def test_exemplars_over_otlp(sink):
    pushed = []
    one = sink(push=lambda t: pushed.append(Push(t)) or pushed[0])
    move(one, 3, trace_id=TRACE)
    move(one, 300)
    pushed[0].metrics()
    sent = encode_metrics(pushed[0].sent[0]).resource_metrics[0].scope_metrics[0].metrics
    point = next(metric for metric in sent if metric.name == "bot_move_bps").histogram.data_points[0]
    assert [(each.trace_id.hex(), each.as_double, each.time_unix_nano) for each in point.exemplars] == [(TRACE, 3, 7)]
    pushed[0].metrics()
    sent = encode_metrics(pushed[0].sent[1]).resource_metrics[0].scope_metrics[0].metrics
    point = next(metric for metric in sent if metric.name == "bot_move_bps").histogram.data_points[0]
    assert (point.count, len(point.exemplars)) == (2, 0)


def test_the_environment_says_which_temporality(sink, monkeypatch):
    from opentelemetry.exporter.otlp.proto.common._internal.metrics_encoder import OTLPMetricExporterMixin

    class Wishes(OTLPMetricExporterMixin):
        def wishes(self):
            self._common_configuration()
            return {"preferred_temporality": self._preferred_temporality}

    for preference, deltas in (("delta", {"histogram", "counter"}), ("cumulative", set())):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", preference)
        wishes, pushed = Wishes(), []
        sink(push=lambda t, w=wishes.wishes(), p=pushed: p.append(Push(t, **w)) or p[0])
        assert pushed[0].transform.deltas == deltas


def test_collecting_while_many_threads_count(sink):
    table, pushed, done = CellTable(), [], threading.Event()
    one = sink(table, push=lambda t: pushed.append(Push(t, preferred_temporality={Histogram: DELTA})) or pushed[0])

    def bot(symbol):
        for n in range(2000):
            observe(table, f"s{n % 4}", symbol, n * 1000)
            if n % 10 == 0:
                move(one, n, symbol)

    threads = [threading.Thread(target=bot, args=(f"SYM{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    last: dict = {}
    told = moved = 0
    while not done.is_set():
        if not any(thread.is_alive() for thread in threads):
            done.set()  # one last round with nothing in between
        shown = page(one)
        for key, value in shown.items():
            if key[0] in (STAGE + "_count", "bot_move_bps_count"):
                bucket = (key[0].replace("_count", "_bucket"), *sorted((*key[1:], ("le", "+Inf"))))
                assert shown[bucket] == value
                assert value >= last.get(key, 0)
        last = shown
        metrics = pushed[0].metrics()
        for name in (STAGE, "bot_move_bps"):
            points = metrics[name].data.data_points if name in metrics else ()
            assert all(point.count == sum(point.bucket_counts) for point in points)
            if name == STAGE:
                told += sum(point.count for point in points)
            else:
                moved += sum(point.count for point in points)
    assert told == sum(value for key, value in last.items() if key[0] == STAGE + "_count") == 8_000
    assert moved == 800


def test_cells_that_share_their_labels_are_one_series(sink):
    table = CellTable()
    for symbol in ("A", "B", "C", "other"):
        observe(table, "risk", symbol, 5)
    shown = page(sink(table, (), label_cap=2))
    counts = {dict(key[1:])["symbol"]: value for key, value in shown.items() if key[0] == STAGE + "_count"}
    assert counts == {"A": 1, "B": 1, "other": 2}


def test_a_provider_of_the_users_own_gets_every_measurement(sink):
    table, reader = CellTable(raw=True), InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    one = sink(table, meter_provider=provider, prometheus=False, version="1.2")
    assert one.provider is None
    for took in (5_000, 3 * MS, 4 * MS):
        observe(table, "model", "BTC-USD", took)
    observe(table, "model", "\ud800", 1)
    for bps in (-700, -0.5, 0, 12):  # the SDK's own record() refuses the first two
        move(one, bps)
    assert one.drain(10**9) is False
    data = reader.get_metrics_data()
    scope = data.resource_metrics[0].scope_metrics[0].scope
    assert (scope.name, scope.version) == ("botobs", "1.2")
    metrics = flat(data)
    points = stage_points(metrics)
    point = points["model", "BTC-USD"]
    assert (point.count, point.sum, point.min, point.max) == (3, pytest.approx(0.007005), 5e-06, 0.004)
    assert point.explicit_bounds == tuple(bound / 1e9 for bound in BOUNDS_NS)
    assert list(point.bucket_counts) == table.of("BTC-USD", b"")["model"].counts
    assert ("model", "\\ud800") in points
    moved = metrics["bot_move_bps"].data.data_points[0]
    assert (moved.count, moved.sum, moved.min, moved.max) == (4, -688.5, -700, 12)
    assert tuple(moved.explicit_bounds) == BPS
    assert values(metrics["bot_depth"]) == {("X",): 7}
    assert one.render()[0] == b""


def test_drain_keeps_its_budget_and_starves_no_stage(sink):
    table, reader, clock = CellTable(raw=True), InMemoryMetricReader(), Clock()
    one = sink(table, clock=clock, meter_provider=MeterProvider([reader], shutdown_on_exit=False))
    for _ in range(10):
        observe(table, "busy", "X", 1)
        move(one, 1)
    observe(table, "rare", "X", 1)
    clock.step = 10
    rounds = 0
    while one.drain(30):
        rounds += 1
        cell = table.of("X", b"")["busy"]
        if rounds <= 9:
            for _ in range(10):  # more than a round can take
                cell.hand_on(1)
        if rounds == 8:
            assert not table.of("X", b"")["rare"].pending
    assert rounds > 15
    metrics = flat(reader.get_metrics_data())
    points = stage_points(metrics)
    assert (points["busy", "X"].count, points["rare", "X"].count) == (100, 1)
    assert metrics["bot_move_bps"].data.data_points[0].count == 10


def test_measurements_without_room_are_counted(sink):
    table, faults = CellTable(raw=True), Faults()
    one = sink(table, faults=faults, meter_provider=NoOpMeterProvider())
    one.board.passing._most = 3
    for _ in range(5):
        move(one, 1)
    table.of("X", b"")["s"].lost = 5
    one.drain(10**9)
    one.drain(10**9)
    table.of("X", b"")["s"].lost = 7
    one.drain(10**9)
    one.drain(10**9)
    assert faults.drops == {"metrics": 2 + 7}


def test_where_nobody_drains_room_is_made_and_nothing_is_lost(sink):
    reader = InMemoryMetricReader()
    one = sink(meter_provider=MeterProvider([reader], shutdown_on_exit=False), inline=True)
    one.board.passing._most = 3
    for _ in range(5):
        move(one, 1)
    while one.drain(10**9):
        pass
    assert flat(reader.get_metrics_data())["bot_move_bps"].data.data_points[0].count == 5


def test_any_provider_may_be_anything(sink, caplog):
    class Broken:
        __hash__ = None

        def get_meter(self, *_):
            raise OSError("no")

    class Refusing(NoOpMeterProvider):
        def get_meter(self, *args, **kwargs):
            meter = super().get_meter(*args, **kwargs)

            class Stone:
                def record(self, value, *_):
                    if value > 0:
                        raise OSError("no")

            # an implementation of the API that does not know advisories
            meter.create_histogram = lambda name, unit="", description="": Stone()
            return meter

    faults = Faults()
    one = sink(meter_provider=Broken(), faults=faults)
    assert one.drain(10**9) is False
    assert faults.errors == {"metrics.provider": 1}
    assert page(one)["bot_depth", ("symbol", "X")] == 7
    table, faults = CellTable(raw=True), Faults()
    one = sink(table, meter_provider=Refusing(), faults=faults)
    observe(table, "s", "X", 1)
    caplog.set_level(logging.WARNING)
    for bps in (-5, -6, 5):  # its histograms take nothing below zero, and no way behind that is known
        move(one, bps)
    assert one.drain(10**9) is False
    assert faults.errors == {"metrics.record": 4}
    assert faults.drops == {"metrics": 4}
    assert sum("takes no negative" in record.getMessage() for record in caplog.records) == 1
    assert page(one)["bot_move_bps_count", ("symbol", "X")] == 3


def test_bots_on_one_provider(sink):
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)

    def shown():
        metrics = flat(reader.get_metrics_data())
        return {
            name: values(metrics[name]) if name in metrics else None
            for name in ("bot_moves_total", "bot_seen_total", "bot_depth")
        }

    said = (("bot_depth", 7, ("X",)), ("bot_seen_total", 2, ("X",)))
    first = sink(None, said, meter_provider=provider, prometheus=False, bot="one")
    move(first, 1)
    assert shown() == {"bot_moves_total": {("X",): 1}, "bot_seen_total": {("X",): 2}, "bot_depth": {("X",): 7}}
    second = sink(None, said, meter_provider=provider, prometheus=False, bot="two")
    move(second, -1)
    # counters add up; gauges stand apart, a sum of two bots' equity would be nobody's
    assert shown() == {
        "bot_moves_total": {("X",): 2}, "bot_seen_total": {("X",): 4},
        "bot_depth": {("X", "one"): 7, ("X", "two"): 7},
    }  # fmt: skip
    while first.drain(10**9) or second.drain(10**9):
        pass
    assert flat(reader.get_metrics_data())["bot_move_bps"].data.data_points[0].count == 2
    move(first, 1)
    first.close(1)  # what it counted stays counted
    assert shown() == {"bot_moves_total": {("X",): 3}, "bot_seen_total": {("X",): 4}, "bot_depth": {("X",): 7}}
    second.close(1)
    second.close(1)
    assert shown() == {"bot_moves_total": {("X",): 3}, "bot_seen_total": {("X",): 4}, "bot_depth": None}
    third = sink(None, said, meter_provider=provider, prometheus=False, namespace="desk")
    assert shown()["bot_seen_total"] == {("X",): 4}  # another namespace has counters of its own
    assert values(flat(reader.get_metrics_data())["desk_seen_total"]) == {("X",): 2}
    third.abandon()
    assert "desk_depth" not in flat(reader.get_metrics_data())


def test_bots_of_one_name_on_one_provider(sink):
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    bots = [
        sink(None, (("bot_depth", n, ("X",)),), meter_provider=provider, prometheus=False, bot=bot, run_id=f"run-{n}")
        for n, bot in ((1, "one"), (2, "one"), (3, "two"))
    ]

    def shown():
        return values(flat(reader.get_metrics_data())["bot_depth"])

    assert shown() == {("X", "one", "run-1"): 1, ("X", "one", "run-2"): 2, ("X", "two"): 3}
    bots[0].close(1)
    assert shown() == {("X", "one"): 2, ("X", "two"): 3}
    bots[2].close(1)
    assert shown() == {("X",): 2}


def test_close_counts_what_fails_in_a_reader(sink):
    class Stuck(Push):
        def shutdown(self, timeout_millis=0, **_):
            raise OSError("no")

    faults = Faults()
    one = sink(push=Stuck, faults=faults)
    assert one.close(1) is False
    assert one.close(1) is True
    assert faults.errors == {"metrics.close": 1}


def test_an_unknown_symbol_may_be_any_text(sink):
    table = CellTable()
    names = ['a"b', "a\\b", "a\nb", "ü", "\ud800", "100%d", "", "{}"]
    for name in names:
        observe(table, 'st"age', name, 5)
    counts = {dict(key[1:])["symbol"] for key in page(sink(table)) if key[0] == STAGE + "_count"}
    assert counts == {name.encode("utf-8", "backslashreplace").decode() for name in names}
