"""The switch's own thread: looks every 0.7 s whether somebody outside has thrown it, and lets time pass.

A thread of its own, because what it finds may call the bot's functions, and those may take seconds.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from botobs.faults import Faults

__all__ = ["Watch"]

_EVERY_S: Final = 0.7  # seen within a second; and each look makes the bot's thread wait for the interpreter's lock


class Watch:
    """Calls `look` and `chore` every 0.7 s.

    Args:
        look: Whether somebody outside has done something.
        chore: Time has passed.
        faults: Where errors are counted.
    """

    def __init__(self, look: Callable[[], object], chore: Callable[[], object], faults: Faults) -> None:
        self._jobs = (look, chore)
        self._faults = faults
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="botobs-kill-switch", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self, deadline: float) -> bool:
        """End; whether it did before `deadline` (monotonic)."""
        self._over.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(max(deadline - time.monotonic(), 0.0))
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._over.wait(_EVERY_S):
            for job in self._jobs:
                try:
                    job()
                except Exception as error:
                    with contextlib.suppress(Exception):  # strict: the thread has to live on
                        self._faults.error("kill_switch.watch", error)
