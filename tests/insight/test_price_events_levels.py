"""Round levels: each crossing is told once, and what was told never differs from where the price is."""

from __future__ import annotations

import json
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs.insight.price_events.levels import Levels, usual_step


def crossed(levels, *prices):
    """(first, last, how many, up) of each crossing, with the place of the price that made it."""
    found = []
    for at, price in enumerate(prices):
        one = levels.price(Decimal(str(price)))
        if one is not None:
            found.append((at, str(one.first), str(one.last), one.n, one.up))
    return found


def test_a_price_that_oscillates_about_a_level_says_so_once():
    levels = Levels(Decimal(1000))
    assert crossed(levels, 99_400, 100_001) == [(1, "100000", "100000", 1, True)]
    flutter = [100_000 + (120 if n % 2 else -120) for n in range(500)]
    assert crossed(levels, *flutter) == []
    assert crossed(levels, 100_300, 99_990) == [(1, "100000", "100000", 1, False)]  # it was away in between
    assert crossed(levels, 100_100, 100_240, 99_800, 100_249) == []
    assert crossed(levels, 100_250) == [(0, "100000", "100000", 1, True)]  # it went, however slowly


def test_a_jump_over_several_is_one_event():
    levels = Levels(Decimal("0.1"))
    assert crossed(levels, "0.25", "0.61") == [(1, "0.3", "0.6", 4, True)]
    assert crossed(levels, "0.3") == [(0, "0.6", "0.3", 4, False)]
    assert crossed(levels, "0.3000001", "0.2999", "0.31") == []
    assert crossed(levels, "0.325") == [(0, "0.3", "0.3", 1, True)]


def test_a_level_that_is_reached_counts_from_either_side():
    assert crossed(Levels(Decimal(10)), 95, 100) == [(1, "100", "100", 1, True)]
    assert crossed(Levels(Decimal(10)), 105, 100) == [(1, "100", "100", 1, False)]
    assert crossed(Levels(Decimal(10)), 100, 101, 99, 100) == []  # it began there
    assert crossed(Levels(Decimal(1000)), 500, 1, 999) == []  # below the lowest


@pytest.mark.parametrize(
    ("price", "step"),
    [("100000", "1000"), ("100001", "2000"), ("67123.4", "1000"), ("3000", "50"), ("0.3", "0.005"), ("1", "0.01"),
     ("0.00001234", "0.0000002"), ("999", "10"), ("1E+30", "1" + "0" * 28)],
)  # fmt: skip
def test_steps_are_one_two_or_five(price, step):
    assert usual_step(Decimal(price)) == Decimal(step)
    assert usual_step(Decimal(price)).as_tuple().exponent <= 0  # no level is ever 1E+5
    assert Decimal("0.01") <= usual_step(Decimal(price)) / Decimal(price) <= Decimal("0.025")


def test_the_automatic_step_follows_the_price_but_not_at_once():
    levels = Levels()
    up = [99_500, 100_010, 99_700, 100_300, 101_100]
    assert [one[2] for one in crossed(levels, *up)] == ["100000", "100000", "100000", "101000"]
    assert levels.step == 1000  # though 2,000 would be chosen at 101,100
    [(_, first, last, n, _)] = crossed(levels, 131_000)
    assert (first, last, n) == ("102000", "131000", 30)
    assert levels.step == 2000
    assert crossed(levels, 131_000, 130_500, 131_900) == []  # 131,000 is no level any more
    assert [one[2] for one in crossed(levels, 132_000)] == ["132000"]


_prices = st.lists(st.integers(1, 4_000), min_size=2, max_size=60)


@settings(max_examples=100, deadline=None)
@given(_prices, st.sampled_from([Decimal("0.1"), Decimal(1), Decimal("2.5")]))
def test_what_is_told_leads_to_where_the_price_is(steps, step):
    """A reader who moves by what is told is never further from the price than a quarter of a step."""
    levels, exact = Levels(step), Fraction(step)
    prices = [Decimal(one) / 100 for one in steps]
    levels.price(prices[0])
    low = Fraction(prices[0]) // exact * exact  # where the reader takes the price to be: from here, one step
    for price in prices[1:]:
        one = levels.price(price)
        if one is not None:
            assert Fraction(one.first) == (low + exact if one.up else low), "it goes on from where the last one ended"
            assert abs(Fraction(one.last) - Fraction(one.first)) == exact * (one.n - 1)
            assert Fraction(price) >= Fraction(one.last) if one.up else Fraction(price) <= Fraction(one.last)
            low = Fraction(one.last) if one.up else Fraction(one.last) - exact
        assert low - exact / 4 < Fraction(price) < low + exact * 5 / 4


@settings(max_examples=40, deadline=None)
@given(_prices, st.integers(0, 59), st.booleans())
def test_it_goes_on_after_a_restart_as_if_there_had_been_none(steps, cut, automatic):
    step = None if automatic else Decimal("0.5")
    whole, first = Levels(step), Levels(step)
    prices = [Decimal(one) / 10 for one in steps]
    told = [whole.price(price) for price in prices]
    again = [first.price(price) for price in prices[:cut]]
    second = Levels(step)
    second.restore(json.loads(json.dumps(first.state())))
    assert [*again, *(second.price(price) for price in prices[cut:])] == told


@pytest.mark.parametrize(
    "state", [None, [], [1, 2], ["1", [], None], ["x", 1, None], ["1", "1", None], ["-1", 1, None], ["NaN", 1, None], ["1", 1, "2"],
              ["1", -5, None], [1, 1, 1], {}],
)  # fmt: skip
def test_a_damaged_state_is_none(state):
    with pytest.raises((ValueError, TypeError)):
        Levels().restore(state)


def test_another_step_in_the_settings_begins_anew():
    before, after = Levels(Decimal(10)), Levels(Decimal(7))
    before.price(Decimal(95))
    after.restore(before.state())
    assert crossed(after, 99, 106) == [(1, "105", "105", 1, True)]


def test_numbers_of_any_size_and_a_rough_context_do_no_harm():
    with localcontext(prec=2):
        assert crossed(Levels(Decimal("0.1")), "1234567.25", "1234567.31") == [(1, "1234567.3", "1234567.3", 1, True)]
    tiny = Levels(Decimal("1E-300"))
    assert tiny.price(Decimal("1E+300")) is None
    assert tiny.price(Decimal("2E+300")).n == 10**600
    huge = Levels()
    assert huge.price(Decimal("1E+400")) is None
    assert huge.price(Decimal("3E+400")).up
