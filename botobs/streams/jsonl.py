"""One live file of whole lines: append, cut back what failed, rotate."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from typing import TYPE_CHECKING

import orjson

from botobs.clock import epoch_ns
from botobs.streams.disk import make_folder
from botobs.streams.names import Archived
from botobs.streams.torn import Repair, repair

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from botobs.clock import Clock
    from botobs.faults import Faults
    from botobs.streams.archive import ArchiveFolder
    from botobs.streams.disk import Disk

__all__ = ["JsonlFile"]

_CLOSED = -1
_LOOK_S = 1.0  # how often to see whether somebody took the live file away
_ROTATE_AGAIN_S = 60.0  # after a rotation that failed


class JsonlFile:
    """Appends whole lines to the live file of one stream. Not thread-safe: its owner takes turns.

    Nothing is opened before the first line, so that unused streams leave no empty files.

    Args:
        path: The live file.
        rotate_bytes: Rotate when it has grown to this size.
        rotate_ns: Rotate when its first record is older than this.
        clock: Tells the age.
        disk: The way to the operating system.
        faults: Gets what fails.
        archive: Takes what was rotated.
        stream: The stream's name, for names in the archive; the file's by default.

    Attributes:
        batch: The last batch that was written whole, as `append` was told; whoever was interrupted looks here.
        repairs: Torn ends found and mended.
    """

    def __init__(
        self,
        path: Path,
        *,
        rotate_bytes: int,
        rotate_ns: int,
        clock: Clock,
        disk: Disk,
        faults: Faults,
        archive: ArchiveFolder,
        stream: str | None = None,
    ) -> None:
        self.path = path
        self.stream = stream or path.stem
        self.batch = 0
        self.repairs: list[Repair] = []
        self._rotate_bytes = rotate_bytes
        self._rotate_ns = rotate_ns
        self._clock = clock
        self._disk = disk
        self._faults = faults
        self._archive = archive
        self._fd = _CLOSED
        self._inode = (0, 0)
        self._size = 0
        self._first: bytes | None = None  # the first line, from which the archive gets its name
        self._since = 0  # from when its age counts
        self._broken = False  # the end may hold part of a line that could not be cut off
        self._unsynced = False
        self._left: list[Path] = []  # rotated files that were not synced as yet
        self._look_at = 0.0
        self._rotate_after = 0.0

    def append(self, lines: bytes | Sequence[bytes | bytearray], batch: int = 0) -> bool:
        """Append whole lines, or chunks of whole lines; False if that failed, and then none was written.

        Args:
            lines: What to append.
            batch: What `batch` says from the moment on in which all of it is in the file.
        """
        chunks = (lines,) if isinstance(lines, bytes) else lines
        try:
            self._ready(len(chunks[0]))
            if not self._size:
                self._first, self._since = bytes(chunks[0][: chunks[0].index(b"\n")]), self._clock.time_ns()
            self._write(chunks, batch)
        except Exception as error:
            self._faults.error("streams.write", error)
            return False
        return True

    def sync(self) -> bool:
        """Return when what was appended would survive the machine; False if that failed."""
        try:
            for path in self._left:
                with contextlib.suppress(FileNotFoundError):  # compressed meanwhile, and that was synced
                    self._sync_path(path)
            self._left = []
            if self._unsynced and self._fd != _CLOSED:
                self._disk.sync(self._fd)
                self._sync_path(self.path.parent)
                self._unsynced = False
        except Exception as error:
            self._faults.error("streams.sync", error)
            return False
        return True

    def close(self) -> None:
        """Close the file; a later `append` opens it again."""
        fd, self._fd = self._fd, _CLOSED
        if fd != _CLOSED:
            with contextlib.suppress(OSError):
                if self._broken:
                    self._cut(fd)
            with contextlib.suppress(OSError):
                self._disk.close(fd)

    def abandon(self) -> None:
        """Give up the descriptor without touching the file: after a fork, in the child."""
        fd, self._fd, self._broken = self._fd, _CLOSED, False
        if fd != _CLOSED:
            with contextlib.suppress(OSError):
                os.close(fd)

    def _ready(self, coming: int) -> None:
        now = time.monotonic()
        if self._fd != _CLOSED and now >= self._look_at:
            self._look(now)
        if self._fd == _CLOSED:
            self._open(now)
        if self._broken:
            self._cut(self._fd)
        if coming and self._due() and now >= self._rotate_after:
            self._rotate(now)
            if self._fd == _CLOSED:
                self._open(now)

    def _look(self, now: float) -> None:
        """Follow what others did to the live file: taken away, replaced, or cut."""
        self._look_at = now + _LOOK_S
        try:
            found = self.path.stat()
        except FileNotFoundError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != self._inode:
            self._faults.say("streams", self.stream, f"{self.path} was taken away; starting a new one")
            self.close()
        elif not self._broken:
            self._size = found.st_size

    def _open(self, now: float) -> None:
        make_folder(self.path.parent)
        mended = repair(self.path, self.stream, folder=self._archive.folder, clock=self._clock, disk=self._disk)
        if mended:
            self.repairs.append(mended)
        fd = self._disk.open_append(self.path)
        try:
            found = os.fstat(fd)
            self._first, self._since = self._head() if found.st_size else (None, 0)
        except BaseException:
            self._disk.close(fd)
            raise
        self._inode, self._size, self._broken = (found.st_dev, found.st_ino), found.st_size, False
        self._look_at = now + _LOOK_S
        self._fd = fd

    def _head(self) -> tuple[bytes, int]:
        with self.path.open("rb") as file:
            first = file.readline(1 << 20)
        return first, _ts(first, self._clock.time_ns())

    def _due(self) -> bool:
        if not self._size:
            return False
        return self._size >= self._rotate_bytes or self._clock.time_ns() - self._since > self._rotate_ns

    def _rotate(self, now: float) -> None:
        name = Archived.of(self.stream, _ts(self._first or b"", self._since))
        try:
            make_folder(self._archive.folder)
            names = (self._archive.folder / name._replace(turn=turn).file_name for turn in itertools.count())
            target = next(path for path in names if not _taken(path))
            self.path.rename(target)
        except OSError as error:  # goes on in the same file
            self._rotate_after = now + _ROTATE_AGAIN_S
            self._faults.error("streams.rotate", error)
            return
        if self._unsynced:
            self._left.append(target)
        self.close()
        self._size, self._unsynced = 0, False
        self._archive.add(target)

    def _write(self, chunks: Sequence[bytes | bytearray], batch: int) -> None:
        done, size = 0, sum(map(len, chunks))
        self._unsynced = True
        try:
            while done < size:
                left = chunks if not done else (b"".join(chunks)[done:],)
                wrote = self._disk.write_all(self._fd, left)
                if wrote <= 0:
                    raise OSError(f"nothing could be written to {self.path}")
                done += wrote
            # no call between the two: what a signal handler raises comes before both, and all is cut off, or after both
            self._size, self.batch = self._size + done, batch
        except BaseException:
            # even with nothing counted as written: an interrupted call may have left a part
            self._broken = True
            with contextlib.suppress(OSError):
                self._cut(self._fd, done)
            raise

    def _cut(self, fd: int, part: int = 0) -> None:
        """Cut the file back to the last line that was confirmed; never lengthen it."""
        size = self._disk.size(fd)
        if size < self._size:  # somebody cut it meanwhile, and `part` bytes of ours came after that
            self._size = size - min(part, size)
        if size > self._size:
            self._disk.truncate(fd, self._size)
        self._broken = False

    def _sync_path(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._disk.sync(fd)
        finally:
            os.close(fd)


def _ts(line: bytes, default: int) -> int:
    """When the record in `line` says it was made."""
    try:
        return epoch_ns(orjson.loads(line)["ts"])
    except Exception:  # no record, no time in it, or none that can be told
        return default


def _taken(path: Path) -> bool:
    return path.exists() or path.with_name(f"{path.name}.gz").exists()
