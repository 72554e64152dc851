"""Stage histograms in arrays of our own.

A `Cell` is one histogram: one stage of one symbol. The bot's threads update it in place and a metrics reader adds it
to what OpenTelemetry collects. Each update is a statement without a call between its load and its store, which
CPython's global lock makes whole (a test tries to break it with many threads), so the hot path takes no lock.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BOUNDS_NS", "LEAST_NS", "OTHER", "Cell", "CellTable", "SymbolCells"]

#: Upper bounds of the buckets in nanoseconds: 10 µs to 10 s, as 1, 2.5, 5 in each decade.
BOUNDS_NS: Final[tuple[int, ...]] = (
    *(step * 10**power for power in range(3, 9) for step in (10, 25, 50)),
    10**10,
)

#: The first of them: most stages are done before anything has to be searched.
LEAST_NS: Final = BOUNDS_NS[0]

#: The label under which everything beyond the cap is counted.
OTHER: Final = "other"

_MOST_PENDING = 100_000
# The running p99 climbs and falls by these factors: 1 % of ticks above it hold it in balance.
CLIMB: Final = 1.05
FALL: Final = 1.05 ** (-1 / 99)
_WARM_UP = 100


class Cell:
    """One histogram of durations, and the running 99th percentile behind the choice of traces."""

    __slots__ = (
        "counts", "label", "left", "lost", "mark", "peak", "pending", "relief", "slow_ns", "symbol", "total_ns", "warm",
    )  # fmt: skip

    def __init__(
        self, label: str, symbol: str, *, raw: bool = False, relief: Callable[[], object] | None = None
    ) -> None:
        self.label = label
        self.symbol = symbol
        self.counts = [0] * (len(BOUNDS_NS) + 1)
        self.total_ns = 0
        self.slow_ns = 0.0  # the running p99; 0 until enough is known
        self.peak = 0.0  # the longest while too little is known
        self.warm = 0
        self.left = 0  # until the next sample
        self.mark = 0  # what `left` was when the percentile was last moved
        # durations one by one, only for a MeterProvider of the user's own
        self.pending: deque[int] | None = deque() if raw else None
        self.lost = 0
        self.relief = relief  # makes room in `pending`, where nobody else does

    def hand_on(self, took_ns: int) -> None:
        """Keep a single duration for a `MeterProvider` of the user's own."""
        pending = self.pending
        if pending is not None:
            if len(pending) >= _MOST_PENDING and self.relief is not None:
                self.relief()
            if len(pending) < _MOST_PENDING:
                pending.append(took_ns)
            else:
                self.lost += 1

    def worth_keeping(self, took_ns: int, every: int) -> str | None:
        """Why the trace of this duration is worth keeping: `slow`, `sample` (one in `every`, the first too) or not.

        Slow is above the running 99th percentile, which each duration moves: one above raises it by 5 %, one below
        lowers it so little that it rests where one in a hundred lies above. It needs no history and follows a changed
        regime within a few hundred ticks. The hot path counts the usual ones down by itself, in `left`; what they
        lower is made up for here.
        """
        left = self.left - 1
        usual = max(self.mark - left, 1)
        self.left = self.mark = left if left > 0 else every
        sample = "sample" if left <= 0 else None
        if self.warm < _WARM_UP:
            self.warm += 1
            self.peak = max(self.peak, float(took_ns))
            if self.warm == _WARM_UP:
                self.slow_ns = max(self.slow_ns, self.peak)
            return sample
        slow = self.slow_ns * (FALL if usual == 1 else FALL**usual)
        if took_ns > slow:
            self.slow_ns = slow * CLIMB + 1.0
            return "slow"
        self.slow_ns = slow
        return sample


class SymbolCells(dict[str, Cell]):
    """The cells of one symbol by stage label, made when first asked for, and what else is constant for a symbol."""

    __slots__ = ("json_symbol", "raw", "symbol", "table", "tails")

    def __init__(self, table: CellTable, symbol: str, json_symbol: bytes) -> None:
        super().__init__()
        self.table = table
        self.symbol = symbol
        self.json_symbol = json_symbol
        self.raw = table.raw
        self.tails: dict[str, bytes] = {}  # encoded constants of this symbol's spans, by site

    def __missing__(self, label: str) -> Cell:
        return self.table.cell(self, label)


class CellTable:
    """All cells of one observer.

    Args:
        cap: How many symbols, and how many stage labels, get a series of their own; the rest share `other`.
        raw: Also hand on every single duration (for a `MeterProvider` of the user's own).
        relief: Takes what was handed on when it is too much; without it the rest is counted as lost.
    """

    def __init__(self, *, cap: int = 200, raw: bool = False, relief: Callable[[], object] | None = None) -> None:
        self.cap = cap
        self.raw = raw
        self.relief = relief
        self.overflow = 0
        self.symbols: dict[str, SymbolCells] = {}
        self._labels: set[str] = set()

    def of(self, symbol: str, json_symbol: bytes) -> SymbolCells:
        """The cells of a symbol; beyond the cap a fresh view whose cells are those of `other`."""
        cells = self.symbols.get(symbol)
        if cells is None:
            cells = SymbolCells(self, symbol, json_symbol)
            if len(self.symbols) < self.cap or symbol == OTHER:
                # setdefault: two threads that meet a symbol at once must count into the same cells
                cells = self.symbols.setdefault(symbol, cells)
            else:
                self.overflow += 1
        return cells

    def cell(self, cells: SymbolCells, label: str) -> Cell:
        """Make, or find under `other`, the cell for a stage label of a symbol."""
        if label not in self._labels:
            if len(self._labels) >= self.cap and label != OTHER:
                self.overflow += 1
                return cells[OTHER]
            self._labels.add(label)
        if self.symbols.get(cells.symbol) is not cells:
            # the symbol is beyond the cap: its view shares the cells of `other`
            return cells.setdefault(label, self.of(OTHER, b'"other"')[label])
        return cells.setdefault(label, Cell(label, cells.symbol, raw=self.raw, relief=self.relief))

    def all(self) -> list[Cell]:
        """Every cell there is."""
        return [cell for cells in list(self.symbols.values()) for cell in set(cells.copy().values())]
