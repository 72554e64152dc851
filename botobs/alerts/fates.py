"""What became of each alert: the lines of `alerts.jsonl`, and the counts of the report.

`delivered`: somebody took it. `held`: its key was told of a short while ago. `digested`: it went out within a digest.
`retrying`: not now, it is tried again. `failed`: nobody will get it. `pending`: kept for the next run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from botobs.report import Counts

if TYPE_CHECKING:
    from collections.abc import Callable

    from botobs.alerts.alert import Alert
    from botobs.alerts.answer import Answer

__all__ = ["Fates"]


@attrs.define
class _Open:
    """An alert that still has receivers to come."""

    alert: Alert
    left: int
    taken: bool = False


class Fates:
    """Writes the lines and counts.

    Args:
        write: Takes the fields of a line.
        failed: Told where and why something failed.
    """

    def __init__(self, write: Callable[[dict[str, Any]], object], failed: Callable[[str, BaseException], None]) -> None:
        self._write = write
        self._failed = failed
        self._open: dict[str, _Open] = {}
        self.delivered = 0
        self.dropped = 0

    def line(
        self, alert: Alert, fate: str, *, to: str | None = None, answer: Answer | None = None, **more: Any
    ) -> None:
        """Write what became of `alert`."""
        record: dict[str, Any] = {
            "fate": fate, "level": alert.level, "title": alert.title, "message": alert.message or None,
            "key": alert.key, "symbol": alert.symbol, "fields": dict(alert.fields) or None, "alert_id": alert.id,
            "alert_ts": alert.ts, "kind": alert.event, "recovery": alert.recovery or None,
            "held": alert.held or None, "digest_of": len(alert.of) or None,
            "from_run": alert.run_id if alert.late else None, "to": to,
        }  # fmt: skip
        if answer is not None:
            record |= {"status": answer.status, "error": None if answer.delivered else answer.why or None}
        record |= more
        try:
            self._write({name: value for name, value in record.items() if value is not None})
        except Exception as error:
            self._failed("alerts.write", error)

    def begin(self, alert: Alert, receivers: int) -> None:
        """`alert` goes out to so many."""
        found = self._open.get(alert.id)
        if found is None:
            self._open[alert.id] = _Open(alert, receivers)
        else:
            found.left += receivers

    def end(self, alert: Alert, *, taken: bool, kept: bool) -> None:
        """One receiver took it, or will not; `kept`: the next run tries again."""
        found = self._open.get(alert.id)
        if found is None:
            return
        found.left -= 1
        found.taken |= taken
        if found.left > 0:
            return
        del self._open[alert.id]
        if found.taken:
            self.delivered += alert.weight
        elif not kept:
            self.dropped += alert.weight

    def counts(self, waiting: int) -> Counts:
        """So far; `waiting` did not come here yet, or is kept for later."""
        return Counts(
            self.delivered, waiting + sum(one.alert.weight for one in list(self._open.values())), self.dropped
        )

    def is_open(self, alert_id: str) -> bool:
        """Whether somebody may still take it in this run."""
        return alert_id in self._open
