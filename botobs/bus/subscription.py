"""One subscriber of the bus: how it is called, and what is counted when that goes wrong."""

from __future__ import annotations

import sys
import threading
from collections import deque
from inspect import iscoroutine, iscoroutinefunction
from typing import TYPE_CHECKING, Any

from botobs import timebox
from botobs.accounting.numbers import as_the_bot
from botobs.events import Event, Importance

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future
    from collections.abc import Callable

    from botobs.faults import Faults

__all__ = ["Subscription", "Tally", "running_loop"]

_MOST_HANGS = 3  # of one function of the bot's; then it is out for good


class Tally:
    """What goes wrong with subscribers.

    Counted only where no lock is held: counting may log, and the bot's log handlers may do anything. In
    strict mode errors are kept for the next `publish` or `flush` to raise.
    """

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._lost: deque[str] = deque()
        self.raised: deque[BaseException] = deque(maxlen=100)

    def fail(self, where: str, error: BaseException) -> None:
        """Count `error`; not under a lock."""
        try:
            self._faults.error(where, error)
        except BaseException as raised:
            if raised is not error:
                raise
            self.raised.append(error)

    def lose(self, stream: str) -> None:
        """Note one loss, to be counted by `report`."""
        self._lost.append(stream)

    def report(self) -> None:
        """Count the losses noted and, in strict mode, raise an error kept; not under a lock."""
        while self._lost:
            try:
                stream = self._lost.popleft()
            except IndexError:  # another thread was quicker
                break
            self._faults.dropped(stream)
        if self.raised:
            raise self.raised.popleft()

    @property
    def waiting(self) -> bool:
        """Whether `report` has anything to do."""
        return bool(self._lost or self.raised)


class Subscription:
    """One function's interest in one class of events and its subclasses; made by `Bus.subscribe`."""

    def __init__(
        self,
        event_type: type[Event],
        fn: Callable[[Any], object],
        *,
        tally: Tally,
        remove: Callable[[Subscription], None],
        immediate: bool = False,
        limit_s: float = 1.0,
        trusted: bool = False,
        most_outstanding: int | None = None,
    ) -> None:
        self.event_type = event_type
        self.fn = fn
        self.immediate = immediate
        self.trusted = trusted
        self.active = True
        method = vars(type(fn)).get("__call__")  # an object may have an async one
        self.asynchronous = iscoroutinefunction(fn) or iscoroutinefunction(method)
        self.loop: AbstractEventLoop | None = running_loop() if self.asynchronous else None
        self.where = f"bus:{_name_of(fn)}"  # what its errors and misses are counted under
        self._limit_s = limit_s
        self._tally = tally
        self._remove = remove
        self._most_outstanding = most_outstanding
        self._outstanding = 0  # calls handed to the event loop that have not ended
        self._tasks: set[Future[object]] = set()  # a loop keeps no strong reference to its tasks
        self._lock = threading.RLock()
        self._stuck: set[object] = set()  # calls given up that have not come back
        self._hangs = 0  # calls ever given up

    def __repr__(self) -> str:
        lane = "immediate" if self.immediate else "background"
        event = getattr(self.event_type, "__name__", self.event_type)
        return f"<Subscription {self.where.removeprefix('bus:')} to {event}, {lane}>"

    def cancel(self) -> None:
        """Begin no further call, not even for events that are queued already."""
        self._remove(self)

    @property
    def hung(self) -> bool:
        """Whether it gets no events: a call of it hangs at the moment, or three did before."""
        return bool(self._stuck) or (self._hangs >= _MOST_HANGS and not self.trusted)

    def gave_up(self, call: object) -> None:
        """A call of it takes too long and is waited for no more."""
        self._stuck.add(call)
        self._hangs += 1

    def came_back(self, call: object) -> None:
        """A call has ended, given up before or not."""
        self._stuck.discard(call)

    @as_the_bot
    def call(self, event: Event) -> None:
        """Call it on this thread, or hand the call to its event loop; raises what it raises."""
        if self.asynchronous:
            self._schedule(event)
        else:
            _refuse_coroutine(self.fn(event))

    def call_boxed(self, event: Event) -> bool:
        """Call it within its limit, past which it leaves the immediate lane. `False`: it was not called."""
        over = False
        me = object()

        def run() -> None:
            nonlocal over
            try:
                self.call(event)
            finally:
                over = True
                self.came_back(me)

        outcome = timebox.call(run, limit_s=self._limit_s)
        if outcome.state == "hung" and outcome.began:
            self.immediate = False
            self.gave_up(me)
            if over:  # it ended between its limit and here
                self.came_back(me)
        if outcome.error is not None:
            self._tally.fail(self.where, outcome.error)
        return outcome.began

    # -- async functions

    def _schedule(self, event: Event) -> None:
        if self.loop is None:
            raise RuntimeError("an async subscriber needs an event loop: none ran when it subscribed, or since")
        most = self._most_outstanding
        with self._lock:
            if most is not None and self._outstanding >= most and event.importance < Importance.CRITICAL:
                self._tally.lose(self.where)
                return
            self._outstanding += 1
        try:
            self.loop.call_soon_threadsafe(self._begin, event)
        except RuntimeError:  # the loop is closed
            self._ended()
            raise

    def _begin(self, event: Event) -> None:
        from asyncio import ensure_future  # noqa: PLC0415  # would cost `import botobs` 30 ms; here a loop runs

        try:
            if not self.active:
                self._ended()
                return
            coroutine: Any = self.fn(event)
            task = ensure_future(coroutine, loop=self.loop)
        except Exception as error:
            self._ended()
            self._tally.fail(self.where, error)
            return
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: Future[object] | None = None) -> None:
        with self._lock:
            self._outstanding -= 1
        if task is not None:
            self._tasks.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                self._tally.fail(self.where, error)

    def close(self) -> None:
        """Note as lost what its event loop was given and will never run."""
        if self.loop is not None and self.loop.is_closed():
            with self._lock:
                lost, self._outstanding = self._outstanding, 0
            for _ in range(lost):
                self._tally.lose(self.where)

    def abandon(self) -> None:
        """In a forked child: be called no more; the old lock may be held by a thread that is not there."""
        self.active = False
        self._lock = threading.RLock()


def running_loop() -> AbstractEventLoop | None:
    """The event loop of this thread, without importing asyncio: if nobody did, there is none."""
    asyncio = sys.modules.get("asyncio")
    loop: AbstractEventLoop | None = asyncio._get_running_loop() if asyncio is not None else None  # noqa: SLF001  # public in all but name; the public one raises
    return loop


def _refuse_coroutine(result: object) -> None:
    if result is not None and iscoroutine(result):
        result.close()
        raise TypeError("it returned a coroutine: subscribe the async function itself")


def _name_of(fn: object) -> str:
    fn = getattr(fn, "func", fn)  # a functools.partial has no name of its own
    name = getattr(fn, "__qualname__", None) or type(fn).__qualname__
    return str(name).rpartition("<locals>.")[2]
