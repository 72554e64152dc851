"""What an entry of a stream says, in every form that streams have."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs.metricpack import Execution, Names, Unreadable, parse
from tests.metricpack.plain import event

NAMES = Names()


def read(said, names=NAMES, at_ns=0):
    return parse(said, names, at_ns)


def test_flat_fields_as_redis_has_them():
    said = {str(name).encode(): str(value).encode() for name, value in event(action="partial 25", fee="0.1").items()}
    found = read(said)
    assert isinstance(found, Execution)
    assert (found.symbol, found.side, found.qty, found.price, found.fee) == (
        "BTCUSDT", "buy", Decimal(1), Decimal(100), Decimal("0.1"),
    )  # fmt: skip
    assert (found.action, found.executed, found.reduces, found.ts_ns) == (
        "PARTIAL_25",
        True,
        False,
        1_767_323_045 * 10**9,
    )


def test_one_json_field_with_all_its_digits():
    said = event(price="64123.123456789012345678901", metadata={"action": "FULL_CLOSE", "reduceOnly": "True"})
    del said["reduceOnly"]
    text = json.dumps(said).replace('"64123.123456789012345678901"', "64123.123456789012345678901")
    for field in ("data", "payload", "json", "event"):
        found = read({field: text.encode()})
        assert found.price == Decimal("64123.123456789012345678901")
        assert (found.action, found.reduces) == ("FULL_CLOSE", True)
    assert read({"data": said}).action == "FULL_CLOSE"
    assert read({"data": text, "symbol": "ETHUSDT"}).symbol == "ETHUSDT"  # what stands beside it wins


def test_names_are_the_user_s():
    names = Names.of({"qty": "lastQty", "price": ["px", "price"], "json": "body", "executed": "done"})
    found = read(
        {"body": json.dumps({"symbol": "X", "side": "S", "lastQty": 2, "px": 3, "done": 1, "ts": 1.7e9})}, names
    )
    assert (found.qty, found.price, found.side) == (2, 3, "sell")
    for wrong in ({"quantity": "x"}, {"qty": 5}, {"qty": [""]}):
        with pytest.raises(ValueError, match="field|name"):
            Names.of(wrong)


@pytest.mark.parametrize("value", [True, 1, "1", "true", " True ", b"TRUE", "yes", "t", "1.0", 1.0])
def test_what_is_true(value):
    assert read(event(executed=value, reduceOnly=value)).reduces


@pytest.mark.parametrize("value", [False, 0, "0", "false", b"False", "no", "0.0"])
def test_what_is_false(value):
    assert not read({"symbol": "X", "executed": value}).executed  # and nothing else is asked of it
    assert not read(event(reduceOnly=value)).reduces


@pytest.mark.parametrize(
    ("action", "reduces"), [("PARTIAL_75", True), ("full-close", True), ("close", True), ("BUY", False), (None, False)]
)
def test_where_nobody_says_whether_it_reduces_the_action_tells(action, reduces):
    assert read(event(reduceOnly=None, action=action)).reduces is reduces


@pytest.mark.parametrize(
    ("ts", "ns"),
    [(1_767_323_045, 0), ("1767323045123", 123_000_000), ("2026-01-02T03:04:05.5Z", 500_000_000), ("1767323045.25", 250_000_000),
     (1_767_323_045_000_001, 1_000), (None, 7)],
)  # fmt: skip
def test_times(ts, ns):
    assert read(event(ts=ts), at_ns=1_767_323_045_000_000_007).ts_ns == 1_767_323_045 * 10**9 + ns


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"symbol": ""}, "symbol is missing"), ({"side": None}, "side is missing"), ({"side": "up"}, "neither buy"),
        ({"qty": "0"}, "qty is not above 0"), ({"qty": "-1"}, "above 0"), ({"qty": "nan"}, "qty is missing"),
        ({"qty": "1e999"}, "no number"), ({"qty": True}, "no number"), ({"qty": "x"}, "no number"),
        ({"price": None}, "price is missing"), ({"price": "0"}, "above 0"), ({"price": float("inf")}, "no number"),
        ({"fee": "x"}, "fee is no number"), ({"executed": None}, "executed is missing"), ({"executed": "maybe"}, "executed"),
        ({"ts": None}, "time is missing"), ({"ts": "soon"}, "time is none"), ({"ts": -5}, "beyond"), ({"ts": True}, "none"),
        ({"positionSide": "UP"}, "positionSide"), ({"multiplier": 0}, "multiplier"), ({"filled_qty": 0}, "above 0"),
    ],
)  # fmt: skip
def test_what_says_no_execution_says_why(more, reason):
    found = read(event(**more))
    assert isinstance(found, Unreadable)
    assert reason in found.reason


def test_fees_are_told_by_their_asset():
    kinds = [read(event(fee=1, fee_asset=asset)).fee_in for asset in ("USDT", "btc", "BNB", None)]
    assert kinds == ["quote", "base", "unpriced", "quote"]


def test_a_price_of_nothing_leaves_the_next_name_its_turn():
    assert read(event(avgPrice="0.00000", price="5")).price == 5


def test_identities():
    ids = [
        read(event(**more)).identity
        for more in ({"plan_id": "a"}, {"order_id": "a"}, {"plan_id": "a", "action": "X"}, {"fill_id": "a"},
                     {"plan_id": "a", "symbol": "Y"}, {"plan_id": "a", "bot": "b"})
    ]  # fmt: skip
    assert len(set(ids)) == len(ids)
    assert read(event()).identity is None
    assert read(event(plan_id=1, order_id=b"2")).identity == read(event(plan_id="1", order_id="2")).identity


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=8)
    | st.sampled_from(["1e400", "0x1", "\ud800", "9" * 5_000, "NaN", '{"a":', '{"symbol": NaN}', "[[["]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
fields = st.sampled_from(
    [name for names in (getattr(NAMES, field.name) for field in Names.__attrs_attrs__) for name in names]
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(fields | st.text(max_size=4) | st.binary(max_size=4), anything, max_size=6), st.booleans())
def test_whatever_it_is_it_never_raises(said, whole):
    found = read({**event(), **said} if whole else said)
    if isinstance(found, Execution) and found.executed:
        assert found.price.is_finite()
        assert found.kind in ("funding", "void") or found.qty > 0
    else:
        assert isinstance(found, Execution) or found.reason
