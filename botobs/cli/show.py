"""How figures look: numbers for people, and tables that cut nothing, whatever the width."""

from __future__ import annotations

import io
import os
import shutil
import sys
import textwrap
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from botobs.accounting.numbers import ROUGH

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["age", "count", "figure", "grid", "heading", "money", "percent", "plain_line", "when", "wide_enough"]

_PLACES: Final = 8
_DIGITS: Final = 4  # of what is smaller than the last place
_NONE: Final = "-"


def money(value: Decimal | str | None, least: int = 0) -> str:
    """An amount for people: thousands apart, `least` to eight places; `--json` has every digit.

    Example:
        >>> money(Decimal("-1234567.5"), 2), money(Decimal(1) / 3), money("0.000000000123456"), money(None)
        ('-1,234,567.50', '0.33333333', '0.0000000001235', '-')
    """
    if value is None:
        return _NONE
    found = value if isinstance(value, Decimal) else Decimal(value)
    if not found:
        return f"{0:.{least}f}"
    exponent = found.as_tuple().exponent
    places = max(0, -exponent) if isinstance(exponent, int) else 0
    most = -found.adjusted() + _DIGITS - 1 if found.adjusted() < -_PLACES + 2 else _PLACES
    if places > most:
        found = found.quantize(Decimal(1).scaleb(-most, ROUGH), context=ROUGH)
    whole, _, rest = format(found, ",f").partition(".")
    rest = rest.rstrip("0").ljust(least, "0")
    return f"{whole}.{rest}" if rest else whole


def figure(value: float | None, places: int = 4) -> str:
    """A statistic for people."""
    return _NONE if value is None else f"{value:,.{places}f}"


def percent(value: float | None) -> str:
    """A fraction as per cent."""
    return _NONE if value is None else f"{value * 100:,.2f} %"


def count(value: int, what: str) -> str:
    """So many of something.

    Example:
        >>> count(1, "fill"), count(1200, "fill"), count(2, "entry")
        ('1 fill', '1,200 fills', '2 entries')
    """
    some = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{value:,} {what if value == 1 else some}"


def when(ts: str | None, *, roughly: bool = False) -> str:
    """A time for people, in UTC; fractions of a second only where there are any, and not if `roughly` will do.

    Example:
        >>> when("2026-01-02T03:04:05.000000Z"), when("2026-01-02T03:04:05.120000Z")
        ('2026-01-02 03:04:05', '2026-01-02 03:04:05.12')
    """
    if not ts:
        return _NONE
    if roughly:
        ts = ts[:19]
    said = ts.replace("T", " ").removesuffix("Z")
    return said.rstrip("0").rstrip(".") if "." in said else said


def age(seconds: float | None) -> str:
    """How long ago, in two units.

    Example:
        >>> age(59), age(3_700), age(200_000)
        ('59s', '1h 1m', '2d 7h')
    """
    if seconds is None:
        return _NONE
    left, parts = int(seconds), list[str]()
    for name, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        if left >= size or (name == "s" and not parts):
            parts.append(f"{left // size}{name}")
            left %= size
    return " ".join(parts[:2])


def heading(text: str) -> list[str]:
    """A line above a table."""
    return ["", text]


def plain_line(value: object, most: int = 200) -> str:
    """Text from a file on one line of a terminal: nothing in it moves the cursor."""
    said = "".join(char if char.isprintable() else " " for char in str(value))
    return said if len(said) <= most else f"{said[: most - 3]}..."


def wide_enough() -> int | None:
    """The columns of the terminal; `None`: nobody looks at one, and lines may be as long as they like."""
    stream = sys.stdout
    if stream is None or not stream.isatty():
        return None
    return max(shutil.get_terminal_size().columns, 20)


def grid(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    left: Iterable[str] = (),
    optional: Iterable[str] = (),
    below: Sequence[str] = (),
    head: bool = True,
) -> list[str]:
    """A table as lines, none of which is cut.

    Where it is too wide for the terminal, the columns in `below` go under their rows, the first one first; where that
    does not do, each row becomes a paragraph.

    Args:
        columns: Their names.
        rows: Their cells.
        left: Columns that are text; the others are numbers and stand on the right.
        optional: Columns that are left out where no row has anything in them.
        below: Columns that may stand under their row.
        head: Whether to show the columns' names.
    """
    cells = [[plain_line(cell, 10_000) for cell in row] for row in rows]
    kept = [
        at for at, name in enumerate(columns)
        if name not in set(optional) or any(row[at] not in ("", _NONE) for row in cells)
    ]  # fmt: skip
    names, cells = [columns[at] for at in kept], [[row[at] for at in kept] for row in cells]
    width, texts = wide_enough(), set(left)
    if not head:
        needed = _needed(names, cells, head=False)
        return _drawn(names, cells, needed if width is None else min(needed, width - 2), texts, head=False)
    under: list[str] = []
    waiting = [name for name in below if name in names]
    while width is not None and _needed(*_without(names, cells, under)) + 2 > width:
        if not waiting:
            return _paragraphs(names, cells, width)
        under.append(waiting.pop(0))
    shown, rows_shown = _without(names, cells, under)
    said = _drawn(shown, rows_shown, _needed(shown, rows_shown), texts)
    if not under or width is None:
        return said
    lines = said[:2]
    for line, row in zip(said[2:], cells, strict=True):
        lines.append(line)
        for name, cell in zip(names, row, strict=True):
            if name in under and cell not in ("", _NONE):
                lines.extend(_hung(f"      {name}  ", cell, width))
    return lines


def _without(
    columns: Sequence[str], rows: Sequence[Sequence[str]], under: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    kept = [at for at, name in enumerate(columns) if name not in under]
    return [columns[at] for at in kept], [[row[at] for at in kept] for row in rows]


def _needed(columns: Sequence[str], rows: Sequence[Sequence[str]], *, head: bool = True) -> int:
    """How many columns of a terminal it takes."""
    from rich.cells import cell_len  # noqa: PLC0415  # only tables need it

    widths = [
        max([cell_len(name) if head else 0, *(cell_len(row[at]) for row in rows)]) for at, name in enumerate(columns)
    ]
    return sum(widths) + 2 * len(columns)


def _drawn(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, texts: set[str], *, head: bool = True
) -> list[str]:
    from rich.box import Box  # noqa: PLC0415  # only tables need it
    from rich.console import Console  # noqa: PLC0415  # as above
    from rich.table import Table  # noqa: PLC0415  # as above
    from rich.text import Text  # noqa: PLC0415  # as above

    line = "─" if _can_say("─") else "-"
    ruled = Box(f"    \n    \n {line}{line} \n    \n    \n    \n    \n    \n")
    table = Table(
        box=ruled, show_header=head, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold"
    )
    for name in columns:
        table.add_column(
            Text(name), justify="left" if name in texts else "right", no_wrap=not (not head and name in texts),
            overflow="fold",
        )  # fmt: skip
    for row in rows:
        table.add_row(*(Text(cell, style=_style(cell)) for cell in row))
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=_may_colour(), highlight=False, legacy_windows=False)
    console.print(table)
    return [f"  {each.rstrip()}" for each in out.getvalue().rstrip("\n").split("\n")]


def _paragraphs(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    names = max(map(len, columns))
    lines: list[str] = []
    for row in rows:
        if lines:
            lines.append("")
        for name, cell in zip(columns, row, strict=True):
            if cell not in ("", _NONE):
                lines.extend(_hung(f"  {name:<{names}}  ", cell, width))
    return lines


def _hung(begin: str, text: str, width: int) -> list[str]:
    parts = textwrap.wrap(text, max(width - len(begin), 10))
    return [f"{begin if not at else ' ' * len(begin)}{part}" for at, part in enumerate(parts)]


def _style(cell: str) -> str:
    return "red" if cell[:1] == "-" and cell[1:2].isdigit() else ""


def _may_colour() -> bool:
    return wide_enough() is not None and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _can_say(text: str) -> bool:
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeError, LookupError):
        return False
    return True
