"""The bus: hands events on, in two lanes.

*Immediate* subscribers run before `publish` returns: botobs's own rooms directly on the caller's thread,
functions of the bot's in a time box, so that one that hangs delays the bot once and not for ever.
*Background* subscribers run on one thread behind a bounded queue. Whoever raises or hangs is counted, and
nobody else notices.

In a backtest there is no thread, no limit and no bound: all run on the caller's thread, in order.
"""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from botobs.bus.background import Lane
from botobs.bus.subscription import Subscription, Tally, running_loop
from botobs.events import Event, Importance

if TYPE_CHECKING:
    from collections.abc import Callable

    from botobs.faults import Faults

__all__ = ["Bus", "Subscription"]

E = TypeVar("E", bound=Event)


class _Route(NamedTuple):
    """Who gets a class of events."""

    trusted: tuple[Subscription, ...]
    guarded: tuple[Subscription, ...]
    background: tuple[Subscription, ...]
    homeless: tuple[Subscription, ...]  # async, subscribed before any event loop ran
    importance: int


_Item = tuple[Event, int, tuple[Subscription, ...]]


class _Batch:
    """Background events published while immediate subscribers run: they leave together, in order, afterwards.

    So a background subscriber sees an event after the ledger has it, and a fill before the trade it closed.
    """

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.items: list[_Item] = []
        self._open = True
        self._lock = threading.RLock()

    def add(self, item: _Item) -> bool:
        with self._lock:
            if self._open and item[2]:
                self.items.append(item)
            return self._open

    def close(self) -> list[_Item]:
        with self._lock:
            self._open = False
            return self.items


# a context variable follows a subscriber into its time box; a copy that outlives the batch finds it closed
_batch: ContextVar[_Batch | None] = ContextVar("botobs_bus_batch", default=None)


class Bus:
    """Typed publish and subscribe; nothing raises out of it unless `faults.strict`.

    Args:
        faults: Where failures and losses are counted.
        queue_size: How many events may wait for background subscribers.
        threaded: Whether there is a background thread; a backtest has none.
        callback_limit_s: How long a background subscriber may take before the others go on without it.

    Example:
        >>> import time
        >>> from botobs.events import Recorded
        >>> from botobs.faults import Faults
        >>> bus = Bus(Faults(), queue_size=1000, threaded=True)
        >>> subscription = bus.subscribe(Recorded, lambda event: print(event.into))
        >>> bus.publish(Recorded(ts_ns=0, into="notes", fields={}))
        >>> bus.close(time.monotonic() + 1.0)
        notes
        True
    """

    def __init__(self, faults: Faults, *, queue_size: int, threaded: bool, callback_limit_s: float = 5.0) -> None:
        self._threaded = threaded
        self._most_outstanding = max(1, queue_size) if threaded else None
        self._tally = Tally(faults)
        self._lane = Lane(self._tally, size=queue_size, threaded=threaded, limit_s=callback_limit_s)
        self._lock = threading.RLock()
        self._subs: tuple[Subscription, ...] = ()
        # by class, so that an event nobody wants costs one look-up; made anew when subscriptions change
        self._routes: dict[type[Event], _Route | None] = {}
        self._inert = False

    def subscribe(
        self,
        event_type: type[E],
        fn: Callable[[E], object],
        immediate: bool = False,
        *,
        limit_s: float = 1.0,
        _trusted: bool = False,
    ) -> Subscription:
        """Call `fn` with every event of `event_type` or a subclass from now on.

        Args:
            event_type: The class of events.
            fn: A function of one event; an `async def` runs as a task on the event loop that runs now, or,
                if none does, on the first one on which such an event is published.
            immediate: Call it before `publish` returns. A function that once takes longer than its limit is
                moved to the background.
            limit_s: How long the bot waits for an immediate `fn`.
        """
        fits = _fits(event_type, fn)
        sub = Subscription(
            event_type,
            fn if fits else _nothing,
            tally=self._tally,
            remove=self._remove,
            immediate=immediate,
            limit_s=limit_s,
            trusted=_trusted,
            most_outstanding=self._most_outstanding,
        )
        if not fits:
            sub.active = False
            wrong = f"{type(event_type).__name__}, {type(fn).__name__}"
            self._tally.fail("bus.subscribe", TypeError(f"takes an event class and a function, not {wrong}"))
            self._tally.report()
            return sub
        with self._lock:
            self._subs = (*self._subs, sub)
            self._routes = {}
        return sub

    def _remove(self, sub: Subscription) -> None:
        with self._lock:
            sub.active = False
            self._subs = tuple(other for other in self._subs if other is not sub)
            self._routes = {}

    def publish(self, event: Event) -> None:
        """Hand `event` on: to immediate subscribers now, botobs's own first, to the others in the background.

        What an immediate subscriber publishes reaches the immediate subscribers at once: those behind it see
        it before the event that caused it. The background lane keeps the order of publishing.
        """
        try:
            route = self._routes[type(event)]
        except KeyError:
            route = self._route(type(event))
        if route is not None:
            self._dispatch(event, route)

    def _route(self, cls: type[Event]) -> _Route | None:
        if not _fits(cls, cls):
            self._tally.fail("bus.publish", TypeError(f"not an event: {cls.__name__}"))
            self._tally.report()
            return None
        with self._lock:
            subs = [sub for sub in self._subs if issubclass(cls, sub.event_type)]
            now = [sub for sub in subs if sub.immediate]
            route = None
            if subs and not self._inert:
                route = _Route(
                    trusted=tuple(sub for sub in now if sub.trusted),
                    guarded=tuple(sub for sub in now if not sub.trusted),
                    background=tuple(sub for sub in subs if not sub.immediate),
                    homeless=tuple(sub for sub in subs if sub.asynchronous and sub.loop is None),
                    importance=min(max(int(cls.importance), Importance.LOW), Importance.CRITICAL),
                )
            self._routes[cls] = route
            return route

    def _dispatch(self, event: Event, route: _Route) -> None:
        if route.homeless:
            self._give_home(route.homeless)
        item = (event, route.importance, route.background)
        outer = _batch.get()
        nested = outer is not None and outer.bus is self and outer.add(item)
        if not (route.trusted or route.guarded):
            if not nested:
                self._lane.push([item])
        elif nested:
            self._call_now(event, route)
        else:
            batch = _Batch(self)
            batch.add(item)
            token = _batch.set(batch)
            try:
                self._call_now(event, route)
            finally:
                _batch.reset(token)
                if items := batch.close():
                    self._lane.push(items)
        if self._tally.waiting:
            self._tally.report()

    def _call_now(self, event: Event, route: _Route) -> None:
        for sub in (*route.trusted, *route.guarded):
            if not sub.active:
                continue
            if not sub.immediate:  # moved to the background since the route was looked up
                self._lane.push([(event, route.importance, (sub,))])
            elif self._threaded and not (sub.trusted or sub.asynchronous):
                self._call_boxed(sub, event, route.importance)
            else:
                try:
                    sub.call(event)
                except Exception as error:
                    self._tally.fail(sub.where, error)

    def _call_boxed(self, sub: Subscription, event: Event, importance: int) -> None:
        if not sub.call_boxed(event):  # too many others hang: late is better than never
            self._lane.push([(event, importance, (sub,))])
        if not sub.immediate:
            with self._lock:
                self._routes = {}

    def _give_home(self, subs: tuple[Subscription, ...]) -> None:
        loop = running_loop()
        if loop is not None:
            with self._lock:
                for sub in subs:
                    sub.loop = sub.loop or loop
                self._routes = {}

    @property
    def depth(self) -> int:
        """How many events wait for background subscribers."""
        return len(self._lane)

    @property
    def hung(self) -> tuple[str, ...]:
        """The subscribers that get no events because they hang."""
        return tuple(sub.where.removeprefix("bus:") for sub in self._subs if sub.hung)

    def housekeep(self) -> None:
        """Look for a background subscriber that hangs. Called once a second."""
        self._lane.housekeep()

    def flush(self, deadline_monotonic: float) -> bool:
        """Wait until every event published before has been handed to its background subscribers.

        Does not wait for the tasks of async subscribers: their event loop may be the one that waits here.
        """
        done = self._lane.flush(deadline_monotonic)
        self._tally.report()
        return done

    def close(self, deadline_monotonic: float) -> bool:
        """Flush and end the thread; count what is left as lost. Whether nothing was left."""
        done = self._lane.close(deadline_monotonic)
        for sub in self._subs:
            sub.close()
        self._tally.report()
        return done

    def abandon(self) -> None:
        """In a forked child: from now on do nothing. The parent's subscribers are the parent's."""
        self._inert = True
        self._lock = threading.RLock()
        self._routes = {}
        for sub in self._subs:
            sub.abandon()
        self._subs = ()
        self._lane.abandon()


def _nothing(_event: object) -> None:
    """In the place of what cannot be called."""


def _fits(event_type: object, fn: object) -> bool:
    # a caller without a type checker may give anything
    if not issubclass(type(event_type), type) or not callable(fn):
        return False
    return issubclass(event_type, Event)  # type: ignore[arg-type]  # a class: just asked by its type, which runs no code
