"""What botobs costs, as a part of one core: background work measured, the hot path counted and calibrated."""

from __future__ import annotations

import contextvars
import time
from typing import TYPE_CHECKING

from botobs.faults import Faults
from botobs.stages.cells import CellTable
from botobs.stages.engine import Engine
from botobs.stages.live import Live, set_context
from botobs.stages.site import Stage
from botobs.stages.tick import blank

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Overhead"]

_EVERY_S = 5.0
_TRIALS = 200


class Overhead:
    """The ratio behind `botobs_overhead_ratio`.

    Args:
        cells: Whose counts tell how many stages ran.
    """

    def __init__(self, cells: CellTable) -> None:
        self._cells = cells
        self._stage_ns = 0.0
        self._last = (time.monotonic(), 0, 0)
        self.ratio: float | None = None

    def calibrate(self) -> None:
        """Time a stage on this machine: under a millisecond, once."""
        self._stage_ns = min(contextvars.copy_context().run(_time_stages) for _ in range(3))

    def update(self, background_ns: int) -> None:
        """Look again, every few seconds.

        Args:
            background_ns: Processor time of the background threads so far.
        """
        now = time.monotonic()
        then, stages_then, background_then = self._last
        if now - then < (_EVERY_S if self.ratio is not None else 1.0):
            return
        stages = sum(sum(cell.counts) for cell in self._cells.all())
        spent = (stages - stages_then) * self._stage_ns + (background_ns - background_then)
        self.ratio = max(spent / ((now - then) * 1e9), 0.0)
        self._last = (now, stages, background_ns)


def _time_stages() -> float:
    """Nanoseconds of a stage, on a tick that belongs to nobody, in a context of its own."""
    table = CellTable()
    engine = Engine(
        now=time.perf_counter_ns, wall=time.time_ns, cells=table, put=_nowhere, line=_nothing, head=b"",
        faults=Faults(), keep="none",
    )  # fmt: skip
    tick = blank(engine, engine.ambient.cells)
    tick.special = False
    tick.offset = 0
    tick.root = root = Live()
    root.stage = root.more = None
    root.parent, root.tick, root.t0, root.t1 = {}, tick, 0, 0
    tick.spans = []
    set_context(root)
    stage = Stage("calibration", None)
    begun = time.perf_counter_ns()
    for _ in range(_TRIALS):
        with stage:
            pass
    took = time.perf_counter_ns() - begun
    tick.spans = []
    return took / _TRIALS


def _nowhere(_stream: str, _line: bytes) -> None:
    return


def _nothing(_values: Mapping[str, object]) -> bytes:
    return b"{}"
