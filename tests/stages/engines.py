"""An engine on its own: the hot path without files, threads and exporters."""

from __future__ import annotations

import contextlib
import time

import orjson

from botobs.faults import Faults
from botobs.stages.cells import CellTable
from botobs.stages.engine import ENGINES, Engine
from botobs.stages.ids import Ids


class Bench:
    """An engine whose lines and kept traces are lists, and whose clock is a number."""

    def __init__(self, *, keep="tail", clock=None, raw=False, cap=200, seed=1):
        self.lines: list[tuple[str, dict]] = []
        self.kept: list = []
        self.faults = Faults(strict=True)
        self.ns = 1_000
        self.engine = Engine(
            now=clock or time.perf_counter_ns,
            wall=lambda: 1_767_323_045_000_000_000,
            cells=CellTable(raw=raw, cap=cap),
            put=lambda stream, line: self.lines.append((stream, orjson.loads(line))),
            line=lambda value: orjson.dumps(value, default=str),
            head=b'"schema":"v1","bot":"test","run_id":"r"',
            faults=self.faults,
            keep=keep,
            ids=Ids(seed),
        )
        self.engine.export = self.kept.append

    def counts(self):
        return {(cell.label, cell.symbol): sum(cell.counts) for cell in self.engine.cells.all() if sum(cell.counts)}

    def names(self):
        """The stages of each kept trace as (name, name of the stage above)."""
        found = []
        for tick in self.kept:
            spans = tick.spans if hasattr(tick, "spans") else [tick]
            found.append([(live.stage.label, live.above().stage.label if live.above() else None) for live in spans])
        return found


@contextlib.contextmanager
def running(**options):
    bench = Bench(**options)
    ENGINES.append(bench.engine)
    try:
        yield bench
    finally:
        ENGINES.remove(bench.engine)
