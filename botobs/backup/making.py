"""Making a backup: what is new of a data directory goes to a place, is read back, and is listed last of all."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from typing import TYPE_CHECKING

import attrs
import orjson

from botobs.backup.cut import Cut
from botobs.backup.errors import BackupError, BusyError, NoBackupError, StoppedError, why
from botobs.backup.manifest import Entry, Manifest, encode, latest, read
from botobs.backup.shelf import PIECE, Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from botobs.backup.cut import Source
    from botobs.backup.shelf import Shelf
    from botobs.clock import Clock

__all__ = ["Made", "make"]


@attrs.frozen(kw_only=True)
class Made:
    """What a backup came to.

    Attributes:
        manifest: What it has.
        stored: How many objects were new.
        sent: How many bytes that were.
        dropped: How many older backups were taken away.
        notes: What else there is to know.
    """

    manifest: Manifest
    stored: int
    sent: int
    dropped: int = 0
    notes: tuple[str, ...] = ()


def make(
    root: Path,
    shelf: Shelf,
    *,
    clock: Clock,
    keep: int | None = None,
    thorough: bool = False,
    progress: Callable[[int, int], object] | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Made:
    """Back up the data directory `root`, whether a bot runs there or not.

    Args:
        root: The data directory.
        shelf: Where to.
        clock: Tells the time of the backup.
        keep: Take all but so many of the newest away afterwards; `None`: none.
        thorough: Read back all pieces that are there already, and mend those that are damaged.
        progress: Is told how many bytes are done, and of how many.
        stopped: Whether to give up.

    Raises:
        BackupError: It could not be made; what was there before still is.
        OSError: The data directory cannot be read.
    """
    notes: list[str] = []
    with _alone(root, notes):
        stored, sent = shelf.stored, shelf.sent
        last = latest(shelf, notes=notes)
        with Cut(root) as cut:
            if not cut.sources:
                raise NoBackupError(f"there is nothing to back up in {root}")
            at_ns, bot = clock.time_ns() // 1000 * 1000, _bot(cut)
            if last is not None:
                _same_bot(shelf, last, bot)
                at_ns = max(at_ns, last.at_ns + 1000)  # the newest by its name, even if the clock was set back
            copier = _Copier(cut, shelf, last, thorough=thorough, progress=progress, stopped=stopped)
            manifest = Manifest(at_ns=at_ns, bot=bot, lines=cut.lines, entries=tuple(copier.entries(notes)))
        shelf.write_list(manifest.stamp, encode(manifest))
        try:
            dropped = 0 if keep is None else _prune(shelf, keep)
        except BackupError as error:
            raise BackupError(f"the backup was made, but older ones could not be taken away: {error}") from error
    return Made(
        manifest=manifest, stored=shelf.stored - stored, sent=shelf.sent - sent, dropped=dropped, notes=tuple(notes)
    )


class _Copier:
    """Copies files, piece by piece, those that are not there."""

    def __init__(
        self,
        cut: Cut,
        shelf: Shelf,
        last: Manifest | None,
        *,
        thorough: bool,
        progress: Callable[[int, int], object] | None,
        stopped: Callable[[], bool],
    ) -> None:
        self._cut = cut
        self._shelf = shelf
        self._stopped = stopped
        self._progress = progress
        self._there = shelf.digests()
        # what a whole list names was read back when that was made; the rest may be torn
        self._sure = set() if last is None or thorough else self._there & {part.digest for part in last.parts}
        self._before = {} if last is None or thorough else {entry.path: entry for entry in last.entries}
        self._done = 0

    def entries(self, notes: list[str]) -> Iterator[Entry]:
        """Each file, once it is there."""
        for source in self._cut.sources:
            entry = self._entry(source)
            if entry is None:
                notes.append(f"{source.path} was taken away before it could be read")
            else:
                yield entry

    def _entry(self, source: Source) -> Entry | None:
        before = self._before.get(source.path)
        if (
            before is not None
            and source.settled
            and (before.size, before.mtime_ns) == (source.size, source.mtime_ns)
            and all(part.digest in self._sure for part in before.parts)
        ):
            self._tell(source.size)
            return before
        try:
            parts = tuple(self._part(piece) for piece in self._cut.pieces(source, PIECE))
        except FileNotFoundError:  # compressed meanwhile
            again = self._cut.again(source)
            return None if again is None else self._entry(again)
        return Entry(source.path, sum(part.size for part in parts), source.mtime_ns, parts)

    def _part(self, piece: bytes) -> Part:
        if self._stopped():
            raise StoppedError("the backup was stopped")
        part = Part(hashlib.sha256(piece).hexdigest(), len(piece))
        if part.digest not in self._sure:
            if part.digest not in self._there or not self._shelf.has(part):
                self._shelf.put(piece, part.digest)
            self._sure.add(part.digest)
        self._tell(part.size)
        return part

    def _tell(self, size: int) -> None:
        self._done += size
        if self._progress is not None:
            self._progress(self._done, self._cut.size)


def _prune(shelf: Shelf, keep: int) -> int:
    """Take all but the newest `keep` backups away, and the pieces that no other needs; how many were."""
    stamps = shelf.lists()
    kept: list[Manifest] = []
    doomed: list[str] = []
    for stamp in reversed(stamps):
        if len(kept) == keep:
            doomed.append(stamp)
            continue
        with contextlib.suppress(NoBackupError):  # torn: it is none, and goes when it is old
            kept.append(read(shelf, stamp))
    if not doomed:
        return 0
    needed = {part.digest for manifest in kept for part in manifest.parts}
    for stamp in doomed:  # first: a list must not name what is gone
        shelf.drop_list(stamp)
    for digest in sorted(shelf.digests() - needed):
        shelf.drop(digest)
    return len(doomed)


@contextlib.contextmanager
def _alone(root: Path, notes: list[str]) -> Iterator[None]:
    """One backup of a data directory at a time: what one takes away, another may count on.

    Args:
        root: The data directory.
        notes: Gets a sentence where nothing can see to that.

    Raises:
        BusyError: Another one is being made.
        OSError: The directory cannot be read.
    """
    try:
        fd = os.open(root / "state", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # the folder itself: nothing is made
    except FileNotFoundError:
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"another backup of {root} is being made") from None
        except OSError as error:
            notes.append(f"nothing kept a second backup of {root} from being made meanwhile: {why(error)}")
        yield
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_UN)  # closing is not enough while a child that was forked meanwhile has a copy
        os.close(fd)


def _bot(cut: Cut) -> str | None:
    """Whose data directory it is."""
    run = next((source.data for source in cut.sources if source.path == "state/run.json"), None)
    try:
        bot = orjson.loads(run or b"")["bot"]
    except (ValueError, KeyError, TypeError):
        return None
    return bot if isinstance(bot, str) else None


def _same_bot(shelf: Shelf, last: Manifest, bot: str | None) -> None:
    if None not in (bot, last.bot) and bot != last.bot:
        raise BackupError(f"{shelf} has the backups of bot {last.bot!r}, and this is {bot!r}: each takes its own place")
