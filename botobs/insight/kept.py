"""Small files of the state folder: what the parts of this room have to know after a restart."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

import orjson

from botobs.datadir import atomic_write

if TYPE_CHECKING:
    from pathlib import Path

    from botobs.clock import Clock
    from botobs.faults import Faults
    from botobs.insight.part import Part

__all__ = ["Keeper", "Kept"]

_SOON_NS: Final = 5_000_000_000  # after a trade, a change of regime, or a prediction that came due
_SAVE_NS: Final = 30_000_000_000  # after bars

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

    @property
    def nowhere(self) -> bool:
        """Whether nothing is kept."""
        return self._path is None

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


class Keeper:
    """Keeps what one part has to know after a restart.

    Args:
        part: Which.
        folder: Where; `None`: nowhere.
        clock: The observer's.
        faults: Where a damaged state is told.

    Attributes:
        part: The same.
        restored: Whether it goes on where an earlier run stopped.
    """

    def __init__(self, part: Part, folder: Path | None, clock: Clock, faults: Faults) -> None:
        assert part.file is not None
        self.part = part
        self._file = Kept(None if folder is None else folder / part.file, faults)
        self._clock = clock
        self._saved = (0, 0)
        self._saved_ns = clock.perf_ns()
        state = self._file.read()
        self.restored = state is not None
        if state is not None:
            for problem in part.restore(state) if isinstance(state, dict) else ["not a state"]:
                faults.say("insight", problem, f"left out at the restart: {problem}")

    def save(self, *, last: bool = False) -> None:
        """Keep it, if there is something new and the last time is long enough ago."""
        part = self.part
        seen = (part.changes, part.steps)
        if seen == self._saved or self._file.nowhere:
            return
        now = self._clock.perf_ns()
        if not last and now - self._saved_ns < (_SOON_NS if seen[0] != self._saved[0] else _SAVE_NS):
            return
        self._saved_ns = now
        if self._file.write(part.state()):
            self._saved = seen

    def abandon(self) -> None:
        """In a forked child: the file is the parent's."""
        self._file.abandon()
