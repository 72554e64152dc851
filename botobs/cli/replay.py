"""`botobs replay`: what limits and alert rules would have done with what was recorded."""

from __future__ import annotations

import argparse
import ast
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from botobs.cli.given import moment
from botobs.cli.place import NoDataError
from botobs.cli.say import say, say_json
from botobs.cli.show import count, grid, heading, money, plain_line, when
from botobs.config import load
from botobs.errors import BotobsError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from botobs.safety.replay import Found, Replayed
    from botobs.safety.triggers import Trigger

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "show what limits and alert rules would have done with what was recorded; writes nothing"

_MOST: Final = 50  # rows for people
_AFTER: Final = ("equity", "lowest after", "at the end", "change")


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument(
        "--config", metavar="FILE", help="the settings to try (default: botobs.toml, as the bot finds it)"
    )
    parser.add_argument(
        "--limit", type=_limit, action="append", metavar="LIMIT",
        help="a limit of the kill switch as one writes it in code, such as 'Drawdown(0.10)'; may be repeated",
    )  # fmt: skip
    parser.add_argument("--since", type=moment, metavar="TIME", help="from when on (default: from the beginning)")
    parser.add_argument("--until", type=moment, metavar="TIME", help="until when (default: to the end)")


def run(options: argparse.Namespace) -> int:
    """Show it; 1 if there is nothing to replay."""
    from botobs.accounting.opened import kept_terms  # noqa: PLC0415  # not for --help
    from botobs.safety.replay import replay  # noqa: PLC0415  # as above

    if options.config is not None and not Path(options.config).is_file():
        raise BotobsError(f"--config: there is no file {options.config}")
    env = os.environ if options.config is None else {**os.environ, "BOTOBS_CONFIG": options.config}
    settings = load("botobs", {} if options.data_dir is None else {"data_dir": options.data_dir}, env=env)
    path = settings.data_dir or Path("data")
    if not path.is_dir():
        what = "is a file, not a directory" if path.exists() else "is not there"
        raise NoDataError(f"{path} {what}; --data-dir says where the bot writes")
    known = settings.starting_equity
    found = replay(
        path, settings, limits=options.limit, start=options.since, end=options.until,
        starting_equity=kept_terms(path / "state").starting_equity if known is None else known,
    )  # fmt: skip
    if found.since is None:
        if options.since is None and options.until is None:
            raise NoDataError(f"nothing was recorded in {path}; --data-dir says where the bot writes")
        span = f"from {options.since or 'the beginning'} to {options.until or 'now'}"
        raise NoDataError(f"nothing was recorded in {path} {span}")
    if options.json:
        say_json({"data_dir": str(path), **found.record()})
    else:
        say(_told(path, found))
    return 0


def _limit(text: str) -> Trigger:
    """A limit; nothing is run."""
    from botobs import triggers  # noqa: PLC0415  # not for --help

    names = [name for name in triggers.__all__ if name not in ("Errors", "Facts", "Trigger", "When")]
    try:
        node = ast.parse(text.strip(), mode="eval").body
        call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
        if not isinstance(call.func, ast.Name) or call.func.id not in names:
            raise ValueError(f"those that can be replayed are {', '.join(names)}")  # told below
        given = [ast.literal_eval(arg) for arg in call.args]
        named = {str(each.arg): ast.literal_eval(each.value) for each in call.keywords}
        found: Trigger = getattr(triggers, call.func.id)(*given, **named)
    except SyntaxError:
        raise argparse.ArgumentTypeError(f"{text!r} will not do; it takes a limit such as 'Drawdown(0.10)'") from None
    except (ValueError, TypeError, ArithmeticError, RecursionError, MemoryError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} will not do: {plain_line(error, 300)}") from None
    return found


def _told(path: Path, found: Replayed) -> list[str]:
    said = [f"{path}: {when(found.since, roughly=True)} to {when(found.until, roughly=True)} UTC"]
    records = {name: number for name, number in sorted(found.records.items()) if name != "alerts"}
    said.append(f"read: {', '.join(f'{number:,} {name}' for name, number in records.items())}")
    said.append(f"limits: {', '.join(found.limits) or 'none'}")
    said.extend(f"note: {note}" for note in found.notes)
    said += _table("the kill switch would have tripped", found.trips, ("state", "limit"), _trip)
    if found.resets:
        said += _table("armed again, as recorded", found.resets, ("by", "reason"), _reset)
    said += _table("it would have warned", found.warnings, ("limit", "used"), _warning)
    said += _table("a person would have been told", found.alerts, ("level", "title"), _alert)
    if found.held:
        said.append(f"  and {count(found.held, 'alert')} held back")
    return said


def _table(title: str, found: Sequence[Found], columns: tuple[str, str], cells: Any) -> list[str]:
    if not found:
        return [*heading(title), "  never"]
    rows = [(when(each.ts, roughly=True), *cells(each.said), *_after(each)) for each in found[:_MOST]]
    said = heading(f"{title}: {'once' if len(found) == 1 else f'{len(found):,} times'}")
    said += grid(("time (UTC)", *columns, *_AFTER), rows, left=("time (UTC)", *columns), optional=_AFTER,
                 below=(columns[1],))  # fmt: skip
    if len(found) > _MOST:
        said.append(f"  and {len(found) - _MOST:,} more; --json has all")
    return said


def _after(found: Found) -> tuple[str, str, str, str]:
    change: Decimal | None = None if found.end is None or found.equity is None else found.end - found.equity
    return money(found.equity, 2), money(found.lowest, 2), money(found.end, 2), money(change, 2)


def _trip(said: Any) -> tuple[str, str]:
    limit = said["trigger"] or said["reason"]
    return said["state"], f"{limit} (again)" if said["again"] else limit


def _reset(said: Any) -> tuple[str, str]:
    return str(said["by"]), str(said["reason"])


def _warning(said: Any) -> tuple[str, str]:
    used = "" if said["used"] is None else f"{said['used'] * 100:.0f} %"
    return said["trigger"], used if said["why"] == "near" else f"{said['why']} {used}".strip()


def _alert(said: Any) -> tuple[str, str]:
    title = f"over: {said['title']}" if said["recovery"] else said["title"]
    held = f" (+{said['held']} held)" if said["held"] else ""
    return said["level"], f"{title}{held}"
