"""`botobs export`: the ledger, the trades or the equity curve for spreadsheets and data frames."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from botobs.cli.given import choice, moment
from botobs.cli.place import data_dir_of, ledger_dir_of
from botobs.cli.say import complain, output, say_json
from botobs.cli.show import count
from botobs.cli.target import building, writing_text

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["HELP", "arguments", "closed_trades", "run"]

HELP: Final = "write fills, trades or the equity curve as CSV or Parquet"

_EQUITY: Final = (
    "ts", "why", "equity", "pnl", "realized", "unrealized", "peak", "drawdown", "drawdown_pct", "position_qty",
    "position_value",
)  # fmt: skip


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument(
        "--format", type=choice("csv", "parquet"), default="csv", metavar="FORMAT",
        help="csv (default) or parquet (needs the extra: pip install 'botobs[parquet]')",
    )  # fmt: skip
    parser.add_argument(
        "--what", type=choice("fills", "trades", "equity"), default="fills", metavar="WHAT",
        help="fills (default: every line of the ledger), trades (closed ones), or equity (the curve)",
    )  # fmt: skip
    parser.add_argument("--since", type=moment, metavar="TIME", help="from this time on; of trades: of their exit")
    parser.add_argument("--until", type=moment, metavar="TIME", help="up to, not including, this time")
    parser.add_argument(
        "--numbers", type=choice("text", "decimal"), default="text", metavar="HOW",
        help="of fills in Parquet: text (default, every digit) or decimal (38 digits, 18 after the point)",
    )  # fmt: skip
    parser.add_argument("-o", "--output", metavar="FILE", help="write there; CSV goes to standard output otherwise")


def run(options: argparse.Namespace) -> int:
    """Write it."""
    path = ledger_dir_of(options) if options.what == "fills" else data_dir_of(options)
    if options.format == "parquet" and options.output is None:
        complain("botobs export: Parquet needs a file to go to: -o FILE")
        return 2
    rows, columns = _rows(options.what, path, options.since, options.until)
    written = _parquet(rows, columns, options) if options.format == "parquet" else _csv(rows, columns, options.output)
    if options.output is not None:
        if options.json:
            say_json({"file": options.output, "rows": written})
        else:
            complain(f"{options.output}: {count(written, 'row')}")
    return 0


def _rows(what: str, path: Path, since: str | None, until: str | None) -> tuple[Iterator[Any], Sequence[str] | None]:
    from botobs.streams.reader import StreamReader  # noqa: PLC0415  # not for --help

    if what == "fills":
        from botobs.accounting.ledger import Ledger  # noqa: PLC0415  # as above

        ledger = Ledger(path, read_only=True)
        return ledger.between(since, until), None
    if what == "trades":
        from botobs.trackers.lifecycle import KEYS  # noqa: PLC0415  # as above

        return iter(closed_trades(path, since, until)), KEYS
    return StreamReader(path).read("equity_curve", since, until), _EQUITY


def closed_trades(path: Path, since: str | None = None, until: str | None = None) -> list[dict[str, Any]]:
    """The records of closed trades, each in its latest revision, by exit."""
    from botobs.money.settled import revision_of  # noqa: PLC0415  # not for --help
    from botobs.streams.reader import StreamReader  # noqa: PLC0415  # as above

    found: dict[str, dict[str, Any]] = {}
    for record in StreamReader(path).read("trade_lifecycle"):
        name = str(record.get("trade_id"))
        if name not in found or revision_of(record) >= revision_of(found[name]):
            found[name] = record
    return sorted(
        (
            record for record in found.values()
            if not record.get("undone")
            and (since is None or str(record.get("exit_ts")) >= since)
            and (until is None or str(record.get("exit_ts")) < until)
        ),
        key=lambda record: (str(record.get("exit_ts")), str(record.get("trade_id"))),
    )  # fmt: skip


def _csv(rows: Iterator[Any], columns: Sequence[str] | None, target: str | None) -> int:
    from botobs.accounting.exchange import write_csv  # noqa: PLC0415  # not for --help

    if target is None:
        with output() as file:
            return write_csv(rows, file, columns)
    with writing_text(target) as file:
        return write_csv(rows, file, columns)


def _parquet(rows: Iterator[Any], columns: Sequence[str] | None, options: argparse.Namespace) -> int:
    from botobs.accounting.exchange import write_parquet  # noqa: PLC0415  # not for --help

    with building(options.output) as draft:
        if columns is None:
            return write_parquet(rows, draft, numbers=options.numbers)
        return _table(rows, columns, draft)


def _table(rows: Iterator[Any], columns: Sequence[str], target: Path) -> int:
    """Records as Parquet: times as times, statistics as numbers, amounts as text, so that every digit is kept."""
    from importlib import import_module  # noqa: PLC0415  # only here

    from botobs.errors import BotobsError  # noqa: PLC0415  # only here

    try:
        pa, pq = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        raise BotobsError("Parquet needs pyarrow: pip install 'botobs[parquet]'; CSV does without") from None
    found = list(rows)
    pq.write_table(pa.table({name: _array(pa, name, [row.get(name) for row in found]) for name in columns}), target)
    return len(found)


def _array(pa: Any, name: str, values: list[Any]) -> Any:
    import datetime as dt  # noqa: PLC0415  # only here

    from botobs.streams.encode import dumps  # noqa: PLC0415  # only here

    told = [value for value in values if value is not None]
    if name == "ts" or name.endswith("_ts"):
        with contextlib.suppress(ValueError, TypeError):
            times = [None if value is None else dt.datetime.fromisoformat(value) for value in values]
            return pa.array(times, type=pa.timestamp("us", tz="UTC"))
    if told and all(isinstance(value, bool) for value in told):
        return pa.array(values, type=pa.bool_())
    if told and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in told):
        return pa.array([None if value is None else float(value) for value in values], type=pa.float64())
    texts = [None if value is None else value if isinstance(value, str) else dumps(value).decode() for value in values]
    return pa.array(texts, type=pa.string())
