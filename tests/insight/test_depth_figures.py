"""What a book comes to, against a plain model with exact fractions."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from botobs.accounting.instruments import Instrument
from botobs.insight.depth import Depth
from botobs.insight.terms import OrderBookTerms

TERMS = OrderBookTerms(levels=3, within_bps=(5.0, 100.0, 1000.0))
SIZES = st.integers(1, 10**6).map(lambda n: Fraction(n, 1000))


@st.composite
def books(draw):
    """Bids and asks, the best first, in cents."""
    ask = draw(st.integers(1_000, 10**6))
    gaps = st.lists(st.integers(1, 400), min_size=1, max_size=8)
    bids, asks = [], []
    at = ask - draw(st.integers(1, 200)) + 1
    for gap in draw(gaps):
        at -= gap
        if at > 0:
            bids.append((Fraction(at, 100), draw(SIZES)))
    at = ask
    for gap in draw(gaps):
        asks.append((Fraction(at, 100), draw(SIZES)))
        at += gap
    assume(bids)
    return bids, asks


def told(levels):
    return [[float(price), float(size)] for price, size in levels]


def plain_walk(levels, qty, limit, *, buys, inverse):
    """How much of it crosses, and the average price of that; whether the limit, not the levels, ended it."""
    left, worth, ended = qty, Fraction(0), False
    for price, size in levels:
        if limit is not None and (price > limit if buys else price < limit):
            ended = True
            break
        taken = min(left, size)
        worth += taken / price if inverse else taken * price
        left -= taken
        if not left:
            break
    done = qty - left
    average = None if not done else done / worth if inverse else worth / done
    return done, average, ended


def near(found, expected):
    return found == pytest.approx(float(expected), rel=1e-9, abs=1e-7)


@settings(max_examples=80)
@given(books(), SIZES, st.sampled_from(["buy", "sell"]), st.none() | st.integers(-500, 500), st.booleans())
def test_an_order_pays_what_a_walk_through_the_book_comes_to(book, qty, side, off, inverse):
    bids, asks = book
    depth = Depth(instrument=lambda _, symbol: Instrument(symbol, inverse=inverse), now=int)
    depth.book("X", told(bids), told(asks))
    levels = asks if side == "buy" else bids
    limit = None if off is None else levels[0][0] + Fraction(off, 100)
    assume(limit is None or limit > 0)
    found = depth.impact("X", side, float(qty), limit_px=None if limit is None else float(limit))
    done, average, ended = plain_walk(levels, qty, limit, buys=side == "buy", inverse=inverse)
    mid = (bids[0][0] + asks[0][0]) / 2
    sign = 1 if side == "buy" else -1
    assert near(found.fillable, done / qty)
    assert near(found.half_spread_bps, (asks[0][0] - bids[0][0]) / 2 / mid * 10_000)
    if not done:
        assert (found.impact_bps, found.average, found.levels) == (0.0, None, 0)
        assert "rests" in found.reason
        return
    assert near(found.average, average)
    if done < qty and not ended:
        assert (found.impact_bps, found.cost_bps) == (None, None)
        assert "hold" in found.reason
        return
    assert near(found.impact_bps, (average - levels[0][0]) * sign / mid * 10_000)
    assert near(found.cost_bps, (average - mid) * sign / mid * 10_000)
    assert found.impact_bps >= 0
    assert (found.reason is None) == (done == qty)


@settings(max_examples=40)
@given(books(), st.booleans(), st.sampled_from([1, 5]))
def test_figures_of_a_book_are_those_of_plain_arithmetic(book, inverse, multiplier):
    bids, asks = book
    settles = Instrument("X", multiplier=Decimal(multiplier), inverse=inverse)
    depth = Depth(TERMS, instrument=lambda *_: settles, now=int)
    depth.book("X", told(bids), told(asks))
    found = depth.last("X")
    (bid, bid_size), (ask, ask_size) = bids[0], asks[0]
    mid = (bid + ask) / 2
    n = min(3, len(bids), len(asks))
    ours, theirs = sum(size for _, size in bids[:n]), sum(size for _, size in asks[:n])
    assert near(found.mid, mid)
    assert near(found.spread_bps, (ask - bid) / mid * 10_000)
    assert near(found.imbalance, (ours - theirs) / (ours + theirs))
    assert near(found.microprice, (bid * ask_size + ask * bid_size) / (bid_size + ask_size))
    assert bid <= found.microprice <= ask
    for name, levels, sign in (("bid", bids, -1), ("ask", asks, 1)):
        for bps, size, value in zip(
            TERMS.within_bps, getattr(found, f"{name}_depth"), getattr(found, f"{name}_value"), strict=True
        ):
            bound = mid * (1 + Fraction(int(sign * bps), 10_000))
            if (levels[-1][0] - bound) * sign < 0:
                assert (size, value) == (None, None)
                assert "end" in found.reasons[f"{name}_depth"]
                continue
            inside = [(price, count) for price, count in levels if (price - bound) * sign <= 0]
            assert near(size, sum(count for _, count in inside))
            worth = sum(count / price if inverse else count * price for price, count in inside)
            assert near(value, worth * multiplier)


def book_of(bids, asks, **terms):
    depth = Depth(OrderBookTerms(**terms), now=int)
    depth.book("X", bids, asks)
    return depth


@pytest.mark.parametrize(
    ("bids", "asks", "why"),
    [
        ([], [], "there are no bids"),
        ([], [[101, 1]], "there are no bids"),
        ([[99, 1]], None, "there are no asks"),
        ([[99, 1]], [[101, 0]], "there are no asks"),
        ([[99, 1]], [["x", 1]], "no ask could be read"),
        ([[101.5, 1]], [[101, 1]], "the book is crossed"),
        ([[n % 7 + 90, 1] for n in range(60)], [[101, 1]], "the bids come in no order, and there are more than are taken"),
    ],
)  # fmt: skip
def test_what_a_book_does_not_tell_is_none_and_why(bids, asks, why):
    depth = book_of(bids, asks)
    book = depth.last("X")
    for name in ("mid", "spread_bps", "half_spread_bps", "microprice", "imbalance"):
        assert getattr(book, name) is None
    assert {book.reasons[name] for name in ("mid", "spread_bps", "imbalance", "bid_depth")} == {why}
    assert book.bid_depth == book.ask_value == (None, None, None)
    for side in ("buy", "sell"):
        found = depth.impact("X", side, 1)
        assert (found.impact_bps, found.cost_bps, found.fillable, found.reason) == (None, None, None, why)


def test_a_book_in_no_order_is_understood_from_then_on():
    depth = book_of([[n % 7 + 90, 1] for n in range(60)], [[101, 1]])
    assert depth.last("X").bid is None
    depth.book("X", [[n % 7 + 90, 1] for n in range(60)], [[101, 1]])
    assert (depth.last("X").bid, depth.last("X").reasons.get("bid")) == (96.0, None)


def test_a_locked_book_has_no_spread():
    book = book_of([[100, 1]], [[100, 3]]).last("X")
    assert (book.spread_bps, book.mid, book.imbalance) == (0.0, 100.0, -0.5)


def test_a_level_at_the_bound_is_within_it():
    book = book_of([[99.95, 1], [99.9, 2]], [[100.05, 4], [100.1, 8]], within_bps=(5.0, 10.0)).last("X")
    assert (book.bid_depth, book.ask_depth) == ((1.0, 3.0), (4.0, 12.0))


@pytest.mark.parametrize(
    ("side", "qty", "how", "impact", "fillable", "why"),
    [
        ("buy", 0.3, {}, 0.0, 1.0, None),  # 0.1 + 0.1 + 0.1 is no 0.3 in binary
        ("BUY", "0.3", {}, 0.0, 1.0, None),
        ("sell", 1, {}, 0.0, 1.0, None),
        ("sell", 3, {}, None, 2 / 3, "the levels known hold 66.6 % of it"),
        ("buy", 1.3, {}, 10 / 13 * 100, 1.0, None),
        ("buy", 1.3, {"limit_px": 100}, 0.0, 0.3 / 1.3, "its limit crosses 23 % of it; the rest rests"),
        ("buy", 1.3, {"limit_px": 99.99}, 0.0, 0.0, "it rests in the book: its limit crosses nothing"),
        ("buy", 1, {"limit_px": "x"}, None, None, "its limit is not known"),
        ("buy", 1, {"order_type": "limit"}, None, None, "its limit is not known"),
        ("buy", 1, {"order_type": "STOP_LIMIT", "limit_px": 101}, None, None, "it waits for its trigger"),
        ("buy", 1, {"order_type": "trailing-stop"}, None, None, "it waits for its trigger"),
        ("hold", 1, {}, None, None, "no side"),
        ("buy", 0, {}, None, None, "no quantity"),
        ("buy", float("nan"), {}, None, None, "no quantity"),
        ("buy", None, {}, None, None, "no quantity"),
        ("buy", "1e400", {}, None, None, "no quantity"),
    ],
)
def test_orders_of_every_kind(side, qty, how, impact, fillable, why):
    depth = book_of([[100, 2]], [[100, 0.1], [100, 0.1], [100, 0.1], [101, 5]])
    found = depth.impact("X", side, qty, **how)
    assert (found.impact_bps, found.fillable) == (pytest.approx(impact), pytest.approx(fillable))
    assert found.reason == why
    assert str(found.impact_bps) != "-0.0"
