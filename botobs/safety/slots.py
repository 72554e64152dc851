"""A small file of two slots that are written in turn, in place: it takes no room on a full disk.

Each slot is one line of JSON of a fixed length with a checksum over every byte of it. The slot with the higher
`seq` is what holds; a crash in the middle of a write leaves the other one whole, and the torn one is seen as torn.
"""

from __future__ import annotations

import os
import time
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson

from botobs.datadir import atomic_write
from botobs.streams.encode import dumps

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Found", "SlotFile", "TooLong", "look", "pack"]

_LOOKS: Final = 5  # somebody may be in the middle of a write
_LOOK_AGAIN_S: Final = 0.002
_SETTLED_NS: Final = 100_000_000  # a file that was last written so long ago cannot be written again at the same time
_TAIL: Final = len(b',"check":"0123456789abcdef"}\n')


class TooLong(ValueError):  # noqa: N818  # a verdict, not an error
    """The record does not fit into a slot."""


@attrs.frozen
class Found:
    """What a file of two slots holds.

    Attributes:
        record: The newest slot that is whole; `None`: there is none.
        damage: What is wrong with the file; `None`: nothing.
        missing: There is no file.
        image: Its bytes.
    """

    record: dict[str, Any] | None
    damage: str | None = None
    missing: bool = False
    image: bytes = b""


def pack(record: dict[str, Any], size: int) -> bytes:
    """`record` as a slot of `size` bytes.

    Raises:
        TooLong: It does not fit.
    """
    body = dumps(record)[:-1]
    if len(body) > size - _TAIL:
        raise TooLong(f"{len(body)} bytes")
    body = body.ljust(size - _TAIL)
    return b'%b,"check":"%b"}\n' % (body, _check(body))


def _check(body: bytes) -> bytes:
    return blake2b(body, digest_size=8).hexdigest().encode()


def _unpack(slot: bytes) -> dict[str, Any] | None:
    body = slot[:-_TAIL]
    if slot[-_TAIL:] != b',"check":"%b"}\n' % _check(body):
        return None
    try:
        record = orjson.loads(slot)
    except ValueError:
        return None
    return record if isinstance(record, dict) and type(record.get("seq")) is int else None


def parse(image: bytes) -> Found:
    """What the bytes of a file say."""
    size = len(image) // 2
    if not image:
        return Found(None, "it is empty", image=image)
    if size <= _TAIL or len(image) % 2:
        return Found(None, f"it has {len(image)} bytes", image=image)
    slots = [_unpack(image[:size]), _unpack(image[size:])]
    whole = [slot for slot in slots if slot is not None]
    damage = None if len(whole) == 2 else "its checksum is wrong" if not whole else "half of it is damaged"
    return Found(max(whole, key=lambda slot: slot["seq"], default=None), damage, image=image)


def look(path: Path) -> Found:
    """What the file at `path` holds; looks again before it speaks of damage."""
    found = Found(None, missing=True)
    for turn in range(_LOOKS):
        if turn:
            time.sleep(_LOOK_AGAIN_S)
        try:
            found = parse(path.read_bytes())
        except FileNotFoundError:
            return Found(None, missing=True)
        except OSError as error:
            found = Found(None, f"it cannot be read: {error.strerror or type(error).__name__}")
        if found.damage is None:
            break
    return found


class SlotFile:
    """Writes such a file. Whoever uses it holds a lock of his own.

    Args:
        path: The file.
        size: The length of a slot.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        self.image = b""
        self._fd = -1
        self.seen: tuple[int, int, int] | None = None  # which file it was, and when written, when it said `image`

    def open(self) -> Found:
        """Look what is there, and be ready to write over it."""
        self.close()
        found = look(self.path)
        self.image = found.image
        if not found.missing:
            try:
                self._fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
            except OSError as error:
                return Found(None, f"it cannot be opened: {error.strerror or type(error).__name__}")
            if found.damage is None:
                self.size = len(found.image) // 2
        return found

    def lay_out(self, record: dict[str, Any]) -> None:
        """Make the file anew, both slots full, so that later writes need no room.

        Raises:
            OSError: It cannot be made.
            TooLong: `record` does not fit.
        """
        image = pack({**record, "seq": record["seq"] - 1}, self.size) + pack(record, self.size)
        if record["seq"] % 2 == 0:
            image = image[self.size :] + image[: self.size]
        atomic_write(self.path, image)
        fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        self.close()
        self._fd, self.image = fd, image

    def write(self, record: dict[str, Any]) -> None:
        """Put `record` into the slot whose turn it is.

        Raises:
            OSError: The operating system did not take it.
            TooLong: It does not fit.
        """
        slot = pack(record, self.size)
        at = self.size * (record["seq"] % 2)
        if self._fd == -1 or len(self.image) != 2 * self.size:
            raise OSError(f"{self.path} is not laid out")
        if os.pwrite(self._fd, slot, at) != self.size:
            raise OSError(f"short write to {self.path}")
        self.image = self.image[:at] + slot + self.image[at + self.size :]

    def again(self, seq: int) -> None:
        """Write the slot of `seq` once more, if it is there: what somebody else has written meanwhile stays.

        Raises:
            OSError: The operating system did not take it.
        """
        at = self.size * (seq % 2)
        slot = self.image[at : at + self.size]
        if self._fd == -1 or len(slot) != self.size:
            raise OSError(f"{self.path} is not laid out")
        if os.pread(self._fd, self.size, at) == slot and os.pwrite(self._fd, slot, at) != self.size:
            raise OSError(f"short write to {self.path}")

    def empty(self) -> None:
        """Take everything out: the last resort that needs no room.

        Raises:
            OSError: Not even that.
        """
        if self._fd == -1:
            raise OSError(f"{self.path} is not open")
        os.ftruncate(self._fd, 0)
        self.image = b""

    def changed(self, *, thorough: bool = False) -> bool:
        """Whether the file is another than the one written last, or says something else.

        Each call of the system lets the bot's thread go and waits for it again, so there is usually one: it tells when
        the file was written. A time that is too fresh to tell one write from the next is not relied upon.

        Args:
            thorough: Do not rely on the times of files.
        """
        try:
            now, found = time.time_ns(), self.path.stat()
            seen = (found.st_ino, found.st_mtime_ns, found.st_size)
            if seen == self.seen and not thorough:
                return False
            self.seen = None
            if self._fd == -1 or found.st_ino != os.fstat(self._fd).st_ino:
                return True
            if os.pread(self._fd, len(self.image) + 1, 0) != self.image:
                return True
        except OSError:
            self.seen = None
            return True
        if now - found.st_mtime_ns > _SETTLED_NS:
            self.seen = seen
        return False

    def sync(self) -> None:
        """Return when what was written would survive the machine.

        Raises:
            OSError: The disk failed.
        """
        fd = self._fd
        if fd == -1:
            raise OSError(f"{self.path} is not open")
        try:
            os.fsync(fd)
        except OSError:
            if fd == self._fd:
                raise
            # it was laid out anew meanwhile, or closed, by who syncs it

    def close(self) -> None:
        """Give the descriptor back."""
        self.seen = None
        fd, self._fd = self._fd, -1
        if fd != -1:
            os.close(fd)
