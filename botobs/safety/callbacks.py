"""Calling the bot's own functions at the worst moment there is: each within its limit, none in another's way."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import functools
import inspect
import time
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs

from botobs import timebox
from botobs.accounting.numbers import as_the_bot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from botobs.faults import Faults

__all__ = ["Called", "Caller", "Flattening", "flattening", "is_async", "name_of"]

_running_loop = asyncio._get_running_loop  # noqa: SLF001  # None, where the public one raises: half a microsecond
_LOOP_LATE_S: Final = 0.05
_LOOP_LOOK_S: Final = 1.0


@attrs.frozen
class Flattening:
    """Marks the context of a callback, and what it starts: there stages that reduce pass while halted.

    Attributes:
        switch: Whose callback.
        epoch: The trip; a reset or a later trip ends it.
    """

    switch: object
    epoch: int


flattening: contextvars.ContextVar[Flattening | None] = contextvars.ContextVar("botobs_flattening", default=None)


@attrs.frozen
class Called:
    """How a function ended.

    Attributes:
        name: The function.
        outcome: `done`, `failed`, `hung` (given up; it may go on), or `started` (a task that nobody waits for).
        took_ms: How long it was waited for.
        error: What it raised.
    """

    name: str
    outcome: Literal["done", "failed", "hung", "started"]
    took_ms: float
    error: str | None = None

    def record(self) -> dict[str, Any]:
        """As records say it."""
        return attrs.asdict(self, filter=lambda _field, value: value is not None)


def name_of(fn: object) -> str:
    """What to call a function; never raises."""
    try:
        while isinstance(fn, functools.partial):
            fn = fn.func
        whole = str(getattr(fn, "__qualname__", None) or type(fn).__qualname__)
        return whole.rpartition("<locals>.")[2][:100]  # where it was made helps nobody at night
    except Exception:
        return "a function"


class Caller:
    """Calls functions of the bot's, sync and async.

    Args:
        where: What faults are counted under.
        faults: Where they are counted.
        threaded: Whether there are threads and limits; in a backtest there are none.

    Attributes:
        loop: The event loop of the bot, as soon as one was seen.
    """

    def __init__(self, where: str, faults: Faults, *, threaded: bool) -> None:
        self._where = where
        self._faults = faults
        self._threaded = threaded
        self._pool = timebox.Pool()
        self._tasks: set[asyncio.Future[Any]] = set()
        self.loop: asyncio.AbstractEventLoop | None = None

    def warm(self) -> None:
        """Have a thread ready."""
        self.note_loop()
        if self._threaded:
            self._pool.call(_nothing, limit_s=1.0)

    def close(self) -> None:
        """Have none ready any more; whatever is called still runs."""
        self._pool.close()

    def note_loop(self) -> bool:
        """Remember the loop that runs on this thread; whether one is known."""
        loop = _running_loop()
        if loop is not None and loop is not self.loop:
            self.loop = loop
        return self.loop is not None

    @as_the_bot
    def call(
        self,
        fn: Callable[..., Any],
        *args: Any,
        limit_s: float | None,
        name: str | None = None,
        awaits: bool | None = None,
        meanwhile: Callable[[], object] | None = None,
        late: Callable[[Called], object] | None = None,
    ) -> Called:
        """Call `fn`, wait no longer than `limit_s`, and count what went wrong. Never raises, unless strict.

        Args:
            fn: The function.
            *args: What it gets.
            limit_s: How long it is waited for; `None`, for an async one: until it has ended.
            name: What it is called in records.
            awaits: Whether it is async, if that is known.
            meanwhile: Called while it is waited for, if it does not end at once.
            late: Told how it ended if nobody waits for that.
        """
        awaits = is_async(fn) if awaits is None else awaits
        called, error = self._call(
            fn, args, limit_s, name or name_of(fn), awaits=awaits, meanwhile=meanwhile, late=late
        )
        if error is not None:
            self._faults.error(self._where, error)
        return called

    @as_the_bot
    def here(
        self,
        fn: Callable[..., Any],
        *args: Any,
        name: str,
        meanwhile: Callable[[], object] | None = None,
        late: Callable[[Called], object] | None = None,
    ) -> Called:
        """Call `fn` on this very thread, at once; whoever wants a limit uses `call`.

        Args:
            fn: A sync function; what it returns is awaited if that is possible.
            *args: What it gets.
            name: What it is called in records.
            meanwhile: Called while something is awaited.
            late: Told how it ended if nobody waits for that.

        Raises:
            KeyboardInterrupt: Somebody pressed Ctrl-C, which is no failure of the function's; it is counted.
        """
        begun = time.perf_counter()
        value, error = None, None
        try:
            value = contextvars.copy_context().run(fn, *args)
        except BaseException as raised:  # SystemExit too: it must not keep the others from being called
            error = raised
        called: Called
        if error is None and inspect.isawaitable(value):
            called, error = self._wait(
                lambda: value, None, name, ended=_clocked(name, begun), meanwhile=meanwhile, late=late
            )
        else:
            called = _clocked(name, begun)("done" if error is None else "failed", error)[0]
        if error is not None:
            self._faults.error(self._where, error)
            if isinstance(error, KeyboardInterrupt):
                raise error
        return called

    def _call(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        limit_s: float | None,
        name: str,
        *,
        awaits: bool,
        meanwhile: Callable[[], object] | None,
        late: Callable[[Called], object] | None,
    ) -> tuple[Called, BaseException | None]:
        ended = _clocked(name, time.perf_counter())
        if awaits:
            return self._wait(lambda: fn(*args), limit_s, name, ended=ended, meanwhile=meanwhile, late=late)
        if not self._threaded or limit_s is None:
            try:
                value = fn(*args)
            except Exception as error:
                return ended("failed", error)
        else:
            outcome = self._pool.call(fn, *args, limit_s=limit_s, meanwhile=meanwhile)
            if outcome.state != "done":
                return ended(outcome.state, outcome.error)
            value = outcome.value
        if inspect.isawaitable(value):
            return self._wait(lambda: value, limit_s, name, ended=ended, meanwhile=meanwhile, late=late)
        return ended("done")

    def _wait(
        self,
        make: Callable[[], Awaitable[Any]],
        limit_s: float | None,
        name: str,
        *,
        ended: Callable[..., Any],
        meanwhile: Callable[[], object] | None,
        late: Callable[[Called], object] | None,
    ) -> tuple[Called, BaseException | None]:
        """Run what is awaitable on the bot's loop."""
        here = _running_loop()
        known = self.loop
        loop = known if known is not None and known.is_running() and not known.is_closed() else here
        if loop is None:  # no loop runs: one of its own is better than none
            if not self._threaded or limit_s is None:
                return ended(*asyncio.run(_bounded(make, None)))  # type: ignore[no-any-return]
            outcome = self._pool.call(
                lambda: asyncio.run(_bounded(make, limit_s)), limit_s=limit_s, meanwhile=meanwhile
            )
            return ended(*outcome.value) if outcome.value else ended(outcome.state, outcome.error)  # type: ignore[no-any-return]
        if loop is here:
            task = loop.create_task(self._alone(make, limit_s, name, late))
            self._tasks.add(task)  # the loop itself holds it weakly
            task.add_done_callback(self._tasks.discard)
            return ended("started")  # type: ignore[no-any-return]
        future = asyncio.run_coroutine_threadsafe(_bounded(make, limit_s), loop)
        if meanwhile is not None:
            meanwhile()
        try:
            while limit_s is None and not future.done() and loop.is_running():
                concurrent.futures.wait([future], _LOOP_LOOK_S)
            return ended(*future.result(_LOOP_LATE_S + (limit_s or 0.0)))  # type: ignore[no-any-return]
        except TimeoutError:
            why = "has ended" if limit_s is None else f"did not come round to it in {limit_s:g} s"
            return ended("hung", TimeoutError(f"the bot's event loop {why}"))  # type: ignore[no-any-return]
        except Exception as error:  # the loop was closed under it
            cancelled = isinstance(error, concurrent.futures.CancelledError)  # as `asyncio.run` does with what is left
            ending = asyncio.CancelledError("the bot's event loop ended before it had") if cancelled else error
            return ended("failed", ending)  # type: ignore[no-any-return]

    async def _alone(
        self,
        make: Callable[[], Awaitable[Any]],
        limit_s: float | None,
        name: str,
        late: Callable[[Called], object] | None,
    ) -> None:
        """A task that nobody waits for: what becomes of it is counted and told all the same."""
        begun = time.perf_counter()
        outcome, error = await _bounded(make, limit_s)
        if late is not None:
            took_ms = round((time.perf_counter() - begun) * 1e3, 3)
            late(Called(name, outcome, took_ms, None if error is None else _text(error)))
        if error is not None:
            with contextlib.suppress(BaseException):  # strict: there is nobody here to raise it to
                self._faults.error(self._where, error)
            self._faults.say(self._where, name, f"{name}: {_text(error)}")


def _clocked(name: str, begun: float) -> Callable[..., tuple[Called, BaseException | None]]:
    """Makes what is told of a function at its end, which is when it is asked."""

    def ended(
        outcome: Literal["done", "failed", "hung", "started"], error: BaseException | None = None
    ) -> tuple[Called, BaseException | None]:
        took_ms = round((time.perf_counter() - begun) * 1e3, 3)
        return Called(name, outcome, took_ms, None if error is None else _text(error)), error

    return ended


async def _bounded(
    make: Callable[[], Awaitable[Any]], limit_s: float | None
) -> tuple[Literal["done", "failed", "hung"], BaseException | None]:
    """Await, for so long at most. Then it goes on unwatched: half a flattening is worse than a late one."""
    task = asyncio.ensure_future(make())
    await asyncio.wait({task}, timeout=limit_s)
    if not task.done():
        _given_up.add(task)
        task.add_done_callback(_forget)
        return "hung", TimeoutError(f"no answer within {limit_s:g} s")
    if task.cancelled():
        return "failed", asyncio.CancelledError("it was cancelled")
    error = task.exception()
    return ("done", None) if error is None else ("failed", error)


_given_up: set[asyncio.Future[Any]] = set()


def _forget(task: asyncio.Future[Any]) -> None:
    _given_up.discard(task)
    if not task.cancelled():
        task.exception()  # asked for, so that asyncio need not complain


def is_async(fn: Any) -> bool:
    """Whether calling `fn` gives something to await."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    if inspect.isroutine(fn) or inspect.isclass(fn):
        return inspect.iscoroutinefunction(fn)
    return inspect.iscoroutinefunction(getattr(fn, "__call__", None))  # noqa: B004  # which may be async


def _text(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:300]
    except Exception:  # an error that cannot say what it is
        return type(error).__name__


def _nothing() -> None:
    pass
