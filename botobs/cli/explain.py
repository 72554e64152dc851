"""`botobs explain`: where the result of one trade came from."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from botobs.cli.place import NoDataError, data_dir_of, opened
from botobs.cli.say import say, say_json

if TYPE_CHECKING:
    import argparse

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "show where the result of a trade came from: prediction, market, delay, spread, impact, fees, funding"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument(
        "trade", metavar="TRADE",
        help="its name (t123), a beginning that only one trade has, last, or the id of an order or a fill of it",
    )  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Show it."""
    from botobs.explaining.explainer import Explainer  # noqa: PLC0415  # not for --help
    from botobs.explaining.finding import UnknownTradeError  # noqa: PLC0415  # as above
    from botobs.explaining.streams import Streams  # noqa: PLC0415  # as above
    from botobs.explaining.table import table  # noqa: PLC0415  # as above

    path = data_dir_of(options)
    try:
        found = Explainer(opened(options).account, Streams(path)).explain(options.trade)
    except UnknownTradeError as unknown:
        raise NoDataError(f"{unknown} (in {path})") from unknown
    if options.json:
        say_json(found.to_dict())
    else:
        say(table(found) if _draws() else table(found, solid="#", line="-"))
    return 0


def _draws() -> bool:
    """Whether the output can say what bars are made of."""
    try:
        "█─…".encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeError, LookupError):
        return False
    return True
