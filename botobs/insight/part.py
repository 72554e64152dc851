"""What every part of this room has in common, as the room sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from botobs.sinks.metrics.readings import Said
    from botobs.streams.reader import StreamReader

__all__ = ["Part"]


class Part:
    """Each part does what it has something to do with, and leaves the rest.

    All of this is called in the background, never by two threads at once; what the bot's own threads call as well is
    the part's to lock.

    Attributes:
        file: Where in `state/` it is kept; `None`: it has nothing to keep.
        names: The metrics that `measured` tells.
        changes: Goes up with everything worth keeping soon,
        steps: and this with what is worth keeping now and then.
    """

    file: ClassVar[str | None] = None
    names: ClassVar[tuple[str, ...]] = ()
    changes: int = 0

    @property
    def steps(self) -> int:
        """How much has happened that is worth keeping now and then."""
        return 0

    @property
    def timed(self) -> Collection[str]:
        """The symbols whose price is wanted now; asked once a second."""
        return ()

    def begin(self, history: StreamReader | None) -> None:
        """The run begins. `history`: the records of earlier ones, if there is a state of theirs."""

    def finished(self, bar: tuple[Any, ...], now: int) -> None:
        """A bar has finished: symbol, open, high, low, close, volume, time (RFC 3339, or `None`); told once each."""

    def price(self, symbol: str, price: Any, at: int, now: int) -> None:
        """At `now`, the newest price of a symbol of `timed` is this, of the time `at`."""

    def chore(self, now: int) -> None:
        """A second has passed."""

    def measured(self) -> Iterable[Said]:
        """Its metrics, as they are now."""
        return ()

    def state(self) -> Any:
        """All that it has to know after a restart, for JSON."""
        return None

    def restore(self, state: Any) -> list[str]:  # noqa: ARG002 - a part without a file keeps nothing
        """Go on where `state` was taken; what in it is damaged is left out and named."""
        return []

    def abandon(self) -> None:
        """In a forked child: be usable, though another thread may have held the lock, and all else is the parent's."""
