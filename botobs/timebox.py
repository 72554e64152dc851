"""Call somebody else's function and get on with it, whatever the function does.

`call` runs the function on a daemon thread of a small pool and waits for a limited time. What it raises is
caught; if it hangs it is given up: its thread is left to it, and the next call gets another. Threads cannot
be killed, so the number of those given up is bounded; one whose function comes back rejoins the pool.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, TypeVarTuple

import attrs

from botobs.accounting.numbers import as_the_bot

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Outcome", "Pool", "call"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_IDLE_KEPT = 4  # as many calls at once are rare; more threads end when their call does
_AT_ONCE_S = 0.001
_DEEPEST = 8  # a call within a call within a call ...: from here on inline, under the limit of the outer ones


@attrs.frozen
class Outcome(Generic[T]):
    """How a call ended.

    Attributes:
        state: `done`, `failed` (it raised), or `hung` (no end within its limit; it may still be running).
        value: What it returned.
        error: What it raised; when hung, a `TimeoutError` that says so.
        took_s: How long the caller waited, in seconds.
        began: Whether the function was called at all: not if too many others hang already.
    """

    state: Literal["done", "failed", "hung"]
    value: T | None = None
    error: BaseException | None = None
    took_s: float = 0.0
    began: bool = True


class _Job:
    __slots__ = ("_token", "args", "context", "depth", "done", "error", "fn", "value")

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...], depth: int) -> None:
        self.fn = fn
        self.args = args
        self.depth = depth
        self.context = contextvars.copy_context()
        self.value: Any = None
        self.error: BaseException | None = None
        self._token = [True]
        # a bare lock is the cheapest bell: held until the job is done
        self.done = threading.Lock()
        self.done.acquire()

    def settle(self) -> bool:
        """Whether the one who asks, the end or the limit, is the first to ask."""
        try:
            return self._token.pop()
        except IndexError:
            return False


class _Crew:
    """The threads of one process; a forked child gets a new one.

    No lock, only operations that are atomic by themselves: a signal handler may call while its own thread is in
    the middle of a call, and would wait for a worker that waits for the lock its thread holds.
    """

    __slots__ = ("abandoned", "idle")

    def __init__(self) -> None:
        self.idle: list[_Worker] = []
        self.abandoned: set[_Job] = set()

    def give_up(self, job: _Job) -> bool:
        """Wait for `job` no more; `False`: it ended in the last moment."""
        # first in, then the question: a worker that finds itself given up finds itself in the set as well
        self.abandoned.add(job)
        if job.settle():
            return True
        self.abandoned.discard(job)
        return False


_here = threading.local()  # .depth: how many calls deep this thread is


class _Worker(threading.Thread):
    def __init__(self, pool: Pool, crew: _Crew) -> None:
        super().__init__(name="botobs-timebox", daemon=True)
        self._pool = pool
        self._crew = crew
        self._wake = threading.Lock()
        self._wake.acquire()
        self._job: _Job | None = None

    def take(self, job: _Job | None) -> None:
        """Do `job`; `None`: end."""
        self._job = job
        self._wake.release()

    def run(self) -> None:
        staying = True
        while staying:
            self._wake.acquire()
            job, self._job = self._job, None
            staying = job is not None and self._do(job)
            del job  # an idle thread keeps nothing of the bot's alive

    def _do(self, job: _Job) -> bool:
        _here.depth = job.depth
        try:
            job.value = job.context.run(_called, job.fn, job.args)
        except BaseException as error:  # SystemExit too: it would end the thread and leave the caller waiting
            job.error = error
        crew = self._crew
        # the function may have forked: in the child this thread has no place in the new crew
        staying = len(crew.idle) < self._pool.kept and crew is self._pool.crew
        if staying:
            crew.idle.append(self)
            if not self._pool.kept:  # closed in this moment, perhaps before there was one to be sent home
                with contextlib.suppress(ValueError):  # whoever took it out of there says what it does next
                    crew.idle.remove(self)
                    staying = False
        if not job.settle():
            crew.abandoned.discard(job)
        job.done.release()
        return staying


@as_the_bot
def _called(fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    return fn(*args)


class Pool:
    """Threads to run time-limited calls on.

    Args:
        most_abandoned: How many hanging calls are endured at once; from then on calls are refused as hung.

    Attributes:
        kept: How many idle threads wait for the next call; none any more once the pool is closed.
    """

    def __init__(self, *, most_abandoned: int = 32) -> None:
        self._most = most_abandoned
        self.kept = _IDLE_KEPT
        self.crew = _Crew()
        _pools.add(self)

    @property
    def abandoned(self) -> int:
        """How many calls hang at the moment."""
        return len(self.crew.abandoned)

    def call(
        self, fn: Callable[[*Ts], T], *args: *Ts, limit_s: float, meanwhile: Callable[[], object] | None = None
    ) -> Outcome[T]:
        """Call `fn(*args)` on another thread, in a copy of the caller's context, and wait at most `limit_s`.

        Never raises what `fn` raises. An exception in the waiting itself (Ctrl-C) comes through.

        Args:
            fn: The function.
            *args: What it gets.
            limit_s: How long it is waited for.
            meanwhile: Called here if `fn` does not end at once; not before, so as to keep `fn` from nothing.
        """
        begun = time.perf_counter()
        depth = getattr(_here, "depth", 0)
        if depth >= _DEEPEST:
            return _inline(fn, args, begun)
        job = _Job(fn, args, depth + 1)
        crew = self.crew
        if len(crew.abandoned) >= self._most:
            error = TimeoutError(f"not called: {len(crew.abandoned)} earlier calls still hang")
            return Outcome("hung", None, error, 0.0, began=False)
        try:
            worker = crew.idle.pop()
        except IndexError:
            worker = _Worker(self, crew)
            try:
                worker.start()
            except RuntimeError:  # no thread to be had: unguarded beats not at all, it may flatten a position
                return _inline(fn, args, begun)
        try:
            worker.take(job)
            in_time = _ended(job.done, limit_s, meanwhile)
        except BaseException:
            crew.give_up(job)
            raise
        took_s = time.perf_counter() - begun
        if not in_time and crew.give_up(job):
            return Outcome("hung", None, TimeoutError(f"no answer within {limit_s:g} s"), took_s)
        if job.error is not None:
            return Outcome("failed", None, job.error, took_s)
        return Outcome("done", job.value, None, took_s)

    def close(self) -> None:
        """Keep no thread for the next call: those that wait end, others with what they run. Calls still work."""
        self.kept = 0
        with contextlib.suppress(IndexError):
            while True:
                self.crew.idle.pop().take(None)


def _ended(done: Any, limit_s: float, meanwhile: Callable[[], object] | None) -> bool:
    """Wait until `done` is free; whether that was within `limit_s`."""
    longest = min(max(limit_s, 0.0), threading.TIMEOUT_MAX)
    if meanwhile is None or longest <= _AT_ONCE_S:
        return bool(done.acquire(timeout=longest))
    if done.acquire(timeout=_AT_ONCE_S):
        return True
    begun = time.perf_counter()
    meanwhile()
    return bool(done.acquire(timeout=max(longest - _AT_ONCE_S - (time.perf_counter() - begun), 0.0)))


def _inline(fn: Callable[..., T], args: tuple[Any, ...], begun: float) -> Outcome[T]:
    try:
        value = contextvars.copy_context().run(_called, fn, args)
    except Exception as error:
        return Outcome("failed", None, error, time.perf_counter() - begun)
    return Outcome("done", value, None, time.perf_counter() - begun)


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


def _forked() -> None:
    for pool in list(_pools):
        pool.crew = _Crew()  # threads do not survive a fork


os.register_at_fork(after_in_child=_forked)

_pool = Pool()


def call(fn: Callable[[*Ts], T], *args: *Ts, limit_s: float) -> Outcome[T]:
    """Call `fn(*args)` on a thread of the process's pool; see `Pool.call`.

    Example:
        >>> call(divmod, 7, 2, limit_s=1.0).value
        (3, 1)
    """
    return _pool.call(fn, *args, limit_s=limit_s)
