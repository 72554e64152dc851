"""The state in one SQLite file: one transaction for everything, on the disk before it counts.

A process that hangs in the middle of a write holds SQLite's lock for as long as it hangs, and nobody can take that from
it. Who takes over then copies what was saved last into a file of the next number and goes on there; what the other one
still writes, it writes where nobody looks, and it notices with its next step.
"""

from __future__ import annotations

import contextlib
import glob
import os
import sqlite3
import time
from typing import TYPE_CHECKING, Final, TypeAlias

from botobs.datadir import sync_directory
from botobs.metricpack.store import Fenced, State, StoreTrouble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

__all__ = ["SqliteStore", "current_file"]

_BUSY_S: Final = 1.0  # nobody holds the lock for longer but who hangs
_VERSION: Final = 1
_NEXT: Final = ".next"  # no ending that a person gives to a copy
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS place (only INTEGER PRIMARY KEY CHECK (only = 1), position TEXT);
CREATE TABLE IF NOT EXISTS lease (
    only INTEGER PRIMARY KEY CHECK (only = 1), owner TEXT, fence INTEGER NOT NULL, beat INTEGER NOT NULL
);
INSERT OR IGNORE INTO lease VALUES (1, NULL, 0, 0);
INSERT OR IGNORE INTO place VALUES (1, NULL);
"""
_Beat: TypeAlias = "tuple[str | None, int, int]"


class SqliteStore:
    """A `Store` in a file, for the processes of one machine.

    Args:
        path: The file; made if missing, readable by its owner only.
        steady: Tells seconds that never run backwards.

    `path` is the first file; after a take-over from a process that hangs within a write it is `<path>.next2`, then 3.
    A file that is taken away or replaced while it is open counts as lost to another process: the state is then built
    anew from what stands in its place.

    Raises:
        StoreTrouble: It cannot be opened, or is none.
    """

    def __init__(self, path: Path, *, steady: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._file = path
        self._steady = steady
        self._seen: _Beat | None = None
        self._seen_at = 0.0
        self._db: sqlite3.Connection | None = None
        self._inode: tuple[int, int] | None = None
        with self._telling():
            self._open()

    @property
    def name(self) -> str:
        """The file."""
        return str(self.path)

    # --- the lease

    def lease(self, owner: str, ttl_s: float) -> int | None:
        """Take the lease, or keep it. See `Store.lease`."""
        with self._telling():
            now = self._steady()
            beat = self._read_beat()
            holder, fence, _ = beat
            if holder is None or holder == owner:
                return self._take(owner, beat)
            if self._seen != beat:
                self._seen, self._seen_at = beat, now
                return None
            if now - self._seen_at < ttl_s:
                return None
            try:
                return self._take(owner, beat)
            except sqlite3.OperationalError as error:
                if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY:
                    raise
            return self._go_on_elsewhere(owner, fence + 1)

    def _take(self, owner: str, seen: _Beat) -> int | None:
        """Write a beat of ours in the place of the one that was seen; `None`: somebody else was quicker."""
        holder, fence, count = seen
        mine = fence if holder == owner else fence + 1
        with self._writing() as db:
            done = db.execute(
                "UPDATE lease SET owner = ?, fence = ?, beat = ? WHERE owner IS ? AND fence = ? AND beat = ?",
                (owner, mine, count + 1, holder, fence, count),
            )
            return mine if done.rowcount == 1 else None

    def _go_on_elsewhere(self, owner: str, fence: int) -> int | None:
        """Take over from a process that holds the lock and hangs; `None`: somebody else was quicker."""
        values, position = self._read()
        draft = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        target = self.path.with_name(f"{self.path.name}{_NEXT}{_number_of(self._file, self.path) + 1}")
        draft.unlink(missing_ok=True)
        try:
            with contextlib.closing(_opened(draft)) as db:
                db.execute("BEGIN")
                db.executemany("INSERT INTO state VALUES (?, ?)", values.items())
                db.execute("UPDATE place SET position = ?", (position,))
                db.execute("UPDATE lease SET owner = ?, fence = ?, beat = 1", (owner, fence))
                db.execute("COMMIT")
            os.link(draft, target)  # of two that try, one fails
        except FileExistsError:
            self._drop()
            return None
        finally:
            _remove(draft)
        sync_directory(target.parent)
        before = self._file
        self._drop()
        _remove(before)
        return fence

    def _read_beat(self) -> _Beat:
        row = self._connection.execute("SELECT owner, fence, beat FROM lease").fetchone()
        if row is None:
            raise StoreTrouble(f"{self.path} has no lease: it is damaged")
        return row[0], int(row[1]), int(row[2])

    def release(self, owner: str) -> None:
        """Let another process take over at once; never raises."""
        with contextlib.suppress(StoreTrouble, Fenced, OSError, sqlite3.Error), self._writing() as db:
            db.execute("UPDATE lease SET owner = NULL, beat = beat + 1 WHERE owner = ?", (owner,))

    # --- the state

    def load(self, fence: int) -> State:
        """What was saved last. See `Store.load`."""
        with self._telling():
            return self._read(fence)

    def _read(self, fence: int | None = None) -> State:
        db = self._connection
        db.execute("BEGIN")  # one view of all of it
        try:
            if fence is not None:
                self._check(db, fence)
            values = dict(db.execute("SELECT key, value FROM state"))
            row = db.execute("SELECT position FROM place").fetchone()
        finally:
            db.execute("ROLLBACK")
        return State(values, None if row is None else row[0])

    def commit(self, changes: Mapping[str, bytes | None], position: str | None, fence: int) -> None:
        """Save changes and position together. See `Store.commit`."""
        with self._telling(), self._writing() as db:
            self._check(db, fence)
            put = [(key, value) for key, value in changes.items() if value is not None]
            gone = [(key,) for key, value in changes.items() if value is None]
            db.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", put)
            db.executemany("DELETE FROM state WHERE key = ?", gone)
            db.execute("UPDATE place SET position = ?", (position,))

    def clear(self, fence: int) -> None:
        """Forget everything that was saved. See `Store.clear`."""
        with self._telling(), self._writing() as db:
            self._check(db, fence)
            db.execute("DELETE FROM state")
            db.execute("UPDATE place SET position = NULL")

    @staticmethod
    def _check(db: sqlite3.Connection, fence: int) -> None:
        row = db.execute("SELECT fence FROM lease").fetchone()
        if row is None or int(row[0]) != fence:
            raise Fenced("another process has taken over")

    # --- the file

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            self._open()
        elif self._inode != _inode(self._file):
            self._drop()  # to write on where nobody looks any more would be to lose all of it
            raise Fenced(f"{self._file} was replaced")
        db = self._db
        if db is None:
            raise StoreTrouble(f"{self.path} is closed")
        return db

    def _open(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = current_file(self.path)
        self._db, self._inode = _opened(self._file), _inode(self._file)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it, or nothing."""
        db = self._connection
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
            db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """Tell what SQLite and the disk have to complain of in our words."""
        try:
            yield
        except sqlite3.Error as error:
            if "disk I/O" in str(error) or "malformed" in str(error):  # the connection may never recover
                self._drop()
            raise StoreTrouble(f"{self.path}: {error}") from error
        except OSError as error:
            raise StoreTrouble(f"{self.path}: {error.strerror or error}") from error

    def _drop(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(sqlite3.Error):
                db.close()

    def close(self) -> None:
        """Close the file; never raises."""
        self._drop()


def current_file(path: Path) -> Path:
    """Which file the state is in: `path` itself, or the one with the highest number behind it."""
    found = [path, *path.parent.glob(f"{glob.escape(path.name)}{_NEXT}*")]
    return max(found, key=lambda each: _number_of(each, path))


def _number_of(file: Path, path: Path) -> int:
    digits = file.name.removeprefix(path.name).removeprefix(_NEXT)
    return 1 if file == path else int(digits) if digits.isascii() and digits.isdigit() else 0


def _opened(file: Path) -> sqlite3.Connection:
    """The file, open, and with its tables."""
    os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    db = sqlite3.connect(file, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA cache_size = -4096")  # kilobytes: nothing is read back but at the start
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if not version:  # else nothing is written: whoever holds the lock may hang
            db.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {_VERSION}; COMMIT;")
        elif version != _VERSION:
            raise StoreTrouble(f"{file} was written by another version of botobs")
    except BaseException:
        db.close()
        raise
    return db


def _remove(file: Path) -> None:
    """Remove a file of SQLite's and what belongs to it."""
    for end in ("", "-wal", "-shm"):
        file.with_name(file.name + end).unlink(missing_ok=True)


def _inode(path: Path) -> tuple[int, int] | None:
    """Which file it is; `None`: there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - every commit asks
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
