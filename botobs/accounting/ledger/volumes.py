"""The archived files of the ledger and what their names tell, so that few of them have to be opened."""

from __future__ import annotations

import itertools
import os
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Volume", "free_path", "squeezed", "volumes"]

_MOMENT = r"[0-9]{8}T[0-9]{6}\.[0-9]{6}Z"
_NAME = re.compile(rf"fills-([0-9]{{12,19}})-({_MOMENT})-({_MOMENT})(?:-([0-9]{{1,9}}))?\.jsonl")


class Volume(NamedTuple):
    """One archived file; sorts in the order of writing.

    Attributes:
        first_seq: The number of its first line.
        turn: Tells files apart that would have the same name.
        start: The earliest exchange time in it, as in names.
        end: The latest.
        path: Where it is.
    """

    first_seq: int
    turn: int
    start: str
    end: str
    path: Path


def volumes(folder: Path) -> list[Volume]:
    """All archived files in `folder`, in the order of writing."""
    try:
        names = os.listdir(folder)  # noqa: PTH208  # names are all that is wanted
    except FileNotFoundError:
        return []
    found = ((name, _NAME.fullmatch(name)) for name in names)
    return sorted(Volume(int(m[1]), int(m[4] or 0), m[2], m[3], folder / name) for name, m in found if m)


def free_path(folder: Path, first_seq: int, start: str, end: str) -> Path:
    """A name in `folder` that nobody has yet.

    Args:
        folder: The archive.
        first_seq: The number of the first line.
        start: The earliest exchange time, RFC 3339 with microseconds.
        end: The latest.
    """
    base = f"fills-{first_seq:012d}-{squeezed(start)}-{squeezed(end)}"
    names = (f"{base}-{turn}.jsonl" if turn else f"{base}.jsonl" for turn in itertools.count())
    return next(path for path in map(folder.joinpath, names) if not os.path.lexists(path))


def squeezed(moment: str) -> str:
    """RFC 3339 text as it stands in names.

    Example:
        >>> squeezed("2026-01-02T03:04:05.000001Z")
        '20260102T030405.000001Z'
    """
    return moment.replace("-", "").replace(":", "")
