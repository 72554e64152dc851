"""A Redis stream as a source: read in one atomic step from the checkpoint on, never added to, trimmed or deleted from.

The consumer group decides nothing here. Before each read it is set to where this process stands, so neither a dead
consumer nor one that wakes up from an hour's sleep can make an entry be missed or come twice. What the group is for:
its lag, and who has what in hand, can be seen with `XINFO` and `XPENDING`; what is saved is acknowledged.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from botobs.metricpack.source import Batch, Progress, Raw, SourceTrouble
from botobs.sinks.redis.link import Link, LinkTrouble, Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["RedisSource"]

_BEGINNING: Final = b"0-0"
_GATHER_S: Final = 0.025  # what comes so soon after the first entry travels with it
_MOST_ACKS: Final = 1_000
_NO_STREAM: Final = "requires the key to exist"


class _Stream(NamedTuple):
    """What the server says of the stream.

    Attributes:
        first: The id of the first entry that is there; `None`: there is none.
        last: The last id that was ever given.
        gone: How many entries are there no more; `None`: the server does not count (before Redis 7).
        added: How many there ever were; `None` likewise.
    """

    first: bytes | None
    last: bytes
    gone: int | None
    added: int | None


class RedisSource:
    """Reads a stream of a Redis server. A `Source`.

    Args:
        url: The server.
        stream: The stream's key.
        group: The consumer group; empty: none, for a user of the server who may only read.
        consumer: What this process is called in the group.

    Raises:
        ConfigError: The extra `redis` is not installed, or the URL is none.
    """

    def __init__(self, url: str, stream: str, group: str = "metricpack_builder", consumer: str = "builder") -> None:
        self._link = Link(url)
        self._stream, self._group, self._consumer = stream.encode(), group.encode(), consumer.encode()
        self._at = _BEGINNING  # the last entry that was taken
        self._number: int | None = None  # of that entry, counted from the first there ever was; `None`: not known
        self._first_look = True  # nothing was read since `begin`
        self._behind = True  # there may be more at once
        self._added: int | None = None
        self._unsaid: deque[bytes] = deque()  # delivered, and not yet saved
        self._acks: deque[bytes] = deque()  # saved, and not yet acknowledged

    @property
    def name(self) -> str:
        """The stream. Not the server: after a failover it is another one with the same stream."""
        return f"redis stream {self._stream.decode()}"

    # --- where to begin

    def begin(self, position: str | None, *, end: bool = False) -> None:
        """Go to the place behind `position`. See `Source.begin`."""
        self._unsaid.clear()
        self._acks.clear()
        at = _BEGINNING if position is None else _id(position)
        try:
            self._number = None
            if position is None and end:
                found = self._look()
                at = _BEGINNING if found is None else found.last
                self._number = None if found is None else found.added
            self._at, self._first_look, self._behind = at, True, True
            if self._group:
                self._take_over(position)
        except LinkTrouble as trouble:
            raise SourceTrouble(str(trouble)) from None

    def _look(self) -> _Stream | None:
        """The stream as it is; `None`: there is none."""
        answer = self._link.calls([("XINFO", "STREAM", self._stream)])[0]
        return self._seen(answer)

    def _seen(self, answer: Any) -> _Stream | None:
        if isinstance(answer, Refusal):
            if "no such key" in str(answer).lower():
                return None
            raise answer
        told = _pairs(answer)
        added = told.get(b"entries-added")
        first = told.get(b"first-entry")
        return _Stream(
            first=first[0] if first else None, last=told[b"last-generated-id"],
            gone=None if added is None else added - told[b"length"], added=added,
        )  # fmt: skip

    def _take_over(self, position: str | None) -> None:
        """Make the group ours: what others left pending is acknowledged if it is saved, and is read again if not."""
        link, key, group = self._link, self._stream, self._group
        if not self._make_group():
            return
        known = next((g for g in self._listed("GROUPS") if g.get(b"name") == group), {})
        pending: list[bytes] = []
        cursor: bytes = b"0-0"
        while True:
            cursor, ids, *_ = link.call(
                "XAUTOCLAIM", key, group, self._consumer, 0, cursor, "COUNT", _MOST_ACKS, "JUSTID"
            )
            pending += ids
            if cursor == b"0-0":
                break
        at = _order(self._at)
        self._acks.extend(each for each in pending if _order(each) <= at)
        self._acknowledge()
        for consumer in self._listed("CONSUMERS", group):
            if consumer.get(b"name") != self._consumer and not consumer.get(b"pending"):
                link.call("XGROUP", "DELCONSUMER", key, group, consumer[b"name"])
        read, delivered = known.get(b"entries-read"), known.get(b"last-delivered-id", b"")
        if position is not None and read is not None and delivered == self._at:
            self._number = read

    def _make_group(self) -> bool:
        """Have the group; whether the stream is there."""
        for answer in self._link.calls([("XGROUP", "CREATE", self._stream, self._group, self._at)]):
            if isinstance(answer, Refusal):
                if _NO_STREAM in str(answer):
                    return False  # made by whoever writes it: nothing is created here
                if answer.code != "BUSYGROUP":
                    raise answer
        return True

    def _listed(self, what: str, *more: bytes) -> list[dict[bytes, Any]]:
        return [_pairs(each) for each in self._link.call("XINFO", what, self._stream, *more)]

    # --- reading

    def take(self, most: int, wait_s: float) -> Batch:
        """The next entries. See `Source.take`."""
        until = time.monotonic() + wait_s
        try:
            if self._behind or wait_s <= 0 or self._came(until):
                return self._read(most)
            self._acknowledge()
            return self._nothing_new()
        except LinkTrouble as trouble:
            self._behind = True  # the next look is a full one: it may be another server that answers
            raise SourceTrouble(str(trouble)) from None

    def _came(self, until: float) -> bool:
        """Wait for an entry, and for those that follow it closely; whether one came."""
        left = max(until - time.monotonic(), 0.001)
        wait = ("XREAD", "COUNT", 1, "BLOCK", max(int(left * 1000), 1), "STREAMS", self._stream, self._at)
        if self._link.call(*wait) is None:
            return False
        time.sleep(max(min(_GATHER_S, until - time.monotonic()), 0.0))
        return True

    def _nothing_new(self) -> Batch:
        """No entry came; that may be because the stream is another one."""
        stream = self._look()
        if stream is None:
            return self._without_stream()
        if _order(self._at) > _order(stream.last):
            return self._fallen_back(stream)
        return Batch((), self._position)

    def _read(self, most: int, *, anew: bool = True) -> Batch:
        """What there is now, in one atomic step with what tells whether anything in front of it is missing."""
        commands: list[Sequence[bytes | str | int]] = [("XINFO", "STREAM", self._stream)]
        acks: list[bytes] = []
        if self._group:
            acks = [self._acks[n] for n in range(min(len(self._acks), _MOST_ACKS))]
            told = () if self._number is None else ("ENTRIESREAD", self._number)
            commands += [
                ("XGROUP", "SETID", self._stream, self._group, self._at, *told),
                ("XREADGROUP", "GROUP", self._group, self._consumer, "COUNT", most, "STREAMS", self._stream, ">"),
            ]
            if acks:
                commands.append(("XACK", self._stream, self._group, *acks))
        else:
            commands.append(("XREAD", "COUNT", most, "STREAMS", self._stream, self._at))
        answers = self._link.atomic(commands)
        stream = self._seen(answers[0])
        if stream is None:
            return self._without_stream()
        found = answers[2 if self._group else 1]
        if isinstance(found, Refusal):
            if found.code != "NOGROUP":
                raise found
            self._behind = True
            if not anew or not self._make_group():  # somebody destroyed it, or it is a new stream
                return Batch((), self._position, behind=True)
            return self._read(most, anew=False)
        for _ in acks:
            self._acks.popleft()
        if _order(self._at) > _order(stream.last):
            return self._fallen_back(stream)
        lost = self._missed(stream)
        events = self._taken(found, most, stream)
        return Batch(events, self._position, self._behind, lost)

    def _taken(self, found: Any, most: int, stream: _Stream) -> list[Raw]:
        """The entries of an answer, and where the source is after them."""
        self._first_look, self._added = False, stream.added
        entries = found[0][1] if found else ()
        events = [
            Raw(at.decode(), dict(zip(fields[::2], fields[1::2], strict=True)), int(at.partition(b"-")[0]) * 1_000_000)
            for at, fields in entries
        ]
        if self._group:
            self._unsaid.extend([at for at, _ in entries])
        if entries:
            self._at = entries[-1][0]
        self._behind = len(entries) >= most
        if not self._behind:
            self._number = stream.added
        elif self._number is not None:
            self._number += len(entries)
        return events

    # --- what is missing

    def _missed(self, stream: _Stream) -> str | None:
        """What was trimmed beyond where this source stands; and its number is right from here on."""
        at, first = _order(self._at), None if stream.first is None else _order(stream.first)
        gone, number, told = stream.gone, self._number, self._at
        if self._at == _BEGINNING:
            self._number = gone if number is None else number
            if self._first_look or gone is None or number is None:
                return None
        if (first is not None and at >= first) or (first is None and at == _order(stream.last)):
            return None
        if gone is not None:
            self._number = gone
            if number == gone:
                return None
            if gone == 0 or (number is not None and gone < number):
                return f"{self.name} was replaced: the entry of the checkpoint {self._at.decode()} was never in it"
        elif stream.first is None:
            self._at = stream.last  # this server does not count, and it would be said again and again
        many = "entries" if gone is None or number is None else f"{gone - number} entries"
        begins = "is empty" if stream.first is None else f"begins at {stream.first.decode()}"
        return f"{self.name} was trimmed beyond the checkpoint {told.decode()}: it {begins}, {many} are gone unread"

    def _fallen_back(self, stream: _Stream) -> Batch:
        """The stream ends before the place where this source stands: go on from its end."""
        lost = (
            f"{self.name} ends at {stream.last.decode()}, before the checkpoint {self._at.decode()}: it was replaced, "
            "or the server came back without the newest entries"
        )
        self._at, self._number, self._added, self._behind = stream.last, stream.added, stream.added, True
        self._unsaid.clear()
        return Batch((), self._position, behind=True, lost=lost)

    def _without_stream(self) -> Batch:
        """There is no such stream, not yet or no more."""
        if self._at == _BEGINNING:
            self._number, self._first_look, self._behind = 0, False, False  # whatever comes will be new
            return Batch((), None)
        lost = f"{self.name} is not there any more; the checkpoint was {self._at.decode()}"
        self._at, self._number, self._added, self._first_look = _BEGINNING, None, None, True
        return Batch((), self._position, lost=lost)

    # --- what was done

    def committed(self, position: str) -> None:
        """Acknowledge with the next read what is saved. See `Source.committed`."""
        if self._group:
            at = _order(_id(position))
            while self._unsaid and _order(self._unsaid[0]) <= at:
                self._acks.append(self._unsaid.popleft())

    def _acknowledge(self) -> None:
        """Acknowledge."""
        acks = self._acks
        while acks:
            some = [acks[n] for n in range(min(len(acks), _MOST_ACKS))]
            self._link.call("XACK", self._stream, self._group, *some)  # 0, where the stream or the group is gone
            for _ in some:
                acks.popleft()

    def progress(self) -> Progress | None:
        """Entries read, of those there ever were; `None`: the server does not count them."""
        if self._number is None or self._added is None:
            return None
        return Progress(self._number, max(self._added, self._number))

    def close(self) -> None:
        """Acknowledge what is saved, leave the group, give back the connection; never raises."""
        try:
            if self._group and self._link.epoch:
                self._acknowledge()
                if not self._unsaid:
                    self._link.call("XGROUP", "DELCONSUMER", self._stream, self._group, self._consumer)
        except LinkTrouble:  # the next one who works finds it pending
            pass
        self._link.drop()

    @property
    def _position(self) -> str | None:
        return None if self._at == _BEGINNING else self._at.decode()


def _order(at: bytes) -> tuple[int, int]:
    """An id as what it is ordered by."""
    ms, _, seq = at.partition(b"-")
    return int(ms), int(seq or 0)


def _id(position: str) -> bytes:
    ms, _, seq = position.partition("-")
    if not (ms.isascii() and ms.isdigit() and (seq or "0").isascii() and (seq or "0").isdigit()):
        raise SourceTrouble(f"the saved position {position[:60]!r} is of another stream")
    return position.encode()


def _pairs(flat: Sequence[Any]) -> dict[bytes, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
