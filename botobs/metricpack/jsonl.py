"""JSON lines as a source: a stream of a bot with its archives, or any file that grows by whole lines."""

from __future__ import annotations

import contextlib
import gzip
import os
import time
import zlib
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from botobs.clock import epoch_ns
from botobs.metricpack.event import loads
from botobs.metricpack.source import Batch, Progress, Raw, SourceTrouble
from botobs.streams.names import ARCHIVE, Archived, stream_name, stream_path
from botobs.streams.reader import open_archived

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import IO

__all__ = ["JsonlSource"]

_POLL_S: Final = 0.04  # a lag nobody minds, and few commits
_BLOCK: Final = 1 << 18
_NAMED: Final = 4_096  # bytes of a first line that tell one file from another


class JsonlSource:
    """Follows JSON lines across rotation. A `Source`.

    A position is the digest of the file's first line, and how many bytes of it were read: a file is found again under
    whatever name it was rotated, compressed or not.

    Args:
        live: The file that grows.
        archived: Gives the files that were rotated out of it, in order.
        name: What it is called.
    """

    def __init__(self, live: Path, archived: Callable[[], Sequence[Path]] = tuple, *, name: str | None = None) -> None:
        self._live = live
        self._archived = archived
        self._name = name or f"file {live.name}"
        self._file: IO[bytes] | gzip.GzipFile | None = None
        self._growing = False
        self._inode = (0, 0)
        self._id = ""
        self._at = 0
        self._block, self._next = b"", 0  # what was read, and where in it the next line begins
        self._position: str | None = None
        self._lost: str | None = None

    @classmethod
    def of_stream(cls, data_dir: Path, stream: str) -> JsonlSource:
        """The stream of a bot, such as its own events; its archives come first."""
        name = stream_name(stream)
        logs = data_dir / "logs"

        def archived() -> list[Path]:
            found: dict[Archived, Path] = {}
            for path in (logs / ARCHIVE).glob("*.jsonl*"):
                told = Archived.parse(path.name)
                if told is not None and told.stream == name and (path.suffix == ".gz" or told not in found):
                    found[told] = path
            return [path for _, path in sorted(found.items())]

        return cls(stream_path(logs, name), archived, name=f"stream {name}")

    @property
    def name(self) -> str:
        """Which file or stream."""
        return self._name

    # --- where it is

    def begin(self, position: str | None, *, end: bool = False) -> None:
        """Go to the place behind `position`. See `Source.begin`."""
        self.close()
        self._lost, self._position, self._id, self._at = None, position, "", 0
        self._forget()
        with _telling(self._live):
            if position is not None:
                self._id, self._at = _parsed(position)
                if not self._find():
                    self._lost = f"the file that the checkpoint is in is gone from {self._name}"
                    self._id, self._at = "", 0
            elif end and self._open(self._live):
                self._skip_to_end()

    def _find(self) -> bool:
        """Open the file of the position, at its place."""
        for path in reversed([*self._archived(), self._live]):
            with contextlib.suppress(FileNotFoundError):
                if _id_of(path) == self._id and self._open(path, self._at):
                    return True
        return False

    def _open(self, path: Path, at: int = 0) -> bool:
        """Open a file at a place; whether it is there and that long."""
        self._shut()
        try:
            file = open_archived(path)
        except FileNotFoundError:
            return False
        self._file, self._growing = file, path == self._live
        found = os.fstat(file.fileno())
        self._inode = (found.st_dev, found.st_ino)
        if self._growing and found.st_size < at:
            self._lost = f"{self._name} was cut off in front of the checkpoint"
            at = 0
        file.seek(at)
        self._at, self._id = at, _id_of_file(file) if not at else self._id
        self._forget()
        file.seek(at)
        return True

    def _skip_to_end(self) -> None:
        for _ in self._whole_lines():
            pass
        self._note()

    def _next_file(self) -> bool:
        """Go on to the file behind this one, if it was rotated."""
        paths = [*self._archived(), self._live]
        ids: list[str | None] = []
        for path in paths:
            try:
                ids.append(_id_of(path))
            except FileNotFoundError:
                ids.append(None)
        if self._id and self._id not in ids:
            self._lost = f"{self._name}: the file that was read is gone, and with it perhaps others"
            after = 0
        else:
            after = len(ids) - ids[::-1].index(self._id) if self._id else 0
        following = [path for path, known in zip(paths[after:], ids[after:], strict=True) if known]
        return bool(following) and self._open(following[0])

    # --- lines

    def take(self, most: int, wait_s: float) -> Batch:
        """The next lines. See `Source.take`."""
        until = time.monotonic() + wait_s
        with _telling(self._live):
            while True:
                events = self._some(most)
                lost, self._lost = self._lost, None
                left = until - time.monotonic()
                if events or lost or left <= 0:
                    return Batch(events, self._position, len(events) >= most, lost)
                time.sleep(min(_POLL_S, left))

    def _some(self, most: int) -> list[Raw]:
        """What there is now."""
        events: list[Raw] = []
        while len(events) < most:
            if self._file is None and not self._next_file():
                break
            rotated = not self._growing or self._moved()  # asked first: what is read after that is all there is
            for line in self._whole_lines():
                self._note()
                events.append(self._raw(line))
                if len(events) >= most:
                    return events
            if not rotated:
                break
            if not self._next_file():
                break
        return events

    def _whole_lines(self) -> Iterator[bytes]:
        """The lines from where it is; `_at` is behind each one when it is given."""
        file = self._file
        while file is not None:
            cut = self._block.find(b"\n", self._next)
            if cut >= 0:
                begin, self._next = self._next, cut + 1
                line = self._block[begin:cut]
                if not self._id:
                    self._id = _digest(line + b"\n")
                self._at += cut + 1 - begin
                if line:
                    yield line
                continue
            try:
                more = file.read(max(_BLOCK, len(self._block)))  # a long line is joined a few times, not many
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                self._lost = f"{self._name}: an archive is damaged ({type(error).__name__})"
                return
            if not more:
                self._forget()
                file.seek(self._at)  # what is no whole line yet is read anew: it may be cut off or mended
                return
            self._block, self._next = self._block[self._next :] + more, 0

    def _forget(self) -> None:
        self._block, self._next = b"", 0

    def _moved(self) -> bool:
        """Whether the live file is another one by now, or was emptied."""
        try:
            now = self._live.stat()
        except FileNotFoundError:
            return True
        if (now.st_dev, now.st_ino) != self._inode:
            return True
        if now.st_size < self._at:
            self._lost = f"{self._name} was cut off behind the reader's back"
            self._open(self._live)
        return False

    def _raw(self, line: bytes) -> Raw:
        position = self._position or ""
        try:
            said = loads(line)
        except Exception:  # no JSON, or deeper than anybody reads
            said = None
        if said is None:
            return Raw(position, {"line": line[:2_000]})
        return Raw(position, said, _time_of(said))

    def _note(self) -> None:
        if self._id:
            self._position = f"{self._id}:{self._at}"

    # --- the rest

    def committed(self, position: str) -> None:
        """Nothing is told to a file."""

    def progress(self) -> Progress | None:
        """Bytes read of the file that is being read."""
        file = self._file
        if file is None:
            return None
        size = os.fstat(file.fileno()).st_size if self._growing else None  # of a compressed one nobody knows
        return Progress(self._at, size, "bytes")

    def close(self) -> None:
        """Close the file."""
        self._shut()

    def _shut(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def _id_of(path: Path) -> str:
    """The digest of the file's first line; empty: it has none yet."""
    with open_archived(path) as file:
        return _id_of_file(file)


def _id_of_file(file: IO[bytes] | gzip.GzipFile) -> str:
    first = file.readline(_NAMED)
    return _digest(first) if first.endswith(b"\n") or len(first) == _NAMED else ""


def _digest(line: bytes) -> str:
    return blake2b(line[:_NAMED], digest_size=8).hexdigest()


def _parsed(position: str) -> tuple[str, int]:
    name, _, at = position.partition(":")
    if len(name) != 16 or not (at.isascii() and at.isdigit()):
        raise SourceTrouble(f"the saved position {position[:60]!r} is of another stream")
    return name, int(at)


def _time_of(said: dict[str, Any]) -> int:
    try:
        return epoch_ns(said["ts"])
    except Exception:  # none, or none that can be told
        return 0


@contextlib.contextmanager
def _telling(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SourceTrouble(f"{error.filename or path}: {error.strerror or error}") from error
