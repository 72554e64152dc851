"""Many alerts at once become one, so that a person reads it."""

from __future__ import annotations

import collections
from typing import Final

from botobs.alerts.alert import Alert, rank_of

__all__ = ["Burst", "digest_text"]

_MOST_COLLECTED: Final = 1_000
_LONGEST: Final = 16  # windows: while a storm lasts, digests come ever less often
_MOST_LINES: Final = 20
_LINE: Final = 160


class Burst:
    """Lets a few through and collects the rest of a burst. Critical alerts do not come here.

    Args:
        most: How many may go out one by one within a window.
        window_ns: How long that is.
    """

    def __init__(self, most: int, window_ns: int) -> None:
        self._most = most
        self._window_ns = window_ns
        self._passed: collections.deque[int] = collections.deque(maxlen=max(most, 1))
        self._collected: list[Alert] = []
        self._due_ns: int | None = None
        self._windows = 1

    @property
    def due_ns(self) -> int | None:
        """When what was collected goes out (steady counter); `None`: nothing is being collected."""
        return self._due_ns

    @property
    def waiting(self) -> int:
        """How many were collected."""
        return len(self._collected)

    def admit(self, alert: Alert, perf_ns: int) -> bool:
        """Whether it goes out by itself; else it was collected."""
        if self._due_ns is None:
            full = len(self._passed) == self._most and perf_ns - self._passed[0] < self._window_ns
            if not full:
                self._passed.append(perf_ns)
                return True
            self._due_ns = self._passed[0] + self._window_ns
        self._collected.append(alert)
        if len(self._collected) >= _MOST_COLLECTED:  # no room for more: out with them
            self._due_ns = perf_ns
        return False

    def take(self, perf_ns: int, *, force: bool = False) -> list[Alert]:
        """What was collected, if it is due."""
        if self._due_ns is None or not (force or perf_ns >= self._due_ns):
            return []
        collected, self._collected = self._collected, []
        self._passed.clear()
        if len(collected) > self._most and not force:
            self._windows = min(self._windows * 2, _LONGEST)
            self._due_ns = perf_ns + self._windows * self._window_ns
        else:
            self._windows, self._due_ns = 1, None
        return collected


def digest_text(alerts: list[Alert]) -> tuple[str, str, str]:
    """Level, title and message of the digest of `alerts`: each kind once, with its count."""
    level = max((alert.level for alert in alerts), key=rank_of)
    kinds: dict[tuple[str, str], list[Alert]] = {}
    for alert in alerts:
        kinds.setdefault((alert.level, alert.title), []).append(alert)
    ordered = sorted(kinds.items(), key=lambda kind: -rank_of(kind[0][0]))
    lines = []
    for (name, title), those in ordered[:_MOST_LINES]:
        times = f" ({len(those)} times)" if len(those) > 1 else ""
        newest = those[-1].message.partition("\n")[0]
        lines.append(f"{name.upper()} {title}{times}{': ' if newest else ''}{newest}"[:_LINE])
    if len(ordered) > _MOST_LINES:
        lines.append(f"and {len(ordered) - _MOST_LINES} more kinds; all are in alerts.jsonl")
    return level, f"{len(alerts)} alerts at once", "\n".join(lines)
