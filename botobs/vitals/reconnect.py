"""Calling the bot's reconnect: off the caller's thread, sync or async, and no longer than its limit."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, Literal

import attrs

from botobs import timebox

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Attempt", "attempt", "begin"]


@attrs.frozen
class Attempt:
    """How a call of the bot's reconnect ended.

    Attributes:
        outcome: `done`, `failed` (it raised) or `hung` (no end within its limit).
        error: What went wrong.
        took_s: How long it took.
    """

    outcome: Literal["done", "failed", "hung"]
    error: BaseException | None = None
    took_s: float = 0.0

    @property
    def said(self) -> str | None:
        """The error in words."""
        if self.error is None:
            return None
        try:
            text = str(self.error)[:200]
        except Exception:  # an exception that cannot be shown
            text = ""
        return f"{type(self.error).__name__}: {text}" if text else type(self.error).__name__


def begin(work: Callable[[], None]) -> None:
    """Let `work` run on a thread of its own: attempts are rare, and whoever found the feed silent has other things."""
    threading.Thread(target=work, name="botobs-reconnect", daemon=True).start()


def attempt(fn: Callable[[], Any], loop: asyncio.AbstractEventLoop | None, limit_s: float) -> Attempt:
    """Call `fn`; a coroutine that it returns runs on `loop`, where the bot's connection lives. Never raises."""
    begun = time.perf_counter()
    called = timebox.call(fn, limit_s=limit_s)
    took_s = time.perf_counter() - begun
    if called.state != "done":
        return Attempt(called.state, called.error, took_s)
    if not inspect.isawaitable(called.value):
        return Attempt("done", None, took_s)
    return _awaited(called.value, loop, begun, limit_s)


def _awaited(value: Any, loop: asyncio.AbstractEventLoop | None, begun: float, limit_s: float) -> Attempt:
    work = value if inspect.iscoroutine(value) else _wait_for(value)
    outcome: Literal["done", "failed", "hung"] = "failed"
    error: BaseException | None = None
    try:
        if loop is None or not loop.is_running():
            why = "is not known" if loop is None else "does not run"
            raise RuntimeError(f"the bot's event loop {why}: call watch() or heartbeat() on the loop that reconnects")
        future = asyncio.run_coroutine_threadsafe(work, loop)
    except RuntimeError as trouble:  # from the loop: closed in the meantime
        work.close()
        return Attempt("failed", trouble, time.perf_counter() - begun)
    try:
        future.result(max(limit_s - (time.perf_counter() - begun), 0.0))
        outcome = "done"
    except CancelledError:
        error = RuntimeError("it was cancelled")
    except BaseException as trouble:  # SystemExit from the bot's coroutine is no reason to end this thread loudly
        error = trouble
        if not future.done():  # it is our patience that ended
            future.cancel()
            outcome, error = "hung", TimeoutError(f"no end within {limit_s:g} s")
    return Attempt(outcome, error, time.perf_counter() - begun)


async def _wait_for(value: Any) -> Any:
    return await value
