"""What `flush` and `shutdown` tell: what went, what waits, what was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Counts", "Report"]


@attrs.frozen
class Counts:
    """How many of one sort, since the start.

    Attributes:
        delivered: Written to disk, or taken by the receiver.
        pending: Still waiting.
        dropped: Lost; each was counted when it happened.
    """

    delivered: int = 0
    pending: int = 0
    dropped: int = 0


@attrs.frozen(kw_only=True)
class Report:
    """The answer of `flush` and `shutdown`.

    Attributes:
        delivered: Everything that came before the call has gone, and nothing was lost since the last report.
        took_s: How long it took.
        records: Lines of the streams.
        spans: Spans of kept traces, where there is somebody to send them to.
        alerts: Alerts.
        traces: Traces kept, by why they were worth it.
    """

    delivered: bool
    took_s: float
    records: Counts = Counts()
    spans: Counts = Counts()
    alerts: Counts = Counts()
    traces: Mapping[str, int] = attrs.field(factory=dict)

    def __bool__(self) -> bool:
        return self.delivered

    def __str__(self) -> str:
        parts = [
            f"{counts.delivered} {name} delivered"
            + (f", {counts.pending} pending" if counts.pending else "")
            + (f", {counts.dropped} dropped" if counts.dropped else "")
            for name, counts in (("records", self.records), ("spans", self.spans), ("alerts", self.alerts))
            if counts != Counts()
        ]
        return f"{'; '.join(parts) or 'nothing to deliver'} ({self.took_s:.2f} s)"
