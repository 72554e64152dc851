"""`botobs dump`: what the account came to, from the first fill on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from botobs.cli.overview import add_kinds, overview
from botobs.cli.place import opened
from botobs.cli.say import say, say_json

if TYPE_CHECKING:
    import argparse

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "show what the account came to: PnL, fees, volume, equity, drawdown, Sharpe, open positions"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    add_kinds(parser)


def run(options: argparse.Namespace) -> int:
    """Show it."""
    plain, said = overview(opened(options), "all", options)
    if options.json:
        say_json(plain)
    else:
        say(said)
    return 0
