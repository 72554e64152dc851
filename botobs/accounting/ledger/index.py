"""Which fills the ledger has: small, flat in cost, and quick to save and load."""

from __future__ import annotations

import contextlib
import itertools
import os
import struct
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Self
from zlib import crc32

from botobs.quick import UNFIT, quick

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FillIndex"]

_SHELVES: Final = 65_536  # by the first two bytes of the key: 15 entries each in a million
_ENTRY: Final = struct.Struct("<8sII")  # key, content, line
_CONTENT: Final = struct.Struct("<II")
_WIDTH: Final = _ENTRY.size
_MAGIC: Final = b"botobs-fill-index 2\n"
_COVER: Final = struct.Struct("<20sQQI")  # magic, watermark, entries, checksum
_EMPTY: Final = blake2b(digest_size=8)
_SIZE: Final = struct.Struct("<I")
_SIZES: Final = struct.Struct(f"<{_SHELVES}I")


class FillIndex:
    r"""Finds a fill by its identity: the checksum of what it said, and the line it is in.

    Not thread-safe: its owner takes turns.

    Attributes:
        watermark: Up to which line of the ledger it is complete; kept when it is saved.

    Example:
        >>> index = FillIndex()
        >>> key = index.key("binance", "main", "BTCUSDT", "buy", "o1", "f1")
        >>> index.add(key, 77, 1)
        >>> index.get(key), index.get(b"\0" * 8), len(index)
        ((77, 1), None, 1)
    """

    __slots__ = ("_count", "_shelves", "watermark")

    def __init__(self) -> None:
        self.watermark = 0
        self._count = 0
        self._shelves: list[bytearray | None] = [None] * _SHELVES

    @staticmethod
    def key(*identity: str | None) -> bytes:
        """Eight bytes for (venue, account, symbol, side, order_id, fill_id)."""
        try:
            text = "\0".join(identity)  # type: ignore[arg-type]
        except TypeError:
            identity = tuple([part or "" for part in identity])
            text = "\0".join(identity)  # type: ignore[arg-type]
        if text.count("\0") >= len(identity) > 0:  # one of them brings such a character along
            text = repr(list(identity))
        digest = _EMPTY.copy()  # half the time of making one
        digest.update(text.encode("utf-8", "surrogatepass"))
        return digest.digest()

    @staticmethod
    def begun(*identity: str | None) -> Any:
        r"""The hash of the first parts of a key, to be gone on with: the others, with a `\0` between them.

        `None`: one of the parts has such a character itself, and only `key` tells them apart.
        """
        text = "\0".join([part or "" for part in identity])
        if text.count("\0") >= len(identity):
            return None
        digest = _EMPTY.copy()
        digest.update(f"{text}\0".encode("utf-8", "surrogatepass"))
        return digest

    def get(self, key: bytes) -> tuple[int, int] | None:
        """The checksum of the content and the line of the fill `key`; None if there is none."""
        shelf = self._shelves[key[0] << 8 | key[1]]
        if shelf is None:
            return None
        at = shelf.find(key)
        while at & 15:  # found across two entries, or not at all
            if at < 0:
                return None
            at = shelf.find(key, at + 1)
        return _CONTENT.unpack_from(shelf, at + 8)

    def add(self, key: bytes, crc: int, seq: int) -> None:
        """Enter the fill `key`, in the place of what was entered for it before."""
        number = key[0] << 8 | key[1]
        shelf = self._shelves[number]
        at = -1
        if shelf is None:
            self._shelves[number] = shelf = bytearray()
        else:
            at = shelf.find(key)
            while at > 0 and at & 15:
                at = shelf.find(key, at + 1)
        if at >= 0:
            _ENTRY.pack_into(shelf, at, key, crc, seq)
        else:
            shelf += _ENTRY.pack(key, crc, seq)
            self._count += 1

    def enter(self, key: bytes, crc: int, seq: int) -> None:
        """Enter the fill `key`, which `get` did not find."""
        shelves, number = self._shelves, key[0] << 8 | key[1]
        shelf = shelves[number]
        if shelf is None:
            shelves[number] = bytearray(_ENTRY.pack(key, crc, seq))
        else:
            shelf += _ENTRY.pack(key, crc, seq)
        self._count += 1

    def remove(self, key: bytes) -> bool:
        """Strike out the fill `key`; whether it was there."""
        at = self._place(key)
        if at < 0:
            return False
        shelf = self._shelves[key[0] << 8 | key[1]]
        assert shelf is not None
        del shelf[at : at + _WIDTH]
        self._count -= 1
        return True

    def __len__(self) -> int:
        return self._count

    def save(self, path: Path) -> None:
        """Write it to `path`, whole or not at all. Not synced: what a crash leaves of it is noticed by `load`.

        Raises:
            OSError: It could not be written.
        """
        shelves = list(filter(None, self._shelves))  # most are empty for a long time, and nobody waits for those
        body = b"".join(shelves)
        sizes = bytearray(_SIZES.size)
        for shelf in shelves:
            _SIZE.pack_into(sizes, 4 * (shelf[0] << 8 | shelf[1]), len(shelf) // _WIDTH)
        cover = _COVER.pack(_MAGIC, self.watermark, self._count, 0)
        checksum = crc32(body, crc32(sizes, crc32(cover)))
        cover = _COVER.pack(_MAGIC, self.watermark, self._count, checksum)
        new = path.with_name(f"{path.name}.new")
        try:
            with open(new, "wb", buffering=0, opener=_private) as file:
                for part in (cover, sizes, body):
                    left = memoryview(part)
                    while left:
                        left = left[file.write(left) :]
            new.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
            raise

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """What `save` wrote to `path`; None if there is nothing, or it is damaged.

        Raises:
            OSError: It is there and cannot be read.
        """
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        if len(data) < _COVER.size + _SIZES.size or not data.startswith(_MAGIC):
            return None
        _, watermark, count, checksum = _COVER.unpack_from(data)
        if crc32(memoryview(data)[_COVER.size :], crc32(_COVER.pack(_MAGIC, watermark, count, 0))) != checksum:
            return None
        sizes = _SIZES.unpack_from(data, _COVER.size)
        ends = [0, *itertools.accumulate(sizes)]
        begin = _COVER.size + _SIZES.size
        if ends[-1] != count or begin + count * _WIDTH != len(data):
            return None
        index = cls()
        index.watermark, index._count = watermark, count
        index._shelves = [
            bytearray(data[begin + start * _WIDTH : begin + end * _WIDTH]) if end > start else None
            for start, end in itertools.pairwise(ends)
        ]
        return index

    def _place(self, key: bytes) -> int:
        shelf = self._shelves[key[0] << 8 | key[1]]
        if shelf is None:
            return -1
        at = shelf.find(key)
        while at > 0 and at & 15:
            at = shelf.find(key, at + 1)
        return at


if quick is not None:
    with contextlib.suppress(*UNFIT):
        FillIndex.get, FillIndex.enter = quick.know_index(  # type: ignore[method-assign]  # the same, compiled
            FillIndex, FillIndex.get, FillIndex.enter
        )


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
