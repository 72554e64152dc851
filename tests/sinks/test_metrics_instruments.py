"""Metrics set by events: any value, any label, never raising, nothing lost uncounted."""

from __future__ import annotations

import enum
import math
import threading
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from botobs.faults import Faults
from botobs.sinks.metrics import CATALOGUE, Instruments, LabelCap, Row
from botobs.sinks.metrics.instruments import number

ROWS = (
    *CATALOGUE,
    Row("bot_done_total", "counter", "{thing}", "Done.", ("symbol", "side")),
    Row("bot_level", "updown", "{thing}", "Level.", ("symbol",)),
    Row("bot_value", "gauge", "{USD}", "Value.", ("symbol",)),
    Row("bot_delay_ms", "histogram", "ms", "Delay.", ("symbol",), (0.1, 1.0, 10.0)),
)


class Bench:
    def __init__(self, **settings):
        self.reader, self.second, self.faults = InMemoryMetricReader(), InMemoryMetricReader(), Faults()
        meters = [MeterProvider([r], shutdown_on_exit=False).get_meter("botobs") for r in (self.reader, self.second)]
        self.instruments = Instruments(meters, self.faults, rows=ROWS, **settings)

    def points(self, reader=None):
        data = (reader or self.reader).get_metrics_data()
        if data is None:
            return {}
        encode_metrics(data)  # whatever was taken must be fit to be sent
        metrics = [m for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics]
        return {(m.name, *p.attributes.values()): p for m in metrics for p in m.data.data_points}


def test_every_kind_reaches_every_meter():
    bench = Bench(namespace="desk")
    bench.instruments.add("bot_done_total", symbol="X", side="buy")
    bench.instruments.add("bot_done_total", 2, symbol="X", side="buy")
    bench.instruments.add("bot_level", -2, symbol="X")
    bench.instruments.set("bot_value", Decimal("1.25"), symbol="X")
    bench.instruments.record("bot_delay_ms", 0.5, symbol="X")
    for reader in (bench.reader, bench.second):
        points = bench.points(reader)
        assert points["desk_done_total", "X", "buy"].value == 3
        assert points["desk_level", "X"].value == -2
        assert points["desk_value", "X"].value == 1.25
        assert list(points["desk_delay_ms", "X"].bucket_counts) == [0, 1, 0, 0]
    assert not bench.faults.errors
    assert not bench.faults.drops


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        (Decimal("0.1"), 0.1),
        ("2.5", 2.5),
        (True, 1),
        (2**63 - 1, 2**63 - 1),
        (2**63, float(2**63)),
        (-(2**63) - 1, float(-(2**63) - 1)),
        (Fraction(1, 4), 0.25),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7.0),
        *(
            (bad, None)
            for bad in (
                None,
                "",
                "x",
                math.nan,
                math.inf,
                -math.inf,
                10**400,
                1j,
                [],
                object(),
                Decimal("sNaN"),
            )
        ),
    ],
)
def test_numbers(value, taken):
    assert number(value) == taken
    assert type(number(value)) in (int, float, type(None))
    bench = Bench()
    bench.instruments.set("bot_value", value, symbol="X")
    assert [point.value for point in bench.points().values()] == [taken] * (taken is not None)
    assert bench.faults.drops == ({} if taken is not None else {"metrics": 1})
    assert not bench.faults.errors


def test_what_opentelemetry_would_only_log_is_counted():
    bench = Bench()
    bench.instruments.record("bot_delay_ms", -1, symbol="X")
    bench.instruments.add("bot_done_total", 5, symbol="X", side="buy")
    bench.instruments.add("bot_done_total", -1, symbol="X", side="buy")
    assert {key: point.value for key, point in bench.points().items()} == {("bot_done_total", "X", "buy"): 5}
    assert bench.faults.drops == {"metrics": 2}


def test_misuse_is_counted_and_in_strict_mode_raised():
    for misuse in (
        lambda i: i.add("bot_nothing", 1),
        lambda i: i.add("bot_value", 1, symbol="X"),
        lambda i: i.set("bot_done_total", 1, symbol="X"),
        lambda i: i.record("bot_value", 1),
        lambda i: i.set("bot_value", 1, symbl="X"),
        lambda i: i.set("botobs_queue_depth", 1),
        lambda i: i.record("bot_stage_duration_seconds", 1),
    ):
        bench = Bench()
        misuse(bench.instruments)
        assert bench.faults.errors == {"metrics": 1}
        assert bench.points() == {}
        with pytest.raises((KeyError, TypeError)):
            misuse(Instruments([], Faults(strict=True), rows=ROWS))


def test_label_values_are_text_and_capped_for_all_metrics_together():
    bench = Bench(cap=LabelCap(2))
    for symbol in ("A", "B", "C", "D", "A"):
        bench.instruments.add("bot_done_total", symbol=symbol, side="buy")
    bench.instruments.set("bot_value", 1, symbol="C")
    bench.instruments.set("bot_value", 2, symbol="B")
    points = bench.points()
    assert {key[1]: point.value for key, point in points.items() if key[0] == "bot_done_total"} == {
        "A": 2,
        "B": 1,
        "other": 2,
    }
    assert {key[1]: point.value for key, point in points.items() if key[0] == "bot_value"} == {
        "other": 1,
        "B": 2,
    }
    assert bench.instruments.cap.folded == 3


def test_odd_labels():
    class Side(enum.StrEnum):
        BUY = "buy"

    class Rude:
        def __str__(self):
            raise RuntimeError

    bench = Bench()
    for odd in (Side.BUY, 5, Rude(), "\ud800", "x" * 1000, None):
        bench.instruments.set("bot_value", 1, symbol=odd)
    assert {key[1:] for key in bench.points()} == {
        ("buy",),
        ("5",),
        ("unprintable",),
        ("\\ud800",),
        ("x" * 200,),
        (),
    }
    assert not bench.faults.errors


anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(exclude_categories=())),
    st.binary(),
    st.decimals(),
    st.lists(st.integers()),
    st.complex_numbers(),
)


@settings(max_examples=50, deadline=None)
@given(value=anything, symbol=anything, side=anything)
def test_nothing_a_bot_can_pass_raises_or_spoils_an_export(value, symbol, side):
    bench = Bench()
    bench.instruments.add("bot_done_total", value, symbol=symbol, side=side)
    bench.instruments.set("bot_value", value, symbol=symbol)
    bench.instruments.add("bot_level", value, symbol=symbol)
    bench.instruments.record("bot_delay_ms", value, symbol=symbol)
    assert len(bench.points()) + bench.faults.drops.get("metrics", 0) == 4
    assert not bench.faults.errors


def test_the_cap_holds_with_many_threads():
    cap, start = LabelCap(50), threading.Barrier(8)
    shown = set()

    def run(first):
        start.wait()
        shown.update(cap.text("symbol", f"S{n}") for n in range(first, first + 100))

    threads = [threading.Thread(target=run, args=(n * 10,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(shown - {"other"}) == 50
