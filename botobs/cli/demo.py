"""`botobs demo`: a bot on a simulated exchange, and what botobs makes of it."""

from __future__ import annotations

import argparse
import json
import math
import sys
from typing import TYPE_CHECKING, Final

from botobs.cli.say import complain, say

if TYPE_CHECKING:
    from botobs.demo.readings import Reading
    from botobs.demo.session import Scene, Show

__all__ = ["HELP", "arguments", "run"]

HELP: Final = "run a bot on a simulated exchange and look at what botobs makes of it"

_LONGEST_S: Final = 86_400.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument(
        "--seconds", type=_seconds, default=20.0, metavar="N", help="how long (default: 20; at most a day)"
    )
    parser.add_argument(
        "--seed",
        type=_seed,
        default=7,
        metavar="N",
        help="same seed in a new directory, same records apart from times (default: 7)",
    )
    parser.add_argument(
        "--port", type=_port, default=9464, metavar="N", help="where /metrics is served (default: 9464; 0: any free)"
    )


def run(options: argparse.Namespace) -> int:
    """Play it, and tell how it went; 1 if records were lost or the exchange's statement says otherwise."""
    from botobs.demo import session, words  # noqa: PLC0415  # exporters load here, not for --help

    plan = session.Plan(seconds=options.seconds, seed=options.seed, port=options.port, data_dir=options.data_dir)
    show: Show = _Silent() if options.json else _Drawn() if _may_draw() else _Plain()
    outcome = session.play(plan, show)
    if options.json:
        say([json.dumps(words.facts(outcome))])
    else:
        say(["", *words.closing(outcome)])
    if outcome.stopped_by is not None:
        return 128 + outcome.stopped_by
    return 1 if outcome.lost or not outcome.agreement.ok else 0


class _Silent:
    """For programs: what a person should know goes to stderr."""

    every_s = 3600.0

    def begin(self, scene: Scene) -> None:
        for note in scene.notes:
            complain(f"botobs demo: {note}")

    def progress(self, reading: Reading) -> None:
        """Say nothing."""

    def finish(self) -> None:
        """Say nothing."""


class _Plain:
    """A line every one or two seconds."""

    def __init__(self) -> None:
        self.every_s = 1.0
        self._until = 0.0
        self._headed = False

    def begin(self, scene: Scene) -> None:
        from botobs.demo import words  # noqa: PLC0415  # as in run

        seconds = scene.plan.seconds
        self.every_s = 1.0 if seconds < 10 else 2.0 if seconds <= 60 else 10.0
        self._until = seconds - self.every_s / 2  # then the summary is near
        say(words.opening(scene))

    def progress(self, reading: Reading) -> None:
        from botobs.demo import words  # noqa: PLC0415  # as in run

        if reading.ran_s < self._until:
            say([words.row(reading)] if self._headed else ["", words.HEAD, words.row(reading)])
            self._headed = True

    def finish(self) -> None:
        """The summary says the rest."""


class _Drawn:
    """A board that is drawn anew twice a second, and gone at the end."""

    every_s = 0.5

    def begin(self, scene: Scene) -> None:
        from rich.live import Live  # noqa: PLC0415  # only a terminal needs it

        from botobs.demo import words  # noqa: PLC0415  # as in run

        say([*words.opening(scene), ""])
        self._scene = scene
        self._live = Live(auto_refresh=False, transient=True)
        self._live.start()

    def progress(self, reading: Reading) -> None:
        from rich.text import Text  # noqa: PLC0415  # as above

        from botobs.demo import words  # noqa: PLC0415  # as in run

        self._live.update(Text("\n".join(words.board(self._scene, reading))), refresh=True)

    def finish(self) -> None:
        if hasattr(self, "_live"):  # nothing was drawn if the start failed
            self._live.stop()


def _may_draw() -> bool:
    """Whether somebody looks at a terminal that can move its cursor."""
    if sys.stdout is None or not sys.stdout.isatty():
        return False
    from rich.console import Console  # noqa: PLC0415  # only a terminal needs it

    console = Console()
    return console.is_terminal and not console.is_dumb_terminal


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.1 <= value <= _LONGEST_S:  # false of what is no number, too
        raise argparse.ArgumentTypeError(f"{text!r} will not do; it takes seconds, from 0.1 to {_LONGEST_S:.0f}")
    return value


def _seed(text: str) -> int:
    return _whole(text, 2**63 - 1)


def _port(text: str) -> int:
    return _whole(text, 65_535)


def _whole(text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= most):
        raise argparse.ArgumentTypeError(f"{text!r} will not do; it takes a whole number from 0 to {most}")
    return int(text)
