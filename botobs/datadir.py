"""The directory a run writes into: made, proven writable, held by one process, with how the last run ended.

```
logs/ logs/archive/ metrics/    what the run writes
state/lock                      held with flock for the life of the run; its content names the holder
state/run.json                  the latest run: who, since when, how it ended; mtime: the last sign of life
```
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import threading
from typing import TYPE_CHECKING, Any, Final

import orjson

from botobs.clock import rfc3339
from botobs.errors import ConfigError
from botobs.runfile import boot_id, decode, encode, previous_run, this_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from botobs.clock import Clock
    from botobs.runfile import PreviousRun

__all__ = ["DataDir", "atomic_write", "is_held", "sync_directory", "write_all"]

_WRITTEN = ("logs", "logs/archive", "metrics", "state")
_NO_FLOCK = {errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK, errno.EINVAL}
_STALE_S = 3600
_REASONS: dict[int | None, str] = {
    errno.ENOTDIR: "a file stands where a directory should be",
    errno.EISDIR: "a directory stands where a file should be",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "files may not grow that large",
}


class DataDir:
    """A claimed data directory. Made by `claim`, given back by `release`.

    Attributes:
        path: The directory, absolute, so that a bot may change its working directory.
        logs: Live streams.
        archive: Rotated streams.
        metrics: The ledger.
        state: Small files, each written with `atomic_write`.
        run_id: This run.
        previous: The run before, or `None` if there was none.
        locked: Whether the lock is held; false where the file system has no locks, and after the end.
    """

    def __init__(
        self,
        path: Path,
        run: dict[str, Any],
        lock: int,
        *,
        locked: bool,
        previous: PreviousRun | None,
        clock: Clock,
    ) -> None:
        self.path = path
        self.logs = path / "logs"
        self.archive = path / "logs" / "archive"
        self.metrics = path / "metrics"
        self.state = path / "state"
        self.run_id: str = run["run_id"]
        self.previous = previous
        self.locked = locked
        self._run = run
        self._lock = [lock]  # popped by whoever ends it: atomic, and safe in a signal handler
        self._clock = clock
        self._pid = os.getpid()

    @classmethod
    def claim(
        cls, path: Path, *, bot: str, run_id: str, clock: Clock, warn: Callable[[str], object] | None = None
    ) -> DataDir:
        """Make the directory, prove that it can be written, and hold it until `release`.

        Args:
            path: The directory; it and its parents are created.
            bot: The bot's name.
            run_id: This run's id.
            clock: Tells when the run started and ended.
            warn: Gets a sentence about what is not as it should be but need not stop the bot.

        Raises:
            ConfigError: It cannot be written, or another run holds it; the message says which, and who.
        """
        with _explained(path, path):
            path = path.absolute()
        for name in ("", *_WRITTEN):
            with _explained(path, path / name):
                _make_directory(path / name)
        run = this_run(bot, run_id, clock)
        lock_path, run_path = path / "state" / "lock", path / "state" / "run.json"
        with _explained(path, lock_path):
            lock = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            locked = _hold(lock, path, warn)
            with _explained(path, lock_path):
                os.ftruncate(lock, 0)
                write_all(lock, orjson.dumps(run) + b"\n")
            for name in _WRITTEN:
                with _explained(path, path / name):
                    _probe(path / name)
            previous = previous_run(run_path, run["boot_id"])
            with _explained(path, run_path):
                _clear_leftovers(path / "state", lock)
                atomic_write(run_path, encode(run))
                _stamp(run_path, clock)
        except BaseException:
            os.close(lock)
            raise
        return cls(path, run, lock, locked=locked, previous=previous, clock=clock)

    def touch(self) -> None:
        """Leave a sign of life; about once a minute will do.

        Raises:
            OSError: The disk refused.
        """
        if self._lock and os.getpid() == self._pid:
            _stamp(self.state / "run.json", self._clock)

    def release(self, *, clean: bool) -> None:
        """Mark the run as ended and give the directory back.

        Called again it does nothing more; in a forked child it only abandons.

        Raises:
            OSError: The end could not be written: the next start will take this run for an unclean one. The
                directory is given back all the same.
        """
        if os.getpid() != self._pid:
            self.abandon()
            return
        try:
            lock = self._lock.pop()
        except IndexError:
            return
        try:
            self._mark_end(clean=clean)
        finally:
            self.locked = False
            with contextlib.suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_UN)  # closing is not enough while a forked child has a copy
            os.close(lock)

    def abandon(self) -> None:
        """Close this process's copy of the lock, unlock nothing: for a forked child whose parent holds it."""
        self.locked = False
        with contextlib.suppress(IndexError, OSError):
            os.close(self._lock.pop())

    def _mark_end(self, *, clean: bool) -> None:
        path = self.state / "run.json"
        ended = encode({**self._run, "ended": rfc3339(self._clock.time_ns()), "clean": clean})
        try:
            atomic_write(path, ended)
        except OSError:
            if path.stat().st_size != len(ended):
                raise
            # a full disk: as many bytes over the old ones need no room; torn, they would read as unclean
            file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                write_all(file, ended)
                os.fsync(file)
            finally:
                os.close(file)
        _stamp(path, self._clock)


def atomic_write(path: Path, data: bytes) -> None:
    """Replace a small file so that a crash or a full disk leaves either the old content or the new.

    The file has mode 0600. When this returns, it is on the disk, its name included.

    Raises:
        OSError: It could not be written; the old file is as it was (unless only the directory's own sync
            failed: then the new content is there, but may not survive the machine's crash).
    """
    draft = path.with_name(f".{path.name}.{os.urandom(6).hex()}.tmp")  # no pid: in containers all are 1
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            write_all(file, data)
            os.fsync(file)
        finally:
            os.close(file)
        draft.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    sync_directory(path.parent)


def write_all(file: int, data: bytes) -> None:
    """Write all of it, however many steps that takes."""
    rest = memoryview(data)
    while rest:  # a full disk first gives a short write, then the error
        rest = rest[os.write(file, rest) :]


def sync_directory(path: Path) -> None:
    """Bring to the disk which names are in a directory."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # some file systems cannot, and need not
            raise
    finally:
        os.close(directory)


def _make_directory(path: Path) -> None:
    for directory in (*reversed(path.parents), path):
        if directory.is_dir():
            continue
        try:
            directory.mkdir(0o700)
        except FileExistsError:
            if not directory.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "in the way", str(directory)) from None
        with contextlib.suppress(OSError):  # a parent may be one that can be passed but not read
            sync_directory(directory.parent)


def _probe(directory: Path) -> None:
    probe = directory / ".botobs-probe"
    file = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        write_all(file, bytes(4096))  # a whole block: an empty file can be made on a full disk
        os.fsync(file)
    finally:
        os.close(file)
        probe.unlink(missing_ok=True)


@contextlib.contextmanager
def _explained(data_dir: Path, place: Path) -> Iterator[None]:
    """Turn what the operating system says about `place` into a ConfigError about `data_dir`."""
    try:
        yield
    except (OSError, ValueError) as error:
        number = getattr(error, "errno", None)
        in_the_way = getattr(error, "filename", None) if number == errno.ENOTDIR else None
        reason = _REASONS.get(number) or getattr(error, "strerror", None) or type(error).__name__
        raise ConfigError(
            f"data_dir = {str(data_dir)!r} cannot be used: {in_the_way or place}: {reason}; "
            "it takes a directory that can be written"
        ) from error


def _hold(lock: int, path: Path, warn: Callable[[str], object] | None) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(
            f"data_dir = {str(path)!r} is held by {_holder(lock)}; each run takes a directory of its own"
        ) from None
    except OSError as error:
        if error.errno not in _NO_FLOCK:
            with _explained(path, path / "state" / "lock"):
                raise
        if warn is not None:
            warn(f"{path} is on a file system without locks: nothing keeps a second process from writing there")
        return False
    return True


def is_held(state: Path) -> bool:
    """Whether a run is at work in the data directory whose `state` this is, as far as its lock tells."""
    try:
        lock = os.open(state / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:  # another one: a file system without locks
        return error.errno in (errno.EAGAIN, errno.EACCES)
    finally:
        os.close(lock)
    return False


_MINE: Final = " (this very one; its shutdown() lets go of it)"  # a cell of a notebook that is run twice


def _holder(lock: int) -> str:
    """Who holds the lock, in words. One who took it an instant ago may not have signed yet: give it 0.2 s."""
    found: dict[str, Any] = {}
    for _ in range(20):
        found = decode(os.pread(lock, 4096, 0))
        if isinstance(found.get("pid"), int) and _lives(found):
            break
        threading.Event().wait(0.01)
    pid = found.get("pid")
    if not isinstance(pid, int):
        return "another process that has not written its name"
    text = (
        f"process {pid}{_MINE if pid == os.getpid() else ''} on {found.get('host')}: "
        f"bot {found.get('bot')!r}, since {found.get('started')}"
    )
    return text if _lives(found) else f"{text} (it seems to have ended: one that it forked may hold on)"


def _lives(holder: dict[str, Any]) -> bool:
    """False only if the process is known to be gone: of another machine nothing is known."""
    if holder.get("host") != socket.gethostname():
        return True
    if holder.get("boot_id") != boot_id():
        return False
    try:
        os.kill(holder["pid"], 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True


def _stamp(path: Path, clock: Clock) -> None:
    now = clock.time_ns()
    with contextlib.suppress(OverflowError):  # a clock gone mad
        os.utime(path, ns=(now, now))


def _clear_leftovers(state: Path, lock: int) -> None:
    """Remove drafts of `atomic_write` that a crash left; young ones may be a command line's at work."""
    now = os.fstat(lock).st_mtime  # just written: the file system's own clock
    for draft in state.glob(".*.tmp"):
        with contextlib.suppress(OSError):
            if now - draft.stat().st_mtime > _STALE_S:
                draft.unlink()
