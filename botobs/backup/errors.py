"""What goes wrong with backups, in words that show no secret."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from botobs.errors import BotobsError
from botobs.performance.store import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["BackupError", "BusyError", "NoBackupError", "StoppedError", "secrets_of", "telling", "why"]

_LONGEST = 300


class BackupError(BotobsError):
    """A backup could not be made, or what was made of one will not do. The message says where and why."""


class BusyError(BackupError):
    """Another backup of the same data directory is being made."""


class NoBackupError(BackupError):
    """There is no such backup."""


class StoppedError(BackupError):
    """Somebody wanted it to end before it was done."""


def secrets_of(url: str) -> tuple[str, ...]:
    """What of a URL is for nobody to see, the longest first.

    Example:
        >>> secrets_of("s3://key:word@bucket/x?token=1"), secrets_of("s3://bucket/x")
        (('key:word@', 'token=1', 'word'), ())
    """
    user = re.search(r"//([^?\s]*:[^?\s]*|[^/?\s]*)@", url)
    said = {url.partition("?")[2]} | ({f"{user[1]}@", user[1].partition(":")[2]} if user else set())
    return tuple(sorted(said - {""}, key=lambda text: (-len(text), text)))


def why(error: BaseException, secrets: Iterable[str] = ()) -> str:
    """What an error says, on one line, without what is in `secrets`.

    Example:
        >>> why(OSError(28, "No space left on device")), why(ValueError("a://k:s@b is wrong"))
        ('No space left on device', 'ValueError: a://b is wrong')
    """
    said = getattr(error, "strerror", None) if isinstance(error, OSError) else None
    text = str(said or f"{type(error).__name__}: {error}")
    for secret in secrets:
        text = text.replace(secret, "")
    text = shown(text)
    return " ".join(text.split())[:_LONGEST]


@contextlib.contextmanager
def telling(doing: str, secrets: Iterable[str] = ()) -> Iterator[None]:
    """Turn whatever a place raises into one kind of error.

    Raises:
        BackupError: Something was raised; it says what was being done.
    """
    try:
        yield
    except BotobsError:
        raise
    except Exception as error:  # fsspec's places raise whatever their libraries do
        raise BackupError(f"{doing}: {why(error, secrets)}") from error
