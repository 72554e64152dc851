"""Who takes alerts: Slack, and functions of the bot's own. Each has a queue and a thread; none waits for another."""

from __future__ import annotations

import contextlib
import inspect
import threading
from typing import TYPE_CHECKING, Any, Final

from botobs.alerts.answer import Answer
from botobs.alerts.outbox import Letter, Outbox
from botobs.timebox import Outcome, Pool

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from botobs.alerts.alert import Alert
    from botobs.alerts.slack import Slack

__all__ = ["Callback", "Post", "Receiver"]

_SLACK_LIMIT_S: Final = 20.0  # for the whole request; each step of it has its own limit


class Post:
    """Slack as a receiver, within a time limit for a whole request: a server may drip for ever.

    Args:
        slack: Where to.
        pool: Where requests run; `None`: here and now.
    """

    name = "slack"
    slack = True

    def __init__(self, slack: Slack, pool: Pool | None) -> None:
        self._slack = slack
        self._pool = pool

    def take(self, letter: Letter) -> Answer:
        """Try once."""
        if self._pool is None:
            return self._slack.post(letter.alert, letter.thread)
        outcome = self._pool.call(self._slack.post, letter.alert, letter.thread, limit_s=_SLACK_LIMIT_S)
        if outcome.value is not None:
            return outcome.value
        why = "no answer in time" if outcome.state == "hung" else f"failed: {type(outcome.error).__name__}"
        return Answer(outcome="again", why=why, took_s=outcome.took_s)


class Callback:
    """A function of the bot's own as a receiver.

    Args:
        fn: Gets the alert; may be async, then it runs on a loop of its own.
        limit_s: How long it may take.
        pool: Where it runs; `None`: here and now.
        failed: Told where and why it failed.
    """

    slack = False

    def __init__(
        self, fn: Callable[[Alert], object], limit_s: float, pool: Pool | None,
        failed: Callable[[str, BaseException], None],
    ) -> None:  # fmt: skip
        self.fn = fn
        self.name = str(getattr(fn, "__qualname__", None) or type(fn).__name__)[:80]
        self._limit_s = limit_s
        self._pool = pool
        self._failed = failed

    def take(self, letter: Letter) -> Answer:
        """Call it once."""
        outcome = _here(self.fn, letter.alert) if self._pool is None else self._boxed(letter.alert)
        if outcome.error is None:
            return Answer(outcome="delivered", took_s=outcome.took_s)
        self._failed("alerts.to", outcome.error)
        why = (
            f"no end within {self._limit_s:g} s"
            if outcome.state == "hung"
            else f"raised {type(outcome.error).__name__}"
        )
        return Answer(outcome="refused", why=why, took_s=outcome.took_s)

    def _boxed(self, alert: Alert) -> Outcome[None]:
        assert self._pool is not None
        return self._pool.call(_run, self.fn, alert, limit_s=self._limit_s)


class Receiver:
    """A receiver with its queue, and the thread that hands it one alert after the other.

    Args:
        way: How it takes a letter.
        threaded: Whether it has a thread; without one it takes letters here and now.
        done: Told of each answer, on the receiver's thread.
        chance: Spreads its attempts.
    """

    def __init__(
        self, way: Post | Callback, *, threaded: bool, done: Callable[[Receiver, Letter, Answer], None],
        chance: random.Random | None,
    ) -> None:  # fmt: skip
        self.way = way
        self.name = way.name
        self.slack = way.slack
        self.outbox = Outbox(chance)
        self._threaded = threaded
        self._done = done
        self._letter: Letter | None = None
        self._bell = threading.Lock()
        self._bell.acquire()
        self._thread: threading.Thread | None = None
        self._over = False

    def hand_out(self, perf_ns: int) -> bool:
        """Let it take the next letter, if it is free and it is time; whether it got one."""
        letter = self.outbox.next(perf_ns)
        if letter is None:
            return False
        if not self._threaded:
            self._done(self, letter, self._taken(letter))
            return True
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"botobs-alerts-{self.name[:20]}", daemon=True)
            self._thread.start()
        self._letter = letter
        self._ring()
        return True

    def end(self) -> None:
        """Let the thread end when it has nothing in hand."""
        self._over = True
        self._ring()

    def _ring(self) -> None:
        with contextlib.suppress(RuntimeError):  # it rings already
            self._bell.release()

    def _run(self) -> None:
        while True:
            self._bell.acquire()
            letter, self._letter = self._letter, None
            if letter is not None:
                self._done(self, letter, self._taken(letter))
            elif self._over:
                return

    def _taken(self, letter: Letter) -> Answer:
        try:
            return self.way.take(letter)
        except BaseException as error:  # the thread has to go on
            return Answer(outcome="again" if self.slack else "refused", why=f"failed: {type(error).__name__}")


def _run(fn: Callable[[Any], object], alert: Alert) -> None:
    result = fn(alert)
    if inspect.isawaitable(result):
        import asyncio  # noqa: PLC0415  # for who has async functions

        asyncio.run(_awaited(result))


async def _awaited(result: Awaitable[object]) -> None:
    await result


def _here(fn: Callable[[Any], object], alert: Alert) -> Outcome[None]:
    try:
        _run(fn, alert)
    except Exception as error:
        return Outcome("failed", None, error)
    return Outcome("done")
