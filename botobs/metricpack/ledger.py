"""The ledger of a bot as a source: every fill once, in the order in which it was booked, archives included."""

from __future__ import annotations

import contextlib
import os
import time
from binascii import hexlify
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson

from botobs.accounting.ledger.chain import digest_of
from botobs.accounting.ledger.reading import Reader
from botobs.clock import epoch_ns
from botobs.metricpack.lines import fields_of
from botobs.metricpack.orders import Orders
from botobs.metricpack.source import Batch, Progress, Raw, SourceTrouble

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from botobs.metricpack.lines import OrderLike

__all__ = ["KnownOrders", "LedgerSource"]

_POLL_S: Final = 0.04  # a lag nobody minds, and few commits
_ENDLESS: Final = 1 << 62


class KnownOrders(Protocol):
    """Knows what orders were announced with."""

    def of(self, order_id: str | None, /) -> OrderLike | None:
        """The order; `None`: nobody announced it."""


class LedgerSource:
    """Follows `metrics/fills.jsonl` and what was rotated out of it. A `Source`.

    A position is the number of a line and its hash, so that a ledger which was replaced behind the checkpoint is
    noticed. Plan and action come from the orders' announcements.

    Args:
        data_dir: The bot's data directory.
        orders: What orders were announced with; from the bot's records, if nobody else tells.
    """

    def __init__(self, data_dir: Path, orders: KnownOrders | None = None) -> None:
        self._reader = Reader(data_dir)
        self._own = Orders(data_dir) if orders is None else None
        self._orders: KnownOrders | None = orders
        self._seq = 0
        self._position: str | None = None
        self._lines: Iterator[tuple[int, bytes]] | None = None
        self._signature: tuple[int, ...] | None = None
        self._lost: str | None = None
        self._last = 0

    @property
    def name(self) -> str:
        """What it is; wherever the data directory is moved to, the positions say whether it is the same ledger."""
        return "ledger"

    def begin(self, position: str | None, *, end: bool = False) -> None:
        """Go to the place behind `position`. See `Source.begin`."""
        self._leave()
        self._seq, self._position, self._lost, self._signature = 0, position, None, None
        with _telling():
            parts = self._reader.parts()
            try:
                self._last, digest = self._reader.last(parts)
                if position is None:
                    if end and self._last:
                        self._seq, self._position = self._last, _place(self._last, digest)
                    return
                self._seq = _seq_of(position)
                line = self._reader.find(parts, self._seq) if self._seq else None
            finally:
                self._reader.done(parts)
        if self._last < self._seq:
            self._lost = f"the ledger ends at {self._last}, the checkpoint is at {self._seq}: it was replaced"
            self._seq = 0
        elif line is None and self._seq:
            self._lost = f"line {self._seq} of the ledger, where the checkpoint is, is gone"
        elif line is not None and _place(self._seq, digest_of(line) or b"") != position:
            self._lost = f"line {self._seq} of the ledger is not the one of the checkpoint: it was replaced"

    def take(self, most: int, wait_s: float) -> Batch:
        """The next fills. See `Source.take`."""
        until = time.monotonic() + wait_s
        with _telling():
            while True:
                try:
                    events, full = self._some(most)
                except BaseException:
                    self._leave()
                    self._signature = None  # to be read again, from the line behind the last one taken
                    raise
                lost, self._lost = self._lost, None
                left = until - time.monotonic()
                if events or lost or full or left <= 0:
                    return Batch(events, self._position, full, lost)
                time.sleep(min(_POLL_S, left))

    def _some(self, most: int) -> tuple[list[Raw], bool]:
        """What there is now, and whether that may not be all."""
        if self._lines is None and not self._open():
            return [], False
        events: list[Raw] = []
        for read, (seq, line) in enumerate(self._lines or (), 1):
            if seq != self._seq + 1 and self._seq:
                self._lost = f"the ledger has no readable lines from {self._seq + 1} to {seq - 1}"
            self._seq = seq
            self._position = _place(seq, digest_of(line) or b"")
            raw = self._raw(line)
            if raw is not None:
                events.append(raw)
            if read >= most:
                return events, True
        self._leave()
        return events, False

    def _open(self) -> bool:
        """Begin to read what is new; whether anything can be."""
        signature = self._sign()
        if signature == self._signature:
            return False
        self._leave()
        self._signature = signature
        parts = self._reader.parts()
        self._last = max(self._reader.last(parts)[0], 0)
        if self._last < self._seq:
            self._lost = f"the ledger ends at {self._last}, and {self._seq} was read already: it was replaced"
            self._seq = 0
        self._lines = self._walk(parts, self._seq + 1)
        return True

    def _walk(self, parts: Any, since: int) -> Iterator[tuple[int, bytes]]:
        try:
            yield from self._reader.lines(parts, since, _ENDLESS)
        finally:
            self._reader.done(parts)

    def _sign(self) -> tuple[int, ...]:
        """What tells that something was written, rotated or replaced."""
        try:
            found = os.stat(self._reader.live)  # noqa: PTH116 - every poll asks
        except FileNotFoundError:
            return ()
        return found.st_dev, found.st_ino, found.st_size

    def _raw(self, line: bytes) -> Raw | None:
        """What a line says; `None`: nothing for the pack."""
        position = self._position or ""
        try:
            said = orjson.loads(line)
            at = epoch_ns(said.get("received") or said["ts"])
            fields = fields_of(said, self._order(said, at) if said["type"] == "fill" else None)
            return None if fields is None else Raw(position, fields, at)
        except OSError:
            raise
        except Exception:  # damaged; `botobs verify` names it
            return Raw(position, {"line": line[:2_000]}, 0)

    def _order(self, said: dict[str, Any], at_ns: int) -> OrderLike | None:
        order_id = said.get("order_id")
        if self._orders is not None:
            return self._orders.of(order_id)
        if self._own is None or order_id is None:
            return None
        found = self._own.of(order_id)
        if found is None:
            self._own.reach(at_ns)
            found = self._own.of(order_id)
        return found

    def committed(self, position: str) -> None:
        """Nothing is told to a ledger."""

    def progress(self) -> Progress | None:
        """Lines read, of those there were when it was last looked."""
        return Progress(self._seq, max(self._last, self._seq), "lines")

    def close(self) -> None:
        """Close the files."""
        self._leave()

    def _leave(self) -> None:
        lines, self._lines = self._lines, None
        close = getattr(lines, "close", None)
        if close is not None:
            close()


def _place(seq: int, digest: bytes) -> str:
    return f"{seq}:{hexlify(digest).decode()}"


def _seq_of(position: str) -> int:
    digits = position.partition(":")[0]
    if not (digits.isascii() and digits.isdigit()):
        raise SourceTrouble(f"the saved position {position[:60]!r} is of another stream")
    return int(digits)


@contextlib.contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SourceTrouble(f"{error.filename or 'the ledger'}: {error.strerror or error}") from error
