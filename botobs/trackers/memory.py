"""Trades as plain JSON and back, so that a restart goes on exactly where the bot was."""

from __future__ import annotations

from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any

from botobs.trackers.excursions import Excursion
from botobs.trackers.life import Context, Folded, Life, Note, Place
from botobs.trackers.lifecycle import DECIMALS

if TYPE_CHECKING:
    from collections import OrderedDict
    from collections.abc import Iterator

    Remembered = tuple[Life, dict[str, Any] | None, int]

__all__ = ["closed", "lives", "of_closed", "of_life", "revisions"]

_MOST_CLOSED = 200  # closed trades that are remembered over a restart; their records are in the stream anyway
_EXACT_PARTS = ("decision_px", "stop_px", "target_px")


def of_life(life: Life) -> dict[str, Any]:
    """An open or closed trade as plain JSON."""
    contexts: list[Context] = []
    notes: list[list[Any]] = []
    for note in life.notes:
        if not contexts or contexts[-1] != note.context:
            contexts.append(note.context)
        notes.append([*note[:4], str(note.qty), str(note.px), note.slippage_bps, len(contexts) - 1])
    folded = life.folded
    return {
        "trade_id": life.trade_id,
        "place": list(life.place),
        "sign": life.sign,
        "opened_ts": life.opened_ts,
        "closed_ts": life.closed_ts,
        "whole": life.whole,
        "aged": life.aged,
        "atr": life.atr,
        "bars": life.bars,
        "held": str(life.held),
        "seen": life.seen.state(),
        # a number beyond JSON, for a trade without exits among those summed up
        "folded": None if folded is None else [None if abs(value) == float("inf") else value for value in folded],
        "contexts": [_context(context) for context in contexts],
        "notes": notes,
    }


def _context(context: Context) -> dict[str, Any]:
    return {
        name: str(value) if name in _EXACT_PARTS else value
        for name, value in context._asdict().items()
        if value is not None
    }


def _context_of(told: dict[str, Any]) -> Context:
    given: dict[str, Any] = {name: Decimal(value) if name in _EXACT_PARTS else value for name, value in told.items()}
    return Context(**given)


def life_of(told: dict[str, Any]) -> Life:
    """The trade that `told` was made of. Raises whatever a damaged one leads to."""
    life = Life(
        told["trade_id"], Place(*told["place"]), int(told["sign"]), told["opened_ts"], Excursion.of_state(told["seen"])
    )
    life.closed_ts = told["closed_ts"]
    life.whole, life.aged, life.bars = bool(told["whole"]), bool(told["aged"]), bool(told["bars"])
    life.atr = None if told["atr"] is None else float(told["atr"])
    if told["folded"] is not None:
        life.folded = Folded(
            *(Folded()[at] if value is None else float(value) for at, value in enumerate(told["folded"]))
        )
    contexts = [_context_of(one) for one in told["contexts"]]
    life.notes = [
        Note(int(seq), ts, fill_id, int(sign), Decimal(qty), Decimal(px), slip, contexts[at])
        for seq, ts, fill_id, sign, qty, px, slip, at in told["notes"]
    ]
    life.held = Decimal(told["held"])
    return life


def of_closed(known: OrderedDict[str, Remembered]) -> list[dict[str, Any]]:
    """The newest closed trades, the oldest first."""
    newest = list(islice(reversed(known.values()), _MOST_CLOSED))
    return [
        {"life": of_life(life), "record": _record(record), "revision": revision}
        for life, record, revision in reversed(newest)
    ]


def _record(record: dict[str, Any] | None) -> dict[str, Any] | None:
    if record is None:
        return None
    return {key: str(value) if key in DECIMALS and value is not None else value for key, value in record.items()}


def lives(told: Any, problems: list[str]) -> Iterator[Life]:
    """The open trades in a state; damaged ones are named and left out."""
    for one in told if isinstance(told, list) else ():
        try:
            yield life_of(one)
        except Exception as error:
            problems.append(f"open trade: {type(error).__name__}: {error}"[:200])


def closed(told: Any, problems: list[str]) -> Iterator[Remembered]:
    """The closed trades in a state; damaged ones are named and left out."""
    for one in told if isinstance(told, list) else ():
        try:
            record = one["record"]
            if record is not None:
                record = {
                    key: Decimal(value) if key in DECIMALS and value is not None else value
                    for key, value in record.items()
                }
            yield life_of(one["life"]), record, int(one["revision"])
        except Exception as error:
            problems.append(f"closed trade: {type(error).__name__}: {error}"[:200])


def revisions(told: Any) -> dict[str, int]:
    """The revisions of trades that are not among the closed ones of a state."""
    return {name: one for name, one in told.items() if type(one) is int} if isinstance(told, dict) else {}
