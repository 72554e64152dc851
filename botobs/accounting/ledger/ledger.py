"""The ledger: a durable, chained file of everything that moved money, and every way to read it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

from botobs.accounting.ledger.chain import seq_of
from botobs.accounting.ledger.head import read_head
from botobs.accounting.ledger.reading import Part, Reader, record, told_time
from botobs.accounting.ledger.verify import Known, Verification, verify
from botobs.accounting.ledger.writing import Writer
from botobs.clock import SystemClock, epoch_ns, rfc3339
from botobs.faults import Faults
from botobs.streams.disk import Disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from botobs.clock import Clock

__all__ = ["Ledger"]

_ALWAYS: Final = ("0", "~")  # before and after every time as text
_DAY_NS: Final = 86_400 * 10**9


class Ledger(Writer):
    """Lines in the order of arrival, each numbered and chained to the one before, in `metrics/fills.jsonl`.

    Knows lines and nothing of money. Who adds holds `lock` for it; reading needs no lock, and other processes may
    read while this one writes and rotates.

    Args:
        root: The data directory; None: nothing is written, and only the newest lines can be read.
        durability: `fsync`: a settled line survives the machine; `os`: the process.
        rotate_bytes: Begin a new file when the live one has grown to this size.
        rotate_ns: Begin a new file when the first line in it is older than this.
        clock: Tells the age.
        disk: The way to the operating system.
        faults: Counts what fails.
        on_trouble: Called with a kind and a message: `write` or `sync` once when that begins to fail, `resumed` once
            when everything is on the disk again, `missing` when lines have disappeared. It may be called from the
            constructor, and from `add`, with `lock` held.
        read_only: Open nothing for writing; for whoever looks at another process's ledger.

    Attributes:
        lock: Held by whoever adds.
        next_seq: The number of the next line; read-only: as it was at the beginning.

    Raises:
        OSError: There is a ledger, and it cannot be read.

    Example:
        >>> ledger = Ledger(None)
        >>> with ledger.lock:
        ...     ticket = ledger.add({"type": "fill", "ts": "2026-01-02T03:04:05.000000Z", "price": "100"})
        >>> ticket.seq, ledger.latest()[0]["price"]
        (1, '100')
    """

    def __init__(
        self,
        root: Path | None,
        *,
        durability: str = "fsync",
        rotate_bytes: int = 64 << 20,
        rotate_ns: int = 30 * _DAY_NS,
        clock: Clock | None = None,
        disk: Disk | None = None,
        faults: Faults | None = None,
        on_trouble: Callable[[str, str], object] | None = None,
        read_only: bool = False,
    ) -> None:
        super().__init__(
            None if read_only else root,
            durability=durability,
            rotate_bytes=rotate_bytes,
            rotate_ns=rotate_ns,
            clock=clock or SystemClock(),
            disk=disk or Disk(),
            faults=faults or Faults(),
            on_trouble=on_trouble,
        )
        self.root = root
        self._read_only = read_only
        self._reader = None if root is None else Reader(root)
        if read_only and self._reader is not None:
            parts = self._reader.parts()
            try:
                self.next_seq = self._reader.last(parts)[0] + 1
            finally:
                self._reader.done(parts)

    @property
    def opened_files(self) -> int:
        """How many files were opened for reading so far."""
        return 0 if self._reader is None else self._reader.opened

    def _add_in_memory(self, seq: int, body: bytes) -> bytes:
        if self._read_only:
            raise io.UnsupportedOperation("this ledger was opened to read it")
        return super()._add_in_memory(seq, body)

    def lines(self, since_seq: int = 1, until_seq: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Numbers and lines from `since_seq` to `until_seq`, both included, in the order of writing.

        The lines are those at the time of the first step, in all files and in memory, without their ends.
        """
        until = (1 << 63) if until_seq is None else until_seq
        if self._reader is None:
            yield from self._remembered(since_seq, until)
            return
        reader, parts, memory = self._taken()
        last = since_seq - 1
        if reader is not None:
            try:
                for last, line in reader.lines(parts, since_seq, until):  # the last one is needed below
                    yield last, line
            finally:
                reader.done(parts)
        yield from ((seq, line) for seq, line in memory if last < seq <= until)

    def find(self, seq: int) -> dict[str, Any] | None:
        """The line with that number."""
        with self.lock:
            recent = self._recent
            at = seq - seq_of(recent[0]) if recent else -1
            kept = recent[at] if 0 <= at < len(recent) and seq_of(recent[at]) == seq else None
        if kept is None:
            kept = next((line for _, line in self.lines(seq, seq)), None)
        return None if kept is None else record(kept)

    def between(self, start: Any = None, end: Any = None) -> Iterator[dict[str, Any]]:
        """The lines with an exchange time from `start` to before `end`, in the order of writing.

        Args:
            start: A time as the verbs take it; None: from the first.
            end: A time; None: to the last.

        Raises:
            ValueError: One of them is no time.
            TypeError: The same.
        """
        first = _ALWAYS[0] if start is None else _moment(start)
        last = _ALWAYS[1] if end is None else _moment(end)
        return self._between(first, last)

    def latest(self, n: int = 100) -> list[dict[str, Any]]:
        """The last `n` lines, the newest last."""
        if n <= 0:
            return []
        if self._reader is None:
            remembered = self._remembered(self.next_seq - n)
            return [found for _, line in remembered if (found := record(line)) is not None]
        with self.lock:
            kept = list(self._recent)[-n:] if not self._read_only else []
        first, last = (seq_of(kept[0]), seq_of(kept[-1])) if kept else (0, -1)
        whole = last - first == len(kept) - 1 and last == self.next_seq - 1
        lines = kept if whole and (len(kept) == n or first == 1) else self._from_the_end(self._reader, n)
        return [found for line in lines if (found := record(line)) is not None]

    def verify(self) -> Verification:
        """Check every line and their order, in all files and in memory; the first problem, if there is one."""
        if self._reader is None or self.root is None:
            return Verification(
                lines=self.next_seq - 1,
                files=0,
                last_seq=self.next_seq - 1,
                pending=0,
                notes=("nothing is written to disk",),
            )
        notes: list[str] = []
        known: list[Known] = []
        path = self.root / "state" / "ledger.head"
        try:
            head = read_head(path)
            if head is not None:
                known.append((head.seq, head.digest))
            elif self._reader.live.exists():
                notes.append(f"{path} is missing: whether the last line is the last cannot be told")
        except (ValueError, OSError) as error:
            notes.append(f"{path} tells nothing, so whether the last line is the last cannot be told: {error}")
        if self._vault is not None:
            known.append(self._vault.tail)
        reader, parts, memory = self._taken()
        assert reader is not None
        try:
            return verify(
                reader,
                parts,
                pending=[line for _, line in memory],
                known=[pair for pair in known if pair[0]],
                notes=notes,
            )
        finally:
            reader.done(parts)

    def _taken(self, span: tuple[str, str] | None = None) -> tuple[Reader | None, list[Part], list[tuple[int, bytes]]]:
        """The files and the lines in memory at one moment; the live file only if it may hold something of `span`."""
        with self.lock:
            if self._reader is None:
                return None, [], list(self._remembered())
            if self._vault is None:
                return self._reader, self._reader.parts(), []
            file, written = self._vault.file, self._vault.tail[0]
            live = span is None or not file.fd_is_open or file.holds(*span)
            memory = [(seq, line[:-1]) for seq, line in self._pending if seq > written]
            return self._reader, self._reader.parts(live=live), memory

    def _between(self, start: str, end: str) -> Iterator[dict[str, Any]]:
        reader, parts, memory = self._taken((start, end))
        if reader is not None:
            try:
                for line in reader.between(parts, start, end):
                    found = record(line)
                    if found is not None:
                        yield found
            finally:
                reader.done(parts)
        for _, line in memory:
            found = record(line)
            if found is not None and start.encode() <= told_time(line) < end.encode():
                yield found

    def _from_the_end(self, reader: Reader, n: int) -> list[bytes]:
        last = self.next_seq - 1
        if self._read_only:
            parts = reader.parts()
            try:
                last = reader.last(parts)[0]
            finally:
                reader.done(parts)
        back = n
        while True:
            since = max(last - back + 1, 1)
            lines = [line for _, line in self.lines(since)]
            if len(lines) >= n or since == 1:
                return lines[-n:]
            back *= 4  # some are missing


def _moment(value: Any) -> str:
    """A time as it stands in lines; what is cut off there is rounded up here, so that comparisons hold."""
    return rfc3339(-(-epoch_ns(value) // 1000) * 1000)
