"""Spans as a collector decodes them, with the ties between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["CapturedSpan", "SpanBook", "SpanEvent", "SpanLink", "tree"]

_STATUS = ("unset", "ok", "error")


class SpanEvent(NamedTuple):
    """Something that happened during a span."""

    name: str
    time_ns: int
    attributes: dict[str, Any]


class SpanLink(NamedTuple):
    """Another span that a span points to."""

    trace_id: str
    span_id: str
    attributes: dict[str, Any]


@attrs.frozen(kw_only=True)
class CapturedSpan:
    """A span as it went over the wire. Equal spans say the same.

    Attributes:
        name: The stage's name; `tick` for a turn.
        trace_id: 32 hexadecimal digits, as in records.
        span_id: 16 hexadecimal digits.
        parent_id: The span it ran in, if any; it may be another process's.
        start_ns: When it began, in nanoseconds since 1970.
        end_ns: When it ended.
        attributes: What it carries; `stage` is the kind of stage.
        events: What happened during it, exceptions among them.
        links: Other spans it points to.
        status: `unset`, `ok` or `error`.
        message: What the status says beside.
    """

    name: str
    trace_id: str = attrs.field(repr=False)
    span_id: str
    parent_id: str | None
    start_ns: int = attrs.field(repr=False)
    end_ns: int = attrs.field(repr=False)
    attributes: dict[str, Any]
    events: tuple[SpanEvent, ...] = ()
    links: tuple[SpanLink, ...] = ()
    status: str = "unset"
    message: str = ""
    _book: SpanBook = attrs.field(eq=False, repr=False)

    @property
    def duration_ns(self) -> int:
        """How long it took."""
        return self.end_ns - self.start_ns

    @property
    def parent(self) -> CapturedSpan | None:
        """The span it ran in, if it was captured too."""
        return self._book.by_id.get((self.trace_id, self.parent_id or ""))

    @property
    def children(self) -> list[CapturedSpan]:
        """The spans that ran in it, in the order they began."""
        return _in_order(self._book.below.get((self.trace_id, self.span_id), ()))


class SpanBook:
    """All captured spans, found by their ids."""

    def __init__(self) -> None:
        self.by_id: dict[tuple[str, str], CapturedSpan] = {}
        self.below: dict[tuple[str, str], list[CapturedSpan]] = {}

    def decode(self, payload: bytes) -> list[CapturedSpan]:
        """The spans of one request."""
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415  # loads with start
            ExportTraceServiceRequest,
        )

        request = ExportTraceServiceRequest.FromString(payload)
        scopes = (scope for resource in request.resource_spans for scope in resource.scope_spans)
        found = [self._decoded(span) for scope in scopes for span in scope.spans]
        for span in found:
            self.by_id[span.trace_id, span.span_id] = span
            if span.parent_id is not None:
                self.below.setdefault((span.trace_id, span.parent_id), []).append(span)
        return found

    def _decoded(self, span: Any) -> CapturedSpan:
        return CapturedSpan(
            name=span.name,
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex() or None,
            start_ns=span.start_time_unix_nano,
            end_ns=span.end_time_unix_nano,
            attributes=_mapping(span.attributes),
            events=tuple(
                SpanEvent(event.name, event.time_unix_nano, _mapping(event.attributes)) for event in span.events
            ),
            links=tuple(
                SpanLink(link.trace_id.hex(), link.span_id.hex(), _mapping(link.attributes)) for link in span.links
            ),
            status=_STATUS[span.status.code],
            message=span.status.message,
            book=self,
        )


def tree(spans: Sequence[CapturedSpan], *, durations: bool = False) -> str:
    """Spans as an indented text, one a line: children below their parent, in the order they began."""
    lines: list[str] = []
    known = {(span.trace_id, span.span_id) for span in spans}

    def add(span: CapturedSpan, depth: int) -> None:
        took = f" {span.duration_ns / 1e6:g} ms" if durations else ""
        failed = " (error)" if span.status == "error" else ""
        lines.append(f"{'  ' * depth}{span.name}{took}{failed}")
        for child in span.children:
            add(child, depth + 1)

    for span in spans:
        if (span.trace_id, span.parent_id) not in known:
            add(span, 0)
    return "\n".join(lines)


def _in_order(spans: Iterable[CapturedSpan]) -> list[CapturedSpan]:
    # stable: of those that began at the same time, the one that opened first was sent first
    return sorted(spans, key=lambda span: span.start_ns)


def _mapping(pairs: Iterable[Any]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        return _mapping(value.kvlist_value.values)
    return None if kind is None else getattr(value, kind)


def matching(spans: Iterable[CapturedSpan], name: str, attributes: Mapping[str, Any]) -> list[CapturedSpan]:
    """The spans of that name with at least these attributes."""
    missing = object()
    return [
        span
        for span in spans
        if span.name == name and all(span.attributes.get(key, missing) == value for key, value in attributes.items())
    ]
