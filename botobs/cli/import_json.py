"""`botobs import-json`: an exchange's history of trades, as its API or ccxt gives it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from botobs.cli.taking import add_taking, take

if TYPE_CHECKING:
    import argparse

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "book an exchange's history of trades (JSON, JSON lines); twice changes nothing"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    add_taking(parser, "trades as ccxt or the exchange's history endpoint gives them; may be gzipped")


def run(options: argparse.Namespace) -> int:
    """Import it; 1 if some of it could not be."""
    return take(options, "json", "jsonl")
