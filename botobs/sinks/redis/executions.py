"""The bot's executions on their way into a Redis stream, in the form that the metric pack reads.

They come from the ledger, so nothing can be lost on the way: while the server is away they lie on the disk. How far it
got stands in Redis and changes in the same step as the stream, so each execution is there once, whatever died when.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from botobs.metricpack.source import SourceTrouble
from botobs.sinks.redis.link import LinkTrouble, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from botobs.metricpack.source import Raw, Source
    from botobs.sinks.redis.link import Arg, Link

__all__ = ["Executions", "fields_of"]

_MOST: Final = 200
_NAMES: Final = {"qty": "quantity", "ts": "time"}


class Executions:
    """Brings what a ledger says into a stream.

    Args:
        source: The ledger.
        link: The server.
        stream: The stream's key.
        checkpoint: The key of how far it got.
        maxlen: About how many entries the stream keeps.
        bot: Who did it.
        since: A file that says from where on executions are published; made at the first start.

    Attributes:
        published: How many were brought there.
        refused: How many the server would not take.
        lost: What is missing in the ledger, in words, until somebody says so.
    """

    def __init__(
        self, source: Source, link: Link, *, stream: str, checkpoint: str, maxlen: int, bot: str, since: Path
    ) -> None:
        self._source, self._link = source, link
        self._stream, self._checkpoint, self._bot = stream, checkpoint, bot
        self._add: tuple[Arg, ...] = ("XADD", stream, "MAXLEN", "~", maxlen, "*")
        self._since = since
        self._epoch = 0  # of the connection to which this is known to be the place
        self.published = self.refused = 0
        self.lost: str | None = None
        self._start: str | None = None
        self._started = False
        with contextlib.suppress(SourceTrouble):  # it is tried again by whoever calls `step`
            self._start_here()

    def step(self) -> bool:
        """Bring some; whether there may be more.

        Raises:
            LinkTrouble: The server cannot be reached, or is full; nothing was passed over.
            SourceTrouble: The ledger cannot be read now.
        """
        if not self._epoch or self._epoch != self._link.epoch:
            self._resume()
        batch = self._source.take(_MOST, 0.0)
        self.lost = batch.lost or self.lost
        said = [fields for raw in batch.events if (fields := fields_of(raw, self._bot))]
        if said and batch.position is not None:
            try:
                answers = self._link.atomic(
                    [*((*self._add, *fields) for fields in said), ("SET", self._checkpoint, batch.position)]
                )
            except LinkTrouble:
                self._epoch = 0  # the server is asked how far it got
                raise
            refused = sum(isinstance(answer, Refusal) for answer in answers)
            self.refused += refused
            self.published += len(said) - refused
        return batch.behind

    def _start_here(self) -> None:
        """Where the server knows of nothing, what was booked since the first start with Redis is published.

        That start is kept on the disk: a run that ends before it ever reached the server must not take its fills along.
        """
        try:
            self._start = self._since.read_text("ascii").strip() or None
        except (OSError, ValueError) as error:
            self._source.begin(None, end=True)
            self._start = self._source.take(0, 0.0).position
            if not isinstance(error, FileNotFoundError):
                self.lost = f"{self._since.name} cannot be read ({error}): what was not published before now is not"
            self._keep_start()
        self._started = True

    def _keep_start(self) -> None:
        try:
            self._since.parent.mkdir(parents=True, exist_ok=True)
            beside = self._since.with_name(f"{self._since.name}.tmp")
            beside.write_text(self._start or "", "ascii")
            beside.replace(self._since)
        except OSError as error:  # as far as this run is concerned, memory does
            self.lost = self.lost or (
                f"{self._since.name} cannot be kept ({error}): what this run books and does not publish, "
                "the next one will not publish either"
            )

    def _resume(self) -> None:
        """Go on behind what the server has."""
        kind, position = self._link.calls([("TYPE", self._stream), ("GET", self._checkpoint)])
        for answer in (kind, position):
            if isinstance(answer, Refusal):
                raise answer
        if kind not in (b"stream", b"none", "stream", "none"):
            raise LinkTrouble(f"{self._link.name}: {self._stream} is no stream")
        if not self._started:
            self._start_here()
        self._source.begin(self._start if position is None else position.decode("utf-8", "replace"))
        self._epoch = self._link.epoch


def fields_of(raw: Raw, bot: str) -> list[bytes | str]:
    """Names and values in turns; none, where the ledger's line could not be read.

    Example:
        >>> from botobs.metricpack.source import Raw
        >>> fields_of(Raw("1", {"symbol": "BTC-USD", "qty": "2", "executed": True, "plan_id": None}), "b")
        ['bot', 'b', 'symbol', b'BTC-USD', 'quantity', b'2', 'executed', b'true']
    """
    fields: Mapping[Any, Any] = raw.fields
    if "symbol" not in fields:
        return []
    told: list[bytes | str] = ["bot", bot]
    for name, value in fields.items():
        if value is not None:
            told += [_NAMES.get(name, name), _text(value)]
    return told


def _text(value: Any) -> bytes:
    if value is True or value is False:
        return b"true" if value else b"false"
    return str(value).encode("utf-8", "backslashreplace")
