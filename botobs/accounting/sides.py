"""Which side a fill or an order is on, however the bot and its exchange spell it."""

from __future__ import annotations

import enum
from typing import Any, Literal

__all__ = ["Side", "opposite", "side", "sign"]

Side = Literal["buy", "sell"]

_BUYS = ("buy", "long", "bid", "b")
_SELLS = ("sell", "short", "ask", "s")
_LOWER: dict[str, Side] = {**dict.fromkeys(_BUYS, "buy"), **dict.fromkeys(_SELLS, "sell")}
_SIDES: dict[str, Side] = {form: _LOWER[word] for word in _LOWER for form in (word, word.upper(), word.capitalize())}
_LONGEST = 64


def side(value: Any) -> Side:
    """Either `"buy"` or `"sell"`; `long` `short` `bid` `ask` `b` `s`, any case, and enums of these are understood.

    An enum counts by its value, and by its name where the value says nothing.

    Example:
        >>> side("BUY"), side("short"), side(" Bid ")
        ('buy', 'sell', 'buy')

    Raises:
        ValueError: It is no side.
    """
    if type(value) is str:
        found = _SIDES.get(value)
        if found is not None:
            return found
    try:
        found = _of(value)
    except Exception as error:  # a value that cannot even be looked at is no side
        raise ValueError("unknown side") from error
    if found is None:
        raise ValueError(f"unknown side: {_shown(value)}")
    return found


def opposite(given: Side) -> Side:
    """The other side."""
    return "sell" if given == "buy" else "buy"


def sign(given: Side) -> int:
    """What a quantity on that side counts with: 1 for a buy, -1 for a sell."""
    return 1 if given == "buy" else -1


def _of(value: Any) -> Side | None:
    kind = type(value)
    if issubclass(kind, enum.Enum):
        found = _of_text(value.value)
        return found if found is not None else _of_text(value.name)
    return _of_text(value)


def _of_text(value: Any) -> Side | None:
    if not issubclass(type(value), str) or str.__len__(value) > _LONGEST:
        return None
    # a plain copy: a subclass of str may lie about its hash or its lower()
    return _SIDES.get(str.__str__(value).strip().lower())


def _shown(value: Any) -> str:
    try:
        said = repr(value)
    except Exception:  # a value that cannot even be shown
        said = type(value).__name__
    return said if len(said) <= 60 else f"{said[:57]}..."
