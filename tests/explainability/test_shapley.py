"""What a model answers, taken apart: against Shapley's own formula, and for rows of every form."""

from __future__ import annotations

import itertools
import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import botobs
from botobs.explainability.making import MissingError
from botobs.explainability.rows import UnfitError, take
from botobs.explainability.shapley import Shapley, _all_sets
from botobs.testing import Clock
from tests.explainability.test_rows import Frame

COEF, INTERCEPT = np.array([2.0, -1.0, 0.5]), 10.0
TYPICAL = np.array([[n % 7, n % 3, (n * n) % 11] for n in range(40)], float)
ROW = np.array([1.0, 2.0, 3.0])
NAMES = ["rsi", "trend", "volume"]


def formula(model, row, background):
    """A feature's mean gain over all orders in which features may be put in; one order after the other."""

    def worth(chosen):
        return math.fsum(
            model([row[n] if n in chosen else typical[n] for n in range(len(row))]) for typical in background
        ) / len(background)  # fmt: skip

    gains = [0.0] * len(row)
    orders = list(itertools.permutations(range(len(row))))
    for order in orders:
        for place, feature in enumerate(order):
            gains[feature] += worth(set(order[: place + 1])) - worth(set(order[:place]))
    return [gain / len(orders) for gain in gains], worth(set())


def curved(row):
    return sum((n + 1) * value for n, value in enumerate(row)) + row[0] * row[-1] ** 2 - max(row)


numbers = st.floats(-10, 10)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(numbers, min_size=n, max_size=n), min_size=2, max_size=5)))
def test_it_is_what_the_formula_gives(rows):
    row, *background = rows
    expected, base = formula(curved, row, background)
    answer = Shapley(background, take(row)[0])(take(row)[0], curved, int)
    assert answer.values[0] == pytest.approx(expected, abs=1e-6)
    assert answer.bases[0] == pytest.approx(base, abs=1e-6)


@pytest.mark.parametrize("width", [7, 8, 30, 120, 400])
def test_with_many_features_it_still_adds_up_and_is_exact_where_features_do_not_interact(width):
    rng = np.random.default_rng(width)
    weights, background, row = rng.normal(size=width), rng.normal(size=(60, width)), rng.normal(size=(1, width))
    asked = []

    def linear(table):
        asked.append(table.size)
        return table @ weights

    def both(table):
        return np.stack([table @ weights, np.tanh(table).prod(axis=1) + table[:, 0] ** 3], axis=1)

    [taken] = take(row)
    shapley = Shapley(background, taken)
    first, again = shapley(taken, linear, int), shapley(taken, linear, int)
    assert first == again  # by the same orders
    used = shapley._table
    assert first.values[0] == pytest.approx(list(weights * (row[0] - used.mean(axis=0))), abs=1e-9)
    assert max(asked) <= 60_000  # in pieces
    answer = shapley(taken, both, int)
    for output, said in enumerate(both(row)[0]):
        assert math.fsum(answer.values[output]) + answer.bases[output] == pytest.approx(said, abs=1e-6)
    assert answer.values[0] == pytest.approx(first.values[0])


@pytest.mark.parametrize(
    "form", ["row", "list", "tuple", "dict", "rows", "dicts", "arrays", "table", "whole", "float32"]
)
def test_a_model_is_asked_about_rows_of_the_form_that_it_takes(form):
    def predict(x):
        if form == "dict":
            x = [x[name] for name in NAMES]
        if form == "dicts":
            x = [[row[name] for name in NAMES] for row in x]
        assert {"row": np.ndarray, "table": np.ndarray, "tuple": tuple}.get(form, type(x)) is type(x)
        assert form != "float32" or x.dtype == np.float32
        assert form != "arrays" or type(x[0]) is np.ndarray
        return np.asarray(x, float) @ COEF + INTERCEPT

    given, typical = {
        "row": (ROW, TYPICAL),
        "list": (ROW.tolist(), TYPICAL.tolist()),
        "tuple": (tuple(ROW), tuple(map(tuple, TYPICAL))),
        "dict": (dict(zip(NAMES, ROW)), [dict(zip(NAMES[::-1], row[::-1])) for row in TYPICAL]),
        "rows": ([[0, 0, 0], ROW.tolist()], TYPICAL.tolist()),
        "dicts": ([dict(zip(NAMES, ROW))], [dict(zip(NAMES, row)) for row in TYPICAL]),
        "arrays": ([ROW], list(TYPICAL)),
        "table": (np.stack([ROW * 0, ROW]), TYPICAL),
        "whole": (ROW.astype(int), TYPICAL),
        "float32": (ROW.astype(np.float32), TYPICAL),
    }[form]
    with botobs.start("models", mode="backtest", data_dir=None, clock=Clock(), strict=True) as obs:
        assert np.ravel(botobs.explain_model(predict, typical, every=1)(given))[-1] == 11.5
        [event] = obs.explainability.latest()
    exact = COEF * (ROW - TYPICAL.mean(axis=0))
    names = NAMES if form in ("dict", "dicts") else ["f0", "f1", "f2"]
    assert event.contributions == pytest.approx(dict(zip(names, exact)))
    assert event.base == pytest.approx(TYPICAL.mean(axis=0) @ COEF + INTERCEPT)
    assert event.residual == pytest.approx(0, abs=1e-9)
    assert event.features == dict(
        zip(event.contributions, [dict(zip(names, ROW))[name] for name in event.contributions])
    )


def test_orders_and_their_reverses_are_exact_where_features_act_on_each_other_in_pairs():
    rng = np.random.default_rng(2)
    background, row = rng.normal(size=(9, 9)), rng.normal(size=(1, 9))
    [taken] = take(row)

    def pairs(table):
        return table[:, 0] * table[:, 1] - 2 * table[:, 2] * table[:, 8] + table[:, 4] + table[:, 5] ** 3

    some = Shapley(background, taken)
    every = Shapley(background, taken)
    every._sets, every._add_up = _all_sets(np, 9)
    assert len(every._sets) > 7 * len(some._sets)
    assert some(taken, pairs, int).values[0] == pytest.approx(every(taken, pairs, int).values[0])


class Tensor:
    """As much of one as is asked for."""

    ndim = 1

    def __init__(self, values):
        self.values = list(values)

    def __len__(self):
        return len(self.values)

    def detach(self):
        return self

    def clone(self):
        return Tensor(self.values)

    def tolist(self):
        return self.values

    def new_tensor(self, values):
        return Tensor(values)


def test_a_tensor_and_a_frame_that_is_not_of_pandas():
    class Made(Frame):
        def __init__(self, rows, columns=(), schema=(), orient=None):
            super().__init__(rows, columns or schema)
            assert orient in (None, "row")

        def __getitem__(self, at):
            return Made(self.rows[at], self.columns)

        def tail(self, n):
            return Made(self.rows[-n:], self.columns)

        def clone(self):
            return Made(self.rows, self.columns)

    for given, typical, model in (
        (Tensor(ROW), TYPICAL, lambda x: float(np.dot(x.values, COEF))),
        (Made([ROW.tolist()], NAMES), Made(TYPICAL.tolist(), NAMES), lambda x: np.array(x.rows) @ COEF),
    ):
        [row] = take(given)
        answer = Shapley(typical, row)(row, model, int)
        assert answer.values[0] == pytest.approx(COEF * (ROW - TYPICAL.mean(axis=0)))


def test_the_bot_may_have_the_interpreter_between_questions():
    breaths = []
    Shapley(TYPICAL.tolist(), take(ROW.tolist())[0])(take(ROW.tolist())[0], sum, lambda: breaths.append(1))
    assert len(breaths) > 40 * 8


@pytest.mark.parametrize(
    ("background", "error", "says"),
    [(None, MissingError, "give background="), ([[1.0]], UnfitError, "with 3 features"), (3, UnfitError, "with 3 features"),
     ([], UnfitError, "with 3 features"), ([["a", "b", "c"]], UnfitError, "no number"), ([{"a": 1}], UnfitError, "3 features"),
     (np.zeros((2, 2, 2)), UnfitError, "no row")],
)  # fmt: skip
def test_a_background_that_is_none_is_refused(background, error, says):
    with pytest.raises(error, match=says):
        Shapley(background, take([1.0, 2.0, 3.0])[0])


def test_a_background_of_mappings_needs_every_feature():
    with pytest.raises(UnfitError, match="lacks the feature 'b'"):
        Shapley([{"a": 1.0, "c": 2.0}], take({"a": 1.0, "b": 2.0})[0])


def test_without_numpy_it_is_said_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(MissingError, match=r"install botobs\[shap\]"):
        Shapley([[0.0]], take([1.0])[0])


@pytest.mark.parametrize("answer", [math.nan, "buy", None, [1.0, math.inf]])
def test_a_model_that_answers_no_numbers_is_counted(answer):
    with botobs.start("models", mode="backtest", data_dir=None, clock=Clock()) as obs:
        predict = botobs.explain_model(lambda _x: answer, TYPICAL, every=1, most_per_s=None)
        assert predict(ROW) is answer
        assert obs.faults.errors == {"explainability": 1}
        assert predict(ROW) is answer
