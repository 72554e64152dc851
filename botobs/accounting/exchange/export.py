"""Write the ledger for spreadsheets and data frames: CSV that no spreadsheet runs as a formula, and Parquet."""

from __future__ import annotations

import csv
import datetime as dt
import re
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Literal

from botobs.accounting.numbers import number, text
from botobs.errors import BotobsError
from botobs.streams.encode import dumps

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

__all__ = ["COLUMNS", "safe_cell", "unsafe", "write_csv", "write_parquet"]

COLUMNS: Final = (
    "seq", "type", "ts", "received", "schema", "bot", "run_id", "symbol", "side", "role", "size", "price", "fee",
    "fee_asset", "fee_value", "unpriced", "quote_delta", "inventory", "order_id", "fill_id", "trade_id", "account",
    "venue", "position_side", "strategy", "kind", "trace_id", "mark", "equity", "peak", "multiplier", "inverse", "base",
    "quote", "dust", "late", "voids", "reason", "amount", "rate", "funding_id", "accrued", "settles", "reverses",
    "at_px", "currency", "qty", "avg_px", "more", "hash",
)  # fmt: skip
_WHOLE = frozenset({"seq", "settles", "voids"})
_TRUTHS = frozenset({"accrued", "unpriced", "inverse", "late"})
_TIMES = frozenset({"ts", "received"})
_NUMBERS = frozenset({
    "size", "price", "fee", "fee_value", "quote_delta", "inventory", "mark", "equity", "peak", "multiplier", "dust",
    "amount", "at_px", "rate", "reverses", "qty", "avg_px",
})  # fmt: skip
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
# spreadsheets skip what does not print before they look for a formula; some read the wide signs as well
_SKIPPED = r"[\s\x00-\x20\x7f-\xa0\xad\u200b-\u200f\u2028-\u202f\u2060-\u2064\u3000\ufeff\"']*"
_FORMULA = re.compile(rf"(?:{_SKIPPED}[=+\-@|%\uff1d\uff0b\uff0d\uff20]|'*[\t\r\n\x00])", re.DOTALL)
_BATCH = 10_000
_DIGITS, _SCALE = 38, 18  # what DuckDB and most others read as a decimal


def safe_cell(value: Any) -> str:
    """`value` as a cell that no spreadsheet runs as a formula; a number stays one.

    Text that a spreadsheet might run gets an apostrophe in front, which spreadsheets know as "this is text" and which
    botobs takes off when it reads the cell back.

    Example:
        >>> safe_cell("=1+1"), safe_cell("-1.5"), safe_cell(Decimal("1E-7")), safe_cell(None), safe_cell("BTC/USDT")
        ("'=1+1", '-1.5', '0.0000001', '', 'BTC/USDT')
    """
    if value is None:
        return ""
    if isinstance(value, Decimal) and value.is_finite():
        return text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    said = value if isinstance(value, str) else dumps(value).decode()
    if not isinstance(value, str | dict | list | tuple | int | float) and said[:1] == '"':
        said = said[1:-1]
    said = str(said).encode("utf-8", "replace").decode()
    return f"'{said}" if _FORMULA.match(said) and not _NUMBER.fullmatch(said) else said


def unsafe(cell: str) -> str:
    """What `safe_cell` was given, if it put an apostrophe in front."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell, 1) else cell


def write_csv(rows: Iterable[Mapping[str, Any]], file: IO[str], columns: Sequence[str] | None = None) -> int:
    """Write rows as CSV; how many.

    Args:
        rows: Ledger lines, or any mappings.
        file: Open for writing text, best with `newline=""`.
        columns: What to write of them; by default all columns of the ledger, and in `more`, as JSON, whatever else
            a row has.
    """
    names = tuple(columns or COLUMNS)
    known = frozenset(names)
    writer = csv.writer(file, lineterminator="\r\n" if columns is None else "\n")
    writer.writerow([safe_cell(name) for name in names])
    count = 0
    for row in rows:
        writer.writerow([safe_cell(value) for value in _values(row, names, known, keep=columns is None)])
        count += 1
    return count


def _values(row: Mapping[str, Any], names: Sequence[str], known: frozenset[str], *, keep: bool) -> Iterator[Any]:
    if keep and not row.keys() <= known:
        own = row.get("more")
        beside = {key: value for key, value in row.items() if key not in known}
        row = {
            **row,
            "more": {**(own if isinstance(own, dict) else {"more": own} if own is not None else {}), **beside},
        }
    for name in names:
        yield row.get(name)


def write_parquet(
    rows: Iterable[Mapping[str, Any]], path: str | os.PathLike[str], *, numbers: Literal["text", "decimal"] = "text"
) -> int:
    """Write ledger lines as Parquet; how many.

    Times are timestamps (UTC, microseconds), `seq` and `voids` whole numbers. Amounts are text, so that every digit
    is kept whatever reads it (`df["size"].map(Decimal)`); with `numbers="decimal"` they are decimals of 38 digits, 18
    of them after the point, which pandas, polars and DuckDB add up as they are.

    Args:
        rows: Ledger lines.
        path: Where to; replaced when all is written.
        numbers: How amounts are kept.

    Raises:
        BotobsError: pyarrow is not installed, or a number has more digits than `decimal` holds.
    """
    try:
        pa, pq = import_module("pyarrow"), import_module("pyarrow.parquet")  # large, and only for this
    except ImportError:
        raise BotobsError("Parquet needs pyarrow: pip install 'botobs[parquet]'; CSV does without") from None

    money = pa.decimal128(_DIGITS, _SCALE) if numbers == "decimal" else pa.string()
    schema = pa.schema([(name, _type(pa, name, money)) for name in COLUMNS])
    target = Path(path)
    building = target.with_name(f"{target.name}.part")
    count = 0
    try:
        with pq.ParquetWriter(building, schema) as writer:
            for batch in _batches(rows):
                columns = zip(*batch, strict=True)
                arrays = [
                    pa.array([_plain(name, each, numbers) for each in column], type=schema.field(name).type)
                    for name, column in zip(COLUMNS, columns, strict=True)
                ]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
                count += len(batch)
        building.replace(target)
    finally:
        building.unlink(missing_ok=True)
    return count


def _batches(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[list[Any]]]:
    known = frozenset(COLUMNS)
    batch: list[list[Any]] = []
    for row in rows:
        batch.append(list(_values(row, COLUMNS, known, keep=True)))
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _type(pa: Any, name: str, money: Any) -> Any:
    if name in _TIMES:
        return pa.timestamp("us", tz="UTC")
    if name in _WHOLE:
        return pa.int64()
    if name in _TRUTHS:
        return pa.bool_()
    return money if name in _NUMBERS else pa.string()


def _plain(name: str, value: Any, numbers: str) -> Any:
    convert: Callable[[Any], Any] = _CONVERT.get(name, _text)
    if convert is _amount and numbers == "decimal":
        convert = _fitting
    try:
        return None if value is None else convert(value)
    except (ValueError, TypeError, ArithmeticError):
        raise BotobsError(
            f"{name} = {str(value)[:80]} cannot be written as it should: "
            + ("a decimal(38, 18) does not hold it; use numbers='text'" if convert is _fitting else "not a ledger line")
        ) from None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else dumps(value).decode()


def _amount(value: Any) -> str:
    return text(value) if isinstance(value, Decimal) else str(value)


def _fitting(value: Any) -> Decimal:
    found = number(value)
    if int(found.as_tuple().exponent) < -_SCALE or found.adjusted() >= _DIGITS - _SCALE:
        raise ValueError("too long")
    return found


_CONVERT: Final[Mapping[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(_TIMES, dt.datetime.fromisoformat),
    **dict.fromkeys(_WHOLE, int),
    **dict.fromkeys(_TRUTHS, bool),
    **dict.fromkeys(_NUMBERS, _amount),
}
