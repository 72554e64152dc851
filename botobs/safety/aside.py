"""What is done while callbacks run, and not before them: the record of a trip, and waiting for the disk."""

from __future__ import annotations

import _thread
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Aside"]

_DISK_S: Final = 5.0


class Aside:
    """Work that is done once, by whoever asks for it first.

    Args:
        work: What there is to do.
    """

    __slots__ = ("_done", "_todo", "_work")

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._todo = [True]
        self._done = threading.Lock()
        self._done.acquire()

    def start(self) -> None:
        """On a thread of its own; nothing if somebody was faster."""
        try:
            self._todo.pop()
        except IndexError:
            return
        try:
            _thread.start_new_thread(self._run, ())
        except RuntimeError:  # no thread to be had
            self._run()

    def _run(self) -> None:
        try:
            self._work()
        finally:
            self._done.release()

    def wait_inline(self) -> None:
        """Do it now, on this thread."""
        self._todo.clear()
        self._run()

    def wait(self, most_s: float = _DISK_S) -> bool:
        """Until it is done, or the disk has had its time; whether it is done."""
        self.start()
        done = self._done.acquire(timeout=max(most_s, 0.0))
        if done:
            self._done.release()
        return done
