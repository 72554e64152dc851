"""`botobs kill`: the kill switch from outside the bot, whether it runs or not."""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from typing import TYPE_CHECKING, Any, Final

from botobs.cli.given import choice
from botobs.cli.place import NoDataError, data_dir_of
from botobs.cli.say import complain, say, say_json
from botobs.cli.show import plain_line, when

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from botobs.safety.said import Answer

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "look at the kill switch, trip it, reset it, or have the running bot drill"

_TRACES: Final = ("state", "metrics", "logs")  # what a bot leaves in its data directory
_HEARD_S: Final = 5.0  # a running bot looks every 0.4 s
_LOOK_S: Final = 0.05


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    told = "where the switch stands, why, and since when"
    status = actions.add_parser("status", help=told, description=f"Say {told}.")
    status.add_argument("--check", action="store_true", help="exit status 1 unless it is active")
    told = "stop the bot: a running one within a second, else the next one starts so"
    trip = actions.add_parser("trip", help=told, description=f"{told[0].upper()}{told[1:]}.")
    trip.add_argument("--reason", metavar="R", default="tripped by hand", help="why (default: %(default)s)")
    trip.add_argument("--by", metavar="WHO", help="who does it")
    trip.add_argument(
        "--target", type=choice("halted", "reduce_only"), metavar="STATE", default="halted",
        help="halted (the default) or reduce_only",
    )  # fmt: skip
    told = "arm it again"
    reset = actions.add_parser("reset", help=told, description=f"{told[0].upper()}{told[1:]}.")
    reset.add_argument("--reason", metavar="R", required=True, help="why it is safe to go on")
    reset.add_argument("--by", metavar="WHO", required=True, help="who says so")
    told = "have the running bot go the whole way of a trip, and change nothing"
    actions.add_parser("drill", help=told, description=f"{told[0].upper()}{told[1:]}.")


def run(options: argparse.Namespace) -> int:
    """Do it; 1 if it could not be done."""
    try:
        return _done_in(data_dir_of(options), options)
    except OSError as error:
        if options.action not in ("trip", "reset"):
            raise
        # the error may name a draft that nobody knows
        where = "the state of the switch" if str(error.filename).endswith(".tmp") else error.filename or "the disk"
        who = "; it takes the bot's own user" if isinstance(error, PermissionError) else ""
        complain(f"botobs kill {options.action}: NOTHING WAS DONE: {where}: {error.strerror or error}{who}")
        return 1


def _done_in(path: Path, options: argparse.Namespace) -> int:
    if options.action == "trip":
        return _trip(path, options)
    if not any((path / name).is_dir() for name in _TRACES):
        raise NoDataError(f"no bot has run in {path}; --data-dir says where the bot writes")
    return {"status": _status, "reset": _reset, "drill": _drill}[options.action](path, options)


def _status(path: Path, options: argparse.Namespace) -> int:
    from botobs.safety import outside  # noqa: PLC0415  # not for --help

    found = outside.status(path / "state")
    if options.json:
        say_json(found)
    else:
        say(_told(path, found))
    return 1 if options.check and found["state"] != "active" else 0


def _told(path: Path, found: dict[str, Any]) -> list[str]:
    said = [f"{path}: {found['state']} since {when(found['since'], roughly=True)} UTC"]
    words = [name for name in ("reason", "trigger", "by") if found.get(name) is not None]
    said.extend(f"  {name:<8}{plain_line(found[name])}" for name in words)
    figures = found.get("inputs") or {}
    said.extend(f"  {plain_line(name, 40)}: {plain_line(value)}" for name, value in figures.items())
    said.append(f"  {'bot':<8}{'runs' if found['running'] else 'does not run'}")
    if found["state"] != "active":
        said.append(f"  {'to arm':<8}botobs kill reset --data-dir {shlex.quote(str(path))} --by WHO --reason WHY")
    return said


def _trip(path: Path, options: argparse.Namespace) -> int:
    from botobs.safety import outside  # noqa: PLC0415  # not for --help

    folder = path / "state"
    folder.mkdir(mode=0o700, exist_ok=True)  # nobody has run here as yet: whoever does starts so
    before, known = outside.standing(folder), _records(path)
    answer = outside.trip(folder, options.reason, target=options.target, by=options.by)
    if not answer:
        return _refused(options, answer)
    wrote = not answer.reason  # else it stood there already
    return _done(path, options, answer, "trip", known=known, previous=before.state, wrote=wrote)


def _reset(path: Path, options: argparse.Namespace) -> int:
    from botobs.safety import outside  # noqa: PLC0415  # not for --help

    folder = path / "state"
    folder.mkdir(mode=0o700, exist_ok=True)
    before, known = outside.standing(folder), _records(path)
    answer = outside.reset(folder, options.by, options.reason)
    if not answer:
        return _refused(options, answer)
    wrote = bool(before.level) or before.damage is not None
    return _done(path, options, answer, "reset", known=known, previous=before.state, wrote=wrote)


def _refused(options: argparse.Namespace, answer: Answer) -> int:
    complain(f"botobs kill {options.action}: {plain_line(answer.reason)}")
    return 2 if "needs" in answer.reason else 1


def _done(
    path: Path, options: argparse.Namespace, answer: Answer, kind: str, *, known: list[Any], previous: str, wrote: bool
) -> int:  # fmt: skip
    """Say what holds now, and whether the running bot has seen it."""
    from botobs.safety import outside  # noqa: PLC0415  # not for --help

    running = outside.running(path / "state")
    heard = _heard(path, kind, known) if running and wrote else None
    found = outside.status(path / "state")
    undone = kind == "reset" and found["state"] != "active"  # the bot tripped again meanwhile
    if options.json:
        say_json({**found, "previous": previous, "changed": wrote and not undone, "seen": heard})
    else:
        said = _told(path, found)
        if not wrote:
            said.append(f"  nothing was changed: {plain_line(answer.reason)}")
        elif not running:
            said.append(f"  no bot runs there now; the next one starts {found['state']}")
        elif heard:
            said.append("  the running bot has seen it")
        say(said)
    if undone:
        complain("botobs kill reset: it was tripped again meanwhile")
    elif heard is False:
        why = (
            "; the disk is full and its answer needs room, so its log or /health has to tell" if _is_full(path) else ""
        )
        complain(
            f"botobs kill {kind}: it is written, but the running bot has not answered within {_HEARD_S:.0f} s{why}"
        )
    return 1 if undone or heard is False else 0


def _heard(path: Path, kind: str, known: list[Any]) -> bool:
    """Whether the running bot has recorded what was just written; `known` is what was recorded before."""
    from botobs.safety import outside  # noqa: PLC0415  # not for --help

    until = time.monotonic() + _HEARD_S
    while True:
        for record in _records(path):
            if record.get("source") == "outside" and record.get("event") == kind and record not in known:
                return True
        if time.monotonic() > until or not outside.running(path / "state"):
            return False
        time.sleep(_LOOK_S)


def _is_full(path: Path) -> bool:
    """Whether the bot cannot write a record: not even its own would there be room for."""
    with contextlib.suppress(OSError):
        found = os.statvfs(path)
        return found.f_bavail == 0 and found.f_blocks > 0  # some file systems do not say
    return False


def _records(path: Path) -> list[Any]:
    """The last records of the switch."""
    from botobs.streams.reader import StreamReader  # noqa: PLC0415  # not for --help

    return StreamReader(path).latest("kill_switch", 500)  # orders refused right after a trip are there too


def _drill(path: Path, options: argparse.Namespace) -> int:
    from botobs.safety import outside  # noqa: PLC0415  # not for --help

    folder = path / "state"
    if not outside.running(folder):
        complain(f"botobs kill drill: no bot runs in {path}: there is nobody to drill")
        return 1
    found = outside.drill(folder)
    if found is None:
        complain(f"botobs kill drill: the bot in {path} does not answer")
        return 1
    if options.json:
        say_json(found)
    else:
        say(_drilled(path, found))
    return 0 if found.get("ok") is True else 1


def _drilled(path: Path, found: dict[str, Any]) -> list[str]:
    disk = "has it" if found.get("durable") else "did not take it"
    said = [
        f"{path}: the drill {'went well' if found.get('ok') else 'FAILED'}",
        f"  {found.get('written_ms')} ms until the state was written; the disk {disk}",
        f"  {found.get('took_ms')} ms until the last callback had ended",
    ]
    for called in found.get("callbacks") or []:
        error = f": {plain_line(called['error'])}" if called.get("error") else ""
        said.append(f"  {plain_line(called.get('name'), 60)} {called.get('outcome')} {called.get('took_ms')} ms{error}")
    if not found.get("callbacks"):
        said.append("  nobody is called: the bot has no on_trip")
    return said
