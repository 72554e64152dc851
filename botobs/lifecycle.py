"""The ends of a process: normal exit, SIGTERM, and the child of a fork.

Observers enter themselves here; the hooks are set when the first one does.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

from botobs.stages.engine import ENGINES
from botobs.stages.live import Live, get_context, set_context

if TYPE_CHECKING:
    from types import FrameType

    from botobs.observer import Observer
    from botobs.stages.engine import Engine

__all__ = ["enter", "finishing", "leave", "running", "stop"]

#: How long an observer may take to end when the process ends.
EXIT_TIMEOUT_S = 5.0

_observers: dict[Engine, Observer] = {}
_lock = threading.RLock()  # re-entrant: a signal handler of the bot's may end an observer
_hooked = False
_depth = 0  # how many `finishing` the main thread is in
_postponed = False  # a SIGTERM came meanwhile
_terminating = False
_process = 0  # whose observers these are


def enter(engine: Engine, observer: Observer) -> None:
    """An observer runs from now on."""
    global _process  # noqa: PLW0603  # a child that starts its own is another process
    with _lock:
        _process = os.getpid()
        _set_hooks()
        _observers[engine] = observer
        ENGINES.append(engine)


def stop(engine: Engine) -> None:
    """An observer begins to end: its verbs do nothing from here on."""
    with _lock:
        if engine in ENGINES:
            ENGINES.remove(engine)


def leave(engine: Engine) -> None:
    """An observer has ended. Until then an exit or a signal waits for it."""
    with _lock:
        stop(engine)
        _observers.pop(engine, None)
        if (
            not _observers
            and not _terminating
            and threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGTERM) is _on_sigterm
        ):
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def running(engine: Engine) -> Observer | None:
    """The observer that an engine belongs to."""
    return _observers.get(engine)


def _set_hooks() -> None:
    global _hooked  # noqa: PLW0603  # one process, one set of hooks
    if not _hooked:
        _hooked = True
        atexit.register(_shut_all, "exit")
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_in_child)
    # again with each observer: somebody may have taken or released the signal since
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_sigterm)


class finishing:  # noqa: N801  # read as the verb it is: `with finishing():`
    """What the main thread does in here is done before a SIGTERM of ours takes effect.

    Our handler runs on that thread, in the middle of whatever it does. There it would wait for locks that are held
    below it, until time is up and nothing is written. What stands in here has a deadline of its own.
    """

    def __enter__(self) -> None:
        global _depth  # noqa: PLW0603  # only the main thread counts, so no lock is needed
        if threading.current_thread() is threading.main_thread():
            _depth += 1

    def __exit__(self, *exc_info: object) -> None:
        global _depth, _postponed  # noqa: PLW0603  # as above
        if threading.current_thread() is threading.main_thread():
            _depth -= 1
            if _postponed and not _depth:
                _postponed = False
                _terminate()


def _shut_all(how: str) -> None:
    """End all observers, within `EXIT_TIMEOUT_S` together: a dead collector of one takes no time from the next."""
    until = time.monotonic() + EXIT_TIMEOUT_S
    waiting = list(_observers.values())
    while waiting:
        observer = waiting.pop()
        observer.end(max(until - time.monotonic(), 0.0) / (len(waiting) + 1), how=how)


def _on_sigterm(_number: int, _frame: FrameType | None) -> None:
    """End in good order, then end as the signal would have ended it."""
    global _postponed  # noqa: PLW0603  # handlers run on the main thread alone
    if os.getpid() != _process:  # a child that is so young that `_in_child` has not run: what waits is the parent's
        _end_by_sigterm()
    elif _depth:
        _postponed = True
    elif not _terminating:  # a second signal waits for the first
        _terminate()


def _terminate() -> None:
    """The work is done on another thread: this one may have been interrupted while it held a lock of ours."""
    global _terminating  # noqa: PLW0603  # as above
    _terminating = True
    worker = threading.Thread(target=_shut_all, args=("sigterm",), name="botobs-sigterm", daemon=True)
    try:
        worker.start()
    except RuntimeError:  # no thread to be had, or the interpreter is going down
        _shut_all("sigterm")
    else:
        worker.join(EXIT_TIMEOUT_S + 1.0)
    _end_by_sigterm()


def _end_by_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


def _in_child() -> None:
    """The child has no threads of ours and owns none of the parent's files: it forgets, and may `start` itself."""
    global _lock, _depth, _postponed, _terminating  # noqa: PLW0603  # what the parent was in the middle of
    _lock = threading.RLock()  # the parent's may be held by a thread that does not exist here
    _depth, _postponed, _terminating = 0, False, False
    ENGINES.clear()
    observers: list[Any] = list(_observers.values())
    _observers.clear()
    for observer in observers:
        observer.abandon()
    context = get_context()
    while context.__class__ is Live:  # the stages that the fork happened in are the parent's
        context = context.parent
    set_context(context)
    if signal.getsignal(signal.SIGTERM) is _on_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
