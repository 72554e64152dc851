"""An explainer's answer, whatever its shape.

Explainers of SHAP answer with an object (`values`, `base_values`) or an array, for a table of rows, and for models of
several outputs with one more axis, at the end or, in older ones, as a list. A function of the bot's own gets one row
and may answer with a sequence or a mapping of contributions, or with a pair of that and the base.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from botobs.explainability.rows import text

if TYPE_CHECKING:
    from collections.abc import Callable

    from botobs.explainability.rows import Row

__all__ = ["Answer", "ask", "read", "wants_table"]


@attrs.frozen
class Answer:
    """Contributions to each output, and what they add to.

    Attributes:
        values: For each output, the contribution of each feature.
        bases: For each output, what the contributions add to; `None`: it was not said.
        names: What the features are called, if the answer tells.
        by_name: It said each contribution with its name; else they are in the order of the row.
    """

    values: list[list[float]]
    bases: list[float | None]
    names: list[str] | None = None
    by_name: bool = False


def wants_table(explainer: Any) -> bool:
    """Whether it explains a table of rows, as those of SHAP do."""
    return hasattr(explainer, "shap_values") or type(explainer).__module__.partition(".")[0] == "shap"


def ask(explainer: Any, row: Row, table: Callable[[Row], Any]) -> Answer:
    """Have a row explained.

    Args:
        explainer: Of SHAP, or a function of one row.
        row: Which.
        table: Makes a table of it, for an explainer that takes one.

    Raises:
        TypeError: It is no explainer.
        ValueError: What it answered are no contributions.
    """
    if not wants_table(explainer):
        if not callable(explainer):
            raise TypeError(f"{type(explainer).__name__} explains nothing: it is no function, and has no shap_values")
        return read(explainer(row.alone()))
    rows = table(row)
    if callable(explainer):
        return read(explainer(rows, silent=True) if _may_be_silent(explainer) else explainer(rows))
    return read((explainer.shap_values(rows), getattr(explainer, "expected_value", None)))


def _may_be_silent(explainer: Any) -> bool:
    try:
        return "silent" in inspect.signature(type(explainer).__call__).parameters
    except (TypeError, ValueError):
        return False


def read(given: Any) -> Answer:
    """What an explainer answered for one row.

    Example:
        >>> read([0.5, -0.2])
        Answer(values=[[0.5, -0.2]], bases=[None], names=None, by_name=False)
        >>> read(({"rsi": 0.5}, 0.1))
        Answer(values=[[0.5]], bases=[0.1], names=['rsi'], by_name=True)

    Raises:
        ValueError: These are no contributions.
    """
    base = None
    if isinstance(given, tuple) and len(given) == 2 and hasattr(given[0], "__len__"):
        given, base = given
    if isinstance(given, Mapping):
        return Answer([_numbers(given.values())], _bases(base, 1), [text(name) for name in given], by_name=True)
    names: Any = None
    if hasattr(given, "base_values"):
        names, base, given = getattr(given, "feature_names", None), given.base_values, given.values
    by_output = isinstance(given, list) and bool(given) and getattr(given[0], "ndim", 0) == 2
    nested = [_nested(each) for each in given] if by_output else _nested(given)
    values = _by_output(nested, listed=by_output)
    known = [text(name) for name in names] if isinstance(names, Sequence) and not isinstance(names, str) else None
    return Answer(values, _bases(base, len(values)), known if known and len(known) == len(values[0]) else None)


def _by_output(nested: Any, *, listed: bool) -> list[list[float]]:
    if not isinstance(nested, list) or not nested:
        raise ValueError("an explainer has to answer with the contribution of each feature")
    if not isinstance(nested[0], list):
        return [_numbers(nested)]
    if listed:
        return [_numbers(each[0]) for each in nested]
    if len(nested) != 1 or not nested[0]:
        raise ValueError(f"an explainer was asked for one row and answered for {len(nested)}")
    [row] = nested
    if not isinstance(row[0], list):
        return [_numbers(row)]
    return [_numbers(each) for each in zip(*row, strict=True)]


def _bases(given: Any, count: int) -> list[float | None]:
    if given is None:
        return [None] * count
    flat: Any = _nested(given)
    while isinstance(flat, list) and len(flat) == 1:
        [flat] = flat
    if not isinstance(flat, list):
        return _numbers([flat]) * count  # type: ignore[return-value]  # each is a number
    if len(flat) != count:
        raise ValueError(f"an explainer gave {len(flat)} base values for {count} outputs")
    return _numbers(flat)  # type: ignore[return-value]  # each is a number


def _nested(value: Any) -> Any:
    """Arrays as lists."""
    listed = getattr(value, "tolist", None)
    if listed is not None:
        return listed()
    return [_nested(each) for each in value] if isinstance(value, list | tuple) else value


def _numbers(values: Any) -> list[float]:
    found = [float(each) for each in values]
    if not all(map(math.isfinite, found)):
        raise ValueError("a contribution is not finite")
    return found
