"""Keeps the history true and lasting: the checkpoint, what came since, and making it anew where it must be."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from botobs.accounting.numbers import exact
from botobs.performance import anew, checkpoint
from botobs.performance.closed import Closed
from botobs.performance.history import KEEP, History
from botobs.performance.sessions import SessionCalendar
from botobs.streams.reader import StreamReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from botobs.faults import Faults

__all__ = ["STREAM", "Keeper"]

STREAM = "trade_lifecycle"
_SAVE_S = 60.0
_AGAIN_S = 60.0  # after a rebuild that failed
_KEEP_WITHOUT_DISK = 20_000
_TAIL = 1_024  # records that are looked at after a restart in any case
_TAIL_MOST = 65_536
_SEAM = 64  # so many known records one after the other, and everything before them is known
_MOST_LATE = 100_000


class Keeper:
    """Holds the `History` of a data directory.

    Args:
        root: The data directory; `None`: nothing lasts.
        timezone: Whose days.
        lock: Held by whoever reads or changes the history.
        faults: Gets what fails.
        window: How many of the newest trades of each strategy have to be at hand.
        background: Make it anew on a thread; else in `settle`.
        keep: How many trades are held one by one.
        read_only: Write nothing.

    Attributes:
        history: To be read and changed under the lock.
        missed: The targets that were missed when the checkpoint was written.
        read_only: Nothing is written.
        missed_now: Tells those that are missed now.
    """

    def __init__(
        self,
        root: Path | None,
        *,
        timezone: str,
        lock: threading.RLock,
        faults: Faults,
        window: int,
        background: bool,
        keep: int | None,
        read_only: bool,
    ) -> None:
        self.missed: frozenset[str] = frozenset()
        self.missed_now: Callable[[], set[str]] = set
        self._root = root
        self._timezone = timezone
        self._lock = lock
        self._faults = faults
        self._window = window
        self._background = background
        usual = max(_KEEP_WITHOUT_DISK if root is None else KEEP, 4 * window)
        self._keep = usual if keep is None else max(keep, window)
        self.read_only = read_only or root is None
        self._looks = read_only  # somebody who looks from outside: what cannot be read is no answer
        self._calendar = SessionCalendar(timezone)
        self._late: dict[str, Closed] = {}  # what came too late for the history
        self._meanwhile: list[Closed] | None = None  # what came while it is made anew
        self._wanted = False
        self._thread: threading.Thread | None = None
        self._again_at = 0.0
        self._ended = False
        self._changed = False
        self._save_at = time.monotonic() + _SAVE_S
        self._saving = threading.Lock()
        self._making = threading.Lock()
        self.history = self._fresh()
        if root is not None:
            self._open(root)

    # --- in

    @property
    def unsettled(self) -> bool:
        """Whether something is not in the figures yet."""
        return self._wanted or self._meanwhile is not None

    def take(self, trade: Closed) -> bool:
        """Take in what just happened, under the lock; whether it is news."""
        news = self._take(trade)
        self._changed = self._changed or news
        if self.unsettled and self._background:
            self._start()
        return news

    def _take(self, trade: Closed) -> bool:
        applied = self.history.apply(trade)
        if applied == "too old":
            known = self._late.get(trade.trade_id)
            if known is not None and known.revision >= trade.revision:
                return False
            self._came_late(trade)
        if applied != "known" and self._meanwhile is not None:
            self._meanwhile.append(trade)
        if self.history.short:
            self._wanted = self._wanted or self._root is not None
        return applied != "known"

    def _came_late(self, trade: Closed) -> None:
        if self._root is None:
            self._faults.dropped("performance")  # without a disk there is nothing to make it anew from
            return
        self._wanted = True
        if len(self._late) < _MOST_LATE:  # beyond, the stream alone has to do
            self._late[trade.trade_id] = trade

    def read_record(self, record: Mapping[str, Any]) -> Closed | None:
        """What a record says; one that says too little is left out."""
        try:
            return Closed.of_record(record)
        except Exception as error:
            self._faults.say("performance", "record", f"a record of {STREAM!r} is left out: {error}"[:300])
            return None

    def recorded(self) -> Iterator[Closed]:
        """Every trade in its latest revision, from the disk; one may come twice."""
        with self._lock:
            also = {**self.history.held, **self._late}
        return anew.current(self._stream, also)

    def _stream(self) -> Iterator[Closed]:
        # all of it: a record's time is that of the exit, and says nothing of when it was written
        if self._root is None:
            return
        for record in StreamReader(self._root).read(STREAM):
            trade = self.read_record(record)
            if trade is not None:
                yield trade

    # --- start

    def _open(self, root: Path) -> None:
        try:
            found = checkpoint.read(
                self._path(root), self._calendar, timezone=self._timezone, keep=self._keep, window=self._window
            )
            if found is None:
                self._wanted = bool(StreamReader(root).latest(STREAM, 1))
            else:
                self.history, self.missed = found.history, found.missed
                self._wanted = found.unsettled
                self._read_tail(root)
        except Exception as error:
            if self._looks and isinstance(error, OSError):
                raise
            self._wanted = True
            self._faults.error("performance.open", error)
        if self._wanted and self._background:
            self._start()

    @exact
    def _read_tail(self, root: Path) -> None:
        """Take in what was recorded after the checkpoint."""
        reader = StreamReader(root)
        size = _TAIL
        while True:
            records = reader.latest(STREAM, size)
            trades = [trade for trade in map(self.read_record, records) if trade is not None]
            if len(records) < size or all(map(self.history.knows, trades[:_SEAM])):
                break
            if size >= _TAIL_MOST:  # that is no restart after a crash
                self._wanted = True
                return
            size *= 4
        for trade in trades:
            self._changed = self._take(trade) or self._changed

    # --- anew

    def settle(self) -> None:
        """Where no thread does it: make the history anew now, if it has to be."""
        while self._wanted and not self._background and time.monotonic() >= self._again_at:
            self.make_anew()

    def make_anew(self, trades: list[Closed] | None = None, *, forget: bool = False) -> None:
        """Make the history anew, of the stream or of `trades`.

        Args:
            trades: Instead of the stream.
            forget: What is known and not recorded does not count.
        """
        self._try(self._stream if trades is None else (lambda: trades), forget=forget)

    def _try(self, source: Callable[[], Iterable[Closed]], *, forget: bool = False) -> None:
        try:
            self._make_anew(source, forget=forget)
        except Exception as error:
            if self._looks and isinstance(error, OSError):
                raise
            self._again_at = time.monotonic() + _AGAIN_S
            if not isinstance(error, anew.Stopped):
                self._faults.error("performance.rebuild", error)

    @exact
    def _make_anew(self, source: Callable[[], Iterable[Closed]], *, forget: bool) -> None:
        with self._making:
            self._made_anew(source, forget=forget)

    def _made_anew(self, source: Callable[[], Iterable[Closed]], *, forget: bool) -> None:
        with self._lock:
            self._wanted = False
            self._meanwhile = []
            names = [] if forget else list(self.history.names)
            late = {} if forget else dict(self._late)
            also = {} if forget else {**self.history.held, **late}
            self._late = {}
        try:
            found = anew.made_anew(source, lambda: self._fresh(names), also)
        except BaseException:
            with self._lock:
                self._late = {**late, **self._late}
                self._meanwhile = None
                self._wanted = True
            raise
        with self._lock:
            self._late, self._wanted = {}, False
            meanwhile, self._meanwhile = self._meanwhile or [], None
            undone = sum(trade.undone for trade in (*late.values(), *meanwhile))
            if not forget and found.count(None) + undone < self.history.count(None):
                if late:
                    self._faults.dropped("performance", len(late))
                self._faults.say(
                    "performance",
                    "rebuild",
                    "an old trade changed, but the stream no longer has all trades: the figures stay as they are",
                )
                self.history.short = False
                return
            self.history = found
            for trade in meanwhile:
                self._take(trade)
            self._changed = True

    def _start(self) -> None:
        """Under the lock, or before anybody else knows of this."""
        if self._thread is not None or self._ended or time.monotonic() < self._again_at or not self._wanted:
            return
        self._thread = threading.Thread(target=self._run, name="botobs-performance", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # no threads to be had, or the interpreter is going down
            self._thread = None
            self._again_at = time.monotonic() + _AGAIN_S
            self._faults.say("performance", "thread", f"figures are not counted anew: {error}")

    def _run(self) -> None:
        try:
            while self._wanted and not self._ended and time.monotonic() >= self._again_at:
                self._try(lambda: anew.unhurried(self._stream(), lambda: self._ended))
        except Exception:  # strict mode raises what was counted
            return
        finally:
            with self._lock:
                self._thread = None

    def _fresh(self, names: Iterable[str] = ()) -> History:
        return History(self._calendar, keep=self._keep, window=self._window, names=names)

    # --- life

    def chore(self) -> None:
        """Save when it is time, and begin again what failed."""
        if self._background and self._wanted:
            with self._lock:
                self._start()
        if self._changed and time.monotonic() >= self._save_at:
            began = time.monotonic()
            self.save()
            now = time.monotonic()
            self._save_at = now + max(_SAVE_S, 100 * (now - began))

    @exact
    def save(self) -> bool:
        """Write the checkpoint, if anything changed; whether it is there."""
        if self.read_only or self._root is None:
            return True
        with self._saving:
            with self._lock:
                if not self._changed:
                    return True
                self._changed = False
                data = checkpoint.encode(
                    self.history,
                    timezone=self._timezone,
                    missed=self.missed_now(),
                    unsettled=self.unsettled,
                )
            try:
                checkpoint.write(self._path(self._root), data)
            except Exception as error:
                self._changed = True
                self._faults.error("performance.checkpoint", error)
                return False
        return True

    def close(self, deadline: float) -> bool:
        """End; whether nothing goes on."""
        self._ended = True
        thread = self._thread
        if thread is None:
            return True
        thread.join(max(0.0, deadline - time.monotonic()))
        return not thread.is_alive()

    def abandon(self, lock: threading.RLock) -> None:
        """In a forked child: write nothing, wait for nobody."""
        self._lock, self._saving, self._making = lock, threading.Lock(), threading.Lock()
        self._ended = self.read_only = True
        self._thread, self._meanwhile = None, None

    def _path(self, root: Path) -> Path:
        return root / "state" / "performance.json"
