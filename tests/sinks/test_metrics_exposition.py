"""The page: equal to the official reader's, valid for promtool, cheap."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry
from prometheus_client import exposition as plain
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from botobs.clock import SystemClock
from botobs.faults import Faults
from botobs.sinks.metrics import CATALOGUE, MetricsSink, PrometheusReader, Row, SelfReadings
from botobs.sinks.metrics.exposition import OPEN_METRICS, PLAIN_TEXT, negotiate
from botobs.sinks.metrics.pace import Pace
from botobs.stages.cells import BOUNDS_NS, CellTable

ASK_OPEN = "application/openmetrics-text;version=1.0.0"
ROWS = (
    *CATALOGUE,
    Row("bot_done_total", "counter", "{thing}", 'Done, "really" \\ truly.', ("symbol", "side")),
    Row("bot_level", "updown", "{thing}", "Level\nin lines.", ("symbol",)),
    Row("bot_value", "gauge", "1", "Value.", ("symbol",)),
    Row("bot_delay_seconds", "histogram", "s", "Delay.", ("symbol",), (0.1, 1.0, 10.0)),
)


class Official(PrometheusMetricReader):
    """OpenTelemetry's own reader, given the same metrics."""

    def __init__(self, transform, registry):
        self.transform = transform
        super().__init__(registry=registry, scope_info_enabled=False)

    def _receive_metrics(self, metrics_data, timeout_millis=0, **_):
        super()._receive_metrics(self.transform(metrics_data))


def make(table=None, push=None, rows=ROWS):
    said = SelfReadings(lambda: {"signals": 1, "x\\y": 2}, lambda: 0, dict, lambda: 1e-9, dict, lambda: 0, lambda: 1)
    resource = Resource.create({"service.name": 'the "bot"', "service.instance.id": "1", "odd.list": ["a", "b"]})
    return MetricsSink(
        table or CellTable(),
        BOUNDS_NS,
        said,
        Faults(),
        SystemClock(),
        resource=resource,
        push=push,
        rows=rows,
    )


def understood(text, parse):
    families = {}
    for family in parse(text):
        # the parsers keep the order of labels out of it, as Prometheus does
        samples = {(s.name, *sorted(s.labels.items())): s.value for s in family.samples}
        assert len(samples) == len(family.samples), "a series stands twice"
        families[family.name] = (family.type, family.documentation, family.unit, samples)
    return families


label = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=8)
counts = st.lists(st.integers(0, 2**40), min_size=len(BOUNDS_NS) + 1, max_size=len(BOUNDS_NS) + 1).filter(any)


@settings(max_examples=30, deadline=None)
@given(
    cells=st.dictionaries(st.tuples(label, label), st.tuples(counts, st.integers(0, 2**62)), max_size=4),
    values=st.lists(st.floats(0, 1e300), max_size=3),
    symbol=label,
)
def test_equal_to_the_official_reader(cells, values, symbol):
    table, registry = CellTable(), CollectorRegistry()
    for (stage, name), (found, total) in cells.items():
        cell = table.of(name, b'"?"')[stage]
        cell.counts[:], cell.total_ns = found, total
    sink = make(table, push=lambda transform: Official(transform, registry))
    for value in values:
        sink.instruments.add("bot_done_total", value, symbol=symbol, side="buy")
        sink.instruments.set("bot_value", -value, symbol=symbol)
        sink.instruments.add("bot_level", -value, symbol=symbol)
        sink.instruments.record("bot_delay_seconds", value, symbol=symbol)
    text, kind = sink.render()
    assert kind == PLAIN_TEXT
    assert understood(text.decode(), parse_plain) == understood(plain.generate_latest(registry).decode(), parse_plain)
    text, kind = sink.render(ASK_OPEN)
    assert kind == OPEN_METRICS
    assert understood(text.decode(), parse_open) == understood(
        openmetrics.generate_latest(registry).decode(), parse_open
    )
    sink.close(1)


def test_equal_to_the_official_reader_for_what_is_not_ours():
    registry, same = CollectorRegistry(), lambda data: data
    reader = PrometheusReader(same)
    provider = MeterProvider([reader, Official(same, registry)], Resource({}), shutdown_on_exit=False)
    meter = provider.get_meter("somebody.else", "1")
    meter.create_counter("http.requests", "{request}", "Requests.").add(3, {"http.route": "/", "2nd": True})
    meter.create_histogram("http.duration", "ms", "Took.").record(3)
    meter.create_gauge("the.heat", "Cel").set(3.5)
    meter.create_gauge("free", "By").set(2**40)
    meter.create_gauge("cpu", "%").set(2)
    meter.create_observable_counter("read", [lambda _: [Observation(5)]], "By", "Read.")
    ours = understood(reader.render()[0].decode(), parse_plain)
    theirs = understood(plain.generate_latest(registry).decode(), parse_plain)
    assert ours == theirs


def test_what_has_no_form_in_text_is_left_out():
    reader = PrometheusReader(lambda data: data)
    view = View(instrument_name="exponential", aggregation=ExponentialBucketHistogramAggregation())
    meter = MeterProvider([reader], Resource({}), shutdown_on_exit=False, views=[view]).get_meter("x")
    meter.create_histogram("exponential").record(1)
    meter.create_counter("plain").add(1)
    assert understood(reader.render()[0].decode(), parse_plain).keys() == {"target_info", "plain"}


def test_sums_beyond_every_number():
    reader = PrometheusReader(lambda data: data)
    counter = MeterProvider([reader], Resource({}), shutdown_on_exit=False).get_meter("x").create_counter("much")
    counter.add(1.7e308)
    counter.add(1.7e308)
    assert "much_total +Inf\n" in reader.render(ASK_OPEN)[0].decode()


def test_a_scope_cannot_spoil_the_page_with_a_name_of_another_kind():
    reader = PrometheusReader(lambda data: data)
    provider = MeterProvider([reader], Resource({}), shutdown_on_exit=False)
    provider.get_meter("botobs").create_gauge("thing").set(1)
    provider.get_meter("other").create_counter("thing").add(2)
    provider.get_meter("third").create_gauge("thing").set(3, {"of": "another"})
    shown = understood(reader.render()[0].decode(), parse_plain)["thing"][3]
    assert shown == {("thing",): 1, ("thing", ("of", "another")): 3}


def test_names_and_units_of_ours_stay_as_they_are():
    sink = make(rows=(Row("bot_delay_ms", "histogram", "ms", "Delay.", (), (1.0,)),))
    sink.instruments.record("bot_delay_ms", 0.5)
    for accept, parse in (("", parse_plain), (ASK_OPEN, parse_open)):
        families = understood(sink.render(accept)[0].decode(), parse)
        assert families["bot_delay_ms"][0] == "histogram"
    sink.close(1)


def test_promtool_finds_nothing_to_say():
    promtool = shutil.which("promtool")
    if promtool is None:
        if os.environ.get("BOTOBS_REAL_SERVERS") == "1":
            pytest.fail("promtool is not installed, and BOTOBS_REAL_SERVERS=1 asks for it")
        pytest.skip("promtool is not installed")
    table = CellTable()
    for name in ("BTC-USD", 'a"b\\c\nd', "ü"):
        cell = table.of(name, b'"?"')["feature"]
        cell.counts[3], cell.total_ns = 5, 10**6
    sink = make(table)
    sink.instruments.add("bot_done_total", 2, symbol="X", side="buy")
    page, _ = sink.render()
    done = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    sink.close(1)


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "text/plain",
        "text/html, */*;q=0.1",
        ASK_OPEN,
        "application/openmetrics-text",
        "application/openmetrics-text;version=0.0.1",
        "text/plain;version=0.0.4, application/openmetrics-text;version=1.0.0",
        "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.2",
    ],
)
def test_negotiates_as_prometheus_client_does(accept):
    official = plain.choose_encoder(accept)[1].split(";")[0]
    if accept.startswith("text/plain;version=0.0.4, app"):
        official = "text/plain"  # prometheus_client passes over the plain text that was named first
    assert negotiate(accept).split(";")[0] == official


@given(st.text())
def test_any_accept_header_has_an_answer(accept):
    assert negotiate(accept) in (PLAIN_TEXT, OPEN_METRICS)


def test_a_collection_that_hangs_holds_up_the_next_one_only_so_long(monkeypatch):
    monkeypatch.setattr("botobs.sinks.metrics.exposition._WAIT_S", 0.05)
    go_on, asked = threading.Event(), threading.Event()

    def hang(_):
        asked.set()
        go_on.wait(10)
        return []

    reader = PrometheusReader(lambda data: data)
    MeterProvider([reader], shutdown_on_exit=False).get_meter("x").create_observable_gauge("slow", [hang])
    thread = threading.Thread(target=reader.render)
    thread.start()
    assert asked.wait(5)
    with pytest.raises(TimeoutError):
        reader.render()
    go_on.set()
    thread.join()


def test_a_long_page_rests_on_its_way(monkeypatch):
    table, rests, sleep = CellTable(), [], time.sleep
    for symbol in range(100):
        for stage in range(8):
            table.of(f"SYM{symbol}", b'"?"')[f"stage{stage}"].counts[3] = 5
    sink = make(table)
    sink.render()
    monkeypatch.setattr(time, "sleep", lambda seconds: (rests.append(seconds), sleep(seconds)))
    began = time.thread_time()
    sink.render()
    assert len(rests) > (time.thread_time() - began) / 0.001  # at the very least once in each millisecond of work
    assert all(0 < rest < 0.001 for rest in rests)
    sink.close(1)


def test_a_busy_bot_cannot_keep_a_page_from_its_end(monkeypatch):
    monkeypatch.setattr("botobs.sinks.metrics.pace._STRETCH_NS", 0)
    monkeypatch.setattr("botobs.sinks.metrics.pace._MOST_REST_NS", 5_000_000)
    naps, sleep = [], time.sleep
    # each rest as long as under a thread that never lets go of the interpreter
    monkeypatch.setattr(time, "sleep", lambda seconds: (naps.append(seconds), sleep(0.001)))
    pace = Pace()
    for _ in range(1000):
        pace()
    assert 1 <= len(naps) <= 5


def test_a_scrape_costs_a_small_part_of_the_official_one():
    table, registry = CellTable(), CollectorRegistry()
    for symbol in range(50):
        for stage in range(8):
            table.of(f"SYM{symbol}-USD", b'"?"')[f"stage{stage}"].counts[symbol % 20] = 5
    sink = make(table, push=lambda transform: Official(transform, registry))

    def cost(scrape):
        scrape()
        best = []
        for _ in range(3):
            began = time.thread_time()
            scrape()
            best.append(time.thread_time() - began)
        return min(best)

    ours, theirs = cost(sink.render), cost(lambda: plain.generate_latest(registry))
    assert ours < theirs / 4  # measured: a fifteenth
    sink.close(1)
