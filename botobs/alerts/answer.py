"""What the one who was to take an alert said."""

from __future__ import annotations

from typing import Final, Literal

import attrs

__all__ = ["Answer"]

_MARKS: Final = {"delivered": "delivered", "again": "not delivered now", "refused": "not delivered"}


@attrs.frozen(kw_only=True)
class Answer:
    """How an attempt to deliver an alert ended. True if it was delivered.

    Attributes:
        outcome: `delivered`; `again`: not now, a later attempt may succeed; `refused`: it will not.
        why: In words; never with an address or a token.
        status: The HTTP status, where there was one.
        after_s: How long to wait, as the one who answered wishes.
        thread: Where in Slack the message stands.
        took_s: How long it took.
    """

    outcome: Literal["delivered", "again", "refused"]
    why: str = ""
    status: int | None = None
    after_s: float | None = None
    thread: str | None = None
    took_s: float = 0.0

    @property
    def delivered(self) -> bool:
        """Whether it arrived."""
        return self.outcome == "delivered"

    def __bool__(self) -> bool:
        return self.delivered

    def __str__(self) -> str:
        return f"{_MARKS[self.outcome]}{f': {self.why}' if self.why else ''} ({self.took_s:.2f} s)"
