"""Where events come from: an ordered stream with positions, read and never written to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["START", "Batch", "Progress", "Raw", "Source", "SourceTrouble", "Start"]

Start: TypeAlias = Literal["beginning", "end", "checkpoint"]
#: Where to begin, in the words of `--from`.
START: Final[tuple[Start, ...]] = ("checkpoint", "beginning", "end")


class SourceTrouble(Exception):  # noqa: N818 - the stream cannot be read for now: the service says so and tries again
    """The stream cannot be read now; the text says why, without any secret."""


class Raw(NamedTuple):
    """One entry of the stream as it lies there.

    Attributes:
        position: Where the stream is once this entry was taken: text that only the source understands.
        fields: What the entry says; names and values may be text, bytes, or what JSON has.
        at_ns: When it came into the stream, nanoseconds since 1970; 0: the stream does not say.
    """

    position: str
    fields: Mapping[Any, Any]
    at_ns: int = 0


class Batch(NamedTuple):
    """Some entries in the order of the stream.

    Attributes:
        events: The entries; none, where there is nothing new, or only what the pack has no use for.
        position: Where the stream is after all of them and whatever was passed over; `None`: nowhere as yet.
        behind: Whether more is waiting.
        lost: What is missing in front of these entries (a stream trimmed beyond the checkpoint, a ledger that was
            replaced), in words; `None`: nothing.
    """

    events: Sequence[Raw]
    position: str | None
    behind: bool = False
    lost: str | None = None


class Progress(NamedTuple):
    """How far a source is, to show to a person.

    Attributes:
        done: How much was read.
        total: How much there is; `None`: nobody knows.
        unit: Of what.
    """

    done: int
    total: int | None
    unit: str = "events"


class Source(Protocol):
    """A stream of events. One thread uses it.

    Whatever the source keeps for itself (a consumer group, acknowledgements) decides nothing: the checkpoint is the
    position that the store saved together with the state. Entries between the checkpoint and what a consumer group
    believes to have delivered are delivered again.
    """

    @property
    def name(self) -> str:
        """Which stream it is, for people, and to tell whether a saved state is of this stream.

        Without hosts and paths: a stream stays the same when a replica serves it or its folder is moved.
        """
        ...

    def begin(self, position: str | None, *, end: bool = False) -> None:
        """Go to the place behind `position`.

        Called before the first `take`, and again when this process becomes the one that works.

        Args:
            position: A position that this source gave; `None`: the beginning of what there is.
            end: With no position, only what comes from now on.

        Raises:
            SourceTrouble: The stream cannot be read now.
        """
        ...

    def take(self, most: int, wait_s: float) -> Batch:
        """The next entries, at most `most`; waits for the first one no longer than `wait_s`.

        The same entries in the same order for the same positions, however they are split into batches.

        Raises:
            SourceTrouble: The stream cannot be read now; nothing was passed over.
        """
        ...

    def committed(self, position: str) -> None:
        """Everything up to `position` is saved together with the state. May acknowledge; may raise `SourceTrouble`."""
        ...

    def progress(self) -> Progress | None:
        """How far it is; `None`: that cannot be told."""
        ...

    def close(self) -> None:
        """Give back what it holds; never raises."""
        ...
