"""One stream's queue, and the right to write from it."""

from __future__ import annotations

import threading
import time
from collections import deque
from itertools import repeat
from typing import TYPE_CHECKING

from botobs.streams.names import IMPORTANCE, NORMAL

if TYPE_CHECKING:
    from botobs.streams.jsonl import JsonlFile

__all__ = ["CHUNK", "NOTHING", "Held", "Lane"]

NOTHING = -1  # a limit that no queue is below
CHUNK = 48_000  # small enough to come from memory that is in use already
_PIECE = 8_000_000  # more than a busy second leaves, so that one call is enough
_MOST_CHUNKS = 512  # what one call takes
_PATIENCE_S = 0.05
_next = deque.popleft


class Lane:
    """One stream: its queue, its file, and who is writing it.

    Lines are gathered in chunks, and the writer hands whole chunks to one call of the operating system: what it does
    under the interpreter's lock, the bot waits for, so its share of a line has to be next to nothing. Adding a line is
    one call that the lock makes whole; the count of lines follows, and may be behind by those that are being added,
    never ahead.
    """

    __slots__ = (
        "batch", "buffer", "busy", "byte_limit", "file", "full", "held", "held_lines", "limit", "lock", "lost", "most",
        "most_bytes", "name", "piece", "put", "reported", "retry_at", "share", "taken", "turning", "wait", "written",
    )  # fmt: skip

    def __init__(self, name: str, file: JsonlFile | None) -> None:
        self.name = name
        self.file = file
        self.share = IMPORTANCE.get(name, NORMAL)
        self.limit = self.byte_limit = NOTHING
        self.most = self.most_bytes = NOTHING
        self.buffer = bytearray()  # whole lines; the chunk that grows
        # chunks that grow no more, and how many lines were counted by then: to look for their ends takes milliseconds
        self.full: deque[tuple[bytearray, int]] = deque()
        self.turning = threading.Lock()  # held while `buffer` is exchanged
        self.put = 0  # lines put in so far
        self.taken = 0  # lines taken out so far: written, held or given up
        self.lock = threading.RLock()
        self.busy = False  # in the middle of a step; perhaps by this very thread, beneath a signal handler
        self.held: list[tuple[bytearray, int]] = []  # those that are being written, or could not be
        self.held_lines = 0
        self.batch = 1  # the number of what is held, or will be next
        self.piece = _PIECE  # how many bytes are written at once
        self.wait = 0.0
        self.retry_at = 0.0
        self.written = 0
        self.lost = 0  # grows on any thread; `reported` follows it
        self.reported = 0

    @property
    def pending(self) -> int:
        """Lines that wait."""
        return max(self.put - self.taken, 0) + self.held_lines

    @property
    def is_long(self) -> bool:
        """Whether so much waits that it should not wait for the next round."""
        return len(self.full) > 2

    def add(self, line: bytes) -> None:
        """Queue a line."""
        ended = line + b"\n"
        buffer = self.buffer
        buffer.extend(ended)
        self.put += 1
        if len(buffer) > CHUNK:
            self.turn_over()

    def turn_over(self) -> None:
        """Begin a new chunk, if the present one is full and nobody else does so now."""
        if self.turning.acquire(blocking=False):
            try:
                if len(self.buffer) > CHUNK:
                    put = self.put  # whatever is counted by now is in this chunk, or in one before
                    full, self.buffer = self.buffer, bytearray()
                    self.full.append((full, put))
            finally:
                self.turning.release()

    def take(self) -> None:
        """Make the next chunks of the queue the held batch.

        Whoever flushes does this on his own thread, where a signal handler may raise between any two calls: so a chunk
        goes from one place to the other in one call, and whatever was held already is counted by the next round.
        """
        put = self.put  # every line that is counted is in a chunk by now
        full, held, count, size = self.full, self.held, 0, 0
        while count < len(full) and size < self.piece and count < _MOST_CHUNKS:
            size += len(full[count][0])
            count += 1
        held.extend(map(_next, repeat(full, count)))
        upto = held[-1][1] if held else self.taken
        # a moment's patience: whoever turns over has only two things left to do, unless a signal struck him there
        if not full and size < self.piece and self.turning.acquire(timeout=_PATIENCE_S):
            try:
                if not full:  # else it has just turned over, and comes next
                    upto, fresh = max(upto, put), bytearray()
                    last = self.buffer
                    if last:
                        self.buffer = fresh  # no call between this and the next one
                        held.append((last, upto))
            finally:
                self.turning.release()
        self.held_lines, self.taken = upto - self.taken, upto

    def done(self) -> None:
        """The held batch is written."""
        lines = self.held_lines
        # no call between these, else a signal handler that raises would have it written, or counted, twice
        self.held, self.held_lines, self.batch, self.written = [], 0, self.batch + 1, self.written + lines
        if not self.full:
            self.piece = _PIECE

    def failed(self) -> None:
        """It could not be: try one chunk at a time, as a disk with little room may take some."""
        self.piece = 1
        if len(self.held) > 1:
            back, taken = self.held[::-1], self.taken - self.held_lines
            self.held, self.held_lines, self.taken = [], 0, taken  # as in `take`: no call between this and the next one
            self.full.extendleft(back)

    def clear(self) -> None:
        """Give up what waits."""
        self.buffer, self.held, self.held_lines = bytearray(), [], 0
        self.full.clear()
        self.taken = self.put
        self.batch += 1


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
