"""Long background work in short stretches, so that the bot gets the interpreter in between."""

from __future__ import annotations

import time

__all__ = ["Pace"]

_STRETCH_NS = 100_000
# Anything above zero: sleep(0) gives the lock up and mostly takes it back before the bot's thread has woken.
_REST_S = 20e-6


class Pace:
    """Call it between small pieces of work: after each 100 µs it rests for a moment."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until = time.monotonic_ns() + _STRETCH_NS

    def __call__(self) -> None:
        """Rest, if this stretch has been long enough."""
        if time.monotonic_ns() >= self._until:
            time.sleep(_REST_S)
            self._until = time.monotonic_ns() + _STRETCH_NS
