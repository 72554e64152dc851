"""What triggers have to remember: peaks and counts, in `state/triggers.json`.

A count is with the operating system before the verb that raised it returns, so that kill -9 loses none. Other figures
follow once a second.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from botobs.safety.slots import SlotFile, TooLong

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FILE", "Memory"]

FILE: Final = "triggers.json"
_SLOT = 2048
_LARGEST = 1 << 20


class Memory:
    """Keeps a small mapping on the disk.

    Args:
        folder: `data_dir/state`; `None`: nowhere.
        name: The file there.

    Attributes:
        path: The file; `None`: there is none.
        trouble: What the disk said when it last refused; `None`: it has not.
    """

    def __init__(self, folder: Path | None, name: str = FILE) -> None:
        self._file = None if folder is None else SlotFile(folder / name, _SLOT)
        self.path = None if folder is None else folder / name
        self._lock = threading.RLock()
        self._seq = 0
        self._unsynced = False
        self.trouble: str | None = None

    def load(self) -> tuple[dict[str, Any], str | None]:
        """What was remembered, and what is wrong with the file, if anything."""
        if self._file is None:
            return {}, None
        with self._lock:
            found = self._file.open()
            record = found.record or {}
            kept = record.get("triggers")
            self._seq = record.get("seq", 0)
            if found.damage is not None and self._seq == 0:
                self._file.image = b""
            return kept if isinstance(kept, dict) else {}, found.damage

    def save(self, triggers: dict[str, Any]) -> bool:
        """Bring it to the operating system; whether it has it."""
        if self._file is None:
            return True
        with self._lock:
            self._seq += 1
            self._unsynced = True
            record = {"v": 1, "seq": self._seq, "triggers": triggers}
            try:
                self._file.write(record)
            except (OSError, TooLong):
                return self._lay_out(record)
            return True

    def sync(self) -> bool:
        """Wait for the disk, if it is to have more than the last time; whether it has it. If not, it is asked again."""
        if self._file is None or not self._unsynced:
            return True
        self._unsynced = False
        try:
            self._file.sync()
        except OSError as error:  # the operating system has it
            self._unsynced, self.trouble = True, str(error)
            return False
        return True

    def close(self) -> None:
        """Give the descriptor back."""
        if self._file is not None:
            with self._lock:
                self._file.close()

    def abandon(self) -> None:
        """In a forked child: the file is the parent's."""
        self._lock = threading.RLock()
        if self._file is not None:
            self._file.close()
        self._file = None

    def _lay_out(self, record: dict[str, Any]) -> bool:
        assert self._file is not None
        size = max(self._file.size, _SLOT)
        while size <= _LARGEST:
            try:
                self._file.size = size
                self._file.lay_out(record)
            except TooLong:
                size *= 2
                continue
            except OSError as error:
                self.trouble = str(error)
                return False
            return True
        self.trouble = f"more than {_LARGEST} bytes"
        return False
