"""One trade as it is followed: where it is held, what was known when it was decided, and its fills."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import attrs

from botobs.accounting.numbers import EXACT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botobs.trackers.excursions import Excursion

__all__ = ["HAND", "Context", "FillContext", "Folded", "Life", "Note", "OrderLike", "Place", "context_of"]

HAND = "hand"  # the kind of a position that is told by hand
_MOST_NOTES = 256  # fills remembered of one trade; beyond, the middle ones are summed up
_TEXT = 200


class OrderLike(Protocol):
    """What a trade wants to know of an order; whatever is missing counts as not told."""

    strategy: str | None
    source: str | None
    pred_bps: float | None
    decision_px: Decimal | None
    strength: float | None
    reason: str | None
    stop_px: Decimal | None
    target_px: Decimal | None
    bar_id: str | int | None
    trace_id: str | None
    more: Mapping[str, Any] | None


class Place(NamedTuple):
    """Where a position is held."""

    symbol: str
    venue: str | None = None
    account: str | None = None
    position_side: str | None = None
    kind: str = "live"


@attrs.define(slots=True, kw_only=True)
class FillContext:
    """A fill as it was booked, with what is known around it.

    Attributes:
        ts: When it happened, RFC 3339 with microseconds.
        seq: Its number in the ledger.
        slippage_bps: Worse than decided is positive.
    """

    symbol: str
    side: str
    qty: Decimal
    price: Decimal
    ts: str
    seq: int
    fill_id: str | None = None
    venue: str | None = None
    account: str | None = None
    position_side: str | None = None
    strategy: str | None = None
    slippage_bps: float | None = None
    trace_id: str | None = None
    bar_id: str | int | None = None
    kind: str = "live"

    @property
    def place(self) -> Place:
        """Which position it moved."""
        return Place(self.symbol, self.venue, self.account, self.position_side, self.kind)


class Context(NamedTuple):
    """What was known when an order was decided."""

    strategy: str | None = None
    source: str | None = None
    pred_bps: float | None = None
    decision_px: Decimal | None = None
    strength: float | None = None
    reason: str | None = None
    stop_px: Decimal | None = None
    target_px: Decimal | None = None
    bar_id: str | int | None = None
    trace_id: str | None = None
    pros: Any = None
    amateurs: Any = None
    mood: Any = None


NOTHING = Context()
_KEYS = (str, int, type(None))


def context_of(order: Any, *, strategy: str | None, bar_id: str | int | None, trace_id: str | None) -> Context:
    """What `order` says, frozen; the fill's own strategy, bar and trace where it says nothing."""
    if order is None:
        return Context(strategy=strategy, bar_id=bar_id, trace_id=trace_id)
    more = order.more
    return Context(
        order.strategy or strategy,
        order.source,
        order.pred_bps,
        order.decision_px,
        order.strength,
        order.reason,
        order.stop_px,
        order.target_px,
        bar_id if order.bar_id is None else order.bar_id if type(order.bar_id) in _KEYS else plain(order.bar_id),
        order.trace_id or trace_id,
        *(cohorts(more) if more else ()),
    )


def cohorts(more: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """What the professionals, the amateurs and the mood were: `cohort_pros` and so on, or a mapping `cohort`."""
    given = more.get("cohort")
    inner: Mapping[str, Any] = given if isinstance(given, dict) else {}
    pros, amateurs, mood = (plain(more.get(f"cohort_{name}", inner.get(name))) for name in ("pros", "amateurs", "mood"))
    return pros, amateurs, mood


def plain(value: Any) -> Any:
    """`value` as JSON can say it, so that a restart gives back the same."""
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        return value[:_TEXT]
    try:
        if kind is int:
            return value if value.bit_length() < 64 else str(value)[:_TEXT]
        said = float(value)
        return said if math.isfinite(said) else None
    except Exception:  # no number: shown as it shows itself
        return _shown(value)


def _shown(value: Any) -> str | None:
    try:
        return str(value)[:_TEXT]
    except Exception:  # an object that cannot even be shown
        return None


class Note(NamedTuple):
    """What one fill did to one trade; a fill that flips leaves a note in both, each with its part of the quantity."""

    seq: int
    ts: str
    fill_id: str | None
    sign: int
    qty: Decimal
    px: Decimal
    slippage_bps: float | None
    context: Context


class Life:
    """One trade, open or closed, as far as it is not the position engine's.

    Attributes:
        sign: 1 for a long, -1 for a short.
        whole: It was watched from its opening on; else the entry's context and the excursions are not known.
        notes: Its fills, in the order of time.
        folded: What the notes summed up came to: quantity and slippage of entries and of exits, and the exits' prices.
        seen: The extreme prices since the entry.
        atr: The average true range at the entry.
        bars: Whether finished bars of the symbol are told at all.
        aged: It was reported as held too long.
        held: The quantity held, as far as the fills tell.
    """

    __slots__ = (
        "aged", "atr", "bars", "closed_ts", "folded", "held", "notes", "opened_ts", "place", "seen", "sign",
        "trade_id", "whole",
    )  # fmt: skip

    def __init__(self, trade_id: str, place: Place, sign: int, opened_ts: str, seen: Excursion) -> None:
        self.trade_id = trade_id
        self.place = place
        self.sign = sign
        self.opened_ts = opened_ts
        self.closed_ts: str | None = None
        self.seen = seen
        self.whole = True
        self.notes: list[Note] = []
        self.folded: Folded | None = None
        self.atr: float | None = None
        self.bars = False
        self.aged = False
        self.held = Decimal(0)

    def add(self, note: Note) -> None:
        """One more fill, the latest so far."""
        self.notes.append(note)
        self.held = EXACT.add(self.held, note.qty if note.sign == self.sign else -note.qty)
        if len(self.notes) > _MOST_NOTES:
            self.fold()

    def fold(self) -> None:
        """Sum up the older half of the notes, all but the first."""
        half = len(self.notes) // 2
        folded = self.folded or Folded()
        for note in self.notes[1:half]:
            folded = folded.with_note(note, self.sign)
        self.folded = folded
        del self.notes[1:half]

    @property
    def entry(self) -> Context:
        """What was known when it was opened."""
        return self.notes[0].context if self.whole and self.notes else NOTHING

    @property
    def exit(self) -> Context:
        """What was known of the last fill that took from it."""
        return next((note.context for note in reversed(self.notes) if note.sign != self.sign), NOTHING)

    @property
    def strategy(self) -> str | None:
        """Whose trade it is: as its opening says, else the first fill that names one."""
        return next((note.context.strategy for note in self.notes if note.context.strategy), None)


class Folded(NamedTuple):
    """Fills of a long-lived trade, summed up."""

    entry_qty: float = 0.0
    entry_slip: float = 0.0
    exit_qty: float = 0.0
    exit_slip: float = 0.0
    high: float = -math.inf
    low: float = math.inf

    def with_note(self, note: Note, sign: int) -> Folded:
        """The sums with one more fill."""
        qty, slip = (float(note.qty), note.slippage_bps) if note.slippage_bps is not None else (0.0, 0.0)
        if note.sign == sign:
            return self._replace(entry_qty=self.entry_qty + qty, entry_slip=self.entry_slip + qty * slip)
        return self._replace(
            exit_qty=self.exit_qty + qty,
            exit_slip=self.exit_slip + qty * slip,
            high=max(self.high, float(note.px)),
            low=min(self.low, float(note.px)),
        )
