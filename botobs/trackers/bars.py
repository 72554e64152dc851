"""The finished bars of every symbol: its range, its direction, and when the last one was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botobs.accounting.wilder import Range

if TYPE_CHECKING:
    from collections.abc import Iterable

    from botobs.trackers.excursions import Excursion

__all__ = ["Bars"]

_MOST_SYMBOLS = 2_000
_INF = float("inf")


class Bars:
    """One Wilder range for each symbol, at most 2,000; the caller holds the lock."""

    def __init__(self) -> None:
        self.ranges: dict[str, Range] = {}
        self._last: dict[str, str | int] = {}

    def told(
        self,
        symbol: str,
        prices: tuple[Any, Any, Any],
        when: str | int | None,
        now_ns: int,
        watched: Iterable[Excursion],
    ) -> bool:
        """A finished bar (high, low, close), for the range and for those who watch; whether it was one."""
        try:
            up, down, last = (float(price) for price in prices)
        except (TypeError, ValueError, ArithmeticError):
            return False
        if not 0.0 < down <= last <= up < _INF:
            return False
        known = self.ranges.get(symbol)
        if known is None:
            if len(self.ranges) >= _MOST_SYMBOLS:
                return False
            known = self.ranges[symbol] = Range()
        known.bar(up, down, last)
        before = self._last.get(symbol)
        self._last[symbol] = now_ns if when is None else when
        for seen in watched:
            at = seen.arrived(now_ns) if when is None else when
            # the bar before this one ended, or even began, after the entry: so this one began after it
            if seen.bars and before is not None and not seen.is_before(before):
                seen.see(up, at)
                seen.see(down, at)
            seen.see(last, at)
            seen.bars += 1
        return True

    def state(self) -> dict[str, Any]:
        """All it knows, as plain JSON."""
        return {symbol: [self._last.get(symbol), known.state()] for symbol, known in self.ranges.items()}

    def restore(self, state: Any, problems: list[str]) -> None:
        """Go on where `state` was taken; a damaged symbol is named and begins anew."""
        for symbol, told in (state if isinstance(state, dict) else {}).items():
            try:
                last, known = told
                self.ranges[symbol] = Range.of_state(known)
                if last is not None:
                    self._last[symbol] = last
            except Exception as error:
                problems.append(f"bars of {symbol}: {type(error).__name__}"[:200])
