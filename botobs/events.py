"""What can happen, one frozen class each.

An event says what happened, when, and to what it belongs; it knows the stream its record goes to and how much
it matters. This module imports nothing of ours, so that every room can speak of events. The hot path (`tick`,
stages, `signal`) makes none.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "Event",
    "Importance",
    "Recorded",
    "RunEnded",
    "RunStarted",
    "TailRepaired",
    "UncleanEnd",
    "stream_of",
    "to_record",
]


class Importance(enum.IntEnum):
    """Who makes room when a queue is full: the lowest first, `CRITICAL` never."""

    LOW = 0
    NORMAL = 1
    HIGH = 2
    CRITICAL = 3


@attrs.frozen(kw_only=True)
class Event:
    """Something that happened.

    Subclass it for events of the bot's own:

        >>> @attrs.frozen(kw_only=True)
        ... class Rebalanced(Event):
        ...     stream: ClassVar[str | None] = "rebalances"
        ...     turnover: float
        >>> to_record(Rebalanced(ts_ns=0, symbol="BTC", turnover=0.2))
        {'symbol': 'BTC', 'turnover': 0.2}

    Attributes:
        stream: The stream its record is written to; `None`: it is not written.
        kind: What the record's `event` says, for streams that hold several kinds of events.
        importance: What a full queue goes by.
        ts_ns: When it happened, in nanoseconds since 1970, UTC. Whoever writes the record makes `ts` of it.
        symbol: The instrument it concerns.
        bar_id: The bar it belongs to.
        trace_id: The trace it belongs to, as 32 hexadecimal digits.
    """

    stream: ClassVar[str | None] = None
    kind: ClassVar[str | None] = None
    importance: ClassVar[Importance] = Importance.NORMAL

    ts_ns: int = attrs.field(metadata={"key": None})
    symbol: str | None = None
    bar_id: str | int | None = None
    trace_id: str | None = None


@attrs.frozen(kw_only=True)
class Recorded(Event):
    """The bot recorded something of its own: `event(stream, **fields)`.

    Attributes:
        into: The stream, named by the bot.
        fields: What it recorded.
    """

    into: str = attrs.field(metadata={"key": None})
    fields: Mapping[str, Any] = attrs.field(metadata={"key": None})


@attrs.frozen(kw_only=True)
class RunStarted(Event):
    """botobs started in this process. A backtest names no process: the same run leaves the same records."""

    stream: ClassVar[str | None] = "runs"
    kind: ClassVar[str | None] = "run_started"
    importance: ClassVar[Importance] = Importance.HIGH

    pid: int | None
    mode: str = "live"
    bot_version: str | None = None
    botobs_version: str | None = None


@attrs.frozen(kw_only=True)
class RunEnded(Event):
    """botobs was shut down in good order.

    Attributes:
        pid: The process.
        how: What ended it: `shutdown`, `exit`, `sigterm`.
        ran_s: How long it ran.
        dropped: What had to be dropped during the run, by stream.
    """

    stream: ClassVar[str | None] = "runs"
    kind: ClassVar[str | None] = "run_ended"
    importance: ClassVar[Importance] = Importance.HIGH

    pid: int | None
    how: str = "shutdown"
    ran_s: float | None = None
    dropped: Mapping[str, int] | None = None


@attrs.frozen(kw_only=True)
class UncleanEnd(Event):
    """An earlier run on the same data directory did not end in good order.

    Attributes:
        run_id: The run that ended so; `earlier_run_id` in the record, where `run_id` is the run that noticed.
        pid: Its process.
        started: When it began (RFC 3339).
        last_seen: When it last left a sign of life (RFC 3339).
    """

    stream: ClassVar[str | None] = "runs"
    kind: ClassVar[str | None] = "unclean_end"
    importance: ClassVar[Importance] = Importance.CRITICAL

    run_id: str = attrs.field(metadata={"key": "earlier_run_id"})
    pid: int | None = None
    started: str | None = None
    last_seen: str | None = None


@attrs.frozen(kw_only=True)
class TailRepaired(Event):
    """A stream ended in a broken line; the broken bytes were set aside.

    Attributes:
        tail_of: The stream; `stream` in the record.
        bytes_set_aside: How many bytes were cut off.
        where: The file they were put in.
    """

    stream: ClassVar[str | None] = "runs"
    kind: ClassVar[str | None] = "tail_repaired"
    importance: ClassVar[Importance] = Importance.HIGH

    tail_of: str = attrs.field(metadata={"key": "stream"})
    bytes_set_aside: int
    where: str | None = None


def stream_of(event: Event) -> str | None:
    """The stream that the record of `event` goes to; `None`: it has none."""
    return event.into if isinstance(event, Recorded) else event.stream


# (attribute, key) of each class, looked up once; a field's metadata may say another key, or None: not written
_keys: dict[type[Event], tuple[tuple[str, str], ...]] = {}


def to_record(event: Event) -> dict[str, Any]:
    """The fields of `event` as its JSON line carries them, those that are `None` left out.

    The envelope (`ts`, `schema`, `bot`, `run_id`) is the writer's. What the bot put into `Recorded.fields`
    stays as it is, `None` included, and wins over what the tick around it knew.

    Example:
        >>> to_record(Recorded(ts_ns=0, symbol="BTC", into="notes", fields={"mood": "calm"}))
        {'symbol': 'BTC', 'mood': 'calm'}
    """
    cls = type(event)
    keys = _keys.get(cls)
    if keys is None:
        keys = _keys[cls] = tuple(
            (field.name, field.metadata.get("key", field.name))
            for field in attrs.fields(cls)
            if field.metadata.get("key", field.name) is not None
        )
    record: dict[str, Any] = {} if cls.kind is None else {"event": cls.kind}
    for name, key in keys:
        value = getattr(event, name)
        if value is not None:
            record[key] = value
    if isinstance(event, Recorded):
        record.update(event.fields)
    return record
