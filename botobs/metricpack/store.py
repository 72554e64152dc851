"""Where the state is kept: changes, position and fence go in together, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Fenced", "State", "Store", "StoreTrouble"]


class Fenced(Exception):  # noqa: N818 - no mistake of anybody: another process works now
    """Another process has taken over: nothing was written, and what this one derived since is void."""


class StoreTrouble(Exception):  # noqa: N818 - the service says so and tries again
    """The store cannot be reached now; the text says why, without any secret. Nothing was written."""


class State(NamedTuple):
    """What was saved last.

    Attributes:
        values: Everything the builder saved, by its keys.
        position: The source's position that belongs to it; `None`: nothing was ever saved.
    """

    values: Mapping[str, bytes]
    position: str | None


class Store(Protocol):
    """Keeps the state of one builder. One thread uses it.

    The lease decides who works. It is held by beats: whoever holds it calls `lease` again and again, and another
    process may take it once it has seen no beat for the time to live on its own steady clock. So no two clocks are
    ever compared. The fence grows by one with each new holder, and a commit with an old one is refused, however late
    it comes: a process that was stopped for an hour loses what it had not committed, and doubles nothing.
    """

    @property
    def name(self) -> str:
        """Where it is, for people; without secrets."""
        ...

    def lease(self, owner: str, ttl_s: float) -> int | None:
        """Take the lease, or keep it.

        To be called at least every third of `ttl_s` by whoever holds it, and as often by those who wait.

        Args:
            owner: Who asks; no two processes have the same name.
            ttl_s: After how long without a beat another one may take it.

        Returns:
            The fence: the same one while `owner` keeps it; `None`: another process holds it.

        Raises:
            StoreTrouble: The store cannot be reached.
        """
        ...

    def load(self, fence: int) -> State:
        """What was saved last.

        Raises:
            Fenced: The lease has gone to another process.
            StoreTrouble: The store cannot be reached, or what is in it is damaged.
        """
        ...

    def commit(self, changes: Mapping[str, bytes | None], position: str | None, fence: int) -> None:
        """Save changes (`None`: the key goes) and the position together, atomically and for good.

        Args:
            changes: Only what changed since the last commit.
            position: The source's position after the events that made these changes.
            fence: What `lease` gave.

        Raises:
            Fenced: The lease has gone to another process.
            StoreTrouble: It is not saved. If that is not certain, the same commit may be tried again: it says the same.
        """
        ...

    def clear(self, fence: int) -> None:
        """Forget everything that was saved, the position included.

        Raises:
            Fenced: The lease has gone to another process.
            StoreTrouble: The store cannot be reached.
        """
        ...

    def release(self, owner: str) -> None:
        """Let another process take over at once; never raises."""
        ...

    def close(self) -> None:
        """Give back what it holds; never raises."""
        ...
