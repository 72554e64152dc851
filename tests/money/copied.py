"""A data directory as a crash would leave it: copied while a bot runs on it."""

from __future__ import annotations

import shutil
from pathlib import Path

__all__ = ["copy_of"]


def copy_of(folder: Path, target: Path) -> None:
    """Copy what is there; a draft that is renamed meanwhile is not there."""

    def taken(source: str, destination: str) -> None:
        try:
            shutil.copy2(source, destination)
        except FileNotFoundError:
            return

    shutil.copytree(folder, target, copy_function=taken)
