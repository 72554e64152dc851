"""Log records over OTLP: OpenTelemetry's own message, botobs's own queue, thread and deadlines.

A record is encoded where it is logged, from values that are plain by then, and travels as spans do. The SDK's
batch processor would drop without counting and wait for a dead collector longer than it is told to.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import orjson
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

import botobs
from botobs import lifecycle
from botobs.errors import ConfigError
from botobs.faults import Faults
from botobs.sinks.otlp.envelope import Envelope, envelope, varint
from botobs.sinks.otlp.sender import Counts, SpanSender
from botobs.sinks.otlp.target import batching, resolve
from botobs.sinks.otlp.transport import connect
from botobs.stages.engine import ENGINES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.resources import Resource

    from botobs.sinks.otlp.target import Batching, OtlpTarget
    from botobs.stages.engine import Engine

__all__ = ["LogsOut", "logs_out"]

_STREAM: Final = "otlp-logs"
_RESOURCE_LOGS, _SCOPE_LOGS, _SCOPE, _RECORD = b"\x0a", b"\x12", b"\x0a", b"\x12"
_MOST_SCOPES: Final = 1_000
_DEEPEST: Final = 10  # protobuf readers refuse what is nested more than a hundred deep
#: What OpenTelemetry calls these fields.
_NAMES: Final = {
    "file": "code.file.path",
    "line": "code.line.number",
    "function": "code.function.name",
    "thread": "thread.name",
}
_CONSTANT: Final = ("level", *_NAMES)
#: Fields that are no attributes, or not under their own names.
_PLACED: Final = frozenset({"logger", "message", "trace_id", "span_id", "exception", *_CONSTANT})
_MOST_CONSTANTS: Final = 2_000

_constants: dict[tuple[Any, ...], bytes] = {}

_outs: dict[Engine, LogsOut | None] = {}


def logs_out(engine: Engine) -> LogsOut | None:
    """The way out of one observer's log records, made when first asked for; `None`: there is no collector."""
    try:
        return _outs[engine]
    except KeyError:
        return _make(engine)


def _make(engine: Engine) -> LogsOut | None:
    observer = lifecycle.running(engine)
    if observer is None:
        return None
    for ended in [other for other in list(_outs) if other not in ENGINES]:
        _outs.pop(ended, None)
    try:
        target = resolve("logs", observer.settings.otlp_endpoint, os.environ)
        if target is None:
            _outs[engine] = None
            engine.faults.say(_STREAM, "nowhere", "Handler(otlp=True) has no collector: set otlp_endpoint")
            return None
        out = LogsOut(target, observer.resource, botobs.__version__, engine.faults)
    except Exception:
        _outs[engine] = None  # what went wrong is told once
        raise
    # no lock, as a record may be logged anywhere: of several threads that get here, one wins
    winner = _outs.setdefault(engine, out)
    if winner is not out:
        out.abandon()
    elif not observer.attach(out):
        out.abandon()
        return None
    return winner


class LogsOut:
    """Log records on their way to a collector.

    Args:
        target: Where to.
        resource: Who sends.
        version: botobs's version, for the instrumentation scope.
        faults: Where drops and failures are counted, as `otlp-logs`.
    """

    def __init__(self, target: OtlpTarget, resource: Resource, version: str, faults: Faults) -> None:
        pace = _pace()
        self._sender = SpanSender(
            _LogEnvelope(resource, version), connect(target, "logs"), _LogFaults(faults),
            queue_spans=pace.queue_spans, batch_spans=pace.batch_spans, delay_s=pace.delay_s,
            timeout_s=pace.timeout_s,
        )  # fmt: skip
        self._scopes: dict[str, bytes] = {}

    def put(self, ts_ns: int, level: int, fields: dict[str, Any]) -> None:
        """Hand in one record: the fields of its line, secrets gone."""
        record = encode(ts_ns, level, fields)
        name = str(fields.get("logger") or "root")
        scope = self._scopes.get(name)
        if scope is None:
            scope = _field(_SCOPE, b"\x0a" + _sized(name.encode()))  # InstrumentationScope.name is field 1
            if len(self._scopes) < _MOST_SCOPES:
                self._scopes[name] = scope
        self._sender.put(1, _field(_SCOPE_LOGS, scope + _field(_RECORD, record)))

    @property
    def counts(self) -> Counts:
        """Records delivered, pending and dropped."""
        return self._sender.counts

    def flush(self, deadline: float) -> bool:
        """Send what waits, before `deadline` (of `time.monotonic`); whether all of it has gone."""
        return self._sender.flush(deadline)

    def close(self, deadline: float) -> bool:
        """Flush, then end."""
        self._forget()
        return self._sender.close(deadline)

    def abandon(self) -> None:
        """Forget everything in a forked child."""
        self._forget()
        self._sender.abandon()

    def _forget(self) -> None:
        for engine in [engine for engine, out in list(_outs.items()) if out is self]:
            _outs.pop(engine, None)


class _LogEnvelope(Envelope):
    """The request around encoded `ScopeLogs`."""

    __slots__ = ("_end", "_start")

    def __init__(self, resource: Resource, version: str) -> None:
        # the three signals' requests have one layout: the official encoder's for spans serves here too
        carrier = ExportLogsServiceRequest.FromString(envelope(resource, "botobs", version).wrap(()))
        entry = carrier.resource_logs[0]
        self._start = _field(b"\x0a", entry.resource.SerializeToString())
        self._end = _field(b"\x1a", entry.schema_url.encode()) if entry.schema_url else b""

    def wrap(self, chunks: Sequence[bytes]) -> bytes:
        """A whole ExportLogsServiceRequest."""
        size = len(self._start) + sum(map(len, chunks)) + len(self._end)
        return b"".join((_RESOURCE_LOGS, varint(size), self._start, *chunks, self._end))


class _LogFaults(Faults):
    """An observer's faults, told by a sender that speaks of spans."""

    def __init__(self, inner: Faults) -> None:
        super().__init__()
        self._inner = inner

    def error(self, where: str, error: BaseException) -> None:
        """Count an error."""
        self._inner.error(_STREAM if where == "otlp" else where, error)

    def dropped(self, stream: str, count: int = 1) -> None:
        """Count what was dropped."""
        self._inner.dropped(_STREAM if stream == "spans" else stream, count)

    def say(self, where: str, cause: str, message: str) -> None:
        """Log a warning."""
        self._inner.say(_STREAM if where == "otlp" else where, cause, message.replace("spans", "log records"))


def encode(ts_ns: int, level: int, fields: dict[str, Any]) -> bytes:
    """One record as OpenTelemetry's `LogRecord`.

    Args:
        ts_ns: When it was logged.
        level: Its level number.
        fields: The fields of its line.
    """
    site = (level, *map(fields.get, _CONSTANT))
    constants = _constants.get(site)
    if constants is None:
        constants = _encode_constants(level, fields)
        if len(_constants) < _MOST_CONSTANTS:
            _constants[site] = constants
    moment = max(ts_ns, 0)
    trace_id = _id(fields.get("trace_id"), 16)
    record = LogRecord(
        time_unix_nano=moment,
        observed_time_unix_nano=moment,
        body=AnyValue(string_value=str(fields.get("message", ""))),
        attributes=[
            KeyValue(key=key, value=_value(value))
            for key, value in fields.items()
            if key not in _PLACED and value is not None
        ],
        trace_id=trace_id,
        span_id=_id(fields.get("span_id"), 8),
        flags=1 if trace_id else 0,
    )
    exception = fields.get("exception")
    if isinstance(exception, dict):
        for key, name in (("type", "type"), ("message", "message"), ("stack", "stacktrace")):
            if key in exception:
                record.attributes.add(key=f"exception.{name}", value=_value(exception[key]))
    # fields of a message may come in any order, and repeated ones in any number of pieces
    return constants + record.SerializeToString()


def _encode_constants(level: int, fields: dict[str, Any]) -> bytes:
    """What is the same whenever one line of the bot's code logs."""
    return LogRecord(
        severity_number=_severity(level),  # type: ignore[arg-type]  # the enum's values are numbers at run time
        severity_text=str(fields.get("level", "")),
        attributes=[
            KeyValue(key=name, value=_value(fields[key])) for key, name in _NAMES.items() if fields.get(key) is not None
        ],
    ).SerializeToString()


def _severity(level: int) -> int:
    """OpenTelemetry's severity: DEBUG is 5, INFO 9, WARNING 13, ERROR 17, CRITICAL 21, and steps between."""
    if level <= 0:
        return 0
    return min(max(level // 10 * 4 + 1 + min(level % 10, 3), 1), 24)


def _id(text: Any, size: int) -> bytes:
    """The bytes of an id; none where the bot put something else in its place."""
    try:
        found = bytes.fromhex(text)
    except (TypeError, ValueError):
        return b""
    return found if len(found) == size else b""


def _value(value: Any, depth: int = 0) -> AnyValue:
    """A value read from JSON."""
    if isinstance(value, bool):
        found = AnyValue(bool_value=value)
    elif isinstance(value, int) and -(2**63) <= value < 2**63:
        found = AnyValue(int_value=value)
    elif isinstance(value, float):
        found = AnyValue(double_value=value)
    elif isinstance(value, list) and depth < _DEEPEST:
        found = AnyValue(array_value=ArrayValue(values=[_value(each, depth + 1) for each in value]))
    elif isinstance(value, dict) and depth < _DEEPEST:
        pairs = [KeyValue(key=key, value=_value(each, depth + 1)) for key, each in value.items()]
        found = AnyValue(kvlist_value=KeyValueList(values=pairs))
    elif value is None:
        found = AnyValue()
    else:
        found = AnyValue(string_value=value if isinstance(value, str) else orjson.dumps(value).decode())
    return found


def _sized(content: bytes) -> bytes:
    return varint(len(content)) + content


def _field(tag: bytes, content: bytes) -> bytes:
    return tag + _sized(content)


def _pace() -> Batching:
    """How records wait and travel: `OTEL_BLRP_*` say for logs what `OTEL_BSP_*` say for spans."""
    env = {
        name.replace("OTEL_BLRP_", "OTEL_BSP_"): value
        for name, value in os.environ.items()
        if name.startswith("OTEL_BLRP_")
    }
    try:
        return batching(env)
    except ConfigError as error:
        raise ConfigError(str(error).replace("OTEL_BSP_", "OTEL_BLRP_").replace("spans", "records")) from None
