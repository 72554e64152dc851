"""The bot's own function that says which regime a market is in: asked within a limit, and never trusted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botobs import timebox
from botobs.safety.callbacks import name_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from botobs.faults import Faults
    from botobs.insight.market import Market

__all__ = ["NO_ANSWER", "Classifier"]

#: It failed, or did not come back: nothing is known from it.
NO_ANSWER = object()

_MOST_HANGS = 3  # then it is out for good
_LONGEST = 60


class Classifier:
    """Asks a function; counts what goes wrong.

    Args:
        fn: Takes a `Market`, gives the name of a regime, or `None`: as the ADX says.
        faults: Where failures are counted.
        limit_s: How long it may take; `None`: it is called as it is, as in a backtest.

    Attributes:
        name: What the function is called.
        out: It hung too often, and is not asked any more.
    """

    def __init__(self, fn: Callable[[Market], Any], faults: Faults, *, limit_s: float | None) -> None:
        self.name = name_of(fn)
        self._fn = fn
        self._faults = faults
        self._limit_s = limit_s
        self._busy = False
        self._hangs = 0

    @property
    def out(self) -> bool:
        """Whether it hung too often."""
        return self._hangs >= _MOST_HANGS

    def ask(self, market: Market) -> Any:
        """The name of a regime, `None`, or `NO_ANSWER`."""
        if self.out:
            return None
        if self._busy:  # it still hangs at an earlier bar
            return NO_ANSWER
        try:
            return _named(self._called(market))
        except Exception as error:
            self._faults.error("regime.classify", error)
            return NO_ANSWER

    def _called(self, market: Market) -> Any:
        if self._limit_s is None:
            return self._fn(market)
        self._busy = True  # until it has come back, however late
        outcome = timebox.call(self._run, market, limit_s=self._limit_s)
        if not outcome.began:
            self._busy = False
        if outcome.state == "hung" and outcome.began:
            self._hangs += 1
            if self.out:
                self._faults.say("regime.classify", "out", f"{self.name} hung {_MOST_HANGS} times: the ADX decides")
        if outcome.error is not None:
            if not isinstance(outcome.error, Exception):
                raise RuntimeError(f"{self.name} ended with {type(outcome.error).__name__}")
            raise outcome.error
        return outcome.value

    def _run(self, market: Market) -> Any:
        try:
            return self._fn(market)
        finally:
            self._busy = False


def _named(said: Any) -> str | None:
    if said is None:
        return None
    if not isinstance(said, str):
        close = getattr(said, "close", None)  # a coroutine would warn that nobody awaited it
        if callable(close):
            close()
        raise TypeError(f"a classifier gives the name of a regime, not {type(said).__name__}")
    name = str.__str__(said).strip()[:_LONGEST]
    if not name:
        raise ValueError("a classifier gives the name of a regime, not an empty text")
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode()
