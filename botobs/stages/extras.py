"""What a signal says beside its own fields."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botobs.faults import Faults

__all__ = ["FieldNames", "beside"]

#: A record's own names: a field of the bot's that is called the same goes under `fields`.
_ENVELOPE: Final = frozenset({"ts", "schema", "bot", "run_id", "symbol", "bar_id", "trace_id", "latency", "fields"})
_FIELDS: Final = ("features", "model", "decision", "source", "pred_bps", "strength", "confidence", "cohort")
_MOST: Final = 1_000


def beside(more: Mapping[str, Any]) -> Mapping[str, Any]:
    """The bot's fields, those that are called as one of the envelope's under `fields`."""
    if _ENVELOPE.isdisjoint(more):
        return more
    kept = {key: value for key, value in more.items() if key not in _ENVELOPE}
    kept["fields"] = {key: value for key, value in more.items() if key in _ENVELOPE}
    return kept


class FieldNames:
    """Names of fields of the bot's own: each is looked at once, and not on the bot's thread, as it takes its time.

    Args:
        faults: Gets the warnings.

    Attributes:
        known: Names that came; a loop says the same ones on every turn.
    """

    __slots__ = ("_faults", "_waiting", "known")

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._waiting: deque[tuple[str, list[str]]] = deque()
        self.known = {"candidates"}

    def note(self, more: Mapping[str, Any], said: Mapping[str, Any]) -> None:
        """Leave the new names of `more` to `look`, and which of the parameters were not `said` with them."""
        known = self.known
        if len(known) >= _MOST:  # a bot that makes names up
            return
        missing = [field for field in _FIELDS if field not in said]
        for name in more:
            if name not in known:
                known.add(name)
                self._waiting.append((name, missing))

    def look(self, _slice_ns: int) -> bool:
        """Warn about the next name if it is probably one of the parameters that were not said; whether more wait."""
        if self._waiting:
            from botobs.trackers.misspelt import misspelt  # noqa: PLC0415  # stages load no trackers

            name, missing = self._waiting.popleft()
            for meant in misspelt({name: None}, missing):
                self._faults.say("signal", meant, f"signal does not know {meant}; it is kept as context")
        return bool(self._waiting)
