"""The bot's own functions that hear of trades: none can hold up or harm the others."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from botobs import timebox

if TYPE_CHECKING:
    from collections.abc import Callable

    from botobs.faults import Faults

__all__ = ["Listeners"]

_MOST_HANGS = 3  # of one function; then it is out for good


class Listeners:
    """Functions that are called one after the other, each for a limited time.

    What one raises is counted; one that hangs is left alone until it has come back, and is out after the third time.

    Args:
        where: What errors are counted under.
        faults: Gets what fails.
        limit_s: How long one may take.
    """

    def __init__(self, where: str, faults: Faults, *, limit_s: float = 1.0) -> None:
        self._where = where
        self._faults = faults
        self._limit_s = limit_s
        self._all: tuple[_Listener, ...] = ()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._all)

    def add(self, fn: Callable[[Any], object]) -> Callable[[], None]:
        """Call `fn` from now on; what is returned ends that.

        Raises:
            TypeError: It cannot be called.
        """
        if not callable(fn):
            raise TypeError(f"a listener is a function, not {type(fn).__name__}")
        listener = _Listener(fn)
        with self._lock:
            self._all = (*self._all, listener)

        def remove() -> None:
            with self._lock:
                self._all = tuple(known for known in self._all if known is not listener)

        return remove

    def tell(self, news: object) -> None:
        """Call every listener with `news`. Not under a lock: they may ask anything."""
        for listener in self._all:
            if listener.busy or listener.hangs >= _MOST_HANGS:
                self._faults.dropped(self._where)
                continue
            outcome = timebox.call(listener.run, news, limit_s=self._limit_s)
            if outcome.state == "hung" and outcome.began:
                listener.hangs += 1
            if outcome.error is not None:
                self._faults.error(self._where, outcome.error)

    def abandon(self) -> None:
        """In a forked child: the lock may be held by a thread that is not there."""
        self._lock = threading.Lock()
        self._all = ()


class _Listener:
    __slots__ = ("busy", "fn", "hangs")

    def __init__(self, fn: Callable[[Any], object]) -> None:
        self.fn = fn
        self.busy = False
        self.hangs = 0

    def run(self, news: object) -> None:
        self.busy = True
        try:
            self.fn(news)
        finally:
            self.busy = False
