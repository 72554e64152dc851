"""What is wrong with the disk: told once when it begins and once when it is over; and when to try again."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from botobs.faults import Faults

__all__ = ["Trouble"]

_SHORTEST_S: Final = 0.05
_LONGEST_S: Final = 5.0


class Trouble:
    """The trouble of one ledger.

    What is to be told is noted where it happens and told by `tell`, where no lock is held that a listener may need.

    Args:
        listener: Called with the kind and a message.
        faults: Counts every failure.

    Attributes:
        notes: What was not told as yet.
        kinds: What fails now: `write`, `sync`.
    """

    def __init__(self, listener: Callable[[str, str], object] | None, faults: Faults) -> None:
        self._listener = listener
        self._faults = faults
        self.kinds: set[str] = set()
        self.notes: deque[tuple[str, str]] = deque()
        self._wait = _SHORTEST_S
        self._again = 0.0

    def __bool__(self) -> bool:
        return bool(self.kinds)

    @property
    def may_try(self) -> bool:
        """Whether it is time for another attempt."""
        return time.monotonic() >= self._again

    def begin(self, kind: str, error: BaseException) -> None:
        """Note that a write or a sync failed."""
        with contextlib.suppress(Exception):  # in strict mode it raises; a bad disk must not lose the line
            self._faults.error(f"ledger.{kind}", error)
        self._again = time.monotonic() + self._wait
        self._wait = min(self._wait * 2, _LONGEST_S)
        if kind not in self.kinds:
            self.kinds.add(kind)
            self.notes.append((kind, f"the ledger cannot {kind}: {error}"))

    def over(self) -> None:
        """Note that everything is on the disk again."""
        self._again, self._wait = 0.0, _SHORTEST_S
        if self.kinds:
            self.kinds.clear()
            self.notes.append(("resumed", "the ledger is whole again: everything is on the disk"))

    def note(self, kind: str, message: str) -> None:
        """Note something else that has to be told."""
        self.notes.append((kind, message))

    def tell(self) -> None:
        """Tell what was noted."""
        while self.notes:
            try:
                kind, message = self.notes.popleft()
            except IndexError:  # another thread was faster
                return
            try:
                if self._listener is not None:
                    self._listener(kind, message)
            except Exception as error:
                with contextlib.suppress(Exception):
                    self._faults.error("ledger.listener", error)
