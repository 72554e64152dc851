"""One small file of the state folder: what a part of this room has to know after a restart."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import orjson

from botobs.datadir import atomic_write

if TYPE_CHECKING:
    from pathlib import Path

    from botobs.faults import Faults

__all__ = ["Kept"]

_SEALED = b'"state":'


class Kept:
    """Writes and reads a state as plain JSON, with a checksum.

    Args:
        path: The file; `None`: nothing is kept.
        faults: Where a disk that does not take it is counted.
    """

    def __init__(self, path: Path | None, faults: Faults) -> None:
        self._path = path
        self._faults = faults

    def write(self, state: Any) -> bool:
        """Replace what was kept; whether that could be done."""
        if self._path is None:
            return True
        try:
            body = orjson.dumps(state)
            atomic_write(self._path, b'{"crc":%d,"state":%b}\n' % (zlib.crc32(body), body))
        except OSError as error:  # it is learned anew, which takes time
            self._faults.say("insight", type(error).__name__, f"{self._path.name} could not be kept: {error}")
            return False
        return True

    def read(self) -> Any:
        """What was kept; `None`: nothing, or it is damaged, which is said."""
        if self._path is None:
            return None
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._faults.say("insight", type(error).__name__, f"{self._path.name} could not be read: {error}")
            return None
        try:
            found = orjson.loads(data)
            body = data[data.index(_SEALED) + len(_SEALED) : -2]
            if zlib.crc32(body) == found["crc"]:
                return found["state"]
        except (ValueError, KeyError, TypeError):
            pass
        self._faults.say("insight", self._path.name, f"{self._path.name} is damaged: what it kept is learned anew")
        return None

    def abandon(self) -> None:
        """In a forked child: the file is the parent's."""
        self._path = None
