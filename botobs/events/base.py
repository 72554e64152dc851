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
        whole: Its record carries every field, `null` where there is nothing; else those without a value are left out.
        flat: The attribute whose entries stand in the record beside the other fields, and win over them.
        at_once: Its record is with the operating system when `publish` returns.
        ts_ns: When it happened, in nanoseconds since 1970, UTC. Whoever writes the record makes `ts` of it.
        symbol: The instrument it concerns.
        bar_id: The bar it belongs to.
        trace_id: The trace it belongs to, as 32 hexadecimal digits.
    """

    stream: ClassVar[str | None] = None
    kind: ClassVar[str | None] = None
    importance: ClassVar[Importance] = Importance.NORMAL
    whole: ClassVar[bool] = False
    flat: ClassVar[str | None] = None
    at_once: ClassVar[bool] = False

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

    flat: ClassVar[str | None] = "fields"

    into: str = attrs.field(metadata={"key": None})
    fields: Mapping[str, Any] = attrs.field(metadata={"key": None})


def stream_of(event: Event) -> str | None:
    """The stream that the record of `event` goes to; `None`: it has none."""
    return event.into if isinstance(event, Recorded) else event.stream


# (attribute, key) of each class, looked up once; a field's metadata may say another key, or None: not written
_keys: dict[type[Event], tuple[tuple[str, str], ...]] = {}


def to_record(event: Event) -> dict[str, Any]:
    """The fields of `event` as its JSON line carries them, those that are `None` left out unless its class says else.

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
    whole = cls.whole
    for name, key in keys:
        value = getattr(event, name)
        if value is not None or (whole and key not in ("bar_id", "trace_id")):
            record[key] = value
    more = getattr(event, cls.flat) if cls.flat is not None else None
    if more:
        record.update(more)
    return record
