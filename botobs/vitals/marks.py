"""What a feature's value says about its age: whether it is one at all, and whether it is the same as before."""

from __future__ import annotations

import zlib
from decimal import Decimal
from typing import Any

__all__ = ["PLAIN", "fingerprint", "says_something", "sum_of"]

PLAIN = frozenset({float, int, bool, str, Decimal})  # compared as they are
_MISSING = frozenset({"NoneType", "NAType", "NaTType"})  # pandas has two nothings of its own
_LONGEST = 10_000


def says_something(value: Any) -> bool:
    """Whether `value` is one: 0.0 and infinity are, `None`, NaN and an array of nothing but NaN are not.

    Example:
        >>> [says_something(value) for value in (0.0, float("nan"), None, "up", Decimal("NaN"))]
        [True, False, False, True, False]
    """
    kind = type(value)
    if kind is float:
        return bool(value == value)  # noqa: PLR0124  # what is not itself is NaN
    if kind in PLAIN:
        return kind is not Decimal or not value.is_nan()
    try:
        return kind.__name__ not in _MISSING and not _is_nan(value)
    except Exception:  # it cannot be compared: something it is
        return True


def _is_nan(value: Any) -> bool:
    if isinstance(value, Decimal):
        return value.is_nan()
    odd = value != value  # noqa: PLR0124
    if hasattr(odd, "all"):  # an array, or one of its numbers
        return bool(odd.all()) and bool(getattr(value, "size", 1))
    return odd is True


def fingerprint(value: Any) -> Any:
    """What two values have in common if they are the same, without keeping large ones."""
    if type(value) in PLAIN:
        return value
    try:
        if hasattr(value, "tobytes"):
            return (zlib.crc32(value.tobytes()),)  # no number that a plain value could be
        return (zlib.crc32(repr(value)[:_LONGEST].encode("utf-8", "replace")),)
    except Exception:  # it cannot be looked at: it counts as another one each time
        return object()


def sum_of(mark: Any) -> int | None:
    """A fingerprint as it is remembered over a restart."""
    try:
        return zlib.crc32(repr(mark)[:_LONGEST].encode("utf-8", "replace"))
    except Exception:  # an integer of more digits than Python writes out
        return None
