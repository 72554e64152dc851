"""The board: any value, any label, never raising, nothing lost uncounted, and right against a plain model."""

from __future__ import annotations

import enum
import functools
import itertools
import math
import operator
import threading
from bisect import bisect_left
from decimal import Decimal
from fractions import Fraction
from typing import ClassVar

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs.clock import SystemClock
from botobs.events import Event, OrderRejected, TradeClosed
from botobs.faults import Faults
from botobs.sinks.metrics import CATALOGUE, Board, LabelCap, Row
from botobs.sinks.metrics.catalogue.row import BPS, CONFIDENCE, MILLISECONDS
from botobs.sinks.metrics.numbers import number
from botobs.sinks.metrics.signals import SignalCells


@attrs.frozen(kw_only=True)
class Odd(Event):
    """An event that a test makes."""

    stream: ClassVar[str | None] = None

    value: object = None
    label: object = "X"


def measured(event):
    return event.value, (event.label,)


ROWS = (
    *CATALOGUE,
    Row("bot_done_total", "counter", "{thing}", "Done.", ("symbol",), source="event", event=Odd, measure=measured),
    Row("bot_value", "gauge", "{USD}", "Value.", ("symbol",), source="reading"),
    Row("bot_all_total", "counter", "{thing}", "All.", ("symbol",), source="reading"),
    Row("bot_delay_ms", "histogram", "ms", "Delay.", ("symbol",), (0.1, 1.0, 10.0), source="event"),
    Row("bot_move_bps", "histogram", "{bps}", "Move.", ("symbol",), BPS, source="event", event=Odd, measure=measured),
)


def board(faults=None, **settings):
    return Board(faults or Faults(), SystemClock(), rows=ROWS, **settings)


def shown(one, name):
    """A metric's points by label values."""
    for taken in one.collect():
        if taken.name == name:
            return {point[0]: point for point in (*taken.plain, *taken.histograms)}
    return {}


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
            for bad in (None, "", "x", math.nan, math.inf, -math.inf, 10**400, 1j, [], object(), Decimal("sNaN"))
        ),
    ],
)
def test_numbers(value, taken):
    assert number(value) == taken
    assert type(number(value)) in (int, float, type(None))


def test_what_cannot_be_counted_is_left_out_and_counted_as_dropped():
    faults = Faults()
    one = board(faults)
    for bad in (math.nan, "x", 10**400, object(), -1):
        one.add("bot_done_total", bad, "X")
        one.record("bot_delay_ms", bad, "X")
    one.record("bot_move_bps", math.inf, "X")
    assert faults.drops == {"metrics": 11}
    assert not one.collect()
    one.record("bot_delay_ms", None, "X")  # nothing is no loss
    one.record("bot_move_bps", -3, "X")  # here negative is usual
    one.add("bot_done_total", 2, "X")
    assert faults.drops == {"metrics": 11}
    assert not faults.errors
    assert shown(one, "bot_done_total")["X",].value == 2
    assert shown(one, "bot_move_bps")["X",].counts[bisect_left(BPS, -3)] == 1


def test_misuse_is_counted_and_in_strict_mode_raised():
    faults = Faults()
    one = board(faults)
    one.add("bot_done_total", 1)
    one.record("bot_delay_ms", 1, "X", "Y")
    assert faults.errors == {"metrics": 2}
    with pytest.raises(ValueError, match="zip"):
        board(Faults(strict=True)).add("bot_done_total", 1)


finite = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12)


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.tuples(st.sampled_from("AB"), st.one_of(finite, st.sampled_from(BPS)))))
def test_a_histogram_is_what_a_plain_model_says(values):
    one = board()
    for symbol, value in values:
        one.record("bot_move_bps", value, symbol)
    found = shown(one, "bot_move_bps")
    assert found.keys() == {(symbol,) for symbol, _ in values}
    for symbol in {symbol for symbol, _ in values}:
        mine = [value for each, value in values if each == symbol]
        point = found[symbol,]
        for bound, count in zip((*BPS, math.inf), itertools.accumulate(point.counts), strict=True):
            assert count == sum(value <= bound for value in mine)
        assert point.total == functools.reduce(operator.add, mine, 0.0)  # `sum` is more exact from 3.12 on


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.tuples(st.sampled_from(["A", "B", None]), st.floats()), max_size=20))
def test_confidence_is_what_a_plain_model_says(values):
    faults = Faults()
    one = board(faults)
    cells = SignalCells(one, faults)
    for symbol, value in values:
        cells.confidence(symbol, value)
    good = [(symbol or "all", value) for symbol, value in values if math.isfinite(value) and value >= 0]
    found = shown(one, "bot_model_confidence")
    assert sum(sum(point.counts) for point in found.values()) == len(good)
    for (symbol,), point in found.items():
        mine = [value for each, value in good if each == symbol]
        for bound, count in zip((*CONFIDENCE, math.inf), itertools.accumulate(point.counts), strict=True):
            assert count == sum(value <= bound for value in mine)
    assert faults.drops.get("metrics", 0) == len(values) - len(good)


def test_boundaries_fit_their_quantity():
    assert BPS == tuple(-bound for bound in reversed(BPS))
    assert 0.0 in BPS
    assert (MILLISECONDS[0], MILLISECONDS[-1]) == (0.1, 30_000)
    assert 0 < CONFIDENCE[0] < CONFIDENCE[-1] == 1
    for bounds in (BPS, MILLISECONDS, CONFIDENCE):
        assert list(bounds) == sorted(set(bounds))


def test_the_strength_of_a_signal_is_the_last_one():
    faults = Faults()
    one = board(faults)
    cells = SignalCells(one, faults)
    one.beside("bot_signal_strength", cells.collect)
    said = [("A", "x", 0.5), ("A", "x", 0.25), ("A", None, 1), ("A", "unknown", 3), (None, "x", "7"), ("all", "x", 2.0)]
    for each in said:
        cells.strength(*each)
    for bad in (math.nan, math.inf, None, "x", object()):
        cells.strength("A", "x", bad)
    values = {labels: point.value for labels, point in shown(one, "bot_signal_strength").items()}
    assert values == {("A", "x"): 0.25, ("A", "unknown"): 3, ("all", "x"): 2.0}
    assert values == one.series("bot_signal_strength")
    assert faults.drops == {"metrics": 5}
    assert not faults.errors


def test_signals_beyond_the_cap_share_a_series_and_take_no_room():
    one = board(label_cap=2)
    cells = SignalCells(one, Faults())
    one.beside("bot_signal_strength", cells.collect)
    for n in range(500):
        cells.strength(f"S{n}", f"src{n}", float(n))
        cells.confidence(f"S{n}", 0.5)
    assert shown(one, "bot_signal_strength").keys() == {("S0", "src0"), ("S1", "src1"), ("other", "other")}
    assert {key: sum(point.counts) for key, point in shown(one, "bot_model_confidence").items()} == {
        ("S0",): 1, ("S1",): 1, ("other",): 498,
    }  # fmt: skip
    assert max(len(cells._strengths), len(cells._sure)) <= 3


def test_label_values_are_text_and_capped_for_all_metrics_together():
    one = board(label_cap=2)
    for symbol in ("A", "B", "C", "D", "A", "C"):
        one.add("bot_done_total", 1, symbol)
    one.record("bot_delay_ms", 1, "C")
    one.record("bot_delay_ms", 1, "B")
    assert one.series("bot_done_total") == {("A",): 2, ("B",): 1, ("other",): 3}
    assert shown(one, "bot_delay_ms").keys() == {("other",), ("B",)}
    assert one.cap.folded == 2  # values, not measurements
    assert one.cap.values == {"symbol": 2}


def test_a_metric_has_so_many_series_and_no_more(monkeypatch):
    monkeypatch.setattr("botobs.sinks.metrics.board._MOST_SERIES", 3)
    monkeypatch.setattr("botobs.sinks.metrics.signals._MOST_SERIES", 3)
    one = board()
    cells = SignalCells(one, Faults())
    one.beside("bot_signal_strength", cells.collect)
    for n in range(20):
        one.record("bot_slippage_bps", 1, f"S{n % 4}", "buy" if n % 2 else "sell")
        cells.strength(f"S{n % 4}", f"x{n % 5}", 1.0)
    assert len(shown(one, "bot_slippage_bps")) == len(shown(one, "bot_signal_strength")) == 4
    assert sum(sum(point.counts) for point in shown(one, "bot_slippage_bps").values()) == 20
    assert ("other", "other") in shown(one, "bot_signal_strength")


def test_odd_labels():
    class Side(enum.StrEnum):
        BUY = "buy"

    class Rude:
        def __str__(self):
            raise RuntimeError

        def __hash__(self):
            raise RuntimeError

    one = board()
    for odd in (Side.BUY, 5, Rude(), [], "\ud800", "x" * 1000, None):
        one.add("bot_done_total", 1, odd)
    assert one.series("bot_done_total").keys() == {
        ("buy",), ("5",), ("unprintable",), ("[]",), ("\\ud800",), ("x" * 200,), ("None",),
    }  # fmt: skip


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
@given(value=anything, symbol=anything, source=anything)
def test_nothing_a_bot_can_pass_raises(value, symbol, source):
    faults = Faults()
    one = board(faults)
    cells = SignalCells(one, faults)
    one.beside("bot_signal_strength", cells.collect)
    one.ask(["bot_value"], lambda: [("bot_value", value, (symbol,))])
    cells.strength(symbol, source, value)
    cells.confidence(symbol, value)
    one.take(Odd(ts_ns=0, value=value, label=symbol, trace_id=None))
    for taken in one.collect():
        for point in taken.plain:
            assert math.isfinite(point.value)
            assert all(type(label) is str for label in point.labels)
            point.labels[0].encode()
        for point in taken.histograms:
            assert sum(point.counts) == 1
            assert math.isfinite(point.total)
    assert not faults.errors


def test_events_are_measured_when_somebody_collects_and_in_the_background():
    one = board()
    rejected = OrderRejected(ts_ns=1, symbol="A", code="X1", message="no", order_id="o1")
    one.take(rejected)
    assert not one._plain["bot_order_rejections_total"]
    assert one.series("bot_order_rejections_total") == {("A", "X1"): 1}
    for _ in range(10):
        one.take(rejected)
    while one.measure(1):
        pass
    assert not one._waiting
    assert one.series("bot_order_rejections_total") == {("A", "X1"): 11}


def test_more_events_than_may_wait_are_measured_by_whoever_brings_them():
    one = board()
    for _ in range(6_000):
        one.take(Odd(ts_ns=0, value=1))
        assert len(one._waiting) <= 2_001
    assert one.series("bot_done_total") == {("X",): 6_000}


def test_a_trade_is_counted_once_whatever_becomes_of_it():
    one = board()
    record = {"net_pnl_bps": -12.0, "side": "short", "strategy_id": None, "prediction_error_bps": 3.0}
    for revision, undone in ((1, False), (2, False), (3, True)):
        one.take(TradeClosed(ts_ns=0, symbol="A", trade_id="t1", record=record, revision=revision, undone=undone))
    one.take(TradeClosed(ts_ns=0, symbol="A", trade_id="t2", record={}, revision=1, undone=True))
    assert one.series("bot_trades_total") == {("A", "unknown", "short"): 1}
    assert one.series("bot_strategy_trades_total") == {("unnamed",): 1}
    assert sum(shown(one, "bot_trade_pnl_bps")["A", "unknown"].counts) == 1
    assert shown(one, "bot_trade_pnl_bps")["A", "unknown"].total == -12.0


def test_an_event_that_cannot_be_measured_is_counted_and_spoils_no_other():
    faults = Faults()
    one = board(faults)
    one.take(TradeClosed(ts_ns=0, symbol="A", trade_id="t1", record=None))
    one.take(TradeClosed(ts_ns=0, symbol="A", trade_id="t2", record={"side": "long"}))
    assert one.series("bot_trades_total") == {("A", "unknown", "long"): 1}
    assert faults.errors == {"metrics": 4}


def test_exemplars_are_the_latest_of_their_bucket():
    one = board()
    first, second = "1" * 32, "2" * 32
    one.record("bot_move_bps", 3, "A", trace_id=first, ts_ns=1)
    one.record("bot_move_bps", 4, "A", trace_id=second, ts_ns=2)
    one.record("bot_move_bps", 4.5, "A", trace_id="0" * 32)
    one.record("bot_move_bps", 400, "A", trace_id=first, ts_ns=3)
    one.record("bot_move_bps", 500, "A")
    found = shown(one, "bot_move_bps")["A",].exemplars
    assert {place: each[:3] for place, each in found.items()} == {
        bisect_left(BPS, 4): (4, second, 2), bisect_left(BPS, 400): (400, first, 3),
    }  # fmt: skip


def test_readings_are_asked_at_each_collection_and_one_that_fails_spoils_no_other():
    faults = Faults()
    one = board(faults, label_cap=2)
    asked = []

    def ask():
        asked.append(1)
        for n in range(4):
            yield "bot_value", -n if n % 2 else n, (f"S{n}",)
            yield "bot_all_total", n, (f"S{n}",)
        yield "bot_value", None, ("S0",)
        yield "bot_value", math.nan, ("S1",)

    def fail():
        yield "bot_equity_value", 5, ("all", "1")
        yield "bot_position_size", 1, (1 / 0,)

    one.ask(["bot_value", "bot_all_total"], ask)
    one.ask(["bot_equity_value", "bot_position_size"], fail)
    assert {key: point.value for key, point in shown(one, "bot_value").items()} == {
        ("S0",): 0, ("S1",): -1, ("other",): -3,
    }  # fmt: skip
    assert len(asked) == 1
    assert one.series("bot_all_total") == {("S0",): 0, ("S1",): 1, ("other",): 5}
    one.series("bot_value")
    assert len(asked) == 2  # one round, whoever asks for what
    one.series("bot_value")
    assert len(asked) == 3
    assert one.series("bot_equity_value") == {("all", "1"): 5}
    assert one.series("bot_position_size") == {}
    assert faults.errors == {"metrics.reading": 2}  # one collection, and one round of questions


def test_the_cap_holds_with_many_threads():
    cap, start = LabelCap(50), threading.Barrier(8)
    found = set()

    def run(first):
        start.wait()
        found.update(cap.text("symbol", f"S{n}") for n in range(first, first + 100))

    threads = [threading.Thread(target=run, args=(n * 10,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found - {"other"}) == 50
    assert cap.folded == 170 - 50


def test_nothing_is_lost_between_many_threads():
    one = board()
    cells = SignalCells(one, Faults())
    start = threading.Barrier(5)

    def bot():
        start.wait()
        for each in range(3_000):
            one.take(Odd(ts_ns=0, value=1, label=f"S{each % 7}"))
            cells.confidence(f"S{each % 5}", 0.5)

    threads = [threading.Thread(target=bot) for _ in range(4)]
    for thread in threads:
        thread.start()
    start.wait()
    last = 0
    while any(thread.is_alive() for thread in threads):
        one.measure(100_000)
        total = sum(one.series("bot_done_total").values())
        assert total >= last
        last = total
    for thread in threads:
        thread.join()
    assert sum(one.series("bot_done_total").values()) == 12_000
    assert sum(sum(point.counts) for point in shown(one, "bot_move_bps").values()) == 12_000
    assert sum(sum(point.counts) for point in shown(one, "bot_model_confidence").values()) == 12_000


def test_a_collection_waits_for_another_only_so_long(monkeypatch):
    monkeypatch.setattr("botobs.sinks.metrics.board._WAIT_S", 0.05)
    one = board()
    one.take(Odd(ts_ns=0, value=1))
    held, done = threading.Event(), threading.Event()

    def hold():
        with one._hands:
            held.set()
            done.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(20)
    with pytest.raises(TimeoutError):
        one.collect()
    assert one.measure(1000) is False  # the drainer passes on
    done.set()
    thread.join()
    assert one.collect()


def test_the_catalogue_is_well_formed():
    names = [row.name for row in CATALOGUE]
    assert len(set(names)) == len(names)
    for row in CATALOGUE:
        assert row.name.endswith("_total") == (row.kind == "counter")
        assert row.description.endswith(".")
        assert row.origin
        assert (row.event is None) == (row.measure is None) == (row.source != "event")
        assert bool(row.boundaries) == (row.kind == "histogram" and row.source != "stages")
        assert not row.name.endswith("_ms") or row.unit == "ms"
        assert not row.name.endswith("_seconds") or row.unit == "s"
        assert not row.name.endswith("_bps") or row.unit == "{bps}"
        assert not row.below_zero or row.name.endswith("_bps")
