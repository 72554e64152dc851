"""The room: what waits for the desk, the thread that runs it, and how it ends."""

from __future__ import annotations

import collections
import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from botobs.alerts.alert import level_of
from botobs.alerts.receivers import Callback, Post, Receiver

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from botobs.alerts.answer import Answer
    from botobs.alerts.desk import Desk
    from botobs.alerts.fates import Fates
    from botobs.alerts.outbox import Letter
    from botobs.faults import Faults
    from botobs.report import Counts

__all__ = ["Room"]

_MOST_WAITING: Final = 2_000
_MOST_CRITICAL: Final = 4_000
_GLANCE_S: Final = 0.25  # a clock given by a test or a bot wakes nobody: while something waits for its time, look often
_END_S: Final = 0.5
_SYNC_S: Final = 1.0


class Room:
    """Hands on to the desk what comes from any thread, in order.

    Args:
        desk: Decides.
        fates: Knows what was lost.
        faults: Where losses are counted.
        failed: Told where and why something failed.
        threaded: Whether there are threads. Without, everything happens before `put` returns.
        chance: Spreads attempts.
    """

    def __init__(
        self, desk: Desk, fates: Fates, *, faults: Faults, failed: Callable[[str, BaseException], None],
        threaded: bool, chance: random.Random | None,
    ) -> None:  # fmt: skip
        self._desk = desk
        self._fates = fates
        self._faults = faults
        self._failed = failed
        self._threaded = threaded
        self._chance = chance
        self._intake: collections.deque[tuple[Any, ...]] = collections.deque()
        self._lost = self._lost_told = 0
        self._dropped_before = 0
        self._waiters: list[_Waiter] = []
        self._closed = self._over = self._busy = False
        self._bell = threading.Lock()
        self._bell.acquire()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Take over what the run before left, and begin."""
        self.put(("restore",))
        if self._threaded:
            self._thread = threading.Thread(target=self._run, name="botobs-alerts", daemon=True)
            self._thread.start()

    def put(self, item: tuple[Any, ...], level: object = "critical") -> None:
        """Let it wait for the desk; no lock, so that a signal handler may send as well.

        Args:
            item: The name of one of the desk's methods, and what it takes.
            level: What is not critical has to go when too much waits.
        """
        if self._closed:
            return
        waiting = len(self._intake)
        if waiting >= _MOST_WAITING and (waiting >= _MOST_CRITICAL or level_of(level)[0] != "critical"):
            self._lost += 1
            self._faults.count("alerts")
        else:
            self._intake.append(item)
        self.wake()

    def wake(self) -> None:
        """Do what is due."""
        if not self._threaded:
            self._step()
            return
        with contextlib.suppress(RuntimeError):  # it rings already
            self._bell.release()

    def receiver(self, way: Post | Callback) -> Receiver:
        """A receiver of this room."""
        return Receiver(way, threaded=self._threaded, done=self._answered, chance=self._chance)

    def sync(self) -> None:
        """Wait until the desk has seen what came before, for a moment at most."""
        waiter = _Waiter(time.monotonic() + _SYNC_S)
        self.put(("sync", waiter))
        if self._threaded:
            waiter.wait()

    @property
    def counts(self) -> Counts:
        """Delivered, pending and dropped so far."""
        return self._desk.counts(len(self._intake))

    def hurry(self, deadline: float, *, ending: bool) -> None:
        """Begin to flush, or to close, and return at once."""
        self.put(("hurry" if ending else "flush", _Waiter(deadline)))

    def flush(self, deadline: float) -> bool:
        """Deliver what came before; whether all of it has gone before `deadline` (monotonic)."""
        return self._closed or self._waited("flush", deadline)

    def close(self, deadline: float) -> bool:
        """Deliver everything, say what becomes of the rest, and end."""
        if self._closed:
            return True
        try:
            done = self._waited("hurry", deadline)
            self._closed = True
            waiter = _Waiter(max(deadline, time.monotonic() + _END_S))
            self._intake.append(("end", waiter))
            self.wake()
            if self._threaded:
                waiter.wait()
        finally:  # the thread ends, whatever the bot's own clock does
            self._closed = self._over = True
            self.wake()
        for receiver in self._desk.receivers:
            receiver.end()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(max(deadline - time.monotonic(), _END_S))
        return done

    def abandon(self) -> None:
        """Forget everything in a forked child."""
        self._closed = self._over = True
        self._intake = collections.deque()
        self._waiters = []
        self._desk.receivers = []
        self._thread = None

    # -- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._over:
            due_s = self._desk.due_s()
            self._bell.acquire(timeout=-1 if due_s is None else min(due_s, _GLANCE_S))
            self._step()

    def _step(self) -> None:
        """Look at what came in, send what is due."""
        if self._busy:  # without threads: a function that was given an alert sends one itself
            return
        self._busy = True
        try:
            moved = True
            while moved:
                while self._intake:
                    item = self._intake.popleft()
                    self._guarded(self._take, item)
                if self._lost > self._lost_told:
                    lost, self._lost_told = self._lost - self._lost_told, self._lost
                    self._guarded(self._desk.lost, lost)
                moved = bool(self._guarded(self._desk.turn)) and not self._threaded
                moved = moved or bool(self._intake)
            self._guarded(self._answer_waiters)
        finally:
            self._busy = False

    def _take(self, item: tuple[Any, ...]) -> None:
        desk, (what, *given) = self._desk, item
        if what in ("sync", "end"):
            if what == "end":
                desk.end()
            given[0].answer(done=True)
        elif what in ("flush", "hurry"):
            desk.hurry() if what == "hurry" else desk.digest_now()
            self._waiters.append(given[0])
        else:
            steps: dict[str, Callable[..., object]] = {
                "said": desk.said, "over": desk.over, "happened": desk.happened, "answered": desk.answered,
                "welcome": desk.welcome, "restore": desk.restore,
            }  # fmt: skip
            steps[what](*given)

    def _answer_waiters(self) -> None:
        for waiter in tuple(self._waiters):
            settled = self._desk.settled()
            if settled or self._desk.hopeless(waiter.deadline - time.monotonic()):
                self._desk.save(now=True)
                waiter.answer(done=settled)
                self._waiters.remove(waiter)

    def _waited(self, what: str, deadline: float) -> bool:
        waiter = _Waiter(deadline)
        self.put((what, waiter))
        done = waiter.wait() if self._threaded else waiter.done
        before, self._dropped_before = self._dropped_before, self._fates.dropped
        return done and self._dropped_before == before and not self._desk.left_over()

    def _guarded(self, step: Callable[..., Any], *args: Any) -> Any:
        try:
            return step(*args)
        except Exception as error:  # the others have to go out all the same
            self._failed("alerts", error)
            return None

    def _answered(self, receiver: Receiver, letter: Letter, answer: Answer) -> None:
        if not self._over:
            self._intake.append(("answered", receiver, letter, answer))
            if self._threaded:
                self.wake()


class _Waiter:
    """Somebody who waits for a flush."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.done = False
        self._bell = threading.Lock()
        self._bell.acquire()

    def answer(self, *, done: bool) -> None:
        self.done = done
        with contextlib.suppress(RuntimeError):
            self._bell.release()

    def wait(self) -> bool:
        self._bell.acquire(timeout=min(max(self.deadline - time.monotonic(), 0.0), threading.TIMEOUT_MAX))
        return self.done
