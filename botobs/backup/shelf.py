"""Where backups are kept: pieces of files, named by what is in them, and lists of files."""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from botobs.backup.errors import BackupError, secrets_of, telling
from botobs.errors import BotobsError
from botobs.performance.store import Folder, place_at

if TYPE_CHECKING:
    import contextlib

    from botobs.performance.store import Place

__all__ = ["PIECE", "Part", "Shelf", "open_shelf"]

PIECE: Final = 1 << 20  # bytes of a file that make one object
_MOST: Final = PIECE + PIECE // 64 + 1024  # what cannot be compressed grows by a little
_MOST_LIST: Final = 256 << 20
_LEVEL: Final = 4
_GZIP: Final = 31  # zlib's name for its gzip format with the largest window
_OBJECT: Final = re.compile(r"objects/[0-9a-f]{2}/([0-9a-f]{64})\.gz")
_LIST: Final = re.compile(r"backups/([0-9]{8}T[0-9]{6}\.[0-9]{6}Z)\.json")


class Part(NamedTuple):
    """A piece of a file.

    Attributes:
        digest: The SHA-256 of its bytes.
        size: How many they are.
    """

    digest: str
    size: int


class Shelf:
    """Pieces and lists at one place. Every method raises `BackupError` where the place refuses.

    Args:
        place: Where.
        secrets: What of its URL is for nobody to see.

    Attributes:
        stored: How many objects were written so far.
        sent: How many bytes that were.
    """

    def __init__(self, place: Place, secrets: tuple[str, ...] = ()) -> None:
        self._place = place
        self._secrets = secrets
        self.stored = 0
        self.sent = 0

    def __repr__(self) -> str:
        return str(self._place)

    def digests(self) -> set[str]:
        """The pieces that are there, whole or not."""
        with self._telling(f"{self} cannot be listed"):
            found = (_OBJECT.fullmatch(name) for name in self._place.names("objects"))
            return {match[1] for match in found if match}

    def put(self, data: bytes, digest: str) -> None:
        """Write a piece, and read it back.

        Raises:
            BackupError: It is not there now as it should be.
        """
        name = _name_of(digest)
        packed = gzip.compress(data, _LEVEL, mtime=0)
        with self._telling(f"{self}: {name} cannot be written"):
            self._place.write(name, packed)
        self.stored += 1
        self.sent += len(packed)
        if not self.has(Part(digest, len(data))):
            raise BackupError(f"{self}: {name} reads back otherwise than it was written")

    def has(self, part: Part) -> bool:
        """Whether a piece is there, and whole; it is read for that."""
        return self._unpacked(part) is not None

    def get(self, part: Part) -> bytes:
        """A piece's bytes.

        Raises:
            BackupError: It is missing or damaged.
        """
        found = self._unpacked(part)
        if found is None:
            raise BackupError(f"{self}: {_name_of(part.digest)} is missing or damaged")
        return found

    def drop(self, digest: str) -> None:
        """Take a piece away."""
        with self._telling(f"{self}: {_name_of(digest)} cannot be taken away"):
            self._place.delete(_name_of(digest))

    def lists(self) -> list[str]:
        """The times of all lists, the oldest first, as they stand in names."""
        with self._telling(f"{self} cannot be listed"):
            found = (_LIST.fullmatch(name) for name in self._place.names("backups"))
            return sorted(match[1] for match in found if match)

    def read_list(self, stamp: str) -> bytes:
        """The list of that time.

        Raises:
            BackupError: It cannot be read, or is no list by its size.
        """
        name = f"backups/{stamp}.json"
        with self._telling(f"{self}: {name} cannot be read"):
            data = self._place.read(name, _MOST_LIST + 1) or b""
        if len(data) > _MOST_LIST:
            raise BackupError(f"{self}: {name} is too large to be a list of files")
        return data

    def write_list(self, stamp: str, data: bytes) -> None:
        """Write a list, and read it back."""
        name = f"backups/{stamp}.json"
        with self._telling(f"{self}: {name} cannot be written"):
            self._place.write(name, data)
        if self.read_list(stamp) != data:
            raise BackupError(f"{self}: {name} reads back otherwise than it was written")

    def drop_list(self, stamp: str) -> None:
        """Take a list away."""
        with self._telling(f"{self}: backups/{stamp}.json cannot be taken away"):
            self._place.delete(f"backups/{stamp}.json")

    def _telling(self, doing: str) -> contextlib.AbstractContextManager[None]:
        return telling(doing, self._secrets)

    def _unpacked(self, part: Part) -> bytes | None:
        with self._telling(f"{self}: {_name_of(part.digest)} cannot be read"):
            packed = self._place.read(_name_of(part.digest), _MOST + 1)
        if packed is None or len(packed) > _MOST:
            return None
        unpack = zlib.decompressobj(_GZIP)
        try:
            data = unpack.decompress(packed, part.size + 1)  # never more, whatever it says of itself
        except zlib.error:
            return None
        return data if len(data) == part.size and hashlib.sha256(data).hexdigest() == part.digest else None


def open_shelf(url: str, root: Path) -> Shelf:
    """The shelf at `url`, for the backups of the data directory `root`.

    Raises:
        BotobsError: It names no place, what it takes to get there is not installed, or it is in the data directory.
        BackupError: It is a folder that cannot be read.
    """
    place = place_at(url, "backups", synced=True)
    if isinstance(place, Folder):
        folder = Path(str(place))
        with telling(f"{folder} cannot be read"):
            real = folder.resolve()
            if folder.exists():
                next(folder.iterdir(), None)
        if real.is_relative_to(root.resolve()):
            raise BotobsError(f"{folder} is in the data directory itself; a backup belongs to another disk")
    return Shelf(place, secrets_of(url))


def _name_of(digest: str) -> str:
    return f"objects/{digest[:2]}/{digest}.gz"
