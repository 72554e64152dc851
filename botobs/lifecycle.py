"""The ends of a process: normal exit, SIGTERM, and the child of a fork.

Observers enter themselves here; the hooks are set when the first one does.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

from botobs.stages.engine import ENGINES
from botobs.stages.live import Live, get_context, set_context

if TYPE_CHECKING:
    from types import FrameType

    from botobs.observer import Observer
    from botobs.stages.engine import Engine

__all__ = ["enter", "leave", "running"]

#: How long an observer may take to end when the process ends.
EXIT_TIMEOUT_S = 5.0

_observers: dict[Engine, Observer] = {}
_lock = threading.Lock()
_hooked = False


def enter(engine: Engine, observer: Observer) -> None:
    """An observer runs from now on."""
    with _lock:
        _set_hooks()
        _observers[engine] = observer
        ENGINES.append(engine)


def leave(engine: Engine) -> None:
    """An observer has ended."""
    with _lock:
        _observers.pop(engine, None)
        if engine in ENGINES:
            ENGINES.remove(engine)


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
    if (
        threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    ):
        signal.signal(signal.SIGTERM, _on_sigterm)


def _shut_all(how: str) -> None:
    for observer in list(_observers.values()):
        observer.end(EXIT_TIMEOUT_S, how=how)


def _on_sigterm(_number: int, _frame: FrameType | None) -> None:
    """End in good order, then end as the signal would have ended it.

    The work is done on another thread: this one may have been interrupted while it held a lock of ours.
    """
    worker = threading.Thread(target=_shut_all, args=("sigterm",), name="botobs-sigterm", daemon=True)
    worker.start()
    worker.join(EXIT_TIMEOUT_S + 1.0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


def _in_child() -> None:
    """The child has no threads of ours and owns none of the parent's files: it forgets, and may `start` itself."""
    global _lock  # noqa: PLW0603  # the parent's may be held by a thread that does not exist here
    _lock = threading.Lock()
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
