"""Slippage: positive is worse, parts add up, and nothing is counted twice or left out. And what fills cost."""

from __future__ import annotations

import enum
import math
import os
import statistics
import sys
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from botobs.accounting.instruments import Instrument
from botobs.accounting.numbers import exact
from botobs.trackers.cells import Sketch
from botobs.trackers.costs import cost_of_fill, cost_of_funding
from botobs.trackers.orders import Orders
from botobs.trackers.slippage import SlippageTracker
from tests.trackers.hostile import EVERY, hostile

campaign = settings(
    max_examples=int(os.environ.get("SOAK_EXAMPLES", "100")), deadline=None, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
prices = st.decimals("0.00000001", "10000000", allow_nan=False, places=8).filter(lambda price: price > 0)
quantities = st.decimals("0.00001", "100000", allow_nan=False, places=5).filter(lambda qty: qty > 0)
START = 1_700_000_000 * 10**9


class Side(enum.Enum):
    BUY = 1
    SELL = 2


def close(found, wanted):
    return math.isclose(found, wanted, rel_tol=1e-12, abs_tol=1e-9)


def bps(price, decision, sign):
    return (Fraction(price) - Fraction(decision)) / Fraction(decision) * 10_000 * sign


class Desk:
    """Orders and slippage on a clock of the test's."""

    def __init__(self, **more):
        self.at = START
        self.orders = Orders(now=lambda: self.at)
        self.slippage = SlippageTracker(self.orders, **more)

    def order(self, symbol="BTCUSDT", side="buy", qty=10, decision_px=100, **more):
        return self.orders.announce(symbol, side, qty, decision_px=decision_px, **more)[0]

    @exact
    def fill(self, order, price, qty=1, **more):
        return self.slippage.filled(order, Decimal(price), Decimal(qty), order.side, now_ns=self.at, **more)


# -- one fill ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["buy", "LONG", "b", Side.BUY])
def test_a_dearer_buy_is_worse(side):
    tracker = SlippageTracker()
    assert tracker.record_decision("o", 100)
    found = tracker.calculate_slippage("o", "100.05", side, 2)
    assert found.bps == pytest.approx(5)
    assert found.money == Decimal("0.10")
    assert (found.order_id, found.decision_px, found.fill_px, found.qty) == ("o", 100, Decimal("100.05"), 2)
    assert tracker.calculate_slippage("o", "99.95", side, 2).bps == pytest.approx(-5)


@pytest.mark.parametrize("side", ["sell", "SHORT", "s", Side.SELL])
def test_a_cheaper_sale_is_worse(side):
    tracker = SlippageTracker()
    tracker.record_decision("o", 100.0)
    found = tracker.calculate_slippage("o", 99.95, side, "2")
    assert found.bps == pytest.approx(5)
    assert found.money == Decimal("0.10")


@given(prices, prices, quantities)
@campaign
def test_buys_and_sells_are_each_others_mirror(decision, price, qty):
    tracker = SlippageTracker()
    for name in "bs":
        tracker.record_decision(name, decision)
    bought = tracker.calculate_slippage("b", price, "buy", qty)
    sold = tracker.calculate_slippage("s", price, "sell", qty)
    assert bought.bps == -sold.bps
    assert bought.money == -sold.money == (price - decision) * qty
    assert close(bought.bps, float(bps(price, decision, 1)))
    assert bought.bps * 1 == 0 or (bought.bps > 0) == (price > decision)


@given(prices, prices, prices, quantities, st.sampled_from(["buy", "sell"]))
@campaign
def test_delay_and_execution_add_up(decision, sent, price, qty, side):
    tracker = SlippageTracker()
    tracker.record_decision("o", decision)
    assert tracker.record_sent("o", sent)
    found = tracker.calculate_slippage("o", price, side, qty)
    sign = 1 if side == "buy" else -1
    assert close(found.delay_bps, float(bps(sent, decision, sign)))
    assert math.isclose(
        found.delay_bps + found.execution_bps, found.bps,
        rel_tol=1e-12, abs_tol=1e-12 * (abs(found.delay_bps) + abs(found.bps)),
    )  # fmt: skip


def test_the_price_at_send_time_may_come_with_the_decision_or_before_it():
    tracker = SlippageTracker()
    tracker.record_decision("o", 100, sent_px="100.10")
    assert tracker.calculate_slippage("o", "100.30", "buy", 1).delay_bps == pytest.approx(10)
    tracker.record_decision("p", 100)
    assert tracker.calculate_slippage("p", "100.30", "buy", 1).delay_bps is None


def test_inverse_contracts_slip_in_coin():
    desk = Desk(
        instrument=lambda venue, symbol: Instrument(symbol, Decimal(100), inverse=True, base="BTC", quote="USD")
    )
    order = desk.order("XBTUSD", "buy", decision_px=50_000)
    found = desk.fill(order, "40000", 10)
    # 10 contracts of 100 USD: 0.02 coin at the decision, 0.025 as it was filled, and a buy at a lower price is better
    assert found.money == Decimal("-0.005")
    assert found.bps == pytest.approx(-2000)
    assert desk.slippage.stats()[0].by_currency == {"BTC": Decimal("-0.005")}


def test_multiplied_contracts_slip_by_the_multiplier():
    desk = Desk()
    found = desk.fill(desk.order(), "101", 2, instrument=Instrument("BTCUSDT", Decimal("0.01")))
    assert found.money == Decimal("0.02")


# -- several fills of an order ----------------------------------------------------------------------------------------


@given(prices, st.lists(st.tuples(prices, quantities), min_size=1, max_size=12), st.sampled_from(["buy", "sell"]))
@campaign
def test_partial_fills_are_weighted_by_quantity_exactly(decision, fills, side):
    tracker = SlippageTracker()
    tracker.record_decision("o", decision)
    sign = 1 if side == "buy" else -1
    for price, qty in fills:
        found = tracker.calculate_slippage("o", price, side, qty)
    whole = sum(Fraction(qty) for _, qty in fills)
    wanted = sum(bps(price, decision, sign) * Fraction(qty) for price, qty in fills) / whole
    order = tracker.orders.get("o")
    # the sums are exact; only the last step is a float
    assert Fraction(order.slip_sum) / Fraction(decision) / Fraction(order.slip_qty) * 10_000 * sign == wanted
    assert math.isclose(found.order_bps, float(wanted), rel_tol=1e-14)
    assert found.filled_qty == order.slip_qty == sum(qty for _, qty in fills)
    assert close(tracker.stats()[0].mean_bps, float(wanted)) or abs(float(wanted)) < 1e-6


def test_an_earlier_fills_slippage_keeps_its_own_so_far():
    tracker = SlippageTracker()
    tracker.record_decision("o", 100)
    first = tracker.calculate_slippage("o", 101, "buy", 1)
    tracker.calculate_slippage("o", 103, "buy", 1)
    assert first.order_bps == pytest.approx(100)


# -- what is not known ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [float("nan"), "x", None, 0, -1, True, "inf", float("inf")])
def test_numbers_that_are_none_are_counted_and_change_nothing(bad):
    tracker = SlippageTracker()
    tracker.record_decision("o", 100)
    assert tracker.calculate_slippage("o", bad, "buy", 1) is None
    assert tracker.calculate_slippage("o", 100, "buy", bad) is None
    assert not tracker.record_decision("p", bad)
    assert tracker.refused == 3
    assert tracker.calculate_slippage("p", 100, "buy", 1) is None
    assert tracker.calculate_slippage("nobody", 100, "buy", 1) is None
    assert tracker.unknown == 2
    assert tracker.calculate_slippage("o", 100, "up", 1) is None
    assert tracker.stats() == []


def test_an_order_without_a_decision_still_counts_its_fees():
    desk = Desk()
    assert desk.fill(desk.order(decision_px=None), 100, fee=Decimal("0.1")) is None
    (row,) = desk.slippage.stats()
    assert (row.fills, row.n, row.mean_bps, row.median_bps, row.money) == (1, 0, None, None, None)
    assert row.fees_bps == pytest.approx(10)
    assert row.reasons["mean_bps"] == "no fill with a known decision"


@given(st.data())
@campaign
def test_no_values_raise(data):
    draw = lambda: data.draw(hostile)  # noqa: E731
    tracker = SlippageTracker()
    tracker.record_decision(draw(), draw(), symbol=draw(), side=draw(), order_type=draw(), venue=draw(), sent_px=draw())
    tracker.record_decision("o", 100)
    tracker.record_decision("p", draw(), sent_px=draw())
    tracker.record_sent("o", draw())
    tracker.record_sent(draw(), draw())
    for name in ("o", "p", draw()):
        tracker.calculate_slippage(name, draw(), draw(), draw())
        tracker.calculate_slippage(name, draw(), "buy", 1)
        tracker.calculate_slippage(name, 1, "sell", draw())
    for by in ("symbol", "side", "order_type", "venue", "strategy"):
        for row in tracker.stats(by) + tracker.stats(by, "1h"):
            assert row.mean_bps is None or math.isfinite(row.mean_bps)


def test_every_curious_value_in_every_place():
    tracker = SlippageTracker()
    tracker.record_decision("o", 100)
    for make in EVERY:
        tracker.record_decision(make(), make())
        tracker.record_decision(
            "q", make(), symbol=make(), side=make(), venue=make(), order_type=make(), sent_px=make()
        )
        tracker.record_sent("o", make())
        for name in ("o", "q", make()):
            tracker.calculate_slippage(name, make(), make(), make())
            tracker.calculate_slippage(name, make(), "buy", 1)
            tracker.calculate_slippage(name, 1, "buy", make())
    assert tracker.stats()


# -- who counts -------------------------------------------------------------------------------------------------------


def test_a_fill_reported_both_ways_counts_once():
    for first in ("verb", "hand"):
        desk = Desk()
        order = desk.order()
        for way in (first, "hand" if first == "verb" else "verb"):
            if way == "verb":
                found = desk.fill(order, "100.10")
            else:
                found = desk.slippage.calculate_slippage(order.order_id, "100.10", "buy", 1)
            assert found.bps == pytest.approx(10)
            assert found.order_bps == pytest.approx(10)
        (row,) = desk.slippage.stats()
        assert (row.n, row.orders, row.money) == (1, 1, Decimal("0.10"))
        assert order.filled_qty == 1


def test_a_fill_that_was_taken_back_was_never_there():
    desk = Desk()
    order = desk.order(qty=2)
    desk.fill(order, "100.10", fee=Decimal(1))
    desk.fill(order, "103", fee=Decimal(2))
    assert order.done
    desk.at += 3_600 * 10**9
    exact(desk.slippage.taken_back)(order, Decimal(103), Decimal(1), "buy", fee=Decimal(2))
    (row,) = desk.slippage.stats()
    assert (row.n, row.fills, row.money) == (1, 1, Decimal("0.10"))
    assert row.mean_bps == pytest.approx(10)
    assert row.p95_bps == pytest.approx(10, rel=0.011)
    assert (order.filled_qty, order.done) == (1, False)
    assert desk.fill(order, "100.30").order_bps == pytest.approx(20)
    assert desk.slippage.stats(window="2h")[0].money == Decimal("0.40")
    assert desk.slippage.stats(window="30m")[0].money == Decimal("0.30")


# -- statistics -------------------------------------------------------------------------------------------------------


def test_brokers_can_be_compared():
    desk = Desk()
    for venue, price, latency in (("dear", "100.20", 50), ("cheap", "100.05", 5)):
        for _ in range(20):
            order = desk.order(venue=venue, order_type="limit")
            desk.orders.sent(order.order_id, now_ns=desk.at)
            later = desk.at + latency * 10**6
            desk.fill(order, price, fee=Decimal("0.05"), latency_ms=desk.slippage.latency_ms(order, later))
    for attempt in (1, 2):
        order = desk.order(venue="dear") if attempt == 1 else order
        desk.orders.refused(order, attempt, 2)
        desk.slippage.rejected(order)
    desk.fill(desk.order(venue="cheap", side="sell"), "100")
    dear, cheap = sorted(desk.slippage.stats("venue"), key=lambda row: row.key, reverse=True)
    assert (dear.key, dear.n, cheap.n) == ("dear", 20, 21)
    assert dear.mean_bps == pytest.approx(20)
    assert cheap.mean_bps == pytest.approx(5 * 20 / 21)
    assert (dear.rejections, dear.rejected_orders, dear.orders) == (2, 1, 21)
    assert dear.rejection_rate == pytest.approx(1 / 21)
    assert cheap.rejection_rate == 0
    assert dear.latency_ms == pytest.approx(50, rel=0.011)
    assert cheap.latency_ms == pytest.approx(5, rel=0.011)
    assert dear.fees_bps == pytest.approx(0.05 / 100.2 * 1e4)
    assert dear.money == Decimal("4.00")
    assert {row.key for row in desk.slippage.stats("order_type")} == {"limit", "market"}
    assert {row.key: row.n for row in desk.slippage.stats("side")} == {"buy": 40, "sell": 1}


def test_a_symbol_of_large_quantities_does_not_drown_the_others():
    desk = Desk()
    desk.fill(desk.order("DOGEUSDT", decision_px="0.1", venue="v"), "0.1001", 1_000_000)  # 10 bps on 100,100
    desk.fill(desk.order("BTCUSDT", decision_px="100000", venue="v"), "100300", 1)  # 30 bps on 100,300
    assert desk.slippage.stats("venue")[0].mean_bps == pytest.approx(20, rel=0.01)


def test_currencies_are_not_added_up():
    def instrument(venue, symbol):
        return Instrument(
            symbol, inverse=symbol == "I", base="BTC", quote={"A": "USDT", "B": "USDC"}.get(symbol, "EUR")
        )

    desk = Desk(instrument=instrument)
    for symbol in ("A", "B"):
        desk.fill(desk.order(symbol, venue="v"), "101")
    (row,) = desk.slippage.stats("venue")
    assert row.by_currency == {"USD": 2}
    desk.fill(desk.order("E", venue="v"), "101")
    (row,) = desk.slippage.stats("venue")
    assert (row.money, row.mean_bps, row.by_currency) == (None, None, {"USD": 2, "EUR": 1})
    assert row.reasons["money"] == "several settlement currencies"
    assert row.median_bps is not None


def test_windows():
    desk = Desk()
    for hours in range(10):
        desk.at = START + hours * 3_600 * 10**9
        order = desk.order()
        desk.fill(order, f"100.{hours}")
        if hours == 9:
            desk.orders.refused(order, 1, 1)
            desk.slippage.rejected(order)
    stats = desk.slippage.stats
    assert [stats(window=window)[0].n for window in ("2.5h", "150m", 9_000, timedelta(hours=2.5), "all", None)] == [
        3,
        3,
        3,
        3,
        10,
        10,
    ]
    assert stats(window=datetime.fromtimestamp(START / 1e9, UTC) + timedelta(hours=7))[0].n == 3
    assert stats(window="90m")[0].rejections == 1
    assert stats(window="2.5h")[0].money == Decimal("0.7") + Decimal("0.8") + Decimal("0.9")
    for window in ("x", "6 parsecs", object(), True, float("nan")):
        with pytest.raises(ValueError, match="window"):
            stats(window=window)
    with pytest.raises(ValueError, match="by"):
        stats("mood")


def test_a_window_that_is_not_remembered_as_a_whole_says_since_when_it_counts():
    desk = Desk(recent=5)
    for number in range(10):
        desk.at = START + number * 10**9
        desk.fill(desk.order(), "100.1")
    (row,) = desk.slippage.stats(window="1h")
    assert (row.n, row.since_ns) == (5, START + 5 * 10**9)
    assert desk.slippage.stats()[0].n == 10
    assert desk.slippage.stats(window=2)[0].since_ns is None


@given(st.lists(st.floats(-1e6, 1e6).filter(lambda value: abs(value) >= 0.01), min_size=1, max_size=200))
@campaign
def test_quantiles_are_within_one_percent(values):
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    for share in (0.05, 0.5, 0.95):
        wanted = sorted(values)[math.ceil(share * len(values)) - 1]
        assert math.isclose(sketch.quantile(share), wanted, rel_tol=0.0101)


def test_small_values_are_zero_and_merging_is_as_if_added():
    one, two, both = Sketch(), Sketch(), Sketch()
    for number in range(-50, 50):
        (one if number % 2 else two).add(number / 7)
        both.add(number / 7)
    one.merge(two)
    assert one.counts == both.counts
    both.add(0.001)
    assert Sketch().quantile(0.5) is None
    assert abs(both.quantile(0.5) - statistics.median(n / 7 for n in range(-50, 50))) < 0.1


# -- many threads, much to remember -----------------------------------------------------------------------------------


def test_no_fill_is_lost_between_threads():
    desk, each, threads = Desk(), 1_000, 4
    order = desk.order(qty=10**9)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        barrier = threading.Barrier(threads)

        def work():
            barrier.wait(10)
            for _ in range(each):
                desk.fill(order, "100.10")

        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
    finally:
        sys.setswitchinterval(before)
    (row,) = desk.slippage.stats()
    assert (row.n, row.orders) == (each * threads, 1)
    assert row.money == Decimal("0.10") * each * threads
    assert order.filled_qty == order.slip_qty == each * threads


def test_memory_is_bounded_whatever_symbols_a_bot_makes_up():
    desk = Desk(recent=50)
    desk.orders.most = 100
    for number in range(7_000):
        desk.fill(desk.order(f"S{number}", strategy=f"s{number}"), "100.1")
    assert len(desk.slippage._comparison._cells) <= 5_010
    assert len(desk.slippage._comparison._recent) == 50
    assert sum(row.n for row in desk.slippage.stats()) == 7_000
    assert desk.slippage.stats()[0].key == "other"


# -- costs ------------------------------------------------------------------------------------------------------------


def cost(desk, order, price, qty, fee, instrument=None):
    instrument = instrument or Instrument(order.symbol)
    slippage = desk.fill(order, price, qty, instrument=instrument)
    return exact(cost_of_fill)(
        ts_ns=1, symbol=order.symbol, side=order.side, qty=Decimal(qty), price=Decimal(price), instrument=instrument,
        fee=None if fee is None else Decimal(fee), slippage=slippage, order_id=order.order_id,
    )  # fmt: skip


def test_the_cost_of_a_fill_is_its_fee_and_its_slippage():
    desk = Desk()
    found = cost(desk, desk.order(), "100.50", 2, "0.201")
    assert (found.notional, found.fee, found.slip, found.total) == (201, Decimal("0.201"), 1, Decimal("1.201"))
    assert found.fee_bps == pytest.approx(10)
    assert found.slip_bps == pytest.approx(50)
    assert found.total_bps == pytest.approx(60)
    assert (found.cause, found.impact_bps) == ("fill", None)


def test_costs_of_what_is_not_known():
    desk = Desk()
    unpriced = cost(desk, desk.order(), "100.50", 2, None)
    assert (unpriced.fee_bps, unpriced.total, unpriced.total_bps) == (None, None, None)
    assert unpriced.slip_bps == pytest.approx(50)
    undecided = cost(desk, desk.order(decision_px=None), "100", 1, "-0.01")
    assert (undecided.slip, undecided.slip_bps, undecided.total) == (None, None, Decimal("-0.01"))
    assert undecided.total_bps == pytest.approx(-1)


@given(prices, prices, quantities, st.sampled_from(["buy", "sell"]), st.booleans())
@campaign
def test_slip_bps_is_never_missing_when_the_decision_is_known(decision, price, qty, side, inverse):
    desk = Desk()
    order = desk.order(side=side, decision_px=decision)
    found = cost(desk, order, price, qty, 0, Instrument("B", inverse=inverse))
    assert found.slip_bps is not None
    assert found.slip is not None
    assert found.total == found.slip


def test_funding_costs_what_was_paid():
    paid = cost_of_funding(ts_ns=1, symbol="B", amount=Decimal("-0.5"), notional=Decimal(-1000))
    assert (paid.funding_cost_usd, paid.total, paid.notional) == (Decimal("0.5"), Decimal("0.5"), 1000)
    assert paid.total_bps == pytest.approx(5)
    assert str(cost_of_funding(ts_ns=1, symbol="B", amount=Decimal("0.0")).funding_cost_usd) == "0"
    assert cost_of_funding(ts_ns=1, symbol="B", amount=Decimal(2)).funding_cost_usd == -2
