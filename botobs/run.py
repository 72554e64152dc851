"""One run of an observer: how it begins, what is delivered in between, and how it ends."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import botobs
from botobs import lifecycle
from botobs.config import seconds
from botobs.events import RunEnded, RunStarted, TailRepaired, UncleanEnd
from botobs.money.migrating import migrate
from botobs.report import Report
from botobs.rooms import Rooms
from botobs.streams.earlier import EarlierRuns

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from botobs.config import Settings
    from botobs.parts import Attached, Parts

__all__ = ["Run"]

_FLUSH_S = 5.0


class Run(Rooms):
    """`flush`, `attach`, `shutdown`, and what happens at a fork. A context manager: leaving it shuts it down."""

    def __init__(self, settings: Settings, parts: Parts, undo: contextlib.ExitStack) -> None:
        self._ending = threading.Lock()
        self._ender = 0  # the thread that ends it
        self._over = None  # what came of it
        super().__init__(settings, parts, undo)
        self._began_ns = self._own.now()  # in a backtest the clock's own time

    # -- the beginning -----------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Let the background work begin."""
        if self.settings.mode == "live":
            self._overhead.calibrate()
            self._drainer.start()
            self._store.on_pressure = self._drainer.wake

    def _begin(self) -> None:
        """Let every room begin: from here on they hear of each other and of the bot."""
        settings, now = self.settings, self._clock.time_ns()
        self._money.begin()
        if self._redis is not None:
            self._redis.start()
        if self._backups is not None:
            self._backups.begin()
        if settings.migrate_csv is not None:
            migrate(self._money, settings.migrate_csv, publish=self.bus.publish, relieve=self.flush, faults=self.faults)
        self._own.on_price = self._money.prices.tick
        self._safety.begin()
        self._money.on_equity, self._money.desk.told = self._safety.equity, self._safety.filled
        self._money.prices.unknown = self._safety.unknown_equity
        self._safety.funding.on_rate = self._money.funding.told
        self._money.on_reject, self._money.on_time = self._safety.kill_switch.rejected, self._safety.chore
        self._insight.begin(None if self.data_dir is None else EarlierRuns(self.data_dir, self.faults))
        self._safety.kill_switch.hurry = self._drainer.stand_aside
        self._own.guard = self._admit
        self._own.on_failure = self._safety.kill_switch.failed
        self._own.on_decided = self._safety.decided if settings.mode == "backtest" else self._safety.watchdogs.decided
        self._say(now)

    def _say(self, now: int) -> None:
        """Say that it runs, and what was found."""
        settings = self.settings
        self.bus.publish(
            RunStarted(
                ts_ns=now, pid=self._pid(), mode=settings.mode, bot_version=settings.bot_version,
                botobs_version=botobs.__version__,
            )
        )  # fmt: skip
        previous = self.previous_run
        if previous is not None and previous.unclean:
            self.bus.publish(
                UncleanEnd(
                    ts_ns=now, run_id=previous.run_id or "unknown", pid=previous.pid, started=previous.started,
                    last_seen=previous.last_seen,
                )
            )  # fmt: skip
            self.faults.say(
                "start", "unclean end", f"the run before ({previous.run_id}, pid {previous.pid}) did not end cleanly; "
                f"last seen {previous.last_seen}",
            )  # fmt: skip
        for repair in self._store.repairs:
            self.bus.publish(
                TailRepaired(
                    ts_ns=now, tail_of=repair.stream, bytes_set_aside=repair.bytes,
                    where=str(repair.where),
                )
            )  # fmt: skip
        for warning in settings.warnings:
            self.faults.say("config", warning, warning)

    # -- in between and the end --------------------------------------------------------------------------------------

    def flush(self, timeout: float = _FLUSH_S) -> Report:
        """Write what waits to disk and send what waits to the collector, for at most `timeout` seconds.

        A record that a true `delivered` covers survives the process's death.

        Returns:
            What went, what waits, and what was lost since the start.
        """
        begun = time.monotonic()
        if self._over is not None:
            return self._over
        try:
            with lifecycle.finishing():
                return self._delivery.report(begun, done=self._delivery.flush(begun + _timeout(timeout)))
        except Exception as error:
            self.faults.error("flush", error)
            return Report(delivered=False, took_s=time.monotonic() - begun)

    def attach(self, part: Attached) -> bool:
        """Let `part` be flushed, closed and abandoned with this observer; whether it still runs."""
        with self._ending:
            if self._over is None:
                self._delivery.attach(part)
        return self._over is None

    def shutdown(self, timeout: float = _FLUSH_S) -> Report:
        """End: deliver what waits within `timeout` seconds, close everything, give the data directory back.

        Happens by itself at exit and on SIGTERM. A second call gives the first one's report.
        """
        return self.end(timeout, how="shutdown")

    def end(self, timeout: float = _FLUSH_S, *, how: str = "shutdown") -> Report:
        """As `shutdown`; `how` is written into the run's last record."""
        begun = time.monotonic()
        deadline = begun + _timeout(timeout)
        if self._ender == threading.get_ident():  # a signal handler, in the middle of it
            return Report(delivered=False, took_s=0.0)
        with lifecycle.finishing():
            if self._over is None and self._ending.acquire(timeout=max(deadline - time.monotonic(), 0.0)):
                self._ender = threading.get_ident()
                try:
                    if self._over is None:
                        self._over = self._ended(begun, deadline, how)
                finally:
                    self._ender = 0
                    self._ending.release()
            over = self._over
            return Report(delivered=False, took_s=time.monotonic() - begun) if over is None else over

    def _ended(self, begun: float, deadline: float, how: str) -> Report:
        lifecycle.stop(self._own)
        done = False
        try:
            self.bus.publish(
                RunEnded(
                    ts_ns=self._clock.time_ns(), pid=self._pid(), how=how,
                    ran_s=round((self._own.now() - self._began_ns) / 1e9, 3), dropped=dict(self.faults.drops) or None,
                )
            )  # fmt: skip
            self._delivery.write(deadline)  # at once: a subscriber may hang till the deadline
        except Exception as error:  # the rest of the end must come whatever happens
            self._counted("shutdown", error)
        else:
            done = True
        self._tried(self._insight.explainability.close, deadline)  # while subscribers still hear of it
        self._drainer.close(deadline)
        done = self._delivery.close(deadline) and done
        self._release(deadline)
        report = self._delivery.report(begun, done=done)
        if not report.delivered:  # whoever was ended by a signal or an exit sees no report
            later = "; pending alerts go out at the next start" if report.alerts.pending else ""
            self.faults.say("shutdown", "report", f"the run ended before everything was delivered: {report}{later}")
        lifecycle.leave(self._own)
        return report

    def _release(self, deadline: float) -> None:
        """Give back what nothing has to go through any more."""
        if self.endpoint is not None:
            self._tried(self.endpoint.close, deadline)
        self._tried(self._metrics.close, max(deadline - time.monotonic(), 0.0))
        if self._data_dir is not None:
            self._tried(functools.partial(self._data_dir.release, clean=True))

    def _tried(self, close: Callable[..., object], *args: float) -> None:
        try:
            close(*args)
        except Exception as error:
            self._counted("shutdown", error)

    def _counted(self, where: str, error: Exception) -> None:
        with contextlib.suppress(Exception):  # strict mode raises; here the work has to go on
            self.faults.error(where, error)

    def abandon(self) -> None:
        """In a forked child: let go of everything that is the parent's. The verbs do nothing from here on."""
        self._over = Report(delivered=False, took_s=0.0)
        self._ending, self._ender = threading.Lock(), 0
        self.faults.abandon()
        for part in (self._delivery, self.endpoint, self._data_dir):
            if part is not None:
                with contextlib.suppress(Exception):  # a child that cannot tidy up must still run
                    part.abandon()

    def _pid(self) -> int | None:
        # a backtest leaves the same records whichever process runs it
        return None if self.settings.mode == "backtest" else os.getpid()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()


def _timeout(value: Any) -> float:
    """A deadline that a bot may have given in any way; nonsense counts as the usual one."""
    try:
        wait = seconds(value)
    except Exception:
        return _FLUSH_S
    return min(max(wait, 0.0), 3600.0) if math.isfinite(wait) else _FLUSH_S
