"""Stage durations: what the hot path counted, and which traces show them.

The bot's threads add to plain integer arrays, which are read here. A duration gets its trace as an exemplar only where
the trace is kept anyway, when it is handed over, so that the usual tick pays nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry.trace import format_trace_id

from .catalogue import STAGE_DURATION
from .pace import Pace
from .series import Exemplar, HistogramPoint, Taken

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Iterator, Sequence

    from .board import Board
    from .series import Labels

__all__ = ["DurationCell", "DurationCells", "StageHistograms"]

_SECOND = 1_000_000_000
_Key = tuple[str, str]


class DurationCell(Protocol):
    """One histogram of the hot path: one stage and symbol."""

    @property
    def label(self) -> str:
        """The stage."""
        ...

    @property
    def symbol(self) -> str:
        """The symbol."""
        ...

    @property
    def counts(self) -> list[int]:
        """How many durations fell into each bucket."""
        ...

    @property
    def total_ns(self) -> int:
        """The sum of the durations."""
        ...

    @property
    def pending(self) -> deque[int] | None:
        """Durations that a user's own provider has yet to get."""
        ...

    @property
    def lost(self) -> int:
        """How many of those there was no room for."""
        ...


class DurationCells(Protocol):
    """All cells of an observer."""

    def all(self) -> Sequence[DurationCell]:
        """Every cell there is by now."""
        ...


class _Kept:
    """The latest duration of one bucket whose trace was kept."""

    __slots__ = ("exemplar", "t1")

    def __init__(self, t1: int, exemplar: Exemplar) -> None:
        self.t1 = t1
        self.exemplar = exemplar


class StageHistograms:
    """The cells of one observer.

    Args:
        cells: Where the hot path counts.
        bounds_ns: Upper bounds of the cells' buckets.
        board: Whose names and labels.
    """

    def __init__(self, cells: DurationCells, bounds_ns: Sequence[int], board: Board) -> None:
        self.bounds = tuple(bound / 1e9 for bound in bounds_ns)
        self.cells = cells
        self._bounds_ns = tuple(bounds_ns)
        self._board = board
        self._labels: dict[_Key, Labels] = {}
        self._kept: dict[_Key, dict[int, _Kept]] = {}

    def labels(self, key: _Key) -> Labels:
        """The label values of a cell."""
        known = self._labels.get(key)
        if known is None:
            text = self._board.cap.text
            known = self._labels[key] = (text("stage", key[0]), text("symbol", key[1]))
        return known

    def collect(self) -> Iterator[Taken]:
        """What each cell that saw anything holds now; cells that share their labels are one.

        A count is the sum of its buckets. The sum of durations is read a moment later and may contain one whose bucket
        comes with the next collection.
        """
        found: dict[Labels, HistogramPoint] = {}
        pace = Pace()
        for cell in self.cells.all():
            counts = cell.counts[:]  # one call into C: no thread can come between
            total = cell.total_ns / 1e9
            if any(counts):
                key = (cell.label, cell.symbol)
                labels = self.labels(key)
                exemplars = {place: kept.exemplar for place, kept in self._kept.get(key, {}).copy().items()}
                if labels in found:
                    other = found[labels]
                    counts = [a + b for a, b in zip(counts, other.counts, strict=True)]
                    total += other.total
                    exemplars |= other.exemplars
                found[labels] = HistogramPoint(labels, counts, total, exemplars)
            pace()
        if found:
            yield Taken(STAGE_DURATION, self._board.names[STAGE_DURATION.name], self.bounds, (), list(found.values()))

    def kept(self, tick: Any, reason: str) -> None:
        """A tick's trace is kept: its durations may be exemplars. On the bot's thread.

        Where every trace is kept, one a second for each bucket of the tick's own duration is enough.
        """
        root = tick.root
        if reason == "all":
            place = bisect_left(self._bounds_ns, root.t1 - root.t0)
            known = self._kept.get((root.stage.label, tick.cells.symbol))
            if known is not None and place in known and root.t1 - known[place].t1 < _SECOND:
                return
        trace_id = format_trace_id(tick.trace_id)
        for live in tick.spans:
            if live.t1:
                took = live.t1 - live.t0 - (0 if live.more is None else live.more.idle_ns)
                cell = tick.cells[live.stage.label]
                exemplar = Exemplar(took / 1e9, trace_id, tick.offset + live.t1, next(self._board.numbering))
                self._kept.setdefault((cell.label, cell.symbol), {})[bisect_left(self._bounds_ns, took)] = _Kept(
                    live.t1, exemplar
                )
