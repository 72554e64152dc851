"""Statements as tables: CSV in the dialects of exchanges and spreadsheets."""

from __future__ import annotations

import csv
import datetime as dt
import re
from typing import TYPE_CHECKING, Any

import attrs

from botobs.accounting.exchange.export import unsafe
from botobs.accounting.exchange.fields import REQUIRED, columns_of, normal
from botobs.accounting.exchange.fills import Bad, ExchangeFill, Reading, build, refuse_other
from botobs.accounting.routes import Refused
from botobs.errors import BotobsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from botobs.accounting.exchange.source import Source

__all__ = ["Header", "find_header", "read_table"]

_DELIMITERS = ",;\t|"
_SEARCHED = 40  # lines above the header: some exports begin with a letter to the customer
_UTC = re.compile(r"\b(?:UTC|GMT)\s*(?:([+-])\s*(\d{1,2})(?::?(\d\d))?)?\b", re.IGNORECASE)
_TOTALS = re.compile(r"(?:sub|grand )?total|sum(?:me|ma|mary)?|gesamt|saldo|balance|#.*", re.IGNORECASE | re.DOTALL)


@attrs.frozen(kw_only=True)
class Header:
    """The head of a table.

    Attributes:
        names: Its columns.
        columns: Field to the columns it may stand in, best first.
        above: Lines above it.
        delimiter: What separates cells.
        zone: The offset that the name of the time's column tells.
    """

    names: Sequence[str]
    columns: Mapping[str, tuple[int, ...]]
    above: int
    delimiter: str
    zone: dt.tzinfo | None


def find_header(source: Source, how: Reading) -> Header:
    """Find the row that names the columns.

    Raises:
        BotobsError: There is none, or fields cannot be found in it; the message says what to map.
    """
    best: tuple[int, Header] | None = None
    for delimiter in _DELIMITERS:
        for above, names in _first_rows(source.head, delimiter):
            known = columns_of(names, {})
            said = {normal(column) for column in how.mapping.values()}
            score = sum(field in known for field in REQUIRED) + sum(normal(name) in said for name in names)
            if len(names) > 1 and (best is None or score > best[0]):
                best = score, Header(
                    names=names, columns=known, above=above, delimiter=delimiter, zone=_zone(names, known)
                )  # fmt: skip
    if best is None or best[0] < 2:
        first = source.head.lstrip().partition("\n")[0].strip()[:200]
        raise BotobsError(
            f"{source.name} has no header that names columns such as ts symbol side qty price; "
            f"it begins with {first!r}; say which columns are which with --map ts=…,qty=…"
        )
    header = best[1]
    columns = columns_of(header.names, how.mapping)
    header = attrs.evolve(header, columns=columns, zone=_zone(header.names, columns))
    _check(source.name, header, how)
    return header


def _first_rows(head: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    lines = head.splitlines()[:_SEARCHED]
    for above, line in enumerate(lines):
        if line.strip():
            try:
                yield above, [name.strip() for name in next(csv.reader([line], delimiter=delimiter))]
            except (csv.Error, StopIteration):
                continue


def _check(name: str, header: Header, how: Reading) -> None:
    columns = header.columns
    missing = [field for field in REQUIRED if field not in columns]
    if "symbol" in missing and (how.symbol or ("base" in columns and "quote" in columns)):
        missing.remove("symbol")
    if "side" in missing and "is_buyer" in columns:
        missing.remove("side")
    if missing:
        shown = ", ".join(name for name in header.names if name)
        one = " (a statement of one symbol: symbol=NAME)" if "symbol" in missing else ""
        raise BotobsError(
            f"{name} has no column for {', '.join(missing)}{one}; its columns are {shown[:600]}; "
            f"say which with --map {','.join(f'{field}=COLUMN' for field in missing)}"
        )


def _zone(names: Sequence[str], columns: Mapping[str, tuple[int, ...]]) -> dt.tzinfo | None:
    for index in columns.get("ts", ()):
        told = _UTC.search(names[index].replace("_", " "))
        if told is not None:
            sign, hours, minutes = told.groups()
            if not sign:
                return dt.UTC
            offset = dt.timedelta(hours=int(hours), minutes=int(minutes or 0))
            return dt.timezone(-offset if sign == "-" else offset) if offset < dt.timedelta(hours=24) else None
    return None


def read_table(source: Source, header: Header, how: Reading) -> Iterator[ExchangeFill | Bad]:
    """The fills of a table, row by row."""
    if header.zone is not None:
        how = attrs.evolve(how, zone=header.zone)
    lines = source.text()
    for _ in range(header.above + 1):
        lines.readline()
    held: list[str] = []  # the lines of the row that is being read
    reader = csv.reader(_kept(lines, held), delimiter=header.delimiter)
    read = _Row(header, how)
    while True:
        held.clear()
        try:
            found = read.row(next(reader), header.above + 1 + reader.line_num)
        except StopIteration:
            return
        except csv.Error as error:
            found = Bad.of(header.above + 1 + reader.line_num, f"not readable as CSV: {error}", "".join(held[:2]))
        except (OSError, EOFError, ValueError) as error:  # the disk, or a packed file that was cut off
            yield Bad.of(header.above + 1 + reader.line_num, f"the statement breaks off here: {error}", "")
            return
        if isinstance(found, Bad) and len(held) > 1:
            # a quote that was never closed must not swallow the rows after it
            yield from read.apart(held, header.above + 2 + reader.line_num - len(held))
        elif found is not None:
            yield found


def _kept(lines: Iterable[str], held: list[str]) -> Iterator[str]:
    for line in lines:
        held.append(line)
        yield line


class _Row:
    """Makes fills of rows under one header."""

    def __init__(self, header: Header, how: Reading) -> None:
        self._how = how
        self._width = len(header.names)
        self._delimiter = header.delimiter
        self._plain = [(field, columns[0]) for field, columns in header.columns.items() if field != "ts"]
        self._times = header.columns.get("ts", ())
        names = [normal(name) for name in header.names]
        taken = {index for columns in header.columns.values() for index in columns}
        kind = names.index("type") if "type" in names else None
        self._kind = None if kind in taken else kind

    def row(self, row: list[str], line: int) -> ExchangeFill | Bad | None:
        """The fill in a row; `None`: the row is empty."""
        return self.fill(row, line) if any(cell.strip() for cell in row) else None

    def apart(self, lines: Sequence[str], first: int) -> Iterator[ExchangeFill | Bad]:
        """The fills of lines, each taken by itself."""
        for number, line in enumerate(lines, first):
            try:
                found = self.row(next(csv.reader([line.rstrip("\r\n")], delimiter=self._delimiter), []), number)
            except csv.Error as error:
                found = Bad.of(number, f"not readable as CSV: {error}", line)
            if found is not None:
                yield found

    def fill(self, row: list[str], line: int) -> ExchangeFill | Bad:
        """The fill in a row, or what is wrong with it."""
        try:
            return self._fill(row, line)
        except Refused as refused:
            reason = str(refused)
        except Exception as error:  # whatever a hostile cell does to a parser
            reason = f"not readable: {type(error).__name__}"
        first = next((cell.strip() for cell in row if cell.strip()), "")
        harmless = _TOTALS.fullmatch(first.rstrip(":")) is not None or reason.endswith("line, no fill")
        return Bad.of(line, reason, self._delimiter.join(row), harmless=harmless)

    def _fill(self, row: list[str], line: int) -> ExchangeFill:
        width = self._width
        if len(row) != width and (len(row) < width or any(cell.strip() for cell in row[width:])):
            more = "a number with an unquoted comma?" if len(row) > width else "was it cut off?"
            raise Refused(f"{len(row)} cells under a header of {width}: {more}")
        row = [unsafe(cell) for cell in row]
        if self._kind is not None:
            refuse_other(row[self._kind])
        values: dict[str, Any] = {field: row[column] for field, column in self._plain}
        return build(values, line, self._how, [row[column] for column in self._times])
