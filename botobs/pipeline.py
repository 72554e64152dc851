"""The drainer: one background thread that does in small slices what the bot's threads left.

Background work takes the interpreter's lock from the bot, and the bot waits for the lock to come back: for as long as
the work takes, and some 50 to 200 microseconds more, which is what two sleeping threads need to wake up. So rounds are
rare, once a second or when a queue fills, and work is cut into slices with a real sleep between them, in which the bot
makes up for it: never more slices than needed, and none that has nothing to do but end.

What is done once a second is done with cold caches: each line of it costs some times what it costs in a loop.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from botobs.faults import Faults

__all__ = ["Drainer"]

_ROUND_S: Final = 1.0
_SLICE_NS: Final = 100_000
_PIECE_NS: Final = 60_000  # of chores: then the next piece waits
_MOST_SLICE_NS: Final = 5_000_000
_REST_S: Final = 0.0005
_ASIDE_S: Final = 0.02
# slices in a row before they grow: the bot makes work faster than small slices can do it
_PATIENCE: Final = 100


class Drainer:
    """Runs jobs in slices and chores once a second.

    Args:
        jobs: Each works for about the nanoseconds it is given and tells whether work remains.
        chores: Called once a second; one that takes long gives its pieces one by one.
        faults: Where errors are counted; an error in one job or chore stops no other.
    """

    def __init__(
        self,
        jobs: Sequence[Callable[[int], bool]],
        chores: Sequence[Callable[[], Iterator[None] | None]],
        faults: Faults,
    ) -> None:
        self._jobs = tuple(jobs)
        self._chores = tuple(chores)
        self._faults = faults
        self._bell = threading.Lock()  # let go of: rung; an `Event` takes five times the lines, each of them cold
        self._bell.acquire()
        self._over = False
        self._aside_until = 0.0
        self._begun_ns = 0  # processor time when the present slice began: who waits for a disk holds up nobody
        self._chores_s = 0.0  # when chores were begun last
        self.cpu_ns = 0
        self._thread = threading.Thread(target=self._run, name="botobs-drain", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Begin the next round now."""
        with contextlib.suppress(RuntimeError):  # it was rung already
            self._bell.release()

    def stand_aside(self) -> None:
        """Leave the interpreter to others for a moment: something must not wait now."""
        self._aside_until = time.monotonic() + _ASIDE_S

    def close(self, deadline: float) -> bool:
        """End the thread; whether it ended before `deadline` (monotonic)."""
        self._over = True
        self.wake()
        if self._thread.is_alive():
            self._thread.join(max(deadline - time.monotonic(), 0.0))
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._over:
            self._bell.acquire(timeout=_ROUND_S)
            self._begun_ns = time.thread_time_ns()
            self._do_chores()
            self._round()
            self.cpu_ns = time.thread_time_ns()

    def _do_chores(self) -> None:
        self._chores_s = time.monotonic()
        for chore in self._chores:
            self._breathe(_PIECE_NS)
            try:
                for _piece in chore() or ():
                    self._breathe(_PIECE_NS)
            except Exception as error:
                self._count(error)

    def _round(self) -> None:
        slice_ns, slices = _SLICE_NS, 0
        while not self._over:
            more = False
            for job in self._jobs:
                self._breathe(slice_ns)
                try:
                    more = job(slice_ns) or more
                except Exception as error:
                    self._count(error)
            if not more:
                return
            slices += 1
            if slices % _PATIENCE == 0:
                slice_ns = min(slice_ns * 2, _MOST_SLICE_NS)
            self._rest()
            if time.monotonic() - self._chores_s >= _ROUND_S:  # a bot that is always busy does not put them off
                self._do_chores()

    def _breathe(self, slice_ns: int) -> None:
        """Let the bot run before more is done: after a slice, whatever it was made of, and for as long as it asked."""
        if self._aside_until or time.thread_time_ns() - self._begun_ns >= slice_ns:
            self._rest()

    def _rest(self) -> None:
        """Sleep, and begin a new slice afterwards; whoever asked to be let alone may have done so meanwhile."""
        time.sleep(_REST_S)
        while not self._over and time.monotonic() < self._aside_until:
            time.sleep(_REST_S)
        self._aside_until = 0.0
        self._begun_ns = time.thread_time_ns()

    def _count(self, error: Exception) -> None:
        try:
            self._faults.error("drain", error)
        except Exception:  # strict mode: the thread has to live on, the error is counted
            return
