"""One trip to the disk for all who wait: the first goes, and takes along what everybody has written by then."""

from __future__ import annotations

import contextlib
import threading
import time
from threading import get_ident
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["SharedSync"]

_LOOK_S = 1.0  # how long to wait for a word that an interrupted leader may never have given


class SharedSync:
    """Who syncs, who waits for it, and how far it got.

    A signal handler may come back in here on a thread that leads: nobody waits for himself.

    Args:
        sync: Brings to disk what is written; the last line it covered, or -1 if it failed. Never raises.

    Attributes:
        durable: The last line known to be on the disk.
    """

    def __init__(self, sync: Callable[[], int]) -> None:
        self.durable = 0
        self._sync = sync
        self._begin()
        self._failures = 0

    def _begin(self) -> None:
        self._lock = threading.RLock()  # the condition's, taken by itself where nobody waits: in half the time
        self._turn = threading.Condition(self._lock)
        self._waiting = 0
        self._leader = 0

    @property
    def leads(self) -> bool:
        """Whether this thread is in the middle of a sync, beneath a signal handler."""
        return self._leader == get_ident()

    def reach(self, seq: int, deadline: float | None = None) -> bool:
        """Return when line `seq` is on the disk; False if that failed, or took longer than until `deadline`."""
        leads, outer = False, 0
        try:
            with self._lock:
                failures = self._failures
                while self.durable < seq and self._leader not in (0, get_ident()):
                    left = _LOOK_S if deadline is None else deadline - time.monotonic()
                    if left <= 0:
                        return False
                    self._wait(left)
                    if self._failures != failures:
                        return self.durable >= seq
                if self.durable >= seq:
                    return True
                outer, leads = self._leader, True
                self._leader = get_ident()
            done = self._sync()
            if done < 0:
                self._failures += 1
            else:
                self.durable = max(done, self.durable)
            return done >= seq
        finally:
            if leads:
                self._leader = outer
                with self._lock:
                    if self._waiting:
                        self._turn.notify_all()

    @contextlib.contextmanager
    def alone(self, deadline: float | None = None) -> Iterator[bool]:
        """For a block in which nobody syncs; False if somebody was still at it at `deadline`."""
        leads, outer = False, 0
        try:
            with self._lock:
                while self._leader not in (0, get_ident()):
                    left = _LOOK_S if deadline is None else deadline - time.monotonic()
                    if left <= 0:
                        break
                    self._wait(left)
                else:
                    outer, leads = self._leader, True
                    self._leader = get_ident()
            yield leads
        finally:
            if leads:
                self._leader = outer
                with self._lock:
                    if self._waiting:
                        self._turn.notify_all()

    def _wait(self, left: float) -> None:
        self._waiting += 1
        try:
            self._turn.wait(min(left, _LOOK_S))
        finally:
            self._waiting -= 1

    def abandon(self) -> None:
        """In a forked child: whoever led or waited does not exist here."""
        self._begin()
