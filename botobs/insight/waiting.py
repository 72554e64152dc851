"""Predictions that have not come due: each with the price it began at, and nothing that came after its horizon.

A prediction over bars is judged by the close of the last of them. One over a time is judged by the price seen nearest
to its end, and by none if that is further from it than half of the horizon: a bot that stood still tells nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botobs.insight.terms import Horizon

__all__ = ["Due", "Waiting"]

_MOST: Final = 4_000
_MOST_EACH: Final = 64  # of one symbol
_LONGEST_NS: Final = 7 * 86_400 * 1_000_000_000  # whose bars do not come for so long makes room
_SWEEP_NS: Final = 60 * 1_000_000_000
_CLOSE: Final = 20  # a price within this part of the horizon before its end is as good as one at its end


@attrs.define
class Due:
    """A prediction on its way.

    Attributes:
        symbol: Of which market.
        source: From which signal.
        regime: The market's regime when it was made.
        pred: The move that was predicted, in bps.
        price: The price it began at.
        since: When it was made, in nanoseconds.
        horizon: After what it is judged.
        made: What each line made of it then; only its owner knows what that is.
        left: Bars until it is due.
        last: The newest price within the horizon; `at` is when that was.
    """

    symbol: str
    source: str | None
    regime: str | None
    pred: float
    price: float
    since: int
    horizon: Horizon
    made: Any = None
    left: int = 0
    last: float | None = None
    at: int = 0

    @property
    def ends(self) -> int:
        """When it is due, if it is judged by time."""
        return self.since + self.horizon.ns

    def move(self, price: float) -> float:
        """What a price comes to, in bps from where it began."""
        return (price - self.price) / self.price * 1e4


class Waiting:
    """Those of all symbols, bounded. Not locked.

    Attributes:
        lost: How many never came due: no price came in time, or too many waited.
    """

    def __init__(self) -> None:
        self._of: dict[str, list[Due]] = {}
        self._count = 0
        self._swept = 0
        self.lost = 0

    def __len__(self) -> int:
        return self._count

    def put(self, due: Due) -> bool:
        """Wait for it; `False`: there are too many."""
        if self._count >= _MOST:
            self._sweep(due.since)
        own = self._of.setdefault(due.symbol, [])
        if self._count >= _MOST or len(own) >= _MOST_EACH:
            self.lost += 1
            if not own:
                del self._of[due.symbol]
            return False
        due.left = due.horizon.bars
        own.append(due)
        self._count += 1
        return True

    def _sweep(self, now: int) -> None:
        """Give up those of markets that have no bars any more, such as contracts that expired."""
        if 0 <= now - self._swept < _SWEEP_NS:
            return
        self._swept = now
        for own in list(self._of.values()):
            for due in [due for due in own if now - due.since > _LONGEST_NS]:
                self._take(due)
                self.lost += 1

    @property
    def timed(self) -> list[str]:
        """The symbols whose price is wanted now and then."""
        return [symbol for symbol, own in list(self._of.items()) if any(due.horizon.ns for due in own)]

    def bar(self, symbol: str, close: float) -> Iterator[tuple[Due, float]]:
        """A bar has finished; those that are due by it, with the move that came."""
        own = self._of.get(symbol)
        for due in list(own or ()):
            if due.horizon.bars:
                due.left -= 1
                if due.left <= 0:
                    self._take(due)
                    yield due, due.move(close)

    def price(self, symbol: str, price: float, at: int, now: int) -> Iterator[tuple[Due, float]]:
        """At `now` the newest price is this, of the time `at`; those that are due by it, with the move that came."""
        for due in list(self._of.get(symbol, ())):
            if due.horizon.ns:
                move = self._judged(due, price, at, now)
                if move is not None:
                    yield due, move

    def _judged(self, due: Due, price: float, at: int, now: int) -> float | None:
        ends, half = due.ends, due.horizon.ns // 2
        if due.since < at <= ends:
            due.last, due.at = price, at
        if now < ends:  # also after a clock was set back: it waits until the time has come
            return None
        before = None if due.last is None else ends - due.at
        if at > ends:
            found, away = price, at - ends
            if before is not None and before <= away:
                found, away = due.last or price, before
        elif before is not None and (before <= due.horizon.ns // _CLOSE or now - ends > half):
            found, away = due.last or price, before
        elif now - ends > half:
            found, away = price, half + 1
        else:  # one that is nearer to its end may come yet
            return None
        self._take(due)
        if away > half:
            self.lost += 1
            return None
        return due.move(found)

    def forget(self, horizon: Horizon) -> None:
        """Predictions are judged over something else from now on."""
        for own in list(self._of.values()):
            for due in list(own):
                if due.horizon != horizon:
                    self._take(due)

    def _take(self, due: Due) -> None:
        own = self._of[due.symbol]
        own.remove(due)
        self._count -= 1
        if not own:
            del self._of[due.symbol]
