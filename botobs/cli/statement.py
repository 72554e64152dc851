"""What the commands that read an exchange's file have in common: its options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botobs.cli.given import choice, mapping

if TYPE_CHECKING:
    import argparse

__all__ = ["add_reading", "reading_of"]


def add_reading(parser: argparse.ArgumentParser) -> None:
    """The options that say how to understand a file."""
    parser.add_argument(
        "--map", type=mapping, action="append", metavar="FIELD=COLUMN,…",
        help="which column is which field, where its name does not tell: ts=Time,qty=Executed",
    )  # fmt: skip
    parser.add_argument("--symbol", metavar="SYMBOL", help="the symbol of rows that name none")
    parser.add_argument("--venue", metavar="NAME", help="the venue of rows that name none")
    parser.add_argument("--account", metavar="NAME", help="the account of rows that name none")
    parser.add_argument("--timezone", metavar="ZONE", help="of times that name none (default: UTC)")
    parser.add_argument(
        "--decimal", type=choice(".", ","), metavar="MARK", help="the decimal mark, where rows do not tell: . or ,"
    )
    first = parser.add_mutually_exclusive_group()
    first.add_argument(
        "--day-first", action="store_true", default=None, help="03/04/2026 is in April (else such rows are refused)"
    )
    first.add_argument("--month-first", dest="day_first", action="store_false", help="03/04/2026 is in March")
    parser.add_argument(
        "--fees-negative", action="store_true", help="fees that were paid stand there as negative numbers"
    )


def reading_of(options: argparse.Namespace) -> dict[str, Any]:
    """The same for `read_trades` and `read_statement`."""
    from botobs.accounting.exchange import parse_mapping  # noqa: PLC0415  # not for --help

    return {
        "mapping": parse_mapping(options.map),
        "symbol": options.symbol,
        "venue": options.venue,
        "account": options.account,
        "timezone": options.timezone,
        "decimal": options.decimal,
        "day_first": options.day_first,
        "fee_sign": -1 if options.fees_negative else 1,
    }
