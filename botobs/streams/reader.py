"""Reads streams back: by time, by count, and as they grow; across archives, and beside a running writer."""

from __future__ import annotations

import gzip
import os
import time
import zlib
from collections import deque
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import orjson

from botobs.clock import epoch_ns, rfc3339
from botobs.streams.names import ARCHIVE, PATHS, Archived, stream_name, stream_path
from botobs.streams.torn import last_line_end

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Collection, Iterable, Iterator

__all__ = ["StreamReader", "open_archived"]

_BLOCK = 65_536
_POLL_S = 0.2
_TRIES = 100  # rotations that may happen while one listing is made
# Threads hand in records slightly out of order, and clocks are set: a file may hold records from this much
# before its first one, and its successor's first may be this much earlier than its own last.
_SLACK_NS = 300 * 1_000_000_000

Record = dict[str, Any]


class _Files(NamedTuple):
    """The files of a stream at one moment: none missing, none twice."""

    archived: list[tuple[Archived, Path]]
    live: int | None  # an open descriptor


class _Place:
    """Where a follower is: which live file, how far, and which archives it need not read."""

    def __init__(self) -> None:
        self.live: int | None = None
        self.at = 0
        self.known: set[Archived] = set()

    def go_to(self, live: int | None) -> None:
        """Leave the live file for another, at its beginning."""
        if self.live is not None:
            os.close(self.live)
        self.live = None if live is None else os.dup(live)
        self.at = 0


class StreamReader:
    """Reads what a `StreamStore` writes, in any process, while it writes.

    Args:
        data_dir: Where the bot keeps its data.

    Attributes:
        skipped: Lines that were no records, and archives that break off, so far.
    """

    def __init__(self, data_dir: str | os.PathLike[str]) -> None:
        self.skipped = 0
        self._logs = Path(data_dir) / "logs"

    def streams(self) -> list[str]:
        """The names of the streams that have records, or had."""
        live = {path.stem for path in self._logs.glob("*.jsonl")}
        nested = {name for name, path in PATHS.items() if (self._logs / path).exists()}
        archived = {name.stream for name, _ in self._archived()}
        return sorted(live | nested | archived)

    def read(
        self,
        stream: str,
        start: dt.datetime | str | float | None = None,
        end: dt.datetime | str | float | None = None,
        *,
        having: Collection[bytes] = (),
    ) -> Iterator[Record]:
        """The records made from `start` up to, not including, `end`, in the order they were written.

        Only archives that can hold such records are opened. With either bound, records without a time are
        left out.

        Args:
            stream: Which stream.
            start: An aware datetime, RFC 3339 text, or seconds since 1970; None is the beginning.
            end: As `start`; None is now.
            having: Only lines in which one of these stands as it is written; others are not even read.

        Example:
            ```python
            for record in StreamReader("data").read("signals", "2026-01-02T00:00:00Z"):
                print(record["symbol"])
            ```
        """
        window = _Window(None if start is None else epoch_ns(start), None if end is None else epoch_ns(end))
        return self._read(stream_name(stream), window, having)

    def latest(self, stream: str, n: int) -> list[Record]:
        """The last `n` records, oldest first."""
        found: deque[Record] = deque()
        with self._files(stream_name(stream)) as files:
            if files.live is not None:
                for line in _lines_backwards(files.live):
                    if len(found) >= n:
                        break
                    found.extendleft(self._records([line]))
            for _, path in reversed(files.archived):
                if len(found) >= n:
                    break
                last = deque(self._records(self._archive(path)), maxlen=n - len(found))
                found.extendleft(reversed(last))
        return list(found)

    def follow(
        self,
        stream: str,
        *,
        from_start: bool = False,
        stop: Callable[[], bool],
        wait: Callable[[float], object] = time.sleep,
    ) -> Iterator[Record]:
        """Records as they are written, each once, across rotations.

        Args:
            stream: Which stream.
            from_start: Begin with what is there already, archives included.
            stop: Asked again and again; once true, what has been written until then is still delivered.
            wait: Lets the given number of seconds pass.
        """
        return self._follow(stream_name(stream), from_start=from_start, stop=stop, wait=wait)

    def follower(self, stream: str) -> Callable[[], Iterator[Record]]:
        """A function that gives what was written since it was last asked, archives first; it never waits."""
        name, place = stream_name(stream), _Place()
        return lambda: self._news(name, place)

    # --- by time

    def _read(self, stream: str, window: _Window, having: Collection[bytes]) -> Iterator[Record]:
        with self._files(stream) as files:
            starts = [name.start_ns for name, _ in files.archived]
            nexts = [*starts[1:], None if files.live is None else _first_ts(files.live)]
            for (_, path), first, after in zip(files.archived, starts, nexts, strict=False):
                if window.may_overlap(first, after):
                    yield from self._chosen(self._archive(path), window, having)
            if files.live is not None:
                yield from self._chosen(_whole_lines(files.live), window, having)

    def _chosen(self, lines: Iterator[bytes], window: _Window, having: Collection[bytes]) -> Iterator[Record]:
        for line in lines:
            if having and not any(map(line.__contains__, having)):
                continue
            record = self._record(line)
            if record is not None and window.holds(record):
                yield record

    # --- as it grows

    def _follow(
        self, stream: str, *, from_start: bool, stop: Callable[[], bool], wait: Callable[[float], object]
    ) -> Iterator[Record]:
        place = _Place()
        try:
            with self._files(stream) as files:
                place.known = {name for name, _ in files.archived}
                place.go_to(files.live)
                if from_start:
                    for _, path in files.archived:
                        yield from self._records(self._archive(path))
                elif place.live is not None:
                    place.at = last_line_end(place.live, os.fstat(place.live).st_size)
            while True:
                last = stop()
                yield from self._news(stream, place)
                if last:
                    return
                wait(_POLL_S)
        finally:
            place.go_to(None)

    def _news(self, stream: str, place: _Place) -> Iterator[Record]:
        """What was written since the last time, over as many rotations as there were."""
        while True:
            complete = self._moved(stream, place.live)  # asked first: what is read after that is all there is
            if place.live is not None:
                if os.fstat(place.live).st_size == 0:  # somebody emptied it
                    place.at = 0
                for line in _whole_lines(place.live, place.at):
                    place.at += len(line)
                    yield from self._records([line])
                if not complete:
                    return
            with self._files(stream) as files:
                fresh = [entry for entry in files.archived if entry[0] not in place.known]
                place.known |= {name for name, _ in fresh}
                mine = _find(place.live, fresh)
                place.go_to(files.live)
                for name, path in fresh:
                    if name != mine:
                        yield from self._records(self._archive(path))
            if place.live is None:
                return

    def _moved(self, stream: str, live: int | None) -> bool:
        """Whether the live file is another one than `live` by now, which then grows no more."""
        try:
            now = stream_path(self._logs, stream).stat()
        except OSError:
            return live is not None
        if live is None:
            return True
        then = os.fstat(live)
        return (now.st_dev, now.st_ino) != (then.st_dev, then.st_ino)

    # --- files

    def _archived(self) -> list[tuple[Archived, Path]]:
        """All archived files, in order; of two forms of one file the compressed one, which is complete."""
        found: dict[Archived, Path] = {}
        for path in (self._logs / ARCHIVE).glob("*.jsonl*"):
            name = Archived.parse(path.name)
            if name is not None and (path.suffix == ".gz" or name not in found):
                found[name] = path
        return sorted(found.items())

    @contextmanager
    def _files(self, stream: str) -> Iterator[_Files]:
        """The stream's files at one moment: tried again when a rotation came in between."""
        path = stream_path(self._logs, stream)
        live: int | None = None
        try:
            for _ in range(_TRIES):
                try:
                    live = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                except FileNotFoundError:
                    live = None
                archived = [entry for entry in self._archived() if entry[0].stream == stream]
                if live is None and not path.exists():
                    break
                if live is not None and not self._moved(stream, live):
                    break
                if live is not None:
                    os.close(live)
                    live = None
            yield _Files(archived, live)
        finally:
            if live is not None:
                os.close(live)

    def _archive(self, path: Path) -> Iterator[bytes]:
        """The lines of an archived file; of a damaged one, those before the damage, which is counted."""
        try:
            file = open_archived(path)
        except FileNotFoundError:  # somebody tidied up
            return
        with file:
            try:
                yield from file
            except (EOFError, gzip.BadGzipFile, zlib.error, OSError):
                self.skipped += 1

    def _records(self, lines: Iterable[bytes]) -> Iterator[Record]:
        for line in lines:
            record = self._record(line)
            if record is not None:
                yield record

    def _record(self, line: bytes) -> Record | None:
        try:
            record = orjson.loads(line)
        except ValueError:
            record = None
        if isinstance(record, dict):
            return record
        self.skipped += 1
        return None


class _Window:
    """From when until when; either may be open."""

    def __init__(self, start: int | None, end: int | None) -> None:
        self._start = start
        self._end = end
        # records made by botobs compare as text; microseconds are all they have
        self._first = "" if start is None else rfc3339(start + 999)
        self._last = "~" if end is None else rfc3339(end + 999)

    def may_overlap(self, first: int, after: int | None) -> bool:
        """Whether a file that begins at `first`, its successor at `after`, can hold such records."""
        if self._end is not None and first - _SLACK_NS >= self._end:
            return False
        return self._start is None or after is None or after + _SLACK_NS >= self._start

    def holds(self, record: Record) -> bool:
        """Whether the record was made in the window."""
        if self._start is None and self._end is None:
            return True
        ts = record.get("ts")
        if isinstance(ts, str) and len(ts) == len("2026-01-02T03:04:05.000001Z") and ts[-1] == "Z":
            return self._first <= ts < self._last
        try:
            made = epoch_ns(ts)
        except (TypeError, ValueError, OverflowError):
            return False
        return (self._start is None or self._start <= made) and (self._end is None or made < self._end)


def open_archived(path: Path) -> IO[bytes] | gzip.GzipFile:
    """Open an archived file, which may be compressed between the listing and now."""
    if path.suffix != ".gz":
        try:
            return path.open("rb")
        except FileNotFoundError:
            path = path.with_name(f"{path.name}.gz")
    return gzip.open(path, "rb")


def _whole_lines(fd: int, at: int = 0) -> Iterator[bytes]:
    """The lines from `at` to the end, each with its line end; a last one without is not whole as yet.

    Every piece is read anew from a line's beginning: a part that was seen before may have been cut off since.
    """
    size = _BLOCK
    while block := os.pread(fd, size, at):
        end = block.rfind(b"\n") + 1
        if end:
            yield from (line + b"\n" for line in block[: end - 1].split(b"\n"))
            at, size = at + end, _BLOCK
        elif len(block) < size:
            return
        else:
            size *= 2


def _lines_backwards(fd: int) -> Iterator[bytes]:
    """The whole lines of a file, last one first, read in blocks from the end."""
    end = last_line_end(fd, os.fstat(fd).st_size)
    if not end:
        return
    at, rest = end - 1, b""
    while at > 0:
        start = max(0, at - _BLOCK)
        rest, *lines = (os.pread(fd, at - start, start) + rest).split(b"\n")
        yield from reversed(lines)
        at = start
    yield rest


def _first_ts(fd: int) -> int | None:
    line = next(_whole_lines(fd), None)
    try:
        return None if line is None else epoch_ns(orjson.loads(line)["ts"])
    except Exception:  # no record, or no time in it
        return None


def _find(live: int | None, fresh: list[tuple[Archived, Path]]) -> Archived | None:
    """Which of the new archives is the live file that was followed until now."""
    if live is None:
        return None
    return next((name for name, path in fresh if _same(live, path)), None)


def _same(live: int, path: Path) -> bool:
    """Whether `path` is the live file, renamed, or its archive: same beginning and same size."""
    then = os.fstat(live)
    head = os.pread(live, _BLOCK, 0)
    try:
        with open_archived(path) as file:
            now = os.fstat(file.fileno())
            if not isinstance(file, gzip.GzipFile):
                return (now.st_dev, now.st_ino) == (then.st_dev, then.st_ino)
            # gzip ends in the size of what was compressed
            size = int.from_bytes(os.pread(file.fileno(), 4, now.st_size - 4), "little")
            return size == then.st_size % 2**32 and file.read(len(head)) == head
    except (OSError, EOFError, zlib.error):
        return False
