"""The background lane of the bus: a bounded queue and one thread that works it off.

When the queue is full the least important gives way, the oldest first; what is critical never does.
A subscriber that hangs is left behind with the thread it holds: a fresh thread goes on with the next
subscriber of the same event, so nobody else misses an event or sees one twice.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from botobs.events import Event, Importance, stream_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from botobs.bus.subscription import Subscription, Tally

__all__ = ["Backlog", "Entry", "Lane"]

_SLICE_S = 100e-6  # the thread works for so long at a stretch: all that time the bot waits for the GIL
_PAUSE_S = 200e-6
_LINGER_S = 0.01  # events that follow closely share one wake-up


class Entry(NamedTuple):
    """An event in the queue, and who gets it."""

    seq: int
    event: Event
    subs: tuple[Subscription, ...]


class Backlog:
    """The queue with its drop policy. Not locked: the lane does that.

    Args:
        size: The most entries it holds, apart from critical ones; `None`: no bound.
    """

    def __init__(self, size: int | None) -> None:
        self._size = size
        self._levels: tuple[deque[Entry], ...] = tuple(deque() for _ in Importance)

    def __len__(self) -> int:
        return sum(map(len, self._levels))

    def push(self, importance: int, entry: Entry) -> Entry | None:
        """Queue `entry`; what had to give way for it: an older one, itself, or nothing."""
        victim = None
        if self._size is not None and len(self) >= self._size:
            lowest = next(level for level, queued in enumerate(self._levels) if queued)
            if importance < lowest:
                return entry
            if lowest < Importance.CRITICAL:
                victim = self._levels[lowest].popleft()
        self._levels[importance].append(entry)
        return victim

    def oldest(self) -> int | None:
        """The sequence number of the entry that is next."""
        return min((queued[0].seq for queued in self._levels if queued), default=None)

    def pop(self) -> Entry | None:
        """Take the oldest entry, of whatever importance: order is kept."""
        filled = [queued for queued in self._levels if queued]
        return min(filled, key=lambda queued: queued[0].seq).popleft() if filled else None


class _Line:
    """Where the lane stands. A fresh thread takes over from a stuck one with a line of its own."""

    __slots__ = ("entry", "given_up", "inline", "rest", "since", "slice", "sub", "thread")

    def __init__(self) -> None:
        self.thread: threading.Thread | None = None
        self.inline = False  # a caller's thread works it off
        self.entry: Entry | None = None
        self.rest: list[Subscription] = []  # who has yet to get the entry, last one first
        self.sub: Subscription | None = None  # who is being called
        self.since = 0.0
        self.slice = 0.0
        self.given_up = False


class Lane:
    """The background lane.

    Args:
        tally: Where failures and losses are counted.
        size: Bound of the queue.
        threaded: Whether it has a thread; else `push` works the queue off itself, without bound or limit.
        limit_s: How long a call may take before the others go on without it.
    """

    # real time, also where a test freezes `time`: a subscriber hangs in real time
    _now: Callable[[], float] = staticmethod(time.monotonic)

    def __init__(self, tally: Tally, *, size: int, threaded: bool, limit_s: float) -> None:
        self._tally = tally
        self._size = max(1, size) if threaded else None
        self._threaded = threaded
        self._limit_s = limit_s
        self._reset()

    def _reset(self) -> None:
        # re-entrant: a signal handler may publish or flush while its own thread is in here
        self._lock = threading.RLock()
        self._work = threading.Condition(self._lock)  # there is something to do
        self._done = threading.Condition(self._lock)  # an entry is worked off
        self._backlog = Backlog(self._size)
        self._line = _Line()
        self._seq = 0
        self._asleep = False
        self._flushing = 0
        self._closed = False

    def __len__(self) -> int:
        with self._lock:
            return len(self._backlog)

    def push(self, items: Iterable[tuple[Event, int, tuple[Subscription, ...]]]) -> None:
        """Queue events: each with its importance and who gets it."""
        urgent = False
        with self._lock:
            for event, importance, subs in items:
                if self._closed:
                    self._tally.lose(_lost_as(event))
                    continue
                self._seq += 1
                victim = self._backlog.push(importance, Entry(self._seq, event, subs))
                if victim is not None:
                    self._tally.lose(_lost_as(victim.event))
                urgent = urgent or importance >= Importance.CRITICAL
            if self._threaded:
                self._wake(urgent=urgent)
        if self._threaded:
            self.housekeep()
        else:
            self._drain()

    def _wake(self, *, urgent: bool) -> None:
        if self._line.thread is None:
            self._start()
        elif self._asleep or urgent:
            self._asleep = False
            self._work.notify()

    def _start(self) -> None:
        line = self._line
        if line.inline or self._closed:
            return
        thread = threading.Thread(target=self._serve, args=(line,), name="botobs-bus", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # none to be had now: the next event tries again, and a flush does without
            return
        line.thread = thread

    # -- working it off

    def _serve(self, line: _Line) -> None:
        while (work := self._next(line)) is not None:
            sub, event = work
            try:
                sub.call(event)
            except BaseException as error:
                if line.inline and not isinstance(error, Exception):
                    raise  # Ctrl-C in a backtest
                if not line.given_up:  # else it is counted already
                    self._tally.fail(sub.where, error)

    def _next(self, line: _Line) -> tuple[Subscription, Event] | None:
        """Close the last call and find the next; waits for one, unless the line is worked off inline."""
        lingered = False
        with self._lock:
            while self._line is line:
                line.sub = None
                if line.entry is not None:
                    found = self._next_of(line, line.entry)
                    if found is not None:
                        return found
                    line.entry = None
                    if self._flushing:
                        self._done.notify_all()
                now = self._now()
                hurried = line.inline or self._flushing
                if not hurried and now - line.slice > _SLICE_S and len(self._backlog):
                    self._work.wait(_PAUSE_S)
                    line.slice = self._now()
                    continue
                line.entry = self._backlog.pop()
                if line.entry is not None:
                    line.rest = list(reversed(line.entry.subs))
                elif line.inline or self._closed:
                    line.inline = False
                    return None
                elif not lingered:
                    lingered = True
                    self._work.wait(_LINGER_S)
                    line.slice = self._now()
                else:
                    lingered = False
                    self._asleep = True
                    self._work.wait()
                    self._asleep = False
                    line.slice = self._now()
            if line.given_up and line.sub is not None:
                line.sub.came_back(line)
            return None

    def _next_of(self, line: _Line, entry: Entry) -> tuple[Subscription, Event] | None:
        while line.rest:
            sub = line.rest.pop()
            if not sub.active:
                continue
            if sub.hung:
                self._tally.lose(sub.where)
                continue
            line.sub, line.since = sub, self._now()
            return sub, entry.event
        return None

    def _drain(self) -> None:
        line = self._line
        with self._lock:
            if line.inline or line.thread is not None:
                return  # published by a subscriber: it is next when that returns
            line.inline = True
        try:
            self._serve(line)
        except BaseException:
            line.inline = False  # what is left is for the next one
            raise

    def housekeep(self) -> None:
        """Leave a call behind that takes too long, with its thread, and go on without it. Never raises."""
        with self._lock:
            line, now = self._line, self._now()
            sub = line.sub
            if sub is None or line.inline or now - line.since <= self._limit_s:
                if self._threaded and line.thread is None and (line.rest or len(self._backlog)):
                    self._start()
                return
            line.given_up = True
            sub.gave_up(line)
            self._line = _Line()
            self._line.entry, self._line.rest = line.entry, line.rest
            self._start()
        self._tally.fail(sub.where, TimeoutError(f"no answer within {self._limit_s:g} s; going on without it"))

    # -- ending

    def flush(self, deadline: float) -> bool:
        """Wait until all that was pushed before is worked off; `deadline` on `time.monotonic`."""
        if not self._threaded:
            self._drain()
            return not len(self)
        end = self._now() + deadline - time.monotonic()
        with self._lock:
            if self._line.thread is threading.current_thread():
                return not len(self._backlog)  # a subscriber cannot wait for its own return
            target = self._seq
            self._flushing += 1
            self._work.notify_all()
        try:
            while True:
                self.housekeep()
                with self._lock:
                    if not self._pending(target):
                        return True
                    waits = self._line.thread is not None or self._line.inline
                    if self._now() >= end:
                        return False
                    if waits:
                        self._done.wait(min(end - self._now(), self._patience()))
                if not waits:
                    self._drain()
        finally:
            with self._lock:
                self._flushing -= 1

    def _pending(self, target: int) -> bool:
        entry, oldest = self._line.entry, self._backlog.oldest()
        return (entry is not None and entry.seq <= target) or (oldest is not None and oldest <= target)

    def _patience(self) -> float:
        if self._line.sub is None:
            return self._limit_s
        return max(0.001, self._line.since + self._limit_s - self._now())

    def close(self, deadline: float) -> bool:
        """Flush, then end the thread; what is left is lost and counted. Whether nothing was left."""
        end = self._now() + deadline - time.monotonic()
        try:
            return self.flush(deadline)
        finally:
            with self._lock:
                self._closed = True
                line = self._line
                if line.rest and line.entry is not None:  # stuck half way: the others never get it
                    line.rest = []
                    self._tally.lose(_lost_as(line.entry.event))
                while (entry := self._backlog.pop()) is not None:
                    self._tally.lose(_lost_as(entry.event))
                self._work.notify_all()
            if line.thread is not None and line.thread is not threading.current_thread():
                line.thread.join(max(0.0, end - self._now()))

    def abandon(self) -> None:
        """In a forked child: forget all, without touching what a thread of the parent may have locked."""
        self._reset()


def _lost_as(event: Event) -> str:
    return stream_of(event) or f"bus:{type(event).__name__}"
