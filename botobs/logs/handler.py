"""Log records as lines of a stream, and over OTLP."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Final

from .outlet import Outlet, writing
from .record import from_record

if TYPE_CHECKING:
    from botobs.observer import Observer
    from botobs.stages.engine import Engine

__all__ = ["Handler"]

#: What botobs works with: on our threads their records are about our own doing.
_TOOLS: Final = frozenset({"opentelemetry", "urllib3", "grpc", "requests", "slack_sdk", "redis"})
_OURS: Final = "botobs"


class Handler(logging.Handler):
    """Writes log records to a stream of the running observer, and over OTLP if asked to.

    A line has `level`, `logger`, `message`, `file`, `line`, `function` and `thread`, the `exception`
    (`type`, `message`, `stack`) if there is one, the bot's `extra=` fields, and `trace_id`, `span_id`,
    `symbol` and `bar_id` of the running tick. A record of level WARNING and above keeps the tick's trace.
    Secrets are taken out. Extra fields with one of these names go under `fields`. A dictionary logged as
    the message becomes fields, its `event` the message.

    It may be attached to any logger, the root included, at any time. Before `botobs.start`, after the
    observer's end, and in a forked child it does nothing. It waits for no disk and no network, takes no
    lock, and never raises: a message that cannot be formatted is written as it is and counted
    (`where="logs"`). What botobs itself logs is not written, nor what is logged while a record is being
    written; the latter is counted as dropped.

    Args:
        level: What is below passes by.
        stream: The stream: `logs/<stream>.jsonl`; `None`: to no stream.
        observer: The observer to write with; without one, the running tick's, else the newest started.
        otlp: Send the records as OTLP logs as well, to `otlp_endpoint` or where the standard variables say.

    Example:
        >>> import logging
        >>> from botobs import logs
        >>> logging.getLogger("trend-bot").addHandler(logs.Handler(logging.INFO))
    """

    def __init__(
        self,
        level: int | str = logging.NOTSET,
        *,
        stream: str | None = "logs",
        observer: Observer | None = None,
        otlp: bool = False,
    ) -> None:
        super().__init__(level)
        self._outlet = Outlet(stream, observer, otlp=otlp)

    def createLock(self) -> None:  # noqa: N802  # logging's name
        """Have none: what is behind this handler takes many threads, and a fork could find a lock held."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Write `record` unless a filter of this handler stops it."""
        passed: Any = self.filter(record)  # from Python 3.12 on possibly another record
        if isinstance(passed, logging.LogRecord):
            record = passed
        if passed:
            self.emit(record)
        return bool(passed)

    def emit(self, record: logging.LogRecord) -> None:
        """Write `record`."""
        engine = self._outlet.engine()
        if engine is None or _about_ourselves(record):
            return
        if writing.get():  # what a record's values log while they are shown
            engine.faults.dropped("logs")
            return
        token = writing.set(True)
        try:
            wrong = self._write(engine, record)
            if wrong is not None:
                engine.faults.error("logs", wrong)
        finally:
            writing.reset(token)

    def _write(self, engine: Engine, record: logging.LogRecord) -> Exception | None:
        """Write `record`; what went wrong, if anything did."""
        try:
            fields, wrong = from_record(record)
            self._outlet.write(engine, fields, record.levelno)
        except Exception as error:
            return error
        return wrong


def _about_ourselves(record: logging.LogRecord) -> bool:
    top = str(record.name).partition(".")[0]
    if top == _OURS:
        return True
    if top not in _TOOLS:
        return False
    return writing.get() or (record.threadName or threading.current_thread().name).startswith("botobs-")
