"""Rejections: what the exchange said, what the market was, and how many there were of late."""

from __future__ import annotations

import os
import threading
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from botobs.events import to_record
from botobs.streams.encode import dumps
from botobs.trackers.orders import Orders
from botobs.trackers.rejections import Rejections
from tests.test_promises import Unprintable
from tests.trackers.hostile import EVERY, hostile

campaign = settings(
    max_examples=int(os.environ.get("SOAK_EXAMPLES", "100")), deadline=None, database=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
S = 10**9


def rejecting():
    clock = [0]
    return Rejections(now=lambda: clock[0]), clock


def test_a_record_says_all_that_is_known():
    orders, (rejections, _) = Orders(), rejecting()
    order, _ = orders.announce(
        "BTCUSDT", "buy", "0.5", decision_px=100, order_id="o", order_type="limit", limit_px="101", strategy="s",
        venue="binance", account="a", bar_id=7, trace_id="ab",
    )  # fmt: skip
    event, problems = rejections.reject(
        "o", -2010, "insufficient balance", attempt=2, max_retries=3, order=order, ts_ns=5, error=ValueError("why"),
        market={"bid": 99, "ask": "101", "volume_1m": 12, "mood": "thin"},
    )  # fmt: skip
    assert not problems
    assert to_record(event) == {
        "symbol": "BTCUSDT", "bar_id": 7, "trace_id": "ab", "order_id": "o", "venue": "binance", "account": "a",
        "code": "-2010", "message": "insufficient balance", "side": "buy", "qty": Decimal("0.5"), "order_type": "limit",
        "limit_px": Decimal(101), "strategy": "s", "spread_bps": 200.0, "attempt": 2, "max_retries": 3,
        "error": "ValueError: why", "market": {"bid": 99, "ask": "101", "volume_1m": 12, "mood": "thin"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("market", "spread"),
    [({"spread_bps": "3.5", "bid": 1, "ask": 2}, 3.5), ({"bid": 99, "ask": 101}, 200.0), ({"bid": 101, "ask": 99}, -200.0),
     ({"bid": 99}, None), ({"bid": 0, "ask": 1}, None), ({"bid": float("nan"), "ask": 1}, None), ({}, None), (None, None),
     ({"spread_bps": float("nan"), "bid": 99, "ask": 101}, 200.0), ({"bid": -1, "ask": 1}, None), (7, None)],
)  # fmt: skip
def test_the_spread_is_as_told_or_of_bid_and_ask(market, spread):
    assert Rejections().reject("o", "c", "m", market=market, ts_ns=0)[0].spread_bps == spread


def test_exceptions_and_codes():
    reject = Rejections().reject
    assert reject("o", None, None, error=KeyError("x"), ts_ns=0)[0].code == "KeyError"
    assert reject("o", None, None, ts_ns=0)[0].code == "unknown"
    assert reject("o", "c", "m", error=Unprintable(), ts_ns=0)[0].error == "Unprintable: <Unprintable>"
    assert reject("o", "c", "m", error=TimeoutError(), ts_ns=0)[0].error == "TimeoutError"
    assert reject("o", "c", "m", error="said so", ts_ns=0)[0].error == "said so"
    assert len(reject("o", "c", "m" * 10**6, ts_ns=0)[0].message) == 2_000


def test_an_unknown_order_may_name_its_symbol():
    reject = Rejections().reject
    assert reject("o", "c", "m", symbol="B", ts_ns=0)[0].symbol == "B"
    assert reject("o", "c", "m", market={"symbol": "E"}, ts_ns=0)[0].symbol == "E"
    assert reject(7, "c", "m", ts_ns=0)[0].order_id == "7"


def test_attempts_that_are_none_are_named():
    event, problems = Rejections().reject("o", "c", "m", attempt="x", max_retries=0, ts_ns=0)
    assert (event.attempt, event.max_retries) == (1, 1)
    assert [problem.partition(":")[0] for problem in problems] == ["attempt", "max_retries"]


def test_the_market_is_copied():
    market = {"bid": 1}
    event, _ = Rejections().reject("o", "c", "m", market=market, ts_ns=0)
    market["bid"] = 2
    assert event.market == {"bid": 1}


def test_how_many_of_late():
    rejections, clock = rejecting()
    for at, symbol in ((0, "A"), (10, "A"), (20, "B")):
        clock[0] = at * S
        rejections.reject("o", "c", "m", symbol=symbol, ts_ns=0)
    assert [rejections.count(within) for within in (0, 5, 10, 11, 20, 21)] == [0, 1, 1, 2, 2, 3]
    assert rejections.count(60, symbol="A") == 2
    assert rejections.count(5, now=12 * S) == 2
    assert rejections.count(1, now=100 * S) == 0
    assert rejections.counts == {("A", "c"): 2, ("B", "c"): 1}


def test_memory_is_bounded_whatever_codes_come():
    rejections, _ = rejecting()
    for number in range(12_000):
        rejections.reject("o", f"timestamp {number} is old", "m", ts_ns=0, symbol="B")
    assert len(rejections.counts) <= 1_001
    assert sum(rejections.counts.values()) == rejections.total == 12_000
    assert len(rejections._recent) == 10_000


def test_none_is_lost_between_threads():
    rejections = Rejections()

    def work():
        for _ in range(500):
            rejections.reject("o", "c", "m", ts_ns=0)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert rejections.total == rejections.counts["", "c"] == rejections.count(3_600) == 2_000


@given(st.data())
@campaign
def test_no_values_raise_and_every_record_can_be_written(data):
    draw = lambda: data.draw(hostile)  # noqa: E731
    rejections = Rejections()
    market = draw() if data.draw(st.booleans()) else {"bid": draw(), "ask": draw(), "spread_bps": draw()}
    event, _ = rejections.reject(
        draw(), draw(), draw(), attempt=draw(), max_retries=draw(), market=market, error=draw(), symbol=draw(), ts_ns=0
    )
    assert dumps(to_record(event))
    assert rejections.count(1e9) == 1


def test_every_curious_value_in_every_place():
    rejections = Rejections()
    for make in EVERY:
        rejections.reject(make(), make(), make(), ts_ns=0)
        rejections.reject("o", "c", "m", attempt=make(), max_retries=make(), market=make(), error=make(), ts_ns=0)
        rejections.reject("o", "c", "m", market={"bid": make(), "ask": make()}, symbol=make(), ts_ns=0)
        rejections.reject("o", "c", "m", market={"spread_bps": make(), "symbol": make()}, ts_ns=0)
    assert rejections.total == 4 * len(EVERY)
