"""The price of a turn, told as the best bid and ask."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import botobs
from botobs.accounting.instruments import Instruments
from botobs.accounting.marks import Currencies, Marks
from botobs.money.prices import _price
from tests.soak.processes import records

_quote = st.floats(min_value=5e-324, max_value=1e300)


@given(_quote, _quote)
@example(0.1, 0.2)
@example(100.0, 99.0)
def test_what_was_noted_is_the_exact_middle(bid, ask):
    marks = Marks(Instruments(), Currencies())
    marks.note(None, "BTC-USD", 7.0)
    marks.note(None, "BTC-USD", (bid, ask))
    assert marks.get(None, "BTC-USD") == _price(None, bid, ask)


@pytest.mark.parametrize("held", [False, True])
def test_what_is_no_quote_leaves_the_last_one_in_use(held, tmp_path):
    with botobs.start(
        "quotes", data_dir=tmp_path, mode="backtest", clock=iter(range(10**18, 10**19, 10**6)).__next__
    ) as obs:
        if held:
            obs.fill(symbol="BTC-USD", side="buy", qty=1, price=100)
        marks, last = obs._money.account.marks, None
        for odd in (0.2, math.nan, math.inf, 0.0, -1.0, None, "x", 3):
            for bid, ask in ((0.1, 0.2), (odd, 0.2), (0.1, odd)):
                with botobs.tick("BTC-USD", bid=bid, ask=ask):
                    pass
                last = _price(None, bid, ask) or last
                assert marks.get(None, "BTC-USD") == last


def test_a_bar_is_a_record(tmp_path):
    with botobs.start("bars", data_dir=tmp_path, prometheus_port=None) as obs:
        obs.bar("BTC-USD", 1, "3.50", 0.5, 2, volume="7", ts=1_700_000_000)
        obs.bar("BTC-USD", 1, float("nan"), 1, 2)
        obs.bar("BTC-USD", 1, 3, 1, 2, volume=float("nan"))
    first, last = (one for one in records(tmp_path, "price_events") if one["event"] == "bar")
    told = {key: first[key] for key in ("event", "symbol", "bar_ts", "open", "high", "low", "close", "volume")}
    assert told == {
        "event": "bar", "symbol": "BTC-USD", "bar_ts": "2023-11-14T22:13:20.000000Z",
        "open": "1", "high": "3.50", "low": "0.5", "close": "2", "volume": "7",
    }  # fmt: skip
    assert "bar_ts" not in last and last["volume"] is None
