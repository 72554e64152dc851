"""A model's input as one row that stays what it is, and its output as numbers.

The bot may write into its array again as soon as the model has answered, so the row is copied on the bot's thread; only
the row, however long the table is that it stands in.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, Final, Literal

import attrs

__all__ = ["MOST_FEATURES", "Row", "UnfitError", "outputs", "take"]

MOST_FEATURES: Final = 2_000
_MOST_OUTPUTS: Final = 64


class UnfitError(ValueError):
    """It is no row of features, nor a table of such rows."""


@attrs.frozen
class Row:
    """One row of a model's input.

    Attributes:
        form: `one`: a row by itself; `map`: names and values; `table`: rows, of which this is one; `frame`: the same
            with named columns.
        value: As the model takes it; of a table, a table of one row.
        back: Which row of the table it was, from its end: 1 is the last.
        of: How many rows the table had.
    """

    form: Literal["one", "map", "table", "frame"]
    value: Any
    back: int = 1
    of: int = 1

    def names(self) -> list[str] | None:
        """What its features are called, if it tells."""
        value = self.value
        if self.form == "map":
            return [text(key) for key in value]
        if self.form == "frame":
            return [text(name) for name in value.columns]
        if self.form == "table":
            first = value[0]
            return [text(key) for key in first] if isinstance(first, Mapping) else None
        index = getattr(value, "index", None) if hasattr(value, "iloc") else None
        return None if index is None else [text(name) for name in index]

    def cells(self) -> list[Any]:
        """Its values, in their order."""
        value = self.value
        if self.form == "frame":
            return list(value.iloc[0].tolist() if hasattr(value, "iloc") else value.row(0))
        if self.form == "table":
            value = value[0]
        if isinstance(value, Mapping):
            return list(value.values())
        listed = getattr(value, "tolist", None)
        return list(value if listed is None else listed())

    def numbers(self) -> list[float]:
        """Its values as numbers.

        Raises:
            UnfitError: One of them is none.
        """
        try:
            return [float(cell) for cell in self.cells()]
        except (TypeError, ValueError) as error:
            raise UnfitError("a feature is no number; give explainer= for such a model") from error

    def alone(self) -> Any:
        """The row itself, for a function that explains one row."""
        if self.form == "frame":
            return dict(zip(self.names() or (), self.cells(), strict=True))
        return self.value[0] if self.form == "table" else self.value


def text(name: Any) -> str:
    """What a feature is called; never raises."""
    try:
        return (name if type(name) is str else str(name))[:100]
    except Exception:
        return f"<{type(name).__name__}>"


def take(given: Any, most: int = 1) -> list[Row]:
    """Copy the last rows of a model's input, at most `most` of them.

    Example:
        >>> take([[1.0, 2.0], [3.0, 4.0]])
        [Row(form='table', value=[[3.0, 4.0]], back=1, of=2)]

    Raises:
        UnfitError: It is no row of features, nor a table of such rows.
    """
    if isinstance(given, Mapping):
        return [Row("map", dict(_short(given)))]
    kind = type(given)
    if kind is list or kind is tuple:
        return _listed(given, most)
    if hasattr(given, "columns") and hasattr(given, "tail"):
        _short(given.columns)
        last = given.tail(most)
        count = len(last)
        return [Row("frame", _copied(last[n : n + 1]), count - n, len(given)) for n in range(count)]
    axes = getattr(given, "ndim", None)
    if axes == 1:
        return [Row("one", _copied(_short(given)))]
    if axes == 2 and hasattr(given, "shape"):
        count = len(given)
        if given.shape[1] > MOST_FEATURES:
            raise UnfitError(f"{given.shape[1]} features; at most {MOST_FEATURES} can be explained")
        return [Row("table", _copied(given[n : n + 1]), count - n, count) for n in range(max(count - most, 0), count)]
    raise UnfitError(f"a model's input of the type {kind.__name__} is no row of features")


def _listed(given: list[Any] | tuple[Any, ...], most: int) -> list[Row]:
    if not given:
        raise UnfitError("a model's input is empty")
    first, count = given[0], len(given)
    if not (isinstance(first, Mapping) or type(first) in (list, tuple) or getattr(first, "ndim", 0) == 1):
        return [Row("one", _short(given)[:])]
    return [
        Row("table", [copy.copy(_short(given[n]))], count - n, count) for n in range(max(count - most, 0), count)
    ]  # fmt: skip


def _short(row: Any) -> Any:
    if len(row) > MOST_FEATURES:
        raise UnfitError(f"{len(row)} features; at most {MOST_FEATURES} can be explained")
    if not len(row):
        raise UnfitError("a model's input has no features")
    return row


def _copied(value: Any) -> Any:
    if hasattr(value, "detach"):  # a tensor must not hold on to what it was made by
        value = value.detach()
    copied = getattr(value, "copy", None) or getattr(value, "clone", None)
    return copy.copy(value) if copied is None else copied()


def outputs(out: Any, row: Row) -> tuple[float, ...] | None:
    """What the model said of a row; `None`: nothing that is a number.

    Example:
        >>> table = Row("table", [[1.0]], back=1, of=3)
        >>> outputs([0.1, 0.2, 0.3], table), outputs(7, Row("one", [1.0])), outputs("buy", table)
        ((0.3,), (7.0,), None)
    """
    try:
        return _outputs(out, row)
    except Exception:  # whatever a model says: the contributions are worth something without it
        return None


def _outputs(out: Any, row: Row) -> tuple[float, ...] | None:
    if isinstance(out, str | bytes | Mapping):
        return None
    if not hasattr(out, "__len__") or getattr(out, "ndim", 1) == 0:
        return _finite([float(out)])
    if row.form in ("table", "frame") and len(out) == row.of:
        by_place = getattr(out, "iloc", out)
        return _outputs(by_place[-row.back], Row("one", None))
    if len(out) == 1:
        return _outputs(getattr(out, "iloc", out)[0], Row("one", None))
    if len(out) > _MOST_OUTPUTS:
        return None
    return _finite([float(each) for each in out])


def _finite(found: list[float]) -> tuple[float, ...] | None:
    return tuple(found) if found and all(map(math.isfinite, found)) else None
