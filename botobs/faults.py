"""What went wrong inside botobs: counted, logged once a minute and cause, never raised into the bot.

One `Faults` per observer. Every room reports here; metrics, `/health` and the shutdown report read from here.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Faults", "logger"]

logger = logging.getLogger("botobs")
logger.addHandler(logging.NullHandler())

_QUIET_S = 60.0
_MOST_CAUSES = 256


class Faults:
    """Counts of internal errors and of what had to be dropped.

    Args:
        strict: Raise what would otherwise be swallowed; for tests.
    """

    def __init__(self, *, strict: bool = False) -> None:
        self.strict = strict
        self.last_error: str | None = None
        self.last_error_at: float | None = None  # monotonic
        self._lock = threading.RLock()  # re-entrant: a signal handler may run verbs while its own thread is in here
        self._errors: dict[str, int] = {}
        self._dropped: dict[str, int] = {}
        self._logged: dict[tuple[str, str], float] = {}

    def error(self, where: str, error: BaseException) -> None:
        """Count an error that botobs caught at `where`; in strict mode raise it."""
        cause = type(error).__name__
        with self._lock:
            self._errors[where] = self._errors.get(where, 0) + 1
            self.last_error, self.last_error_at = f"{where}: {cause}: {_text(error)}"[:500], time.monotonic()
        self.say(where, cause, f"{where} failed: {cause}: {_text(error)}")
        if self.strict:
            raise error

    def dropped(self, stream: str, count: int = 1) -> None:
        """Count what was dropped from `stream`, and say so."""
        self.count(stream, count)
        self.tell(stream)

    def count(self, stream: str, count: int = 1) -> None:
        """Count what was dropped, without a word: for whoever holds a lock that a log handler may want."""
        with self._lock:
            self._dropped[stream] = self._dropped.get(stream, 0) + count

    def tell(self, stream: str) -> None:
        """Say how much was dropped from `stream` by now."""
        self.say("dropped", stream, f"dropped from {stream!r}: {self._dropped[stream]} so far")

    def say(self, where: str, cause: str, message: str) -> None:
        """Log a warning, at most once a minute for each place and cause."""
        now = time.monotonic()
        with self._lock:
            last = self._logged.get((where, cause))
            if last is not None and now - last < _QUIET_S:
                return
            if len(self._logged) >= _MOST_CAUSES:
                self._logged.clear()
            self._logged[where, cause] = now
        try:
            logger.warning("botobs: %s", _one_line(message[:1000]))
        except Exception:  # a broken handler of the bot's must not become the bot's problem
            with self._lock:
                self._errors["logging"] = self._errors.get("logging", 0) + 1

    def abandon(self) -> None:
        """In a forked child: the lock may be held by a thread that does not exist here."""
        self._lock = threading.RLock()

    @property
    def errors(self) -> Mapping[str, int]:
        """Internal errors by place."""
        with self._lock:
            return dict(self._errors)

    @property
    def drops(self) -> Mapping[str, int]:
        """What was dropped, by stream."""
        with self._lock:
            return dict(self._dropped)


def _one_line(text: str) -> str:
    """`text` as any handler can write it: a lone surrogate would fail it, a line end would begin a line of its own."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def _text(error: BaseException) -> str:
    try:
        return str(error)[:300]
    except Exception:
        return "<unprintable>"
