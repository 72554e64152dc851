"""Compare how orders were filled, by symbol, side, order type, venue or strategy: which broker is the best one."""

from __future__ import annotations

import datetime as dt
import math
from collections import deque
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from botobs.accounting.numbers import EXACT, ZERO
from botobs.clock import epoch_ns
from botobs.trackers.cells import Cell, mean_bps

if TYPE_CHECKING:
    from decimal import Decimal

__all__ = ["By", "Comparison", "Filled", "Key", "SlippageRow"]

By = Literal["symbol", "side", "order_type", "venue", "strategy"]
# the five of `By`, and the settlement currency
Key: TypeAlias = "tuple[str | None, str | None, str | None, str | None, str | None, str | None]"
# when, 1 (-1: taken back), whether it is the order's first answer, (bps, money, …), quantity, value, fee, latency in ms
Filled: TypeAlias = (
    "tuple[int, int, bool, tuple[float, Decimal, Decimal] | None, float, float, Decimal | None, float | None]"
)

_BY: tuple[By, ...] = ("symbol", "side", "order_type", "venue", "strategy")
_MOST_CELLS = 5_000
_OTHER = "other"
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


@attrs.frozen(kw_only=True)
class SlippageRow:
    """One line of a comparison.

    Attributes:
        key: What the fills have in common: a symbol, a side, an order type, a venue or a strategy; `None`: not told.
        n: Fills with slippage, of `fills` in all.
        mean_bps: Weighted by quantity within a symbol, by value between symbols.
        median_bps: Of single fills, within 1 %; `p95_bps` likewise: one in twenty fills was worse.
        money: Slippage in all; `None` where it came in several currencies, which `by_currency` has.
        orders: Orders that were answered by a fill or a refusal; `rejected_orders`: those refused at least once.
        rejections: Refusals, retries counted each.
        rejection_rate: Share of the orders that were refused at least once.
        fees_bps: Of the value of the fills whose fee is known.
        latency_ms: Median from sent to filled, within 1 %.
        since_ns: Where a window reaches further back than what is remembered: from when on the row counts.
        reasons: Why a field is `None`.
    """

    key: str | None
    n: int
    fills: int
    mean_bps: float | None
    median_bps: float | None
    p95_bps: float | None
    money: Decimal | None
    by_currency: dict[str | None, Decimal]
    orders: int
    rejected_orders: int
    rejections: int
    rejection_rate: float | None
    fees_bps: float | None
    latency_ms: float | None
    since_ns: int | None = None
    reasons: dict[str, str] = attrs.field(factory=dict)


class Comparison:
    """Sums for every kind of order, and the newest fills and refusals one by one; whoever calls it holds a lock.

    Args:
        recent: How many are remembered one by one, for windows.
    """

    def __init__(self, recent: int = 10_000) -> None:
        self._cells: dict[Key, Cell] = {}
        self._recent: deque[tuple[Key, Filled | tuple[int, bool, bool]]] = deque(maxlen=max(1, recent))

    def filled(self, key: Key, entry: Filled) -> None:
        """A fill was booked, or taken back."""
        cell = self._cells.get(key) or self._cell(key)
        cell.enter(entry)
        if entry[1] > 0:
            self._recent.append((cell.key, entry))
        else:
            self._forget(cell.key, entry)

    def refused(self, key: Key, moment: int, *, first: bool, answered: bool) -> None:
        """An order was refused: for the `first` time, and as the first answer it got."""
        cell = self._cells.get(key) or self._cell(key)
        entry = (moment, first, answered)
        cell.refuse(first=entry[1], answered=entry[2])
        self._recent.append((cell.key, entry))

    def rows(self, by: By, window: Any, now_ns: int) -> list[SlippageRow]:
        """One row for each value of `by`, the one with the most fills first.

        Raises:
            ValueError: There is no such comparison or window.
        """
        if by not in _BY:
            raise ValueError(f"by: one of {', '.join(_BY)}, not {by!r}")
        start = None if window is None or window == "all" else _start(window, now_ns)
        cells, since = (list(self._cells.values()), None) if start is None else self._within(start)
        groups: dict[str | None, list[Cell]] = {}
        for cell in cells:
            groups.setdefault(cell.key[_BY.index(by)], []).append(cell)
        rows = [_row(key, group, since) for key, group in groups.items()]
        return sorted(rows, key=lambda row: (-row.fills, row.key or ""))

    def _cell(self, key: Key) -> Cell:
        if len(self._cells) >= _MOST_CELLS:  # a bot that makes up symbols, or strategies
            key = (_OTHER, key[1], _OTHER, _OTHER, _OTHER, key[5])
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = Cell(key)
        return cell

    def _forget(self, key: Key, entry: Filled) -> None:
        """The newest fill like this one never was, so that no window has it."""
        for back, (of, other) in enumerate(reversed(self._recent), 1):
            if of == key and len(other) == len(entry) and other[4:7] == entry[4:7]:
                del self._recent[-back]
                return

    def _within(self, start: int) -> tuple[list[Cell], int | None]:
        """Cells of what happened since `start`, and from when on, if some of that is not remembered any more."""
        cells: dict[Key, Cell] = {}
        for key, entry in self._recent:
            if entry[0] >= start:
                cell = cells.get(key)
                if cell is None:
                    cell = cells[key] = Cell(key)
                if len(entry) == 3:
                    cell.refuse(first=entry[1], answered=entry[2])
                else:
                    cell.enter(entry)
        oldest = self._recent[0][1][0] if len(self._recent) == self._recent.maxlen else None
        return list(cells.values()), oldest if oldest is not None and oldest > start else None


def _row(key: str | None, cells: list[Cell], since: int | None) -> SlippageRow:
    whole = Cell((key, None, None, None, None, None))
    currencies: dict[str | None, list[Cell]] = {}
    for cell in cells:
        whole.merge(cell)
        if cell.fills > 0:
            currencies.setdefault(cell.key[5], []).append(cell)
    mixed = len(currencies) > 1
    latency = whole.latency.quantile(0.5)
    return SlippageRow(
        key=key,
        n=whole.n,
        fills=whole.fills,
        mean_bps=None if mixed else mean_bps(cells),
        median_bps=whole.bps.quantile(0.5),
        p95_bps=whole.bps.quantile(0.95),
        money=whole.money if whole.n > 0 and not mixed else None,
        by_currency={currency: _total(group) for currency, group in currencies.items() if any(one.n for one in group)},
        orders=whole.answered,
        rejected_orders=whole.refused,
        rejections=whole.rejections,
        rejection_rate=whole.refused / whole.answered if whole.answered else None,
        fees_bps=None if mixed else _share(float(whole.fees), whole.fee_value),
        latency_ms=latency,
        since_ns=since,
        reasons=_reasons(whole, mixed=mixed, timed=latency is not None),
    )


def _reasons(whole: Cell, *, mixed: bool, timed: bool) -> dict[str, str]:
    """Why a field of the row is `None`."""
    reasons = {}
    if whole.n <= 0:
        reasons = dict.fromkeys(("mean_bps", "median_bps", "p95_bps", "money"), "no fill with a known decision")
    if whole.fee_value <= 0:
        reasons["fees_bps"] = "no fee is known"
    if mixed:
        reasons |= dict.fromkeys(("mean_bps", "money", "fees_bps"), "several settlement currencies")
    if not timed:
        reasons["latency_ms"] = "no fill of an order that was reported as sent"
    if not whole.answered:
        reasons["rejection_rate"] = "no order was answered"
    return reasons


def _share(fees: float, value: float) -> float | None:
    found = fees / value * 1e4 if value > 0 else math.nan
    return found if math.isfinite(found) else None


def _total(cells: list[Cell]) -> Decimal:
    total = ZERO
    for cell in cells:
        total = EXACT.add(total, cell.money)
    return total


def _start(window: Any, now_ns: int) -> int:
    """When a window begins."""
    try:
        if isinstance(window, dt.timedelta):
            return now_ns - int(window.total_seconds() * 1e9)
        if isinstance(window, dt.datetime):
            return epoch_ns(window)
        if isinstance(window, str):
            said = window.strip().lower()
            return now_ns - int(float(said[:-1]) * _UNITS[said[-1:]] * 1e9)
        if not isinstance(window, bool):
            return now_ns - int(float(window) * 1e9)
    except (KeyError, ValueError, TypeError, OverflowError):
        pass
    raise ValueError(f"window: 'all', '6h', seconds, a timedelta or a datetime, not {window!r:.60}")
