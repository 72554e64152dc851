"""The list of a backup: which files it has, of which pieces. Whoever wrote it, it leads nowhere but into its folder."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs
import orjson

from botobs.backup.errors import BackupError, NoBackupError
from botobs.backup.shelf import PIECE, Part
from botobs.clock import epoch_ns, rfc3339
from botobs.streams.names import compact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botobs.backup.shelf import Shelf

__all__ = ["FOLDERS", "Entry", "Manifest", "decode", "encode", "is_ours", "latest", "listed", "name_of", "read"]

FOLDERS: Final = ("logs", "metrics", "state")
_FORMAT: Final = "botobs backup 1"
_SEAL: Final = len(b',"sha256":"') + 64 + len(b'"}\n')
_LONGEST: Final = 1_000
_LONGEST_PART: Final = 255
_LATEST: Final = "99991231T235959.999999Z"
_T = TypeVar("_T")


@attrs.frozen
class Entry:
    """A file.

    Attributes:
        path: Where it lies in the data directory, with `/` between the parts.
        size: Its bytes.
        mtime_ns: When it was written last.
        parts: What it is made of.
    """

    path: str
    size: int
    mtime_ns: int
    parts: tuple[Part, ...]


@attrs.frozen(kw_only=True)
class Manifest:
    """What a backup has.

    Attributes:
        at_ns: The moment that it shows; no two at one place have the same.
        bot: Whose it is; `None`: nobody knows.
        lines: The last line of the ledger.
        entries: Its files.
    """

    at_ns: int
    bot: str | None
    lines: int
    entries: tuple[Entry, ...]

    @property
    def at(self) -> str:
        """The moment, RFC 3339."""
        return rfc3339(self.at_ns)

    @property
    def stamp(self) -> str:
        """The moment as it stands in names."""
        return compact(self.at_ns)

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(entry.size for entry in self.entries)

    @property
    def parts(self) -> Iterator[Part]:
        """All pieces, some more than once."""
        return (part for entry in self.entries for part in entry.parts)


def encode(manifest: Manifest) -> bytes:
    """A manifest as JSON, its own checksum last."""
    body = orjson.dumps(
        {
            "format": _FORMAT,
            "at": manifest.at,
            "bot": manifest.bot,
            "lines": manifest.lines,
            "files": [
                {
                    "path": entry.path,
                    "size": entry.size,
                    "mtime_ns": entry.mtime_ns,
                    "parts": [[*part] for part in entry.parts],
                }
                for entry in manifest.entries
            ],
        }
    )[:-1]
    return b'%b,"sha256":"%b"}\n' % (body, hashlib.sha256(body).hexdigest().encode())


def decode(data: bytes, where: str) -> Manifest:
    """What `encode` was given.

    Raises:
        NoBackupError: It is torn or damaged, so it is none.
        BackupError: Somebody wrote something else on purpose, or a newer botobs did.
    """
    body = data[:-_SEAL]
    if data[-_SEAL:] != b',"sha256":"%b"}\n' % hashlib.sha256(body).hexdigest().encode():
        raise NoBackupError(f"{where} is torn or damaged")
    try:
        said = orjson.loads(data)
        if said["format"] != _FORMAT:
            raise BackupError(f"{where} is of another format ({str(said['format'])[:40]!r}); this is for {_FORMAT!r}")
        manifest = Manifest(
            at_ns=epoch_ns(_of(str, said["at"])),
            bot=None if said["bot"] is None else _of(str, said["bot"]),
            lines=_of(int, said["lines"]),
            entries=tuple(_entry(each, where) for each in _of(list, said["files"])),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise BackupError(f"{where} is no list of files: {type(error).__name__}") from error
    _no_conflict(manifest, where)
    return manifest


def is_ours(path: str) -> bool:
    """Whether `path` may be a file's in a data directory: in one of its folders, and nowhere else.

    Example:
        >>> is_ours("logs/signals.jsonl"), is_ours("logs/../../x"), is_ours("/etc/x"), is_ours("state/lock")
        (True, False, False, False)
    """
    parts = path.split("/")
    return (
        len(path) <= _LONGEST
        and path.isprintable()
        and "\\" not in path
        and len(parts) > 1
        and (parts[0] in FOLDERS or parts[0].startswith("archive-"))
        and all(part not in ("", ".", "..") and len(part.encode()) <= _LONGEST_PART for part in parts)
        and path != "state/lock"
    )


def latest(shelf: Shelf, at_ns: int | None = None, *, notes: list[str] | None = None) -> Manifest | None:
    """The newest whole list, not made after `at_ns`; `None`: there is none.

    Args:
        shelf: Where.
        at_ns: The moment.
        notes: Gets a sentence about each that had to be passed over.

    Raises:
        BackupError: The place refuses, or the list will not do.
    """
    limit = _LATEST if at_ns is None else compact(at_ns)
    for stamp in reversed(shelf.lists()):
        if stamp > limit:
            continue
        try:
            return read(shelf, stamp)
        except NoBackupError as error:
            if notes is not None:
                notes.append(f"{error}, and counts for nothing")
    return None


def listed(shelf: Shelf) -> Iterator[Manifest]:
    """All whole lists, the oldest first.

    Raises:
        BackupError: The place refuses, or a list will not do.
    """
    for stamp in shelf.lists():
        with contextlib.suppress(NoBackupError):
            yield read(shelf, stamp)


def read(shelf: Shelf, stamp: str) -> Manifest:
    """The list of that time.

    Raises:
        NoBackupError: It is torn or damaged.
        BackupError: The place refuses, or the list will not do.
    """
    where = f"{shelf}: {name_of(stamp)}"
    manifest = decode(shelf.read_list(stamp), where)
    if manifest.stamp != stamp:
        raise BackupError(f"{where} is of another time than its name says: {manifest.at}")
    return manifest


def name_of(stamp: str) -> str:
    """How the list of that time is called."""
    return f"backups/{stamp}.json"


def _entry(said: Any, where: str) -> Entry:
    path = _of(str, said["path"])
    if not is_ours(path):
        raise BackupError(f"{where} has a file that has no place in a data directory: {path[:80]!r}")
    parts = tuple(Part(_digest(digest), _of(int, size)) for digest, size in said["parts"])
    entry = Entry(path, _of(int, said["size"]), _of(int, said["mtime_ns"]), parts)
    if any(not 0 < part.size <= PIECE for part in parts) or sum(part.size for part in parts) != entry.size:
        raise BackupError(f"{where}: the pieces of {path!r} do not add up to its size")
    return entry


def _no_conflict(manifest: Manifest, where: str) -> None:
    """No file twice, and none where another one's folder has to be."""
    paths = {entry.path for entry in manifest.entries}
    if len(paths) != len(manifest.entries):
        raise BackupError(f"{where} has a file twice")
    for path in paths:
        parts = path.split("/")
        if any("/".join(parts[:depth]) in paths for depth in range(1, len(parts))):
            raise BackupError(f"{where} has a file in the place of a folder, above {path!r}")


def _digest(said: Any) -> str:
    text = _of(str, said)
    if len(text) != 64 or set(text) - set("0123456789abcdef"):
        raise ValueError
    return text


def _of(kind: type[_T], value: Any) -> _T:
    if type(value) is not kind:
        raise TypeError
    return value
