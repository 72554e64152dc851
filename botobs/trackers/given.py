"""What a verb was given, as what it should be. Nothing here raises: what is wrong becomes `None` and is named."""

from __future__ import annotations

import enum
import hashlib
import math
from typing import TYPE_CHECKING, Any

from botobs.accounting.numbers import number
from botobs.accounting.sides import side

if TYPE_CHECKING:
    from decimal import Decimal

    from botobs.accounting.sides import Side

__all__ = ["flag", "order_key", "positive", "read_side", "real", "word"]

_LONGEST = 256


def order_key(value: Any) -> str | None:
    """The one text that an order id is known by, whatever the bot has it as: `7`, `"7"` and `b"7"` are the same.

    `None`: there is no id in it. Ids beyond 256 characters are cut and stay different.

    Example:
        >>> order_key(7), order_key("abc"), order_key(None), order_key("")
        ('7', 'abc', None, None)
    """
    if type(value) is str and len(value) <= _LONGEST and value.isascii() and value.isprintable():
        return value.strip() or None
    try:
        return _text(value)
    except Exception:  # an id that cannot even be shown
        return None


def word(name: str, value: Any, problems: list[str]) -> str | None:
    """A name or a reason, as text; an enum by its value if that is text, else by its name."""
    if value is None:
        return None
    if type(value) is str and len(value) <= _LONGEST and value.isascii() and value.isprintable():
        return value.strip() or None
    try:
        if issubclass(type(value), enum.Enum):
            value = value.value if isinstance(value.value, str) else value.name
        return _text(value)
    except Exception:
        problems.append(f"{name}: no text")
        return None


def positive(name: str, value: Any, problems: list[str], *, zero: bool = False) -> Decimal | None:
    """A quantity or a price: a positive finite number; with `zero`, that too."""
    if value is None:
        return None
    try:
        found = number(value)
    except Exception as error:
        problems.append(f"{name}: {_said(error, value)}")
        return None
    if found > 0 or (zero and not found):
        return found
    problems.append(f"{name}: not positive: {found}")
    return None


def real(name: str, value: Any, problems: list[str]) -> float | None:
    """A finite number that is no money, such as a prediction in bps."""
    if value is None:
        return None
    if type(value) is float and math.isfinite(value):
        return value
    try:
        found = float(number(value))
    except Exception as error:
        problems.append(f"{name}: {_said(error, value)}")
        return None
    if math.isfinite(found):
        return found
    problems.append(f"{name}: beyond any market")
    return None


def flag(name: str, value: Any, problems: list[str]) -> bool | None:
    """A truth value, numpy's too."""
    if value is None or value is True or value is False:
        return value
    if type(value).__name__ in ("bool_", "bool") and type(value).__module__.partition(".")[0] == "numpy":
        return bool(value)
    problems.append(f"{name}: neither true nor false")
    return None


def read_side(value: Any, problems: list[str]) -> Side | None:
    """The side, or `None` and why."""
    try:
        return side(value)
    except ValueError as error:
        problems.append(f"side: {error}")
        return None


def _text(value: Any) -> str | None:
    if value is None:
        return None
    kind = type(value)
    if issubclass(kind, str):
        found = str.__str__(value)
    elif issubclass(kind, (bytes, bytearray)):
        found = bytes(value[: 1 << 20]).decode("utf-8", "backslashreplace")
    elif kind is int and value.bit_length() > 2_000:  # the conversion takes quadratic time
        found = hex(value)
    else:
        found = str.__str__(str(value))
    found = found.strip()
    # what is written to a file has to be found again under the same text: no lone surrogates, no control characters
    if not found.isprintable():
        found = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in found[: 4 * _LONGEST])
    if len(found) > _LONGEST:
        digest = hashlib.blake2b(found.encode("utf-8", "backslashreplace"), digest_size=8).hexdigest()
        found = f"{found[: _LONGEST - 17]}~{digest}"
    return found or None


def _said(error: Exception, value: Any) -> str:
    return str(error) if type(error) is ValueError else f"not a number: {type(value).__name__}"
