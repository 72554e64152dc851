"""The bot's records in Redis streams, from a thread of its own.

Whoever hands a record in pays for a look-up and a deque's append. The thread looks four times a second; a batch stays
in hand until the server took it, and while the server is away the queue fills and then refuses, the least important
first. Executions take another way: they wait in the ledger, see `executions`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from botobs.report import Counts
from botobs.sinks.otlp.transport import not_traced
from botobs.sinks.redis.executions import Executions
from botobs.sinks.redis.link import Link, LinkTrouble, Refusal
from botobs.streams.names import IMPORTANCE, NORMAL, OTHER, stream_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from botobs.faults import Faults
    from botobs.metricpack.source import Source

__all__ = ["RedisPublisher"]

R = TypeVar("R")

_DROPPED: Final = "redis"  # what losses are counted under
_EVERY_S: Final = 0.25
_BATCH: Final = 100
_BATCH_BYTES: Final = 1 << 20
_STEPS: Final = 20  # batches of executions, before it is the records' turn
_BREATH_S: Final = 0.0002  # between two batches: only a real sleep lets the bot have the GIL
_MOST_BYTES: Final = 64 << 20
_MOST_KEYS: Final = 128
_FIRST_BACKOFF_S, _LONGEST_BACKOFF_S, _URGENT_BACKOFF_S = 0.1, 5.0, 0.05
_FAREWELL_S: Final = 0.03
# another attempt would be answered the same; everything else (full, read-only, loading, no permission) may pass
_FOR_GOOD: Final = frozenset({"ERR", "WRONGTYPE"})


class _Lane(NamedTuple):
    """One stream: the beginning of its command, and how full the queue may be for its records."""

    head: bytes
    limit: int


class RedisPublisher:
    """Publishes records and executions.

    Args:
        url: The server.
        faults: Where losses and failures are counted.
        bot: Whose records; they go to `<prefix>:<bot>:<stream>`.
        prefix: What the keys begin with.
        field: Under which name the record stands in its entry, as JSON.
        maxlen: About how many records each stream keeps.
        queue_size: How many records may wait.
        ledger: Where executions come from; `None`: none are published.
        since: A file that says from where on they are.
        executions: The stream that they go to.
        executions_maxlen: About how many of them it keeps.

    Raises:
        ConfigError: The extra `redis` is not installed, or the URL is none.
    """

    def __init__(
        self,
        url: str,
        faults: Faults,
        *,
        bot: str,
        prefix: str = "botobs",
        field: str = "json",
        maxlen: int = 10_000,
        queue_size: int = 50_000,
        ledger: Source | None = None,
        since: Path | None = None,
        executions: str = "quantum:stream:apply.result",
        executions_maxlen: int = 1_000_000,
    ) -> None:
        self._link = Link(url)
        self._faults = faults
        self._prefix, self._field, self._maxlen = f"{prefix}:{bot}", field.encode(), maxlen
        self._queue_size = queue_size
        self._lanes: dict[Any, _Lane] = {}
        self._queue: deque[tuple[_Lane, bytes]] = deque()
        self._bytes = 0
        self._hand: list[tuple[_Lane, bytes]] = []
        self._lost = self._told_lost = 0
        self._delivered = 0
        self._closed = False
        self.trouble: str | None = None
        self.executions: Executions | None = None
        if ledger is not None and since is not None:
            self.executions = Executions(
                ledger, self._link, stream=executions, checkpoint=f"{self._prefix}:published",
                maxlen=executions_maxlen, bot=bot, since=since,
            )  # fmt: skip
        self._ledger = ledger
        self._begin()
        self._thread = threading.Thread(target=self._run, name="botobs-redis", daemon=True)

    def start(self) -> None:
        """Begin to publish."""
        self._thread.start()

    def _begin(self) -> None:
        self._lock = threading.RLock()  # re-entrant: a signal handler may flush while its own thread is in here
        self._wake = threading.Condition(self._lock)
        self._turned = threading.Condition(self._lock)  # a round is over
        self._begun = self._ended = 0  # rounds
        self._clean = True  # whether the last one left nothing
        self._urgent_until = 0.0
        self._failures = 0

    # --- the bot's side

    def put(self, stream: str, line: bytes) -> None:
        """Hand in a record: it is published soon, or counted as dropped. Never waits."""
        try:
            lane = self._lanes[stream]
        except Exception:  # not known yet, or nothing that can be looked up
            lane = self._lane(stream)
        queue = self._queue
        if len(queue) >= lane.limit or self._bytes >= _MOST_BYTES:
            self._lost += 1
            return
        self._bytes += len(line)
        queue.append((lane, line))

    def beside(self, put: Callable[[str, bytes], R]) -> Callable[[str, bytes], R]:
        """`put`, and what is put is published as well."""
        mine = self.put

        def both(stream: str, line: bytes) -> R:
            done = put(stream, line)
            mine(stream, line)
            return done

        return both

    def _lane(self, stream: Any) -> _Lane:
        name = stream_name(stream)
        known = self._lanes.get(name)
        if known is None:
            if len(self._lanes) >= _MOST_KEYS and name not in IMPORTANCE:
                name = OTHER
            key = f"{self._prefix}:{name}".encode("utf-8", "backslashreplace")
            command = (b"XADD", key, b"MAXLEN", b"~", b"%d" % self._maxlen, b"*", self._field)
            head = b"*8\r\n" + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in command)
            known = _Lane(head, max(int(self._queue_size * IMPORTANCE.get(name, NORMAL)), 1))
            self._lanes[name] = known
        if type(stream) is str and len(self._lanes) < 8 * _MOST_KEYS:
            self._lanes[stream] = known
        return known

    @property
    def counts(self) -> Counts:
        """Records published, waiting and dropped so far."""
        return Counts(self._delivered, len(self._queue) + len(self._hand), self._lost)

    # --- the end

    def flush(self, deadline: float) -> bool:
        """Publish what was handed in before the call, trying again until `deadline` (of `time.monotonic`).

        Returns:
            Whether all of it, and all executions, are with the server.
        """
        with self._lock:
            if not self._thread.is_alive() or self._closed:
                return False
            self._urgent_until = max(self._urgent_until, deadline)
            lost = self._lost
            need = self._begun + 1  # a round that begins from now on sees all of it
            self._wake.notify()
            while not self._is_done(need):
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._turned.wait(left)
            self._urgent_until = 0.0
            return self._clean and self._lost == lost

    def _is_done(self, rounds: int) -> bool:
        return self._closed or (self._ended >= rounds and self._clean)

    def close(self, deadline: float) -> bool:
        """Flush, then end. Records left at `deadline` are counted as dropped; executions stay in the ledger.

        Returns:
            Whether everything was delivered.
        """
        delivered = self.flush(deadline)
        with self._lock:
            self._closed = True
            left = len(self._queue) + len(self._hand)
            self._queue.clear()
            self._hand = []
            self._lost += left
            self._wake.notify_all()
            self._turned.notify_all()
        if self._thread.is_alive():
            self._thread.join(max(deadline - time.monotonic(), _FAREWELL_S))
        self._tell()
        return delivered and not left

    def abandon(self) -> None:
        """Forget everything in a forked child: no thread, no lock, nothing sent."""
        self._closed = True
        self._queue = deque(maxlen=0)
        self._hand = []
        self._begin()
        self._link.abandon()
        if self._ledger is not None:
            self._ledger.close()

    # --- the thread's side

    def _run(self) -> None:
        not_traced()
        while self._rest():
            clean = False
            try:
                clean = self._round()
                self._recovered()
            except LinkTrouble as trouble:
                self._postpone(str(trouble))
            except Exception as error:  # the ledger cannot be read, or a defect of ours: it is tried again
                self._postpone(f"{type(error).__name__}: {error}")
                self._count(error)
            self._tell()
            with self._lock:
                self._ended, self._clean = self._begun, clean and not self._hand
                self._turned.notify_all()
        self._link.drop()
        if self._ledger is not None:
            self._ledger.close()

    def _rest(self) -> bool:
        """Wait for the next round; False when it is over."""
        with self._lock:
            pause = _EVERY_S
            if self._failures:
                pause = min(_FIRST_BACKOFF_S * 2 ** min(self._failures, 10), _LONGEST_BACKOFF_S)
            if time.monotonic() < self._urgent_until:
                pause = _URGENT_BACKOFF_S if self._failures else 0.0
            if not self._closed and pause and (self._clean or self._failures):
                self._wake.wait(pause)
            self._begun += 1
            return not self._closed

    def _round(self) -> bool:
        """Publish what waits; whether nothing of it is left."""
        more = self._publish_executions()
        most = len(self._queue) + len(self._hand)  # what comes meanwhile has time
        while most > 0 and not self._closed:
            with self._lock:
                size = sum(len(line) for _, line in self._hand)
                while self._queue and len(self._hand) < _BATCH and size < _BATCH_BYTES:
                    entry = self._queue.popleft()
                    size += len(entry[1])
                    self._bytes -= len(entry[1])
                    self._hand.append(entry)
                hand = self._hand
            if not hand:
                break
            most -= len(hand)
            self._send(hand)
            time.sleep(_BREATH_S)
        return not more

    def _publish_executions(self) -> bool:
        """Bring some executions out of the ledger; whether there are more."""
        executions = self.executions
        if executions is None:
            return False
        more = True
        for _ in range(_STEPS):
            if not more or self._closed:
                break
            more = executions.step()
            time.sleep(_BREATH_S if more else 0)
        lost, executions.lost = executions.lost, None
        if lost is not None:
            self._faults.say(_DROPPED, "ledger", f"executions for Redis: {lost}")
        if executions.refused:
            self._lost, executions.refused = self._lost + executions.refused, 0
        return more

    def _send(self, hand: list[tuple[_Lane, bytes]]) -> None:
        packed = b"".join([b"%b$%d\r\n%b\r\n" % (lane.head, len(line), line) for lane, line in hand])
        answers = self._link.sent([packed], len(hand))
        later, gone, why = [], 0, ""
        for entry, answer in zip(hand, answers, strict=True):
            if isinstance(answer, Refusal):
                why = str(answer)
                if answer.code in _FOR_GOOD:
                    gone += 1
                else:
                    later.append(entry)
        with self._lock:
            if self._hand is not hand:
                return  # given up and counted meanwhile
            self._hand = later
            self._delivered += len(hand) - len(later) - gone
            self._lost += gone
        if gone:
            self._faults.say(_DROPPED, "refused", f"{gone} records were refused: {why}")
        if later:
            raise LinkTrouble(why)

    def _recovered(self) -> None:
        if self._failures:
            self._failures, self.trouble = 0, None
            self._faults.say(_DROPPED, "works again", f"publishing to {self._link.name} works again")

    def _postpone(self, why: str) -> None:
        self._failures += 1
        self.trouble = why
        self._faults.say(_DROPPED, "later", f"what is for Redis waits: {why}")

    def _tell(self) -> None:
        """Count what was dropped since the last time: it may be 100,000 a second."""
        lost = self._lost - self._told_lost
        if lost > 0:
            self._told_lost += lost
            self._faults.dropped(_DROPPED, lost)

    def _count(self, error: Exception) -> None:
        try:
            self._faults.error("redis", error)
        except Exception:  # strict mode: the thread has to live on, the error is counted
            return
