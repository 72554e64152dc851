"""Queues encoded spans and sends them from a thread of its own.

Whoever hands spans in pays for a deque's append and a comparison. The thread wakes once a second, or earlier
under pressure. A batch stays in hand until the collector took or refused it; when the queue overflows, its
oldest spans go. Every span ends up as delivered or dropped, and the caller of `flush` or `close` waits for a
condition, never for the network, so a deadline holds whatever the collector does.
"""

from __future__ import annotations

import contextlib
import random
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

import attrs

from botobs.sinks.otlp.transport import Refused, TryLater, not_traced

if TYPE_CHECKING:
    from botobs.faults import Faults
    from botobs.sinks.otlp.envelope import Envelope
    from botobs.sinks.otlp.transport import Transport

__all__ = ["Counts", "SpanSender"]

_STREAM = "spans"
_MOST_BYTES = 3 << 20  # a gRPC server takes 4 MB unless told otherwise
_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S = 0.5, 10.0
_FIRST_URGENT_S, _LONGEST_URGENT_S = 0.05, 0.5
_LONGEST_RETRY_AFTER_S = 60.0
_BREATH_S = 0.0001  # between two stretches of work: only a real sleep lets the bot have the GIL
_FAREWELL_S = 0.03  # what the thread gets to end after its connection was cut


@attrs.frozen
class Counts:
    """What became of what was handed in."""

    delivered: int
    pending: int
    dropped: int


@attrs.frozen(eq=False)
class _Batch:
    count: int
    chunks: list[bytes]


class SpanSender:
    """Sends spans that arrive as bytes.

    Args:
        envelope: What to put around them.
        transport: How to send; closed by `close`.
        faults: Where drops and failures are reported.
        queue_spans: How many may wait.
        batch_spans: How many travel together at most; the spans of one tick always do.
        delay_s: How long they may wait for company.
        timeout_s: The most one attempt may take.
    """

    __slots__ = (
        "_alarm_at",
        "_append",
        "_batch_spans",
        "_bell",
        "_closed",
        "_delay_s",
        "_delivered",
        "_dropped",
        "_due",
        "_entered",
        "_envelope",
        "_failures",
        "_faults",
        "_hand",
        "_lock",
        "_queue",
        "_queue_spans",
        "_settled",
        "_taken",
        "_thread",
        "_timeout_s",
        "_transport",
        "_urgent_until",
        "_wake_spans",
        "trouble",
    )

    def __init__(
        self,
        envelope: Envelope,
        transport: Transport,
        faults: Faults,
        *,
        queue_spans: int = 65_536,
        batch_spans: int = 2_048,
        delay_s: float = 1.0,
        timeout_s: float = 10.0,
    ) -> None:
        self._envelope, self._transport, self._faults = envelope, transport, faults
        self._queue_spans, self._batch_spans = queue_spans, batch_spans
        self._delay_s, self._timeout_s = delay_s, timeout_s
        # few wake-ups with full batches beat many small ones; a quarter leaves room for what comes meanwhile
        self._wake_spans = min(max(batch_spans, queue_spans // 4), queue_spans)
        self._queue: deque[tuple[int, bytes]] = deque()
        self._append = self._queue.append
        self._entered = 0  # spans handed in: written by `put` alone, which takes no lock
        self._taken = 0  # spans that left the queue; this and all below under the lock
        self._alarm_at = self._wake_spans  # value of `_entered` at which `put` has to do more
        self._hand: _Batch | None = None
        self._delivered = self._dropped = 0
        self._failures = 0
        self._due = time.monotonic() + delay_s
        self._urgent_until = 0.0
        self._closed = False
        self.trouble: str | None = None
        self._lock = threading.RLock()  # re-entrant: a signal handler may flush while its own thread is in here
        self._bell = threading.Lock()  # let go of: rung. A condition takes ten times the lines, each of them cold
        self._bell.acquire()
        self._settled = threading.Condition(self._lock)
        self._thread = threading.Thread(target=self._run, name="botobs-otlp", daemon=True)
        self._thread.start()

    def put(self, count: int, chunk: bytes) -> None:
        """Hand in the spans of one tick: `count` of them, each with tag and length in front, in `chunk`."""
        self._append((count, chunk))
        # += on a slot is not interrupted while there is a GIL: there is no call and no jump inside
        self._entered = entered = self._entered + count
        if entered >= self._alarm_at:
            self._alarm()

    def crowded(self) -> bool:
        """Whether a quarter of the room is taken."""
        return self._entered - self._taken > self._queue_spans // 4

    @property
    def counts(self) -> Counts:
        """Spans delivered, pending and dropped so far."""
        with self._lock:
            pending = max(self._entered - self._taken, 0) + (self._hand.count if self._hand else 0)
            return Counts(self._delivered, pending, self._dropped)

    def flush(self, deadline: float) -> bool:
        """Send at once what was handed in so far, trying again until `deadline` (of `time.monotonic`).

        Returns:
            Whether all of it was delivered.
        """
        with self._lock:
            mark, dropped = self._entered, self._dropped
            self._urgent_until = max(self._urgent_until, deadline)
            self._failures = 0
            self._due = 0.0
            self._ring()
            while not self._is_settled(mark):
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._settled.wait(left)
            self._urgent_until = 0.0  # what comes later has time again
            return self._dropped == dropped

    def close(self, deadline: float) -> bool:
        """Flush, then end; whatever is left at `deadline` is counted as dropped.

        Returns:
            Whether everything was delivered.
        """
        delivered = self.flush(deadline)
        with self._lock:
            self._closed = True
            self._alarm_at = -1  # a `put` that comes too late is counted as dropped
            left = self._sweep(0) + (self._hand.count if self._hand else 0)
            self._hand = None
            self._dropped += left
            self._ring()
            self._settled.notify_all()
        if left:
            self._faults.dropped(_STREAM, left)
        self._transport.close()
        self._thread.join(max(deadline - time.monotonic(), _FAREWELL_S))
        return delivered and not left

    def abandon(self) -> None:
        """Forget everything, in a forked child or where this one was made in vain: no lock, nothing sent."""
        self._closed = True
        self._ring()  # a thread, where there is one, ends now and not at its next turn
        self._append = _nowhere
        self._alarm_at = sys.maxsize
        self._queue.clear()
        self._transport.abandon()

    # --- the caller's side, rarely

    def _alarm(self) -> None:
        """Wake the thread, and make room if the queue is full; called by `put` at a threshold."""
        gone = 0
        with self._lock:
            if self._closed:
                gone = self._sweep(0)
            else:
                if self._entered - self._taken >= self._queue_spans:
                    # a little more than needed goes, so that the next thousands of spans come in cheaply
                    gone = self._sweep(self._queue_spans - self._queue_spans // 32)
                self._alarm_at = self._taken + self._queue_spans
                if not self._failures:
                    self._due = 0.0
                    self._ring()
            self._dropped += gone
            if gone:
                self._settled.notify_all()
        if gone:
            self._faults.dropped(_STREAM, gone)

    def _ring(self) -> None:
        with contextlib.suppress(RuntimeError):  # it was rung already
            self._bell.release()

    def _sweep(self, keep: int) -> int:
        """Drop the oldest until `keep` spans wait; how many went."""
        gone = 0
        while self._queue and self._entered - self._taken > keep:
            count, _ = self._queue.popleft()
            self._taken += count
            gone += count
        return gone

    def _is_settled(self, mark: int) -> bool:
        idle = self._hand is None and not self._queue
        return idle or self._closed or self._delivered + self._dropped >= mark

    # --- the thread's side

    def _run(self) -> None:
        not_traced()
        while self._rest():
            while (batch := self._next()) is not None and self._attempt(batch):
                pass

    def _rest(self) -> bool:
        """Wait until there is something to do; False when it is over."""
        while not self._closed and (left := self._due - time.monotonic()) > 0:
            self._bell.acquire(timeout=left)
        return not self._closed

    def _next(self) -> _Batch | None:
        """The batch in hand, or the next from the queue; None when there is nothing."""
        with self._lock:
            if self._hand is not None or self._closed:
                return self._hand
            chunks: list[bytes] = []
            count = size = 0
            queue, most = self._queue, self._batch_spans
            take = queue.popleft
            while queue:
                more, chunk = item = take()
                size += len(chunk)
                if chunks and (count + more > most or size > _MOST_BYTES):
                    queue.appendleft(item)  # opens the next batch
                    break
                chunks.append(chunk)
                count += more
            self._taken += count
            if not chunks:
                self._due = time.monotonic() + self._delay_s
                self._alarm_at = self._taken + self._wake_spans
                self._settled.notify_all()
                return None
            self._alarm_at = self._taken + self._queue_spans
            self._hand = _Batch(count, chunks)
            return self._hand

    def _attempt(self, batch: _Batch) -> bool:
        """Try to send; whether the next batch may follow at once."""
        time.sleep(_BREATH_S)
        try:
            rejected, message = self._transport.send(self._envelope.wrap(batch.chunks), self._timeout_s)
        except TryLater as error:
            self._postpone(str(error), error.after_s)
            return False
        except Refused as error:
            self._settle(batch, batch.count, f"refused: {error}")
        except Exception as error:  # a defect of ours must not stop what comes behind
            self._settle(batch, batch.count, f"{type(error).__name__}")
            self._faults.error("otlp", error)
        else:
            self._settle(batch, min(rejected, batch.count), f"rejected in part: {message}" if rejected else None)
        return self._goes_on(batch)

    def _goes_on(self, batch: _Batch) -> bool:
        """Whether the next batch follows at once; after one that was far from full, others may gather first."""
        with self._lock:
            now = time.monotonic()
            if batch.count * 2 >= self._batch_spans or now < self._urgent_until:
                return True
            self._due = now + self._delay_s
            self._alarm_at = self._taken + self._wake_spans
            return False

    def _settle(self, batch: _Batch, dropped: int, trouble: str | None) -> None:
        with self._lock:
            if self._hand is not batch:
                return  # given up and counted meanwhile
            self._hand = None
            self._delivered += batch.count - dropped
            self._dropped += dropped
            if dropped:  # before whoever waits for the flush goes on
                self._faults.count(_STREAM, dropped)
            self._failures = 0
            self.trouble = trouble
            self._settled.notify_all()
        if trouble:
            self._faults.say("otlp", trouble, f"{dropped} spans lost: {trouble}")
        if dropped:
            self._faults.tell(_STREAM)

    def _postpone(self, reason: str, after_s: float | None) -> None:
        with self._lock:
            if self._closed:
                return
            now = time.monotonic()
            first, longest = _FIRST_BACKOFF_S, _LONGEST_BACKOFF_S
            if now < self._urgent_until:
                first, longest = _FIRST_URGENT_S, _LONGEST_URGENT_S
            pause = min(first * 2 ** min(self._failures, 10), longest)
            pause *= random.uniform(0.8, 1.2)  # noqa: S311  # spreads the load, guards nothing
            if after_s is not None:
                pause = min(max(after_s, first), _LONGEST_RETRY_AFTER_S)
            self._failures += 1
            self._due = now + pause
            self.trouble = reason
        self._faults.say("otlp", "later", f"spans wait: {reason}")


def _nowhere(_item: tuple[int, bytes]) -> None:
    """Where a forked child's spans go."""
