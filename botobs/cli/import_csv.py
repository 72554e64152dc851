"""`botobs import-csv`: old telemetry, or an exchange's trades as its website exports them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from botobs.cli.taking import add_taking, take

if TYPE_CHECKING:
    import argparse

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "book fills of a CSV file (old telemetry, an exchange's export); twice changes nothing"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    add_taking(parser, "CSV with a header; columns that are not known by name are told with --map; may be gzipped")


def run(options: argparse.Namespace) -> int:
    """Import it; 1 if some of it could not be."""
    return take(options, "csv")
