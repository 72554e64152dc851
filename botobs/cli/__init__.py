"""The command line: one module per command, each with `arguments` and `run`.

Exit status: 0 fine, 1 a check failed or there is nothing to look at, 2 bad usage or a setting that will not do, 130
ended by Ctrl-C.
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

from botobs.cli.arguments import parse
from botobs.cli.place import NoDataError
from botobs.cli.say import OutputError, complain, flush, silence
from botobs.errors import BotobsError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_INTERRUPTED = 128 + signal.SIGINT
_NOBODY_READS = 128 + signal.SIGPIPE


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: The words after the program's name; those of this process if not given.

    Returns:
        The exit status.
    """
    _print_anything()
    try:
        return _run(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        silence()
        return _NOBODY_READS
    except OutputError as error:
        silence()
        complain(f"botobs: {error}")
        return 1
    except ConfigError as error:
        complain(f"botobs: {error}")
        return 2


def _run(words: list[str]) -> int:
    """Run it; what the command itself has to complain of is said under its name."""
    try:
        command, options = parse(words)
    except SystemExit as done:  # help, version, or a mistake that was told
        flush()
        return done.code if isinstance(done.code, int) else 2
    status = 1
    try:
        status = command.run(options)
    except (BrokenPipeError, ConfigError):
        raise
    except BotobsError as error:
        complain(f"botobs {options.command}: {error}")
        status = 1 if isinstance(error, NoDataError) else 2
    except OSError as error:  # a disk that fails, a file that may not be read
        complain(f"botobs {options.command}: {error.filename or 'the disk'}: {error.strerror or error}")
    flush()
    return status


def _print_anything() -> None:
    """A character that the terminal's encoding does not know must not end a command."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
