"""What happens to a run itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs

from .base import Event, Importance

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BackupFailed", "BackupMade", "RunEnded", "RunStarted", "TailRepaired", "UncleanEnd"]


@attrs.frozen(kw_only=True)
class RunStarted(Event):
    """botobs started in this process. A backtest names no process: the same run leaves the same records."""

    stream: ClassVar[str | None] = "runs"
    kind: ClassVar[str | None] = "run_started"
    importance: ClassVar[Importance] = Importance.HIGH

    pid: int | None
    mode: str = "live"
    bot_version: str | None = None
    botobs_version: str | None = None


@attrs.frozen(kw_only=True)
class RunEnded(Event):
    """botobs was shut down in good order.

    Attributes:
        pid: The process.
        how: What ended it: `shutdown`, `exit`, `sigterm`.
        ran_s: How long it ran.
        dropped: What had to be dropped during the run, by stream.
    """

    stream: ClassVar[str | None] = "runs"
    kind: ClassVar[str | None] = "run_ended"
    importance: ClassVar[Importance] = Importance.HIGH

    pid: int | None
    how: str = "shutdown"
    ran_s: float | None = None
    dropped: Mapping[str, int] | None = None


@attrs.frozen(kw_only=True)
class UncleanEnd(Event):
    """An earlier run on the same data directory did not end in good order.

    Attributes:
        run_id: The run that ended so; `earlier_run_id` in the record, where `run_id` is the run that noticed.
        pid: Its process.
        started: When it began (RFC 3339).
        last_seen: When it last left a sign of life (RFC 3339).
    """

    stream: ClassVar[str | None] = "runs"
    kind: ClassVar[str | None] = "unclean_end"
    importance: ClassVar[Importance] = Importance.CRITICAL

    run_id: str = attrs.field(metadata={"key": "earlier_run_id"})
    pid: int | None = None
    started: str | None = None
    last_seen: str | None = None


@attrs.frozen(kw_only=True)
class TailRepaired(Event):
    """A stream ended in a broken line; the broken bytes were set aside.

    Attributes:
        tail_of: The stream; `stream` in the record.
        bytes_set_aside: How many bytes were cut off.
        where: The file they were put in.
    """

    stream: ClassVar[str | None] = "runs"
    kind: ClassVar[str | None] = "tail_repaired"
    importance: ClassVar[Importance] = Importance.HIGH

    tail_of: str = attrs.field(metadata={"key": "stream"})
    bytes_set_aside: int
    where: str | None = None


@attrs.frozen(kw_only=True)
class BackupMade(Event):
    """The data directory was backed up, and what was sent was read back.

    Attributes:
        where: The place.
        at: The moment that the backup shows (RFC 3339).
        lines: The last line of the ledger in it.
        files: How many files it has.
        bytes: How much that is.
        sent_bytes: How much of it was new, compressed.
        took_s: How long it took.
    """

    stream: ClassVar[str | None] = "runs"
    kind: ClassVar[str | None] = "backup_made"

    where: str
    at: str
    lines: int
    files: int
    bytes: int
    sent_bytes: int
    took_s: float


@attrs.frozen(kw_only=True)
class BackupFailed(Event):
    """The data directory could not be backed up; it is tried again.

    Attributes:
        where: The place.
        error: Why.
        failures: How often in a row.
        last: The moment that the last whole backup shows (RFC 3339); `None`: none is known.
    """

    stream: ClassVar[str | None] = "runs"
    kind: ClassVar[str | None] = "backup_failed"
    importance: ClassVar[Importance] = Importance.HIGH

    where: str
    error: str
    failures: int = 1
    last: str | None = None
