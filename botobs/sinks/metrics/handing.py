"""Single measurements of histograms, handed to a provider of the user's own in the background."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from .board import STREAM, Board
from .catalogue import STAGE_DURATION

if TYPE_CHECKING:
    from collections.abc import Callable

    from botobs.clock import Clock
    from botobs.faults import Faults

    from .provided import Provided
    from .series import Labels, Passing
    from .stages import DurationCell, StageHistograms

__all__ = ["HandingOn"]


class HandingOn:
    """Hands stage durations and the measurements of events to the histograms of a provider.

    Args:
        to: The provider's instruments.
        board: Whose histograms.
        passing: What waits of them.
        stages: The hot path's histograms.
        faults: Where losses are counted.
        clock: Tells when a turn is over.
    """

    def __init__(
        self,
        to: Provided,
        board: Board,
        passing: Passing,
        stages: StageHistograms,
        *,
        faults: Faults,
        clock: Clock,
    ) -> None:
        self._passing = passing
        self._stages = stages
        self._faults = faults
        self._now = clock.perf_ns
        self._records: dict[str, Callable[[float, dict[str, str]], object]] = {}
        self._rows = {row.name: row for row in board.rows.values() if row.kind == "histogram"}
        for row in self._rows.values():
            bounds = stages.bounds if row is STAGE_DURATION else row.boundaries
            self._records[row.name] = to.record(row, board.names[row.name], bounds)
        self._attributes: dict[tuple[str, Labels], dict[str, str]] = {}
        self._cells: deque[DurationCell] = deque()
        self._lost = 0

    def drain(self, budget_ns: int) -> bool:
        """Hand on what waits, for about `budget_ns`; whether some is left. One thread at a time."""
        until = self._now() + budget_ns
        if not self._cells:
            self._find_waiting()
        if not self._hand_on_measured(until):
            return True
        while self._cells:
            cell = self._cells[0]
            if not self._hand_on_cell(cell, until):
                self._cells.rotate(-1)  # a busy stage must not starve the others
                return True
            self._cells.popleft()
        return False

    def _find_waiting(self) -> None:
        lost = self._passing.lost
        for cell in self._stages.cells.all():
            lost += cell.lost
            if cell.pending:
                self._cells.append(cell)
        if lost > self._lost:
            self._faults.dropped(STREAM, lost - self._lost)
            self._lost = lost

    def _hand_on_measured(self, until: int) -> bool:
        waiting = self._passing.waiting
        for _ in range(len(waiting)):  # what comes meanwhile waits for the next round
            passed = waiting.popleft()
            self._record(passed.name, passed.value, passed.labels)
            if self._now() >= until:
                return not waiting
        return True

    def _hand_on_cell(self, cell: DurationCell, until: int) -> bool:
        """Hand on what `cell` holds now; `False` when time is up before its end."""
        pending = cell.pending
        if not pending:
            return True
        labels = self._stages.labels((cell.label, cell.symbol))
        for _ in range(len(pending)):
            self._record(STAGE_DURATION.name, pending.popleft() / 1e9, labels)
            if self._now() >= until:
                return not pending
        return True

    def _record(self, name: str, value: float, labels: Labels) -> None:
        key = (name, labels)
        attributes = self._attributes.get(key)
        if attributes is None:
            attributes = self._attributes[key] = dict(zip(self._rows[name].labels, labels, strict=True))
        try:
            self._records[name](value, attributes)
        except Exception as error:
            self._faults.dropped(STREAM)
            self._faults.error("metrics.record", error)
