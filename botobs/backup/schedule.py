"""Backups while the bot runs: on a thread of their own, of low priority, that nobody waits for."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

from botobs.backup.errors import BusyError, StoppedError, why
from botobs.backup.making import make
from botobs.backup.manifest import latest
from botobs.backup.shelf import open_shelf
from botobs.errors import BotobsError, ConfigError
from botobs.events import BackupFailed, BackupMade

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from botobs.backup.shelf import Shelf
    from botobs.clock import Clock
    from botobs.config import Settings
    from botobs.events import Event
    from botobs.faults import Faults

__all__ = ["Schedule", "open_schedule"]

_AGAIN_S: Final = 60.0  # after the first failure; then twice as long each time
_MOST_DOUBLED: Final = 6
_END_S: Final = 1.0  # how long the end of the bot waits for a piece under way; one that was not finished is no backup


def open_schedule(
    settings: Settings, root: Path | None, *, clock: Clock, faults: Faults, publish: Callable[[Event], object]
) -> Schedule | None:
    """What `backup_url` asks for; `None`: nothing, or no network may be used.

    Args:
        settings: What the observer runs with.
        root: The data directory.
        clock: Tells the time.
        faults: Where failures are counted.
        publish: Gets what became of each backup.

    Raises:
        ConfigError: There can be no backup at `backup_url`.
    """
    if settings.backup_url is None or settings.mode != "live" or root is None:
        return None
    try:
        shelf = open_shelf(settings.backup_url, root)  # what it needs is loaded now, not in the middle of trading
    except Exception as error:
        raise ConfigError(
            f"backup_url cannot be used: {error if isinstance(error, BotobsError) else why(error)}"
        ) from None
    return Schedule(
        shelf,
        root,
        every_s=settings.backup_every,
        keep=settings.backup_keep,
        clock=clock,
        faults=faults,
        publish=publish,
    )


class Schedule:
    """Makes a backup every so often; a failure is told, and tried again sooner.

    Args:
        shelf: Where to.
        root: The data directory.
        every_s: How long from one to the next; also across restarts.
        keep: How many to keep; `None`: all.
        clock: Tells the time.
        faults: Where failures are counted.
        publish: Gets what became of each backup.
    """

    def __init__(
        self,
        shelf: Shelf,
        root: Path,
        *,
        every_s: float,
        keep: int | None,
        clock: Clock,
        faults: Faults,
        publish: Callable[[Event], object],
    ) -> None:
        self._shelf = shelf
        self._root = root
        self._every_s = every_s
        self._keep = keep
        self._clock = clock
        self._faults = faults
        self._publish = publish
        self._failures = 0
        self._last: str | None = None
        self._noted: tuple[str, ...] = ()  # said already
        self._first = True
        self._due_ns = 0
        self._over = False
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Look how old the newest backup is, and go on from there."""
        self._thread = threading.Thread(target=self._run, name="botobs-backup", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # no threads to be had
            self._thread = None
            self._faults.say("backup", "thread", f"there will be no backups: {error}")
        else:
            self._wake.set()

    def chore(self) -> None:
        """See whether it is time, once a second."""
        if self._due_ns and self._clock.perf_ns() >= self._due_ns:
            self._due_ns = 0
            self._wake.set()

    def flush(self, _deadline: float) -> bool:
        """Nothing that a flush promises waits here."""
        return True

    def close(self, deadline: float) -> bool:
        """Give up what is under way: the next run goes on with it."""
        self._over = True
        self._wake.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(min(deadline - time.monotonic(), _END_S), 0.0))
        return True

    def abandon(self) -> None:
        """In a forked child: the thread is the parent's."""
        self._over, self._thread, self._due_ns = True, None, 0
        self._wake = threading.Event()

    def _run(self) -> None:
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # on Linux a thread has a priority of its own
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        while True:
            self._wake.wait()
            self._wake.clear()
            if self._over:
                return
            due_ns = 1
            # a clock of the bot's own may raise, and strict mode raises what is reported; the thread goes on
            with contextlib.suppress(Exception):
                wait_s = self._turn()
                due_ns = self._clock.perf_ns() + max(int(wait_s * 1e9), 1)
            self._due_ns = due_ns

    def _turn(self) -> float:
        """One backup, if it is time; in how many seconds to look again."""
        begun_ns = self._clock.perf_ns()
        try:
            if self._first:
                wait_s = self._left()
                self._first = False
                if wait_s > 0:
                    return wait_s
            self._make(begun_ns)
        except StoppedError:
            return self._every_s
        except BusyError:  # by hand; it will do, and if it does not, the next look tells
            self._first = True
            return min(self._every_s, _AGAIN_S)
        except Exception as error:
            return self._failed(error)
        return self._every_s - (self._clock.perf_ns() - begun_ns) / 1e9

    def _left(self) -> float:
        """How many seconds there are till the next one, by the newest there is."""
        found = latest(self._shelf)
        if found is None:
            return 0.0
        self._last = found.at
        age_s = (self._clock.time_ns() - found.at_ns) / 1e9
        return self._every_s - age_s if 0 <= age_s < self._every_s else 0.0

    def _make(self, begun_ns: int) -> None:
        shelf = self._shelf
        made = make(
            self._root, shelf, clock=self._clock, keep=self._keep, stopped=lambda: self._over,
        )  # fmt: skip
        self._failures, self._last = 0, made.manifest.at
        for note in made.notes:
            if note not in self._noted:
                self._faults.say("backup", note, f"backup: {note}")
        self._noted = made.notes
        self._publish(
            BackupMade(
                ts_ns=self._clock.time_ns(), where=str(shelf), at=made.manifest.at, lines=made.manifest.lines,
                files=len(made.manifest.entries), bytes=made.manifest.size, sent_bytes=made.sent,
                took_s=round((self._clock.perf_ns() - begun_ns) / 1e9, 3),
            )
        )  # fmt: skip

    def _failed(self, error: Exception) -> float:
        self._failures += 1
        self._publish(
            BackupFailed(
                ts_ns=self._clock.time_ns(), where=str(self._shelf), failures=self._failures, last=self._last,
                error=str(error) if isinstance(error, BotobsError) else why(error),
            )
        )  # fmt: skip
        with contextlib.suppress(Exception):  # strict mode raises; when to try again has to be said all the same
            self._faults.error("backup", error)
        return float(min(self._every_s, _AGAIN_S * 2 ** min(self._failures - 1, _MOST_DOUBLED)))
