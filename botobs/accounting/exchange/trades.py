"""Read an exchange's trades, whatever form they come in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from botobs.accounting.exchange import objects, table
from botobs.accounting.exchange.fields import parse_mapping
from botobs.accounting.exchange.fills import Bad, ExchangeFill, Reading, zone_of
from botobs.accounting.exchange.source import Source
from botobs.errors import BotobsError

if TYPE_CHECKING:
    import datetime as dt
    import os
    from collections.abc import Iterator, Mapping
    from typing import IO, Self

__all__ = ["Format", "Trades", "open_trades", "read_trades", "reading"]

Format = Literal["json", "jsonl", "csv"]
_FORMATS = ("json", "jsonl", "csv")
_MOST_WHOLE = 1 << 28


class Trades:
    """The fills of a statement, read as they are asked for; also what could not be read, in its place.

    It closes the file at its end; `close` it, or use it as a context manager, to stop before.

    Attributes:
        format: `json`, `jsonl` or `csv`.
        columns: For CSV: field to the names of the columns it is read from.
        size: Bytes of the file, if known.
    """

    def __init__(self, source: Source, how: Reading, form: Format | None) -> None:
        self.columns: Mapping[str, tuple[str, ...]] = {}
        self.size = source.size
        self._source = source
        self.format: Format = form or _told(source)
        if self.format == "csv":
            header = table.find_header(source, how)
            self.columns = {field: tuple(header.names[i] for i in at) for field, at in header.columns.items()}
            self._rest = table.read_table(source, header, how)
        elif self.format == "jsonl":
            self._rest = objects.lines(source, how)
        elif source.head.lstrip()[:1] == "[":
            self._rest = objects.array(source, how)
        else:
            self._rest = self._whole(how)

    @property
    def position(self) -> int:
        """Bytes of the file read so far, for a progress bar."""
        return self._source.position

    def _whole(self, how: Reading) -> Iterator[ExchangeFill | Bad]:
        name = self._source.name
        try:
            text = self._source.text().read(_MOST_WHOLE + 1)
            if len(text) > _MOST_WHOLE:
                raise BotobsError(f"{name} is one JSON object of more than 256 MB; JSON lines can be of any size")
            value = objects.DECODER.decode(text)
        except (OSError, EOFError, ValueError, RecursionError) as error:
            why = f"{error.msg} in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else str(error)
            raise BotobsError(f"{name} is not JSON: {why}; trades come as a JSON array or as JSON lines") from None
        page = objects.trades_in(value)
        if page is None:
            keys = ", ".join(map(str, list(value)[:12])) if isinstance(value, dict) else type(value).__name__
            raise BotobsError(
                f"{name} has no trades in it: it is a JSON object with {keys[:300]}; "
                "trades stand in an array, or under trades, fills, data or result"
            )
        make = objects.Objects(how)
        return (make.fill(each, number, key) for number, (key, each) in enumerate(page, 1))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ExchangeFill | Bad:
        try:
            return next(self._rest)
        except BaseException:  # the end, and anything else
            self.close()
            raise

    def close(self) -> None:
        """Read no further."""
        self._rest = iter(())
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def __del__(self) -> None:
        source = getattr(self, "_source", None)
        if source is not None:
            source.close()


def read_trades(
    given: str | os.PathLike[str] | IO[bytes] | IO[str],
    *,
    format: str | None = None,  # noqa: A002  # what a user calls it
    mapping: Mapping[str, str] | str | None = None,
    symbol: str | None = None,
    venue: str | None = None,
    account: str | None = None,
    timezone: str | dt.tzinfo | None = None,
    decimal: str | None = None,
    day_first: bool | None = None,
    fee_sign: int = 1,
) -> Trades:
    r"""Read the trades in a file, as an exchange's history or its website gives them.

    Read are ccxt's unified trades and the answers of exchanges' history endpoints (JSON, JSON lines), and CSV with
    any header whose columns are known by name or told by `mapping`; gzip and the encodings of spreadsheets too.
    A row that is no fill becomes a `Bad`; nothing is left out silently, and no row raises.

    Args:
        given: A path, or a file open for reading.
        format: `json`, `jsonl` or `csv`; else told from the content.
        mapping: Field to column (or to a key of a JSON object, with points to go deeper); others are guessed.
        symbol: The symbol of rows that name none.
        venue: The venue of rows that name none.
        account: The account of rows that name none.
        timezone: Of times that name none; a column such as `Date(UTC+8)` tells its own. Default UTC.
        decimal: The decimal mark, `.` or `,`. Not given: each row tells, and a row that cannot tell (`1,234`) is `Bad`.
        day_first: Whether `03/04/2026` is in April; not given: such rows are `Bad`.
        fee_sign: -1 for a statement in which what was paid is negative.

    Example:
        >>> import io
        >>> fill, = read_trades(io.StringIO("Date(UTC),Pair,Side,Price,Executed,Amount,Fee\n"
        ...     '2026-01-02 03:04:05,BTCUSDT,BUY,"43,250.10",0.5BTC,21625.05USDT,0.0005BTC\n'))
        >>> fill.price, fill.qty, fill.fee, fill.fee_asset
        (Decimal('43250.10'), Decimal('0.5'), Decimal('0.0005'), 'BTC')

    Raises:
        BotobsError: The file as a whole cannot be read; the message says what would be right.
    """
    how = reading(
        mapping=mapping, symbol=symbol, venue=venue, account=account, timezone=timezone, decimal=decimal,
        day_first=day_first, fee_sign=fee_sign,
    )  # fmt: skip
    source = Source(given)
    return open_trades(source, how, format)


def reading(
    *,
    mapping: Mapping[str, str] | str | None = None,
    symbol: str | None = None,
    venue: str | None = None,
    account: str | None = None,
    timezone: str | dt.tzinfo | None = None,
    decimal: str | None = None,
    day_first: bool | None = None,
    fee_sign: int = 1,
) -> Reading:
    """How to read, of what the user says; see `read_trades`.

    Raises:
        BotobsError: An option will not do.
    """
    if decimal not in (None, ".", ","):
        raise BotobsError(f"decimal = {decimal!r} will not do; it takes '.' or ','")
    if fee_sign not in (1, -1):
        raise BotobsError(f"fee_sign = {fee_sign!r} will not do; it takes 1 or -1")
    if isinstance(mapping, str) or mapping is None:
        mapping = parse_mapping(mapping)
    else:
        parse_mapping(f"{field}=column" for field in mapping)  # the fields exist; a column may be called anything
    return Reading(
        mapping=mapping,
        symbol=symbol or None,
        venue=venue or None,
        account=account or None,
        zone=zone_of(timezone),
        decimal=decimal,
        day_first=day_first,
        fee_sign=fee_sign,
    )


def open_trades(source: Source, how: Reading, form: Any = None) -> Trades:
    """The trades of an open source.

    Raises:
        BotobsError: It cannot be read as a whole.
    """
    if form not in (None, *_FORMATS):
        source.close()
        raise BotobsError(f"there is no format {form!r}; it takes {', '.join(_FORMATS)}")
    try:
        return Trades(source, how, form)
    except BaseException:
        source.close()
        raise


def _told(source: Source) -> Format:
    head = source.head.lstrip()
    if head[:1] == "[":
        return "json"
    if head[:1] != "{":
        return "csv"
    first, ends, rest = head.partition("\n")
    try:
        value = objects.DECODER.decode(first.strip())
    except (ValueError, RecursionError):
        # a first line that was damaged, among others that were not?
        second = rest.partition("\n")[0].strip()
        return "jsonl" if ends and first.rstrip().endswith("}") and second[:1] == "{" else "json"
    if ends and rest.strip():
        return "jsonl"
    return "json" if objects.trades_in(value) is None or value.keys() & set(objects.WRAPPERS) else "jsonl"
