"""Wilder's averages against his formulas written out plainly, and against figures of TA-Lib."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs.accounting.wilder import ATR, DirectionalIndex, Range


def series(count):
    """Bars of whole numbers that anybody can make again."""
    seed, close, bars = 12345, 1000, []
    for _ in range(count):
        moves = []
        for _ in range(3):
            seed = (seed * 1_103_515_245 + 12_345) % 2**31
            moves.append(seed >> 16)
        close = close + moves[0] % 41 - 20
        bars.append((float(close + moves[1] % 15), float(close - moves[2] % 15), float(close)))
    return bars


# what TA-Lib 0.8.1 computes for series(60): (n, name) -> {index of the bar: value}, the first index being its first
TALIB = {
    (14, "atr"): {14: 16.0, 15: 16.071428571428573, 59: 18.501269559546657},
    (14, "adx"): {27: 26.2798032455626, 28: 28.03762112387897, 59: 27.15470874902699},
    (14, "plus"): {14: 22.809410160245484, 15: 20.97633921034225, 59: 31.766635399884123},
    (14, "minus"): {14: 24.821002386634845, 15: 24.244470707411786, 59: 25.248391505700045},
    (5, "atr"): {5: 17.2, 6: 17.16, 59: 18.5878612611992},
    (5, "adx"): {9: 43.596588659260625, 10: 36.94452869560085, 59: 15.069824575604741},
    (5, "plus"): {5: 0.0, 6: 5.373455131649651, 59: 28.26822392524775},
    (5, "minus"): {5: 46.51810584958218, 6: 35.89468027941967, 59: 29.18813727659451},
}


def streamed(bars, n):
    atr, adx = ATR(n), DirectionalIndex(n)
    found = {"atr": [], "adx": [], "plus": [], "minus": []}
    for bar in bars:
        found["atr"].append(atr.bar(*bar))
        found["adx"].append(adx.bar(*bar))
        found["plus"].append(adx.plus)
        found["minus"].append(adx.minus)
    return found


@pytest.mark.parametrize(("n", "name"), TALIB)
def test_agrees_with_talib_from_the_first_value_on(n, name):
    found = streamed(series(60), n)[name]
    expected = TALIB[n, name]
    assert [value is None for value in found].count(True) == min(expected)
    assert found[min(expected) - 1] is None
    for at, value in expected.items():
        assert found[at] == pytest.approx(value, rel=1e-13, abs=1e-13)


def plain(bars, n):
    """ATR and ADX as the book has them, each bar from the very beginning: slow, and without a trick."""
    ranges = [
        max(high - low, abs(high - before), abs(low - before))
        for (high, low, _), (_, _, before) in zip(bars[1:], bars, strict=False)
    ]
    ups, downs = [], []
    for (high, low, _), (high_before, low_before, _) in zip(bars[1:], bars, strict=False):
        rise, fall = high - high_before, low_before - low
        ups.append(rise if rise > 0 and rise > fall else 0.0)
        downs.append(fall if fall > 0 and fall > rise else 0.0)

    def averaged(values):
        mean = sum(values[:n]) / n
        for value in values[n:]:
            mean = (mean * (n - 1) + value) / n
        return mean

    def summed(values):
        total = sum(values[: n - 1])
        for value in values[n - 1 :]:
            total = total - total / n + value
        return total

    atr = averaged(ranges) if len(ranges) >= n else None
    if len(ranges) < 2 * n - 1:
        return atr, None
    dxs = []
    for end in range(n, len(ranges) + 1):
        width, up, down = summed(ranges[:end]), summed(ups[:end]), summed(downs[:end])
        both = (100 * up / width + 100 * down / width) if width >= 1e-14 else 0.0
        dxs.append(100 * abs(100 * up / width - 100 * down / width) / both if both >= 1e-14 else None)
    adx = sum(dx or 0.0 for dx in dxs[:n]) / n
    for dx in dxs[n:]:
        adx = adx if dx is None else (adx * (n - 1) + dx) / n
    return atr, adx


@st.composite
def some_bars(draw):
    bars = []
    for _ in range(draw(st.integers(0, 30))):
        close = float(draw(st.integers(1, 40)))
        bars.append((close + draw(st.integers(0, 5)), close - draw(st.integers(0, 5)), close))
    return bars


@settings(max_examples=150, deadline=None)
@given(some_bars(), st.integers(2, 6))
def test_agrees_with_the_formulas(bars, n):
    atr, adx = ATR(n), DirectionalIndex(n)
    for bar in bars:
        atr.bar(*bar)
        adx.bar(*bar)
    expected_atr, expected_adx = plain(bars, n) if bars else (None, None)
    assert atr.value == (None if expected_atr is None else pytest.approx(expected_atr, rel=1e-12))
    assert adx.value == (None if expected_adx is None else pytest.approx(expected_adx, rel=1e-9, abs=1e-9))


def test_a_market_that_stands_still_has_no_range_and_no_direction():
    found = streamed([(100.0, 100.0, 100.0)] * 40, 14)
    assert found["atr"][14] == 0.0
    assert found["adx"][26] is None
    assert found["adx"][27] == found["adx"][39] == 0.0
    assert found["plus"][39] == found["minus"][39] == 0.0


def test_a_direction_once_found_stays_while_nothing_moves():
    adx = DirectionalIndex(2)
    for step in range(6):
        adx.bar(102.0 + step, 100.0 + step, 101.0 + step)
    assert adx.value == 100.0
    for _ in range(200):  # the sums fade below what counts as zero
        adx.bar(106.0, 106.0, 106.0)
    assert adx.value == pytest.approx(100.0)


@pytest.mark.parametrize(
    "bad",
    [(math.nan, 1.0, 1.0), (2.0, math.nan, 1.0), (2.0, 1.0, math.nan), (math.inf, 1.0, 1.0), (1.0, 2.0, 1.5)],
)
def test_what_is_no_bar_is_left_out(bad):
    bars = series(40)
    clean, disturbed = Range(5), Range(5)
    for bar in bars:
        assert clean.bar(*bar)
        assert disturbed.bar(*bar)
        assert not disturbed.bar(*bad)
        disturbed.atr.bar(*bad)
        disturbed.adx.bar(*bad)
    assert disturbed.state() == clean.state()
    assert disturbed.bars == 40


def test_a_gap_counts_in_the_range():
    atr = ATR(1)
    atr.bar(101.0, 99.0, 100.0)
    assert atr.bar(151.0, 149.0, 150.0) == 51.0


@pytest.mark.parametrize("cut", range(0, 40, 3))
def test_goes_on_exactly_where_its_state_was_taken(cut):
    bars = series(40)
    whole, first = Range(5), Range(5)
    for bar in bars:
        whole.bar(*bar)
    for bar in bars[:cut]:
        first.bar(*bar)
    second = Range.of_state(json.loads(json.dumps(first.state())))
    for bar in bars[cut:]:
        second.bar(*bar)
    assert second.state() == whole.state()


def test_one_bar_costs_the_same_however_many_there_were():
    some, many = Range(), Range()
    for bar in series(60):
        some.bar(*bar)
    for bar in series(3_000):
        many.bar(*bar)
    assert len(json.dumps(many.state())) < len(json.dumps(some.state())) + 60


@pytest.mark.parametrize(
    "state",
    [None, 5, "x", {}, [], [1, 2, 3], [0, [14, None, 0, 0.0, "x"], []], [0, [14, math.nan, 0, 0.0, 1.0], []],
     [0, [0, None, 0, 0.0, None], []], [0.5, [], []], [True, [], []]],
)  # fmt: skip
def test_a_damaged_state_is_refused(state):
    with pytest.raises(ValueError, match=r"state|at least"):
        Range.of_state(state)


def test_no_average_over_nothing():
    with pytest.raises(ValueError, match="at least one"):
        ATR(0)
    with pytest.raises(ValueError, match="at least two"):
        DirectionalIndex(1)
