"""Predictions that wait: each is judged by the price of its own horizon, and by no other."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs.insight.terms import Horizon
from botobs.insight.waiting import Due, Waiting

S = 1_000_000_000
T0 = 1_767_323_000 * S


def due(over, *, price=100.0, since=T0, symbol="BTC", pred=1.0):
    return Due(symbol, None, None, pred, price, since, Horizon.parse(over))


def test_bars_are_counted_per_symbol():
    waiting = Waiting()
    waiting.put(due("1 bar"))
    waiting.put(due("3 bars"))
    waiting.put(due("1 bar", symbol="ETH"))
    assert [move for _, move in waiting.bar("BTC", 101.0)] == [pytest.approx(100.0)]
    assert list(waiting.bar("BTC", 50.0)) == []
    assert [move for _, move in waiting.bar("BTC", 99.0)] == [pytest.approx(-100.0)]
    assert len(waiting) == 1
    assert waiting.timed == []
    assert list(waiting.bar("SOL", 1.0)) == []


def test_markets_whose_bars_do_not_come_any_more_make_room(monkeypatch):
    monkeypatch.setattr("botobs.insight.waiting._MOST", 3)
    waiting, day = Waiting(), 86_400 * S
    assert [waiting.put(due("1 bar", symbol=f"OPT-{n}", since=T0 + n * day)) for n in range(4)] == [True] * 3 + [False]
    assert not waiting.put(due("1 bar", symbol="OPT-4", since=T0 + 7 * day))
    assert waiting.put(due("1 bar", symbol="OPT-4", since=T0 + 8 * day))
    assert (len(waiting), waiting.lost) == (3, 3)  # two had no room, and the first waited in vain
    assert list(waiting.bar("OPT-0", 101.0)) == []


def seen(over, *prices, since=T0):
    """What a prediction at 100 comes to when these are seen: (price, when, looked at when)."""
    waiting = Waiting()
    waiting.put(due(over, since=since))
    found = []
    for price, at, now in prices:
        found += [move for _, move in waiting.price("BTC", price, T0 + int(at * S), T0 + int(now * S))]
    assert len(found) <= 1
    assert len(waiting) + len(found) + waiting.lost == 1
    return round(found[0]) if found else "lost" if waiting.lost else "waits"


@pytest.mark.parametrize(
    ("prices", "expected"),
    [
        ([(101, 60, 60)], 100),
        ([(102, 30, 30), (101, 59.9, 59.9), (103, 61, 61)], 100),  # nearest
        ([(102, 40, 40), (101, 60.5, 60.5)], 100),
        ([(101, 59.9, 59.9), (101, 59.9, 60.4)], 100),  # near enough not to wait for another
        ([(101, 40, 40), (101, 40, 61)], "waits"),  # a nearer one may come
        ([(101, 40, 40), (101, 40, 61), (102, 61.5, 62)], 200),
        ([(101, 40, 40), (101, 40, 91)], 100),  # none came
        ([(101, 20, 20), (101, 20, 91)], "lost"),  # too far from its end
        ([(101, 0, 1), (101, 0, 91)], "lost"),  # the price of the decision is no price after it
        ([(99, -5, 1), (99, -5, 59)], "waits"),
        ([(105, 200, 200)], "lost"),  # nobody looked for that long
        ([(101, 58, 58), (105, 200, 200)], 100),
        ([(101, -3600, -3600), (102, 60, 60)], 200),  # a clock that was set back, and came to it again
    ],
)
def test_a_time_is_judged_by_the_price_nearest_to_its_end(prices, expected):
    assert seen("60s", *prices) == expected


_path = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 40)), min_size=1, max_size=40)


@settings(max_examples=150, deadline=None)
@given(_path, st.integers(10, 80))
def test_no_price_from_before_the_decision_or_beyond_the_tolerance_is_used(path, horizon):
    """Prices tell their own time, so that what was used can be read off the move."""
    waiting = Waiting()
    waiting.put(due(f"{horizon}s", price=1.0, since=T0 + 50 * S))
    at = now = 0
    for step, lag in path:
        now += step
        at = max(at, now - lag)  # the newest price may be older than the look
        for _, move in waiting.price("BTC", 1.0 + at, T0 + at * S, T0 + now * S):
            used = move / 1e4  # price - 1, as it began at 1
            assert 50 < used
            assert abs(used - 50 - horizon) <= horizon // 2 + 0.5
            assert now >= 50 + horizon


def test_there_is_room_for_so_many_and_a_new_horizon_empties_it():
    waiting = Waiting()
    assert sum(waiting.put(due("1 bar", symbol=f"S{n % 100}")) for n in range(7_000)) == 4_000
    assert waiting.lost == 3_000
    full = Waiting()
    assert sum(full.put(due("1 bar")) for _ in range(100)) == 64
    waiting.forget(Horizon.parse("5m"))
    assert len(waiting) == 0
