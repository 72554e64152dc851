"""The switch from outside the process: for the command line, whether the bot runs or not, without a server.

A trip and a reset are written into the state file itself; a running bot looks there within a second. Both work on a
full disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

import attrs

from botobs.clock import SystemClock, rfc3339
from botobs.datadir import is_held
from botobs.safety import requests
from botobs.safety.latch import ACTIVE, FILE, HALTED, LEVELS, SLOT, Standing, fitting
from botobs.safety.said import Answer, lacking, line
from botobs.safety.slots import SlotFile, TooLong, look

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from botobs.clock import Clock

__all__ = ["drill", "has_fills", "lay_out", "reset", "running", "standing", "status", "trip"]

_WAIT_S = 0.05
_MISSING = "the state file is missing beside a ledger with fills"


def has_fills(data_dir: Path) -> bool:
    """Whether the ledger of a data directory has any line, or cannot be looked at."""
    metrics = data_dir / "metrics"
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            if (metrics / "fills.jsonl").stat().st_size:
                return True
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return any(fnmatch(name, "fills-*.jsonl*") for name in os.listdir(metrics / "archive"))  # noqa: PTH208
    except OSError:  # nobody can tell: the careful answer
        return True
    return False


def running(folder: Path) -> bool:
    """Whether a bot runs on the data directory whose `state` this is."""
    return is_held(folder)


def standing(folder: Path, clock: Clock | None = None) -> Standing:
    """Where the switch stands; damage is halted, and so is a missing file beside a ledger with fills.

    Args:
        folder: `data_dir/state`.
        clock: Tells since when a damaged file is halted: since it was looked at.
    """
    now = rfc3339((clock or SystemClock()).time_ns())
    found = look(folder / FILE)
    if not found.missing:
        return Standing.of(found, now=now)
    if has_fills(folder.parent):
        return Standing(seq=0, state=HALTED, reason=_MISSING, since=now, damage="it is missing")
    return Standing(seq=0, state=ACTIVE, reason="never tripped", since=now)


def status(folder: Path) -> dict[str, Any]:
    """What `botobs kill status --json` prints."""
    found = standing(folder)
    said: dict[str, Any] = {
        "state": found.state,
        "reason": found.reason if found.level else None,
        "since": found.since,
        "running": running(folder),
    }
    more = {"trigger": found.trigger, "inputs": found.inputs, "by": found.by}
    return {**said, **{key: value for key, value in more.items() if value is not None}}


def trip(
    folder: Path, reason: str, *, target: str = HALTED, by: str | None = None, clock: Clock | None = None
) -> Answer:
    """Stop a bot; a running one sees it within a second, a later one starts so.

    Raises:
        OSError: It cannot be written.
    """
    why = line(reason)
    if not why:
        return Answer(ok=False, reason="a trip needs a reason")
    wanted = target if target in LEVELS and target != ACTIVE else HALTED
    with _alone(folder):
        before = standing(folder, clock)
        if before.damage is None and before.level >= LEVELS[wanted]:
            return Answer(ok=True, reason=f"it is {before.state} already: {before.reason}")
        _write(folder, before, state=wanted, reason=why, by=by, clock=clock)
    return Answer(ok=True)


def reset(folder: Path, by: str, reason: str, *, clock: Clock | None = None) -> Answer:
    """Arm it again.

    Raises:
        OSError: It cannot be written.
    """
    who, why = line(by, 100), line(reason)
    refused = lacking(who, why)
    if refused is not None:
        return Answer(ok=False, reason=refused)
    with _alone(folder):
        before = standing(folder, clock)
        if before.damage is None and not before.level:
            return Answer(ok=True, reason="it is active already")
        if before.damage is not None and running(folder):
            return Answer(
                ok=False, reason="the state file is damaged; the running bot mends it within a second: try again then"
            )
        _write(folder, before, state=ACTIVE, reason=why, by=who, clock=clock)
    return Answer(ok=True)


def drill(folder: Path, *, timeout_s: float = 30.0) -> dict[str, Any] | None:
    """Have the running bot drill; its report, or `None`: there is no bot, or it does not answer.

    Raises:
        OSError: The question cannot be written.
    """
    if not running(folder):
        return None
    token = secrets.token_hex(8)
    requests.ask(folder, token)
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        found = requests.answer_to(folder, token)
        if found is not None:
            requests.forget(folder)
            return {key: value for key, value in found.items() if key != "token"}
        time.sleep(_WAIT_S)
    requests.forget(folder)
    return None


def lay_out(folder: Path, clock: Clock | None = None) -> None:
    """Make the state file of a data directory that has neither one nor fills: for whoever is about to import some.

    Raises:
        OSError: It cannot be made.
    """
    with _alone(folder):
        before = standing(folder, clock)
        if before.seq == 0 and before.damage is None:
            SlotFile(folder / FILE, SLOT).lay_out(attrs.evolve(before, seq=1, reason="armed").record())


def _write(folder: Path, before: Standing, *, state: str, reason: str, by: str | None, clock: Clock | None) -> None:
    now = Standing(
        seq=before.seq + 1, state=state, reason=reason, since=rfc3339((clock or SystemClock()).time_ns()), by=by,
        over=before.seq,
    )  # fmt: skip
    file = SlotFile(folder / FILE, SLOT)
    try:
        found = file.open()
        for record in fitting(now):
            try:
                if found.missing or found.damage is not None or before.damage is not None:
                    file.lay_out(record)
                else:
                    file.write(record)
            except TooLong:
                continue
            break
        file.sync()
    finally:
        file.close()


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One command at a time. The bot itself waits for nobody: what it writes wins, and it looks again."""
    lock = -1
    try:
        with contextlib.suppress(OSError):
            lock = os.open(folder / FILE, os.O_RDONLY | os.O_CLOEXEC)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        if lock != -1:
            os.close(lock)
