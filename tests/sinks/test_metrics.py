"""Stage histograms and self metrics: own provider, the user's own, deltas, many threads, several observers."""

from __future__ import annotations

import threading
from bisect import bisect_left

import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.metrics import Histogram, MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    InMemoryMetricReader,
    MetricReader,
    MetricsData,
    ResourceMetrics,
)
from opentelemetry.sdk.resources import Resource
from prometheus_client.parser import text_string_to_metric_families

from botobs.faults import Faults
from botobs.sinks.metrics import CATALOGUE, STAGE_DURATION, MetricsSink, SelfReadings
from botobs.stages.cells import BOUNDS_NS, CellTable

MS = 1_000_000
STAGE = "bot_stage_duration_seconds"


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
        self.sent.append(self.transform(metrics_data))

    def shutdown(self, timeout_millis=0, **_):
        pass

    def metrics(self):
        self.collect()
        return flat(self.sent[-1])


def flat(data):
    return {m.name: m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics}


def readings(**over):
    base = {
        "dropped": dict,
        "queue_depth": lambda: 7,
        "errors": dict,
        "overhead": lambda: 0.01,
        "kept": lambda: {"error": 2},
        "folded": lambda: 0,
    }
    return SelfReadings(**(base | over))


def observe(table, stage, symbol, took_ns):
    cell = table.of(symbol, b'"?"')[stage]
    cell.counts[bisect_left(BOUNDS_NS, took_ns)] += 1
    cell.total_ns += took_ns
    cell.hand_on(took_ns)


@pytest.fixture
def sink():
    made = []

    def make(table=None, said=None, clock=None, faults=None, **settings):
        made.append(
            MetricsSink(
                table or CellTable(),
                BOUNDS_NS,
                said or readings(),
                faults or Faults(),
                clock or Clock(),
                **settings,
            )
        )
        return made[-1]

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


def test_prometheus_and_otlp_show_the_same(sink):
    table, pushed = CellTable(), []
    one = sink(table, push=lambda transform: pushed.append(Push(transform)) or pushed[0])
    for n in range(200):
        observe(table, f"s{n % 3}", f"SYM{n % 5}", n * n * 1000)
    shown, metrics = page(one), pushed[0].metrics()
    points = stage_points(metrics)
    assert len(points) == 15
    for (stage, symbol), point in points.items():
        own = (("stage", stage), ("symbol", symbol))
        assert shown[(STAGE + "_count", *own)] == point.count == sum(point.bucket_counts)
        assert shown[(STAGE + "_sum", *own)] == point.sum
        counted = 0
        for bound, count in zip((*map(repr, point.explicit_bounds), "+Inf"), point.bucket_counts, strict=True):
            counted += count
            assert shown[(STAGE + "_bucket", ("le", bound), *own)] == counted
    assert metrics[STAGE].unit == "s"
    assert metrics[STAGE].data.aggregation_temporality is AggregationTemporality.CUMULATIVE
    assert {scope.scope.name for r in pushed[0].sent[0].resource_metrics for scope in r.scope_metrics} == {"botobs"}
    assert metrics.keys() == {
        STAGE,
        *(row.name for row in CATALOGUE if row.reading in {"queue_depth", "overhead", "kept", "folded"}),
    }


def test_a_namespace_renames_the_bots_metrics_only(sink):
    table, pushed = CellTable(), []
    observe(table, "risk", "X", 5)
    one = sink(table, namespace="My-Desk", push=lambda t: pushed.append(Push(t)) or pushed[0])
    names = {key[0] for key in page(one)}
    assert "my_desk_stage_duration_seconds_count" in names
    assert "botobs_queue_depth" in names
    assert not any(name.startswith("bot_") for name in names)
    assert "my_desk_stage_duration_seconds" in pushed[0].metrics()


def test_times_and_what_is_not_known(sink):
    table, clock, pushed = CellTable(), Clock(), []
    sink(table, clock=clock, push=lambda t: pushed.append(Push(t)) or pushed[0])
    began = clock.wall
    observe(table, "risk", "X", 5)
    clock.wall += 60 * 10**9
    point = stage_points(pushed[0].metrics())["risk", "X"]
    assert (point.start_time_unix_nano, point.time_unix_nano) == (began, clock.wall)
    sent = encode_metrics(pushed[0].sent[0]).resource_metrics[0].scope_metrics[0].metrics[0].histogram.data_points[0]
    assert (sent.count, sent.HasField("min"), sent.HasField("max")) == (1, False, False)
    clock.wall = began - 5 * 10**9  # set back: still no point that ends before it begins
    point = stage_points(pushed[0].metrics())["risk", "X"]
    assert point.start_time_unix_nano <= point.time_unix_nano


def test_deltas_for_the_reader_that_prefers_them(sink):
    table, clock, pushed = CellTable(), Clock(), []
    wish = {Histogram: AggregationTemporality.DELTA, ObservableCounter: AggregationTemporality.DELTA}
    one = sink(table, clock=clock, push=lambda t: pushed.append(Push(t, preferred_temporality=wish)) or pushed[0])
    began = clock.wall
    observe(table, "risk", "X", 5)
    observe(table, "risk", "Y", 5)
    clock.wall += 10
    metrics = pushed[0].metrics()
    assert metrics[STAGE].data.aggregation_temporality is AggregationTemporality.DELTA
    first = stage_points(metrics)["risk", "X"]
    assert (first.start_time_unix_nano, first.time_unix_nano, first.count) == (began, began + 10, 1)
    observe(table, "risk", "X", 2 * MS)
    observe(table, "risk", "X", 2 * MS)
    page(one)  # another reader takes nothing away
    clock.wall += 10
    points = stage_points(pushed[0].metrics())
    assert points.keys() == {("risk", "X")}
    second = points["risk", "X"]
    assert (second.start_time_unix_nano, second.time_unix_nano) == (began + 10, began + 20)
    assert (second.count, sum(second.bucket_counts), second.sum) == (2, 2, 0.004)
    assert STAGE not in pushed[0].metrics()
    assert page(one)[STAGE + "_count", ("stage", "risk"), ("symbol", "X")] == 3


def test_what_cannot_be_told_is_told_later(sink):
    table = CellTable()
    observe(table, "risk", "X", 5)
    transform = sink(table).stages.transform(delta=True)
    assert transform(MetricsData([])) == MetricsData([])
    nothing = MetricsData([ResourceMetrics(Resource({}), [], "")])
    assert stage_points(flat(transform(nothing)))["risk", "X"].count == 1
    assert transform(nothing) == nothing


def test_the_environment_says_which_temporality(sink, monkeypatch):
    from opentelemetry.exporter.otlp.proto.common._internal.metrics_encoder import OTLPMetricExporterMixin

    class Wishes(OTLPMetricExporterMixin):
        def wishes(self):
            self._common_configuration()
            return {"preferred_temporality": self._preferred_temporality}

    for preference, delta in (("delta", True), ("lowmemory", True), ("cumulative", False)):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", preference)
        wishes, pushed = Wishes(), []
        sink(push=lambda t, w=wishes.wishes(), p=pushed: p.append(Push(t, **w)) or p[0])
        assert pushed[0].transform.delta is delta


def test_collecting_while_many_threads_count(sink):
    table, pushed, done = CellTable(), [], threading.Event()
    wish = {Histogram: AggregationTemporality.DELTA}
    one = sink(table, push=lambda t: pushed.append(Push(t, preferred_temporality=wish)) or pushed[0])

    def bot(symbol):
        for n in range(3000):
            observe(table, f"s{n % 4}", symbol, n * 1000)

    threads = [threading.Thread(target=bot, args=(f"SYM{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    last: dict = {}
    told = 0
    while not done.is_set():
        if not any(thread.is_alive() for thread in threads):
            done.set()  # one last round with nothing in between
        shown = page(one)
        for key, value in shown.items():
            if key[0] == STAGE + "_count":
                assert shown[(STAGE + "_bucket", ("le", "+Inf"), *key[1:])] == value
                assert value >= last.get(key, 0)
        last = shown
        points = stage_points(m).values() if STAGE in (m := pushed[0].metrics()) else ()
        assert all(point.count == sum(point.bucket_counts) for point in points)
        told += sum(point.count for point in points)
    assert told == sum(value for key, value in last.items() if key[0] == STAGE + "_count") == 12_000


def test_self_metrics_follow_their_readings(sink):
    drops = {"signals": 3}
    said = readings(dropped=lambda: drops, errors=lambda: {"ledger": 1}, folded=lambda: 4, prometheus_up=lambda: True)
    one = sink(said=said)
    assert (
        page(one).items()
        >= {
            ("botobs_events_dropped_total", ("stream", "signals")): 3.0,
            ("botobs_internal_errors_total", ("where", "ledger")): 1.0,
            ("botobs_queue_depth",): 7.0,
            ("botobs_overhead_ratio",): 0.01,
            ("botobs_traces_kept_total", ("reason", "error")): 2.0,
            ("botobs_labels_folded_total",): 4.0,
            ("botobs_prometheus_up",): 1.0,
        }.items()
    )
    drops["signals"] = 5
    assert page(one)["botobs_events_dropped_total", ("stream", "signals")] == 5


def test_what_has_no_value_is_not_shown(sink):
    names = {key[0] for key in page(sink(said=readings(overhead=lambda: None, queue_depth=lambda: float("nan"))))}
    assert not names & {"botobs_overhead_ratio", "botobs_queue_depth", "botobs_prometheus_up"}


def test_a_reading_that_fails_is_counted_and_spoils_no_other(sink):
    faults = Faults()
    one = sink(said=readings(overhead=lambda: 1 / 0, errors=lambda: faults.errors), faults=faults)
    page(one)
    shown = page(one)
    assert shown["botobs_internal_errors_total", ("where", "metrics.self")] >= 1
    assert shown["botobs_queue_depth",] == 7


def test_streams_of_the_bots_own_are_capped(sink):
    shown = page(sink(said=readings(dropped=lambda: {f"s{n}": 1 for n in range(500)})))
    streams = {key[1][1]: value for key, value in shown.items() if key[0] == "botobs_events_dropped_total"}
    assert len(streams) <= 201
    assert streams["other"] == 300


def test_a_provider_of_the_users_own_gets_every_duration(sink):
    table, reader = CellTable(raw=True), InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    one = sink(table, meter_provider=provider, prometheus=False, version="1.2")
    assert one.provider is None
    for took in (5_000, 3 * MS, 4 * MS):
        observe(table, "model", "BTC-USD", took)
    observe(table, "model", "\ud800", 1)
    assert one.drain(10**9) is False
    data = reader.get_metrics_data()
    scope = data.resource_metrics[0].scope_metrics[0].scope
    assert (scope.name, scope.version) == ("botobs", "1.2")
    metrics = flat(data)
    assert metrics[STAGE].unit == "s"
    points = stage_points(metrics)
    point = points["model", "BTC-USD"]
    assert (point.count, point.sum, point.min, point.max) == (3, pytest.approx(0.007005), 5e-06, 0.004)
    assert point.explicit_bounds == tuple(bound / 1e9 for bound in BOUNDS_NS)
    assert list(point.bucket_counts) == table.of("BTC-USD", b"")["model"].counts
    assert ("model", "\\ud800") in points
    assert metrics["botobs_queue_depth"].data.data_points[0].value == 7
    assert one.render()[0] == b""


def test_a_users_provider_and_the_endpoint_together(sink):
    table, reader = CellTable(raw=True), InMemoryMetricReader()
    one = sink(table, meter_provider=MeterProvider([reader], shutdown_on_exit=False))
    observe(table, "model", "X", 5 * MS)
    one.drain(10**9)
    assert page(one)[STAGE + "_count", ("stage", "model"), ("symbol", "X")] == 1
    assert stage_points(flat(reader.get_metrics_data()))["model", "X"].count == 1


def test_drain_keeps_its_budget_and_starves_no_stage(sink):
    table, reader, clock = CellTable(raw=True), InMemoryMetricReader(), Clock()
    one = sink(table, clock=clock, meter_provider=MeterProvider([reader], shutdown_on_exit=False))
    for _ in range(10):
        observe(table, "busy", "X", 1)
    observe(table, "rare", "X", 1)
    clock.step = 10
    rounds = 0
    while one.drain(30):
        rounds += 1
        cell = table.of("X", b"")["busy"]
        if rounds <= 5:
            for _ in range(10):  # more than a round can take
                cell.hand_on(1)
        if rounds == 4:
            assert not table.of("X", b"")["rare"].pending
    assert rounds > 15
    points = stage_points(flat(reader.get_metrics_data()))
    assert (points["busy", "X"].count, points["rare", "X"].count) == (60, 1)


def test_durations_without_room_are_counted(sink):
    table, faults = CellTable(raw=True), Faults()
    one = sink(table, faults=faults, meter_provider=NoOpMeterProvider())
    table.of("X", b"")["s"].lost = 5
    one.drain(10**9)
    table.of("X", b"")["s"].lost = 7
    one.drain(10**9)
    one.drain(10**9)
    assert faults.drops == {"metrics": 7}


def test_any_provider_may_be_anything(sink):
    class Broken:
        __hash__ = None

        def get_meter(self, *_):
            raise OSError("no")

    class Refusing(NoOpMeterProvider):
        def get_meter(self, *args, **kwargs):
            meter = super().get_meter(*args, **kwargs)

            class Stone:
                def record(self, *_):
                    raise OSError("no")

            # an implementation of the API that does not know advisories
            meter.create_histogram = lambda name, unit="", description="": Stone()
            return meter

    faults = Faults()
    one = sink(meter_provider=Broken(), faults=faults)
    assert one.drain(10**9) is False
    assert faults.errors == {"metrics.provider": 2}
    assert page(one)["botobs_queue_depth",] == 7
    table, faults = CellTable(raw=True), Faults()
    one = sink(table, meter_provider=Refusing(), faults=faults)
    observe(table, "s", "X", 1)
    assert one.drain(10**9) is False
    assert faults.errors == {"metrics.record": 1}
    assert faults.drops == {"metrics": 1}


def test_observers_on_one_provider_add_up_and_no_counter_falls(sink):
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)

    def shown():
        metrics = flat(reader.get_metrics_data())
        return {
            name: metrics[name].data.data_points[0].value if name in metrics else None
            for name in ("botobs_traces_kept_total", "botobs_queue_depth")
        }

    first = sink(meter_provider=provider, prometheus=False)
    second = sink(meter_provider=provider, prometheus=False)
    assert shown() == {"botobs_traces_kept_total": 4, "botobs_queue_depth": 14}
    first.close(1)
    assert shown() == {"botobs_traces_kept_total": 4, "botobs_queue_depth": 7}
    second.close(1)
    second.close(1)
    assert shown() == {"botobs_traces_kept_total": 4, "botobs_queue_depth": None}
    sink(meter_provider=provider, prometheus=False)
    assert shown() == {"botobs_traces_kept_total": 6, "botobs_queue_depth": 7}
    abandoned = sink(meter_provider=provider, prometheus=False)
    abandoned.abandon()
    assert shown() == {"botobs_traces_kept_total": 6, "botobs_queue_depth": 7}


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


def test_the_catalogue_is_well_formed():
    names = [row.name for row in CATALOGUE]
    assert len(set(names)) == len(names)
    assert STAGE_DURATION in CATALOGUE
    fields = {field.name for field in SelfReadings.__attrs_attrs__}
    assert {row.reading for row in CATALOGUE} - {""} == fields
    for row in CATALOGUE:
        assert row.name.endswith("_total") == (row.kind == "counter")
        assert row.description.endswith(".")
        assert row.reading == "" or len(row.labels) <= 1
