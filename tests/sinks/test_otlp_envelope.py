import pytest
from botobs.sinks.otlp.envelope import SPAN_TAG, envelope, varint
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext


def tagged(*spans):
    return b"".join(SPAN_TAG + varint(len(raw)) + raw for raw in (span.SerializeToString() for span in spans))


def readable(resource, scope, number):
    return ReadableSpan(
        f"span {number}",
        context=SpanContext(0x1234 + number, 0x77 + number, is_remote=False),
        resource=resource,
        attributes={"symbol": "BTC/USDT", "n": number, "x": 0.5, "ok": True, "tags": ("a", "b")},
        instrumentation_scope=scope,
        start_time=1_700_000_000_000_000_000,
        end_time=1_700_000_000_000_001_000 + number,
    )


@pytest.mark.parametrize(
    "resource",
    [
        Resource({}),
        Resource({"service.name": "bot", "weird": "é" * 200, "n": 3}, "https://schema/1"),
    ],
)
@pytest.mark.parametrize(
    "scope",
    [
        InstrumentationScope("botobs"),
        InstrumentationScope("botobs", "1.2.3", "https://schema/2"),
    ],
)
@pytest.mark.parametrize("count", [0, 1, 3, 700])
def test_equal_to_the_official_encoder(resource, scope, count):
    official = encode_spans(
        [readable(resource, scope, number) for number in range(count)] or [readable(resource, scope, 0)]
    )
    spans = official.resource_spans[0].scope_spans[0].spans
    if count == 0:
        del spans[:]
    half = len(spans) // 2
    ours = envelope(resource, scope.name, scope.version, scope.schema_url).wrap(
        [tagged(*spans[:half]), tagged(*spans[half:])]
    )
    assert ExportTraceServiceRequest.FromString(ours) == official
    assert ours == official.SerializeToString()


@given(
    st.lists(st.lists(st.binary(max_size=400), max_size=4), max_size=8),
    st.text(max_size=300),
    st.text(max_size=20),
)
def test_lengths_hold_for_any_spans(groups, service, schema):
    spans = [[Span(trace_state=raw.hex()) for raw in group] for group in groups]
    wrapped = envelope(Resource({"service.name": service}, schema), "scope").wrap([tagged(*group) for group in spans])
    request = ExportTraceServiceRequest.FromString(wrapped)
    assert list(request.resource_spans[0].scope_spans[0].spans) == [span for group in spans for span in group]
    assert request.resource_spans[0].resource.attributes[0].value.string_value == service
    assert request.resource_spans[0].schema_url == schema
    assert request.SerializeToString() == wrapped


@given(st.integers(min_value=0, max_value=2**63))
def test_varint_is_protobufs(number):
    from google.protobuf.internal.decoder import _DecodeVarint

    raw = varint(number)
    assert _DecodeVarint(raw, 0) == (number, len(raw))


@pytest.mark.parametrize("size", [0, 100, 127, 128, 129, 16_383, 16_384, 2_097_151, 2_097_152])
def test_head_promises_exactly_what_follows(size):
    wrapper = envelope(Resource({"service.name": "b"}), "s")
    # one span field of exactly `size` bytes, tag and length included
    for length_bytes in range(1, 5):
        body = size - 1 - length_bytes
        if body >= 0 and len(varint(body)) == length_bytes:
            name = Span(name="")  # an unknown span content of the right size: filled by trace_state
            pad = body - 1 - len(varint(max(body - 4, 0)))
            name.trace_state = "x" * max(pad, 0)
            chunk = tagged(name)
            break
    else:
        chunk = b""
    assert ExportTraceServiceRequest.FromString(wrapper.wrap([chunk])).SerializeToString() == wrapper.wrap([chunk])
