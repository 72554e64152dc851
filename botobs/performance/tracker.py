"""How the strategies do: live as trades close, the same after a restart, the same in another process."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botobs.accounting.numbers import ZERO, exact, number
from botobs.clock import SystemClock
from botobs.events.money import TradeClosed, TradeOpened
from botobs.faults import Faults
from botobs.performance import saved
from botobs.performance.closed import Closed
from botobs.performance.figures import Figures
from botobs.performance.keeper import Keeper
from botobs.performance.listeners import Listeners
from botobs.performance.targets import Targets, TargetWatch
from botobs.performance.windows import Window

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping
    from decimal import Decimal

    from botobs.clock import Clock
    from botobs.events.base import Event
    from botobs.performance.history import History, Span
    from botobs.performance.store import Place
    from botobs.performance.summary import Summary

__all__ = ["Performance"]

_SAVE_S = 300.0
_KINDS = ("day", "week", "month")


class Performance:
    """The statistics of closed trades, by strategy and session.

    Any thread may ask and tell. Nothing here raises into the bot, apart from `save` and `summaries`, which say why
    they could not.

    Args:
        data_dir: Where the bot keeps its data; `None`: nothing is kept.
        timezone: Whose days, weeks and months.
        clock: What spans such as `7d` are counted back from.
        faults: Gets what fails.
        rolling_window: How many trades `summary()` is about, and targets unless they say otherwise.
        starting_equity: What `peak_equity` stands on.
        targets: What is to be reached.
        publish: Gets an event when a target is missed, and when it is reached again.
        bot: Its name, for what is saved.
        background: Make a history anew on a thread; else when somebody asks, for backtests and command lines.
        store: Where summaries are saved, a folder or a URL that fsspec knows; `None`: `logs/performance/`.
        keep: How many trades are held one by one.

    Example:
        >>> from botobs.performance import Performance
        >>> performance = Performance(None)
        >>> performance.rebuild([{"trade_id": "t1", "exit_ts": "2026-11-21T10:00:00Z", "net_pnl_usd": "12.50"}])
        1
        >>> performance.summary("all").net
        Decimal('12.50')
    """

    def __init__(
        self,
        data_dir: str | os.PathLike[str] | None,
        *,
        timezone: str = "UTC",
        clock: Clock | None = None,
        faults: Faults | None = None,
        rolling_window: int = 20,
        starting_equity: Decimal | None = None,
        targets: Targets | None = None,
        publish: Callable[[Event], object] | None = None,
        bot: str | None = None,
        background: bool = True,
        keep: int | None = None,
        store: str | None = None,
        _read_only: bool = False,
    ) -> None:
        self.rolling_window = max(1, rolling_window)
        self.targets = Targets() if targets is None else targets
        self.timezone = timezone
        self._root = None if data_dir is None else Path(data_dir)
        self._clock = SystemClock() if clock is None else clock
        self._faults = Faults() if faults is None else faults
        self._starting = None if starting_equity is None else number(starting_equity)
        self._publish = publish
        self._bot = bot
        self._opened = Listeners("performance.on_open", self._faults)
        self._closed = Listeners("performance.on_close", self._faults)
        self._lock = threading.RLock()  # re-entrant: a signal handler may ask while its own thread is in here
        self._store = store
        self._saving: threading.Thread | None = None  # on its way to a store elsewhere, which may take its time
        self._saved: dict[str, dict[str, bytes]] = {}
        self._save_at = time.monotonic() + _SAVE_S
        self._keeper = Keeper(
            self._root,
            timezone=timezone,
            lock=self._lock,
            faults=self._faults,
            window=max(self.rolling_window, self.targets.most),
            background=background,
            keep=keep,
            read_only=_read_only,
        )
        self._watch = TargetWatch(self.targets, self._keeper.missed)
        self._keeper.missed_now = lambda: self._watch.missed

    @classmethod
    def load(
        cls,
        data_dir: str | os.PathLike[str],
        *,
        timezone: str = "UTC",
        rolling_window: int = 20,
        starting_equity: Decimal | None = None,
        clock: Clock | None = None,
    ) -> Performance:
        """What the bot's directory tells, also while the bot runs; nothing there is changed, and nothing grows.

        Args:
            data_dir: Where the bot keeps its data.
            timezone: Whose days; another one than the bot's takes reading all trades.
            rolling_window: How many trades `summary()` is about.
            starting_equity: What `peak_equity` stands on.
            clock: What spans such as `7d` are counted back from.

        Raises:
            OSError: It cannot be read, or not by whoever asks.
        """
        return cls(
            data_dir,
            timezone=timezone,
            rolling_window=rolling_window,
            starting_equity=starting_equity,
            clock=clock,
            background=False,
            _read_only=True,
        )

    # --- in

    def on_event(self, event: Event) -> None:
        """Take in a `TradeOpened` or `TradeClosed`; for the bus's background lane."""
        try:
            if isinstance(event, TradeClosed):
                self._close(event)
            elif isinstance(event, TradeOpened):
                self._opened.tell(event)
        except Exception as error:
            self._faults.error("performance", error)

    def on_open(self, fn: Callable[[TradeOpened], object]) -> Callable[[], None]:
        """Call `fn` with the event whenever a trade is opened; what is returned ends that.

        Raises:
            TypeError: It cannot be called.
        """
        return self._opened.add(fn)

    def on_close(self, fn: Callable[[Mapping[str, Any]], object]) -> Callable[[], None]:
        """Call `fn` with the record whenever a trade is closed, or changes afterwards (`revision` above 1).

        Raises:
            TypeError: It cannot be called.
        """
        return self._closed.add(fn)

    def rebuild(self, records: Iterable[Mapping[str, Any]] | None = None) -> int:
        """Forget everything and count anew; how many trades there are then.

        Args:
            records: Trades as `trade_lifecycle` has them, in any order; `None`: those of the bot's own stream.
        """
        if records is None:
            self._keeper.make_anew(forget=True)
        else:
            # only what counts is held of each
            self._keeper.make_anew([trade for trade in map(self._keeper.read_record, records) if trade], forget=True)
        with self._lock:
            return self._keeper.history.count(None)

    @exact
    def _close(self, event: TradeClosed) -> None:
        trade = Closed.of_record(event.record, trade_id=event.trade_id, revision=event.revision, undone=event.undone)
        with self._lock:
            new = self._keeper.take(trade)
            alerts = self._watch.look(self._last, event.ts_ns) if new and self.targets.all else []
        if new:
            self._closed.tell(_told(event))
        for alert in alerts:
            if self._publish is not None:
                self._publish(alert)

    # --- out

    def __repr__(self) -> str:
        return f"<Performance of {', '.join(map(repr, self.strategies())) or 'no closed trade yet'}>"

    def summary(self, window: object = None, strategy: str | None = None, *, end: object = None) -> Summary:
        """The statistics of a window of trades.

        Args:
            window: `None`: the last `rolling_window` trades; a number of trades (`20`), a span of time (`"7d"`), a
                time since when, or `"all"`.
            strategy: Whose; `None`: everybody's.
            end: A time; only trades that were closed before it count.

        What it cannot understand gives a summary without trades that says so in `reasons`.
        """
        try:
            chosen = self._window(window, end)
        except ValueError as error:
            self._faults.say("performance", "window", f"performance: {error}")
            return Figures().summary(strategy=strategy, window=str(window)[:60], reasons={"window": str(error)})
        return self._summary(chosen, strategy)

    def by_strategy(self, window: object = "all", *, end: object = None) -> dict[str, Summary]:
        """The same for each strategy, by name."""
        self._keeper.settle()
        with self._lock:
            names = self._keeper.history.strategies()
        return {name: self.summary(window, name, end=end) for name in names}

    @exact
    def sessions(
        self, kind: str = "day", strategy: str | None = None, *, last: int | None = None, since: str = ""
    ) -> list[Summary]:
        """The statistics of each day, week or month in which trades were closed, the oldest first.

        Args:
            kind: `day`, `week` or `month`.
            strategy: Whose; `None`: everybody's.
            last: The last so many only.
            since: Only those that end after it (RFC 3339).
        """
        if kind not in _KINDS:
            self._faults.say("performance", "kind", f"sessions({str(kind)[:60]!r}); it takes {', '.join(_KINDS)}")
            return []
        self._keeper.settle()
        found: list[Summary] = []
        with self._lock:
            history = self._keeper.history
            whole = history.figures(history.overall, strategy)
            before = ZERO if whole is None else whole.net
            for _, span in sorted(history.spans[kind].items(), reverse=True):
                if (last is not None and len(found) >= last) or (span.session and span.session.end <= since):
                    break
                figures = history.figures(span, strategy)
                if figures is not None and span.session is not None:
                    before -= figures.net
                    found.append(self._told(figures, before, strategy=strategy, window=span.session.key, span=span))
        return found[::-1]

    def strategies(self) -> list[str]:
        """The strategies that have closed trades, by name."""
        self._keeper.settle()
        with self._lock:
            return self._keeper.history.strategies()

    @property
    def rebuilding(self) -> bool:
        """Whether an old trade changed and the figures that it concerns are being counted anew."""
        return self._keeper.unsettled

    # --- summaries in a folder or an object store

    def save(self, url: str | os.PathLike[str] | None = None) -> int:
        """Save every session's summaries; how many objects were written: those that changed since the last time.

        Args:
            url: A folder, or a URL that fsspec knows (with the extra `fsspec`); `None`: `logs/performance/`.

        Raises:
            BotobsError: They could not be saved; the message says why.
        """
        return self._save(url, "")

    @staticmethod
    def summaries(
        url: str | os.PathLike[str] | Place, kind: str | None = None, strategy: str | None = None
    ) -> list[Summary]:
        """What was saved: of each strategy and of all, all time and each session.

        Args:
            url: Where, as given to `save`; the default folder is `logs/performance` in the data directory.
            kind: `day`, `week`, `month`, `all`; `None`: everything.
            strategy: Whose; `None`: everybody's, each strategy's and all together.

        Raises:
            BotobsError: They could not be read; the message says why.
        """
        return saved.load(url, kind, strategy)

    # --- life

    def chore(self) -> None:
        """What is due from time to time: the checkpoint once a minute, summaries every five. Call it each second."""
        try:
            self._keeper.chore()
            if time.monotonic() >= self._save_at:
                self._save_at = time.monotonic() + _SAVE_S
                self._save_news()
        except Exception as error:
            self._faults.error("performance.save", error)

    def flush(self, deadline: float) -> bool:
        """Write the checkpoint, and the summaries where there is time."""
        try:
            done = self._keeper.save()
            if time.monotonic() < deadline:
                self._save_news()
            if self._saving is not None:
                self._saving.join(max(deadline - time.monotonic(), 0.0))
                done = not self._saving.is_alive() and done
        except Exception as error:
            self._faults.error("performance.save", error)
            return False
        return done

    def close(self, deadline: float) -> bool:
        """Flush, then end."""
        done = self.flush(deadline)
        return self._keeper.close(deadline) and done

    def abandon(self) -> None:
        """In a forked child: write nothing; the locks may be held by threads that are not there."""
        self._lock = threading.RLock()
        self._keeper.abandon(self._lock)
        self._saving = None
        self._opened.abandon()
        self._closed.abandon()
        self._publish = None

    # --- inside

    def _save_news(self) -> None:
        """Save the sessions that have changed, and those after them: they stand on other equity."""
        if self._keeper.read_only or (self._saving is not None and self._saving.is_alive()):
            return
        with self._lock:
            history = self._keeper.history
            since, history.touched = history.touched, None
        if since is None:
            return
        if self._store is None:
            self._save(None, since)
            return
        self._saving = threading.Thread(target=self._send, args=(since,), name="botobs-summaries", daemon=True)
        self._saving.start()

    def _send(self, since: str) -> None:
        try:
            self._save(self._store, since)
        except Exception as error:
            with self._lock:  # they go with the next ones
                history = self._keeper.history
                history.touched = since if history.touched is None else min(since, history.touched)
            with contextlib.suppress(Exception):  # strict mode raises what is counted here
                self._faults.error("performance.save", error)

    def _save(self, url: str | os.PathLike[str] | None, since: str) -> int:
        place, name = saved.place_of(url, self._root)
        with self._lock:
            known = self._saved.setdefault(name, {})
        return saved.save(place, saved.objects(self, since, bot=self._bot, now_ns=self._clock.time_ns()), known)

    def _window(self, window: object, end: object = None) -> Window:
        return Window.parse(window, end=end, now_ns=self._clock.time_ns(), rolling=self.rolling_window)

    @exact
    def _summary(self, window: Window, strategy: str | None) -> Summary:
        self._keeper.settle()
        with self._lock:
            history = self._keeper.history
            whole = history.figures(history.overall, strategy)
            total = ZERO if whole is None else whole.net
            if window.last is None and window.since is None and window.until is None:
                return self._told(whole or Figures(), ZERO, strategy=strategy, window=window.label)
            trades = _at_hand(history, window, strategy)
        if trades is None:
            trades = self._from_stream(window, strategy)
        counted = [trade for trade in trades if window.holds(trade.exit_ts)]
        if window.last is not None:
            counted = counted[-window.last :]
        figures = Figures.of(counted)
        first = counted[0] if counted else None
        after = sum((trade.net for trade in trades if first is None or trade >= first), ZERO)
        return self._told(figures, total - after, strategy=strategy, window=window.label)

    def _last(self, count: int, strategy: str | None) -> Summary:
        """The last so many trades, for targets; the lock is held, and what is not at hand is left out."""
        trades = self._keeper.history.last(count, strategy)
        return Figures.of(trades or ()).summary(strategy=strategy, window=f"last {count} trades")

    def _from_stream(self, window: Window, strategy: str | None) -> list[Closed]:
        """The trades that may be in the window and all later ones, read from the disk."""
        called, since = self._keeper.history.called, window.since or ""
        found = {
            trade.trade_id: trade
            for trade in self._keeper.recorded()
            if trade.exit_ts >= since and not trade.undone and strategy in (None, called(trade.strategy))
        }
        return sorted(found.values())

    def _told(
        self, figures: Figures, before: Decimal, *, strategy: str | None, window: str, span: Span | None = None
    ) -> Summary:
        reasons = {}
        if self._keeper.unsettled:
            reasons["trades"] = "a trade of long ago changed; what it concerns is being counted anew"
        return figures.summary(
            strategy=strategy,
            window=window,
            session=None if span is None else span.session,
            equity_before=None if self._starting is None else self._starting + before,
            reasons=reasons,
        )


def _at_hand(history: History, window: Window, strategy: str | None) -> list[Closed] | None:
    """The trades of the window and all later ones; `None`: they have to be read."""
    if window.last is not None and window.until is None:
        return history.last(window.last, strategy)
    return history.since(window.since, strategy)


def _told(event: TradeClosed) -> Mapping[str, Any]:
    """What listeners get: the record, with what the event says beside it."""
    return {"trade_id": event.trade_id, **event.record, "revision": event.revision, "undone": event.undone}
