"""Feeds and how long they may be silent: what goes silent is reconnected, and where that does not help it escalates.

A feed is announced by its first `heartbeat` or by `watch`. One that was only ever heard of through heartbeats may be
silent for the usual limit, or for several times its own usual interval if that is longer: a loop that turns every
five minutes is not broken. What `watch` says is taken as it is.

When a feed is silent for too long (`FeedSilent`), the bot's `on_stale` is called, again after a growing pause for as
long as nothing comes. `FeedAlarmed` (a `FeedStale`, which alerts) follows when the first attempt did not help, or at
once where there is nothing to call, and once more when many attempts did not help. Time is steady time: a clock that
is set makes nothing stale.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from botobs.config.values import period
from botobs.events.vitals import FeedAlarmed, FeedReconnect, FeedRecovered, FeedSilent
from botobs.trackers.given import word

from .reconnect import attempt, begin
from .silence import SilenceWatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from botobs.clock import Clock
    from botobs.events import Event
    from botobs.faults import Faults

__all__ = ["Feed", "Watchdogs"]

_S = 1_000_000_000
_MOST_FEEDS = 256
_STANDSTILL_NS = 10 * _S  # looks are a second apart
_BACKOFF_S = 5.0
_LONGEST_BACKOFF_S = 300.0
_ATTEMPT_S = 30.0
_LOST_AFTER = 5  # attempts
_SEVERAL = 4  # times its usual interval a feed that nobody declared may be silent
_running_loop = asyncio._get_running_loop  # noqa: SLF001  # the public one raises where none runs, at a microsecond's cost


class Feed:
    """One feed.

    Attributes:
        name: What the bot calls it.
        declared: `watch` was called for it.
        attempts: How often its reconnect was called during this silence.
        reconnects: How often its reconnect was called and came back without an error, since the start.
        alarmed: A person was told of this silence.
        lost: Many attempts did not help.
    """

    __slots__ = (
        "alarmed", "attempts", "beat_before", "busy", "declared", "last", "limit", "loop", "lost", "name", "next_try",
        "on_stale", "reconnects", "recovered", "silences", "silent_since", "usual",
    )  # fmt: skip

    def __init__(self, name: str, now: int, limit: int) -> None:
        self.name = name
        self.last = now
        self.limit = limit
        self.declared = False
        self.on_stale: Callable[[], Any] | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.attempts = self.reconnects = self.silences = 0
        self.alarmed = self.lost = self.busy = False
        self.silent_since: int | None = None
        self.recovered: int | None = None
        self.next_try = 0
        self.beat_before = now
        self.usual = 0  # the longest interval seen, slowly forgotten

    @property
    def allowed(self) -> int:
        """How long it may be silent, in nanoseconds."""
        return self.limit if self.declared else max(self.limit, self.usual * _SEVERAL)


class Watchdogs:
    """Watches feeds, and the bot's decisions. Threads may share it.

    Args:
        clock: Tells the time.
        publish: Takes the events.
        faults: Where errors are counted.
        after_s: How long a feed may be silent unless `watch` says else.
        live: Whether the bot's reconnect is called, and a process can stand still; not in a backtest.
        start: Runs an attempt; for tests.

    Attributes:
        silence: Whether the bot still decides.
        stalled: The look before this one was so long ago that the whole process stood still: ages say nothing as yet.
    """

    def __init__(
        self,
        clock: Clock,
        publish: Callable[[Event], object],
        faults: Faults,
        *,
        after_s: float = 30.0,
        live: bool = True,
        start: Callable[[Callable[[], None]], object] = begin,
    ) -> None:
        self._clock = clock
        self._now = clock.perf_ns
        self._publish = publish
        self._faults = faults
        self._after = int(after_s * _S)
        self._live = live
        self._start = start
        self._feeds: dict[str, Feed] = {}
        self._lock = threading.RLock()  # re-entrant: a signal handler may run verbs while its own thread is in here
        self.silence = SilenceWatch(clock, publish)
        self.stalled = False
        self._looked: int | None = None

    # -- verbs -------------------------------------------------------------------------------------------------------

    def heartbeat(self, name: str) -> None:
        """The feed `name` is alive."""
        try:
            feed = self._feeds[name]
        except Exception:  # a new one, or no name at all
            self._first_beat(name)
            return
        feed.last = self._now()
        if feed.loop is None and feed.on_stale is not None:
            feed.loop = _running_loop()

    def watch(self, name: str, after: Any = "30s", on_stale: Callable[[], Any] | None = None) -> None:
        """Say how long the feed `name` may be silent, and what to call then.

        Called again it replaces what was said. The time runs from now if the feed was never heard of.

        Args:
            name: Its name.
            after: How long: `"30s"`, seconds, or a `timedelta`.
            on_stale: The bot's reconnect. A coroutine function runs on the event loop that `watch` or `heartbeat` is
                called on, anything else on a thread of its own.
        """
        try:
            self._declare(name, after, on_stale)
        except Exception as error:
            self._faults.error("watch", error)

    def decided(self) -> None:
        """The bot's loop made a turn; called at the end of every tick."""
        self.silence.decided()
        feed = self._feeds.get("tick")
        if feed is not None:
            feed.last = self._now()

    # -- answers -----------------------------------------------------------------------------------------------------

    @property
    def feeds(self) -> dict[str, Feed]:
        """All feeds by name, for reading."""
        return dict(self._feeds)

    def ages(self) -> dict[str, float]:
        """Seconds since each feed was last alive."""
        now = self._now()
        return {name: max(now - feed.last, 0) / _S for name, feed in list(self._feeds.items())}

    def stale(self) -> dict[str, float]:
        """Those that are silent for longer than they may be, as of now, with their ages in seconds."""
        now = self._now()
        return {
            name: (now - feed.last) / _S for name, feed in list(self._feeds.items()) if now - feed.last > feed.allowed
        }

    def lost(self) -> dict[str, float]:
        """Those that many attempts to reconnect did not bring back, with their ages in seconds."""
        now = self._now()
        return {name: (now - feed.last) / _S for name, feed in list(self._feeds.items()) if feed.lost}

    def reconnects(self) -> dict[str, int]:
        """How often each feed was reconnected since the start."""
        return {name: feed.reconnects for name, feed in list(self._feeds.items())}

    # -- looking -----------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Look at all feeds and at the bot; about once a second, on any one thread.

        After a standstill of the whole process (a stopped one, a paused machine) the first look judges nothing: what
        came meanwhile has not been taken in, and nothing is stale that is alive by the next look.
        """
        now, before = self._now(), self._looked
        self._looked = now
        if self._live:  # a backtest leaps from bar to bar, and takes in what came before it looks
            self.stalled = before is not None and now - before > _STANDSTILL_NS and not self.stalled
        if self.stalled:
            return
        events: list[Event] = []
        due: list[Feed] = []
        with self._lock:
            for feed in list(self._feeds.values()):
                self._look(feed, now, events, due)
        try:
            for event in events:
                self._publish(event)
        finally:  # in strict mode a subscriber's error comes through
            for feed in due:
                self._try(feed)
        turns = self._feeds.get("tick")
        if turns is None or not turns.declared:  # else the bot has said itself what is too long
            self.silence.tick()

    def abandon(self) -> None:
        """In a forked child: the lock may be held by a thread that does not exist here."""
        self._lock = threading.RLock()

    def _look(self, feed: Feed, now: int, events: list[Event], due: list[Feed]) -> None:
        last = feed.last
        if feed.silent_since is not None:
            if last != feed.silent_since:
                self._recovered(feed, last, events)
            else:
                self._still_silent(feed, now, events, due)
            return
        if last != feed.beat_before:  # about once a second is often enough to learn what matters here
            gap, feed.beat_before = last - feed.beat_before, last
            feed.usual = gap if gap > feed.usual else feed.usual - (feed.usual - gap) // 8
        if now - last > feed.allowed:
            feed.silent_since = last
            # one that was back for no longer than it may be silent has not really been back
            if feed.recovered is None or last - feed.recovered > feed.allowed:
                feed.attempts = 0
            feed.next_try = now
            events.append(FeedSilent(**self._said(feed, now)))
            self._still_silent(feed, now, events, due)

    def _still_silent(self, feed: Feed, now: int, events: list[Event], due: list[Feed]) -> None:
        if feed.busy:
            return
        if feed.on_stale is None or not self._live:
            if not feed.alarmed:
                feed.alarmed = True
                events.append(FeedAlarmed(**self._said(feed, now)))
            return
        if now < feed.next_try:
            return
        if feed.attempts and not feed.alarmed:
            feed.alarmed = True
            events.append(FeedAlarmed(**self._said(feed, now)))
        if feed.attempts >= _LOST_AFTER and not feed.lost:
            feed.lost = True
            events.append(FeedAlarmed(**self._said(feed, now), escalated=True))
        feed.busy = True
        feed.attempts += 1
        due.append(feed)

    def _recovered(self, feed: Feed, last: int, events: list[Event]) -> None:
        assert feed.silent_since is not None
        event = FeedRecovered(
            ts_ns=self._clock.time_ns(), name=feed.name, age_s=round((last - feed.silent_since) / _S, 3),
            limit_s=feed.allowed / _S, attempts=feed.attempts, reconnects=feed.reconnects, alarmed=feed.alarmed,
            resolved=True,
        )  # fmt: skip
        feed.silences += 1
        gap = last - feed.silent_since
        # the first may be just the feed's way; later one outage must not make the next one pass
        feed.usual = max(feed.usual, gap if feed.silences == 1 else min(gap, 2 * feed.usual))
        feed.silent_since, feed.recovered, feed.beat_before = None, last, last
        feed.alarmed = feed.lost = False
        events.append(event)

    # -- reconnecting ------------------------------------------------------------------------------------------------

    def _try(self, feed: Feed) -> None:
        fn, loop = feed.on_stale, feed.loop
        try:
            if fn is None:
                feed.busy = False
            else:
                self._start(lambda: self._attempt(feed, fn, loop))
        except Exception as error:  # no thread to be had: the next try may find one
            self._pause(feed, helped=False)
            self._faults.error("on_stale", error)

    def _attempt(self, feed: Feed, fn: Callable[[], Any], loop: asyncio.AbstractEventLoop | None) -> None:
        made = attempt(fn, loop, _ATTEMPT_S)
        with self._lock:
            feed.reconnects += made.outcome == "done"
            said = self._said(feed, self._now())
            if loop is not None and loop.is_closed():
                feed.loop = None  # the bot may have begun another one
        self._pause(feed, helped=made.outcome == "done")
        try:
            self._publish(FeedReconnect(**said, outcome=made.outcome, error=made.said, took_s=round(made.took_s, 6)))
            if made.error is not None:
                self._faults.error("on_stale", made.error)
        except Exception as error:  # a thread of its own: nobody else would count it, and strict mode has done so
            self._faults.say("on_stale", type(error).__name__, f"on_stale of {feed.name!r}: {made.said}")

    def _pause(self, feed: Feed, *, helped: bool) -> None:
        pause = min(_BACKOFF_S * 2 ** min(max(feed.attempts - 1, 0), 16), _LONGEST_BACKOFF_S)
        with self._lock:
            # after a reconnect that worked, a feed has its whole limit to say something
            feed.next_try = self._now() + max(int(pause * _S), feed.allowed if helped else 0)
            feed.busy = False

    # -- registering -------------------------------------------------------------------------------------------------

    def _first_beat(self, name: Any) -> None:
        try:
            feed = self._feed(name)
            if feed is not None:
                feed.last = self._now()
        except Exception as error:
            self._faults.error("heartbeat", error)

    def _declare(self, name: Any, after: Any, on_stale: Any) -> None:
        feed = self._feed(name)
        if feed is None:
            return
        limit = self._after
        try:
            limit = int(period(after) * _S)
        except Exception:
            self._faults.say("watch", "after", f"watch({feed.name!r}): after is no duration; {limit / _S:g} s is taken")
        if on_stale is not None and not callable(on_stale):
            self._faults.say("watch", "on_stale", f"watch({feed.name!r}): on_stale cannot be called")
            on_stale = None
        loop = _running_loop()
        with self._lock:
            feed.limit, feed.declared, feed.on_stale = max(limit, 1), True, on_stale
            if loop is not None:
                feed.loop = loop
        if feed.name == "tick":
            self.silence.expect(feed.limit / _S)

    def _feed(self, name: Any) -> Feed | None:
        text = word("name", name, [])
        if text is None:
            self._faults.say("heartbeat", "name", "a feed without a name that can be read is not watched")
            return None
        with self._lock:
            feed = self._feeds.get(text)
            if feed is None:
                if len(self._feeds) >= _MOST_FEEDS:
                    self._faults.say("heartbeat", "feeds", f"more than {_MOST_FEEDS} feeds: {text!r} is not watched")
                    return None
                feed = self._feeds[text] = Feed(text, self._now(), self._after)
            return feed

    def _said(self, feed: Feed, now: int) -> dict[str, Any]:
        return {
            "ts_ns": self._clock.time_ns(), "name": feed.name, "age_s": round(max(now - feed.last, 0) / _S, 3),
            "limit_s": feed.allowed / _S, "attempts": feed.attempts, "reconnects": feed.reconnects,
        }  # fmt: skip
