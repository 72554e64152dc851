"""What the ledger knows of its own end, kept apart from it, so that a missing last line is noticed.

Fixed in size and written in place: it takes no room on a full disk and no time worth mentioning.
"""

from __future__ import annotations

import os
import threading
from binascii import hexlify, unhexlify
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

from botobs.streams.disk import make_folder

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["NO_TIME", "Head", "HeadFile", "read_head"]

NO_TIME: Final = "-" * 27  # where no line has told a time; fixed in width like those
_NAME: Final = "botobs-ledger-head 1"
_MAGIC: Final = _NAME.encode()
_EMPTY: Final = blake2b(digest_size=8)
_SIZE: Final = 20 + 1 + 20 + 1 + 32 + 1 + 20 + 1 + 27 + 1 + 27 + 1 + 16 + 1
_LOOKS: Final = 5  # a reader may look in the middle of a write


class Head(NamedTuple):
    """The end of the ledger.

    Attributes:
        seq: The last durable line.
        digest: Its hash.
        first_seq: The first line of the live file; 0: it has none.
        lowest: The earliest exchange time in the live file up to `seq`, or `NO_TIME`.
        highest: The latest.
    """

    seq: int
    digest: bytes
    first_seq: int
    lowest: str
    highest: str


def read_head(path: Path) -> Head | None:
    """What the file at `path` says; None if there is none.

    Raises:
        ValueError: It is damaged.
        OSError: It cannot be read.
    """
    for _ in range(_LOOKS):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        head = _parsed(data)
        if head is not None:
            return head
    raise ValueError(f"damaged: {path}")


class HeadFile:
    """Writes the head. Opened with the first write.

    Args:
        path: The file.

    Attributes:
        seq: The line that was written last.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self.seq = 0
        self._lock = threading.RLock()

    def write(self, head: Head) -> None:
        """Put `head` in the place of what was, unless that is newer already.

        Raises:
            OSError: It could not be written.
        """
        seq = head.seq
        with self._lock:
            if seq < self.seq:
                return
            if self._fd == -1:
                make_folder(self._path.parent)
                self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                os.ftruncate(self._fd, _SIZE)
            # not through `Disk`: written over what is there, it needs no room that a test could take away
            if os.pwrite(self._fd, _packed(head), 0) != _SIZE:
                raise OSError(f"short write to {self._path}")
            self.seq = seq

    def close(self) -> None:
        """Give the descriptor back; a later `write` opens it again."""
        with self._lock:
            fd, self._fd = self._fd, -1
            if fd != -1:
                os.close(fd)

    def abandon(self) -> None:
        """In a forked child: let go, and wait for nobody."""
        self._lock = threading.RLock()
        fd, self._fd = self._fd, -1
        if fd != -1:
            os.close(fd)


def _packed(head: Head) -> bytes:
    seq, digest, first_seq, lowest, highest = head
    body = f"{_NAME} {seq:020d} {digest.hex()} {first_seq:020d} {lowest} {highest} ".encode()
    return b"%b%b\n" % (body, _checksum(body))


def _parsed(data: bytes) -> Head | None:
    if len(data) != _SIZE or not data.startswith(_MAGIC) or data[-17:-1] != _checksum(data[:-17]):
        return None
    seq, digits, first_seq, lowest, highest = data[len(_MAGIC) + 1 : -18].split(b" ")
    return Head(int(seq), unhexlify(digits), int(first_seq), lowest.decode(), highest.decode())


def _checksum(body: bytes) -> bytes:
    digest = _EMPTY.copy()  # half the time of making one
    digest.update(body)
    return hexlify(digest.digest())
