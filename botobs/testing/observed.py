"""An observer whose insides a test can ask about; everything it does, it does as any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botobs.events import Event
from botobs.observer import Observer

if TYPE_CHECKING:
    import contextlib

    from botobs.config import Settings
    from botobs.observer import Parts

__all__ = ["Observed"]


class Observed(Observer):
    """An observer under a test.

    Attributes:
        seen: Every event of its bus, from the first.
    """

    def __init__(self, settings: Settings, parts: Parts, undo: contextlib.ExitStack) -> None:
        self.seen: list[Event] = []
        self._last_page: str | None = None
        super().__init__(settings, parts, undo)
        self.bus.subscribe(Event, self.seen.append, immediate=True, _trusted=True)

    @property
    def ended(self) -> bool:
        """Whether it was shut down."""
        return self._over is not None

    def settle(self, deadline: float) -> bool:
        """Let background subscribers and the disk catch up; whether they did before `deadline` (monotonic)."""
        if self._over is not None:
            return True
        done = self.bus.flush(deadline)
        return self._store.flush(deadline, sync=False) and done

    def send_spans(self, deadline: float) -> bool:
        """Send what waits; whether nothing waits any more."""
        if self._over is not None or self._otlp is None or self._otlp.sender is None:
            return True
        while self._encode_kept(10**7):
            pass
        self._otlp.flush(deadline)
        return not self._otlp.sender.counts.pending

    def page(self) -> str:
        """What a scrape would get; after the end, what the last one would have got."""
        if self._last_page is not None:
            return self._last_page
        return self._metrics.render()[0].decode()

    def _close(self, deadline: float) -> None:
        self._last_page = self.page()
        super()._close(deadline)
