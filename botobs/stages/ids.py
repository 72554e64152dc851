"""Trace and span ids: random bits from a generator of our own, so that a seeded bot keeps its own random sequence."""

from __future__ import annotations

import os
import random

__all__ = ["Ids"]


class Ids:
    """Makes ids; deterministic with a seed (backtests, the demo, tests).

    Example:
        >>> Ids(seed=1).trace_id() == Ids(seed=1).trace_id()
        True
    """

    __slots__ = ("_seed", "bits")

    def __init__(self, seed: int | str | None = None) -> None:
        self._seed = seed
        # not for secrets: ids have to be unique, not unguessable
        self.bits = random.Random(os.urandom(32) if seed is None else seed).getrandbits  # noqa: S311

    def apart(self, who: str) -> Ids:
        """Ids for another thread: with a seed, neither's depend on when the other asks."""
        return Ids(None if self._seed is None else f"{self._seed} {who}")

    def trace_id(self) -> int:
        """128 bits, never zero."""
        return self.bits(128) or 1

    def span_id(self) -> int:
        """64 bits, never zero."""
        return self.bits(64) or 1
