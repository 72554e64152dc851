"""The levels of a book: taken from whatever the bot has them in, and read later.

A bot goes on changing its book in place, so its levels are copied when it tells of them: the best few of each side,
which costs a thirtieth of a microsecond each. What the numbers are is looked at when somebody wants them.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from botobs.accounting.numbers import number

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Side", "Taken", "read", "take"]

#: The copied rows of one side, and whether there were more.
Taken = tuple[Any, bool]

_MOST: Final = 10_000  # of what cannot be cut short at its better end: the rest is not looked at
_SMALL: Final = 200  # a mapping of no more is copied as it is
_PRICES: Final = ("price", "px", "p", "limit_price")
_SIZES: Final = ("size", "qty", "amount", "quantity", "volume", "sz", "q")
_LEAST, _FARTHEST = 1e-100, 1e100  # no market is beyond; nothing that is computed of them is infinite
_MISSING: Final = object()


class Side(NamedTuple):
    """One side of a book, read.

    Attributes:
        levels: Price and size, the best first, each price once.
        odd: How many rows told no level.
        more: There were more levels than were taken.
        mixed: They came in no order, and there were more: the best may be missing.
    """

    levels: tuple[tuple[float, float], ...]
    odd: int = 0
    more: bool = False
    mixed: bool = False


def take(rows: Any, keep: int, *, highest: bool, mixed: bool = False) -> Taken:
    """Copy the best `keep` levels, `highest` first or last; everything where there are no more.

    Args:
        rows: A list of `[price, size]` as exchanges and ccxt give them (more in a row is no matter), a numpy array, a
            mapping of prices to sizes, a list of mappings or of objects with a price and a size, or an iterable of
            such; `None`: there are none.
        keep: How many.
        highest: The highest price is the best: bids.
        mixed: They are known to come in no order: look at all of them.

    Example:
        >>> take([[100, 1], [101, 2], [102, 3]], 2, highest=True)
        ([(102, 3), (101, 2)], True)
    """
    if type(rows) is not list and type(rows) is not tuple:
        if rows is None:
            return (), False
        if isinstance(rows, list | tuple):
            rows = list(rows)
        elif hasattr(rows, "tolist") and hasattr(rows, "ndim"):  # numpy; its numbers are read later
            if not mixed:
                array, more = _cut(rows, keep, highest=highest)
                return array.copy(), more
            rows = rows[:_MOST].tolist()
        elif isinstance(rows, Mapping):
            return _of_mapping(rows, keep, highest=highest, mixed=mixed)
        else:
            rows = list(itertools.islice(iter(rows), _MOST))
    more = len(rows) > keep
    if more:
        rows = rows[:_MOST] if mixed else _cut(rows, keep, highest=highest)[0]
    if not rows:
        return (), False
    taken = _copied(rows)
    return (_best(taken, keep, highest=highest) if more and mixed else taken), more


def _copied(rows: Any) -> list[Any]:
    """Each row as a tuple of its own."""
    kind = type(rows[0])
    if kind is list or kind is tuple or issubclass(kind, list | tuple):
        try:
            return list(map(tuple, rows))
        except Exception:  # noqa: S110  # not all rows are of that kind
            pass
    return [_pair(row) for row in rows]


def _cut(rows: Any, keep: int, *, highest: bool) -> tuple[Any, bool]:
    """The better end of what is in order, whichever way it runs."""
    if len(rows) <= keep:
        return rows, False
    try:
        first, last = _price(rows[0]), _price(rows[-1])
    except Exception:  # no prices: that is told when they are read
        first = last = 0.0
    backwards = first < last if highest else first > last
    return (rows[: -keep - 1 : -1] if backwards else rows[:keep]), True


def _of_mapping(rows: Mapping[Any, Any], keep: int, *, highest: bool, mixed: bool) -> Taken:
    if len(rows) <= _SMALL:
        return list(itertools.islice(rows.items(), _SMALL)), False
    if not mixed:
        try:  # a tenth of the time: prices are numbers, and mostly in order
            found = (
                (price, rows[price]) for price in sorted(itertools.islice(rows, _MOST), key=float, reverse=highest)
            )
            return list(itertools.islice(filter(_counts, found), keep)), True
        except Exception:  # noqa: S110  # a price that is none
            pass
    return _best(itertools.islice(rows.items(), _MOST), keep, highest=highest), True


def _best(rows: Iterable[Any], keep: int, *, highest: bool) -> list[Any]:
    pick = heapq.nlargest if highest else heapq.nsmallest
    return pick(keep, (row for row in rows if _counts(row)), key=_price)


def _counts(row: Any) -> bool:
    """Whether it is a level that is there."""
    found = _level(row)
    return found is not None and found[1] > 0


def _price(row: Any) -> float:
    value = (row if isinstance(row, list | tuple) or hasattr(row, "tolist") else _pair(row))[0]
    return value if type(value) is float else float(value)


def _pair(row: Any) -> tuple[Any, ...]:
    """Price and size of a row; one that has neither is counted when it is read."""
    try:
        if isinstance(row, list | tuple) or hasattr(row, "tolist"):
            return tuple(row)
        get: Any = row.get if isinstance(row, Mapping) else lambda name, other: getattr(row, name, other)
        return tuple([_one_of(get, names) for names in (_PRICES, _SIZES)])
    except Exception:  # whatever the bot has there
        return ()


def _one_of(get: Any, names: tuple[str, ...]) -> Any:
    for name in names:
        found = get(name, _MISSING)
        if found is not _MISSING:
            return found
    return _MISSING


def _level(row: Any) -> tuple[float, float] | None:
    """Price and size as numbers; `None`: it tells none. A size of nothing is a level that is gone."""
    try:
        price, size = row[0], row[1]
        if type(price) is not float:
            price = float(number(price))
        if type(size) is not float:
            size = float(number(size))
    except Exception:  # whatever the bot has there
        return None
    return (price, size) if _LEAST <= price <= _FARTHEST and (_LEAST <= size <= _FARTHEST or size == 0) else None


def read(taken: Taken, *, highest: bool) -> Side:
    """The levels of one side, from what `take` took.

    Example:
        >>> read(take([["99.5", "2"], [99.5, 1], [100, 0], ["x", 1]], 50, highest=True), highest=True)
        Side(levels=((99.5, 3.0),), odd=1, more=False, mixed=False)
    """
    rows, more = taken
    levels: list[tuple[float, float]] = []
    odd = 0
    for row in rows.tolist() if hasattr(rows, "tolist") else rows:
        found = _level(row)
        if found is None:
            odd += 1
        elif found[1]:
            levels.append(found)
    ordered = sorted(levels, reverse=highest, key=_first)
    mixed = more and ordered != levels
    merged: list[tuple[float, float]] = []
    for level in ordered:
        if merged and merged[-1][0] == level[0]:
            merged[-1] = (level[0], merged[-1][1] + level[1])
        else:
            merged.append(level)
    return Side((*merged,), odd, more, mixed)


def _first(level: tuple[float, float]) -> float:
    return level[0]
