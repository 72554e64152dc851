"""What a signal says beside its own fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .engine import Engine

__all__ = ["KNOWN", "beside", "look_at"]

#: A record's own names: a field of the bot's that is called the same goes under `fields`.
_ENVELOPE: Final = frozenset({"ts", "schema", "bot", "run_id", "symbol", "bar_id", "trace_id", "latency", "fields"})
_FIELDS: Final = ("features", "model", "decision", "source", "pred_bps", "strength", "confidence", "cohort")
_MOST: Final = 1_000

#: Names that were looked at and look like no field's: a loop says the same ones on every turn.
KNOWN: Final = {"candidates"}


def beside(more: Mapping[str, Any]) -> Mapping[str, Any]:
    """The bot's fields, those that are called as one of the envelope's under `fields`."""
    if _ENVELOPE.isdisjoint(more):
        return more
    kept = {key: value for key, value in more.items() if key not in _ENVELOPE}
    kept["fields"] = {key: value for key, value in more.items() if key in _ENVELOPE}
    return kept


def look_at(more: Mapping[str, Any], said: Mapping[str, Any], engine: Engine) -> None:
    """Warn about names that are probably one of the fields that were not `said`."""
    from botobs.trackers.misspelt import misspelt  # noqa: PLC0415  # stages load no trackers

    missing = [field for field in _FIELDS if field not in said]
    for name in more.keys() - KNOWN:
        found = misspelt({name: None}, missing)
        for meant in found:
            engine.faults.say("signal", meant, f"signal does not know {meant}; it is kept as context")
        if not found and len(KNOWN) < _MOST and not misspelt({name: None}, _FIELDS):
            KNOWN.add(name)
