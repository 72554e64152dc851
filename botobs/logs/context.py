"""Which tick and stage a log record belongs to."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from botobs.stages.engine import ENGINES
from botobs.stages.live import foreign_span, get_context, live_in, plain

if TYPE_CHECKING:
    from botobs.stages.engine import Engine
    from botobs.stages.live import Live

__all__ = ["CONTEXT_KEYS", "ContextFilter", "Here", "here"]

#: What a record gets, in the order of `Here`.
CONTEXT_KEYS: Final = ("trace_id", "span_id", "symbol", "bar_id")

#: The observer's engine; trace id, span id, symbol and bar id, each `""` where there is none.
Here: TypeAlias = "tuple[Engine, str, str, str, Any]"

_WARNING: Final = logging.WARNING


def here(*, alarming: bool) -> Here | None:
    """Where the caller is; `None` outside of ticks and stages, before `start`, and after the observer's end.

    Args:
        alarming: Keep the running tick's trace.
    """
    if not ENGINES:
        return None
    context = get_context()
    live = live_in(context)
    if live is None:
        return None
    tick = live.tick
    engine = tick.engine
    if engine is None or engine not in ENGINES:
        return None
    if live.t1:
        if tick.done:  # a task that outlived the tick it was started in
            return None
        live = _running(live)
    trace_id, span_id = _ids(context, live, alarming=alarming) if tick.keeps else ("", "")
    bar = tick.bar_id
    if bar.__class__ is not int and bar.__class__ is not str:
        bar = "" if bar is None else _shown(bar)
    return engine, trace_id, span_id, tick.symbol or "", bar


def _ids(context: Any, live: Live, *, alarming: bool) -> tuple[str, str]:
    """The ids of a running stage, made now if nobody asked before. Asking alone keeps no trace."""
    tick = live.turn()  # a stage outside of any tick is from here on a turn of its own
    if not tick.done:
        if alarming:
            tick.keep("log")
    elif not tick.kept:  # a stage that outlived its tick, whose trace is gone: the id would lead nowhere
        return "", ""
    trace_id = tick.own_trace_id()
    # a span of another library lies on top of the stage: it is the one that was running
    span = None if context is live else foreign_span(context)
    span_id = span.span_id if span is not None and span.trace_id == trace_id else live.own_span_id()
    return f"{trace_id:032x}", f"{span_id:016x}"


def _shown(bar: Any) -> str | float:
    bar = plain(bar)
    return bar if isinstance(bar, str | int | float) else str(bar)


def _running(live: Live) -> Live:
    """The innermost stage around `live` that has not ended; the tick itself if need be."""
    found: Live | None = live
    while found is not None and found.t1:
        found = found.above()
    return found or live.tick.root


class ContextFilter(logging.Filter):
    """Puts `trace_id`, `span_id`, `symbol` and `bar_id` of the running tick on every record.

    It stops none. Where one of them is missing (outside of ticks, before `botobs.start`) it is the empty
    text, so that a format such as `"%(trace_id)s %(message)s"` never fails. What the bot itself put on a
    record under one of these names stays.

    Add it to handlers rather than to loggers: a logger's filters do not see what its children log. With a
    `QueueHandler` add it there: the listener's thread runs no tick.

    Example:
        >>> import logging
        >>> record = logging.makeLogRecord({"msg": "hello"})
        >>> ContextFilter().filter(record), record.trace_id
        (True, '')
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Complete `record`."""
        put = record.__dict__.setdefault
        found: Here | None = None
        try:
            if ENGINES:
                found = here(alarming=record.levelno >= _WARNING)
        except Exception as error:
            for engine in ENGINES[-1:]:
                engine.faults.error("logs", error)
        if found is None:
            put("trace_id", "")
            put("span_id", "")
            put("symbol", "")
            put("bar_id", "")
        else:
            _, trace_id, span_id, symbol, bar_id = found
            put("trace_id", trace_id)
            put("span_id", span_id)
            put("symbol", symbol)
            put("bar_id", bar_id)
        return True
