"""The loop: keep the lease, take a batch, build, save, show."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from botobs.clock import SystemClock
from botobs.errors import BotobsError
from botobs.metricpack.source import SourceTrouble
from botobs.metricpack.store import Fenced, StoreTrouble
from botobs.metricpack.summary import summary_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botobs.clock import Clock
    from botobs.faults import Faults
    from botobs.metricpack.builder import Builder, Changes
    from botobs.metricpack.page import Page
    from botobs.metricpack.source import Batch, Source, Start
    from botobs.metricpack.store import Store

__all__ = ["PackError", "Service"]

_SOURCE: Final = "source"  # the key under which the state says which stream it is of
_LONGEST_WAIT_S: Final = 0.2
_LONGEST_END_S: Final = 1.0
_BACKOFF_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0)
_FAST_ENOUGH: Final = 4  # beats in the time after which another process takes over


class PackError(BotobsError):
    """The pack cannot run with what it found; the message says what to do."""


class _Unfinished(Exception):  # noqa: N818 - the way out of a batch
    """It was told to stop, and the batch in work takes too long."""


class Service:
    """Runs the pack, until it is told to stop.

    Args:
        source: Where events come from.
        store: Where the state is kept.
        make: Makes a builder that goes on from a saved state.
        page: Shows what is saved.
        faults: Where to say what went wrong.
        start: Where to begin.
        takeover_s: After how long without a beat another process takes over.
        most: How many events are built and saved at once.
        clock: Tells the time, for the lag alone.
        owner: What this process is called; no other one is.
        told: Called after each step with the batch that was saved.
        part: Which part of the stream is built here, in words; it belongs to the name under which the state is saved.

    Attributes:
        role: `starting`, `active`, `standby` or `stopped`.
        trouble: What does not work now, in words; `None`: everything does.
        gaps: How often a part of the stream was missing.
        builder: What is being built; `None` while another process works.
        summary: What everything came to, once it has ended.
    """

    def __init__(
        self,
        source: Source,
        store: Store,
        make: Callable[[Mapping[str, bytes]], Builder],
        page: Page,
        faults: Faults,
        *,
        start: Start = "checkpoint",
        takeover_s: float = 5.0,
        most: int = 1_000,
        clock: Clock | None = None,
        owner: str | None = None,
        told: Callable[[Batch], object] | None = None,
        part: str = "",
    ) -> None:
        self.role = "starting"
        self.trouble: str | None = None
        self.gaps = 0
        self.last_gap: str | None = None
        self.builder: Builder | None = None
        self.position: str | None = None
        self.summary: dict[str, Any] = {}
        self._source = source
        self._store = store
        self._make = make
        self._page = page
        self._faults = faults
        self._start: Start = start
        self._takeover_s = takeover_s
        self._most = most
        self._clock = clock or SystemClock()
        self._owner = owner or f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._told = told
        self._name = f"{source.name}{part}"
        self._stop = threading.Event()
        self._fence: int | None = None
        self._beat_at = 0.0
        self._unsaved: tuple[Batch, Changes] | None = None
        self._failures = 0
        self._waiting_since: int | None = None
        self._lag_s: float | None = None

    # --- from outside

    def stop(self) -> None:
        """End after the batch in work; may be called from a signal handler or another thread."""
        self._stop.set()

    def lag_s(self) -> float | None:
        """How long the event in work has waited, or the last one did; `None`: there was none."""
        since = self._waiting_since
        return self._lag_s if since is None else max(self._clock.time_ns() - since, 0) / 1e9

    def health(self) -> dict[str, Any]:
        """How it is, for `/health`."""
        builder = self.builder
        found: dict[str, Any] = {
            "status": "ok" if self.trouble is None and self.role in ("active", "standby") else "trouble",
            "role": self.role, "source": self._name, "store": self._store.name, "position": self.position,
            "lag_s": self.lag_s(), "gaps": self.gaps,
        }  # fmt: skip
        if self.last_gap is not None:
            found["last_gap"] = self.last_gap
        if self.trouble is not None:
            found["trouble"] = self.trouble
        if builder is not None:
            found["open_trades"] = builder.open_trades
            found["events"] = builder.memory.counts.get("events", 0)
            found["unreadable"] = builder.memory.counts.get("unreadable", 0)
        return found

    # --- the loop

    def run(self, *, once: bool = False) -> None:
        """Work until `stop`.

        Args:
            once: End when there is nothing more to read.

        Raises:
            PackError: The saved state is of another stream, or damaged.
        """
        try:
            while not self._stop.is_set():
                if self._step() and once:
                    return
        except _Unfinished:
            return
        finally:
            self.summary = {"source": self._name, **summary_of(self.builder)}
            self.role = "stopped"
            self._source.close()
            self._store.release(self._owner)
            self._store.close()

    def _step(self) -> bool:
        """One turn; whether everything that is there is saved."""
        try:
            if not self._works():
                self._stop.wait(min(self._takeover_s / 10, 0.5))
                return False
            done = self._build()
        except Fenced as error:
            self._lose(str(error))
            return False
        except (SourceTrouble, StoreTrouble) as error:
            self._fail(error)
            return False
        except (PackError, _Unfinished):
            raise
        except Exception as error:  # a bug: what is saved is right, so begin from there
            self._faults.error("metricpack", error)
            self._drop()
            self._fail(error)
            return False
        self._failures, self.trouble = 0, None
        return done

    def _works(self) -> bool:
        """Whether this process is the one that works; keeps the lease, or waits for it."""
        now = time.monotonic()
        if self.builder is None or now - self._beat_at >= self._takeover_s / _FAST_ENOUGH:
            fence = self._store.lease(self._owner, self._takeover_s)
            self._beat_at = now
            if fence is None:
                if self._fence is not None:
                    self._lose("another process has taken over")
                self.role, self.trouble = "standby", None
                return False
            if fence != self._fence or self.builder is None:
                self._begin(fence)
        return True

    def beat(self) -> None:
        """Keep the lease while something takes long; never raises. If it is gone, the next commit says so."""
        now = time.monotonic()
        if self._fence is None or now - self._beat_at < self._takeover_s / _FAST_ENOUGH:
            return
        self._beat_at = now
        try:
            self._store.lease(self._owner, self._takeover_s)
        except (StoreTrouble, Fenced):
            return

    def _begin(self, fence: int) -> None:
        """Go on from what is saved."""
        self._drop()
        if self._start != "checkpoint":
            self._store.clear(fence)
        state = self._store.load(fence)
        known = state.values.get(_SOURCE)
        if known is not None and known.decode("utf-8", "replace") != self._name:
            raise PackError(
                f"the state in {self._store.name} is of {known.decode('utf-8', 'replace')}, not of "
                f"{self._name}; --state (with Redis: --keys) says another place, --from beginning forgets it"
            )
        try:
            builder = self._make({key: value for key, value in state.values.items() if key != _SOURCE})
        except ValueError as error:
            raise PackError(f"{self._store.name}: {error}; --from beginning builds it anew") from error
        self._source.begin(state.position, end=self._start == "end" and state.position is None)
        self._start = "checkpoint" if self._start == "beginning" or state.position is not None else self._start
        self._fence, self.position, self.builder = fence, state.position, builder
        self._page.show_all(builder)
        self.role = "active"

    def _build(self) -> bool:
        """Take a batch and save what it makes; whether there was nothing more."""
        assert self.builder is not None
        if self._unsaved is None:
            batch = self._source.take(self._most, min(_LONGEST_WAIT_S, self._takeover_s / _FAST_ENOUGH))
            if batch.lost is not None:
                self.gaps += 1
                self.last_gap = batch.lost
                self._faults.say("metricpack", "gap", f"metric pack: {batch.lost}")
            if not batch.events and batch.position == self.position:
                return not batch.behind
            self._take(batch)
        self._save()
        return False

    def _take(self, batch: Batch) -> None:
        builder = self.builder
        assert builder is not None
        if batch.events:
            self._waiting_since = batch.events[0].at_ns or None
        begun = time.monotonic()
        for raw in batch.events:
            builder.take(raw)
            if self._stop.is_set() and time.monotonic() - begun > _LONGEST_END_S:
                raise _Unfinished  # bars are slow to come: what was not saved is built again next time
        changes = builder.changes()
        if self.position is None:
            changes.values[_SOURCE] = self._name.encode()
        self._unsaved = (batch, changes)

    def _save(self) -> None:
        """Commit what was built; if that fails, the same is tried again before anything else is taken."""
        builder, fence, unsaved = self.builder, self._fence, self._unsaved
        assert builder is not None
        assert fence is not None
        assert unsaved is not None
        batch, changes = unsaved
        position = batch.position
        self._store.commit(changes.values, position, fence)
        self._unsaved, self.position, self._start = None, position, "checkpoint"
        since, self._waiting_since = self._waiting_since, None
        if since is not None:
            self._lag_s = max(self._clock.time_ns() - since, 0) / 1e9
        self._page.show(builder, changes)
        if position is not None:
            self._source.committed(position)
        if self._told is not None:
            self._told(batch)

    # --- when something is wrong

    def _fail(self, error: Exception) -> None:
        """Say what does not work, and wait a little longer each time."""
        self.trouble = str(error)[:500]
        self._faults.say("metricpack", type(error).__name__, f"metric pack: {self.trouble}")
        wait = _BACKOFF_S[min(self._failures, len(_BACKOFF_S) - 1)]
        self._failures += 1
        self._stop.wait(wait)

    def _lose(self, why: str) -> None:
        """Stand by: whatever was built and not saved, the other one builds."""
        if self.role == "active":
            self._faults.say("metricpack", "lost the lease", f"metric pack: {why}; this process stands by")
        self._drop()
        self.role = "standby"

    def _drop(self) -> None:
        self._fence, self.builder, self._unsaved = None, None, None
        self._waiting_since = self._lag_s = None
        self._page.clear()
