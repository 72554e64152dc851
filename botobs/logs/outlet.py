"""Where finished log lines go: into a stream, over OTLP."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import orjson

from botobs.stages.engine import ENGINES
from botobs.stages.live import get_context, live_in

from .context import here

if TYPE_CHECKING:
    from botobs.observer import Observer
    from botobs.stages.engine import Engine

    from .otlp import LogsOut

__all__ = ["Outlet", "writing"]

#: Set while a record is being written: what is logged meanwhile could go on for ever.
writing: Final[ContextVar[bool]] = ContextVar("botobs_logs_writing", default=False)


class Outlet:
    """Writes lines with an observer's engine.

    Straight to the stream and not through the bus: a subscriber that logs each event it sees would otherwise
    never come to an end.
    """

    __slots__ = ("_bound", "_otlp", "_stream")

    def __init__(self, stream: str | None, observer: Observer | None, *, otlp: bool = False) -> None:
        self._stream = None if stream is None else str(stream)
        self._bound = observer
        self._otlp = otlp

    def engine(self) -> Engine | None:
        """The engine to write with; `None` where nothing runs."""
        if not ENGINES:
            return None
        if self._bound is not None:
            engine = self._bound._own  # noqa: SLF001  # the observer keeps it from its users, not from its rooms
            return engine if engine in ENGINES else None
        live = live_in(get_context())
        if live is not None and live.tick.engine in ENGINES:
            return live.tick.engine
        return ENGINES.newest

    def write(self, engine: Engine, fields: dict[str, Any], level: int) -> None:
        """Write `fields`, completed by those of the running tick."""
        found = here(alarming=level >= logging.WARNING)
        if found is not None and found[0] is engine:
            _, trace_id, span_id, symbol, bar_id = found
            if trace_id and "trace_id" not in fields:
                fields["trace_id"] = trace_id
                fields["span_id"] = span_id
            if symbol:
                fields.setdefault("symbol", symbol)
            if bar_id != "":
                fields.setdefault("bar_id", bar_id)
        body = engine.line(fields)
        if body[:1] != b"{":  # beyond what even the patient encoder can show
            body = orjson.dumps({"level": str(fields.get("level")), "message": "<unencodable>"})
        ns = engine.wall()
        if self._stream is not None:
            engine.put(self._stream, b'{"ts":"%b",%b,%b' % (engine.stamp(ns), engine.head, body[1:]))
        if self._otlp:
            out = _otlp_of(engine)
            if out is not None:
                # from the line: there the values are plain and the secrets gone
                out.put(ns, level, orjson.loads(body))


def _otlp_of(engine: Engine) -> LogsOut | None:
    from .otlp import logs_out  # noqa: PLC0415  # exporters load only where they are asked for

    return logs_out(engine)
