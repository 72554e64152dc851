"""The `[fees]` table: the nearest rate, exactly."""

import tomllib
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botobs.accounting.exchange import FeeTable
from botobs.errors import ConfigError

D = Decimal
TABLE = tomllib.loads("""
[fees]
maker_bps = 2
taker = 5
[fees.Binance]
taker_bps = "4 bps"
[fees.binance."BNB/USDT"]
taker_bps = 3.1
[fees."BTC/USDT"]
maker_bps = -0.5
[fees.kraken]
taker = "0.26%"
""")["fees"]


@pytest.mark.parametrize(
    ("role", "venue", "symbol", "bps"),
    [
        ("maker", None, "ETH/USDT", "2"), ("taker", None, "ETH/USDT", "5"), (None, None, "ETH/USDT", "5"),
        ("taker", "binance", "ETH/USDT", "4"), ("maker", "binance", "ETH/USDT", "2"), ("taker", "BINANCE", "BNBUSDT", "3.1"),
        ("maker", None, "BTCUSDT", "-0.5"), ("maker", "binance", "BTC/USDT:USDT", "-0.5"), ("taker", "kraken", "X", "26"),
        ("taker", "other", "BTC/USDT", "5"),
    ],
)  # fmt: skip
def test_the_nearest_rate(role, venue, symbol, bps):
    table = FeeTable.parse(TABLE)
    for notional in (D(1000), D(-1000)):
        assert table.fee(role, venue, symbol, notional) == D(bps) / 10


def test_no_rate():
    for empty in (None, {}):
        table = FeeTable.parse(empty)
        assert not table
        assert table.fee("taker", None, "X", D(1)) is None
    only = FeeTable.parse({"maker": 1})
    assert only
    assert only.fee("maker", None, "X", D(10_000)) == 1
    assert only.fee("taker", None, "X", D(10_000)) is None


@given(st.decimals(-(10**30), 10**30, allow_nan=False), st.decimals(-100, 100, allow_nan=False, places=12))
def test_exactly(notional, bps):
    from fractions import Fraction

    found = FeeTable.parse({"taker": bps}).fee(None, None, "X", notional)
    assert Fraction(found) == abs(Fraction(notional)) * Fraction(bps) / 10_000


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"makr": 1}, "did you mean maker"), ({"maker": "a lot"}, "fees.maker = 'a lot'"), ({"maker": True}, "True"),
        ({"maker": float("nan")}, "nan"), ({"taker_bps": 10_000}, "all of the notional"), (5, "fees = 5"), ([1], "table"),
        ({"binance": {"takre": 1}}, "fees.binance.takre"), ({"binance": {"BTC/USDT": {"taker": []}}}, 'fees.binance."BTC/USDT".taker'),
        ({"maker": 1, "maker_bps": 2}, "twice"), ({"a": {"b": {"c": {"taker": 1}}}}, "unknown"), ({"colour": "red"}, "maker_bps"),
        ({"maker": None}, "None"), ({"taker": "%"}, "taker"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(table, says):
    with pytest.raises(ConfigError) as caught:
        FeeTable.parse(table)
    assert says in str(caught.value)
