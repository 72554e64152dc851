"""How figures look: numbers for people, and tables that cut nothing, whatever the width."""

from __future__ import annotations

import io
import os
import shutil
import sys
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["age", "count", "figure", "grid", "heading", "money", "percent", "plain_line", "wide_enough", "when"]

_PLACES: Final = 8
_DIGITS: Final = 4  # of what is smaller than the last place
_ROUND: Final = Context(prec=10_000, rounding=ROUND_HALF_EVEN)
_NONE: Final = "-"


def money(value: Decimal | str | None) -> str:
    """An amount for people: thousands apart, at most eight places; `--json` has every digit.

    Example:
        >>> money(Decimal("-1234567.5")), money(Decimal(1) / 3), money("0.000000000123456"), money(None)
        ('-1,234,567.5', '0.33333333', '0.0000000001235', '-')
    """
    if value is None:
        return _NONE
    found = value if isinstance(value, Decimal) else Decimal(value)
    if not found:
        return "0"
    exponent = found.as_tuple().exponent
    places = max(0, -exponent) if isinstance(exponent, int) else 0
    least = -found.adjusted() + _DIGITS - 1 if found.adjusted() < -_PLACES + 2 else _PLACES
    if places > least:
        found = found.quantize(Decimal(1).scaleb(-least), context=_ROUND)
    said = format(found, ",f")
    return said.rstrip("0").rstrip(".") if "." in said else said


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


def when(ts: str | None) -> str:
    """A time for people; in UTC, fractions of a second only where there are any.

    Example:
        >>> when("2026-01-02T03:04:05.000000Z"), when("2026-01-02T03:04:05.120000Z")
        ('2026-01-02 03:04:05', '2026-01-02 03:04:05.12')
    """
    if not ts:
        return _NONE
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
    left, parts = int(seconds), []
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
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, left: Iterable[str] = (), head: bool = True
) -> list[str]:
    """A table as lines. Where it is too wide for the terminal, each row becomes a paragraph of its own.

    Args:
        columns: Their names.
        rows: Their cells.
        left: Columns that are text; the others are numbers and stand on the right.
        head: Whether to show the columns' names.
    """
    from rich.cells import cell_len  # noqa: PLC0415  # only tables need it

    cells = [[plain_line(cell, 10_000) for cell in row] for row in rows]
    widths = [
        max([cell_len(name) if head else 0, *(cell_len(row[at]) for row in cells)]) for at, name in enumerate(columns)
    ]
    width, texts = wide_enough(), set(left)
    needed = sum(widths) + 2 * len(columns) + 2
    if width is not None and needed > width:
        if not head:
            return _folded(columns, cells, width, texts, head=head)
        return _paragraphs(columns, cells, width)
    return _drawn(columns, cells, needed, texts, head=head)


def _drawn(columns: Sequence[str], rows: list[list[str]], width: int, texts: set[str], *, head: bool) -> list[str]:
    from rich.box import Box  # noqa: PLC0415  # only tables need it
    from rich.console import Console  # noqa: PLC0415  # as above
    from rich.table import Table  # noqa: PLC0415  # as above
    from rich.text import Text  # noqa: PLC0415  # as above

    line = "─" if _can_say("─") else "-"
    ruled = Box(f"    \n    \n {line}{line} \n    \n    \n    \n    \n    \n")
    table = Table(box=ruled, show_header=head, show_edge=False, pad_edge=False, padding=(0, 1), header_style="bold")
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


def _folded(columns: Sequence[str], rows: list[list[str]], width: int, texts: set[str], *, head: bool) -> list[str]:
    """Pairs of names and values with a note: what does not fit goes on in the next line."""
    return _drawn(columns, rows, width - 2, texts, head=head)


def _paragraphs(columns: Sequence[str], rows: list[list[str]], width: int) -> list[str]:
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
    room = max(width - len(begin), 10)
    parts = [text[at : at + room] for at in range(0, len(text), room)]
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
