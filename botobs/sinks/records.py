"""Events as lines of their streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botobs.events import Recorded, stream_of, to_record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from botobs.events import Event
    from botobs.stages.engine import Engine

__all__ = ["RecordSink"]

#: Names that the envelope gives; a field of the bot's that is called so goes under `fields`.
_ENVELOPE = frozenset({"ts", "schema", "bot", "run_id"})


class RecordSink:
    """Writes the record of every event that has a stream.

    Args:
        engine: Makes lines and stamps.
        put: Takes a line for a stream.
        write_now: The same, and it is with the operating system when it returns true.
    """

    def __init__(
        self, engine: Engine, put: Callable[[str, bytes], None], write_now: Callable[[str, bytes], bool] | None = None
    ) -> None:
        self._engine = engine
        self._put = put
        self._write_now = write_now

    def __call__(self, event: Event) -> None:
        """Write the record of `event`."""
        stream = stream_of(event)
        if stream is None:
            return
        record: dict[Any, Any] = to_record(event)
        if isinstance(event, Recorded) and not _ENVELOPE.isdisjoint(record):
            under = {key: value for key, value in record.items() if key in _ENVELOPE}
            record = {key: value for key, value in record.items() if key not in _ENVELOPE}
            record["fields"] = under if "fields" not in record else {**under, "fields": record["fields"]}
        line = self.line(event.ts_ns, record)
        if event.at_once and self._write_now is not None:
            self._write_now(stream, line)
        else:
            self._put(stream, line)

    def line(self, ts_ns: int, record: Mapping[Any, Any]) -> bytes:
        """The line of `record`, with its envelope."""
        engine = self._engine
        body = engine.line(record)
        head = b'{"ts":"%b",%b' % (engine.stamp(ts_ns), engine.head)
        return head + (b"," + body[1:] if record else b"}")
