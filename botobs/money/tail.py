"""What follows from a report, after it was booked: done in order, soon, and not on the bot's time.

The ledger is written and the books are right before a verb returns. Records, the lifecycle of trades and statistics
follow from here, in the drainer; whoever asks a noun for them has what waits done first. In a backtest, where nobody
drains, everything is done at once.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from botobs.faults import Faults

__all__ = ["Tail", "Work"]

_MOST = 20_000  # more than that waits for nobody: the caller does some of it


class Work:
    """Something to be done.

    Attributes:
        ready: It may be done now; work behind it waits for it too.
    """

    __slots__ = ("args", "do", "ready")

    def __init__(self, do: Callable[..., object], args: tuple[Any, ...], *, ready: bool = True) -> None:
        self.do = do
        self.args = args
        self.ready = ready

    def run(self) -> None:
        """Do it."""
        self.do(*self.args)


class Tail:
    """A queue of work that keeps its order, whoever does it.

    Args:
        faults: Counts work that fails.
        inline: Do everything at once.
    """

    def __init__(self, faults: Faults, *, inline: bool = False) -> None:
        self._faults = faults
        self._inline = inline
        self._waiting: deque[Work] = deque()
        self.hold = self._waiting.append  # keep a place for what becomes ready later; `may_follow` then
        self._doing = threading.RLock()  # re-entrant: work may ask a noun, or publish to somebody who does
        self._busy = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, work: Work) -> None:
        """Have it done after what waits already."""
        self._waiting.append(work)
        if self._inline or len(self._waiting) > _MOST:
            self.drain(1_000_000)

    def may_follow(self) -> None:
        """Something became ready: where nobody drains, it is done now."""
        if self._inline:
            self.settle()
        elif len(self._waiting) > _MOST:
            self.drain(1_000_000)

    def drain(self, budget_ns: int) -> bool:
        """Do what waits, for about `budget_ns`; whether some of it could be done and was not."""
        if not self._waiting or not self._doing.acquire(blocking=False):
            return False
        try:
            return self._work(time.perf_counter_ns() + budget_ns)
        finally:
            self._doing.release()

    def settle(self) -> None:
        """Have everything done that may be done now; nothing, if called by the work itself."""
        if self._waiting and not self._busy:
            with self._doing:
                self._work(None)

    @contextlib.contextmanager
    def still(self) -> Iterator[None]:
        """Nothing is done meanwhile."""
        with self._doing:
            yield

    def abandon(self) -> None:
        """In a forked child: forget it, it is the parent's."""
        self._waiting.clear()
        self._doing, self._busy = threading.RLock(), False

    def _work(self, until: int | None) -> bool:
        if self._busy:
            return False
        self._busy = True
        waiting = self._waiting
        try:
            while waiting and waiting[0].ready:
                work = waiting.popleft()
                try:
                    work.run()
                except Exception as error:
                    self._faults.error("money", error)
                if until is not None and time.perf_counter_ns() >= until:
                    return bool(waiting) and waiting[0].ready
            return False
        finally:
            self._busy = False
