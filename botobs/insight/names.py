"""Names as the bot says them: of symbols, sources and regimes."""

from __future__ import annotations

from typing import Any

from botobs.accounting.routes import name

__all__ = ["plain"]


def plain(value: Any) -> str | None:
    """A name as it is kept; `None`: it names nothing. Text costs next to nothing.

    Example:
        >>> plain("BTC-USD"), plain(7), plain(None), plain([])
        ('BTC-USD', '7', None, '[]')
    """
    return value if type(value) is str and value.isascii() and value.strip() == value != "" else name(value)
