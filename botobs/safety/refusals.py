"""Which refusals are written one by one: those of an order always, the others while they are not too many."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

__all__ = ["Refusals"]

_BURST: Final = 100.0
_PER_S: Final = 10.0
_ORDERS: Final = 4096


class Refusals:
    """A bot that asks ten thousand times a second must not fill the disk with the answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._room = _BURST
        self._at = 0
        self._seen: OrderedDict[str, None] = OrderedDict()
        self.suppressed = 0

    def admit(self, order_id: str | None, now_ns: int) -> int | None:
        """How many were only counted before this one, or `None`: so is this one."""
        with self._lock:
            fresh = order_id is not None and order_id not in self._seen
            if fresh and order_id is not None:
                self._seen[order_id] = None
                if len(self._seen) > _ORDERS:
                    self._seen.popitem(last=False)
            self._room = min(_BURST, self._room + max(now_ns - self._at, 0) / 1e9 * _PER_S)
            self._at = now_ns
            if self._room < 1.0 and not fresh:
                self.suppressed += 1
                return None
            self._room = max(self._room - 1.0, 0.0)
            before, self.suppressed = self.suppressed, 0
            return before

    def abandon(self) -> None:
        """In a forked child: the lock may be held by a thread that does not exist here."""
        self._lock = threading.Lock()
