"""Order books as the bot has them: what is recorded, which order is held against which book, and what it was to cost."""

from __future__ import annotations

import gc
import json
import math
import os
import threading

import pytest

import botobs
from botobs.events import BookAtDecision, BookSeen, CostBooked
from botobs.insight import Depth
from botobs.insight.depth import tracker
from botobs.insight.terms import OrderBookTerms
from botobs.testing import Capture, Clock

SYMBOL = "BTC-USD"
BIDS, ASKS = [[99.5, 1], [99.0, 4]], [[100.5, 1], [101.5, 4]]


@pytest.fixture
def backtest(tmp_path):
    clock = Clock()
    with botobs.start("depth", mode="backtest", data_dir=tmp_path, clock=clock, strict=True) as obs:
        seen = []
        obs.bus.subscribe(BookSeen, seen.append, immediate=True)
        obs.bus.subscribe(CostBooked, seen.append, immediate=True)
        yield obs, clock, seen


def costs(seen):
    return [event.impact_bps for event in seen if isinstance(event, CostBooked)]


def decided(seen):
    return [event for event in seen if isinstance(event, BookAtDecision)]


def order(obs, qty=2, side="buy", **more):
    return obs.order(SYMBOL, side, qty, decision_px=100, **more)


def test_the_record_says_what_the_order_was_decided_on_and_its_fills_what_that_was_to_cost(backtest, tmp_path):
    obs, clock, seen = backtest
    with obs.tick(SYMBOL, bar_id=7, price=100):
        obs.book(SYMBOL, BIDS, ASKS, ts="2026-01-02T03:04:04Z")
        clock.advance(0.25)
        made = order(obs)
    for price, qty, role in (("100.5", 1, "taker"), ("101.5", "0.5", None), ("101.5", "0.5", "maker")):
        obs.fill(made, price=price, qty=qty, fee=0, role=role)
    obs.fill(symbol=SYMBOL, side="sell", price=99, qty=2, fee=0)  # of no order
    obs.fill(order(obs, 1, "sell"), price="99.5", qty=1, fee=0)
    assert costs(seen) == [50.0, 50.0, 0.0, None, 0.0]
    obs.flush()
    lines = [json.loads(line) for line in (tmp_path / "logs/order_book.jsonl").read_text().splitlines()]
    assert [line.get("order_id") for line in lines] == [None, made, "depth2"]
    told = {
        "symbol": SYMBOL, "bid": 99.5, "ask": 100.5, "mid": 100.0, "spread_bps": 100.0, "half_spread_bps": 50.0,
        "microprice": 100.0, "imbalance": 0.0, "bids": [[99.5, 1.0], [99.0, 4.0]], "asks": [[100.5, 1.0], [101.5, 4.0]],
        "within_bps": [5.0, 10.0, 25.0], "bid_depth": [0.0, 0.0, 0.0], "bid_value": [0.0, 0.0, 0.0], "left_out": 0,
        "venue": None, "book_ts": "2026-01-02T03:04:04.000000Z", "reasons": None,
    }  # fmt: skip
    assert told.items() <= lines[0].items()
    assert "decision" not in lines[0]
    assert told.items() <= lines[1].items()
    assert {
        "decision": True, "side": "buy", "qty": "2", "order_type": "market", "limit_px": None, "age_ms": 250.0, "bar_id": 7,
        "impact_bps": 50.0, "cost_bps": 100.0, "average_px": 101.0, "reached": 2, "fillable": 1.0,
    }.items() <= lines[1].items()  # fmt: skip
    assert lines[1]["trace_id"]
    assert not obs.faults.errors


def test_a_market_is_recorded_once_in_a_while_and_with_each_order(backtest):
    obs, clock, seen = backtest
    for n in range(40):  # ten a second
        obs.book(SYMBOL, BIDS, ASKS)
        obs.book(SYMBOL, BIDS, ASKS, venue="kraken")
        obs.book("ETH-USD", BIDS, ASKS)
        if n == 25:
            order(obs)
            order(obs, venue="kraken")
            order(obs, venue="other")  # decided on the book of no venue
        clock.advance(0.1)
    told = [(event.symbol, event.venue) for event in seen if not isinstance(event, BookAtDecision)]
    assert told.count(("ETH-USD", None)) == 4
    assert told.count((SYMBOL, None)) == 4  # its orders were recorded at 2.5 s
    assert [event.venue for event in decided(seen)] == ["kraken", "kraken", None]


def test_only_a_new_book_says_what_an_order_will_pay(backtest):
    obs, clock, seen = backtest
    order(obs)
    obs.book(SYMBOL, BIDS, ASKS)
    clock.advance(2)
    assert obs.depth.impact(SYMBOL, "buy", 2).impact_bps == 50.0
    order(obs)
    clock.advance(0.001)
    order(obs)
    found = obs.depth.impact(SYMBOL, "buy", 2)
    assert (found.impact_bps, found.reason) == (None, "the book is 2 s old")
    assert obs.depth.last(SYMBOL).mid == 100.0
    assert [event.age_ms for event in decided(seen)] == [2000.0]
    with obs.tick(SYMBOL):  # what is decided on within a turn is not old, however long it takes
        obs.book(SYMBOL, BIDS, ASKS)
        clock.advance(30)
        order(obs)
        assert obs.depth.impact(SYMBOL, "buy", 2).age_s == 30.0
    order(obs)
    with obs.tick(SYMBOL):
        order(obs)
    assert [event.age_ms for event in decided(seen)] == [2000.0, 30_000.0]


def test_a_bot_that_changes_its_book_in_place_is_understood(backtest):
    obs, _, seen = backtest
    bids, asks = [list(row) for row in BIDS], [list(row) for row in ASKS]
    obs.book(SYMBOL, bids, asks)
    obs.book(SYMBOL, bids, asks)
    asks[0][1] = asks[1][1] = 1e9
    bids.clear()
    order(obs)
    assert decided(seen)[0].impact_bps == 50.0


def test_an_order_that_is_amended_is_estimated_anew_and_what_is_not_known_is_none(backtest):
    obs, _, seen = backtest
    obs.book(SYMBOL, BIDS, ASKS)
    order(obs, order_id="a")
    order(obs, order_id="a", qty=1)
    obs.fill("a", price=101, qty=1, fee=0)
    order(obs, order_id="big", qty=50)
    obs.fill("big", price=101, qty=1, fee=0)
    obs.fill("big", price=101, qty=1, fee=0, role="maker")  # it had rested, whatever the book was like
    assert costs(seen) == [0.0, None, 0.0]
    assert decided(seen)[-1].reasons["impact_bps"] == "the levels known hold 10 % of it"


def test_contracts_of_an_inverse_market_are_worth_less_the_higher_the_price(backtest):
    obs, _, seen = backtest
    obs.instrument("XBTUSD", inverse=True, multiplier=10, base="XBT", quote="USD")
    obs.book("XBTUSD", [[99, 100]], [[101, 100], [102, 300]])
    obs.order("XBTUSD", "buy", 200, decision_px=100)
    found = decided(seen)[0]
    assert found.average_px == pytest.approx(200 / (100 / 101 + 100 / 102))
    book = obs.depth.last("XBTUSD")
    assert obs.depth.impact("XBTUSD", "sell", 50).impact_bps == 0.0
    assert book.within_bps[-1] == 25.0
    assert (book.ask_depth[-1], book.ask_value[-1]) == (0.0, 0.0)


def test_a_book_is_no_mark(backtest):
    obs, _, _ = backtest
    obs.fill(symbol=SYMBOL, side="buy", price=50, qty=1, fee=0)
    obs.book(SYMBOL, BIDS, ASKS)
    assert obs.totals().unrealized_pnl == 0


def test_the_table_says_how(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "botobs.toml").write_text(
        '[order_book]\nevery = "10s"\nlevels = 1\nkeep = 3\nwithin_bps = [100, 50]\nfresh = "1m"\n'
    )
    clock, seen = Clock(), []
    with botobs.start("tables", mode="backtest", data_dir=None, clock=clock) as obs:
        obs.bus.subscribe(BookSeen, seen.append, immediate=True)
        for _ in range(21):
            obs.book(SYMBOL, [[99.5 - n, 1] for n in range(9)], ASKS)
            clock.advance(1)
        clock.advance(50)
        order(obs)
    assert len(seen) == 4
    assert (seen[0].bids, seen[0].within_bps, seen[0].ask_depth) == (((99.5, 1.0),), (50.0, 100.0), (1.0, 1.0))
    assert len(obs.depth.last(SYMBOL).bids) == 3


@pytest.mark.parametrize(
    ("said", "about"),
    [
        ({"every": "soon"}, "order_book.every"), ({"every": -1}, "order_book.every"), ({"fresh": "2d"}, "at most a day"),
        ({"levels": 0}, "order_book.levels"), ({"keep": 10**6}, "order_book.keep"), ({"keep": 4}, "no less than"),
        ({"within_bps": []}, "within_bps"), ({"within_bps": [0]}, "within_bps"), ({"within_bps": ["x"]}, "within_bps"),
        ({"within_bps": 5}, "within_bps"), ({"within_bps": [math.nan]}, "within_bps"), ({"evry": 1}, "did you mean every"),
        ([], "a table"),
    ],
    ids=str,
)  # fmt: skip
def test_a_table_that_is_wrong_is_refused(said, about):
    with pytest.raises(botobs.ConfigError, match=about):
        OrderBookTerms.parse(said)


def test_there_is_room_for_so_many_markets_and_orders(monkeypatch):
    monkeypatch.setattr(tracker, "_MOST", 3)
    monkeypatch.setattr(tracker, "_MOST_ORDERS", 2)
    now = [0]
    depth = Depth(now=lambda: now[0])
    for name in "ABCD":
        depth.book(name, BIDS, ASKS)
    assert (depth.last("C").mid, depth.last("D"), depth.left_out) == (100.0, None, 1)
    now[0] += 61 * 10**9
    assert list(depth.measured()) == []  # too old to be told
    depth.book("A", BIDS, ASKS)
    depth.book("D", BIDS, ASKS)  # those that nothing was heard of made room
    assert (depth.last("D").mid, depth.last("B")) == (100.0, None)
    assert {labels for _, _, labels in depth.measured()} == {("A",), ("D",)}
    for n in range(4):
        depth.order(botobs.events.OrderAnnounced(ts_ns=0, symbol="A", order_id=str(n), side="buy", qty=2))
    assert [depth.impact_of(str(n)) for n in range(4)] == [None, None, 50.0, 50.0]


class Hostile:
    def __float__(self):
        raise RuntimeError("no number")

    __iter__ = __len__ = __getattr__ = __hash__ = __str__ = __repr__ = __eq__ = __float__


@pytest.mark.parametrize("odd", [Hostile(), 7, "ab", object, [Hostile()], {1: Hostile()}, b"x", True], ids=type)
def test_a_book_that_is_none_leaves_the_last_one_or_says_why(odd):
    depth = Depth(now=int)
    depth.book(SYMBOL, BIDS, ASKS)
    depth.book(SYMBOL, odd, odd, odd, None)
    depth.book(odd, BIDS, ASKS)
    found = depth.last(SYMBOL)
    assert found.mid == 100.0 or found.reasons["mid"] == "no bid could be read"
    assert depth.odd > 0 or isinstance(odd, (int, str, bytes, type))
    depth.book(SYMBOL, BIDS, ASKS, odd)
    assert depth.last(SYMBOL).mid == 100.0


def test_threads_tell_and_ask_at_once():
    depth = Depth(OrderBookTerms(every=0.0))
    wrong, started = [], threading.Barrier(4)

    def tell(base):
        started.wait()
        for n in range(300):
            depth.book("X", [[base + n, 1]], [[base + n + 1, 1]])

    def ask():
        started.wait()
        for _ in range(300):
            book = depth.last("X")
            found = depth.impact("X", "buy", 1)
            if book is not None and (book.ask != book.bid + 1 or found.impact_bps != 0.0):
                wrong.append((book, found))

    threads = [threading.Thread(target=tell, args=(base,)) for base in (100, 10_000)]
    threads += [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert depth.last("X").bid in (399.0, 10_299.0)


def test_a_live_bot_does_not_wait_for_its_records(tmp_path):
    with botobs.start("depth", data_dir=tmp_path, strict=True) as obs:
        seen = []
        obs.bus.subscribe(BookSeen, seen.append, immediate=True)
        with obs._money.tail.still():  # nobody does what waits
            obs.book(SYMBOL, BIDS, ASKS)
            order(obs)
            assert seen == []
        obs.flush(5)
        assert [type(one) for one in seen] == [BookSeen, BookAtDecision]


def test_a_live_bot_has_the_metrics_and_a_forked_child_is_left_alone(tmp_path):
    with Capture(tmp_path) as capture:
        obs = capture.start()
        botobs.book(SYMBOL, BIDS, ASKS)
        obs.fill(order(obs), price=101, qty=2, fee=0)
        assert capture.histogram("bot_cost_impact_bps", symbol=SYMBOL) == (1, 50.0)
        assert capture.metric("bot_book_spread_bps", symbol=SYMBOL) == 100.0
        assert capture.metric("bot_book_imbalance", symbol=SYMBOL) == 0.0
        child = os.fork()
        if not child:
            try:
                obs.book(SYMBOL, [[1, 1]], [[2, 1]])
                os._exit(obs.depth.last(SYMBOL).mid != 100.0)
            finally:
                os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert [record.get("decision") for record in capture.records("order_book")] == [None, True]
        assert not capture.errors
    obs.book(SYMBOL, [[1, 1]], [[2, 1]])  # it is over
    botobs.book(SYMBOL, [[1, 1]], [[2, 1]])
    assert obs.depth.last(SYMBOL).mid == 100.0


def test_what_is_kept_of_many_books_is_the_newest():
    depth = Depth(OrderBookTerms(every=3600.0))
    rows = [[100.0 - n, 1.0] for n in range(50)]
    depth.book("X", rows, [])
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(2_000):
        depth.book("X", rows, [])
    gc.collect()
    assert len(gc.get_objects()) - before < 1_000
