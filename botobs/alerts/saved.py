"""`state/alerts.json`: what was said of which key, and the critical alerts that nobody has taken yet."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson

from botobs.alerts.alert import Alert
from botobs.datadir import atomic_write
from botobs.streams.encode import dumps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

__all__ = ["Kept", "Saved"]

_FILE: Final = "alerts.json"
_MOST_RUNS: Final = 5
_WEEK_NS: Final = 7 * 86_400 * 10**9


@attrs.define
class Kept:
    """A critical alert that is kept until somebody has taken it.

    Attributes:
        alert: The alert.
        runs: How many runs could not deliver it.
        answers: The id of the alert that it says is over.
        thread: Where in Slack that one stands.
    """

    alert: Alert
    runs: int = 0
    answers: str | None = None
    thread: str | None = None


class Saved:
    """The file.

    Args:
        folder: Where it is; `None`: nothing is kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / _FILE

    def read(self, now_ns: int) -> tuple[Any, list[Kept], str | None]:
        """What the cooldowns were, what was not delivered, and what is wrong with the file, if anything."""
        if self._path is None:
            return {}, [], None
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return {}, [], None
        except OSError as error:
            return {}, [], f"{_FILE} cannot be read: {error.strerror}"
        try:
            found = orjson.loads(content)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            with contextlib.suppress(OSError):
                self._path.replace(self._path.with_name(f"{_FILE}.damaged"))
            return {}, [], f"{_FILE} is damaged and was set aside: alerts may come once more"
        pending = found.get("pending")
        entries = pending if isinstance(pending, list) else []
        kept = [one for entry in entries if (one := _restored(entry)) is not None]
        fresh = [one for one in kept if _fresh(one, now_ns)]
        gone = len(entries) - len(fresh)
        wrong = f"{gone} undelivered alerts of earlier runs are given up: too old, or damaged" if gone else None
        return found.get("keys"), fresh, wrong

    def write(self, keys: Callable[[], Any], kept: Iterable[Kept]) -> None:
        """Keep it.

        Raises:
            OSError: The disk refused; the old file is as it was.
        """
        if self._path is None:
            return
        entries = [
            {"runs": one.runs, "answers": one.answers, "thread": one.thread, "alert": one.alert.state()} for one in kept
        ]
        atomic_write(self._path, dumps({"v": 1, "keys": keys(), "pending": entries}))


def _fresh(kept: Kept, now_ns: int) -> bool:
    """Not tried in vain too often, and no news of another week."""
    return kept.runs < _MOST_RUNS and now_ns - kept.alert.ts_ns < _WEEK_NS


def _restored(entry: Any) -> Kept | None:
    if not isinstance(entry, dict):
        return None
    alert = Alert.restored(entry.get("alert"))
    runs, answers, thread = entry.get("runs"), entry.get("answers"), entry.get("thread")
    if alert is None:
        return None
    return Kept(
        alert,
        runs=runs + 1 if isinstance(runs, int) else 1,
        answers=answers if isinstance(answers, str) else None,
        thread=thread if isinstance(thread, str) else None,
    )
