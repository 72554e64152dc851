"""Statements of exchanges: read, compared with the ledger, and the ledger written for others.

`read_trades` reads what an exchange says, `compare` and `compare_summary` hold it against the ledger and the totals,
`FeeTable` knows what a fill costs when nobody says, `write_csv` and `write_parquet` hand the ledger on.
"""

from __future__ import annotations

from botobs.accounting.exchange.compare import compare
from botobs.accounting.exchange.comparison import Comparison, Difference, Entry, FieldDifference, Row
from botobs.accounting.exchange.export import safe_cell, write_csv, write_parquet
from botobs.accounting.exchange.fees import FeeTable
from botobs.accounting.exchange.fields import FIELDS, parse_mapping
from botobs.accounting.exchange.fills import Bad, ExchangeFill
from botobs.accounting.exchange.summary import Summary, compare_summary, read_statement, read_summary
from botobs.accounting.exchange.trades import Trades, read_trades

__all__ = [
    "FIELDS", "Bad", "Comparison", "Difference", "Entry", "ExchangeFill", "FeeTable", "FieldDifference", "Row",
    "Summary", "Trades", "compare", "compare_summary", "parse_mapping", "read_statement", "read_summary", "read_trades",
    "safe_cell", "write_csv", "write_parquet",
]  # fmt: skip
