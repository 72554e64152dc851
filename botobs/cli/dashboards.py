"""`botobs dashboards export`: Grafana dashboards, alert rules and a stack to run them, for a bot on this host."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from botobs.cli.say import complain, say, say_json
from botobs.cli.show import count, plain_line

if TYPE_CHECKING:
    from botobs.dashboards import Exported

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "write Grafana dashboards, alert rules and a compose stack for them"


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    told = "write the stack into a directory; its README.md tells how to start it"
    export = actions.add_parser("export", help=told, description=f"{told[0].upper()}{told[1:]}.")
    export.add_argument("directory", type=_directory, metavar="DIR", help="where to; made if it is not there")
    export.add_argument(
        "--namespace", default="bot", metavar="N", help="the bot's setting of this name (default: %(default)s)"
    )
    export.add_argument(
        "--target", type=_target, action="append", metavar="HOST:PORT",
        help="where a bot serves /metrics, once for each bot (default: 127.0.0.1:9464)",
    )  # fmt: skip
    export.add_argument("--force", action="store_true", help="replace files that were changed after an export, too")


def run(options: argparse.Namespace) -> int:
    """Write it; 1 if files that somebody changed are in the way."""
    from botobs.dashboards import NotOursError, Stack, export  # noqa: PLC0415  # not for --help

    stack = Stack(options.namespace, tuple(options.target)) if options.target else Stack(options.namespace)
    try:
        done = export(stack, options.directory, force=options.force)
    except NotOursError as error:
        complain(f"botobs dashboards export: {plain_line(options.directory)}: {error}")
        return 1
    if options.json:
        say_json({"directory": options.directory, "written": done.written, "unchanged": done.unchanged})
    else:
        say(_told(options.directory, done))
    return 0


def _told(directory: str, done: Exported) -> list[str]:
    what = count(len(done.written), "file") if done.written else "nothing"
    kept = f", {len(done.unchanged)} as they were" if done.unchanged else ""
    return [f"{plain_line(directory)}: {what} written{kept}", "  README.md tells how to start it"]


def _directory(text: str) -> str:
    if not text:  # a variable of the shell that is not set
        raise argparse.ArgumentTypeError("'' will not do; it takes the name of a directory")
    return text


def _target(text: str) -> str:
    from botobs.dashboards.stack import target  # noqa: PLC0415  # not for --help

    try:
        return target(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
