"""Reads the command line. A mistake is told in one line, with the nearest right word."""

from __future__ import annotations

import argparse
import difflib
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol

import botobs
from botobs.cli import (
    alerts,
    backup,
    compare,
    dashboards,
    demo,
    dump,
    explain,
    export,
    import_csv,
    import_json,
    kill,
    metricpack,
    performance,
    replay,
    reset,
    restore,
    verify,
    window,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Command", "parse"]


class Command(Protocol):
    """A module of a command."""

    HELP: str

    def arguments(self, parser: argparse.ArgumentParser) -> None:
        """Say what it takes beside `--data-dir` and `--json`."""

    def run(self, options: argparse.Namespace) -> int:
        """Do it; the exit status."""


COMMANDS: Final[Mapping[str, Any]] = {
    "demo": demo,
    "dump": dump,
    "window": window,
    "performance": performance,
    "explain": explain,
    "verify": verify,
    "compare": compare,
    "export": export,
    "import-json": import_json,
    "import-csv": import_csv,
    "reset": reset,
    "backup": backup,
    "restore": restore,
    "kill": kill,
    "alerts": alerts,
    "replay": replay,
    "metricpack": metricpack,
    "dashboards": dashboards,
}


_SPANS: Final = (("since", "until"), ("start", "end"))


class _Parser(argparse.ArgumentParser):
    """Tells mistakes in one line."""

    def __init__(self, **given: Any) -> None:
        super().__init__(allow_abbrev=False, **given)
        if "--data-dir" not in self._option_string_actions:
            # in the place of a default, nothing: the option may stand before or after the command
            self.add_argument(
                "--data-dir",
                metavar="DIR",
                default=argparse.SUPPRESS,
                help="where records are (default: what BOTOBS_DATA_DIR or botobs.toml says, else data)",
            )
            self.add_argument(
                "--json", action="store_true", default=argparse.SUPPRESS, help="one JSON object, for programs"
            )

    def parse_known_args(  # type: ignore[override]  # argparse's overloads say the same at greater length
        self, args: Any = None, namespace: Any = None
    ) -> tuple[argparse.Namespace, list[str]]:
        found, left = super().parse_known_args(args, namespace)
        if left:
            self.error(self.unknown(left[0]))
        return found, left

    def unknown(self, word: str) -> str:
        """What to say of a word that means nothing here."""
        if not word.startswith("-"):
            return f"there is nothing to be done with {word!r}"
        options = self._option_string_actions
        return f"there is no option {word.partition('=')[0]}" + _nearest(word.partition("=")[0], options)

    def takes_value(self, option: str) -> bool | None:
        """Whether an option is followed by its value; `None`: there is no such option."""
        action = self._option_string_actions.get(option)
        return None if action is None else action.nargs != 0

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and end with status 2."""
        if self._subparsers is not None and message.endswith("required: ACTION"):
            actions = list(self._subparsers._group_actions[0].choices or ())  # noqa: SLF001  # argparse tells nobody
            message = f"which action? It takes {' or '.join(actions)}"
        self.exit(2, f"{self.prog}: {message.removeprefix('argument ')}\n")


def parse(argv: Sequence[str]) -> tuple[Command, argparse.Namespace]:
    """Find the command and its options.

    Raises:
        SystemExit: Help or the version was asked for, or there is a mistake; it has been told.
    """
    parser = _Parser(
        prog="botobs",
        description="Observability for trading bots.",
        epilog="'botobs COMMAND --help' tells more. Exit status: 0 fine, 1 a check failed or there is nothing to look "
        "at, 2 bad usage.",
    )
    parser.add_argument("--version", action="version", version=f"botobs {botobs.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for each, command in COMMANDS.items():
        command.arguments(commands.add_parser(each, help=command.HELP, description=command.HELP))
    if not argv:
        parser.print_help()
        parser.exit(0)
    name = _command(parser, argv)
    if name is not None and name not in COMMANDS:
        parser.error(f"there is no command {name!r}" + _nearest(name, COMMANDS, "the commands are"))
    options = parser.parse_args(argv)
    if name is None:
        parser.error("which command? 'botobs --help' lists them")
    options.data_dir = getattr(options, "data_dir", None)
    options.json = getattr(options, "json", False)
    if options.data_dir == "":
        parser.exit(2, f"botobs {name}: --data-dir: '' will not do; it takes a directory\n")
    for begin, end in _SPANS:
        first, last = getattr(options, begin, None), getattr(options, end, None)
        if first is not None and last is not None and last < first:
            parser.exit(2, f"botobs {name}: --{end}: {last} is before --{begin}, {first}\n")
    return COMMANDS[name], options


def _command(parser: _Parser, argv: Sequence[str]) -> str | None:
    """The first word that is neither an option nor its value."""
    words = iter(argv)
    for word in words:
        if not word.startswith("-"):
            return word
        option, equals, _ = word.partition("=")
        takes = parser.takes_value(option)
        if takes is None:  # told here: what follows it might be its value or the command
            parser.error(parser.unknown(word))
        if takes and not equals:
            next(words, None)
    return None


def _nearest(word: str, known: Iterable[str], otherwise: str = "") -> str:
    begun = [each for each in known if each.startswith(word) and word.strip("-")]
    near = begun or difflib.get_close_matches(word, list(known), 1, 0.5)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; {otherwise} {', '.join(known)}" if otherwise else ""
