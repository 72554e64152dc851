"""Shapley values of any model: what it answers when features are replaced, by turns, by those of typical rows.

The value of a set of features is the model's mean answer for rows that have these features from the row in question and
the others from the background. A feature's contribution is what it adds to that, on average over the orders in which
features may be put in: over all of them where there are few features, else over some orders and their reverses, the
same ones each time. So the contributions always add up to the answer, less the mean answer for the background.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Final

import attrs

from botobs.explainability.asking import Answer
from botobs.explainability.making import MissingError
from botobs.explainability.rows import UnfitError, take

if TYPE_CHECKING:
    from collections.abc import Callable

    from botobs.explainability.rows import Row

__all__ = ["Shapley", "breathe"]

_FEW: Final = 7  # with so many features, all sets of them are asked about
_ROWS: Final = 50  # of the background
_CELLS: Final = 50_000  # of the table that a model is asked about in one go
_STRETCH_NS: Final = 1_000_000
_BREATH_S: Final = 0.001


class Shapley:
    """Explains a model by what it answers.

    Args:
        background: Rows as the model takes them, typical ones.
        row: One that is to be explained: the model will be asked about rows of the same form.

    Raises:
        MissingError: There is no background, or no numpy.
        UnfitError: The background does not fit the row.
    """

    def __init__(self, background: Any, row: Row) -> None:
        if background is None:
            raise MissingError("this model can be explained against typical inputs only: give background= some rows")
        try:
            import numpy as np  # noqa: PLC0415  # comes with the extra, and mostly with the model
        except ImportError as error:
            raise MissingError(f"numpy cannot be loaded ({error}): install botobs[shap], or give explainer=") from error
        self._np = np
        width, names = len(row.cells()), row.names()
        found = [_numbers(each, names) for each in take(background, len(background))] if _is_table(background) else []
        if not found or any(len(each) != width for each in found):
            raise UnfitError(f"background= has to be a table of rows with {width} features each")
        count = min(max(_ROWS * 100 // width, 5), _ROWS, len(found))
        self._table = np.array([found[n * len(found) // count] for n in range(count)])  # spread over all of it
        self._sets, self._add_up = _all_sets(np, width) if width <= _FEW else _some_orders(np, width)

    def __call__(self, row: Row, ask: Callable[[Any], Any], breath: Callable[[], object]) -> Answer:
        """Explain a row.

        Args:
            row: Which.
            ask: Asks the model about rows of its form.
            breath: Called in between.
        """
        np, sets, table = self._np, self._sets, self._table
        numbers = np.array(row.numbers())
        means = []
        step = max(_CELLS // table.size, 1)
        for begin in range(0, len(sets), step):
            taken = sets[begin : begin + step]
            made = np.where(taken[:, None, :], numbers, table).reshape(-1, len(numbers))
            answers = _answers(np, row, made, ask, breath)
            means.append(answers.reshape(len(taken), len(table), -1).mean(axis=1))
        worth = np.concatenate(means)  # of each set, for each output
        if not np.isfinite(worth).all():
            raise ValueError("the model's answer is not finite where features are those of the background")
        values = self._add_up(worth)
        return Answer(values.T.tolist(), worth[0].tolist())


def _all_sets(np: Any, width: int) -> tuple[Any, Callable[[Any], Any]]:
    """All sets of features, and how their worth makes contributions."""
    count = 1 << width
    sets = (np.arange(count)[:, None] >> np.arange(width)) & 1 == 1
    sizes = sets.sum(axis=1)
    weights = np.array(
        [math.factorial(n) * math.factorial(width - n - 1) / math.factorial(width) for n in range(width)]
    )  # fmt: skip

    def add_up(worth: Any) -> Any:
        values = []
        for feature in range(width):
            without = np.flatnonzero(~sets[:, feature])
            added = worth[without | (1 << feature)] - worth[without]
            values.append((weights[sizes[without], None] * added).sum(axis=0))
        return np.array(values)

    return sets, add_up


def _some_orders(np: Any, width: int) -> tuple[Any, Callable[[Any], Any]]:
    """Orders of features and their reverses, as sets that grow, and how their worth makes contributions."""
    pairs = 4 if width <= 50 else 2 if width <= 200 else 1
    chance = np.random.default_rng(0)
    orders = []
    for _ in range(pairs):
        order = chance.permutation(width)
        orders += [order, order[::-1]]
    # the empty set and the full one are the same for all orders, and stand first
    sets = [np.zeros(width, bool), np.ones(width, bool)]
    for order in orders:
        growing = np.zeros(width, bool)
        for feature in order[:-1]:
            growing = growing.copy()
            growing[feature] = True
            sets.append(growing)

    def add_up(worth: Any) -> Any:
        values = np.zeros((width, worth.shape[1]))
        for n, order in enumerate(orders):
            begin = 2 + n * (width - 1)
            steps = np.concatenate([worth[:1], worth[begin : begin + width - 1], worth[1:2]])
            values[order] += np.diff(steps, axis=0)
        return values / len(orders)

    return np.array(sets), add_up


def _answers(np: Any, row: Row, table: Any, ask: Callable[[Any], Any], breath: Callable[[], object]) -> Any:
    """What the model says of rows of numbers, made into rows of its form."""
    breath()
    if row.form in ("table", "frame"):
        return np.asarray(ask(_table(row, table)), dtype=float)
    found = []
    for each in table:
        found.append(ask(_again(row, each)))
        breath()
    return np.asarray(found, dtype=float)


def _is_table(background: Any) -> bool:
    try:
        return len(background) > 0
    except TypeError:
        return False


def _numbers(each: Row, names: list[str] | None) -> list[float]:
    """A row of the background, its features in the order of the row that is to be explained."""
    own = each.names() if names is not None else None
    numbers = each.numbers()
    if own is None or own == names or names is None:
        return numbers
    found = dict(zip(own, numbers, strict=True))
    try:
        return [found[name] for name in names]
    except KeyError as error:
        raise UnfitError(f"background= lacks the feature {error}") from error


def _again(row: Row, numbers: Any) -> Any:
    """A row by itself, of the same form, with other values."""
    value = row.value
    if row.form == "map":
        return dict(zip(value, numbers.tolist(), strict=True))
    if type(value) in (list, tuple):
        return type(value)(numbers.tolist())
    if hasattr(value, "new_tensor"):
        return value.new_tensor(numbers)
    return type(value)(numbers, index=value.index) if hasattr(value, "iloc") else _alike(numbers, value)


def _table(row: Row, table: Any) -> Any:
    """A table of the same form, with other rows."""
    value = row.value
    if row.form == "frame":
        if hasattr(value, "iloc"):
            return type(value)(table, columns=value.columns)
        return type(value)(table, schema=value.columns, orient="row")
    if type(value) in (list, tuple):
        first = value[0]
        alone = attrs.evolve(row, form="map" if isinstance(first, dict) else "one", value=first)
        return [_again(alone, each) for each in table]
    return value.new_tensor(table) if hasattr(value, "new_tensor") else _alike(table, value)


def _alike(numbers: Any, value: Any) -> Any:
    """An array of the same precision; whole numbers are not kept whole, as they stand for averages too."""
    return numbers.astype(value.dtype) if getattr(value.dtype, "kind", "f") == "f" else numbers


def breathe() -> Callable[[], object]:
    """A function that lets the bot have the interpreter, if the last time is a millisecond ago."""
    begun = time.perf_counter_ns()

    def breath() -> None:
        nonlocal begun
        if time.perf_counter_ns() - begun >= _STRETCH_NS:
            time.sleep(_BREATH_S)
            begun = time.perf_counter_ns()

    return breath
