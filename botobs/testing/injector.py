"""Faults to order: a disk that refuses, a collector that is not there.

Both stand at the very end of the way, where the operating system and the network are otherwise: everything before
them is what runs in production.
"""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING, NamedTuple, Self

from botobs.streams.disk import Disk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from botobs.sinks.otlp.transport import Receipt

__all__ = ["Collector", "FaultyDisk", "Injector", "Until"]


class Until:
    """A fault that is in force already; as a context manager, until the end of the block."""

    def __init__(self, undo: Callable[[], object]) -> None:
        self._undo = undo

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo()


class FaultyDisk(Disk):
    """The real disk, until `room` or `read_only` say otherwise.

    Attributes:
        room: How many bytes it still takes; `None`: all.
        read_only: Whether it takes nothing at all.
    """

    def __init__(self) -> None:
        self.room: int | None = None
        self.read_only = False
        self._lock = threading.Lock()

    @property
    def broken(self) -> bool:
        """Whether it is not as it should be."""
        return self.read_only or self.room is not None

    def open_append(self, path: Path) -> int:
        """As `Disk.open_append`."""
        self._refuse_if_read_only()
        return super().open_append(path)

    def write(self, fd: int, data: bytes | bytearray | memoryview) -> int:
        """As `Disk.write`: what crosses the limit is written in part, and what comes then is refused."""
        self._refuse_if_read_only()
        with self._lock:
            if self.room is None:
                return super().write(fd, data)
            if self.room <= 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            wrote = super().write(fd, data[: self.room])
            self.room -= wrote
            return wrote

    def truncate(self, fd: int, size: int) -> None:
        """As `Disk.truncate`; what is cut off is room again."""
        self._refuse_if_read_only()
        with self._lock:
            before = self.size(fd)
            super().truncate(fd, size)
            if self.room is not None:
                self.room += max(before - size, 0)

    def _refuse_if_read_only(self) -> None:
        if self.read_only:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))


class _Answer(NamedTuple):
    """What the collector does: an HTTP status, or nothing (`None`)."""

    status: int | None = 200
    hangs: bool = False
    retry_after: float | None = None


class Collector:
    """A collector that keeps what it is sent; each observer has a line to it."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.answer = _Answer()

    def behave(self, answer: _Answer) -> None:
        """From now on, answer so; requests that hang are answered so as well."""
        with self.changed:
            self.answer = answer
            self.changed.notify_all()

    def line(self) -> Line:
        """A transport to this collector."""
        return Line(self)


class Line:
    """One observer's way to the collector; a `Transport`.

    Attributes:
        payloads: The requests that the collector took, in order.
    """

    def __init__(self, collector: Collector) -> None:
        self.payloads: list[bytes] = []
        self._collector = collector
        self._closed = False

    def send(self, payload: bytes, timeout_s: float) -> Receipt:
        """Deliver one request; see `Transport.send`."""
        from botobs.sinks.otlp.transport import _PASSING, Receipt, Refused, TryLater  # noqa: PLC0415  # loads much

        collector = self._collector
        with collector.changed:
            collector.changed.wait_for(lambda: self._closed or not collector.answer.hangs, timeout_s)
            status, hangs, retry_after = collector.answer
            if self._closed:
                raise TryLater("the connection is closed")
            if hangs:
                raise TryLater("the test's collector hangs")
            if status is None:
                raise TryLater("the test's collector is down")
            if 200 <= status < 300:
                self.payloads.append(payload)
                return Receipt()
        said = f"the test's collector answered {status}"
        raise TryLater(said, retry_after) if status in _PASSING else Refused(said)

    def close(self) -> None:
        """End a `send` under way."""
        with self._collector.changed:
            self._closed = True
            self._collector.changed.notify_all()

    def abandon(self) -> None:
        """Do nothing: there is no socket."""


class Injector:
    """Breaks things, and mends them. All observers of a test share one disk and one collector.

    Each fault is in force from the call on. As a context manager it lasts to the end of the block, which brings back
    what was before:

    ```python
    def test_full_disk(capbot):
        with capbot.faults.disk_full():
            capbot.obs.event("notes", text="kept in memory")
            assert not capbot.obs.flush()
        assert capbot.record("notes")["text"] == "kept in memory"
    ```

    While the disk is broken, errors are counted and not raised, whatever `strict` says: what a bot would see in
    production is what such a test is about.
    """

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self.disk = FaultyDisk()
        self.collector = Collector()
        self._changed = changed

    def disk_full(self, after_bytes: int = 0) -> Until:
        """The disk takes `after_bytes` more; the write that crosses the limit is written in part, then refused."""
        if after_bytes < 0:
            raise ValueError(f"after_bytes = {after_bytes}: there is never less than no room")
        return self._disk(after_bytes, read_only=False)

    def disk_read_only(self) -> Until:
        """The disk refuses every change."""
        return self._disk(None, read_only=True)

    def disk_ok(self) -> None:
        """The disk works again."""
        self._disk(None, read_only=False)

    def collector_down(self) -> Until:
        """Nobody listens where the collector was: the connection is refused."""
        return self._collect(_Answer(status=None))

    def collector_hangs(self) -> Until:
        """The collector takes requests and never answers."""
        return self._collect(_Answer(hangs=True))

    def collector_says(self, status: int, *, retry_after: float | None = None) -> Until:
        """The collector answers with an HTTP status: 429 and 503 are tried again, 400 is a refusal for good."""
        if not 200 <= status <= 599:
            raise ValueError(f"status = {status}: HTTP's are from 200 to 599")
        return self._collect(_Answer(status=status, retry_after=retry_after))

    def collector_ok(self) -> None:
        """The collector works again; a request that hung is answered."""
        self._collect(_Answer())

    def all_ok(self) -> None:
        """Everything works again."""
        self.disk_ok()
        self.collector_ok()

    @property
    def in_force(self) -> list[str]:
        """The faults of the moment, in words."""
        found = []
        if self.disk.read_only:
            found.append("disk read-only")
        elif self.disk.room is not None:
            found.append(f"disk full, room for {self.disk.room} bytes")
        status, hangs, _ = self.collector.answer
        if hangs:
            found.append("collector hangs")
        elif status is None:
            found.append("collector down")
        elif not 200 <= status < 300:
            found.append(f"collector says {status}")
        return found

    @property
    def collects(self) -> bool:
        """Whether the collector takes what it is sent."""
        status, hangs, _ = self.collector.answer
        return not hangs and status is not None and 200 <= status < 300

    def _disk(self, room: int | None, *, read_only: bool) -> Until:
        disk = self.disk
        room_before, read_only_before = disk.room, disk.read_only
        disk.room, disk.read_only = room, read_only
        self._changed()
        return Until(lambda: self._disk(room_before, read_only=read_only_before))

    def _collect(self, answer: _Answer) -> Until:
        before = self.collector.answer
        self.collector.behave(answer)
        return Until(lambda: self.collector.behave(before))

    def __repr__(self) -> str:
        return f"<faults: {', '.join(self.in_force) or 'none'}>"
