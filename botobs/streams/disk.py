"""The seam between the writer and the operating system: few calls, so that a test can be a bad disk."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Disk", "make_folder"]

_fdatasync = getattr(os, "fdatasync", os.fsync)  # macOS has only the latter


class Disk:
    """The real disk. Every method may raise `OSError`."""

    def open_append(self, path: Path) -> int:
        """Open `path` for appending, made if missing, readable by its owner only."""
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, fd: int, data: bytes | bytearray | memoryview) -> int:
        """Write some of `data`; how many bytes."""
        return os.write(fd, data)

    def write_all(self, fd: int, chunks: Sequence[bytes | bytearray]) -> int:
        """Write some of `chunks`, in one call; how many bytes."""
        if type(self).write is not Disk.write:  # somebody stands in the way: so does he here
            return self.write(fd, b"".join(chunks))
        return os.writev(fd, chunks)

    def truncate(self, fd: int, size: int) -> None:
        """Cut the file to `size` bytes."""
        os.ftruncate(fd, size)

    def sync(self, fd: int) -> None:
        """Return when what was written would survive the machine."""
        _fdatasync(fd)

    def size(self, fd: int) -> int:
        """The file's size in bytes."""
        return os.fstat(fd).st_size

    def close(self, fd: int) -> None:
        """Give the descriptor back."""
        os.close(fd)


def make_folder(path: Path) -> None:
    """Make `path` and what is missing above it, each for its owner only."""
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    if not path.is_dir():
        raise NotADirectoryError(f"not a folder: {path}")
