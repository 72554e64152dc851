"""What counts as a number."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["Number", "number"]

Number = int | float

_INT64 = 2**63


def number(value: Any) -> Number | None:
    """`value` as a number that every exporter can carry, or `None` if it is none.

    Example:
        >>> from decimal import Decimal
        >>> number(Decimal("1.5")), number("2"), number(True), number(2**70), number(float("nan"))
        (1.5, 2.0, 1, 1.1805916207174113e+21, None)
    """
    kind = type(value)
    if kind is float:  # mostly
        return value if math.isfinite(value) else None
    try:
        if isinstance(value, int) and -_INT64 <= value < _INT64:
            return int(value)
        found = float(value)
    except Exception:  # whatever a bot hands in: its __float__ may do anything
        return None
    return found if math.isfinite(found) else None
