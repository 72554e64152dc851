"""`botobs restore`: make a data directory of a backup, where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from botobs.cli.backup import add_at, answering, moment_ns, place_in, plain, progress, sized
from botobs.cli.place import settings_of
from botobs.cli.say import say, say_json
from botobs.cli.show import count, plain_line, when

if TYPE_CHECKING:
    import argparse

    from botobs.backup import Restored

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "make a data directory of a backup, checked; it overwrites nothing"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("words", nargs="*", metavar="URL", help="where the backup is (default: the setting backup_url)")
    add_at(parser, "the newest backup from this time or before (default: the newest)")


def run(options: argparse.Namespace) -> int:
    """Restore it; 1 if that failed, or if its ledger is damaged."""
    return answering(_restore, options)


def _restore(options: argparse.Namespace) -> int:
    from botobs.backup import restore  # noqa: PLC0415  # not for --help

    shelf = place_in(options)
    found = settings_of(options).data_dir
    root = Path("data") if found is None else found
    with progress("restoring", options) as told:
        done = restore(shelf, root, at_ns=moment_ns(options.at), progress=told)
    whole = done.ledger is None or done.ledger.ok
    if options.json:
        say_json(
            {
                "where": str(shelf), "data_dir": str(root), **plain(done.manifest), "ledger_ok": whole,
                "problem": None if done.ledger is None else done.ledger.problem, "notes": list(done.notes),
            }
        )  # fmt: skip
    else:
        say(_told(str(shelf), str(root), done))
    return 0 if whole else 1


def _told(where: str, root: str, done: Restored) -> list[str]:
    manifest = done.manifest
    said = [
        f"{where}: as of {when(manifest.at)} UTC",
        f"{root}: {count(len(manifest.entries), 'file')}, {sized(manifest.size)}, each piece as it was written",
    ]
    if done.ledger is None:
        said.append("there is no ledger in it")
    elif done.ledger.ok:
        said.append(f"the ledger is whole: {count(done.ledger.lines, 'line')}")
    else:
        said.append(f"the ledger was DAMAGED when it was backed up: {plain_line(done.ledger.problem)}; botobs verify")
    return [*said, *(f"note: {plain_line(note)}" for note in done.notes)]
