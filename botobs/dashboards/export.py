"""Writes the stack into a directory, and leaves alone what somebody changed there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from botobs.errors import BotobsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botobs.dashboards.stack import Stack

__all__ = ["Exported", "NotOursError", "export"]

_WRITTEN: Final = ".botobs-export.json"  # what was written here, by path: the sum of its content
_SHOWN: Final = 10


class NotOursError(BotobsError):
    """Files in the way are not as they were exported; nothing was written."""

    def __init__(self, paths: list[str]) -> None:
        shown = ", ".join(paths[:_SHOWN]) + (f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else "")
        verb = "is" if len(paths) == 1 else "are"
        super().__init__(f"{shown} {verb} not as exported; nothing was written (--force replaces what is there)")
        self.paths = paths


@attrs.frozen
class Exported:
    """What was done.

    Attributes:
        written: Paths of files that are new or were brought up to date.
        unchanged: Paths of files that were right already.
    """

    written: list[str]
    unchanged: list[str]


def export(stack: Stack, directory: str | os.PathLike[str], *, force: bool = False) -> Exported:
    """Write `stack` into `directory`, which is made if it is not there.

    A file that was exported before and not touched since is brought up to date. One that is not as it was exported is
    left alone, and so are then all others.

    Args:
        stack: What to write.
        directory: Where to.
        force: Replace files that somebody changed.

    Raises:
        NotOursError: Somebody changed files; they are named.
        BotobsError: The directory will not do.
        OSError: The disk is full, or fails.

    Example:
        >>> from botobs.dashboards import Stack, export
        >>> len(export(Stack(), "stack").unchanged)
        0
    """
    folder = Path(directory)
    files = stack.files()
    _make(folder)
    try:
        before = _sums(folder)
        there = {path: found for path in files if (found := _content(folder / path)) is not None}
        changed = [path for path, found in there.items() if not _ours(found, files[path], before.get(path))]
        if changed and not force:
            raise NotOursError(changed)
        written = [path for path, text in files.items() if there.get(path) != text.encode()]
        for path in written:
            _write(folder, path, files[path])
        sums = {path: _sum(text.encode()) for path, text in files.items()}
        _write(folder, _WRITTEN, json.dumps(sums, indent=1) + "\n")
    except (FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise BotobsError(f"{error.filename or folder} cannot be written: {error.strerror}") from error
    return Exported(written, [path for path in files if path not in written])


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise BotobsError(f"{folder} is no directory; it takes one, or the name of one to be made") from None
    except OSError as error:
        raise BotobsError(f"{folder} cannot be made: {error.strerror}") from error


def _write(folder: Path, name: str, text: str) -> None:
    """Write a file whole, and readable for all: in its container, each program is a user of its own."""
    path = folder / name
    for above in reversed(path.relative_to(folder).parents[:-1]):
        with contextlib.suppress(FileExistsError):
            (folder / above).mkdir()
            (folder / above).chmod(0o755)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        draft.write_bytes(text.encode())
        draft.chmod(0o644)
        draft.replace(path)
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


def _ours(found: bytes, now: str, before: str | None) -> bool:
    """Whether a file is as it is written now, or as it was written before."""
    return found == now.encode() or _sum(found) == before


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _sums(folder: Path) -> Mapping[str, str]:
    """What was written here; damaged or from elsewhere, it knows nothing, and then nothing counts as ours."""
    try:
        said = json.loads(_content(folder / _WRITTEN) or b"{}")
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
