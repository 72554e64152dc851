"""`botobs window`: what the account came to since a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from botobs.cli.given import moment, span
from botobs.cli.overview import add_kinds, overview
from botobs.cli.place import opened
from botobs.cli.say import complain, say, say_json

if TYPE_CHECKING:
    import argparse

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "the same for the last hours or days, the change in value of what was held at their start included"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--last", type=span, metavar="6h", help="so long back from now: 90m, 6h, 7d")
    which.add_argument("--since", type=moment, metavar="TIME", help="from this time on: 2026-01-31T12:00:00Z")
    add_kinds(parser)


def run(options: argparse.Namespace) -> int:
    """Show it."""
    plain, said = overview(opened(options), options.since or options.last, options)
    begin, end = plain["window"].values()
    if begin > end:
        complain(f"botobs window: --since: {begin} is not yet; it is {end}")
        return 2
    if options.json:
        say_json(plain)
    else:
        say(said)
    return 0
