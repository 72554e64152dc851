"""The thread that explains: one at a time, and after each it rests nineteen times as long.

Explaining is Python and numpy, and holds the interpreter that the bot needs; so it may take a twentieth of one
processor, and where the bot predicts faster than that, fewer predictions are explained.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from botobs.faults import Faults

__all__ = ["Worker"]

_REST: Final = 19
_MOST_REST_S: Final = 600.0
_MOST_SAMPLES: Final = 8
_MOST_URGENT: Final = 64
_END_S: Final = 1.0  # how long the end of the bot waits for what waits here
_LATE_S: Final = 60.0
_LOOK_S: Final = 0.005


class Worker:
    """Does tasks in the background, first those that were put as urgent; those that are `urgent` count as lost.

    Args:
        do: Does one; tells how much of the processor time it took comes once, and calls for no rest.
        faults: Where what goes wrong is counted.
    """

    def __init__(self, do: Callable[[Any], int], faults: Faults) -> None:
        self._do = do
        self._faults = faults
        self._forget()

    def _forget(self) -> None:
        self._samples: deque[Any] = deque()
        self._urgent: deque[Any] = deque()
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._busy: Any = None
        self._since = 0.0
        self._over = False

    @property
    def crowded(self) -> bool:
        """Whether so many samples wait that another one need not be taken."""
        return len(self._samples) >= _MOST_SAMPLES or self._over

    @property
    def waiting(self) -> int:
        """How many are not done."""
        return len(self._urgent) + len(self._samples) + (self._busy is not None)

    def put(self, task: Any, *, urgent: bool = False) -> bool:
        """Have it done; `False`: too many wait.

        Raises:
            RuntimeError: No thread is to be had.
        """
        queue = self._urgent if urgent else self._samples
        if self._over or len(queue) >= (_MOST_URGENT if urgent else _MOST_SAMPLES):
            return False
        queue.append(task)
        if self._thread is None:
            self._start()
        self._wake.set()
        return True

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="botobs-explain", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    self._urgent.clear()
                    self._samples.clear()
                    raise
                self._thread = thread

    def look(self) -> None:
        """Say so if one takes very long. Called once a second."""
        busy = self._busy
        if busy is not None and time.monotonic() - self._since > _LATE_S:
            self._faults.say("explainability", "late", f"an explainer has not answered for {_LATE_S:g} s: {busy}")

    def flush(self, deadline: float) -> bool:
        """Have done what waits, without rest; whether that was done before `deadline` (monotonic)."""
        if not self.waiting or self._thread is threading.current_thread():
            return True
        self._hurry.set()
        try:
            while self.waiting and time.monotonic() < deadline:
                time.sleep(_LOOK_S)
        finally:
            if not self._over:
                self._hurry.clear()
        return not self.waiting

    def close(self, deadline: float) -> int:
        """End; how many urgent ones were left undone."""
        if self._over:
            return 0
        self.flush(min(deadline, time.monotonic() + _END_S))
        self._over = True
        self._hurry.set()
        self._wake.set()
        samples = [task for task in (*self._samples, self._busy) if task is not None]
        left = len(self._urgent) + sum(1 for task in samples if task.urgent)
        self._urgent.clear()
        self._samples.clear()
        return left

    def abandon(self) -> None:
        """In a forked child: the thread is the parent's."""
        self._forget()
        self._over = True

    # -- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        # no lower priority: what holds the interpreter and is not let run, the bot would wait for
        while not self._over:
            self._wake.clear()
            task = self._next()
            if task is None:
                self._wake.wait()
                continue
            begun = time.thread_time_ns()
            once = 0
            try:
                once = self._do(task)
            except Exception as error:
                with contextlib.suppress(Exception):  # strict: there is nobody here to raise it to
                    self._faults.error("explainability", error)
            finally:
                self._busy = None
            del task  # what a bot predicted from may be large
            took = max(time.thread_time_ns() - begun - once, 0)
            self._hurry.wait(min(took * _REST / 1e9, _MOST_REST_S))

    def _next(self) -> Any:
        """The next one, which is under way from here on."""
        for queue in (self._urgent, self._samples):
            with contextlib.suppress(IndexError):  # empty, or emptied by the end of the bot just now
                self._since = time.monotonic()
                self._busy = task = queue[0]  # before it leaves: nobody is to think that nothing waits
                queue.popleft()
                return task
            self._busy = None
        return None
