"""Reading the ledger's files, while somebody may be writing and rotating them.

The live file is opened before the archive is listed. If it is rotated in between, the same file is found there and
read once; so no line is missed and none is read twice.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING, Final

import attrs
import orjson

from botobs.accounting.ledger.chain import FIRST, digest_of, is_sealed, seq_of
from botobs.accounting.ledger.scan import backwards, blocks, place
from botobs.accounting.ledger.volumes import Volume, squeezed, volumes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["Part", "Reader", "record", "told_time"]

_TIME: Final = re.compile(rb'\{"seq":[0-9]+,"type":"[a-z_]*","ts":"([0-9T:.Z-]{27})"')


@attrs.frozen
class Part:
    """One file to read.

    Attributes:
        path: Where it is.
        volume: What the name of an archived file tells; None: the live file.
        fd: The live file, opened before the archive was listed; -1 for an archived one, which keeps its name.
        size: How much of the live file is read.
    """

    path: Path
    volume: Volume | None = None
    fd: int = -1
    size: int = 0


class Reader:
    """Finds and reads lines in the files of one ledger.

    Args:
        root: The data directory.

    Attributes:
        opened: How many files were opened for reading so far.
    """

    def __init__(self, root: Path) -> None:
        self.live = root / "metrics" / "fills.jsonl"
        self.archive = root / "metrics" / "archive"
        self.opened = 0

    def parts(self, *, live: bool = True) -> list[Part]:
        """The files in the order of writing, as they are now. Who asks has to be `done` with them later.

        Args:
            live: Whether the live file as well.

        Raises:
            OSError: They cannot be read.
        """
        fd = self._open(self.live) if live else -1
        try:
            archived = volumes(self.archive)
            parts = [Part(volume.path, volume) for volume in archived]
            if fd != -1 and not _is_archived(fd, archived):
                parts.append(Part(self.live, None, fd, os.fstat(fd).st_size))
                fd = -1
            return parts
        finally:
            if fd != -1:
                os.close(fd)

    def done(self, parts: Sequence[Part]) -> None:
        """Close what was opened when the archive was listed."""
        for part in parts:
            if part.fd != -1:
                os.close(part.fd)

    def lines(self, parts: Sequence[Part], since: int, until: int) -> Iterator[tuple[int, bytes]]:
        """The lines from `since` to `until`, both included, with their numbers."""
        seq = 0
        for part in _from(parts, since):
            if part.volume is not None and part.volume.first_seq > until:
                return
            with self.opening(part) as (fd, size):
                for block in blocks(fd, place(fd, size, since), size):
                    for line in block:
                        seq += 1
                        if not line.startswith(b'{"seq":%d,' % seq):  # sooner seen than read
                            seq = seq_of(line)
                        if seq > until:
                            return
                        if seq >= since and seq:
                            yield seq, line

    def between(self, parts: Sequence[Part], start: str, end: str) -> Iterator[bytes]:
        """The lines with an exchange time from `start` to before `end`, from files whose span overlaps."""
        first, last = start.encode(), end.encode()
        earliest, latest = squeezed(start), squeezed(end)
        for part in parts:
            volume = part.volume
            if volume is not None and not (volume.start < latest and earliest <= volume.end):
                continue
            with self.opening(part) as (fd, size):
                for block in blocks(fd, 0, size):
                    for line in block:
                        if first <= told_time(line) < last:
                            yield line

    def find(self, parts: Sequence[Part], seq: int) -> bytes | None:
        """The line `seq`, if it is there."""
        return next((line for _, line in self.lines(parts, seq, seq)), None)

    def last(self, parts: Sequence[Part]) -> tuple[int, bytes]:
        """Number and hash of the last line; of none: 0, and what a first line follows.

        A line that lacks nothing but its end counts: the repair will give it one.
        """
        for part in reversed(parts):
            with self.opening(part) as (fd, size):
                for line in backwards(fd, size):
                    if is_sealed(line):
                        return seq_of(line), digest_of(line) or FIRST
        return 0, FIRST

    @contextlib.contextmanager
    def opening(self, part: Part) -> Iterator[tuple[int, int]]:
        """The descriptor and size of `part` for a block; an archived file that is gone by now is empty."""
        if part.fd != -1:
            yield part.fd, part.size
            return
        fd = self._open(part.path)
        try:
            yield fd, os.fstat(fd).st_size if fd != -1 else 0
        finally:
            if fd != -1:
                os.close(fd)

    def _open(self, path: Path) -> int:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return -1
        self.opened += 1
        return fd


def record(line: bytes) -> dict[str, object] | None:
    """What a line says; None if it was damaged."""
    try:
        found = orjson.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def told_time(line: bytes) -> bytes:
    """The exchange time that a line tells; empty if it tells none."""
    found = _TIME.match(line)
    if found is not None:
        return found[1]
    said = (record(line) or {}).get("ts") if seq_of(line) else None
    return said.encode() if isinstance(said, str) and len(said) == 27 else b""


def _from(parts: Sequence[Part], since: int) -> Sequence[Part]:
    """The parts that may hold the line `since` or a later one."""
    begins = [at for at, part in enumerate(parts) if part.volume is not None and part.volume.first_seq <= since]
    return parts[begins[-1] :] if begins else parts


def _is_archived(fd: int, archived: Sequence[Volume]) -> bool:
    """Whether the file was rotated after it had been opened: then it is one of the newest in the archive."""
    first = seq_of(os.pread(fd, 40, 0))
    own = os.fstat(fd)
    for volume in reversed(archived):
        if volume.first_seq < first:
            return False
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(own, volume.path.stat()):
                return True
    return False
