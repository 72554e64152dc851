"""structlog: the same fields on its events, and its events in a stream. Nothing here imports structlog."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from botobs.stages.engine import ENGINES

from .context import CONTEXT_KEYS, here
from .outlet import Outlet, writing
from .record import cut, exception_fields, place, show

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from botobs.observer import Observer
    from botobs.stages.engine import Engine

__all__ = ["StructlogStream", "structlog_processor"]

#: structlog's method names by level.
_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "msg": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "err": logging.ERROR,
    "error": logging.ERROR,
    "exception": logging.ERROR,
    "failure": logging.ERROR,
    "critical": logging.CRITICAL,
    "fatal": logging.CRITICAL,
}


def structlog_processor(logger: Any, method_name: str, event_dict: Any) -> Any:  # noqa: ARG001  # structlog's form
    """Add `trace_id`, `span_id`, `symbol` and `bar_id` of the running tick to an event, where it has none.

    Stands anywhere before the renderer, first included; in `structlog.stdlib` set-ups also in
    `foreign_pre_chain`. Outside of ticks it adds nothing. An event of level warning and above keeps the
    tick's trace.

    Example:
        >>> import structlog
        >>> from botobs import logs
        >>> structlog.configure(processors=[logs.structlog_processor, structlog.processors.JSONRenderer()])
        >>> structlog.reset_defaults()
    """
    if not ENGINES:
        return event_dict
    try:
        found = here(alarming=_LEVELS.get(method_name, logging.INFO) >= logging.WARNING)
        if found is not None:
            for key, value in zip(CONTEXT_KEYS, found[1:], strict=True):
                if value != "":
                    event_dict.setdefault(key, value)
    except Exception as error:
        for engine in ENGINES[-1:]:
            engine.faults.error("logs", error)
    return event_dict


class StructlogStream:
    """A structlog processor that writes every event to a stream and passes it on as it is.

    Put it behind the processors that add something and before the renderer. With structlog on top of
    `logging` and a `Handler` there, events would be written twice: use one of the two.

    Args:
        stream: The stream: `logs/<stream>.jsonl`.
        observer: The observer to write with; without one, the running tick's, else the newest started.

    Example:
        >>> import structlog
        >>> from botobs import logs
        >>> structlog.configure(processors=[logs.StructlogStream(), structlog.processors.JSONRenderer()])
        >>> structlog.reset_defaults()
    """

    __slots__ = ("_outlet",)

    def __init__(self, stream: str = "logs", *, observer: Observer | None = None) -> None:
        self._outlet = Outlet(stream, observer)

    def __call__(self, logger: Any, method_name: str, event_dict: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Write the event."""
        engine = self._outlet.engine()
        if engine is None:
            return event_dict
        if writing.get():
            engine.faults.dropped("logs")
            return event_dict
        token = writing.set(True)
        try:
            self._write(engine, logger, method_name, event_dict)
        except Exception as error:
            engine.faults.error("logs", error)
        finally:
            writing.reset(token)
        return event_dict

    def _write(self, engine: Engine, logger: Any, method: str, event: MutableMapping[str, Any]) -> None:
        said = dict(event)
        fields: dict[str, Any] = {"level": said.pop("level", None) or method.upper()}
        name = said.pop("logger", None) or getattr(logger, "name", None)
        if isinstance(name, str):
            fields["logger"] = name
        fields["message"] = cut(show(said.pop("event", "")))
        exception = exception_fields(said.pop("exc_info", None))
        if exception is None and isinstance(said.get("exception"), str):
            exception = {"stack": said.pop("exception")}  # made by `format_exc_info`
        if exception is not None:
            fields["exception"] = exception
        for key in ("_record", "_from_structlog"):
            said.pop(key, None)
        place(fields, said.items())
        self._outlet.write(engine, fields, _LEVELS.get(method, logging.INFO))
