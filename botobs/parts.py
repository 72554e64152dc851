"""What the observer is made of beside its own rooms: what may be put in their place, and what may be attached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs

from botobs.streams.disk import Disk

if TYPE_CHECKING:
    from botobs.sinks.otlp.transport import Transport

__all__ = ["Attached", "Parts"]


@attrs.frozen(kw_only=True)
class Parts:
    """What the demo and the testing helper put in the place of the real thing.

    Attributes:
        disk: How files are written.
        transport: Where spans go.
        seed: Makes ids deterministic.
        run_id: The run's id.
        bare: Read no environment and no file.
        scrape: Be ready to show what a scrape would get, though no port is open.
    """

    disk: Disk = attrs.field(factory=Disk)
    transport: Transport | None = None
    seed: int | str | None = None
    run_id: str | None = None
    bare: bool = False
    scrape: bool = False


class Attached(Protocol):
    """What lives and ends with an observer without being a part of it."""

    def flush(self, deadline: float, /) -> bool:
        """Deliver what waits, before `deadline` (monotonic)."""
        ...

    def close(self, deadline: float, /) -> bool:
        """Flush, then end."""
        ...

    def abandon(self) -> None:
        """Forget everything in a forked child."""
        ...
