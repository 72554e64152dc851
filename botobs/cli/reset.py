"""`botobs reset`: put everything that was recorded aside, so that the bot begins anew. Nothing is deleted."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING, Final

from botobs.cli.place import NoDataError, data_dir_of
from botobs.cli.say import complain, say, say_json
from botobs.cli.show import count

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "put ledger, streams and state aside into a dated folder, so that the bot begins anew; asks first"

_MOVED: Final = ("metrics", "logs", "state")
_LOCK: Final = "lock"  # it must stay where it is while somebody may hold it


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("--yes", action="store_true", help="do not ask")


def run(options: argparse.Namespace) -> int:
    """Move it; 1 if there is nothing to move, or nobody wants it moved."""
    path = data_dir_of(options)
    if not _things(path):
        raise NoDataError(f"there is nothing to put aside in {path}")
    if not options.yes:
        if options.json or sys.stdin is None or not sys.stdin.isatty():
            complain("botobs reset: nobody is there to be asked; --yes puts everything aside without asking")
            return 2
        if not _asked(path):
            complain("botobs reset: nothing was changed")
            return 1
    folder, moved = _put_aside(path)
    if options.json:
        say_json({"archive": str(folder), "moved": moved})
    else:
        say([f"{', '.join(moved)} of {path} are now in {folder}", "a bot that starts there begins anew"])
    return 0


def _things(path: Path) -> list[str]:
    """The folders with something in them that a run left."""
    return [name for name in _MOVED if any(each.name != _LOCK for each in (path / name).rglob("*") if each.is_file())]


def _asked(path: Path) -> bool:
    from botobs.accounting.ledger import Ledger  # noqa: PLC0415  # not for --help

    with contextlib.suppress(OSError):
        lines = Ledger(path, read_only=True).next_seq - 1
        complain(f"{path}: a ledger of {count(lines, 'line')}, with its streams and state, will be put aside there.")
    print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)  # noqa: T201  # a question, not output
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _put_aside(path: Path) -> tuple[Path, list[str]]:
    """Move everything while nobody else can begin; what a run of ours writes to claim the place is not kept."""
    from botobs.clock import SystemClock  # noqa: PLC0415  # not for --help
    from botobs.datadir import DataDir  # noqa: PLC0415  # not for --help

    run = path / "state" / "run.json"
    last = run.read_bytes() if run.exists() else None
    claimed = DataDir.claim(path, bot="botobs reset", run_id="reset", clock=SystemClock())
    try:
        if last is None:
            run.unlink(missing_ok=True)
        else:
            run.write_bytes(last)
        moved = _things(path)
        folder = _folder(path)
        (folder / "state").mkdir()
        for name in moved:
            if name != "state":
                (path / name).rename(folder / name)
                continue
            for each in sorted((path / "state").iterdir()):
                if each.name != _LOCK:
                    each.rename(folder / "state" / each.name)
        _synced(folder)
        _synced(path)
    finally:
        claimed.abandon()  # gives the lock back and writes nothing: there was no run
    return folder, moved


def _folder(path: Path) -> Path:
    name = f"archive-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    for number in range(1, 1_000):
        folder = path / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            continue
        return folder
    raise NoDataError(f"{path} has a thousand archives of this second")


def _synced(folder: Path) -> None:
    with contextlib.suppress(OSError):
        file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(file)
        finally:
            os.close(file)
