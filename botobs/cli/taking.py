"""What `import-json` and `import-csv` have in common: read, book, settle the trades, and say what became of it."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from botobs.cli.place import settings_of
from botobs.cli.say import say, say_json
from botobs.cli.show import count, grid, plain_line, when
from botobs.cli.statement import add_reading, reading_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from botobs.accounting.exchange import Bad, ExchangeFill, Trades
    from botobs.accounting.importing import ImportReport
    from botobs.money.settled import Settled

__all__ = ["add_taking", "take"]

_SHOWN: Final = 10


def add_taking(parser: argparse.ArgumentParser, what: str) -> None:
    """What both take."""
    parser.add_argument("file", metavar="FILE", help=what)
    add_reading(parser)


def take(options: argparse.Namespace, *formats: str) -> int:
    """Import the file; 1 if some of it could not be."""
    from botobs.accounting.exchange import read_trades  # noqa: PLC0415  # not for --help
    from botobs.accounting.importing import import_fills  # noqa: PLC0415  # as above

    with read_trades(options.file, **reading_of(options)) as trades:  # wrong options and files are told first
        _fit(trades.format, formats)
        settings_of(options)
        from botobs.cli.writing import writing  # noqa: PLC0415  # as above

        with _Progress(options) as progress, writing(options) as place:
            report = import_fills(place.money.account, progress.reading(trades), progress=progress.booking)
            progress.say("settling trades")
            settled = place.settle_trades()
            if not place.whole:
                report.notes.append(
                    "the ledger is damaged (botobs verify says where): records of trades were added only"
                )
    if options.json:
        say_json({**report.to_dict(), "trades": {"added": settled.added, "revised": settled.revised,
                                                 "undone": settled.undone, "closed": settled.trades}})  # fmt: skip
    else:
        say(_told(options.file, report, settled))
    return 0 if report.ok else 1


def _fit(found: str, formats: tuple[str, ...]) -> None:
    from botobs.errors import BotobsError  # noqa: PLC0415  # only here

    if found not in formats:
        right = "import-csv" if found == "csv" else "import-json"
        raise BotobsError(f"that is {'CSV' if found == 'csv' else 'JSON'}: botobs {right} reads it")


def _told(file: str, report: ImportReport, settled: Settled) -> list[str]:
    said = [f"{Path(file).name}: {count(report.new, 'new fill')}"]
    if report.new:
        said[0] += f", from {when(report.start, roughly=True)} to {when(report.end, roughly=True)} UTC"
    rows = [
        ("already in the ledger", report.duplicates), ("in conflict with the ledger", report.conflicts),
        ("refused", report.refused), ("no fills (funding, sums, comments)", report.skipped),
        ("trades closed", settled.added), ("trades revised", settled.revised), ("trades undone", settled.undone),
    ]  # fmt: skip
    shown = [(words, f"{number:,}") for words, number in rows if number or words == "already in the ledger"]
    said.extend(grid(("what", "count"), shown, left=("what",), head=False))
    said.extend(
        f"line {problem.line}, {problem.what}: {plain_line(problem.reason)}" for problem in report.problems[:_SHOWN]
    )
    left = report.conflicts + report.refused - min(len(report.problems), _SHOWN)
    if left > 0:
        said.append(f"and {left:,} more; --json has the first 1,000")
    said.extend(f"note: {plain_line(note)}" for note in report.notes[:_SHOWN])
    if not report.durable:
        said.append("NOT WRITTEN: the disk did not take all of it; what is missing will be new when you import again")
    return said


class _Progress:
    """A bar on the terminal, where somebody looks at one."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._bar: Any = None
        if not options.json and sys.stderr is not None and sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415  # only a terminal needs it
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

            console = Console(stderr=True)
            if not console.is_dumb_terminal:
                self._bar = Progress(
                    TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
                    TimeRemainingColumn(), console=console, transient=True,
                )  # fmt: skip
                self._task = self._bar.add_task("reading", total=None)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *raised: object) -> None:
        if self._bar is not None:
            with contextlib.suppress(OSError):
                self._bar.stop()

    def reading(self, trades: Trades) -> Iterator[ExchangeFill | Bad]:
        """The trades, with the bar following the file."""
        for number, row in enumerate(trades):
            if self._bar is not None and number % 1_000 == 0:
                self._bar.update(self._task, completed=trades.position, total=trades.size)
            yield row

    @property
    def booking(self) -> Callable[[int, int], object] | None:
        """Follows the fills as they are booked."""
        if self._bar is None:
            return None
        return lambda done, total: self._bar.update(self._task, description="booking", completed=done, total=total)

    def say(self, what: str) -> None:
        """What comes now, for as long as it takes."""
        if self._bar is not None:
            self._bar.remove_task(self._task)  # a task with an end cannot become one without
            self._task = self._bar.add_task(what, total=None)
