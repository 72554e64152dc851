"""What is on the disk: the live file, the head beside it, and how far both are known to survive the machine."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from botobs.accounting.ledger.chain import FIRST
from botobs.accounting.ledger.file import CLOSED, LiveFile
from botobs.accounting.ledger.head import Head, HeadFile, read_head
from botobs.accounting.ledger.sync import SharedSync
from botobs.quick import maker

if TYPE_CHECKING:
    from pathlib import Path

    from botobs.accounting.ledger.reading import Reader
    from botobs.accounting.ledger.trouble import Trouble
    from botobs.clock import Clock
    from botobs.faults import Faults
    from botobs.streams.disk import Disk

__all__ = ["Vault"]

_head = maker(Head)

_UNSYNCED: Final = 65_536  # lines kept until they are synced; nobody has that many under way
_LOOK_S: Final = 1.0  # how often to see whether somebody took the live file away
_NOTE_S: Final = 0.05  # how far the head may lag behind while lines are written, where nothing is synced
_ROTATE_AGAIN_S: Final = 60.0  # after a rotation that failed


class Vault:
    """The disk's side of a ledger. But for `reach` and what it calls, used under the ledger's lock.

    A sync that failed leaves it `suspect`: the system may have dropped what it could not write and call the next sync
    a success, so lines are kept until they are synced, and written again before any of them counts as durable.

    Args:
        root: The data directory.
        clock: Tells the file's age.
        rotate_ns: The age at which the file is due for the archive.
        disk: The way to the operating system.
        faults: Counts what fails.
        trouble: Gets what has to be told.

    Attributes:
        file: The live file.
        tail: Number and hash of the last line in the files.
        unsynced: Numbers and lines since the last good sync.
        suspect: Whether a sync failed since.
        shared: Lets those who sync at once do it together.
        due_ns: When the live file is due for the archive.
        look_at: When to see whether it is still there (monotonic).
        note_at: When the head is due to tell of the newest line, where nothing is synced (monotonic).
        closed: Whether nothing may be written any more.
    """

    def __init__(
        self, root: Path, *, clock: Clock, rotate_ns: int, disk: Disk, faults: Faults, trouble: Trouble
    ) -> None:
        self.file = LiveFile(root / "metrics" / "fills.jsonl", root / "metrics" / "archive", clock=clock, disk=disk)
        self.tail = (0, FIRST)
        self.unsynced: deque[tuple[int, bytes]] = deque(maxlen=_UNSYNCED)
        self.suspect = False
        self.shared = SharedSync(self._sync_written)
        self.due_ns = 0
        self.look_at = 0.0
        self.closed = False
        self._rotate_ns = rotate_ns
        self._rotate_after = self.note_at = 0.0
        self._faults = faults
        self._trouble = trouble
        self._head_path = root / "state" / "ledger.head"
        self._head = HeadFile(self._head_path)

    def begin(self, reader: Reader) -> None:
        """Find the end of the chain, and mend it where a crash tore it.

        Raises:
            OSError: There is a ledger, and it cannot be read.
        """
        head = self._read_head()
        parts = reader.parts()
        try:
            seq, digest = reader.last(parts)
        finally:
            reader.done(parts)
        if head is not None and head.seq > seq:
            self._trouble.note(
                "missing", f"the ledger ends with line {seq}, and line {head.seq} was written; going on behind that"
            )
        if head is not None and head.seq >= seq:
            seq, digest = head.seq, head.digest
        self.tail, self.shared.durable = (seq, digest), seq
        if self.file.is_there:
            self.ready()

    def ready(self) -> bool:
        """See that the file is open, our own, and ends in a whole line; whether it is."""
        if self.closed:
            return False
        file = self.file
        try:
            if file.fd != CLOSED and self._is_time_to_look and not file.is_ours():
                self._leave()
            if file.fd == CLOSED:
                file.open(self._read_head())
                self.due_ns = file.since_ns + self._rotate_ns
            if file.broken:
                file.cut()
        except Exception as error:
            self._trouble.begin("write", error)
            return False
        self.look_at = time.monotonic() + _LOOK_S
        return True

    def append(self, data: bytes, done: int = 0) -> int:
        """Append whole lines, `done` bytes of which are there; how many are then. Unless it is all, see `refused`."""
        try:
            done = self.file.write(data, done)
        except Exception as error:
            self._trouble.begin("write", error)
            return done
        if done < len(data):
            self._trouble.begin("write", OSError(f"no room for whole lines in {self.file.path}"))
        return done

    def refused(self) -> None:
        """Cut off what is not whole after an `append` that fell short."""
        self.file.broken = True
        with contextlib.suppress(Exception):  # it stays so, and that is the first thing the next `ready` mends
            self.file.cut()

    def first(self, seq: int, now_ns: int) -> None:
        """Note that the live file begins with line `seq`."""
        self.file.begin(seq, now_ns)
        self.due_ns = now_ns + self._rotate_ns

    @property
    def _is_time_to_look(self) -> bool:
        return time.monotonic() >= self.look_at and not self.shared.leads

    def rotate_if_due(self, now_ns: int, most_bytes: int) -> None:
        """Put the file into the archive if it is full or old."""
        file = self.file
        is_due = file.size >= most_bytes or now_ns > self.due_ns
        if file.first_seq and is_due and time.monotonic() >= self._rotate_after:
            self.rotate()

    def rotate(self) -> Path | None:
        """Put the file into the archive; where it is then. Harmless wherever it is interrupted."""
        if self.shared.leads:  # beneath a signal handler, in the middle of a sync of this very file
            return None
        with self.shared.alone():
            if self._sync_written() < 0:
                return None
            self.shared.durable = max(self.shared.durable, self.tail[0])
            self.look_at = 0.0  # so that it is noticed should the next step be interrupted
            try:
                target = self.file.put_away()
            except Exception as error:  # goes on in the same file
                self._rotate_after = time.monotonic() + _ROTATE_AGAIN_S
                with contextlib.suppress(Exception):
                    self._faults.error("ledger.rotate", error)
                return None
            self.write_head(self.tail)
        return target

    def reach(self, seq: int, deadline: float | None = None) -> bool:
        """Return when line `seq` would survive the machine; False if that cannot be said."""
        return self.shared.reach(seq, deadline)

    def mend(self, deadline: float | None = None) -> bool:
        """After a sync that failed: write again what it may have lost; whether that is on the disk now."""
        if self.shared.leads or self.closed:
            return False
        with self.shared.alone(deadline) as alone:
            if not alone or not self.suspect:
                return alone
            lost: list[bytes] = []
            for seq, line in reversed(self.unsynced):
                if seq != self.tail[0] - len(lost):
                    break
                lost.append(line)
            try:
                self.file.write_again(b"".join(reversed(lost)), self.file.size)
                self.suspect = False
            except Exception as error:
                self._trouble.begin("sync", error)
                return False
            done = self._sync_written()
            self.shared.durable = max(self.shared.durable, done)
            return done >= 0

    def note_end(self, seq: int, *, at_once: bool = False) -> None:
        """See that the head tells of line `seq`, soon or `at_once`.

        Where lines need not survive the machine, this is not done for each: it would cost as much as writing one.
        """
        now = time.monotonic()
        if self._head.seq < seq and (at_once or now >= self.note_at):
            self.note_at = now + _NOTE_S
            self.write_head(self.tail)

    def write_head(self, tail: tuple[int, bytes]) -> None:
        """Note the end in the head."""
        file = self.file
        if self.closed:
            return
        try:
            self._head.write(_head((*tail, file.first_seq, file.lowest, file.highest)))
        except Exception as error:  # the lines are safe; only a missing last one would not be noticed
            with contextlib.suppress(Exception):
                self._faults.error("ledger.head", error)

    def close(self, deadline: float | None) -> None:
        """Write no more, and give the descriptors back."""
        beneath = self.shared.leads  # a signal handler in the middle of a sync of this very file
        with self.shared.alone(deadline) as alone:
            self.closed = True
            if alone and not beneath:
                self.file.close()
                self._head.close()

    def abandon(self) -> None:
        """In a forked child: write nothing, wait for nobody."""
        self.closed = True
        self.unsynced = deque(maxlen=_UNSYNCED)
        self.shared.abandon()
        self.file.abandon()
        self._head.abandon()

    def _sync_written(self) -> int:
        """Sync everything that is written; the last line, or -1. Called by whoever leads."""
        tail, unsynced = self.tail, self.unsynced
        if self.file.fd == CLOSED or self.suspect:
            return -1
        try:
            self.file.sync()
        except Exception as error:
            self.suspect = True
            self._trouble.begin("sync", error)
            return -1
        while unsynced and unsynced[0][0] <= tail[0]:
            unsynced.popleft()
        self.write_head(tail)
        return tail[0]

    def _leave(self) -> None:
        """Let go of a file that somebody took away or changed."""
        self._trouble.note("missing", f"{self.file.path} was taken away or changed; going on with what is there")
        with self.shared.alone():
            with contextlib.suppress(OSError):
                self.file.sync()
            self.unsynced.clear()
            self.suspect = False
            self.file.close()

    def _read_head(self) -> Head | None:
        try:
            return read_head(self._head_path)
        except ValueError as error:
            self._faults.say("ledger", "head", str(error))
        except OSError as error:
            with contextlib.suppress(Exception):
                self._faults.error("ledger.head", error)
        return None
