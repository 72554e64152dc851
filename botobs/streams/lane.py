"""One stream's queue, and the right to write from it."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from botobs.streams.names import IMPORTANCE, NORMAL

if TYPE_CHECKING:
    from botobs.streams.jsonl import JsonlFile

__all__ = ["NOTHING", "Held", "Lane"]

NOTHING = -1  # a limit that no queue is below
_BATCH_LINES = 128
_BATCH_BYTES = 65_536


class Lane:
    """One stream: its queue, its file, and who is writing it."""

    __slots__ = (
        "busy",
        "byte_limit",
        "file",
        "held",
        "held_lines",
        "limit",
        "lock",
        "lost",
        "most",
        "most_bytes",
        "name",
        "push",
        "queue",
        "reported",
        "retry_at",
        "share",
        "wait",
        "written",
    )

    def __init__(self, name: str, file: JsonlFile | None) -> None:
        self.name = name
        self.file = file
        self.share = IMPORTANCE.get(name, NORMAL)
        self.limit = self.byte_limit = NOTHING
        self.most = self.most_bytes = NOTHING
        self.queue: deque[bytes] = deque()
        self.push = self.queue.append
        self.lock = threading.RLock()
        self.busy = False  # in the middle of a step; perhaps by this very thread, beneath a signal handler
        self.held = b""  # lines that are being written, or could not be
        self.held_lines = 0
        self.wait = 0.0
        self.retry_at = 0.0
        self.written = 0
        self.lost = 0  # grows on any thread; `reported` follows it
        self.reported = 0

    @property
    def pending(self) -> int:
        """Lines that wait."""
        return len(self.queue) + self.held_lines

    def take(self) -> None:
        """Make the next lines of the queue the held batch."""
        queue, size = self.queue, 0
        batch: list[bytes] = []
        pop, add = queue.popleft, batch.append
        for _ in range(min(len(queue), _BATCH_LINES)):
            line = pop()
            add(line)
            size += len(line)
            if size >= _BATCH_BYTES:
                break
        if batch:
            lines = len(batch)
            add(b"")
            self.held, self.held_lines = b"\n".join(batch), lines


class Held:
    """Holds a lane if it can be had until `deadline`: None waits, 0 does not; nobody waits for himself."""

    __slots__ = ("_deadline", "_lane", "_mine")

    def __init__(self, lane: Lane, deadline: float | None) -> None:
        self._lane = lane
        self._deadline = deadline
        self._mine = False

    def __enter__(self) -> bool:
        lane, deadline = self._lane, self._deadline
        wait = -1.0 if deadline is None else max(0.0, deadline - time.monotonic()) if deadline else 0.0
        if lane.lock.acquire(timeout=wait):
            if lane.busy:
                lane.lock.release()
            else:
                lane.busy = self._mine = True
        return self._mine

    def __exit__(self, *_: object) -> None:
        if self._mine:
            self._lane.busy = False
            self._lane.lock.release()
