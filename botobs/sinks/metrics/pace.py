"""Long background work in short stretches, so that the bot gets the interpreter in between."""

from __future__ import annotations

import time

__all__ = ["Pace"]

_STRETCH_NS = 100_000
# Anything above zero: sleep(0) gives the lock up and mostly takes it back before the bot's thread has woken.
_REST_S = 20e-6
# Under a bot that never pauses, a rest lasts for the interpreter's switch interval (5 ms). Enough such rests
# would make a large page miss Prometheus's timeout, so one piece of work rests no longer than this.
_MOST_REST_NS = 500_000_000


class Pace:
    """Call it between small pieces of work: after each 100 µs it rests for a moment."""

    __slots__ = ("_rest_left", "_until")

    def __init__(self) -> None:
        self._rest_left = _MOST_REST_NS
        self._until = time.monotonic_ns() + _STRETCH_NS

    def __call__(self) -> None:
        """Rest, if this stretch has been long enough."""
        now = time.monotonic_ns()
        if now >= self._until and self._rest_left > 0:
            time.sleep(_REST_S)
            woken = time.monotonic_ns()
            self._rest_left -= woken - now
            self._until = woken + _STRETCH_NS
