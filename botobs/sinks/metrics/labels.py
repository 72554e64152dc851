"""Label values: always text, never without end."""

from __future__ import annotations

import threading
from typing import Any

__all__ = ["OTHER", "LabelCap", "clean_text"]

OTHER = "other"
_ALWAYS = frozenset({OTHER, "all", "unknown"})  # the whole account, and what nobody said, are shown whoever came first
_LONGEST = 200
_MOST_FOLDED = 10_000


class LabelCap:
    """Lets the first `limit` values of each label through; later ones become `other`.

    One cap serves all metrics of an observer, so that a symbol is either shown everywhere or nowhere.

    Attributes:
        limit: How many values a label may have.
        folded: How many values became `other`. Each counts once, beyond ten thousand each time.

    Example:
        >>> cap = LabelCap(1)
        >>> cap.text("symbol", "BTC-USD"), cap.text("symbol", "ETH-USD"), cap.folded, cap.values
        ('BTC-USD', 'other', 1, {'symbol': 1})
    """

    def __init__(self, limit: int = 200) -> None:
        self.limit = limit
        self.folded = 0
        self._lock = threading.RLock()  # re-entrant: a signal handler may run verbs while its own thread is in here
        self._known: dict[str, set[str]] = {}
        self._folded: set[tuple[str, str]] = set()

    @property
    def values(self) -> dict[str, int]:
        """How many values each label has that are shown by name."""
        return {label: len(known) for label, known in self._known.copy().items()}

    def text(self, label: str, value: Any) -> str:
        """`value` as text, or `other`; never raises."""
        known = self._known.get(label)
        if known is not None and type(value) is str and value in known:
            return value
        return self._admit(label, _text(value))

    def _admit(self, label: str, value: str) -> str:
        with self._lock:
            known = self._known.setdefault(label, set())
            if value in known or value in _ALWAYS:
                return value
            if len(known) < self.limit:
                known.add(value)
                return value
            if (label, value) not in self._folded:
                self.folded += 1
                if len(self._folded) < _MOST_FOLDED:
                    self._folded.add((label, value))
            return OTHER


def clean_text(text: str) -> str:
    """`text` as UTF-8 can carry it: a lone surrogate would fail the whole page and the whole OTLP request."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def _text(value: Any) -> str:
    try:
        return clean_text(value if type(value) is str else str(value))[:_LONGEST]
    except Exception:  # a __str__ of the bot's that raises is no reason to lose the measurement
        return "unprintable"
