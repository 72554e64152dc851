"""Log records over OTLP: OpenTelemetry's own message, botobs's own queue, thread and deadlines.

A record is encoded where it is logged, from values that are plain by then, and travels as spans do. The SDK's batch
processor would drop without counting and wait for a dead collector longer than it is told to.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

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

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.resources import Resource

    from botobs.sinks.otlp.target import OtlpTarget
    from botobs.stages.engine import Engine

__all__ = ["LogsOut", "logs_out"]

_STREAM: Final = "otlp-logs"
_RESOURCE_LOGS, _SCOPE_LOGS, _SCOPE, _RECORD = b"\x0a", b"\x12", b"\x0a", b"\x12"
_MOST_SCOPES: Final = 1_000
#: Fields that have a place of their own in the message, or a name of OpenTelemetry's.
_NAMES: Final = {
    "file": "code.file.path",
    "line": "code.line.number",
    "function": "code.function.name",
    "thread": "thread.name",
}
_PLACED: Final = frozenset({"level", "logger", "message", "trace_id", "span_id", "exception"})

_outs: dict[Engine, LogsOut | None] = {}


def logs_out(engine: Engine) -> LogsOut | None:
    """The way out of one observer's log records, made when first asked for; `None` where there is no collector."""
    try:
        return _outs[engine]
    except KeyError:
        pass
    _outs[engine] = None  # whatever happens below happens once
    observer = lifecycle.running(engine)
    if observer is None:
        return None
    target = resolve("logs", observer.settings.otlp_endpoint, os.environ)
    if target is None:
        engine.faults.say(_STREAM, "nowhere", "Handler(otlp=True) has no collector: set otlp_endpoint")
        return None
    out = LogsOut(target, observer.resource, botobs.__version__, engine.faults)
    if observer.attach(out):
        _outs[engine] = out
        return out
    out.abandon()
    return None


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
            _LogEnvelope(resource, version), connect(target, "logs"), _LogFaults(faults), queue_spans=pace.queue_spans,
            batch_spans=pace.batch_spans, delay_s=pace.delay_s, timeout_s=pace.timeout_s,
        )  # fmt: skip
        self._scopes: dict[str, bytes] = {}

    def put(self, ts_ns: int, level: int, fields: dict[str, Any]) -> None:
        """Hand in one record: the fields of its line, secrets gone."""
        record = encode(ts_ns, level, fields).SerializeToString()
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
        for engine in [engine for engine, out in _outs.items() if out is self]:
            _outs.pop(engine, None)
