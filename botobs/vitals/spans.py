"""Spans of time that are done."""

from __future__ import annotations

from typing import Any

__all__ = ["Spans"]

_MOST = 64


class Spans:
    """A few spans of time, both ends included; the oldest are forgotten.

    Example:
        >>> spans = Spans()
        >>> spans.add(1, 2)
        >>> spans.add(2, 5)
        >>> spans.add(9, 9)
        >>> spans.state(), 4 in spans, 7 in spans
        ([[1, 5], [9, 9]], True, False)
    """

    __slots__ = ("_spans",)

    def __init__(self) -> None:
        self._spans: list[tuple[int, int]] = []

    def add(self, low: int, high: int) -> None:
        """Take in `low` to `high`; spans that meet become one."""
        apart = []
        for span in self._spans:
            if span[1] < low or high < span[0]:
                apart.append(span)
            else:
                low, high = min(low, span[0]), max(high, span[1])
        self._spans = sorted([*apart, (low, high)])[-_MOST:]

    def __contains__(self, moment: int) -> bool:
        return any(low <= moment <= high for low, high in self._spans)

    def __bool__(self) -> bool:
        return bool(self._spans)

    def state(self) -> list[list[int]]:
        """The spans as plain JSON."""
        return [list(span) for span in self._spans]

    def restore(self, state: Any) -> None:
        """Take in the spans of a state; what is damaged in it is left out."""
        for span in state if isinstance(state, list) else ():
            if (
                isinstance(span, list)
                and len(span) == 2
                and all(type(end) is int for end in span)
                and span[0] <= span[1]
            ):
                self.add(span[0], span[1])
