"""The records of earlier runs, for the rooms that go on where those ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botobs.streams.reader import StreamReader

if TYPE_CHECKING:
    import datetime as dt
    import os
    from collections.abc import Collection, Iterator
    from typing import TypeAlias

    from botobs.faults import Faults

    Bound: TypeAlias = dt.datetime | str | float | None

__all__ = ["EarlierRuns"]


class EarlierRuns(StreamReader):
    """What was written before this run, for whoever goes on from there; what cannot be read is said.

    Args:
        data_dir: Where the bot keeps its data.
        faults: Says it.
    """

    def __init__(self, data_dir: str | os.PathLike[str], faults: Faults) -> None:
        super().__init__(data_dir)
        self._faults = faults

    def latest(self, stream: str, n: int) -> list[dict[str, Any]]:
        """The last `n` records, oldest first.

        Raises:
            OSError: They cannot be read; that is in the log.
        """
        try:
            return super().latest(stream, n)
        except OSError as error:
            self._say(stream, error)
            raise

    def read(
        self, stream: str, start: Bound = None, end: Bound = None, *, having: Collection[bytes] = ()
    ) -> Iterator[dict[str, Any]]:
        """The records from `start` up to `end`, in the order they were written.

        Raises:
            OSError: They cannot be read; that is in the log.
        """
        try:
            yield from super().read(stream, start, end, having=having)
        except OSError as error:
            self._say(stream, error)
            raise

    def _say(self, stream: str, error: OSError) -> None:
        said = f"the records of {stream} cannot be read, so what an earlier run left undone stays so: {error}"
        if stream == "trade_lifecycle":
            said += "; `botobs performance --backfill` makes up for it"
        self._faults.say("restart", stream, said)
