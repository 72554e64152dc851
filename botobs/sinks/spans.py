"""Kept traces as OTLP bytes.

The constants of a stage's spans (name, kind, attributes, flags) are encoded once, by OpenTelemetry's own classes, and
kept on the stage; a usual span is then one `struct` call with ids and times in front. A span with attributes, events,
links or an error goes through those classes as a whole. Tests decode both and compare.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, SpanFlags, Status
from opentelemetry.trace import StatusCode

from botobs.stages.live import plain
from botobs.stages.tick import span_attributes

from .otlp.envelope import varint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.trace import SpanContext

    from botobs.stages.engine import Engine
    from botobs.stages.live import Live, More
    from botobs.stages.tick import Tick

__all__ = ["SpanEncoder"]

_SPAN: Final = b"\x12"  # ScopeSpans.spans
_TRACE_ID, _SPAN_ID, _PARENT_ID, _START, _END = b"\x0a\x10", b"\x12\x08", b'"\x08', b"\x39", b"\x41"
_FIXED: Final = 2 + 16 + 2 + 8 + 1 + 8 + 1 + 8
_LOCAL: Final = int(SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK)
_REMOTE: Final = _LOCAL | int(SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)
_STATUS: Final = {
    StatusCode.UNSET: Status.STATUS_CODE_UNSET,
    StatusCode.OK: Status.STATUS_CODE_OK,
    StatusCode.ERROR: Status.STATUS_CODE_ERROR,
}
_ROOT: Final = struct.Struct("<16s2s8ssQsQ")
_DOUBLE: Final = struct.Struct("<d")
_UINT64: Final = 2**64 - 1
_MOST_HEADS: Final = 1_000
_heads: dict[tuple[str, type, int], bytes] = {}


class _Template:
    """The encoded constants of one stage's spans."""

    __slots__ = ("head", "pack", "tail")

    def __init__(self, stage: Any) -> None:
        span = Span(name=stage.label, kind=Span.SPAN_KIND_INTERNAL, flags=_LOCAL, status=Status())
        span.attributes.append(_attribute("stage", stage.kind))
        self.tail = span.SerializeToString()
        self.head = _SPAN + varint(_FIXED + 10 + len(self.tail)) + _TRACE_ID
        # head, trace id and what follows it, span id, parent's id and what stands around it, start, end, tail
        self.pack = struct.Struct(f"<{len(self.head)}s18s8s11sQsQ{len(self.tail)}s").pack


class SpanEncoder:
    """Encodes the ticks of one engine.

    Args:
        engine: Whose ticks.
        send: Takes how many spans, and their bytes as fields of a `ScopeSpans`.
        shown: What may be seen of a value under an attribute's name.
    """

    def __init__(
        self,
        engine: Engine,
        send: Callable[[int, bytes], None],
        shown: Callable[[str, Any], Any] = lambda _name, value: value,
    ) -> None:
        self._bits = engine.ids.apart("spans").bits  # the drainer may draw while the bot does
        self._send = send
        self._shown = shown
        self._faults = engine.faults

    def __call__(self, kept: Tick | Live) -> None:
        """Encode a kept tick, or a stage that ended after one, and send it on."""
        try:
            if hasattr(kept, "spans"):
                self._tick(kept)  # type: ignore[arg-type]  # a tick has spans, a stage has none
            else:
                self._late(kept)
        except Exception as error:
            self._faults.error("traces", error)

    def _tick(self, tick: Tick) -> None:
        spans = tick.spans
        root = tick.root
        count = len(spans)
        trace_id = tick.trace_id.to_bytes(16, "big")
        ids = self._bits(64 * count).to_bytes(8 * count, "big")
        offset = tick.offset
        parts: list[bytes] = []
        at = 0
        # what all spans of the trace, and most of them of their parent, have in common
        of_trace = trace_id + _SPAN_ID
        of_root = b""
        for live in spans:
            more = live.more
            sid = ids[at : at + 8] if more is None or not more.span_id else more.span_id.to_bytes(8, "big")
            live.sid = sid
            at += 8
            if live is root:
                parts.append(self._root(tick, live, trace_id, offset))
                of_root = _PARENT_ID + sid + _START
            elif more is not None:
                parts.append(self._unusual(live, trace_id, offset))
            else:
                parent = live.parent
                # one that was left out of a trace with too many has no id
                of_parent = of_root if parent is root else _PARENT_ID + getattr(parent, "sid", root.sid) + _START
                template = live.stage.template or _template(live.stage)
                parts.append(
                    template.pack(
                        template.head, of_trace, sid, of_parent, live.t0 + offset, _END, live.t1 + offset, template.tail
                    )
                )
        tick.forget()
        self._send(count, b"".join(parts))

    def _late(self, live: Live) -> None:
        tick = live.tick
        live.sid = live.own_span_id().to_bytes(8, "big")
        self._send(1, self._unusual(live, tick.trace_id.to_bytes(16, "big"), tick.offset))

    def _root(self, tick: Tick, live: Live, trace_id: bytes, offset: int) -> bytes:
        more = live.more
        site = live.stage
        why = tick.why or {}
        kept = ",".join(why) if len(why) > 1 else next(iter(why), "")
        if tick.upstream is not None or more is not None or tick.cut or site.kind != "tick":
            span = self._span(live, trace_id, offset, tick.upstream)
            found = span_attributes(tick)
            found["kept"] = kept
            if tick.cut:
                found["spans_left_out"] = tick.cut
            span.attributes.extend(_attribute(key, self._shown(key, value)) for key, value in found.items())
            return _tagged(span.SerializeToString())
        tails = tick.cells.tails
        tail = tails.get(kept) if tick.symbol is not None else None
        if tail is None:
            span = Span(name="tick", kind=Span.SPAN_KIND_INTERNAL, flags=_LOCAL, status=Status())
            constant = {"stage": "tick", "kept": kept, **({} if tick.symbol is None else {"symbol": tick.symbol})}
            span.attributes.extend(_attribute(name, value) for name, value in constant.items())
            tail = span.SerializeToString()
            if tick.symbol is not None and len(tails) < 64:
                tails[kept] = tail
        own = b"" if tick.bar_id is None else _packed("bar_id", self._shown("bar_id", plain(tick.bar_id)))
        if site.price is not None:
            own += _packed("price", site.price)
        if site.bid is not None:
            own += _packed("bid", site.bid)
        if site.ask is not None:
            own += _packed("ask", site.ask)
        if site.venue is not None:
            own += _packed("venue", self._shown("venue", plain(site.venue)))
        for key, value in site.attrs:
            own += _packed(key, self._shown(key, plain(value)))
        return b"%b%b%b%b%b%b" % (
            _SPAN, varint(_FIXED + len(own) + len(tail)), _TRACE_ID,
            _ROOT.pack(trace_id, _SPAN_ID, live.sid, _START, live.t0 + offset, _END, live.t1 + offset), own, tail,
        )  # fmt: skip

    def _unusual(self, live: Live, trace_id: bytes, offset: int) -> bytes:
        return _tagged(self._span(live, trace_id, offset, None).SerializeToString())

    def _span(self, live: Live, trace_id: bytes, offset: int, upstream: SpanContext | None) -> Span:
        """A span with everything it may have."""
        more = live.more
        stage = live.stage
        above = live.above()
        parent = b"" if upstream is None else upstream.span_id.to_bytes(8, "big")
        remote = upstream is not None and upstream.is_remote
        if above is not None:
            parent = _sid(above)
        if more is not None and more.upstream is not None:
            parent = more.upstream.span_id.to_bytes(8, "big")
        span = Span(
            trace_id=trace_id, span_id=live.sid, parent_span_id=parent, name=stage.label, kind=Span.SPAN_KIND_INTERNAL,
            start_time_unix_nano=live.t0 + offset, end_time_unix_nano=live.t1 + offset,
            flags=_REMOTE if remote else _LOCAL, status=Status(),
        )  # fmt: skip
        span.attributes.append(_attribute("stage", stage.kind))
        if more is not None:
            self._extras(span, more, otherwise=live.t0 + offset)
        return span

    def _extras(self, span: Span, more: More, otherwise: int) -> None:
        if more.name is not None:
            span.name = self._shown("name", more.name)
        if more.outcome is not None:
            span.attributes.append(_attribute("outcome", more.outcome))
            if more.outcome in ("error", "halted"):
                span.status.code = Status.STATUS_CODE_ERROR
        if more.idle_ns:
            busy = span.end_time_unix_nano - span.start_time_unix_nano - more.idle_ns
            span.attributes.append(_attribute("busy_ms", busy / 1e6))
        span.attributes.extend(self._attributes(more.attributes))
        for name, time_ns, attributes in more.events:
            moment = time_ns if 0 < time_ns < 2**64 else otherwise
            span.events.add(name=name, time_unix_nano=moment, attributes=self._attributes(attributes))
            if name == "exception" and not span.status.message:
                kind, message = attributes.get("exception.type", ""), attributes.get("exception.message", "")
                if more.outcome is not None and message:
                    span.status.message = f"{kind}: {self._shown('message', message)}"
        for context, attributes in more.links:
            span.links.add(
                trace_id=context.trace_id.to_bytes(16, "big"), span_id=context.span_id.to_bytes(8, "big"),
                attributes=self._attributes(attributes), flags=_REMOTE if context.is_remote else _LOCAL,
            )  # fmt: skip
        if more.status.status_code is not StatusCode.UNSET:
            span.status.code = _STATUS[more.status.status_code]
            span.status.message = self._shown("message", more.status.description or "")

    def _attributes(self, found: Mapping[str, Any]) -> list[KeyValue]:
        return [_attribute(key, self._shown(key, value)) for key, value in found.items()]


def _template(site: Any) -> _Template:
    site.template = template = _Template(site)
    return template


def _sid(live: Live) -> bytes:
    more = live.more
    if more is not None and more.span_id:
        return more.span_id.to_bytes(8, "big")
    try:
        return live.sid
    except AttributeError:  # left out of a trace with too many
        return _sid(live.tick.root)


def _tagged(span: bytes) -> bytes:
    return _SPAN + varint(len(span)) + span


def _packed(key: str, value: Any) -> bytes:
    """An attribute of a span as bytes: what stands before the value's own bytes depends on the key and their number."""
    kind = value.__class__
    if kind is float:
        body = _DOUBLE.pack(value)
    elif kind is int and -(2**63) <= value < 2**63:
        body = varint(value & _UINT64)
    elif kind is str and value.isascii() and 0 < len(value) < 4000:
        body = value.encode()
    else:
        return Span(attributes=[_attribute(key, plain(value))]).SerializeToString()
    known = (key, kind, len(body))
    head = _heads.get(known)
    if head is None:
        head = Span(attributes=[_attribute(key, value)]).SerializeToString()[: -len(body)]
        if len(_heads) < _MOST_HEADS:
            _heads[known] = head
    return head + body


def _attribute(key: str, value: Any) -> KeyValue:
    return KeyValue(key=key, value=_value(value))


def _value(value: Any) -> AnyValue:
    kind = value.__class__
    if kind is str:
        return AnyValue(string_value=value)
    if kind is bool:
        return AnyValue(bool_value=value)
    if kind is int:
        return AnyValue(int_value=value)
    if kind is float:
        return AnyValue(double_value=value)
    return AnyValue(array_value=ArrayValue(values=[_value(each) for each in value]))
