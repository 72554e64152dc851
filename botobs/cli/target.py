"""Files that a command writes: there in whole or as they were; what is no file (a pipe, a device) is written to."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botobs.errors import BotobsError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["building", "writing_text"]


@contextlib.contextmanager
def building(target: str) -> Iterator[Path]:
    """A path to write to, which takes the place of `target` when all went well.

    Raises:
        BotobsError: Something that is no file is in the way.
        OSError: It cannot be written.
    """
    path = Path(target)
    if path.exists() and not path.is_file():
        raise BotobsError(f"{target} is no file; it takes the name of one")
    draft = path.with_name(f"{path.name}.part")
    try:
        yield draft
        draft.replace(path)
    except FileNotFoundError as error:
        if not path.absolute().parent.is_dir():
            raise BotobsError(f"{target} cannot be written: {path.parent} is no directory") from error
        raise OSError(error.errno, error.strerror, target) from error  # not the draft's name, which nobody knows
    except OSError as error:
        if error.filename == str(draft):
            raise OSError(error.errno, error.strerror, target) from error
        raise
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


@contextlib.contextmanager
def writing_text(target: str) -> Iterator[Any]:
    """The same, open for writing text.

    Raises:
        BotobsError: A directory is in the way.
        OSError: It cannot be written.
    """
    path = Path(target)
    if path.exists() and not path.is_file() and not path.is_dir():
        with path.open("w", encoding="utf-8", newline="") as file:  # never replaced: it is not ours
            yield file
        return
    with building(target) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        yield file
