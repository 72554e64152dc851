"""What the hot path needs of an observer, and nothing else of it.

The observer builds one `Engine` and fills in where things go; ticks and stages reach it through a slot. The engines
that run in this process stand in `ENGINES`, newest last: before `start` it is empty, and everything is a no-op.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, Literal

from botobs.clock import rfc3339

from .extras import FieldNames
from .ids import Ids
from .tick import ambient

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botobs.faults import Faults

    from .cells import CellTable
    from .live import Live
    from .site import Stage
    from .tick import Tick

__all__ = ["ACCOUNT", "ENGINES", "Engine", "KeepTraces"]

KeepTraces = Literal["tail", "all", "none"]

#: The symbol of what concerns no single one.
ACCOUNT: Final = "all"

#: The running engines, newest last.
ENGINES: Engines

_MOST_KEPT = 2_000
# So many may wait that were kept for being slow, or as a sample: a bot that turns a hundred thousand times a second has
# more of these than anybody reads, and passing one over is a choice, not a loss.
_MOST_ORDINARY = 500
_ORDINARY: Final = frozenset({"slow", "sample"})
_SECOND = 1_000_000_000


class Engine:
    """Clock, cells, ids and outlets of one observer, for its ticks and stages.

    Args:
        now: Steady nanoseconds, for durations.
        wall: Nanoseconds since 1970.
        cells: Where durations are counted.
        put: Takes a finished line for a stream.
        line: Makes a JSON line of a mapping, secrets out, whatever its values.
        head: The JSON of what is the same in every record of this run, without braces.
        faults: Where errors and drops are counted.
        keep: Which traces are kept.
        ids: Makes trace and span ids.
    """

    __slots__ = (
        "ambient", "base_every", "cells", "crowded", "cut", "export", "faults", "guard", "head", "ids", "keep", "keeps",
        "kept", "kept_by", "line", "names", "now", "on_candidates", "on_confidence", "on_decided", "on_failure",
        "on_kept", "on_predicted", "on_price", "on_strength", "on_veto", "put", "second", "wall",
    )  # fmt: skip

    def __init__(
        self,
        *,
        now: Callable[[], int],
        wall: Callable[[], int],
        cells: CellTable,
        put: Callable[[str, bytes], None],
        line: Callable[[Mapping[str, object]], bytes],
        head: bytes,
        faults: Faults,
        keep: KeepTraces = "tail",
        ids: Ids | None = None,
    ) -> None:
        self.now = now
        self.wall = wall
        self.cells = cells
        self.put = put
        self.line = line
        self.head = head
        self.faults = faults
        self.names = FieldNames(faults)
        self.keep = keep
        self.keeps = keep != "none"
        self.ids = ids or Ids()
        self.base_every = 1 if keep == "all" else 1_000  # one trace in so many is kept whatever it was
        self.kept: deque[Tick | Live] = deque()
        # whether so many traces wait that ordinary ones need not be added
        self.crowded: Callable[[], bool] = lambda: len(self.kept) >= _MOST_ORDINARY
        self.kept_by: dict[str, int] = {}
        self.cut = 0  # spans left out of traces with too many
        # takes a kept trace on the bot's own thread, where that costs little; None: it waits in `kept` for the drainer
        self.export: Callable[[Tick | Live], None] | None = None
        # takes the price of a turn: symbol, price, bid, ask, venue
        self.on_price: Callable[[Any, Any, Any, Any, Any], None] | None = None
        # refuses a stage that may not run now, by raising
        self.guard: Callable[[Stage], None] | None = None
        self.on_failure: Callable[[BaseException], None] | None = None  # a stage ended with an error of the bot's
        self.on_decided: Callable[[], None] | None = None  # a turn has ended
        # a signal's strength (symbol, source, strength) and confidence (symbol, confidence), for their metrics
        self.on_strength: Callable[[Any, Any, Any], None] | None = None
        self.on_confidence: Callable[[Any, Any], None] | None = None
        self.on_predicted: Callable[[Any, Any, Any], None] | None = None  # its prediction (symbol, source, pred_bps)
        # a signal has candidates (tick, source, decision, candidates); a stage refused (tick, its name, reason, order)
        self.on_candidates: Callable[[Tick, Any, Any, Any], None] | None = None
        self.on_veto: Callable[[Tick, str, Any, Any], None] | None = None
        self.on_kept: Callable[[Tick, str], None] | None = None  # a trace is kept: its durations may be exemplars
        # when a second began, and its text; one load gives a pair that belongs together
        self.second: tuple[int, bytes] = (-_SECOND, b"")
        self.ambient = ambient(self, cells.of(ACCOUNT, b'"all"'))

    def keep_tick(self, tick: Tick, reason: str) -> None:
        """Hand a finished tick that is worth keeping to whoever encodes it."""
        export = self.export
        if reason in _ORDINARY and self.crowded():
            tick.kept = False
            tick.forget()
            return
        if export is None and len(self.kept) >= _MOST_KEPT:
            tick.kept = False
            tick.forget()
            self.faults.dropped("traces")
            return
        kept_by = self.kept_by
        kept_by[reason] = kept_by[reason] + 1 if reason in kept_by else 1
        on_kept = self.on_kept
        if on_kept is not None:
            on_kept(tick, reason)
        if export is not None:
            export(tick)
        else:
            self.kept.append(tick)

    def keep_late(self, live: Live) -> None:
        """Hand on a stage that ended after its kept tick."""
        if self.export is not None:
            self.export(live)
        elif len(self.kept) < _MOST_KEPT:
            self.kept.append(live)
        else:
            self.faults.dropped("spans")

    def stamp(self, ns: int) -> bytes:
        """`ns` as a record's `ts`; the second is formatted once."""
        begun, text = self.second
        if not 0 <= ns - begun < _SECOND:
            begun, text = self.begin_second(ns)
        return b"%b%06dZ" % (text, (ns - begun) // 1000)

    def begin_second(self, ns: int) -> tuple[int, bytes]:
        """The second that `ns` lies in: when it began, and its text up to the point."""
        begun = ns - ns % _SECOND
        self.second = pair = (begun, rfc3339(begun)[:19].encode() + b".")
        return pair


class Engines(list[Engine]):
    """The running engines. `newest` is one load, so that the hot path cannot be caught between a look and a grasp."""

    __slots__ = ("newest",)

    def __init__(self) -> None:
        super().__init__()
        self.newest: Engine | None = None

    def append(self, engine: Engine) -> None:
        """One more runs."""
        super().append(engine)
        self.newest = engine

    def remove(self, engine: Engine) -> None:
        """One has ended."""
        super().remove(engine)
        self.newest = self[-1] if self else None

    def clear(self) -> None:
        """None runs any more."""
        self.newest = None
        super().clear()


ENGINES = Engines()
