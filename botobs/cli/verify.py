"""`botobs verify`: whether every line of the ledger is there, unchanged and in order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from botobs.cli.place import ledger_dir_of
from botobs.cli.say import say, say_json
from botobs.cli.show import count

if TYPE_CHECKING:
    import argparse

    from botobs.accounting.ledger.verify import Verification

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "check that no line of the ledger was lost, changed or reordered; exit status 1 if one was"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing of its own."""


def run(options: argparse.Namespace) -> int:
    """Check, and say what was checked; 1 if something is wrong."""
    import attrs  # noqa: PLC0415  # not for --help

    from botobs.accounting.ledger import Ledger  # noqa: PLC0415  # not for --help

    path = ledger_dir_of(options)
    found = Ledger(path, read_only=True).verify()
    if options.json:
        say_json({"ok": found.ok, **attrs.asdict(found)})
    else:
        say(_told(str(path), found))
    return 0 if found.ok else 1


def _told(path: str, found: Verification) -> list[str]:
    said = [f"{path}: {count(found.lines, 'line')} in {count(found.files, 'file')} checked, each with its hash"]
    if found.ok:
        said.append(f"whole: seq 1 to {found.last_seq:,}, none lost, changed or reordered" if found.lines else "empty")
    else:
        whole = f"seq 1 to {found.last_seq:,} are whole" if found.lines else "no line before it is whole"
        said.append(f"DAMAGED: {found.problem}")
        said.extend([f"  file  {found.file}", f"  line  {found.line_no}", f"  seq   {found.seq}", f"{whole}"])
    said.extend(f"note: {note}" for note in found.notes)
    return said
