"""All lines of calibration: which of them learn from a prediction, and which one answers a question."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from botobs.insight.calibrated import Kept, Key
from botobs.insight.line import Forecast, Line
from botobs.insight.track import Track

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from botobs.insight.waiting import Due

__all__ = ["Lines"]

_MOST: Final = 2_000


class Lines:
    """A bounded number of lines by what they are over, symbol, source and regime. Not locked.

    Args:
        memory: After so many predictions an old one counts a third.
        band: The share of moves that bands are to hold.

    Attributes:
        left_out: How often a line was wanted that would have been one too many.
    """

    def __init__(self, memory: int, band: float) -> None:
        self._memory = memory
        self._band = band
        self._all: dict[Key, Kept] = {}
        self.left_out = 0

    def __getitem__(self, key: Key) -> Kept:
        return self._all[key]

    def get(self, key: Key) -> Kept | None:
        """The line of exactly that."""
        return self._all.get(key)

    def __iter__(self) -> Iterator[tuple[Key, Kept]]:
        """Those that have learned something."""
        return iter([(key, kept) for key, kept in self._all.items() if kept.line.n])

    def forecasts(self, over: str, due: Due) -> list[tuple[Key, Forecast]]:
        """What each line that will learn from a prediction makes of it now, the widest first."""
        made: list[tuple[Key, Forecast]] = []
        for key in _keys(over, due):
            kept = self._all.get(key)
            if kept is None:
                if len(self._all) >= _MOST:
                    self.left_out += 1
                    continue
                line, track = Line(self._memory, self._band), Track(self._band)
                kept = self._all[key] = Kept(line, track, self._leans(key))
            made.append((key, kept.line.forecast(due.pred, kept.leans)))
        return made

    def finest(self, over: str, symbol: str | None, source: str | None, regime: str | None) -> Kept | None:
        """The line that answers; `None`: nothing was learned of that symbol and source. Takes no lock."""
        whole = self._all.get((over, symbol, source, None))
        if whole is None or symbol is None or source is None or regime is None:
            return whole
        return self._all.get((over, symbol, source, regime), whole)

    def _leans(self, key: Key) -> Line | None:
        """The line of a source, for the one of that source in a regime."""
        whole = None if key[3] is None else self._all.get((*key[:3], None))
        return None if whole is None else whole.line

    def state(self) -> list[Any]:
        """All they know, for JSON."""
        return [[*key, kept.line.state(), kept.track.state(), kept.over] for key, kept in self._all.items()]

    def restore(self, state: Iterable[Any]) -> list[str]:
        """Go on where `state` was taken; what in it is damaged is left out and named."""
        problems: list[str] = []
        for told in list(state)[:_MOST]:
            try:
                over, symbol, source, regime, line, track, alarmed = told
                key = (str(over), symbol, source, regime)
                kept = Kept(Line.of_state(line, self._memory, self._band), Track.of_state(track, self._band))
                kept.over = alarmed is True
                kept.leans = self._leans(key)  # the wider ones come first
                self._all[key] = kept
            except Exception as error:
                problems.append(f"a line of calibration: {type(error).__name__}")
        return problems


def _keys(over: str, due: Due) -> list[Key]:
    keys: list[Key] = [(over, None, None, None), (over, due.symbol, None, None)]
    if due.source is not None:
        keys.append((over, due.symbol, due.source, None))
        if due.regime is not None:
            keys.append((over, due.symbol, due.source, due.regime))
    return keys
