"""All streams of one observer: bounded queues in front, whole lines on disk behind.

The hot path only appends to a deque. The drainer writes in slices; `write_now` and `flush` write on the
caller's thread. Whoever writes a stream holds its lane's lock, so lines keep their order.

The queue's counters are changed without a lock: under the GIL, `self._count += 1` is not interrupted.
Whatever drift there may be ends whenever the queue is empty.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from botobs.streams.archive import ArchiveFolder
from botobs.streams.jsonl import JsonlFile
from botobs.streams.lane import CHUNK, NOTHING, Held, Lane
from botobs.streams.names import ARCHIVE, IMPORTANCE, OTHER, PATHS, stream_name, stream_path
from botobs.streams.torn import Repair, repair

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from botobs.clock import Clock
    from botobs.faults import Faults
    from botobs.streams.disk import Disk

__all__ = ["StreamStore"]

_QUEUE_BYTES = 64 << 20
_PRESSURE = 0.25  # the share of the queue from which the drainer is called
_MOST_USER_STREAMS = 64
_MOST_ALIASES = 1024
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 5.0


class StreamStore:
    """Takes lines for streams and brings them to disk.

    Args:
        root: The `data_dir`; None counts lines and throws them away.
        queue_size: How many lines may wait, over all streams.
        rotate_bytes: Size at which a stream's file is rotated.
        rotate_ns: Age at which it is.
        clock: Tells the age.
        disk: The way to the operating system.
        faults: Gets what fails and what is dropped.
        synchronous: A full queue makes the caller write instead of dropping, for backtests.

    Attributes:
        on_pressure: Called, on the thread that puts a line, when the queue fills and is not being drained.
    """

    def __init__(
        self,
        root: Path | None,
        *,
        queue_size: int,
        rotate_bytes: int,
        rotate_ns: int,
        clock: Clock,
        disk: Disk,
        faults: Faults,
        synchronous: bool = False,
    ) -> None:
        self._queue_size = max(1, queue_size)
        self._rotate_bytes = rotate_bytes
        self._rotate_ns = rotate_ns
        self._clock = clock
        self._disk = disk
        self._faults = faults
        self._synchronous = synchronous
        self._count = 0
        self._bytes = 0
        self._closed = False
        self._pressed = False  # the drainer was called and has not begun
        self.on_pressure: Callable[[], object] | None = None
        self._losses = False  # some lane has lost lines that are not reported yet
        self._turn = 0
        self._lanes: list[Lane] = []
        self._by_name: dict[str, Lane] = {}
        self._aliases: dict[str, Lane] = {}
        self._making = threading.RLock()  # re-entrant, for signal handlers
        self._telling = threading.Lock()
        self._found: list[Repair] = []
        self._logs = None if root is None else root / "logs"
        self._archive = None if self._logs is None else ArchiveFolder(self._logs / ARCHIVE, faults, inline=synchronous)
        self._mend()

    # --- in

    def put(self, stream: str, line: bytes) -> None:
        """Queue a line, without its line end. Never waits for the disk, unless the store is synchronous."""
        try:
            lane = self._aliases[stream]
        except Exception:  # unknown, or nothing that can be looked up
            lane = self._lane(stream)
        if self._count >= lane.limit or self._bytes >= lane.byte_limit:
            self._full(lane, line)
            return
        ended = line + b"\n"
        buffer = lane.buffer
        buffer.extend(ended)  # as `Lane.add`, without a call
        lane.put += 1
        self._count += 1
        self._bytes += len(line) + 1
        if len(buffer) > CHUNK:
            lane.turn_over()

    def write_now(self, stream: str, line: bytes) -> bool:
        """Write a line, after what is queued for its stream, before returning.

        False if that failed: then the line waits in the queue as any other, or was dropped and counted.
        """
        lane = self._lane(stream)
        if self._closed or lane.file is None:
            self.put(stream, line)
            return not self._closed
        with Held(lane, None) as mine:
            if self._count >= self._queue_size and not (mine and self._empty(lane)):
                self._lose(lane, 1)
                return False
            lane.add(line)
            self._count += 1
            self._bytes += len(line) + 1
            return mine and self._empty(lane)

    # --- out

    def drain(self, budget_ns: int) -> bool:
        """Write for about `budget_ns`, in turns over the streams; True if much is left that could be written.

        Streams whose disk failed are left alone until their time to retry has come.
        """
        self._pressed = False
        if self._losses:
            self._tell()
        lanes, started = list(self._lanes), time.perf_counter_ns()
        for turn in range(len(lanes)):
            self._turn = (self._turn + 1) % len(lanes)
            lane = lanes[self._turn]
            if not lane.pending or (lane.wait and time.monotonic() < lane.retry_at):
                continue
            with Held(lane, 0.0) as mine:
                if mine:
                    self._step(lane)
            if time.perf_counter_ns() - started >= budget_ns:
                left = [lanes[(self._turn + 1 + n) % len(lanes)] for n in range(len(lanes) - turn - 1)]
                break
        else:
            left = []
            if self._count and not self.pending:
                self._count = self._bytes = 0
        # what came meanwhile may wait for the next round, unless it is much: each turn costs the bot a pause
        return any(lane.pending and not lane.wait for lane in left) or any(
            lane.is_long and not lane.wait for lane in lanes
        )

    def flush(self, deadline_monotonic: float, *, sync: bool) -> bool:
        """Write what was queued before the call, and with `sync` bring it past the operating system too.

        Any thread may call it. False if something could not be written until the deadline (`time.monotonic`).
        """
        done = True
        lanes = list(self._lanes)
        for lane in lanes:
            with Held(lane, deadline_monotonic) as mine:
                done = (self._empty(lane, deadline_monotonic) if mine else not lane.pending) and done
        for lane in lanes if sync else ():  # only now: the time that a slow disk takes is taken from no other stream
            with Held(lane, deadline_monotonic) as mine:
                done = mine and (lane.file is None or lane.file.sync()) and done
        if self._losses:
            self._tell()
        return done

    def close(self, deadline: float) -> bool:
        """Write and sync what waits, then close; False if something was left when the deadline came.

        Lines that could not be written are counted as dropped.
        """
        if self._closed:
            return True
        done = self.flush(deadline, sync=True)
        self._closed = True
        for lane in list(self._lanes):
            lane.limit = NOTHING
            with Held(lane, deadline) as mine:
                if not mine:
                    self._lose(lane, lane.pending)
                    continue
                done = self._empty(lane, deadline) and done  # what came in meanwhile
                self._lose(lane, lane.pending)
                self._forget(lane)
                if lane.file is not None:
                    lane.file.close()
        if self._losses:
            self._tell()
        return (self._archive is None or self._archive.close(deadline)) and done

    def abandon(self) -> None:
        """Let go of everything unwritten: after a fork, in the child. Takes no lock; its holder is gone."""
        self._closed = True
        for lane in self._lanes:
            lane.limit = NOTHING
            lane.lock, lane.busy = threading.RLock(), False
            lane.clear()
            if lane.file is not None:
                lane.file.abandon()
        self._making, self._telling = threading.RLock(), threading.Lock()
        self._count = self._bytes = 0
        if self._archive is not None:
            self._archive.abandon()

    # --- what is known

    @property
    def pending(self) -> int:
        """Lines that wait for the disk."""
        return sum(lane.pending for lane in self._lanes)

    @property
    def written(self) -> int:
        """Lines handed to the operating system; without a `root`, lines counted."""
        return sum(lane.written for lane in self._lanes)

    @property
    def dropped(self) -> int:
        """Lines lost."""
        return sum(lane.lost for lane in self._lanes)

    @property
    def repairs(self) -> list[Repair]:
        """Torn ends found and mended, at the start and since."""
        files = [lane.file for lane in self._lanes if lane.file is not None]
        return [*self._found, *(mended for file in files for mended in file.repairs)]

    # --- inside

    def _lane(self, stream: object) -> Lane:
        if type(stream) is str and stream in self._aliases:
            return self._aliases[stream]
        name = stream_name(stream)
        with self._making:
            lane = self._by_name.get(name)
            if lane is None:
                users = sum(known not in IMPORTANCE for known in self._by_name)
                if name not in IMPORTANCE and name != OTHER and users >= _MOST_USER_STREAMS:
                    message = f"more than {_MOST_USER_STREAMS} streams of its own; {name!r} goes to {OTHER!r}"
                    self._faults.say("streams", "many", message)
                    name = OTHER
                lane = self._by_name.get(name) or self._open_lane(name)
            if type(stream) is str and len(self._aliases) < _MOST_ALIASES:
                self._aliases[stream] = lane
        return lane

    def _open_lane(self, name: str) -> Lane:
        file = None
        if self._logs is not None and self._archive is not None:
            file = JsonlFile(
                stream_path(self._logs, name),
                rotate_bytes=self._rotate_bytes,
                rotate_ns=self._rotate_ns,
                clock=self._clock,
                disk=self._disk,
                faults=self._faults,
                archive=self._archive,
                stream=name,
            )
        lane = Lane(name, file)
        if file is not None and not self._closed:
            share = 1.0 if self._synchronous else lane.share
            lane.most = max(1, int(self._queue_size * share))
            lane.most_bytes = int(_QUEUE_BYTES * share)
            lane.limit = min(lane.most, int(self._queue_size * _PRESSURE))
            lane.byte_limit = int(_QUEUE_BYTES * _PRESSURE)
        self._by_name[name] = lane
        self._lanes.append(lane)
        return lane

    def _full(self, lane: Lane, line: bytes) -> None:
        """The queue fills, or is full, or there is none."""
        if self._closed:
            self._lose(lane, 1)
            return
        if lane.file is None:
            lane.written += 1
            return
        if self.on_pressure is not None and not self._pressed:
            self._pressed = True
            self.on_pressure()
        for _ in range(2):
            if self._count < lane.most and self._bytes < lane.most_bytes:
                lane.add(line)
                self._count += 1
                self._bytes += len(line) + 1
                return
            if self._synchronous:
                self._make_room()
        self._lose(lane, 1)

    def _make_room(self) -> None:
        for lane in list(self._lanes):
            with Held(lane, None) as mine:
                if mine:
                    self._empty(lane)

    def _empty(self, lane: Lane, deadline: float | None = None) -> bool:
        """Write what the lane holds now, whether or not it is time to retry. The caller holds the lane."""
        left = lane.pending
        while left > 0:
            before = lane.pending
            if (deadline is not None and time.monotonic() >= deadline) or not self._step(lane):
                return False
            left -= max(1, before - lane.pending)
        return True

    def _step(self, lane: Lane) -> bool:
        """Write one batch. The caller holds the lane. A batch that failed is kept, and retried later."""
        if not lane.held:
            lane.take()
        if not lane.held and not lane.held_lines and lane.pending:
            return False  # it could not be had now; to say it was written would be a lie
        chunks = [chunk for chunk, _ in lane.held]
        file, lines, size = lane.file, lane.held_lines, sum(map(len, chunks))
        # the file may have it already: a signal handler raised when it was written and not yet counted here
        if size and (file is None or (file.batch != lane.batch and not file.append(chunks, lane.batch))):
            lane.failed()
            lane.wait = min(max(_FIRST_WAIT_S, lane.wait * 2), _LONGEST_WAIT_S)
            lane.retry_at = time.monotonic() + lane.wait
            return False
        lane.done()
        self._count -= lines
        self._bytes -= size
        if lane.wait:
            lane.wait = 0.0
            self._faults.say("streams", f"{lane.name}-resumed", f"writing {lane.name!r} works again")
        return True

    def _forget(self, lane: Lane) -> None:
        self._count -= lane.pending
        lane.clear()

    def _lose(self, lane: Lane, lines: int) -> None:
        # told later, in one call for many: this may happen 100,000 times a second
        if lines:
            lane.lost += lines
            self._losses = True

    def _tell(self) -> None:
        if not self._telling.acquire(blocking=False):
            return
        try:
            self._losses = False
            for lane in list(self._lanes):
                lines = lane.lost - lane.reported
                if lines:
                    lane.reported += lines
                    self._faults.dropped(lane.name, lines)
        finally:
            self._telling.release()

    def _mend(self) -> None:
        """Look at the end of every file there is, also of streams that this run may never write."""
        if self._logs is None:
            return
        streams = {path: path.stem for path in self._logs.glob("*.jsonl") if path.is_file()}
        streams |= {stream_path(self._logs, name): name for name in PATHS}
        folder = self._logs / ARCHIVE
        for path, stream in sorted(streams.items()):
            try:
                mended = repair(path, stream, folder=folder, clock=self._clock, disk=self._disk)
            except Exception as error:  # tried again when the stream is written
                self._faults.error("streams.repair", error)
                continue
            if mended:
                self._found.append(mended)
                message = f"{path} ended in a torn line: {mended.bytes} broken bytes, now in {mended.where}"
                self._faults.say("streams", stream, message)
