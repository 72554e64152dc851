"""Spans as bytes, for the tests of the sending room."""

from botobs.sinks.otlp.envelope import SPAN_TAG, envelope, varint
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.resources import Resource

ENVELOPE = envelope(Resource({"service.name": "bot"}), "botobs", "0.1")


def chunk_of(count, start=0):
    raw = (
        Span(
            trace_id=bytes(16),
            span_id=n.to_bytes(8, "big"),
            name=f"span {n}",
            start_time_unix_nano=1,
            end_time_unix_nano=2,
        ).SerializeToString()
        for n in range(start, start + count)
    )
    return b"".join(SPAN_TAG + varint(len(span)) + span for span in raw)


def request_of(count, start=0):
    return ENVELOPE.wrap([chunk_of(count, start)])
