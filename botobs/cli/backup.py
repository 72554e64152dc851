"""`botobs backup`: copy a data directory to another place, while a bot runs there or not."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from botobs.cli.given import whole
from botobs.cli.place import NoDataError, data_dir_of, settings_of
from botobs.cli.say import complain, say, say_json
from botobs.cli.show import count, grid, plain_line, when

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from botobs.backup import Made, Manifest, Shelf

__all__ = ["HELP", "add_at", "answering", "arguments", "moment_ns", "place_in", "plain", "progress", "run", "sized"]

HELP: Final = "copy ledger, streams and state to another place: what is new, checked by reading it back"

_ACTIONS: Final = ("list", "check")
_UNITS: Final = ("bytes", "kB", "MB", "GB", "TB")


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.usage = "botobs backup [options] [list | check] [URL]"
    parser.add_argument(
        "words", nargs="*", metavar="URL",
        help="a folder, or a URL such as s3://bucket/bot (default: the setting backup_url); 'list' before it shows the "
        "backups that are there, 'check' reads the newest one in full",
    )  # fmt: skip
    parser.add_argument(
        "--keep", type=whole(1, 1_000_000), metavar="N", help="then take all but the newest N backups away"
    )
    parser.add_argument(
        "--thorough", action="store_true", help="also read back what is there already, and mend what is damaged"
    )
    add_at(parser, "with 'check': the newest backup from this time or before")


def add_at(parser: argparse.ArgumentParser, told: str) -> None:
    """The option `--at`."""
    from botobs.cli.given import moment  # noqa: PLC0415  # beside its only use

    parser.add_argument("--at", type=moment, metavar="TIME", help=told)


def run(options: argparse.Namespace) -> int:
    """Do it; 1 if it failed, or if a check did."""
    action = options.words.pop(0) if options.words[:1] in [[name] for name in _ACTIONS] else "make"
    if options.at is not None and action != "check":
        complain("botobs backup: --at goes with 'check'; botobs restore --at TIME restores an older backup")
        return 2
    return answering({"list": _list, "check": _check, "make": _make}[action], options)


def _make(options: argparse.Namespace) -> int:
    from botobs.backup import NoBackupError, make  # noqa: PLC0415  # not for --help
    from botobs.clock import SystemClock  # noqa: PLC0415  # as above

    root = data_dir_of(options)
    shelf = place_in(options)
    with progress("backing up", options) as told:
        try:
            made = make(root, shelf, clock=SystemClock(), keep=options.keep, thorough=options.thorough, progress=told)
        except NoBackupError as error:
            raise NoDataError(f"{error}; --data-dir says where the bot writes") from None
    if options.json:
        say_json(
            {
                "where": str(shelf), **plain(made.manifest), "new_objects": made.stored, "sent_bytes": made.sent,
                "dropped": made.dropped, "notes": list(made.notes),
            }
        )  # fmt: skip
    else:
        say(_told(str(root), str(shelf), made))
    return 0


def _told(root: str, where: str, made: Made) -> list[str]:
    manifest = made.manifest
    said = [
        f"{root}: {_content(manifest)}",
        f"{where}: {count(made.stored, 'new object')}, {sized(made.sent)} sent and read back",
        f"whole as of {when(manifest.at)} UTC",
    ]
    if made.dropped:
        said.append(f"{count(made.dropped, 'older backup')} taken away")
    return [*said, *(f"note: {plain_line(note)}" for note in made.notes)]


def _list(options: argparse.Namespace) -> int:
    from botobs.backup import listed  # noqa: PLC0415  # not for --help

    shelf = place_in(options)
    found = list(listed(shelf))
    if options.json:
        say_json({"where": str(shelf), "backups": [plain(manifest) for manifest in found]})
    elif found:
        rows = [
            (when(each.at), plain_line(each.bot or "-"), f"{each.lines:,}", f"{len(each.entries):,}", sized(each.size))
            for each in found
        ]
        columns = ("as of (UTC)", "bot", "ledger lines", "files", "size")
        said = [f"{shelf}: {count(len(found), 'backup')}", "", *grid(columns, rows, left=columns[:2])]
        say(said)
    if not found:
        raise NoDataError(f"there is no backup at {shelf}")
    return 0


def _check(options: argparse.Namespace) -> int:
    from botobs.backup import check  # noqa: PLC0415  # not for --help

    shelf = place_in(options)
    with progress("reading", options) as told:
        manifest, problems = check(shelf, at_ns=moment_ns(options.at), progress=told)
    if options.json:
        say_json({"where": str(shelf), "ok": not problems, **plain(manifest), "problems": problems})
    else:
        verdict = "every piece is there, and as it was written" if not problems else "DAMAGED"
        say([f"{shelf}: as of {when(manifest.at)} UTC, {_content(manifest)}", verdict, *map(plain_line, problems)])
    return min(len(problems), 1)


def _content(manifest: Manifest) -> str:
    return f"{count(manifest.lines, 'ledger line')}, {count(len(manifest.entries), 'file')}, {sized(manifest.size)}"


def plain(manifest: Manifest) -> dict[str, Any]:
    """A backup, for programs."""
    return {
        "at": manifest.at, "bot": manifest.bot, "lines": manifest.lines, "files": len(manifest.entries),
        "bytes": manifest.size,
    }  # fmt: skip


def place_in(options: argparse.Namespace) -> Shelf:
    """The place that the words name, else the setting.

    Raises:
        BotobsError: There is none, or it cannot be one.
    """
    from botobs.backup import open_shelf  # noqa: PLC0415  # not for --help
    from botobs.errors import BotobsError  # noqa: PLC0415  # as above

    settings = settings_of(options)
    if len(options.words) > 1:
        raise BotobsError(f"there is nothing to be done with {plain_line(options.words[1])!r}; it takes one URL")
    url = options.words[0] if options.words else settings.backup_url
    if url is None:
        raise BotobsError("where? It takes a folder or a URL such as s3://bucket/bot, or the setting backup_url")
    return open_shelf(url, settings.data_dir or Path("data"))


def answering(do: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """What `do` gives; 1 if the backup or its place failed, and that was said. What is bad usage goes on."""
    from botobs.backup import BackupError, NoBackupError  # noqa: PLC0415  # not for --help

    try:
        return do(options)
    except NoBackupError as error:
        raise NoDataError(str(error)) from None
    except BackupError as error:
        complain(f"botobs {options.command}: {plain_line(error, 2_000)}")
        return 1


@contextlib.contextmanager
def progress(doing: str, options: argparse.Namespace) -> Iterator[Callable[[int, int], object] | None]:
    """What is to be told how many bytes are done, where somebody looks at a terminal; else `None`."""
    if options.json or sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415  # only on a terminal
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as shown:
        task = shown.add_task(doing, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=max(total, done))


def moment_ns(at: str | None) -> int | None:
    """What `--at` says; a whole second means all of it."""
    from botobs.clock import epoch_ns  # noqa: PLC0415  # not for --help

    return None if at is None else epoch_ns(at)


def sized(size: int) -> str:
    """So many bytes, for people.

    Example:
        >>> sized(1), sized(12_345), sized(3_000_000_000)
        ('1 byte', '12.3 kB', '3.0 GB')
    """
    if size < 1000:
        return count(size, "byte")
    found = float(size)
    unit = 0
    while found >= 999.95 and unit < len(_UNITS) - 1:
        found, unit = found / 1000, unit + 1
    return f"{found:.1f} {_UNITS[unit]}"
