"""Names and numbers as the bot says them: of symbols, sources and regimes."""

from __future__ import annotations

import math
from typing import Any

from botobs.accounting.routes import name

__all__ = ["finite", "plain"]


def plain(value: Any) -> str | None:
    """A name as it is kept; `None`: it names nothing. Text costs next to nothing.

    Example:
        >>> plain("BTC-USD"), plain(7), plain(None), plain([])
        ('BTC-USD', '7', None, '[]')
    """
    return value if type(value) is str and value.isascii() and value.strip() == value != "" else name(value)


def finite(value: Any) -> float | None:
    """A number of the bot's, whatever it is made of; `None`: it is none, or has no end."""
    try:
        found = float(value)
    except Exception:  # whatever the bot's number may be
        return None
    return found if math.isfinite(found) else None
