"""A data directory as it was at one moment, while a bot goes on writing there.

What a crash at that moment would have left: first the state, then the streams, last the ledger. So nothing in the
copy knows of a fill that its ledger lacks, and trades that lack their record get it at the next start, as
after a crash. Files that grow are opened at once, and read up to the last whole line of that moment; what is rotated,
compressed or replaced meanwhile is still read through what was opened.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, Final, Self

import attrs

from botobs.accounting.ledger.reading import Reader
from botobs.backup.errors import BackupError
from botobs.backup.manifest import is_ours
from botobs.streams.torn import last_line_end

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

__all__ = ["Cut", "Source"]

_SMALL: Final = 1 << 20  # up to here a file is looked at twice: some are written in place
_LOOKS: Final = 20
# the holder's name, its sign of life, and what was asked of it: of a process, not of the account
_OF_THE_RUN: Final = {"state/lock", "state/alive", "state/kill_switch.drill", "state/kill_switch.drilled"}
_UNFINISHED: Final = (".tmp", ".new", ".part")


@attrs.frozen
class Source:
    """A file to copy.

    Attributes:
        path: Where it lies in the data directory.
        size: How much of it.
        mtime_ns: When it was written last.
        settled: It does not change any more.
        fd: It is open; -1: it is not.
        data: It was read already.
    """

    path: str
    size: int
    mtime_ns: int
    settled: bool = False
    fd: int = -1
    data: bytes | None = None


class Cut:
    """A data directory at one moment. A context manager: it holds files open.

    Args:
        root: The data directory.

    Attributes:
        sources: Its files.
        lines: The last line of the ledger.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._opened: list[int] = []
        self.sources: list[Source] = []
        self.lines = 0
        try:
            self.sources += self._state()
            self.sources += self._streams()
            self.sources += self._ledger()
        except BaseException:
            self.close()
            raise

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(source.size for source in self.sources)

    def pieces(self, source: Source, size: int) -> Iterator[bytes]:
        """The bytes of a file, in pieces of `size`.

        Raises:
            FileNotFoundError: It was taken away.
            BackupError: It lost bytes meanwhile.
            OSError: It cannot be read.
        """
        if source.data is not None:
            yield from (source.data[at : at + size] for at in range(0, len(source.data), size))
            return
        fd = source.fd if source.fd != -1 else os.open(self._root / source.path, _READ)
        try:
            at = 0
            while at < source.size:
                piece = _pread(fd, min(size, source.size - at), at)
                if not piece:
                    raise BackupError(f"{self._root / source.path} became shorter while it was read")
                yield piece
                at += len(piece)
        finally:
            if source.fd == -1:
                os.close(fd)

    def again(self, source: Source) -> Source | None:
        """The same file after it was compressed meanwhile; `None`: it was taken away."""
        path = f"{source.path}.gz"
        return next(self._settled([path]), None)

    def close(self) -> None:
        """Close what is open."""
        opened, self._opened = self._opened, []
        for fd in opened:
            with contextlib.suppress(OSError):
                os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _state(self) -> list[Source]:
        """Small files that are replaced as a whole, or written in place."""
        found = (self._grows(path) if path.endswith(".jsonl") else self._whole(path) for path in self._files("state"))
        return [source for source in found if source is not None]

    def _streams(self) -> list[Source]:
        """Streams, their archives, and what is kept beside them."""
        for turn in range(_LOOKS):
            live, others = self._grown(), list(self._others())
            if turn == _LOOKS - 1 or all(self._is_still(source) for source in live):
                break
            for source in live:  # one was rotated in between: it could be found twice, or not at all
                self._opened.remove(source.fd)
                os.close(source.fd)
        archived = {self._inode_of(path) for path in others}
        live = [source for source in live if _inode(os.fstat(source.fd)) not in archived]
        kept = (self._whole(path) for path in others if not _is_archive(path))
        return [
            *live,
            *(source for source in kept if source is not None),
            *self._settled([path for path in others if _is_archive(path)]),
        ]

    def _ledger(self) -> list[Source]:
        reader = Reader(self._root)
        parts = reader.parts()
        try:
            self.lines = reader.last(parts)[0]
            named = [part.path.relative_to(self._root).as_posix() for part in parts if part.fd == -1]
            live = [
                self._up_to_last_line("metrics/fills.jsonl", os.dup(part.fd), part.size)
                for part in parts
                if part.fd != -1
            ]
        finally:
            reader.done(parts)
        return [*self._settled(named), *live]

    def _grown(self) -> list[Source]:
        """Live streams, open."""
        found = []
        for path in self._files("logs", "metrics"):
            if path.endswith(".jsonl") and not _is_archive(path) and path != "metrics/fills.jsonl":
                source = self._grows(path)
                if source is not None:
                    found.append(source)
        return found

    def _grows(self, path: str) -> Source | None:
        """A file that lines are appended to; `None`: it is gone."""
        try:
            fd = os.open(self._root / path, _READ)
        except FileNotFoundError:
            return None
        return self._up_to_last_line(path, fd)

    def _others(self) -> Iterator[str]:
        """What is neither state, nor a live stream, nor of the ledger."""
        # twice: a file that is compressed while a folder is listed may be passed over under both its names
        known = {path for _ in range(2) for path in self._files("logs", "metrics", *self._put_aside())}
        for path in sorted(known):
            is_ledger = path.startswith("metrics/archive/fills-") and path.endswith(".jsonl")
            if not is_ledger and (_is_archive(path) or not path.endswith(".jsonl")) and f"{path}.gz" not in known:
                yield path

    def _settled(self, paths: list[str]) -> Iterator[Source]:
        for path in paths:
            for name in (path, f"{path}.gz"):  # it may have been compressed meanwhile
                with contextlib.suppress(FileNotFoundError):
                    found = (self._root / name).stat()
                    yield Source(name, found.st_size, found.st_mtime_ns, settled=True)
                    break

    def _whole(self, path: str) -> Source | None:
        """A file at one moment of its life; `None`: it is gone."""
        try:
            fd = os.open(self._root / path, _READ)
        except FileNotFoundError:
            return None
        found = os.fstat(fd)
        if found.st_size > _SMALL:  # these are replaced as a whole
            self._opened.append(fd)
            return Source(path, found.st_size, found.st_mtime_ns, fd=fd)
        try:
            data, again = b"", _pread(fd, _SMALL, 0)
            for _ in range(_LOOKS):
                data, again = again, _pread(fd, _SMALL, 0)
                if data == again:
                    break
        finally:
            os.close(fd)
        return Source(path, len(data), found.st_mtime_ns, data=data)

    def _up_to_last_line(self, path: str, fd: int, size: int | None = None) -> Source:
        self._opened.append(fd)
        found = os.fstat(fd)
        end = last_line_end(fd, found.st_size if size is None else size)
        return Source(path, end, found.st_mtime_ns, fd=fd)

    def _is_still(self, source: Source) -> bool:
        return self._inode_of(source.path) == _inode(os.fstat(source.fd))

    def _inode_of(self, path: str) -> tuple[int, int] | None:
        try:
            return _inode((self._root / path).stat())
        except OSError:
            return None

    def _put_aside(self) -> list[str]:
        """The folders of `botobs reset`."""
        with os.scandir(self._root) as found:
            names = [each.name for each in found if each.is_dir(follow_symlinks=False)]
        return sorted(name for name in names if name.startswith("archive-"))

    def _files(self, *folders: str) -> Iterator[str]:
        """Plain files under some folders that are finished and may be copied, however deep."""
        for folder in folders:
            for above, below, names in os.walk(self._root / folder, onerror=_refused):
                below.sort()
                for name in sorted(names):
                    path = os.path.relpath(os.path.join(above, name), self._root)  # noqa: PTH118  # names, not paths
                    hidden = name.startswith(".") or name.endswith(_UNFINISHED)
                    if not hidden and path not in _OF_THE_RUN and is_ours(path) and self._is_plain(path):
                        yield path

    def _is_plain(self, path: str) -> bool:
        try:
            return stat.S_ISREG((self._root / path).lstat().st_mode)
        except FileNotFoundError:  # any other error: a backup that lacks it must not pass for a whole one
            return False


_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def _is_archive(path: str) -> bool:
    return path.startswith(("logs/archive/", "metrics/archive/", "archive-"))


def _inode(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _refused(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _pread(fd: int, size: int, at: int) -> bytes:
    """As much of `size` bytes as there are."""
    found = os.pread(fd, size, at)
    while 0 < len(found) < size and (more := os.pread(fd, size - len(found), at + len(found))):
        found += more
    return found
