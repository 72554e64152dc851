"""A model's input and output: of every kind that bots have, and copied."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs.explainability.asking import read
from botobs.explainability.rows import MOST_FEATURES, Row, UnfitError, outputs, take


class Frame:
    """As much of a data frame as is asked for, so that none has to be installed."""

    def __init__(self, rows, columns=("a", "b")):
        self.rows, self.columns = rows, list(columns)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, at):
        return Frame(self.rows[at], self.columns)

    def tail(self, n):
        return Frame(self.rows[-n:], self.columns)

    def clone(self):
        return Frame([list(row) for row in self.rows], self.columns)

    def row(self, n):
        return tuple(self.rows[n])


@pytest.mark.parametrize(
    ("given", "form", "cells", "names"),
    [
        ([1, 2.5], "one", [1, 2.5], None),
        ((1, 2.5), "one", [1, 2.5], None),
        ({"a": 1, 7: 2.5}, "map", [1, 2.5], ["a", "7"]),
        ([[0, 0], [1, 2.5]], "table", [1, 2.5], None),
        ([(0, 0), (1, 2.5)], "table", [1, 2.5], None),
        ([{"a": 0}, {"a": 3}], "table", [3], ["a"]),
        (np.array([1, 2.5]), "one", [1, 2.5], None),
        (np.array([[0, 0], [1, 2.5]]), "table", [1, 2.5], None),
        ([np.zeros(2), np.array([1, 2.5])], "table", [1, 2.5], None),
        (Frame([[0, 0], [1, 2.5]]), "frame", [1, 2.5], ["a", "b"]),
    ],
)
def test_the_last_row_is_taken_and_stays_what_it_is(given, form, cells, names):
    [row] = take(given)
    assert (row.form, row.cells(), row.names(), row.back) == (form, cells, names, 1)
    assert row.numbers() == [float(cell) for cell in cells]
    alone = row.alone()
    assert list(alone.values() if isinstance(alone, dict) else alone) == cells
    if isinstance(given, np.ndarray):
        given[:] = 99
    elif isinstance(given, dict):
        given.clear()
    elif isinstance(given, Frame):
        given.rows[-1][:] = [99, 99]
    elif isinstance(given, list):
        if isinstance(given[-1], np.ndarray):
            given[-1][:] = 99
        given[:] = []
    assert row.cells() == cells


def test_of_a_table_no_more_rows_are_copied_than_are_asked_for():
    rows = take(np.arange(30.0).reshape(10, 3), 2)
    assert [(row.back, row.of, row.value.tolist()) for row in rows] == [
        (2, 10, [[24.0, 25.0, 26.0]]),
        (1, 10, [[27.0, 28.0, 29.0]]),
    ]
    assert [row.back for row in take(Frame([[1, 2]] * 3), 64)] == [3, 2, 1]
    assert all(row.value.base is None for row in rows)  # the whole table is let go


class Hostile:
    columns = property(lambda self: 1 / 0)
    __len__ = __float__ = __getitem__ = __iter__ = lambda self, *_: 1 / 0


@pytest.mark.parametrize(
    "given",
    [None, 3, "text", b"", [], (), {}, object(), np.zeros((2, 2, 2)), np.array(3.0), np.zeros(0), np.zeros(MOST_FEATURES + 1),
     np.zeros((1, MOST_FEATURES + 1)), [0] * (MOST_FEATURES + 1), {n: n for n in range(MOST_FEATURES + 1)}],
)  # fmt: skip
def test_what_is_no_row_is_refused(given):
    with pytest.raises(UnfitError):
        take(given)


def test_what_raises_raises_nothing_but_errors():
    with pytest.raises(ZeroDivisionError):
        take(Hostile())
    assert outputs(Hostile(), Row("one", [1])) is None
    with pytest.raises(UnfitError, match="no number"):
        take(["a", 1])[0].numbers()


@pytest.mark.parametrize(
    ("out", "form", "of", "back", "said"),
    [
        (0.5, "one", 1, 1, (0.5,)),
        (np.float32(0.5), "one", 1, 1, (0.5,)),
        (np.array(0.5), "one", 1, 1, (0.5,)),
        (np.array([0.5]), "table", 1, 1, (0.5,)),
        ([0.1, 0.2, 0.3], "table", 3, 2, (0.2,)),
        (np.array([[0.1, 0.9], [0.3, 0.7]]), "table", 2, 1, (0.3, 0.7)),
        (np.array([[0.1, 0.9]]), "table", 1, 1, (0.1, 0.9)),
        ([0.1, 0.9], "one", 1, 1, (0.1, 0.9)),
        ((0.1, "why"), "one", 1, 1, None),
        ("buy", "one", 1, 1, None),
        ({"p": 1.0}, "one", 1, 1, None),
        (None, "one", 1, 1, None),
        (math.nan, "one", 1, 1, None),
        ([0.0] * 65, "one", 1, 1, None),
        ([], "one", 1, 1, None),
    ],
)
def test_an_output_is_read_as_numbers(out, form, of, back, said):
    assert outputs(out, Row(form, None, back, of)) == said


# -- an explainer's answer


def explanation(values, base, names=None):
    return SimpleNamespace(values=np.array(values), base_values=base, feature_names=names)


@pytest.mark.parametrize(
    ("given", "values", "bases", "names"),
    [
        ([0.5, -1], [[0.5, -1.0]], [None], None),
        (np.array([0.5, -1]), [[0.5, -1.0]], [None], None),
        (([0.5, -1], 2), [[0.5, -1.0]], [2.0], None),
        ((0.5, -1), [[0.5, -1.0]], [None], None),
        ({"a": 0.5}, [[0.5]], [None], ["a"]),
        (({"a": 0.5}, 2), [[0.5]], [2.0], ["a"]),
        (explanation([0.5, -1], 2.0), [[0.5, -1.0]], [2.0], None),
        (explanation([[0.5, -1]], np.array([2.0]), ["a", "b"]), [[0.5, -1.0]], [2.0], ["a", "b"]),
        (explanation([[0.5, -1]], [[2.0]], ["a"]), [[0.5, -1.0]], [2.0], None),
        (explanation([[[1, 2], [3, 4], [5, 6]]], np.array([[7.0, 8.0]])), [[1, 3, 5], [2, 4, 6]], [7, 8], None),
        (explanation([[[1, 2], [3, 4]]], 7.0), [[1, 3], [2, 4]], [7, 7], None),
        (([np.array([[1, 3, 5]]), np.array([[2, 4, 6]])], [7.0, 8.0]), [[1, 3, 5], [2, 4, 6]], [7, 8], None),
        ((np.array([[1, 3]]), None), [[1, 3]], [None], None),
    ],
)
def test_an_answer_of_every_shape_is_read(given, values, bases, names):
    answer = read(given)
    assert (answer.values, answer.bases, answer.names) == (values, bases, names)


@pytest.mark.parametrize(
    "given",
    [None, 3.0, [], "text", [math.nan], [math.inf, 1], ["a"], [[1], [2]], [[]], {"a": None}, ([1], [1, 2]), object(),
     explanation([[1, 2]], [1, 2, 3]), ([1], math.nan)],
)  # fmt: skip
def test_an_answer_that_is_none_is_refused(given):
    with pytest.raises((TypeError, ValueError)):
        read(given)


@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 6).flatmap(
        lambda n: st.lists(st.lists(st.floats(-1e6, 1e6), min_size=n, max_size=n), min_size=2, max_size=4)
    )
)
def test_the_last_axis_is_the_output_and_an_old_list_tells_the_same(by_output):
    new = read(explanation([list(map(list, zip(*by_output, strict=True)))], [1.0] * len(by_output)))
    old = read(([np.array([each]) for each in by_output], [1.0] * len(by_output)))
    assert new.values == old.values == by_output
    assert new.bases == old.bases
