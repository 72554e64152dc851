"""`state/run.json`: the latest run, as it writes itself down and as the next one reads it."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import orjson

from botobs.clock import rfc3339
from botobs.errors import ConfigError

if TYPE_CHECKING:
    from botobs.clock import Clock

__all__ = ["PreviousRun", "boot_id", "decode", "encode", "previous_run", "this_run"]

_PADDED = 1024  # so that the end of a run fits over its beginning on a full disk


@attrs.frozen
class PreviousRun:
    """The run before this one, as far as `state/run.json` tells; what a damaged one does not tell is `None`.

    Attributes:
        run_id: Its id.
        pid: Its process.
        bot: The bot's name.
        started: When it began (RFC 3339).
        last_seen: Its last sign of life (RFC 3339), good to about a minute.
        clean: Whether it ended in order.
        rebooted: Whether the machine was started anew since; `None` if unknown.
    """

    run_id: str | None
    pid: int | None
    bot: str | None
    started: str | None
    last_seen: str | None
    clean: bool
    rebooted: bool | None = None

    @property
    def unclean(self) -> bool:
        """Whether it was killed, crashed, or lost its machine."""
        return not self.clean


def this_run(bot: str, run_id: str, clock: Clock) -> dict[str, Any]:
    """The run that begins, as it is written.

    Raises:
        ConfigError: The clock cannot tell the time.
    """
    try:
        started = rfc3339(clock.time_ns())
    except Exception as error:
        raise ConfigError(
            f"clock = {type(clock).__name__} is wrong: asked for the time, it raised {type(error).__name__}; "
            "it takes a clock that can tell the time when the run starts"
        ) from error
    return {
        "run_id": run_id,
        "pid": os.getpid(),
        "bot": bot,
        "started": started,
        "host": socket.gethostname(),
        "boot_id": boot_id(),
        "ended": None,
        "clean": False,
    }


def previous_run(path: Path, boot: str | None) -> PreviousRun | None:
    """What the file says of the run before, seen from a machine that was started as `boot`; `None`: there was none."""
    try:
        content = path.read_bytes()
        last_seen = rfc3339(path.stat().st_mtime_ns)
    except FileNotFoundError:
        return None
    except OSError:
        return PreviousRun(None, None, None, None, None, clean=False)
    run = decode(content)
    pid, booted = run.get("pid"), _text(run, "boot_id")
    return PreviousRun(
        run_id=_text(run, "run_id"),
        pid=pid if isinstance(pid, int) else None,
        bot=_text(run, "bot"),
        started=_text(run, "started"),
        last_seen=last_seen,
        clean=run.get("clean") is True,
        rebooted=booted != boot if booted and boot else None,
    )


def _text(run: dict[str, Any], name: str) -> str | None:
    value = run.get(name)
    return value if isinstance(value, str) else None


def encode(run: dict[str, Any]) -> bytes:
    """The file's content, of one length whatever it says."""
    return orjson.dumps(run).ljust(_PADDED - 1) + b"\n"


def decode(content: bytes) -> dict[str, Any]:
    """What it says; nothing, where it is damaged."""
    try:
        found = orjson.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def boot_id() -> str | None:
    """Which start of the machine this is; `None`: it does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().decode().strip() or None
    except (OSError, ValueError):
        return None
