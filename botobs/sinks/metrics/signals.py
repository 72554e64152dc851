"""What `tick.signal` says of strength and confidence: taken on the bot's thread, without an event.

The usual call is two look-ups and a store. Whatever is unusual (a new symbol, a number that is none) goes the long way.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Final

from .board import STREAM, Board
from .catalogue.row import CONFIDENCE, UNKNOWN
from .labels import OTHER
from .numbers import number
from .series import Buckets, Passed, Plain, Taken

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botobs.faults import Faults

    from .numbers import Number

__all__ = ["SignalCells"]

_STRENGTH: Final = "bot_signal_strength"
_CONFIDENCE: Final = "bot_model_confidence"
_MOST_SERIES: Final = 2_000  # two labels at their caps would be forty thousand
_ACCOUNT: Final = "all"  # a tick without a symbol


class SignalCells:
    """The latest strength by symbol and source, and how sure the model was by symbol.

    Args:
        board: Whose catalogue, cap on labels and histograms.
        faults: Where to say what went wrong.
    """

    def __init__(self, board: Board, faults: Faults) -> None:
        self._board = board
        self._faults = faults
        # by what the bot says: `None` for a tick without a symbol, and for a signal without a source
        self._strengths: dict[str | None, dict[str | None, Number]] = {}
        self._count = 0
        self._sure: dict[str | None, Buckets] = {}
        self._passing = board.passing

    def strength(self, symbol: Any, source: Any, value: Any) -> None:
        """How strong a signal is."""
        if type(value) is float and value - value == 0.0:  # the second is false for NaN and infinite ones
            try:
                known = self._strengths[symbol]
                if source in known:
                    known[source] = value
                    return
            except Exception:  # noqa: S110  # nothing usual
                pass
        self._new_strength(symbol, source, value)

    def confidence(self, symbol: Any, value: Any) -> None:
        """How sure the model is."""
        if type(value) is float and value >= 0.0 and value - value == 0.0 and self._passing is None:
            try:
                cell = self._sure[symbol]
                cell.counts[bisect_left(CONFIDENCE, value)] += 1
                cell.total += value
            except Exception:  # noqa: S110  # nothing usual
                pass
            else:
                return
        self._new_confidence(symbol, value)

    def collect(self) -> Iterator[Taken]:
        """The strengths; the board shows the confidence itself."""
        row = self._board.rows.get(_STRENGTH)
        found = {
            (symbol or _ACCOUNT, source or UNKNOWN): value
            for symbol, by_source in self._strengths.copy().items()
            for source, value in by_source.copy().items()
        }
        if row is not None and found:
            yield Taken(row, self._board.names[_STRENGTH], (), [Plain(*point) for point in found.items()], ())

    def _new_strength(self, symbol: Any, source: Any, value: Any) -> None:
        try:
            found = number(value)
            if found is None:
                self._faults.dropped(STREAM)
                return
            keys = self._key("symbol", symbol, _ACCOUNT), self._key("source", source, UNKNOWN)
            if keys[1] not in self._strengths.get(keys[0], ()):
                if self._count >= _MOST_SERIES:
                    keys = (OTHER, OTHER)
                self._count += 1
            self._strengths.setdefault(keys[0], {})[keys[1]] = found
        except Exception as error:
            self._faults.error(STREAM, error)

    def _new_confidence(self, symbol: Any, value: Any) -> None:
        try:
            found = number(value)
            if found is None or found < 0:
                self._faults.dropped(STREAM)
                return
            key = self._key("symbol", symbol, _ACCOUNT)
            labels = (key or _ACCOUNT,)
            cell = self._sure.get(key)
            if cell is None:
                cell = self._sure[key] = self._board.buckets(self._board.rows[_CONFIDENCE], labels)
            cell.add(CONFIDENCE, found)
            if self._passing is not None:
                self._passing.put(Passed(_CONFIDENCE, found, labels))
        except Exception as error:
            self._faults.error(STREAM, error)

    def _key(self, label: str, value: Any, unsaid: str) -> str | None:
        """What a value is kept under: its text within the cap, or `None` where nothing was said."""
        if value is not None:
            return self._board.cap.text(label, value) or unsaid
        self._board.cap.text(label, unsaid)
        return None
