"""What the bot saw at a decision is written down: little of it on the bot's thread, bounded, and never raising."""

from __future__ import annotations

import pytest

import botobs
from botobs.accounting.numbers import number
from botobs.events import DecisionSeen, OrderAnnounced
from botobs.explaining.deciding import Decisions
from botobs.faults import Faults
from botobs.testing import Clock


def announced(n=0, symbol="B", **more):
    return OrderAnnounced(ts_ns=n, symbol=symbol, order_id=f"o{n}", side="buy", qty=number(1), **more)


def test_of_many_features_the_oldest_are_told():
    clock, seen = Clock(), []
    with botobs.start("bot", mode="backtest", data_dir=None, clock=clock, strict=True) as obs:
        obs.bus.subscribe(DecisionSeen, seen.append, immediate=True)
        obs.order("B", "buy", 1, decision_px=1)
        assert seen == []  # nothing was seen, nothing is told
        for n in range(700):
            obs.feature_value(f"f{n}", n)
            if n % 100 == 99:
                clock.advance(1)
        obs.order("B", "buy", 1, decision_px=1, order_id="o")
        [told] = seen
        assert (told.features_count, len(told.features)) == (700, 100)
        assert list(told.features.items())[:2] == [("f0", 7.0), ("f1", 7.0)]
        assert obs._decisions.get("o") == told


@pytest.mark.parametrize(
    ("bid", "ask", "told"),
    [(1.5, "2", ("1.5", "2")), (float("nan"), 2, (None, None)), (-1, 2, (None, None)), (object(), 2, (None, None))],
)
def test_the_quote_is_that_of_the_ticks_own_symbol(bid, ask, told):
    seen = []
    with botobs.start("bot", mode="backtest", data_dir=None, clock=Clock()) as obs:
        obs.feature_value("f", 1)
        obs.bus.subscribe(DecisionSeen, seen.append, immediate=True)
        with obs.tick("B", bid=bid, ask=ask):
            obs.order("B", "buy", 1, decision_px=1)
            obs.order("ETH", "buy", 1, decision_px=1)
        obs.order("B", "buy", 1, decision_px=1)
    assert [(one.bid, one.ask) for one in seen] == [told, (None, None), (None, None)]


def test_what_is_remembered_is_bounded_and_the_first_announcement_counts():
    regimes = iter(["trend", "chop", "trend", *["chop"] * 3_000])
    decisions = Decisions(regime=lambda symbol: next(regimes))
    for event in (announced(1), announced(1), announced(1, symbol="other")):
        decisions.order(event)
        assert decisions.get("o1").regime == "trend"
    assert decisions.get("o1").symbol == "other"
    for n in range(2, 2_500):
        decisions.order(announced(n))
    assert decisions.get("o1") is None
    assert decisions.get("o2499").regime == "chop"


def test_it_never_raises_into_an_order():
    faults = Faults()
    decisions = Decisions(regime=lambda symbol: 1 / 0, faults=faults)
    decisions.order(announced())
    assert faults.errors == {"decisions": 1}
