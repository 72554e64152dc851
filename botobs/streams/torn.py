"""What a crash leaves at the end of a file: found, set aside, reported."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

import attrs
import orjson

from botobs.streams.disk import make_folder
from botobs.streams.names import compact

if TYPE_CHECKING:
    from pathlib import Path

    from botobs.clock import Clock
    from botobs.streams.disk import Disk

__all__ = ["Repair", "last_line_end", "repair"]

_BLOCK = 65_536
_LARGEST_RECORD = 16 << 20  # a torn line beyond this is not even tried as JSON


@attrs.frozen
class Repair:
    """A torn end that was found and mended.

    Attributes:
        stream: Whose file it was.
        bytes: How many broken bytes were set aside; 0 when only the line end was missing and nothing is lost.
        where: The file that holds them now; the live file itself when they could not be moved.
    """

    stream: str
    bytes: int
    where: str


def repair(path: Path, stream: str, *, folder: Path, clock: Clock, disk: Disk) -> Repair | None:
    """Make the file at `path` end in a whole line again.

    Broken bytes move to a `.torn` file in `folder`. Where that is impossible they stay and get a line end, so
    that what follows them is readable.

    Raises:
        OSError: Neither was possible; the file is as it was.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        size = os.fstat(fd).st_size
        whole = _whole_size(fd, size)
        if whole == size:
            return None
        if size - whole <= _LARGEST_RECORD and _is_record(os.pread(fd, size - whole, whole)):
            _append(path, b"\n", disk)
            return Repair(stream, 0, str(path))
        try:
            where = _set_aside(fd, whole, size, folder / f"{stream}-{compact(clock.time_ns())}", disk)
        except OSError:
            _append(path, b"\n", disk)
            return Repair(stream, size - whole, str(path))
        disk.truncate(fd, whole)
        return Repair(stream, size - whole, str(where))
    finally:
        os.close(fd)


def _whole_size(fd: int, size: int) -> int:
    """Where the last whole line ends; one with zero bytes in it, left by a machine's crash, is not whole."""
    end = size
    while end:
        cut = last_line_end(fd, end)
        if cut < end:
            end = cut
            continue
        start = last_line_end(fd, end - 1)
        if not _has_zero(fd, start, end):
            return end
        end = start
    return 0


def last_line_end(fd: int, end: int) -> int:
    """The position after the last line end within the first `end` bytes; 0: there is none."""
    while end > 0:
        start = max(0, end - _BLOCK)
        found = os.pread(fd, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _has_zero(fd: int, start: int, end: int) -> bool:
    return any(b"\0" in os.pread(fd, min(_BLOCK, end - at), at) for at in range(start, end, _BLOCK))


def _is_record(text: bytes) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except ValueError:
        return False


def _append(path: Path, data: bytes, disk: Disk) -> None:
    fd = disk.open_append(path)
    try:
        if disk.write(fd, data) != len(data):
            raise OSError(f"short write to {path}")
    finally:
        disk.close(fd)


def _set_aside(fd: int, start: int, end: int, base: Path, disk: Disk) -> Path:
    make_folder(base.parent)
    turns = ("" if turn == 0 else f"-{turn}" for turn in itertools.count())
    names = (base.with_name(f"{base.name}{turn}.torn") for turn in turns)
    where = next(name for name in names if not name.exists())
    out = disk.open_append(where)
    try:
        at = start
        while at < end:
            block = os.pread(fd, min(_BLOCK, end - at), at)
            written = disk.write(out, block) if block else 0
            if not written:
                raise OSError(f"cannot set aside the torn end in {where}")
            at += written
        disk.sync(out)
    except OSError:
        where.unlink(missing_ok=True)
        raise
    finally:
        disk.close(out)
    return where
