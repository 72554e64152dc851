"""Simulated time, paced to the machine's: the same things happen in the same order however busy the machine is."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

__all__ = ["Queue", "Timeline"]

T = TypeVar("T")


class Timeline:
    """Happenings in the order of their simulated times.

    Each waits until its time has come on the machine's clock too; then it happens, and nothing else does before every
    task that it woke waits again. So a late timer or a slow turn delays, and changes nothing.

    Attributes:
        now: Simulated seconds since the start.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._plan: list[tuple[float, int, Callable[[], object]]] = []
        self._count = itertools.count()
        self._busy = 0  # tasks at work; the others wait for a happening
        self._all_wait = asyncio.Event()
        self._hurry = asyncio.Event()

    def at(self, when: float, happening: Callable[[], object]) -> None:
        """Let `happening` be called at a time; it may wake one task."""
        heapq.heappush(self._plan, (max(when, self.now), next(self._count), happening))

    async def sleep(self, seconds: float) -> None:
        """Wait in simulated time."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.at(self.now + seconds, lambda: self.wake(woken))
        await self.wait(woken)

    async def wait(self, woken: asyncio.Future[None]) -> None:
        """Let the calling task wait until a happening wakes it."""
        self._rest()
        await woken

    def wake(self, woken: asyncio.Future[None]) -> None:
        """Wake a task that waits."""
        if not woken.done():
            self._busy += 1
            self._all_wait.clear()
            woken.set_result(None)

    def hurry(self) -> None:
        """From now on wait for nothing: what is still planned happens at once."""
        self._hurry.set()

    async def run(self, *tasks: Coroutine[Any, Any, None]) -> None:
        """Run tasks, which wait for nothing but this timeline, until they have ended."""
        begun = time.monotonic()
        async with asyncio.TaskGroup() as group:
            self._busy += len(tasks)
            for task in tasks:
                group.create_task(self._counted(task))
            await self._all_wait.wait()
            while self._plan:
                self.now, _, happening = heapq.heappop(self._plan)
                await self._pace(begun + self.now - time.monotonic())
                happening()
                if self._busy:
                    await self._all_wait.wait()

    async def _counted(self, task: Coroutine[Any, Any, None]) -> None:
        try:
            await task
        finally:
            self._rest()

    def _rest(self) -> None:
        self._busy -= 1
        if not self._busy:
            self._all_wait.set()

    async def _pace(self, seconds: float) -> None:
        if seconds > 0 and not self._hurry.is_set():
            try:
                async with asyncio.timeout(seconds):
                    await self._hurry.wait()
            except TimeoutError:
                return


class Queue(Generic[T]):
    """What one happening after the other puts in and one task takes out."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._waiting: list[T] = []
        self._closed = False
        self._taker: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, thing: T) -> None:
        """Put something in; after the end it is turned away."""
        if not self._closed:
            self._waiting.append(thing)
            self._tell()

    def close(self) -> None:
        """Nothing more comes."""
        self._closed = True
        self._tell()

    async def __aiter__(self) -> AsyncIterator[T]:
        while True:
            while self._waiting:
                yield self._waiting.pop(0)
            if self._closed:
                return
            self._taker = asyncio.get_running_loop().create_future()
            await self._timeline.wait(self._taker)

    def _tell(self) -> None:
        if self._taker is not None:
            self._timeline.wake(self._taker)
