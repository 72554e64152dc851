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
    from collections.abc import Callable, Mapping

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
        shown: What may be seen of a value under an attribute's name.
    """

    def __init__(
        self,
        provider: TracerProvider,
        engine: Engine,
        version: str,
        shown: Callable[[str, Any], Any] = lambda _name, value: value,
    ) -> None:
        self._tracer: Any = provider.get_tracer("botobs", version)
        self._engine = engine
        self._shown = shown
        self._lock = threading.RLock()  # re-entrant: a signal handler may flush
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
        attributes: dict[str, Any] = {"stage": live.stage.kind, "outcome": "ok"}
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
            live.stage.label if more is None or more.name is None else self._shown("name", more.name),
            context=self._parent(live, tick, replayed),
            attributes=self._all_shown(attributes),
            links=[] if more is None else [Link(context, found) for context, found in more.links],
            start_time=live.t0 + offset,
        )
        replayed[id(live)] = span
        if more is not None:
            for name, time_ns, found in more.events:
                span.add_event(name, self._all_shown(found), time_ns)
            if more.outcome in ("error", "halted"):
                found = dict(more.events[-1].attributes) if more.events else {}
                message = self._shown("message", str(found.get("exception.message", "")))
                span.set_status(Status(StatusCode.ERROR, message or None))
            if more.status.status_code is not StatusCode.UNSET:
                description = self._shown("message", more.status.description or "")
                span.set_status(Status(more.status.status_code, description or None))
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

    def _all_shown(self, found: Mapping[str, Any]) -> dict[str, Any]:
        return {key: self._shown(key, value) for key, value in found.items()}

    @staticmethod
    def _context(tick: Tick, span_id: int) -> SpanContext:
        return SpanContext(tick.trace_id, span_id, is_remote=False, trace_flags=_SAMPLED)
