"""A log record as the fields of a line, whatever stands on it."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Final

from botobs.stages.live import describe

from .context import CONTEXT_KEYS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["OWN", "exception_fields", "from_record", "place"]

_LONGEST: Final = 32_768

#: Names that a line gives its own meaning; what the bot calls so goes under `fields`.
OWN: Final = frozenset(
    {
        "ts", "schema", "bot", "run_id", *CONTEXT_KEYS, "level", "logger", "message", "exception",
        "stack_info", "file", "line", "function", "thread", "unformatted", "fields",
    }
)  # fmt: skip

# what every record has; `taskName` came with Python 3.12, the last three are structlog's own
_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {
    "message", "asctime", "taskName", "_logger", "_name", "_record", "_from_structlog",
}  # fmt: skip


def from_record(record: logging.LogRecord) -> tuple[dict[str, Any], Exception | None]:
    """The fields of `record` without those of its tick, and what went wrong with its message."""
    message, given, wrong = _message(record)
    fields: dict[str, Any] = {"level": record.levelname, "logger": record.name, "message": message}
    if wrong is not None:
        fields["unformatted"] = {"args": record.args, "error": f"{type(wrong).__name__}: {show(wrong)}"}
    fields["file"] = record.pathname
    fields["line"] = record.lineno
    fields["function"] = record.funcName
    fields["thread"] = record.threadName
    exception = exception_fields(record.exc_info)
    if exception is None and record.exc_text:  # formatted before, as by a queue between processes
        exception = {"stack": record.exc_text}
    if exception is not None:
        fields["exception"] = exception
    if record.stack_info:
        fields["stack_info"] = record.stack_info
    place(fields, given.items())
    place(fields, ((key, value) for key, value in record.__dict__.copy().items() if key not in _STANDARD))
    return fields, wrong


def _message(record: logging.LogRecord) -> tuple[str, Mapping[Any, Any], Exception | None]:
    said = record.msg
    try:
        if isinstance(said, dict) and not record.args:  # an event: structlog hands them on so
            event = said.get("event", "")
            return cut(str(event)), {key: value for key, value in said.items() if key != "event"}, None
        return cut(record.getMessage()), {}, None
    except Exception as error:  # as the bot's own format, or an argument's `__str__`, would have it
        return cut(show(said)), {}, error


def exception_fields(given: Any) -> dict[str, str] | None:
    """What `exc_info` tells, in any form that logging and structlog take: `True`, an exception, a triple."""
    if given is True:
        given = sys.exc_info()
    error = given if isinstance(given, BaseException) else None
    if isinstance(given, tuple) and len(given) == 3 and isinstance(given[1], BaseException):
        error = given[1]
    if error is None:
        return None
    found = describe(error)
    return {
        "type": found["exception.type"],
        "message": found["exception.message"],
        "stack": found["exception.stacktrace"],
    }


def place(fields: dict[str, Any], said: Iterable[tuple[Any, Any]]) -> None:
    """Put what the bot said into `fields`; under the key `fields` what is called as one of ours."""
    for key, value in said:
        if key in CONTEXT_KEYS:
            if value is not None and value != "":
                fields[key] = value
        elif key in OWN:
            fields.setdefault("fields", {})[key] = value
        else:
            fields[key] = value


def cut(text: str) -> str:
    """A text that fits a line."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text) - _LONGEST} characters more)"


def show(value: object) -> str:
    """The text of any object."""
    try:
        return str(value)
    except Exception:
        return f"<unprintable {type(value).__name__}>"
