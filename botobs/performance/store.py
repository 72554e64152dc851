"""Where summaries are kept: a folder, or any place that fsspec knows."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, unquote, urlsplit

import orjson

from botobs.datadir import atomic_write
from botobs.errors import BotobsError
from botobs.streams.disk import make_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Folder", "Place", "Remote", "escape", "place_at"]

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+(?:::|://)")  # of one letter: a drive
_LONGEST = 120  # characters of a name; file systems take 255 bytes


class Place(Protocol):
    """Takes and gives small objects by name; names are `a/b/c.json`, each part escaped."""

    def write(self, name: str, data: bytes) -> None:
        """Put an object in the place of the one that was there."""
        ...

    def read(self, name: str, most: int | None = None) -> bytes | None:
        """An object's content, or its first `most` bytes; `None`: there is none."""
        ...

    def delete(self, name: str) -> None:
        """Take an object away, if it is there."""
        ...

    def names(self, under: str) -> Iterator[str]:
        """The objects under a folder, however deep."""
        ...


def escape(name: str) -> str:
    """`name` as one part of a path that means nothing to any file system, different for different names.

    Example:
        >>> escape("bma"), escape("../x"), escape(".."), escape("")
        ('bma', '%2E%2E%2Fx', '%2E%2E', '%')
    """
    said = quote(name, safe="-_ ", errors="backslashreplace").replace(".", "%2E").replace("~", "%7E")
    said = said.replace(" ", "%20")
    if len(said) > _LONGEST:
        digest = hashlib.blake2b(name.encode(errors="backslashreplace"), digest_size=12).hexdigest()
        said = f"{said[:_LONGEST]}~{digest}"
    return said or "%"


class Folder:
    """A folder of this machine; objects are replaced atomically.

    Args:
        root: The folder; it is made when something is written.
        synced: What was written survives the machine's crash; that costs milliseconds for each object.
    """

    def __init__(self, root: Path, *, synced: bool = False) -> None:
        self._root = root.absolute()
        self._synced = synced

    def __repr__(self) -> str:
        return str(self._root)

    def write(self, name: str, data: bytes) -> None:
        """Put an object in the place of the one that was there."""
        path = self._path(name)
        make_folder(path.parent)
        if self._synced:
            atomic_write(path, data)
            return
        # not synced as `atomic_write` does, for each costs milliseconds: what a machine's crash takes can be made again
        draft = path.with_name(f".{os.urandom(8).hex()}.tmp")
        try:
            draft.touch(0o600, exist_ok=False)
            draft.write_bytes(data)
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise

    def read(self, name: str, most: int | None = None) -> bytes | None:
        """An object's content, or its first `most` bytes; `None`: there is none."""
        try:
            with self._path(name).open("rb") as file:
                return file.read(-1 if most is None else most)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def delete(self, name: str) -> None:
        """Take an object away, if it is there."""
        self._path(name).unlink(missing_ok=True)

    def names(self, under: str) -> Iterator[str]:
        """The objects under a folder, however deep."""
        for folder, folders, files in os.walk(self._path(under)):
            folders.sort()
            for file in sorted(files):
                if not file.startswith("."):  # drafts
                    yield Path(folder, file).relative_to(self._root).as_posix()

    def _path(self, name: str) -> Path:
        return self._root.joinpath(*_parts(name))


class Remote:
    """A place that fsspec knows, such as `s3://bucket/folder`.

    Args:
        url: Where; credentials come from where fsspec's implementations look for them.
        what: What is kept there, for what is said of it.

    Raises:
        BotobsError: fsspec, or what it needs for this kind of place, is not installed.
    """

    def __init__(self, url: str, what: str = "summaries") -> None:
        try:
            import fsspec  # type: ignore[import-not-found, import-untyped, unused-ignore]  # noqa: PLC0415  # an extra, imported only when used
        except ImportError as error:
            raise BotobsError(f"{what} at {shown(url)} need the extra fsspec: pip install 'botobs[fsspec]'") from error
        try:
            self._fs, root = fsspec.core.url_to_fs(url)
        except ImportError as error:  # fsspec says what is missing: s3fs, gcsfs
            raise BotobsError(f"{what} at {shown(url)}: {error}") from error
        except ValueError as error:
            raise BotobsError(f"{shown(url)} is no place that fsspec knows: {error}") from error
        self._root = str(root).rstrip("/")
        self._shown = shown(url)

    def __repr__(self) -> str:
        return self._shown

    def write(self, name: str, data: bytes) -> None:
        """Put an object in the place of the one that was there."""
        path = self._path(name)
        with contextlib.suppress(NotImplementedError):  # object stores have no folders
            self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        self._fs.pipe_file(path, data)

    def read(self, name: str, most: int | None = None) -> bytes | None:
        """An object's content, or its first `most` bytes; `None`: there is none."""
        try:
            if most is None:
                return bytes(self._fs.cat_file(self._path(name)))
            return bytes(self._fs.cat_file(self._path(name), start=0, end=most))
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def delete(self, name: str) -> None:
        """Take an object away, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._path(name))

    def names(self, under: str) -> Iterator[str]:
        """The objects under a folder, however deep."""
        self._fs.invalidate_cache()
        cut = len(self._root) + 1
        try:
            found = self._fs.find(self._path(under))
        except FileNotFoundError:
            return
        for path in sorted(found):
            yield str(path)[cut:]

    def _path(self, name: str) -> str:
        return "/".join((self._root, *_parts(name)))


def place_at(url: str | os.PathLike[str], what: str = "summaries", *, synced: bool = False) -> Place:
    """The place that `url` names: a path or `file://` is a folder, everything else fsspec's.

    Args:
        url: Where.
        what: What is kept there, for what is said of it.
        synced: In a folder, what was written survives the machine's crash.

    Raises:
        BotobsError: What it takes to get there is not installed, or it names no place.
    """
    try:
        text = os.fsdecode(url)
    except (TypeError, ValueError):
        text = ""
    if not text or "\0" in text:
        raise BotobsError(f"{what}: {url!r:.60} is no place; it takes a folder or a URL such as s3://bucket/folder")
    if not _SCHEME.match(text):
        return Folder(Path(text), synced=synced)
    if text.startswith("file://"):
        parts = urlsplit(text)
        if parts.netloc not in ("", "localhost"):
            raise BotobsError(f"{text} names another machine; a folder of this one has three slashes: file:///...")
        return Folder(Path(unquote(parts.path)), synced=synced)
    return Remote(text, what)


def shown(url: str) -> str:
    """`url` without what may be secret in it."""
    return re.sub(r"//(?:[^/@]*|[^@?\s]*:[^@?\s]*)@", "//", url).partition("?")[0]


def encoded(content: dict[str, Any]) -> bytes:
    """An object as JSON for people and programs."""
    return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def decoded(data: bytes | None) -> dict[str, Any] | None:
    """What `encoded` was given; `None` if it is damaged or something else."""
    try:
        found = orjson.loads(data or b"")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _parts(name: str) -> list[str]:
    """The parts of a name. All were escaped; that none leads elsewhere is made sure of here all the same."""
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
        raise ValueError(f"not the name of an object: {name!r}")
    return parts
