"""Label values: always text, never without end."""

from __future__ import annotations

import threading
from typing import Any

__all__ = ["OTHER", "LabelCap", "clean_text"]

OTHER = "other"
_LONGEST = 200


class LabelCap:
    """Lets the first `limit` values of each label through; later ones become `other`.

    One cap serves all metrics of an observer, so that a symbol is either shown everywhere or nowhere.

    Example:
        >>> cap = LabelCap(1)
        >>> cap.text("symbol", "BTC-USD"), cap.text("symbol", "ETH-USD"), cap.folded
        ('BTC-USD', 'other', 1)
    """

    def __init__(self, limit: int = 200) -> None:
        self.limit = limit
        self.folded = 0
        self._lock = threading.Lock()
        self._known: dict[str, set[str]] = {}

    def text(self, label: str, value: Any) -> str:
        """`value` as text, or `other`; never raises."""
        known = self._known.get(label)
        if known is not None and type(value) is str and value in known:
            return value
        return self._admit(label, _text(value))

    def _admit(self, label: str, value: str) -> str:
        with self._lock:
            known = self._known.setdefault(label, set())
            if value in known or value == OTHER:
                return value
            if len(known) < self.limit:
                known.add(value)
                return value
            self.folded += 1
            return OTHER


def clean_text(text: str) -> str:
    """`text` as UTF-8 can carry it: a lone surrogate would fail the whole page and the whole OTLP request."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _text(value: Any) -> str:
    try:
        return clean_text(value if type(value) is str else str(value))[:_LONGEST]
    except Exception:  # a __str__ of the bot's that raises is no reason to lose the measurement
        return "unprintable"
