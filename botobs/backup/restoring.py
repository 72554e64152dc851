"""Making a data directory of a backup: beside its place first, checked, then moved there in one go."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from botobs.backup.errors import BackupError, NoBackupError
from botobs.backup.manifest import FOLDERS, latest
from botobs.datadir import is_held
from botobs.streams.disk import make_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from botobs.accounting.ledger.verify import Verification
    from botobs.backup.manifest import Entry, Manifest
    from botobs.backup.shelf import Shelf

__all__ = ["Restored", "check", "restore"]

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DRAFT: Final = re.compile(r"\.botobs-restore-[0-9a-f]{12}")
_NOT_OURS: Final = {"lost+found"}  # what an empty disk has


@attrs.frozen(kw_only=True)
class Restored:
    """What was made of a backup.

    Attributes:
        manifest: What it has.
        ledger: Whether the ledger in it is whole; `None`: it has none.
        notes: What else there is to know.
    """

    manifest: Manifest
    ledger: Verification | None
    notes: tuple[str, ...] = ()


def restore(
    shelf: Shelf, root: Path, *, at_ns: int | None = None, progress: Callable[[int, int], object] | None = None
) -> Restored:
    """Make the data directory `root` of the newest backup, or of the newest that was made up to `at_ns`.

    Args:
        shelf: Where the backup is.
        root: The data directory; it is not there, or empty.
        at_ns: A moment.
        progress: Is told how many bytes are done, and of how many.

    Raises:
        NoBackupError: There is none.
        BackupError: Something is at `root`, or the backup will not do; then nothing was made.
        OSError: The disk refuses; then nothing was made either.
    """
    root = Path(os.path.realpath(root))
    _must_be_empty(root)
    notes: list[str] = []
    manifest = _found(shelf, at_ns, notes)
    above = root if _is_fixed(root) else root.parent
    make_folder(above)
    _must_fit(manifest, above)
    with _drafting(above) as draft:
        _fill(shelf, manifest, draft, progress)
        ledger = _verified(draft)
        _must_be_empty(root)  # a bot may have begun there
        _move(draft, root)
    return Restored(manifest=manifest, ledger=ledger, notes=tuple(notes))


def check(
    shelf: Shelf, *, at_ns: int | None = None, progress: Callable[[int, int], object] | None = None
) -> tuple[Manifest, list[str]]:
    """Read a backup in full; what it has, and what is wrong with it.

    Raises:
        NoBackupError: There is none.
        BackupError: The place refuses, or its list will not do.
    """
    manifest = _found(shelf, at_ns, [])
    problems: list[str] = []
    known: dict[str, bool] = {}
    done = 0
    for entry in manifest.entries:
        for part in entry.parts:
            if part.digest not in known:
                known[part.digest] = shelf.has(part)
            done += part.size
            if progress is not None:
                progress(done, manifest.size)
        if not all(known[part.digest] for part in entry.parts):
            problems.append(f"{entry.path}: a piece is missing or damaged")
    return manifest, problems


def _found(shelf: Shelf, at_ns: int | None, notes: list[str]) -> Manifest:
    manifest = latest(shelf, at_ns, notes=notes)
    if manifest is not None:
        return manifest
    what = "no backup" if at_ns is None else "no backup from that time or before"
    raise NoBackupError("; ".join([f"there is {what} at {shelf}", *notes]))


def _must_be_empty(root: Path) -> None:
    """See that nothing is there.

    Raises:
        BackupError: Something is, and perhaps a bot at work.
    """
    try:
        names = set(os.listdir(root))  # noqa: PTH208  # names are all that is wanted
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise BackupError(f"{root} is a file; a backup is restored into an empty directory") from None
    if names - _NOT_OURS - {name for name in names if _DRAFT.fullmatch(name)}:
        held = ", and a bot is at work there" if is_held(root / "state") else ""
        raise BackupError(f"{root} is not empty{held}; a backup is restored into an empty directory, over nothing")


def _is_fixed(root: Path) -> bool:
    """Whether the directory itself cannot be replaced: a disk of its own, or in a folder that may not be written."""
    return root.is_dir() and (root.is_mount() or not os.access(root.parent, os.W_OK | os.X_OK))


def _must_fit(manifest: Manifest, above: Path) -> None:
    free = shutil.disk_usage(above).free
    if manifest.size > free:
        raise BackupError(f"the backup has {manifest.size:,} bytes, and {free:,} are free at {above}")


@contextlib.contextmanager
def _drafting(above: Path) -> Iterator[Path]:
    """A new folder, which is gone afterwards; what a crash left of others goes too."""
    for name in sorted(os.listdir(above)):  # noqa: PTH208  # as above
        if _DRAFT.fullmatch(name) and not _is_busy(above / name):
            shutil.rmtree(above / name, ignore_errors=True)
    draft = above / f".botobs-restore-{os.urandom(6).hex()}"
    draft.mkdir(mode=0o700)
    fd = os.open(draft, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        os.close(fd)


def _is_busy(draft: Path) -> bool:
    """Whether somebody is at work in it, as far as one can tell."""
    try:
        fd = os.open(draft, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False


def _fill(shelf: Shelf, manifest: Manifest, draft: Path, progress: Callable[[int, int], object] | None) -> None:
    done = 0
    folders = {draft}
    for entry in manifest.entries:
        path = draft / entry.path  # `decode` has seen that this leads nowhere else
        make_folder(path.parent)
        folders |= {above for above in path.parents if draft in above.parents}
        for size in _write(shelf, entry, path):
            done += size
            if progress is not None:
                progress(done, manifest.size)
    for folder in sorted(folders, reverse=True):
        _sync(folder)


def _write(shelf: Shelf, entry: Entry, path: Path) -> Iterator[int]:
    fd = os.open(path, _NEW, 0o600)
    try:
        for part in entry.parts:
            left = memoryview(shelf.get(part))
            while left:  # a full disk first gives a short write, then the error
                left = left[os.write(fd, left) :]
            yield part.size
        with contextlib.suppress(OverflowError, OSError):
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))  # `run.json` tells by it when the bot was seen last
        os.fsync(fd)
    finally:
        os.close(fd)


def _verified(draft: Path) -> Verification | None:
    from botobs.accounting.ledger import Ledger  # noqa: PLC0415  # only here, and a schedule has no need of it

    if not (draft / "metrics").is_dir() and not (draft / "state" / "ledger.head").exists():
        return None
    return Ledger(draft, read_only=True).verify()


def _move(draft: Path, root: Path) -> None:
    """Put what is in `draft` in the place of the directory `root`, which is empty or not there."""
    try:
        if draft.parent != root:
            draft.rename(root)  # takes the place of an empty directory, and of no other
            _sync(root.parent)
            return
        names = sorted(os.listdir(draft), key=lambda name: (name in FOLDERS, name))  # noqa: PTH208  # state last
        for name in names:
            (draft / name).rename(root / name)
        _sync(root)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise BackupError(f"{root} is not empty any more; nothing was restored") from error
        raise


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems cannot, and need not
            raise
    finally:
        os.close(fd)
