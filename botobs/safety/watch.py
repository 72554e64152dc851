"""The switch's own thread: looks whether somebody outside has thrown it, and lets time pass.

A thread of its own, because what it finds may call the bot's functions, and those may take seconds. Each time it takes
the interpreter's lock the bot's thread waits for that, so where it can it looks at files without.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from botobs.quick import quick

if TYPE_CHECKING:
    from collections.abc import Callable

    from botobs.faults import Faults

__all__ = ["Watch"]

_EVERY_S: Final = 0.7  # seen within a second
_TIME_S: Final = 1.0
_THOROUGH_S: Final = 17.0
_watched: Final[Any] = getattr(quick, "watched", None)

Files = tuple[tuple[bytes, tuple[int, int, int] | None], ...]


class Watch:
    """Calls `look` when there may be something to see, and `chore` every second.

    Args:
        look: Whether somebody outside has done something; `thorough`: without relying on the times of files.
        chore: Time has passed.
        faults: Where errors are counted.
        seen: Files, and how they were when `look` was called last: which, when written, how long; `None` for one that
            was not there. While they are so, nobody has done anything. `None`: nothing is known of them.
    """

    def __init__(
        self,
        look: Callable[..., object],
        chore: Callable[[], object],
        faults: Faults,
        seen: Callable[[], Files | None] = lambda: None,
    ) -> None:
        self._look, self._chore, self._seen = look, chore, seen
        self._faults = faults
        self._over = threading.Event()
        self._lock = threading.Lock()  # held over what is done with the bell
        self._bell: tuple[int, int] | None = None
        self._thread = threading.Thread(target=self._run, name="botobs-kill-switch", daemon=True)

    def start(self) -> None:
        """Begin."""
        if _watched is not None:
            with contextlib.suppress(OSError):  # no descriptor to be had: it looks in the other way
                self._bell = os.pipe()
        try:
            self._thread.start()
        except BaseException:  # no thread to be had
            self._hang_up()
            raise

    def close(self, deadline: float) -> bool:
        """End; whether it did before `deadline` (monotonic)."""
        self._over.set()
        with self._lock:
            if self._bell is not None:
                os.write(self._bell[1], b".")
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(max(deadline - time.monotonic(), 0.0))
        return not self._thread.is_alive()

    def abandon(self) -> None:
        """In a forked child: there is no thread, and the lock may be held by one of the parent's."""
        self._lock = threading.Lock()
        self._hang_up()

    def _run(self) -> None:
        now = time.monotonic()
        timely, thorough = now + _TIME_S, now + _THOROUGH_S
        try:
            while True:
                changed = self._rest(max(timely - now, 0.0))
                if self._over.is_set():
                    return
                now = time.monotonic()
                if changed or now >= thorough:
                    self._do(self._look, thorough=now >= thorough)
                if now >= thorough:
                    thorough = now + _THOROUGH_S
                if now >= timely or self._bell is None:
                    timely = now + _TIME_S
                    self._do(self._chore)
        finally:
            with self._lock:
                self._hang_up()

    def _rest(self, most_s: float) -> bool:
        """Wait, for so long at most; whether there may be something to see."""
        bell, seen = self._bell, self._seen()
        if bell is None or seen is None:
            self._over.wait(_EVERY_S)
            return True
        try:
            changed: bool = _watched(seen, bell[0], round(_EVERY_S * 1e3), round(most_s * 1e3) + 1)
        except Exception:  # what cannot be watched has to be looked at
            self._over.wait(_EVERY_S)
            return True
        return changed

    def _do(self, job: Callable[..., object], **named: Any) -> None:
        try:
            job(**named)
        except Exception as error:
            with contextlib.suppress(Exception):  # strict: the thread has to live on
                self._faults.error("kill_switch.watch", error)

    def _hang_up(self) -> None:
        bell, self._bell = self._bell, None
        for fd in bell or ():
            os.close(fd)
