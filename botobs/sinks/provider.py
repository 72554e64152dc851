"""Kept traces through a `TracerProvider` of the user's own.

The spans are made after the fact with OpenTelemetry's public calls, with the times and the ids that they really had:
records and spans that other libraries opened already refer to these ids.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace import Tracer as SdkTracer
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from botobs.stages.tick import span_attributes

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Span, TracerProvider

    from botobs.stages.engine import Engine
    from botobs.stages.live import Live
    from botobs.stages.tick import Tick

__all__ = ["ProviderSpans"]

_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class _GivenIds(IdGenerator):
    """Gives the ids that the stages had."""

    def __init__(self) -> None:
        self.trace_id = 0
        self.span_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id


class ProviderSpans:
    """Replays kept ticks as spans of a provider.

    Args:
        provider: The user's.
        engine: Whose ticks.
        version: botobs's version, for the instrumentation scope.
        hides: Whether the value under this attribute name is a secret.
    """

    def __init__(
        self,
        provider: TracerProvider,
        engine: Engine,
        version: str,
        hides: Callable[[str], bool] = lambda _name: False,
    ) -> None:
        self._tracer: Any = provider.get_tracer("botobs", version)
        self._engine = engine
        self._hides = hides
        self._lock = threading.Lock()
        self.delivered = 0
        self._ids: _GivenIds | None = None
        if isinstance(self._tracer, SdkTracer):
            # a tracer is made for whoever asks: this one is ours. The choice of traces was already made.
            self._ids = self._tracer.id_generator = _GivenIds()
            self._tracer.sampler = ALWAYS_ON

    def __call__(self, kept: Tick | Live) -> None:
        """Replay a kept tick, or a stage that ended after one."""
        try:
            with self._lock:
                if hasattr(kept, "spans"):
                    self._tick(kept)  # type: ignore[arg-type]  # a tick has spans, a stage has none
                else:
                    self._replay(kept, kept.tick, {})
        except Exception as error:
            self._engine.faults.error("traces", error)

    def _tick(self, tick: Tick) -> None:
        replayed: dict[int, Span] = {}
        for live in tick.spans:
            self._replay(live, tick, replayed)
        tick.forget()

    def _replay(self, live: Live, tick: Tick, replayed: dict[int, Span]) -> None:
        offset = tick.offset
        more = live.more
        attributes: dict[str, Any] = {"stage": live.stage.kind}
        if live is tick.root:
            attributes |= span_attributes(tick)
            attributes["kept"] = ",".join(tick.why or ())
            if tick.cut:
                attributes["spans_left_out"] = tick.cut
        if more is not None:
            if more.outcome is not None:
                attributes["outcome"] = more.outcome
            attributes |= more.attributes
        if self._ids is not None:
            self._ids.trace_id = tick.trace_id
            self._ids.span_id = live.own_span_id()
        span = self._tracer.start_span(
            live.stage.label if more is None or more.name is None else more.name,
            context=self._parent(live, tick, replayed),
            attributes={
                key: "[redacted]" if self._hides(key) else value for key, value in attributes.items()
            },
            links=[] if more is None else [Link(context, found) for context, found in more.links],
            start_time=live.t0 + offset,
        )
        replayed[id(live)] = span
        if more is not None:
            for name, time_ns, found in more.events:
                span.add_event(name, dict(found), time_ns)
            if more.outcome in ("error", "halted"):
                found = dict(more.events[-1].attributes) if more.events else {}
                span.set_status(Status(StatusCode.ERROR, str(found.get("exception.message", "")) or None))
            if more.status.status_code is not StatusCode.UNSET:
                span.set_status(more.status)
        span.end(end_time=live.t1 + offset)
        self.delivered += 1

    def _parent(self, live: Live, tick: Tick, replayed: dict[int, Span]) -> Context:
        upstream = live.more.upstream if live.more is not None else None
        if live is tick.root:
            upstream = tick.upstream
            if upstream is None:
                # a provider that chooses its own ids takes the trace id from its parent; ours needs none
                upstream = None if self._ids is not None else self._context(tick, self._engine.ids.span_id())
        elif upstream is None:
            above = live.above() or tick.root
            span = replayed.get(id(above))
            if span is not None:
                return set_span_in_context(span, Context())
            upstream = self._context(tick, above.own_span_id())
        return Context() if upstream is None else set_span_in_context(NonRecordingSpan(upstream), Context())

    @staticmethod
    def _context(tick: Tick, span_id: int) -> SpanContext:
        return SpanContext(tick.trace_id, span_id, is_remote=False, trace_flags=_SAMPLED)
