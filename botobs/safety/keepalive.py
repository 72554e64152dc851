"""The dead man's switch at the exchange: it cancels all orders unless it is called again and again.

So it is called while the bot is well. When the bot is halted, or its loop decides nothing any more, the calls stop,
and the exchange does what nobody here can be trusted to do.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from botobs.events.switch import KeepAliveChanged, KeepAliveFailed
from botobs.safety.callbacks import Caller, name_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from botobs.events import Event
    from botobs.faults import Faults
    from botobs.safety.pace import Pace

__all__ = ["KeepAlive"]

_LOOKS_S: Final = 1.0


class KeepAlive:
    """Calls one function, on a thread of its own, for as long as the bot is well.

    Args:
        fn: The function, without arguments.
        every_s: How often; a call that failed is tried again after a third of it.
        unwell: Why the bot is not well; `None`: it is.
        pace: The time.
        faults: Where failures are counted.
        publish: Where they are told.
        threaded: Whether it has a thread; else somebody calls `beat`.
    """

    def __init__(
        self,
        fn: Callable[[], Any],
        every_s: float,
        *,
        unwell: Callable[[], str | None],
        pace: Pace,
        faults: Faults,
        publish: Callable[[Event], object],
        threaded: bool,
    ) -> None:
        self.fn = fn
        self.name = name_of(fn)
        self._every_ns = int(every_s * 1e9)
        self._limit_s = max(min(every_s, 10.0), 0.1)
        self._unwell = unwell
        self._pace = pace
        self._faults = faults
        self._publish = publish
        self.caller = Caller("kill_switch.keep_alive", faults, threaded=threaded)
        self._due = pace.steady()
        self._calling = True
        self.failures = 0
        self._over = threading.Event()
        self._thread: threading.Thread | None = None
        if threaded:
            looks = min(every_s, _LOOKS_S)
            self._thread = threading.Thread(
                target=self._run, args=(looks,), name="botobs-keep-alive", daemon=True
            )  # fmt: skip

    def start(self) -> None:
        """Begin."""
        if self._thread is not None:
            self._thread.start()

    def beat(self) -> None:
        """Call the function if it is time and the bot is well."""
        why = self._unwell()
        if (why is None) is not self._calling:
            self._calling = why is None
            self._due = self._pace.steady()
            self._publish(
                KeepAliveChanged(
                    ts_ns=self._pace.wall(), name=self.name, calling=self._calling, why=why or "the bot is well again"
                )
            )
        now = self._pace.steady()
        if why is not None or now < self._due:
            return
        self._due = now + self._every_ns
        try:
            called = self.caller.call(self.fn, limit_s=self._limit_s, name=self.name)
        except Exception as error:  # strict: counted already
            self._failed(f"{type(error).__name__}: {error}"[:300])
            return
        if called.outcome in ("failed", "hung"):
            self._failed(called.error or called.outcome)
        elif self.failures:
            why, self.failures = f"it works again, after {self.failures} failures", 0
            self._publish(KeepAliveChanged(ts_ns=self._pace.wall(), name=self.name, calling=True, why=why))

    def _failed(self, said: str) -> None:
        self.failures += 1
        self._due = self._pace.steady() + self._every_ns // 3
        self._publish(KeepAliveFailed(ts_ns=self._pace.wall(), name=self.name, failures=self.failures, error=said))

    def close(self, deadline: float) -> bool:
        """Call no more; whether the thread ended before `deadline` (monotonic)."""
        self._over.set()
        thread = self._thread
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            thread.join(max(deadline - time.monotonic(), 0.0))
        self.caller.close()
        return thread is None or not thread.is_alive()

    def _run(self, looks_s: float) -> None:
        while not self._over.is_set():
            try:
                self.beat()
            except Exception as error:
                with contextlib.suppress(Exception):  # strict: the thread has to live on
                    self._faults.error("kill_switch.keep_alive", error)
            self._over.wait(looks_s)
