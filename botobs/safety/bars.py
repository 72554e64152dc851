"""A round trip within one bar: of a bot that decides once a bar, a decision that was taken twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botobs.events import SameBarRoundTrip
from botobs.safety.triggers.base import text

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["same_bar"]

_LONGEST = 100


def same_bar(ts_ns: int, record: Mapping[str, Any]) -> SameBarRoundTrip | None:
    """What a record of `trade_lifecycle` says of that; `None`: it took more than one bar, or that is not known.

    Args:
        ts_ns: When it was closed.
        record: The record. One that tells of the same trade once more, with other figures, is no news.
    """
    opened, closed = record.get("entry_bar_id"), record.get("exit_bar_id")
    if opened is None or closed is None or record.get("undone") or record.get("revision", 1) != 1:
        return None
    if text(opened, _LONGEST) != text(closed, _LONGEST):
        return None
    return SameBarRoundTrip(
        ts_ns=ts_ns, symbol=record.get("symbol"), bar_id=closed, trade_id=record.get("trade_id"),
        strategy=record.get("strategy_id"),
    )  # fmt: skip
