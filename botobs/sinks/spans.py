"""Kept traces as OTLP bytes.

The constants of a stage's spans (name, kind, attributes, flags) are encoded once, by OpenTelemetry's own classes, and
kept on the stage; a usual span is then one `struct` call with ids and times in front. A span with attributes, events,
links or an error goes through those classes as a whole. Tests decode both and compare.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, SpanFlags, Status
from opentelemetry.trace import StatusCode

from botobs.stages.hasten import UNFIT, quick
from botobs.stages.live import Live, plain
from botobs.stages.tick import span_attributes

from .otlp.envelope import varint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.trace import SpanContext

    from botobs.stages.engine import Engine
    from botobs.stages.live import More
    from botobs.stages.tick import Tick

__all__ = ["SpanEncoder"]

_SPAN: Final = b"\x12"  # ScopeSpans.spans
_TRACE_ID, _SPAN_ID, _PARENT_ID, _START, _END = b"\x0a\x10", b"\x12\x08", b'"\x08', b"\x39", b"\x41"
_ROOT_SIZE: Final = 2 * (1 + 8) + (2 + 16) + (2 + 8)  # two times, the trace's id and the span's
_CHILD_SIZE: Final = _ROOT_SIZE + (2 + 8)  # and the parent's
_LOCAL: Final = int(SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK)
_REMOTE: Final = _LOCAL | int(SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)
_STATUS: Final = {
    StatusCode.UNSET: Status.STATUS_CODE_UNSET,
    StatusCode.OK: Status.STATUS_CODE_OK,
    StatusCode.ERROR: Status.STATUS_CODE_ERROR,
}
_ROOT: Final = struct.Struct("<sQsQ18s2s8s").pack
_DOUBLE: Final = struct.Struct("<d")
_UINT64: Final = 2**64 - 1
_MOST_HEADS: Final = 1_000
_MOST_TAILS: Final = 64
_NOWHERE: Final[dict[str, bytes]] = {}
_MOST_BEFORE: Final = 512
_BEFORE: Final = tuple(_SPAN + varint(size) for size in range(_MOST_BEFORE))  # tag and length of a span of that size
_heads: dict[tuple[str, type, int], bytes] = {}


class _Template:
    """The encoded constants of one stage's spans. They come first, as protobuf leaves the order to the writer."""

    __slots__ = ("alone", "head", "pack")

    def __init__(self, stage: Any) -> None:
        constants = _constants(stage)
        self.head = _SPAN + varint(len(constants) + _CHILD_SIZE) + constants + _START
        # head, start, what stands before the end, end, the ids of trace and parent with all that stands around, span id
        self.pack = struct.Struct(f"<{len(self.head)}sQsQ30s8s").pack
        self.alone: dict[str, bytes] = {}  # constants of this stage as a trace of its own, by why that was kept


if quick is not None:
    with suppress(*UNFIT):
        quick.know_spans(_Template)


def _constants(site: Any, more: Mapping[str, Any] | None = None) -> bytes:
    span = Span(name=str(plain(site.label)), kind=Span.SPAN_KIND_INTERNAL, flags=_LOCAL, status=Status())
    attributes = {"stage": site.kind, "outcome": "ok", **(more or {})}
    span.attributes.extend(_attribute(key, plain(value)) for key, value in attributes.items())
    return span.SerializeToString()


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
        self._bar_is_open = type(shown("bar_id", 1)) is int

    def __call__(self, kept: Tick | Live) -> None:
        """Encode a kept tick, or a stage that ended after one, and send it on."""
        try:
            if kept.__class__ is Live:
                self._late(kept)
            else:
                self._tick(kept)  # type: ignore[arg-type]  # there is nothing else
        except Exception as error:
            self._faults.error("traces", error)

    def _tick(self, tick: Tick) -> None:
        spans = tick.spans
        root = tick.root
        offset = tick.offset
        count = len(spans)
        ids = self._bits(64 * count).to_bytes(8 * count, "big")
        of_trace = _TRACE_ID + tick.trace_id.to_bytes(16, "big")
        packed = None
        if quick is not None and spans[0] is root:
            packed = quick.children(spans, offset, ids, of_trace, _PARENT_ID, _SPAN_ID)
        parts = self._each(tick, ids, of_trace) if packed is None else [*self._root(tick, root, of_trace), packed]
        tick.forget()
        self._send(count, b"".join(parts))

    def _each(self, tick: Tick, ids: bytes, of_trace: bytes) -> list[bytes]:
        """The spans one by one, whatever they are."""
        root, offset = tick.root, tick.offset
        at = 0
        of_root = b""
        parts: list[bytes] = []
        for live in tick.spans:
            more = live.more
            live.sid = sid = ids[at : at + 8] if more is None or not more.span_id else more.span_id.to_bytes(8, "big")
            at += 8
            if live is root:
                parts += self._root(tick, live, of_trace)
                # what all spans of the trace, and most of them of their parent, have in common
                of_root = of_trace + _PARENT_ID + sid + _SPAN_ID
                continue
            if more is not None:
                parts.append(self._unusual(live, of_trace[2:], offset))
                continue
            parent = live.parent
            # one that was left out of a trace with too many has no id
            around = of_root if parent is root else of_trace + _PARENT_ID + getattr(parent, "sid", root.sid) + _SPAN_ID
            template = live.stage.template or _template(live.stage)
            parts.append(template.pack(template.head, live.t0 + offset, _END, live.t1 + offset, around, sid))
        return parts

    def _late(self, live: Live) -> None:
        tick = live.tick
        live.sid = live.own_span_id().to_bytes(8, "big")
        self._send(1, self._unusual(live, tick.trace_id.to_bytes(16, "big"), tick.offset))

    def _root(self, tick: Tick, live: Live, of_trace: bytes) -> tuple[bytes, ...]:
        site = live.stage
        why = tick.why or {}
        kept = ",".join(why)
        if tick.upstream is not None or live.more is not None or tick.cut:
            return (self._unusual_root(tick, live, kept),)
        symbol = tick.symbol
        if site.kind == "tick":
            known = tick.cells.tails if symbol is not None else _NOWHERE
            own = self._said(tick.bar_id, site)
        else:
            known = (site.template or _template(site)).alone
            own = b""
        if "order" in why and why["order"] is not None:
            own += _packed("order_id", self._shown("order_id", why["order"]))
        constants = known.get(kept)
        if constants is None:
            constants = _constants(site, {"kept": kept, **({} if symbol is None else {"symbol": symbol})})
            if len(known) < _MOST_TAILS and known is not _NOWHERE:
                known[kept] = constants
        offset = tick.offset
        size = len(constants) + len(own) + _ROOT_SIZE
        return (
            _BEFORE[size] if size < _MOST_BEFORE else _SPAN + varint(size), constants, own,
            _ROOT(_START, live.t0 + offset, _END, live.t1 + offset, of_trace, _SPAN_ID, live.sid),
        )  # fmt: skip

    def _said(self, bar: Any, site: Any) -> bytes:
        """What the bot said of this one turn, as attributes."""
        own = b""
        if bar is not None:
            if type(bar) is int and 0 <= bar < 2**63 and self._bar_is_open:
                number = varint(bar)
                own = _BAR[len(number)] + number
            else:
                own = _packed("bar_id", self._shown("bar_id", plain(bar)))
        price, bid, ask = site.price, site.bid, site.ask
        if bid.__class__ is float and ask.__class__ is float and price is None:
            own += _QUOTE(_BID, bid, _ASK, ask)
        else:
            if price is not None:
                own += _packed("price", price)
            if bid is not None:
                own += _packed("bid", bid)
            if ask is not None:
                own += _packed("ask", ask)
        if site.venue is not None:
            own += _packed("venue", self._shown("venue", plain(site.venue)))
        for key, value in site.attrs:
            own += _packed(key, self._shown(key, plain(value)))
        return own

    def _unusual_root(self, tick: Tick, live: Live, kept: str) -> bytes:
        span = self._span(live, tick.trace_id.to_bytes(16, "big"), tick.offset, tick.upstream)
        found = span_attributes(tick)
        found["kept"] = kept
        if tick.cut:
            found["spans_left_out"] = tick.cut
        span.attributes.extend(_attribute(key, self._shown(key, value)) for key, value in found.items())
        return _tagged(span.SerializeToString())

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
            trace_id=trace_id, span_id=live.sid, parent_span_id=parent, name=str(plain(stage.label)),
            kind=Span.SPAN_KIND_INTERNAL, start_time_unix_nano=live.t0 + offset, end_time_unix_nano=live.t1 + offset,
            flags=_REMOTE if remote else _LOCAL, status=Status(),
        )  # fmt: skip
        outcome = "ok" if more is None or more.outcome is None else more.outcome
        span.attributes.extend((_attribute("stage", stage.kind), _attribute("outcome", outcome)))
        if more is not None:
            self._extras(span, more, otherwise=live.t0 + offset)
        return span

    def _extras(self, span: Span, more: More, otherwise: int) -> None:
        if more.name is not None:
            span.name = self._shown("name", more.name)
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


# what stands before the value of the attributes that ticks have most
_BAR: Final = (b"", *(_packed("bar_id", 2 ** (7 * size))[: -size - 1] for size in range(9)))
_BID, _ASK = _packed("bid", 0.5)[:-8], _packed("ask", 0.5)[:-8]
_QUOTE: Final = struct.Struct(f"<{len(_BID)}sd{len(_ASK)}sd").pack
