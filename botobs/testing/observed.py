"""An observer whose insides a test can ask about; everything it does, it does as any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botobs.events import Event
from botobs.observer import Observer

if TYPE_CHECKING:
    import contextlib

    from botobs.config import Settings
    from botobs.parts import Parts

__all__ = ["Observed"]


class Observed(Observer):
    """An observer under a test.

    Attributes:
        seen: Every event of its bus, from the first.
    """

    def __init__(self, settings: Settings, parts: Parts, undo: contextlib.ExitStack) -> None:
        self.seen: list[Event] = []
        super().__init__(settings, parts, undo)
        self.bus.subscribe(Event, self.seen.append, immediate=True, _trusted=True)

    def settle(self, deadline: float) -> bool:
        """Let background subscribers and the disk catch up; whether they did before `deadline` (monotonic).

        Unlike `flush` it leaves the collector alone, which may be down.
        """
        if self._over is not None:
            return True
        done = self._delivery.settle(deadline) and self.bus.flush(deadline)
        return self._store.flush(deadline, sync=False) and done

    def page(self) -> str:
        """What a scrape would get."""
        return self._metrics.render()[0].decode()
