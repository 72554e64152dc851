"""Writing the ledger: lines are numbered, chained and appended; what cannot be written waits in memory, in order."""

from __future__ import annotations

import os
import threading
import zlib
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs

from botobs.accounting.ledger.chain import FIRST, begun, digest_of, sealed, seq_of
from botobs.accounting.ledger.file import is_time
from botobs.accounting.ledger.head import NO_TIME
from botobs.accounting.ledger.reading import Reader, told_time
from botobs.accounting.ledger.trouble import Trouble
from botobs.accounting.ledger.vault import Vault
from botobs.streams.disk import Disk
from botobs.streams.encode import dumps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from botobs.clock import Clock
    from botobs.faults import Faults
    from botobs.streams.torn import Repair

__all__ = ["Ticket", "Writer"]

_RECENT: Final = 1_024  # lines kept in memory
_BATCH: Final = 256  # lines written at once, of those that waited
_Added: TypeAlias = tuple[int, bytes, bool]  # the fields of a ticket


@attrs.define
class Ticket:
    """What `add` gives for a line.

    Attributes:
        seq: Its number.
        line: The line as it stands in the file, with its end.
        written: Whether the operating system had it when `add` returned.
    """

    seq: int
    line: bytes
    written: bool

    @property
    def hash(self) -> str:
        """Its hash; empty in a ledger without files."""
        return self.line[-35:-3].decode() if digest_of(self.line[:-1]) else ""


class Writer:
    """The writing half of a `Ledger`; see there."""

    def __init__(
        self,
        root: Path | None,
        *,
        durability: str,
        rotate_bytes: int,
        rotate_ns: int,
        clock: Clock,
        disk: Disk,
        faults: Faults,
        on_trouble: Callable[[str, str], object] | None,
    ) -> None:
        self.lock = threading.RLock()
        self.next_seq = 1
        self._syncs = durability == "fsync"
        self._rotate_bytes = rotate_bytes
        self._clock = clock
        # the plain disk is passed by; whatever else stands there is asked each time
        self._to_system = os.write if type(disk) is Disk else lambda fd, line: disk.write(fd, line)  # noqa: PLW0108
        self._trouble = Trouble(on_trouble, faults)
        self._notes = self._trouble.notes
        self._digest = FIRST
        self._pending: deque[tuple[int, bytes]] = deque()
        self._recent: deque[bytes] = deque(maxlen=_RECENT)
        self._packed: list[tuple[int, int, bytes]] = []  # lines before those, of a ledger without files
        self._added_at = 0.0  # when a line was added last (monotonic)
        self._smooth = False  # nothing stands in the way of the next line
        self._adding = 0  # the line that is being added
        self._after: list[tuple[Ticket, bytes, str | None]] = []  # lines that a signal handler added meanwhile
        self._close_next = False
        self._abandoned = False
        self._vault: Vault | None = None
        if root is not None:
            vault = Vault(root, clock=clock, rotate_ns=rotate_ns, disk=disk, faults=faults, trouble=self._trouble)
            vault.begin(Reader(root))
            self._vault = vault
            self.next_seq, self._digest = vault.tail[0] + 1, vault.tail[1]
            self._tell()

    @property
    def pending(self) -> int:
        """How many lines are in memory only."""
        return len(self._pending)

    @property
    def repairs(self) -> list[Repair]:
        """Torn ends that were found and mended."""
        return [] if self._vault is None else self._vault.file.repairs

    def add(self, fields: dict[str, Any], now_ns: int | None = None) -> Ticket:
        """Number `fields`, chain them to the line before, and hand them to the operating system.

        The caller holds `lock`, and may say what time it is. Never waits for a sync, except where the file is rotated.
        Raises nothing; should a signal handler of the bot's raise in the middle, `next_seq` tells whether the line was
        added.
        """
        if type(fields) is not dict or "seq" in fields or "hash" in fields:
            fields = _without_ours(fields)
        ts = fields.get("ts")
        said, ts = dumps(fields)[1:-1], ts if is_time(ts) else None
        return self._add_after(said, ts) if self._adding else Ticket(*self._add_alone(said, ts, now_ns))

    def add_said(self, said: bytes, ts: str | None, now_ns: int | None = None) -> int:
        """As `add`, of what is JSON already: an object without its braces, without `seq` and `hash`; its number.

        Args:
            said: The fields.
            ts: The exchange time among them, as `rfc3339` writes it.
            now_ns: What time it is.
        """
        return self._add_after(said, ts).seq if self._adding else self._add_alone(said, ts, now_ns)[0]

    def _add_alone(self, said: bytes, ts: str | None, now_ns: int | None) -> _Added:
        self._adding = self.next_seq
        try:
            return self._add(self.next_seq, said, ts, now_ns)
        finally:
            self._adding = 0
            if self._after or self._close_next or self._notes:
                self._finish()

    def settle(self, ticket: Ticket) -> bool:
        """Return when the line is durable as configured; False if it is not. Called without `lock`."""
        return self.settle_line(ticket.seq)

    def settle_line(self, seq: int) -> bool:
        """As `settle`, of a line's number: so that nobody need keep the ticket."""
        vault = self._vault
        if vault is None or self._abandoned or seq > vault.tail[0]:
            return False
        if not self._syncs:
            if self._added_at >= vault.note_at:
                vault.note_end(seq)
            if self._trouble.kinds and not self._pending and not vault.suspect:
                self._over()
            return True
        if seq <= vault.shared.durable:
            return True
        try:
            if vault.suspect and not (self._trouble.may_try and self._mend(vault)):
                return False
            done = vault.shared.reach(seq)
            if done and self._trouble.kinds and not self._pending:
                self._over()
            return done
        finally:
            if self._notes:
                self._tell()

    def retry(self, *, at_once: bool = False) -> bool:
        """Write what could not be written, in order; whether everything is on the disk again.

        To be called every second or so: failures are followed by pauses of up to five seconds.

        Args:
            at_once: Without a pause.
        """
        vault = self._vault
        if vault is None:
            return True
        if not self._syncs:
            vault.note_end(vault.tail[0], at_once=True)
        if not (self._pending or self._trouble or vault.suspect):
            return True
        if not at_once and not self._trouble.may_try:
            return False
        return self._deliver(vault, None)

    def archive(self) -> Path | None:
        """Put the live file into the archive now; where it is there, None if there was nothing or it failed."""
        vault = self._vault
        if vault is None:
            return None
        try:
            with self.lock:
                if self._adding or not self._write_pending(vault) or not vault.file.is_there or not vault.ready():
                    return None
                if not vault.file.first_seq:
                    return None
                self._smooth = False
                return vault.rotate()
        finally:
            self._tell()

    def flush(self, deadline: float) -> bool:
        """Write what waits, and make it durable as configured; whether all of it is, before `deadline` (monotonic)."""
        vault = self._vault
        return vault is None or self._abandoned or self._deliver(vault, deadline)

    def close(self, deadline: float) -> bool:
        """Flush, then write no more: later lines stay in memory, as another process may own the files by then."""
        vault = self._vault
        if vault is None or vault.closed:
            return not self._pending
        # a clean end survives the machine, whatever is configured
        done = self._deliver(vault, deadline) and vault.reach(vault.tail[0], deadline)
        if not self.lock.acquire(timeout=max(deadline - monotonic(), 0.0)):
            return False
        try:
            self._smooth = False
            if self._adding:  # beneath a signal handler: the line under way comes first
                self._close_next = True
                return False
            vault.close(deadline)
            return done
        finally:
            self.lock.release()
            self._tell()

    def abandon(self) -> None:
        """In a forked child: write nothing, wait for nobody. `lock` is another one from here on."""
        self.lock = threading.RLock()
        self._abandoned, self._smooth, self._adding = True, False, 0
        self._pending, self._after = deque(), []
        self._notes.clear()
        if self._vault is not None:
            self._vault.abandon()

    def _add(  # noqa: C901, PLR0912 - one straight path: calls cost
        self, seq: int, said: bytes, ts: str | None, now: int | None = None
    ) -> _Added:
        vault = self._vault
        if vault is None:
            return seq, self._add_in_memory(seq, begun(seq, said)), False
        line, digest = sealed(self._digest, seq, said)
        file = vault.file
        if now is None:
            now = self._now()
        self._added_at = at = monotonic()
        length = len(line)
        if not self._smooth or at >= vault.look_at or now > vault.due_ns or file.size >= self._rotate_bytes:
            self._prepare(vault, now)
        try:
            written = False
            if self._smooth:
                try:
                    done = self._to_system(file.fd, line)
                    written = done == length or vault.append(line, done) == length
                except Exception as error:
                    self._trouble.begin("write", error)
            if not written:
                self._keep(vault, seq, line, digest)
                return seq, line, False
            if not file.first_seq:
                vault.first(seq, now)
            if ts is not None:  # as `span` does it
                if ts > file.highest:
                    file.highest = ts
                    if file.lowest == NO_TIME:
                        file.lowest = ts
                elif ts < file.lowest:
                    file.lowest = ts
            tail = (seq, digest)
            # nothing is called between these four, so that no signal handler comes in between
            file.size += length
            vault.tail = tail
            self._digest = digest
            self.next_seq = seq + 1
        except BaseException:
            if self.next_seq == seq:
                self._smooth, file.broken = False, True  # whatever of it got into the file will be cut off
            raise
        if self._syncs:
            vault.unsynced.append((seq, line))
        self._recent.append(line)
        return seq, line, True

    def _now(self) -> int:
        try:
            return self._clock.time_ns()
        except Exception:  # a clock of the bot's own
            return 0

    def _keep(self, vault: Vault, seq: int, line: bytes, digest: bytes) -> None:
        """A line that could not be written: it waits, its number and hash are settled."""
        if self._smooth:
            self._smooth = False
            vault.refused()
        self._digest = digest
        self.next_seq = seq + 1
        if not self._abandoned:
            self._pending.append((seq, line))
        self._recent.append(line)

    def _prepare(self, vault: Vault, now: int) -> None:
        """Do what has to be done before the next line can be written, and note whether it can."""
        self._smooth = False
        if self._pending and not (self._trouble.may_try and self._write_pending(vault)):
            return
        if not vault.file.fd_is_open and not self._trouble.may_try:
            return
        if not vault.ready():
            return
        vault.rotate_if_due(now, self._rotate_bytes)
        self._smooth = vault.file.fd_is_open or vault.ready()

    def _write_pending(self, vault: Vault) -> bool:
        """Write what waits in memory, in order, as much as the disk takes; whether none is left."""
        pending = self._pending
        while pending and pending[0][0] <= vault.tail[0]:  # written, and interrupted before it was struck out
            pending.popleft()
        if not pending:
            return True
        if not vault.ready():
            return False
        while pending:
            batch = [pending[at] for at in range(min(len(pending), _BATCH))]
            data = b"".join([line for _, line in batch])
            done = vault.append(data)
            self._take_in(vault, batch, done)
            if done < len(data):
                vault.refused()
                return False
        return True

    def _take_in(self, vault: Vault, batch: list[tuple[int, bytes]], done: int) -> None:
        """Strike out those of a batch that are whole in the file, `done` bytes being written."""
        file = vault.file
        for seq, line in batch:
            done -= len(line)
            if done < 0:
                return
            if not file.first_seq:
                vault.first(seq, file.received(line))
            file.span(told_time(line).decode("ascii", "replace"))
            file.size += len(line)
            vault.tail = (seq, digest_of(line[:-1]) or FIRST)
            if self._syncs:
                vault.unsynced.append((seq, line))
            self._pending.popleft()

    def _deliver(self, vault: Vault, deadline: float | None) -> bool:
        """Bring everything to where it is durable; whether it is."""
        wait = -1 if deadline is None else max(deadline - monotonic(), 0.0)
        if not self.lock.acquire(timeout=wait):
            return False
        try:
            if self._adding or not self._write_pending(vault):
                return False
            if self._trouble and not vault.closed and not vault.ready():
                return False
        finally:
            self.lock.release()
            self._tell()
        try:
            if vault.suspect and not self._mend(vault, deadline):
                return False
            if not self._syncs:
                vault.write_head(vault.tail)
            elif not vault.reach(vault.tail[0], deadline):
                return False
            if self._trouble.kinds and not self._pending:
                self._over()
            return True
        finally:
            self._tell()

    def _mend(self, vault: Vault, deadline: float | None = None) -> bool:
        with self.lock:
            return vault.mend(deadline)

    def _over(self) -> None:
        self._trouble.over()
        self._tell()

    def _add_in_memory(self, seq: int, body: bytes) -> bytes:
        line = body + b"}\n"
        self.next_seq = seq + 1
        if len(self._recent) == _RECENT:  # nothing else has them: late fills and voids have to find them again
            older = [self._recent.popleft() for _ in range(_RECENT // 2)]
            packed = zlib.compress(b"".join(older), 1)
            self._packed.append((seq_of(older[0]), seq_of(older[-1]), packed))
        self._recent.append(line)
        return line

    def _remembered(self, since: int = 1, until: int = 1 << 63) -> Iterator[tuple[int, bytes]]:
        """The lines of a ledger that has no files, without their ends."""
        with self.lock:
            packed, recent = list(self._packed), list(self._recent)
        for first, last, data in packed:
            if first <= until and last >= since:
                lines = enumerate(zlib.decompress(data).splitlines(), first)
                yield from ((seq, line) for seq, line in lines if since <= seq <= until)
        yield from ((seq, line[:-1]) for line in recent if since <= (seq := seq_of(line)) <= until)

    def _add_after(self, said: bytes, ts: str | None) -> Ticket:
        """Beneath a signal handler that came in the middle of `add`: its line follows the one under way."""
        ticket = Ticket(self._adding + 1 + len(self._after), b"", written=False)
        self._after.append((ticket, said, ts))
        return ticket

    def _finish(self) -> None:
        """Do what a signal handler could not do in the middle of `add`, and tell what there is to tell."""
        while self._after:
            ticket, said, ts = self._after[0]
            self._adding = self.next_seq
            try:
                done = self._add(self.next_seq, said, ts)
            finally:
                self._adding = 0
                del self._after[0]
            ticket.seq, ticket.line, ticket.written = done
        if self._close_next and self._vault is not None:
            self._vault.close(None)
        self._tell()

    def _tell(self) -> None:
        if self._notes and not (self._vault is not None and self._vault.shared.leads):
            self._trouble.tell()


def _without_ours(fields: Any) -> dict[str, Any]:
    """What a line can be made of: no number and no hash of the caller's."""
    if not isinstance(fields, dict):
        return {"fields": fields}
    return {key: value for key, value in fields.items() if key not in {"seq", "hash"}}
