"""Levels: the same book in every form that a bot may have it in, and what none of them may do."""

from __future__ import annotations

import math
from collections import OrderedDict, deque, namedtuple
from decimal import Decimal
from types import MappingProxyType, SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs.insight.depth.levels import read, take

Row = namedtuple("Row", "price size")
FORMS = {
    "lists": lambda rows: [list(row) for row in rows],
    "tuples": lambda rows: tuple(tuple(row) for row in rows),
    "with counts": lambda rows: [[*row, 3, "2026-01-02"] for row in rows],
    "texts": lambda rows: [[repr(price), repr(size)] for price, size in rows],
    "decimals": lambda rows: [(Decimal(repr(price)), Decimal(repr(size))) for price, size in rows],
    "named": lambda rows: [Row(*row) for row in rows],
    "dicts": lambda rows: [{"price": price, "amount": size, "n": 1} for price, size in rows],
    "short dicts": lambda rows: [{"px": str(price), "sz": str(size)} for price, size in rows],
    "objects": lambda rows: [SimpleNamespace(price=price, qty=size) for price, size in rows],
    "mapping": dict,
    "mapping of texts": lambda rows: OrderedDict((repr(price), Decimal(repr(size))) for price, size in rows),
    "proxy": lambda rows: MappingProxyType(dict(rows)),
    "array": lambda rows: np.array(rows, dtype=float).reshape(-1, 2),
    "array rows": lambda rows: [np.array(row) for row in rows],
    "structured": lambda rows: np.array([tuple(row) for row in rows], dtype=[("px", "f8"), ("qty", "f8")]),
    "generator": lambda rows: (row for row in rows),
    "deque": deque,
    "dead levels": lambda rows: [level for row in rows for level in ((row[0], 0), row, (row[0], "0.0"))],
    "twice": lambda rows: [(price, size / 2) for price, size in rows for _ in range(2)],
}
PRICES = st.lists(st.integers(1, 10**7), min_size=0, max_size=12, unique=True)


def levels(rows, keep=50, *, highest=True, mixed=False):
    return read(take(rows, keep, highest=highest, mixed=mixed), highest=highest)


@settings(max_examples=25)
@given(PRICES, st.data(), st.booleans())
def test_a_book_is_the_same_in_every_form_and_order(prices, data, highest):
    rows = [(price / 100, data.draw(st.integers(1, 10**6)) / 1000) for price in prices]
    shuffled = data.draw(st.permutations(rows))
    best_first = tuple(sorted(rows, reverse=highest))
    for name, form in FORMS.items():
        for order in (best_first, best_first[::-1], shuffled):
            found = levels(form(order), highest=highest)
            assert found.levels == best_first, name
            assert (found.odd, found.more, found.mixed) == (0, False, False), name


@pytest.mark.parametrize("name", [name for name in FORMS if name not in ("dead levels", "twice")])
@pytest.mark.parametrize("highest", [True, False])
def test_of_a_long_book_the_best_are_taken_whichever_way_it_runs(name, highest):
    rows = [(100.0 + n, 1.0 + n) for n in range(600)]
    best = tuple(sorted(rows, reverse=highest)[:50])
    for order in (rows, rows[::-1]):
        found = levels(FORMS[name](order), highest=highest)
        assert found.levels == best
        assert (found.more, found.mixed) == (True, False)
    jumbled = [*rows[300:], *rows[:300]]
    found = levels(FORMS[name](jumbled), highest=highest)
    if "mapping" not in name and name != "proxy":
        assert found.mixed  # the best may not be among them
    found = levels(FORMS[name](jumbled), highest=highest, mixed=True)
    assert (found.levels, found.mixed) == (best, False)


def test_what_is_gone_takes_no_room_among_the_best():
    dead = {float(200 + n): 0.0 for n in range(300)}
    assert levels({**dead, 100.0: 1.0, 99.0: 2.0}).levels == ((100.0, 1.0), (99.0, 2.0))
    assert levels([*dead.items(), (99.0, 2.0), (100.0, 1.0)], mixed=True).levels == ((100.0, 1.0), (99.0, 2.0))


@pytest.mark.parametrize(
    "row",
    [
        None, 7, "ab", [], [1], ["x", 1], [1, "x"], [math.nan, 1], [1, math.nan], [math.inf, 1], [1, math.inf],
        [-1, 1], [1, -1], [0, 1], [True, 1], [1, True], [None, 1], [1, None], [Decimal("sNaN"), 1], [10**400, 1],
        ["1e-300", 1], [1, 1e300], [1j, 1], {}, {"price": 1}, {"size": 1}, pytest.param(object(), id="object"), [[1], [2]], np.array([]),
    ],
    ids=repr,
)  # fmt: skip
def test_a_row_that_is_no_level_is_left_out_and_counted(row):
    good = [100, 1]
    for rows in ([good, row, [99, 2]], [row, good, [99, 2]]):
        found = levels(rows)
        assert found.odd >= 1
        assert found.levels == ((100.0, 1.0), (99.0, 2.0))[: len(found.levels)]
    assert levels([row]).levels == ()


@pytest.mark.parametrize("form", ["lists", "dicts", "mapping", "array", "objects", "deque"])
def test_what_was_taken_is_the_bots_book_no_more(form):
    rows = FORMS[form]([(100.0, 1.0), (99.0, 2.0)])
    taken = take(rows, 50, highest=True)
    if form == "mapping":
        rows[100.0] = 7.0
    elif form == "dicts":
        rows[0]["amount"] = 7.0
    elif form == "objects":
        rows[0].qty = 7.0
    elif form == "deque":
        rows.clear()
    else:
        rows[0][1] = 7.0
    assert read(taken, highest=True).levels == ((100.0, 1.0), (99.0, 2.0))


def test_no_side_and_an_endless_one():
    assert levels(None) == levels([]) == levels({}) == levels(np.empty((0, 2))) == ((), 0, False, False)

    def endless():
        while True:
            yield (100, 1)

    assert levels(endless()).levels[0][0] == 100
