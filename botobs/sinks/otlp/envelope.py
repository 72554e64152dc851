"""The request around spans that are already encoded.

What is the same for every request (resource, scope) comes from the official encoder, once. A request is then
these constants, the spans' bytes, and the lengths that protobuf puts in front of each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.resources import Resource

__all__ = ["SPAN_TAG", "Envelope", "envelope", "varint"]

# field number << 3 | 2 (a length and bytes follow)
_FIRST, _SECOND, _THIRD = b"\x0a", b"\x12", b"\x1a"
SPAN_TAG = _SECOND
"""What stands before the length and the bytes of each span in a chunk: ScopeSpans.spans is field 2."""


_SMALL = tuple(bytes((number,)) for number in range(0x80))


def varint(number: int) -> bytes:
    """`number` as protobuf writes lengths.

    Example:
        >>> varint(300).hex()
        'ac02'
    """
    if 0 <= number < 0x4000:
        return _SMALL[number] if number < 0x80 else bytes((number & 0x7F | 0x80, number >> 7))
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _field(tag: bytes, content: bytes) -> bytes:
    return tag + varint(len(content)) + content


class Envelope:
    """One resource and one scope, ready to be put around spans."""

    __slots__ = ("_after_scope", "_after_spans", "_resource", "_scope")

    def __init__(self, resource: bytes, scope: bytes, scope_schema: bytes, resource_schema: bytes) -> None:
        self._resource = _field(_FIRST, resource)
        self._scope = _field(_FIRST, scope)
        self._after_spans = _field(_THIRD, scope_schema) if scope_schema else b""
        self._after_scope = _field(_THIRD, resource_schema) if resource_schema else b""

    def head(self, size: int) -> bytes:
        """What stands before `size` bytes of spans."""
        inner = len(self._scope) + size + len(self._after_spans)
        scope_spans = _SECOND + varint(inner) + self._scope
        outer = len(self._resource) + len(scope_spans) + size + len(self._after_spans) + len(self._after_scope)
        return _FIRST + varint(outer) + self._resource + scope_spans

    @property
    def tail(self) -> bytes:
        """What stands after the spans."""
        return self._after_spans + self._after_scope

    def wrap(self, chunks: Sequence[bytes]) -> bytes:
        """A whole ExportTraceServiceRequest around `chunks` of tagged spans."""
        size = sum(map(len, chunks))
        return b"".join((self.head(size), *chunks, self.tail))


def envelope(
    resource: Resource, scope_name: str, scope_version: str | None = None, scope_schema_url: str | None = None
) -> Envelope:
    """The envelope for what the scope `scope_name` of `resource` sends."""
    carrier = ReadableSpan(
        "",
        context=SpanContext(1, 1, is_remote=False),
        resource=resource,
        instrumentation_scope=InstrumentationScope(scope_name, scope_version, scope_schema_url),
        start_time=0,
        end_time=0,
    )
    spans = encode_spans([carrier]).resource_spans[0]
    scope = spans.scope_spans[0]
    return Envelope(
        spans.resource.SerializeToString(),
        scope.scope.SerializeToString(),
        scope.schema_url.encode(),
        spans.schema_url.encode(),
    )
