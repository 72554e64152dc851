"""The live file of the ledger: whole lines appended, cut back where a write failed, put into the archive when due."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Final

from botobs.accounting.ledger.chain import seq_of
from botobs.accounting.ledger.head import NO_TIME
from botobs.accounting.ledger.reading import record, told_time
from botobs.accounting.ledger.scan import blocks, place
from botobs.accounting.ledger.volumes import free_path
from botobs.clock import epoch_ns, rfc3339
from botobs.streams.disk import make_folder
from botobs.streams.torn import Repair, repair

if TYPE_CHECKING:
    from pathlib import Path

    from botobs.accounting.ledger.head import Head
    from botobs.clock import Clock
    from botobs.streams.disk import Disk

__all__ = ["CLOSED", "LiveFile", "is_time"]

CLOSED: Final = -1
_WIDTH: Final = len(NO_TIME)


class LiveFile:
    """One file that grows by whole lines. Not thread-safe: its owner takes turns.

    Args:
        path: The file.
        archive: Where it goes when it is full or old.
        clock: Tells its age.
        disk: The way to the operating system.

    Attributes:
        fd: The descriptor, or `CLOSED`.
        size: Where the last whole line ends.
        broken: Whether something may stand behind that, and has to be cut off before the next line.
        first_seq: The number of the first line; 0: there is none.
        since_ns: When the first line was received.
        lowest: The earliest exchange time in it, or `NO_TIME`.
        highest: The latest.
        repairs: Torn ends that were found and mended.
    """

    def __init__(self, path: Path, archive: Path, *, clock: Clock, disk: Disk) -> None:
        self.path = path
        self.archive = archive
        self.fd = CLOSED
        self.size = 0
        self.broken = False
        self.first_seq = 0
        self.since_ns = 0
        self.lowest = self.highest = NO_TIME
        self.repairs: list[Repair] = []
        self._clock = clock
        self._disk = disk
        self._inode = (0, 0)
        self._new_names = False  # folders that have to reach the disk with the next sync

    @property
    def fd_is_open(self) -> bool:
        """Whether it can be written."""
        return self.fd != CLOSED

    @property
    def is_there(self) -> bool:
        """Whether there is such a file, or it was there when it was opened."""
        return self.fd_is_open or self.path.exists()

    def open(self, head: Head | None) -> None:
        """Open it, made if missing, with its torn end mended; `head` spares reading all of it for the time span.

        Raises:
            OSError: That was not possible.
        """
        make_folder(self.path.parent)
        mended = repair(self.path, self.path.stem, folder=self.archive, clock=self._clock, disk=self._disk)
        if mended:
            self.repairs.append(mended)
        fd = self._disk.open_append(self.path)
        try:
            found = os.fstat(fd)
            self._inode, self.size, self.broken = (found.st_dev, found.st_ino), found.st_size, False
            self.lowest = self.highest = NO_TIME
            self.first_seq = self.since_ns = 0
            if self.size:
                self._look_inside(head)
        except BaseException:
            self._disk.close(fd)
            raise
        self._new_names = True
        self.fd = fd

    def begin(self, seq: int, received_ns: int) -> None:
        """Note what its first line is going to be."""
        self.first_seq, self.since_ns = seq, received_ns

    def span(self, ts: str) -> None:
        """Note the exchange time of a line."""
        if is_time(ts):
            if ts > self.highest or self.highest == NO_TIME:
                self.highest = ts
            if ts < self.lowest or self.lowest == NO_TIME:
                self.lowest = ts

    def holds(self, start: str, end: str) -> bool:
        """Whether it may hold a line with an exchange time from `start` to before `end`."""
        return self.lowest != NO_TIME and self.lowest < end and self.highest >= start

    def write(self, data: bytes, done: int = 0) -> int:
        """Write `data`, `done` bytes of which are there already; how many are then.

        Unless that is all of them, what is not a whole line has to be cut off.

        Raises:
            OSError: Nothing more could be written.
        """
        before = done
        self.broken = True
        while done < len(data):
            try:
                wrote = self._disk.write(self.fd, memoryview(data)[done:] if done else data)
            except OSError:
                if done == before:
                    raise
                return done
            if wrote <= 0:
                raise OSError(f"nothing could be written to {self.path}")
            done += wrote
        self.broken = False
        return done

    def cut(self) -> None:
        """Cut off what stands behind the last whole line; never lengthen the file.

        Raises:
            OSError: It could not be cut.
        """
        if self._disk.size(self.fd) > self.size:
            self._disk.truncate(self.fd, self.size)
        self.broken = False

    def is_ours(self) -> bool:
        """Whether the file in that place is still the one that is open, and as long as it was left."""
        try:
            found = self.path.stat()
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._inode and (self.broken or found.st_size == self.size)

    def sync(self) -> None:
        """Return when what was written would survive the machine.

        Raises:
            OSError: It may not.
        """
        if self.fd == CLOSED:
            return
        self._disk.sync(self.fd)
        if self._new_names:
            self._sync_folder(self.path.parent)
            self._sync_folder(self.archive)
            self._new_names = False

    def write_again(self, data: bytes, end: int) -> None:
        """Write `data` once more to where it stands, up to `end`, so that the next sync cannot leave it out.

        Raises:
            OSError: It could not be written.
        """
        fd = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.lseek(fd, end - len(data), os.SEEK_SET)
            left = memoryview(data)
            while left:
                wrote = self._disk.write(fd, left)
                if wrote <= 0:
                    raise OSError(f"nothing could be written to {self.path}")
                left = left[wrote:]
        finally:
            os.close(fd)

    def put_away(self) -> Path:
        """Move it to the archive, under a name that tells its time span; the next line begins a new one.

        Raises:
            OSError: It stays where it is.
        """
        make_folder(self.archive)
        now = rfc3339(self._now()) if self.lowest == NO_TIME else ""
        target = free_path(self.archive, self.first_seq, now or self.lowest, now or self.highest)
        self.path.rename(target)
        self._new_names = True
        self.close()
        self.size = self.first_seq = 0
        self.lowest = self.highest = NO_TIME
        return target

    def received(self, line: bytes) -> int:
        """When a line says it was received; else now."""
        try:
            return epoch_ns((record(line) or {})["received"])
        except Exception:  # no record, no time in it, or none that can be told
            return self._now()

    def close(self) -> None:
        """Give the descriptor back; a later `open` takes it up again."""
        fd = self.fd
        if fd != CLOSED:
            with contextlib.suppress(OSError):
                if self.broken:
                    self.cut()
            self.fd = CLOSED
            with contextlib.suppress(OSError):
                self._disk.close(fd)

    def abandon(self) -> None:
        """In a forked child: give up the descriptor without touching the file."""
        fd, self.fd = self.fd, CLOSED
        if fd != CLOSED:
            with contextlib.suppress(OSError):
                os.close(fd)

    def _look_inside(self, head: Head | None) -> None:
        """Learn from the lines what the archive's name will have to tell."""
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            first = next((line for block in blocks(fd, 0, self.size) for line in block if seq_of(line)), b"")
            self.begin(seq_of(first), self.received(first))
            at = 0
            if head is not None and head.first_seq == self.first_seq:
                self.lowest, self.highest = head.lowest, head.highest
                at = place(fd, self.size, head.seq)
            for block in blocks(fd, at, self.size):
                for line in block:
                    self.span(told_time(line).decode("ascii", "replace"))
        finally:
            os.close(fd)

    def _now(self) -> int:
        try:
            return self._clock.time_ns()
        except Exception:  # a clock of the bot's own
            return 0

    def _sync_folder(self, path: Path) -> None:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            self._disk.sync(fd)
        finally:
            os.close(fd)


def is_time(ts: Any) -> bool:
    """Whether it is a time as lines have it, that the head has room for."""
    return type(ts) is str and len(ts) == _WIDTH and ts[-1] == "Z" and ts.isascii()
