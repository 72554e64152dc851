"""The only place of the command line that prints."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO

__all__ = ["OutputError", "complain", "flush", "output", "say", "say_json", "silence"]


class OutputError(Exception):
    """The output cannot be written, though somebody wants it."""


def say(lines: Iterable[str]) -> None:
    """Print lines, and hand them on at once: a pipe is read while the command runs.

    Raises:
        BrokenPipeError: Nobody reads any more.
        OutputError: It cannot be written.
    """
    with _told():
        print("\n".join(lines), flush=True)  # noqa: T201  # what a command line is for


def say_json(value: object) -> None:
    """Print one JSON object.

    Raises:
        BrokenPipeError: Nobody reads any more.
        OutputError: It cannot be written.
    """
    say([json.dumps(value, ensure_ascii=False, indent=2 if sys.stdout is not None and sys.stdout.isatty() else None)])


@contextlib.contextmanager
def output() -> Iterator[IO[str]]:
    """Standard output, for whoever writes much, piece by piece.

    Raises:
        BrokenPipeError: Nobody reads any more.
        OutputError: It cannot be written.
    """
    if sys.stdout is None:
        with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123  # no path of the user's
            yield nowhere
        return
    with _told():
        yield sys.stdout
        sys.stdout.flush()


def flush() -> None:
    """Write what is left, while a closed pipe can still be told from a mistake.

    Raises:
        BrokenPipeError: Nobody reads any more.
        OutputError: It cannot be written.
    """
    if sys.stdout is not None:
        with _told():
            sys.stdout.flush()


def silence() -> None:
    """Let what is still in the buffer go where it bothers nobody."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def complain(text: str) -> None:
    """Print a line for a person, where a program's output is not disturbed."""
    with contextlib.suppress(OSError):  # nobody listens there either
        print(text, file=sys.stderr, flush=True)  # noqa: T201  # as above


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"the output cannot be written: {error.strerror}") from None
