"""The page: what prometheus_client's parsers read of it is what was collected; cheap, and in short stretches."""

from __future__ import annotations

import itertools
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client import exposition as plain
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from botobs.clock import SystemClock
from botobs.faults import Faults
from botobs.sinks.metrics import CATALOGUE, Board, PrometheusPage, Row
from botobs.sinks.metrics.catalogue.row import BPS
from botobs.sinks.metrics.pace import Pace
from botobs.sinks.metrics.page import OPEN_METRICS, PLAIN_TEXT, negotiate

ASK_OPEN = "application/openmetrics-text;version=1.0.0"
ROWS = (
    Row("bot_done_total", "counter", "{thing}", 'Done, "really" \\ truly.', ("symbol", "side"), source="event"),
    Row("bot_value", "gauge", "1", "Value\nin lines.", ("symbol",), source="reading"),
    Row("bot_alone", "gauge", "1", "Alone.", source="reading"),
    Row("bot_delay_seconds", "histogram", "s", "Delay.", ("symbol",), (0.1, 1.0, 10.0), source="event"),
    Row("bot_move_bps", "histogram", "{bps}", "Move.", ("symbol",), BPS, source="event"),
)
RESOURCE = {"service.name": 'the "bot"', "odd.list": ["a", "b"], "2nd": True}


def make(said=(), **more):
    board = Board(Faults(strict=True), SystemClock(), rows=ROWS, **more)
    board.ask(["bot_value", "bot_alone"], lambda: said)
    return board, PrometheusPage(board.collect, RESOURCE)


def understood(text, parse):
    families = {}
    for family in parse(text):
        # the parsers keep the order of labels out of it, as Prometheus does
        samples = {(s.name, *sorted(s.labels.items())): s.value for s in family.samples}
        assert len(samples) == len(family.samples), "a series stands twice"
        families[family.name] = (family.type, family.documentation, family.unit, samples)
    return families


label = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=8)
finite = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300)


@settings(max_examples=40, deadline=None)
@given(values=st.lists(st.tuples(label, finite), max_size=6), side=label)
def test_both_texts_say_what_was_collected(values, side):
    said = list({name: ("bot_value", value, (name,)) for name, value in values}.values())
    board, page = make([*said, ("bot_alone", 2**62, ())])
    for symbol, value in values:
        board.add("bot_done_total", abs(value), symbol, side)
        board.record("bot_delay_seconds", abs(value), symbol)
        board.record("bot_move_bps", value, symbol, trace_id="ab" * 16, ts_ns=1_234_567_890)
    taken = {each.name: each for each in board.collect()}
    for accept, parse, kind in (("", parse_plain, PLAIN_TEXT), (ASK_OPEN, parse_open, OPEN_METRICS)):
        text, content_type = page.render(accept)
        assert content_type == kind
        families = understood(text.decode(), parse)
        assert families.pop("target" if kind == OPEN_METRICS else "target_info")[3] == {
            ("target_info", ("_nd", "true"), ("odd_list", '["a", "b"]'), ("service_name", 'the "bot"')): 1,
        }  # fmt: skip
        assert {name.removesuffix("_total") for name in taken} == set(families)
        for name, each in taken.items():
            found = families[name.removesuffix("_total")]
            assert found[0] == each.row.kind
            expected = {
                (name, *sorted(zip(each.row.labels, point.labels, strict=True))): point.value for point in each.plain
            }
            for point in each.histograms:
                key = tuple(zip(each.row.labels, point.labels, strict=True))
                bounds = (*map(repr, each.bounds), "+Inf")
                for bound, count in zip(bounds, itertools.accumulate(point.counts), strict=True):
                    expected[(f"{name}_bucket", *sorted((*key, ("le", bound))))] = count
                if kind == PLAIN_TEXT or not each.row.below_zero:
                    expected[(f"{name}_count", *key)] = sum(point.counts)
                    expected[(f"{name}_sum", *key)] = point.total
            assert found[3] == expected


def test_heads_tell_kind_unit_and_meaning():
    board, page = make([("bot_value", 1, ("A",))])
    board.add("bot_done_total", 1, "A", "buy")
    board.record("bot_delay_seconds", 1, "A")
    text = page.render()[0].decode()
    assert '# HELP bot_done_total Done, "really" \\\\ truly.\n# TYPE bot_done_total counter\n' in text
    assert "# HELP bot_value Value\\nin lines.\n" in text
    families = understood(page.render(ASK_OPEN)[0].decode(), parse_open)
    assert families["bot_delay_seconds"][:3] == ("histogram", "Delay.", "seconds")
    assert families["bot_done"][:3] == ("counter", 'Done, "really" \\ truly.', "")


def test_exemplars_are_in_openmetrics_alone():
    board, page = make()
    board.record("bot_delay_seconds", 0.5, "A", trace_id="ab" * 16, ts_ns=1_767_323_045_123_456_789)
    board.record("bot_delay_seconds", 50, "100%d", trace_id="cd" * 16, ts_ns=5)
    board.record("bot_delay_seconds", 0.5, "A")
    assert "# {" not in page.render()[0].decode()
    families = list(parse_open(page.render(ASK_OPEN)[0].decode()))
    found = [sample for family in families for sample in family.samples if sample.exemplar]
    assert [(s.labels["symbol"], s.labels["le"], s.exemplar.labels, s.exemplar.value) for s in found] == [
        ("A", "1.0", {"trace_id": "ab" * 16}, 0.5), ("100%d", "+Inf", {"trace_id": "cd" * 16}, 50),
    ]  # fmt: skip
    assert float(found[0].exemplar.timestamp) == pytest.approx(1_767_323_045.123)


def test_sums_beyond_every_number():
    board, page = make()
    for _ in range(2):
        board.add("bot_done_total", 1.7e308, "A", "buy")
    assert 'bot_done_total{symbol="A",side="buy"} +Inf\n' in page.render(ASK_OPEN)[0].decode()


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
    monkeypatch.setattr("botobs.sinks.metrics.page._WAIT_S", 0.05)
    go_on, asked = threading.Event(), threading.Event()

    def hang():
        asked.set()
        go_on.wait(10)
        return []

    page = PrometheusPage(hang, {})
    thread = threading.Thread(target=page.render)
    thread.start()
    assert asked.wait(20)
    with pytest.raises(TimeoutError):
        page.render()
    go_on.set()
    thread.join()
    assert page.render()[0]


def many(symbols, value=1.0):
    """A board with as many series as a bot with so many symbols has of each label pair."""
    board, page = make([("bot_value", value, (f"SYM{n}-USD",)) for n in range(symbols)])
    for n in range(symbols):
        board.add("bot_done_total", 1, f"SYM{n}-USD", "buy")
        board.record("bot_delay_seconds", 0.5, f"SYM{n}-USD")
        board.record("bot_move_bps", n, f"SYM{n}-USD")
    return board, page


def test_a_long_page_rests_on_its_way(monkeypatch):
    rests, sleep = [], time.sleep
    _, page = many(180)
    page.render()
    monkeypatch.setattr(time, "sleep", lambda seconds: (rests.append(seconds), sleep(seconds)))
    began = time.thread_time()
    page.render()
    assert len(rests) >= (time.thread_time() - began) / 0.001  # at the very least once in each millisecond of work
    assert all(0 < rest < 0.001 for rest in rests)


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


def test_texts_are_made_once_and_do_not_pile_up(monkeypatch):
    monkeypatch.setattr("botobs.sinks.metrics.page._MOST_SERIES", 3)
    said = [("bot_value", n, (f"S{n}",)) for n in range(10)]
    board, page = make(said)
    for n in range(10):
        board.record("bot_delay_seconds", 1, f"S{n}")
    first, second = page.render()[0], page.render()[0]
    assert first == second
    assert all(len(texts._fronts) <= 3 and len(texts._forms) <= 3 for texts in page._texts.values())


def test_a_page_costs_a_part_of_what_prometheus_client_takes_for_the_same_series():
    _, page = many(50)
    registry = CollectorRegistry()
    value = Gauge("bot_value", "V", ["symbol"], registry=registry)
    done = Counter("bot_done", "D", ["symbol", "side"], registry=registry)
    delay = Histogram("bot_delay_seconds", "D", ["symbol"], buckets=(0.1, 1.0, 10.0), registry=registry)
    move = Histogram("bot_move_bps", "M", ["symbol"], buckets=BPS, registry=registry)
    for n in range(50):
        value.labels(f"SYM{n}-USD").set(1.0)
        done.labels(f"SYM{n}-USD", "buy").inc()
        delay.labels(f"SYM{n}-USD").observe(0.5)
        move.labels(f"SYM{n}-USD").observe(n)

    def cost(scrape):
        scrape()
        best = []
        for _ in range(5):
            began = time.thread_time()
            scrape()
            best.append(time.thread_time() - began)
        return min(best)

    assert cost(page.render) < cost(lambda: generate_latest(registry)) / 2  # measured: a tenth


def test_every_name_is_one_that_prometheus_takes():
    for row in CATALOGUE:
        board = Board(Faults(strict=True), SystemClock(), rows=[row])
        labels = tuple("v" for _ in row.labels)
        if row.kind == "histogram":
            board.buckets(row, labels).add(row.boundaries, 0.0)
        elif row.source == "event":
            board.add(row.name, 1, *labels)
        else:
            board.ask([row.name], lambda row=row, labels=labels: [(row.name, 1, labels)])
        for accept, parse in (("", parse_plain), (ASK_OPEN, parse_open)):
            text = PrometheusPage(board.collect, {}).render(accept)[0].decode()
            found = [family for family in parse(text) if not family.name.startswith("target")]
            if row.source not in ("later", "stages", "signals") or row.kind == "histogram":
                assert [family.name for family in found] == [row.name.removesuffix("_total")]
                assert found[0].documentation == row.description
