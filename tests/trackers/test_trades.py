"""Round trips through the real position engine: context, excursions, lateness, restarts, and trades told by hand."""

import decimal
import json
import math
import os
import random
import threading
from decimal import Decimal as D

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs.accounting.book import Book
from botobs.accounting.instruments import Instrument, guess
from botobs.accounting.numbers import EXACT
from botobs.clock import rfc3339
from botobs.events.money import PositionAged, TradeClosed, TradeOpened
from botobs.streams.encode import dumps
from botobs.trackers.life import Place
from botobs.trackers.lifecycle import KEYS
from botobs.trackers.trades import FillContext, TradeTracker

START = 1_767_323_000_000_000_000
S = 1_000_000_000


def at(second):
    return rfc3339(START + round(second * S))


class Order:
    def __init__(self, **told):
        self.strategy = self.source = self.pred_bps = self.decision_px = self.strength = self.reason = None
        self.stop_px = self.target_px = self.bar_id = self.trace_id = self.more = None
        self.__dict__.update(told)


class Hands:
    """A book and a tracker, driven as the verbs drive them."""

    def __init__(self, instrument=None, clock=None, **settings):
        self.now = START
        self.instrument = instrument or guess("BTCUSDT")
        self.book = Book(self.instrument)
        self.tracker = TradeTracker(clock=lambda: self.now, trade_of=lambda place: self.book.trade, **settings)
        self.seq = 0
        self.events = []

    @property
    def place(self):
        return Place(self.instrument.symbol)

    def fill(self, second, qty, price, order=None, *, fee="0", seq=None, **more):
        self.seq = seq = self.seq + 1 if seq is None else seq
        qty, price = D(qty), D(price)
        fill = FillContext(
            symbol=self.instrument.symbol, side="buy" if qty > 0 else "sell", qty=qty.copy_abs(), price=price,
            ts=at(second), seq=seq, fill_id=more.pop("fill_id", None), **more,
        )  # fmt: skip
        with decimal.localcontext(EXACT):
            change = self.book.fill(fill.ts, seq, fill.fill_id, qty, price, D(fee), "taker")
            events = self.tracker.booked(fill, change, order, self.book.trade)
        self.events += events
        return events

    def void(self, seq):
        with decimal.localcontext(EXACT):
            change = self.book.remove(seq)
            events = self.tracker.voided(self.place, seq, change, self.book.trade)
        self.events += events
        return events

    def records(self):
        """The trades as a reader of the stream knows them: the highest revision of each counts."""
        found = {}
        for event in self.events:
            if isinstance(event, TradeClosed):
                assert event.revision > found.get(event.trade_id, (0, None))[0], "a revision went back"
                found[event.trade_id] = (event.revision, None if event.undone else event.record)
        return [record for _, record in found.values() if record is not None]


def only(events, kind=TradeClosed):
    found = [event for event in events if isinstance(event, kind)]
    assert len(found) == 1
    return found[0]


ENTRY = Order(
    strategy="bma", source="model", pred_bps=150.0, decision_px=D("99.9"), strength=0.8, stop_px=D(98), target_px=D(106),
    bar_id=10, trace_id="aa" * 16, more={"cohort_pros": 0.5, "cohort": {"amateurs": -1, "mood": "calm", "pros": 9}},
)  # fmt: skip
EXIT = Order(source="risk", strength=0.3, reason="take_profit", bar_id=14, trace_id="bb" * 16)


# the record


def test_one_record_has_every_key_and_the_figures():
    hands = Hands()
    opened = only(
        hands.fill(0, "2", "100", ENTRY, fee="0.2", slippage_bps=10.0, venue="x", account="main"), TradeOpened
    )
    hands.tracker.price("BTCUSDT", 104.0, at(1))
    hands.tracker.price("BTCUSDT", D("99.0"), at(2))
    hands.book.fund(at(2.5), 50, D("-0.1"))
    closed = only(hands.fill(60, "-2", "102", EXIT, fee="0.3", slippage_bps=-5.0, venue="x", account="main"))
    record = closed.record
    assert set(record) == set(KEYS)
    assert len(KEYS) == 52
    assert (opened.trade_id, opened.side, opened.strategy, opened.price) == ("t1", "long", "bma", D(100))
    assert closed.trade_id == record["trade_id"] == "t1"
    assert closed.ts_ns == START + 60 * S
    expected = {
        "symbol": "BTCUSDT", "strategy_id": "bma", "entry_ts": at(0), "exit_ts": at(60), "entry_bar_id": 10,
        "exit_bar_id": 14, "entry_px": D(100), "exit_px": D(102), "entry_qty": D(2), "exit_qty": D(2),
        "entry_side": "buy", "exit_side": "sell", "entry_signal_source": "model", "exit_signal_source": "risk",
        "entry_cohort_pros": 0.5, "entry_cohort_amateurs": -1, "entry_cohort_mood": "calm", "entry_pred_bps": 150.0,
        "entry_decision_px": D("99.9"), "exit_reason": "take_profit", "duration_bars": 4, "duration_seconds": 60.0,
        "realized_pnl_usd": D(4), "costs_total_usd": D("0.6"), "net_pnl_usd": D("3.4"), "funding_usd": D("-0.1"),
        "fees_usd": D("0.5"), "slippage_entry_bps": 10.0, "slippage_exit_bps": -5.0, "signal_strength_entry": 0.8,
        "signal_strength_exit": 0.3, "fills": 2, "entry_trace_id": "aa" * 16, "exit_trace_id": "bb" * 16,
        "account": "main", "venue": "x", "position_side": None, "side": "long", "revision": 1, "schema_version": "v1",
        "mfe_atr": None, "mae_atr": None,
    }  # fmt: skip
    assert {key: record[key] for key in expected} == expected
    floats = {
        "realized_pnl_bps": 200, "costs_total_bps": 30, "net_pnl_bps": 170, "risk_reward_ratio": 3, "r_multiple": 0.85,
        "prediction_error_bps": -50, "signal_decay": 0.5, "mfe_bps": 400, "mae_bps": 100,
    }  # fmt: skip
    assert {key: record[key] for key in floats} == pytest.approx(floats)
    assert b'"entry_px":"100"' in dumps(record)


def test_what_nobody_told_is_none():
    hands = Hands()
    hands.fill(0, "1", "100")
    record = only(hands.fill(1, "-1", "99")).record
    assert set(record) == set(KEYS)
    unknown = [key for key in KEYS if record[key] is None]
    assert set(unknown) == {
        "strategy_id", "entry_bar_id", "entry_signal_source", "exit_bar_id", "exit_signal_source", "entry_cohort_pros",
        "entry_cohort_amateurs", "entry_cohort_mood", "entry_pred_bps", "entry_decision_px", "duration_bars",
        "risk_reward_ratio", "r_multiple", "slippage_entry_bps", "slippage_exit_bps", "prediction_error_bps",
        "signal_strength_entry", "signal_strength_exit", "signal_decay", "mfe_atr", "mae_atr", "entry_trace_id",
        "exit_trace_id", "account", "venue", "position_side",
    }  # fmt: skip
    assert record["exit_reason"] == "unknown"


def test_a_short_is_measured_the_other_way_round():
    hands = Hands()
    hands.fill(0, "-1", "100", Order(pred_bps=-300.0, stop_px=D(102), target_px=D(95)))
    hands.tracker.price("BTCUSDT", 96.0, at(1))
    hands.tracker.price("BTCUSDT", 101.0, at(2))
    record = only(hands.fill(3, "1", "98")).record
    assert record["entry_side"], record["exit_side"] == ("sell", "buy")
    assert record["realized_pnl_usd"] == D(2)
    floats = {"mfe_bps": 400, "mae_bps": 100, "risk_reward_ratio": 2.5, "r_multiple": 1, "prediction_error_bps": 100}
    assert {key: record[key] for key in floats} == pytest.approx(floats)


@pytest.mark.parametrize(("stop", "target"), [("101", "110"), ("100", "110")])
def test_a_stop_that_risks_nothing_defines_no_ratio(stop, target):
    hands = Hands()
    hands.fill(0, "1", "100", Order(stop_px=D(stop), target_px=D(target)))
    record = only(hands.fill(1, "-1", "99")).record
    assert record["risk_reward_ratio"] is record["r_multiple"] is None


def test_an_inverse_contract_is_in_coin():
    hands = Hands(Instrument("XBTUSD", multiplier=D(100), inverse=True, base="XBT", quote="USD"))
    hands.fill(0, "10", "20000", Order(stop_px=D(16000)))
    record = only(hands.fill(1, "-10", "25000")).record
    assert record["realized_pnl_usd"] == D("0.01")
    assert record["realized_pnl_bps"] == pytest.approx(2000)
    assert record["r_multiple"] == pytest.approx(0.01 / (1000 / 16000 - 1000 / 20000))


def test_slippage_is_weighted_by_quantity_over_scale_ins_and_partial_exits():
    hands = Hands()
    hands.fill(0, "1", "100", ENTRY, slippage_bps=2.0)
    hands.fill(1, "3", "100", Order(strategy="other", source="late"), slippage_bps=6.0)
    hands.fill(2, "-3", "100", Order(reason="scale_out"), slippage_bps=1.0)
    record = only(hands.fill(3, "-1", "100", EXIT, slippage_bps=5.0)).record
    assert record["slippage_entry_bps"] == pytest.approx(5.0)
    assert record["slippage_exit_bps"] == pytest.approx(2.0)
    assert (record["strategy_id"], record["entry_signal_source"]) == ("bma", "model")
    assert (record["exit_reason"], record["fills"]) == ("take_profit", 4)


def test_a_flip_ends_one_trade_and_opens_the_next():
    hands = Hands()
    hands.fill(0, "1", "100", ENTRY)
    flip = Order(strategy="bma", source="flipper", reason="signal_flip", strength=0.9)
    events = hands.fill(1, "-3", "102", flip, fee="0.3", slippage_bps=4.0)
    assert [type(event) for event in events] == [TradeClosed, TradeOpened]
    assert (events[0].record["exit_reason"], events[0].record["exit_signal_source"]) == ("signal_flip", "flipper")
    assert (events[1].trade_id, events[1].side, events[1].qty) == ("t2", "short", D(2))
    record = only(hands.fill(2, "2", "101", EXIT)).record
    assert (record["entry_signal_source"], record["entry_qty"], record["slippage_entry_bps"]) == ("flipper", D(2), 4.0)
    assert sum(event.record["fees_usd"] for event in hands.events if isinstance(event, TradeClosed)) == D("0.3")


def test_thousands_of_fills_in_one_trade_stay_bounded_and_weighted():
    hands = Hands()
    total = 0.0
    for step in range(3_000):
        hands.fill(step, "1", "100", ENTRY if step == 0 else None, slippage_bps=float(step % 7))
        total += step % 7
    hands.fill(3_000, "-1", "150", slippage_bps=1.0)
    assert len(json.dumps(hands.tracker.state())) < 100_000
    hands.tracker = restarted(hands)
    record = only(hands.fill(3_001, "-2999", "100", EXIT, slippage_bps=1.0)).record
    assert record["slippage_entry_bps"] == pytest.approx(total / 3_000)
    assert record["entry_signal_source"] == "model"
    assert record["mfe_bps"] == pytest.approx(5_000)


# excursions


def test_only_prices_after_the_entry_and_before_the_exit_count():
    hands = Hands()
    price = hands.tracker.price
    price("BTCUSDT", 500.0, at(0))
    hands.fill(1, "1", "100")
    price("BTCUSDT", 50.0, at(0.5))  # told late
    price("BTCUSDT", 101.0, at(2))
    price("ETHUSDT", 900.0, at(2))
    price("BTCUSDT", 99.5, at(3))
    price("BTCUSDT", 130.0, at(5))  # before the exit was told, after it happened
    price("BTCUSDT", 10.0, at(5))
    record = only(hands.fill(4, "-1", "100.5")).record
    assert (record["mfe_bps"], record["mae_bps"]) == pytest.approx((100, 50))
    price("BTCUSDT", 200.0, at(6))
    assert hands.tracker.closed(1)[0]["mfe_bps"] == pytest.approx(100)


def test_a_trade_never_went_less_far_than_its_own_exits():
    hands = Hands()
    hands.fill(0, "2", "100")
    hands.fill(1, "-1", "103")
    record = only(hands.fill(2, "-1", "98")).record
    assert (record["mfe_bps"], record["mae_bps"]) == pytest.approx((300, 200))


def test_a_scale_in_is_no_excursion():
    hands = Hands()
    hands.fill(0, "1", "100")
    hands.fill(1, "1", "110")
    record = only(hands.fill(2, "-2", "105")).record
    assert (record["mfe_bps"], record["mae_bps"]) == (0.0, 0.0)


@pytest.mark.parametrize("apart", [-9_000_000, -5, 0, 5, 12, 9_000_000])
def test_a_price_without_a_time_counts_by_its_arrival_though_fills_are_dated_otherwise(apart):
    hands = Hands()
    hands.now = START + 100 * S
    hands.tracker.price("BTCUSDT", 500.0)
    hands.fill(100 + apart, "1", "100")
    hands.now += 10 * S
    hands.tracker.price("BTCUSDT", 103.0)
    hands.tracker.bar("BTCUSDT", 99, 99, 99, 99)
    hands.now += 10 * S
    record = only(hands.fill(120 + apart, "-1", "101")).record
    hands.tracker.price("BTCUSDT", 700.0)
    assert (record["mfe_bps"], record["mae_bps"]) == pytest.approx((300, 100))


@pytest.mark.parametrize("junk", [math.nan, math.inf, -math.inf, 0, -5, None, "x", D("NaN"), object(), [1]])
def test_a_price_that_is_none_counts_for_nothing(junk):
    hands = Hands()
    hands.fill(0, "1", "100")
    hands.tracker.price("BTCUSDT", junk, at(1))
    hands.tracker.price("BTCUSDT", 100.5, object())
    hands.tracker.price("BTCUSDT", 101.0, START + S)
    assert only(hands.fill(2, "-1", "100")).record["mfe_bps"] == pytest.approx(100)


def test_prices_of_another_venue_do_not_count():
    hands = Hands()
    hands.fill(0, "1", "100", venue="kraken")
    hands.tracker.price("BTCUSDT", 110.0, at(1), "binance")
    hands.tracker.price("BTCUSDT", 101.0, at(1), "kraken")
    hands.tracker.price("BTCUSDT", 99.0, at(1), None)
    record = only(hands.fill(2, "-1", "100", venue="kraken")).record
    assert (record["mfe_bps"], record["mae_bps"]) == pytest.approx((100, 100))


def test_bars_feed_the_range_and_count_once_they_began_after_the_entry():
    hands = Hands()
    for step in range(15):
        assert hands.tracker.bar("BTCUSDT", 100, 102, 98, 100, 5, at(step))
    assert hands.tracker.atr("BTCUSDT") == 4.0
    hands.fill(14.5, "1", "100")
    hands.tracker.bar("BTCUSDT", 100, 150, 50, 101, None, at(15))  # it began before the entry: its close only
    hands.tracker.bar("BTCUSDT", 101, 104, 99, 102, None, at(16))
    record = only(hands.fill(17, "-1", "101")).record
    assert (record["mfe_bps"], record["mae_bps"]) == pytest.approx((400, 100))
    assert (record["mfe_atr"], record["mae_atr"]) == pytest.approx((1.0, 0.25))  # the range as it was at the entry
    assert record["duration_bars"] == 2
    assert hands.tracker.adx("BTCUSDT") is None


@pytest.mark.parametrize(
    "bad", [(1, 2, 3, 2), (1, math.nan, 1, 1), (1, 2, 0, 1), (1, "x", 1, 1), (1, 5, 2, 9), (None,) * 4]
)
def test_what_is_no_bar_changes_nothing(bad):
    hands = Hands()
    hands.fill(0, "1", "100")
    before = hands.tracker.state()
    assert not hands.tracker.bar("BTCUSDT", *bad)
    assert hands.tracker.state() == before


def test_bars_are_counted_by_what_the_ticks_say_where_ids_are_no_numbers():
    hands = Hands()
    hands.fill(0, "1", "100", Order(bar_id="a"))
    for bar_id in ("a", "a", "b", "b", "c", None):
        hands.tracker.price("BTCUSDT", 100.0, at(1), None, bar_id)
    assert only(hands.fill(2, "-1", "100", Order(bar_id="c"))).record["duration_bars"] == 2


# late fills and voids


def comparable(records):
    return sorted(
        ({key: record[key] for key in KEYS if key not in ("trade_id", "revision")} for record in records),
        key=lambda record: (record["entry_ts"], record["exit_ts"], str(record)),
    )


def test_an_exit_told_in_the_wrong_order_still_gives_the_last_one_as_the_exit():
    hands = Hands()
    hands.fill(0, "2", "100", ENTRY)
    hands.fill(2, "-1", "102", EXIT)
    record = only(hands.fill(1, "-1", "101", Order(reason="scale_out"))).record
    assert record["exit_reason"] == "take_profit"
    assert record["exit_ts"] == at(2)


def test_a_void_reopens_a_trade_and_closing_it_again_is_a_later_revision():
    hands = Hands()
    hands.fill(0, "1", "100", ENTRY)
    hands.tracker.price("BTCUSDT", 105.0, at(1))
    assert only(hands.fill(2, "-1", "101", EXIT)).revision == 1
    undone = only(hands.void(2))
    assert (undone.undone, undone.revision) == (True, 2)
    assert undone.record["undone"] is True
    assert hands.tracker.closed() == []
    assert [trade.trade_id for trade in hands.tracker.open] == ["t1"]
    hands.tracker.price("BTCUSDT", 90.0, at(3))
    closed = only(hands.fill(4, "-1", "102", EXIT, seq=3))
    assert (closed.revision, closed.record["revision"]) == (3, 3)
    assert (closed.record["entry_signal_source"], closed.record["realized_pnl_usd"]) == ("model", D(2))
    assert (closed.record["mfe_bps"], closed.record["mae_bps"]) == pytest.approx((500, 1000))
    assert hands.tracker.closed() == [closed.record]


def test_a_late_fill_into_an_old_trade_leaves_the_open_one_alone():
    hands = Hands()
    hands.fill(0, "1", "100", ENTRY)
    hands.fill(10, "-1", "101", EXIT)
    hands.fill(20, "1", "100", Order(source="second"))
    hands.tracker.price("BTCUSDT", 103.0, at(21))
    hands.fill(5, "-0.5", "102", Order(source="late"))
    hands.fill(6, "0.5", "102", Order(source="late"))
    hands.tracker.price("BTCUSDT", 104.0, at(22))
    record = only(hands.fill(30, "-1", "101")).record
    assert record["entry_signal_source"] == "second"
    assert record["mfe_bps"] == pytest.approx(400)
    first = hands.tracker.get("t1")
    assert (first["entry_signal_source"], first["exit_signal_source"], first["fills"]) == ("model", "risk", 4)


def test_a_price_that_cannot_be_known_any_more_is_none():
    hands = Hands()
    hands.fill(0, "1", "100")
    hands.tracker.price("BTCUSDT", 120.0, at(1))
    hands.fill(3, "1", "100")
    hands.tracker.price("BTCUSDT", 110.0, at(4))  # no new high, so not remembered
    hands.fill(2, "-1", "100")  # late: the trade ended before, and another began at 3
    records = hands.records()
    assert records[0]["mfe_bps"] == pytest.approx(2_000)
    record = only(hands.fill(5, "-1", "100")).record
    assert record["entry_ts"] == at(3)
    assert record["mfe_bps"] is None


fills = st.lists(
    st.tuples(st.integers(-3, 3).filter(bool), st.integers(95, 105), st.integers(0, 2), st.booleans()),
    min_size=1, max_size=12,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(fills, st.randoms(use_true_random=False))
def test_any_order_of_arrival_with_voids_gives_the_same_records(told, rng):
    second, timed = 0, []
    for number, (qty, price, step, voided) in enumerate(told):
        second += step
        order = Order(
            strategy=f"s{number}", source=f"o{number}", reason=f"r{number}", pred_bps=float(number), bar_id=number,
            strength=number / 10, stop_px=D(90), target_px=D(110), trace_id=f"{number:032x}",
        )  # fmt: skip
        timed.append((number, second, qty, price, order, voided))

    def book(hands, fill):
        number, when, qty, price, order, _ = fill
        hands.fill(
            when,
            str(qty),
            str(price),
            order,
            fee="0.01",
            fill_id=str(number),
            slippage_bps=float(number),
            seq=number + 1,
        )

    straight = Hands()
    for fill in timed:
        if not fill[-1]:
            book(straight, fill)
    mixed = Hands()
    waiting = list(timed)
    rng.shuffle(waiting)
    voids = []
    for fill in waiting:
        book(mixed, fill)
        if fill[-1]:
            voids.append(fill[0] + 1)
        if voids and rng.random() < 0.5:
            mixed.void(voids.pop(rng.randrange(len(voids))))
    for seq in voids:
        mixed.void(seq)
    expected = comparable(straight.records())
    assert comparable(mixed.tracker.closed(1_000)) == comparable(mixed.records())
    found = comparable(mixed.records())
    assert [approximately(record) for record in found] == [approximately(record) for record in expected]
    assert [trade.qty for trade in mixed.tracker.open] == [trade.qty for trade in straight.tracker.open]
    assert [trade.strategy for trade in mixed.tracker.open] == [trade.strategy for trade in straight.tracker.open]


def approximately(record):
    # what a price did that was not told to the trade that is there now cannot be known
    return {key: pytest.approx(value) if isinstance(value, float) else value for key, value in record.items()}


# restarts


def restarted(hands, **settings):
    state = json.loads(json.dumps(hands.tracker.state()))
    tracker = TradeTracker(clock=lambda: hands.now, trade_of=lambda place: hands.book.trade, **settings)
    assert tracker.restore(state) == []
    assert json.loads(json.dumps(tracker.state())) == state
    return tracker


def test_open_trades_survive_a_restart_exactly():
    hands = Hands()
    for step in range(20):
        hands.tracker.bar("BTCUSDT", 100, 102 + step % 3, 98, 100, None, at(step - 30))
    hands.fill(0, "1", "100", ENTRY, slippage_bps=3.0)
    hands.tracker.price("BTCUSDT", 105.0, at(1))
    hands.fill(2, "-0.4", "101", Order(reason="scale_out"), slippage_bps=1.0)
    twin = restarted(hands)
    fill = FillContext(symbol="BTCUSDT", side="sell", qty=D("0.6"), price=D(102), ts=at(9), seq=3, slippage_bps=2.0)
    with decimal.localcontext(EXACT):
        change = hands.book.fill(fill.ts, 3, None, D("-0.6"), D(102), D(0), "taker")
    assert twin.booked(fill, change, EXIT) == hands.tracker.booked(fill, change, EXIT)
    assert twin.closed(1)[0]["mfe_atr"] > 0
    hands.fill(10, "1", "100", seq=4)
    hands.tracker = restarted(hands)
    assert [trade.trade_id for trade in hands.tracker.open] == ["t4"]
    assert hands.tracker.get("t1")["exit_reason"] == "take_profit"


def test_after_a_restart_a_late_fill_still_revises_with_the_context():
    hands = Hands()
    hands.fill(0, "2", "100", ENTRY)
    hands.fill(5, "-2", "101", EXIT)
    hands.tracker = restarted(hands)
    hands.fill(2, "1", "90", None)
    closed = only(hands.fill(3, "-1", "91", None))
    assert closed.revision == 3
    assert (closed.record["entry_signal_source"], closed.record["exit_reason"]) == ("model", "take_profit")
    assert isinstance(closed.record["entry_decision_px"], D)


def test_a_trade_the_tracker_lost_still_gives_its_record():
    hands = Hands()
    hands.fill(0, "1", "100", ENTRY)
    hands.tracker = TradeTracker()
    record = only(hands.fill(5, "-1", "101", EXIT)).record
    assert set(record) == set(KEYS)
    assert (record["realized_pnl_usd"], record["entry_ts"], record["side"]) == (D(1), at(0), "long")
    assert (record["exit_reason"], record["entry_signal_source"]) == ("take_profit", None)
    assert record["mfe_bps"] is record["mae_bps"] is None


def test_an_adopted_trade_has_its_age():
    hands = Hands()
    hands.fill(0, "1", "100", ENTRY)
    hands.tracker = TradeTracker(clock=lambda: hands.now)
    hands.tracker.adopt(hands.place, hands.book.trade)
    hands.tracker.adopt(hands.place, hands.book.trade)
    (trade,) = hands.tracker.ages(START + 7 * S)
    assert (trade.trade_id, trade.age_s, trade.qty) == ("t1", 7.0, D(1))
    record = only(hands.fill(5, "-1", "101", EXIT)).record
    assert record["mfe_bps"] is None
    assert hands.tracker.open == []


def test_after_a_restart_the_books_say_what_is_open():
    hands = Hands()
    hands.fill(0, "1", "100", ENTRY)
    hands.tracker.open_trade("ETH", HAND_ENTRY)
    kept = restarted(hands)
    kept.agree({hands.place: hands.book.trade})
    assert kept.get("t1").entry_trace_id == "aa" * 16
    hands.fill(1, "-2", "100")  # the bot died before this was kept
    kept.agree({hands.place: hands.book.trade})
    assert sorted(trade.trade_id[0] for trade in kept.open) == ["h", "t"]
    assert kept.get("t1") is None
    assert kept.get("t2").side == "short"
    kept.agree({})
    assert [trade.symbol for trade in kept.open] == ["ETH"]
    assert list(kept._watched) == ["ETH"]


@pytest.mark.parametrize("key", ["open", "closed", "bars", "hand"])
@pytest.mark.parametrize("junk", [None, 5, "x", [None], [{}], {"a": None}, {"a": [1, 2]}, [[]]])
def test_a_damaged_state_loses_only_what_is_damaged(key, junk):
    hands = Hands()
    hands.fill(0, "1", "100", ENTRY)
    hands.tracker.bar("BTCUSDT", 1, 2, 1, 2, None, at(1))
    hands.tracker.open_trade("ETH", {"side": "buy", "qty": 1, "px": 5, "ts": START})
    state = json.loads(json.dumps(hands.tracker.state()))
    tracker = TradeTracker()
    tracker.restore({**state, key: junk})
    assert len(tracker.open) == (0 if key == "open" else 2)
    tracker.restore({})


def test_closed_trades_are_bounded_and_their_cost_does_not_grow():
    hands = Hands(most_closed=50)
    for step in range(400):
        hands.fill(step, "1" if step % 2 == 0 else "-1", "100")
    assert len(hands.tracker.closed(1_000)) == 50
    assert [record["trade_id"] for record in hands.tracker.closed(2)] == ["t397", "t399"]
    assert hands.tracker.closed(0) == []
    assert hands.tracker.get("t1") is None
    assert hands.tracker._watched == {}


# age


def test_a_trade_held_too_long_is_reported_once_also_over_a_restart():
    hands = Hands()
    hands.fill(0, "2", "100", ENTRY)
    assert hands.tracker.aged(START + 60 * S, 60) == []
    (told,) = hands.tracker.aged(START + 61 * S, 60)
    assert isinstance(told, PositionAged)
    assert (told.trade_id, told.qty, told.age_s, told.limit_s) == ("t1", D(2), 61.0, 60.0)
    assert hands.tracker.aged(START + 500 * S, 60) == []
    hands.tracker = restarted(hands)
    assert hands.tracker.aged(START + 900 * S, 60) == []
    hands.fill(1_000, "-3", "100")
    assert [told.trade_id for told in hands.tracker.aged(START + 2_000 * S, 60)] == ["t2"]
    assert hands.tracker.aged(START + 2_000 * S, None) == []


def test_open_trades_keep_every_digit_whatever_context_the_bot_has():
    hands = Hands()
    many = "1.23456789012345678901234567890123456789"
    hands.fill(0, many, "7")
    with decimal.localcontext(EXACT):
        trip = hands.book.trade
    later = TradeTracker(clock=lambda: hands.now)
    with decimal.localcontext(prec=5):
        (trade,) = hands.tracker.open
        assert (trade.qty, trade.entry_px) == (D(many), D(7))
        later.adopt(hands.place, trip)
        assert later.open[0].qty == D(many)
    hands.fill(1, "-3" + many[1:], "7")
    assert only(hands.events[-1:], TradeOpened).qty == hands.tracker.open[0].qty == D(2)


def test_open_trades_show_quantity_price_and_age():
    hands = Hands()
    hands.fill(0, "1", "100", ENTRY)
    hands.fill(1, "1", "102")
    hands.now = START + 10 * S
    (trade,) = hands.tracker.open
    assert (trade.qty, trade.entry_px, trade.age_s, trade.side) == (D(2), D(101), 10.0, "long")
    assert hands.tracker.get("t1") == trade
    hands.now = START - 10 * S  # the clock was set back
    assert hands.tracker.open[0].age_s == 0.0


# by hand

HAND_ENTRY = {
    "ts": at(0), "bar_id": 3, "px": "100", "qty": "2", "side": "long", "signal_source": "model", "cohort_pros": 0.1,
    "cohort_amateurs": 0.2, "cohort_mood": "wild", "pred_bps": 80, "decision_px": "99.5", "stop_px": 95,
    "target_px": 110, "strategy_id": "mine", "signal_strength": 0.9, "fee": "0.2",
}  # fmt: skip


def test_by_hand_alone():
    trades = TradeTracker()
    trade_id = trades.open_trade("BTC", HAND_ENTRY)
    assert trade_id is not None
    trades.price("BTC", 104.0, at(1))
    record = trades.close_trade(
        "BTC", {"ts": at(30), "px": 103.0, "reason": "signal_flip", "fee": "0.3", "funding": "-0.1", "bar_id": 5}
    )
    assert set(record) == set(KEYS)
    expected = {
        "trade_id": trade_id, "symbol": "BTC", "strategy_id": "mine", "entry_px": D(100), "exit_px": D(103),
        "realized_pnl_usd": D(6), "costs_total_usd": D("0.6"), "net_pnl_usd": D("5.4"), "funding_usd": D("-0.1"),
        "exit_reason": "signal_flip", "entry_cohort_mood": "wild", "duration_bars": 2, "duration_seconds": 30.0,
        "side": "long", "entry_signal_source": "model", "fills": 2, "risk_reward_ratio": 2.0,
    }  # fmt: skip
    assert {key: record[key] for key in expected} == expected
    assert record["mfe_bps"] == pytest.approx(400)
    assert record["slippage_entry_bps"] == pytest.approx(0.5 / 99.5 * 1e4)
    assert record["r_multiple"] == pytest.approx(0.54)
    assert trades.closed() == [record]
    assert trades.open == []


def test_by_hand_under_the_records_own_names():
    trades = TradeTracker()
    entry = {
        "entry_ts": at(0), "entry_px": 100, "entry_qty": 1, "entry_side": "sell", "signal_strength_entry": 0.5,
        "entry_signal_source": "m", "trade_id": "mine-1",
    }  # fmt: skip
    assert trades.open_trade("BTC", entry) == "mine-1"
    record = trades.close_trade(
        "BTC", {"exit_ts": at(5), "exit_px": 90, "exit_reason": "tp", "signal_strength_exit": 0.2}
    )
    assert (record["side"], record["realized_pnl_usd"], record["exit_reason"]) == ("short", D(10), "tp")
    assert record["signal_decay"] == pytest.approx(0.3)


def test_by_hand_in_several_steps():
    told = []
    trades = TradeTracker(publish=told.append)
    trade_id = trades.open_trade("BTC", {"ts": at(0), "px": 100, "qty": 1, "side": "buy"})
    assert trades.watches("BTC")
    assert not trades.watches("ETH")
    assert trades.open_trade("BTC", {"ts": at(1), "px": 102, "qty": 1, "side": "buy"}) == trade_id
    assert trades.open[0].entry_px == D(101)
    assert trades.open_trade("BTC", {"ts": at(2), "px": 102, "qty": 1, "side": "sell"}) is None
    assert "the other way" in trades.reason
    assert trades.close_trade("BTC", {"ts": at(3), "px": 103, "qty": "0.5"}) is None
    assert trades.reason == "1.5 is still open"
    assert trades.close_trade("BTC", {"ts": at(4), "px": 103, "qty": 9}) is None
    assert trades.close_trade("BTC", {"ts": at(-4), "px": 103}) is None
    record = trades.close_trade("BTC", {"ts": at(5), "px": 103})
    assert (record["realized_pnl_usd"], record["fills"]) == (D(4), 4)
    assert [type(event) for event in told] == [TradeOpened, TradeClosed]
    assert trades.refused == 3


def test_by_hand_over_a_restart():
    hands = Hands()
    hands.tracker.open_trade("BTC", HAND_ENTRY)
    hands.tracker = restarted(hands)
    record = hands.tracker.close_trade("BTC", {"ts": at(5), "px": 101})
    assert (record["realized_pnl_usd"], record["entry_signal_source"]) == (D(2), "model")


def test_by_hand_does_not_touch_the_trade_of_the_books():
    hands = Hands()
    hands.fill(0, "1", "100", ENTRY)
    hands.tracker.open_trade("BTCUSDT", {"ts": at(1), "px": 100, "qty": 5, "side": "sell"})
    assert len(hands.tracker.open) == 2
    assert only(hands.fill(5, "-1", "101", EXIT)).record["entry_qty"] == D(1)
    assert hands.tracker.close_trade("BTCUSDT", {"ts": at(6), "px": 99})["realized_pnl_usd"] == D(5)


class Broken:
    def __str__(self):
        raise RuntimeError

    __repr__ = __float__ = __str__


@pytest.mark.parametrize(
    "change",
    [{"px": x} for x in (None, 0, -1, "x", math.nan, math.inf, True, Broken(), [], 10**5000)]
    + [{"qty": x} for x in (None, 0, -1, "nan")] + [{"side": x} for x in (None, "up", 5, Broken())]
    + [{"ts": x} for x in ("yesterday", math.nan, Broken(), -1e300)] + [{"fee": "x"}, {"stop_px": -5}, {"pred_bps": "x"}],
)  # fmt: skip
def test_by_hand_nothing_wrong_is_raised_or_booked(change):
    trades = TradeTracker()
    assert trades.open_trade("BTC", {**HAND_ENTRY, **change}) is None
    assert trades.reason
    assert trades.refused == 1
    assert trades.open == []
    assert trades.open_trade("BTC", HAND_ENTRY) is not None
    assert trades.reason is None


@pytest.mark.parametrize("symbol", [None, "", Broken()])
@pytest.mark.parametrize("data", [None, 5, "x", {}, [], Broken()])
def test_by_hand_junk_is_refused(symbol, data):
    trades = TradeTracker()
    assert trades.open_trade(symbol, data) is None
    assert trades.close_trade(symbol, data) is None
    assert trades.open_trade("BTC", data) is None
    assert trades.close_trade("BTC", data) is None
    assert trades.refused == 4


def test_by_hand_two_trades_of_the_same_moment_have_names_of_their_own():
    trades = TradeTracker()
    ids = set()
    for _ in range(3):
        ids.add(trades.open_trade("BTC", HAND_ENTRY))
        assert trades.close_trade("BTC", {"ts": at(0), "px": 101})["revision"] == 1
    assert len(ids) == 3
    assert len(trades.closed()) == 3
    assert trades.open_trade("BTC", {**HAND_ENTRY, "trade_id": ids.pop()}) is None
    assert "before" in trades.reason


# threads


def test_prices_from_many_threads_while_trades_come_and_go():
    hands = Hands()
    stop = threading.Event()
    failed = []

    def mark(seed):
        rng = random.Random(seed)
        try:
            while not stop.is_set():
                hands.tracker.price("BTCUSDT", 100 + rng.random(), START + 10_000 * S)
                hands.tracker.bar("BTCUSDT", 100, 101, 99, 100, None, START)
                hands.tracker.state()
                _ = hands.tracker.open, hands.tracker.closed(3)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=mark, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for step in range(200):
        hands.fill(step, "1" if step % 2 == 0 else "-1", "100")
        hands.tracker.open_trade("BTC", {**HAND_ENTRY, "ts": at(step)})
        hands.tracker.close_trade("BTC", {"ts": at(step), "px": 101})
    stop.set()
    for thread in threads:
        thread.join(10)
    assert failed == []
    assert len(hands.records()) == 100


def test_a_forked_child_can_use_it_though_another_thread_held_its_locks():
    trades = TradeTracker()
    trades.open_trade("BTC", HAND_ENTRY)
    children = []

    def fork():
        child = os.fork()
        if child == 0:
            trades.abandon()
            closed = trades.close_trade("BTC", {"ts": at(5), "px": 101})
            os._exit(0 if closed is not None and trades.open == [] else 1)
        children.append(child)

    with trades._lock, trades._hand.lock:
        thread = threading.Thread(target=fork)
        thread.start()
        thread.join(10)
    assert os.waitpid(children[0], 0)[1] == 0
    assert len(trades.open) == 1
