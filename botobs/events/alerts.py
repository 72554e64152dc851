"""What happens to an alert on its way to a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from .base import Event, Importance

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AlertFate"]


@attrs.frozen(kw_only=True)
class AlertFate(Event):
    """What became of an alert: a line of `alerts.jsonl`. An alert that is tried again has several, the last one counts.

    Attributes:
        record: The line: `fate`, `level`, `title`, `message`, `key`, `fields`, `alert_id` and more; see
            `botobs.alerts.fates`.
    """

    stream: ClassVar[str | None] = "alerts"
    importance: ClassVar[Importance] = Importance.HIGH
    flat: ClassVar[str | None] = "record"

    record: Mapping[str, Any] = attrs.field(metadata={"key": None})
