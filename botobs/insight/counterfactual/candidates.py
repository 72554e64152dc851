"""What a bot says of its candidates: of each source, which way it would have gone."""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from botobs.accounting.numbers import number
from botobs.accounting.sides import side
from botobs.insight.names import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["BOT", "MOST", "Candidate", "chosen_among", "direction", "read"]

#: The source of what the bot decided, where it names none.
BOT: Final = "bot"

#: So many candidates of a decision are kept.
MOST: Final = 16

_FLAT: Final = frozenset(("flat", "hold", "none", "neutral", "wait", "out", "stay", "no", "0"))
_WAYS: Final = ("dir", "side", "direction", "action")
_SIGNED: Final = ("pred_bps", "weight", "score", "signal")
_FIGURES: Final = ("pred_bps", "strength", "qty")
_NAMES: Final = ("source", "name")
_DEEPEST: Final = 2


class Candidate(NamedTuple):
    """What one source would have done.

    Attributes:
        source: Which.
        sign: 1 for long, -1 for short, 0 for flat.
        said: The figures that came with it: `pred_bps`, `strength`, `qty`.
    """

    source: str
    sign: int
    said: tuple[tuple[str, float], ...] = ()


def direction(said: Any) -> int | None:
    """Which way that is: 1, -1, or 0 for flat; `None`: it says nothing.

    Example:
        >>> direction("buy"), direction(-3.5), direction({"dir": "flat"}), direction({"pred_bps": 2}), direction("?")
        (1, -1, 0, 1, None)
    """
    try:
        return _way(said, 0)
    except Exception:  # whatever a bot may say
        return None


def read(given: Any) -> tuple[list[Candidate], int]:
    """The candidates, and how many of them could not be read or were too many.

    Args:
        given: A mapping from source to what it says, or a list of pairs or of mappings with a `source`.

    Example:
        >>> found, odd = read({"pros": "buy", "amateurs": -1, "model": {"pred_bps": 0.0}, "broken": "?"})
        >>> [(one.source, one.sign) for one in found], odd
        ([('pros', 1), ('amateurs', -1), ('model', 0)], 1)
    """
    found: dict[str, Candidate] = {}
    odd = 0
    try:
        for source, said in islice(_pairs(given), 4 * MOST):
            named, sign = plain(source), direction(said)
            if named is None or sign is None or (len(found) >= MOST and named not in found):
                odd += 1
            else:
                found[named] = Candidate(named, sign, _figures(said))
    except Exception:  # no list of anything
        odd += 1
    return list(found.values()), odd


def chosen_among(found: list[Candidate], source: str | None, way: int | None) -> tuple[list[Candidate], str | None]:
    """The candidates with the one that was followed among them, and its name; `None`: nobody said which.

    A source that is no candidate itself went the way of the decision.
    """
    if any(one.source == source for one in found):
        return found, source
    if way is None:
        return found, None
    return [*found, Candidate(source or BOT, way)], source or BOT


def _pairs(given: Any) -> Iterator[tuple[Any, Any]]:
    items = getattr(given, "items", None)
    if callable(items):
        yield from items()
        return
    each: Iterable[Any] = given
    for one in each:
        if isinstance(one, dict):
            yield next((one[name] for name in _NAMES if name in one), None), one
        else:
            source, said = one
            yield source, said


def _way(said: Any, depth: int) -> int | None:  # noqa: PLR0911 - each kind of answer ends it
    if said is None:
        return 0
    kind = type(said)
    if kind is str or issubclass(kind, str):
        return _way_of_text(str.__str__(said))
    if kind is float or kind is int:
        return None if said != said else (said > 0) - (said < 0)  # noqa: PLR0124 - not a number
    get = getattr(said, "get", None)
    if callable(get):
        return _way_of_mapping(get, depth) if depth < _DEEPEST else None
    try:
        found = number(said)
    except ValueError:
        pass
    else:
        return (found > 0) - (found < 0)
    try:
        return 1 if side(said) == "buy" else -1
    except ValueError:  # an enum, perhaps, whose value or name says that it is flat
        for name in ("value", "name"):
            text = getattr(said, name, None)
            if type(text) is str and text.strip().lower() in _FLAT:
                return 0
    return _way_of_object(said, depth)


def _way_of_text(said: str) -> int | None:
    text = said.strip().lower()
    if text in _FLAT:
        return 0
    try:
        return 1 if side(text) == "buy" else -1
    except ValueError:
        found = float(text)  # a number as text; else there is no way in it
        return None if math.isnan(found) else (found > 0) - (found < 0)


def _way_of_mapping(get: Any, depth: int) -> int | None:
    nothing = object()
    for name in _WAYS + _SIGNED:
        found = get(name, nothing)
        if found is not nothing and (name in _WAYS or found is not None):
            return _way(found, depth + 1)
    return None


def _way_of_object(said: Any, depth: int) -> int | None:
    if depth >= _DEEPEST:
        return None
    nothing = object()
    return _way_of_mapping(lambda name, default=nothing: getattr(said, name, default), depth)


def _figures(said: Any) -> tuple[tuple[str, float], ...]:
    """The figures beside the direction, for the record; a plain number is the prediction itself."""
    kind = type(said)
    if kind is float or kind is int:
        return (("pred_bps", float(said)),) if math.isfinite(said) else ()
    get = getattr(said, "get", None)
    if not callable(get):
        return ()
    found = []
    for name in _FIGURES:
        try:
            value = get(name)
            figure = None if value is None else float(number(value))
        except Exception:  # noqa: S112 - a figure that is none is left out
            continue
        if figure is not None:
            found.append((name, figure))
    return tuple(found)
