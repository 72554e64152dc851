"""What a replay found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

__all__ = ["LISTS", "Found", "Replayed"]

LISTS: Final = ("trips", "resets", "warnings", "alerts")


@attrs.frozen(kw_only=True)
class Found:
    """A trip, a warning or an alert that there would have been.

    Attributes:
        ts: When (RFC 3339).
        said: What there is to know of it.
        equity: What equity was then; `None`: not known.
        lowest: The lowest afterwards, money moved in or out since left out.
        lowest_ts: When that was.
        end: The last, likewise.
    """

    ts: str
    said: Mapping[str, Any]
    equity: Decimal | None = None
    lowest: Decimal | None = None
    lowest_ts: str | None = None
    end: Decimal | None = None

    def record(self) -> dict[str, Any]:
        """As `botobs replay --json` prints it."""
        both = self.equity is not None and self.end is not None
        change = self.end - self.equity if both else None  # type: ignore[operator]  # both are known
        after = {
            "lowest": _text(self.lowest), "lowest_ts": self.lowest_ts, "end": _text(self.end), "change": _text(change),
        }  # fmt: skip
        return {"ts": self.ts, **self.said, "equity": _text(self.equity), "after": after if both else None}


@attrs.frozen(kw_only=True)
class Replayed:
    """What a replay found.

    Attributes:
        since: The time of the first record; `None`: there was none.
        until: That of the last one.
        limits: Those of the kill switch, in words.
        trips: When it would have tripped, or have been tripped again while tripped.
        resets: When a person armed it again, as recorded.
        warnings: When it would have warned.
        alerts: What a person would have been told.
        held: How many alerts would have been held back.
        records: How many were read, by stream.
        notes: What could not be judged, and why.
    """

    since: str | None
    until: str | None
    limits: tuple[str, ...]
    trips: tuple[Found, ...]
    resets: tuple[Found, ...]
    warnings: tuple[Found, ...]
    alerts: tuple[Found, ...]
    held: int
    records: Mapping[str, int]
    notes: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """As `botobs replay --json` prints it."""
        lists = {name: [found.record() for found in getattr(self, name)] for name in LISTS}
        return {
            "from": self.since, "to": self.until, "limits": list(self.limits), **lists, "held": self.held,
            "records": dict(self.records), "notes": list(self.notes),
        }  # fmt: skip


def _text(value: Decimal | None) -> str | None:
    return None if value is None else format(value, "f")
