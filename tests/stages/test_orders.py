"""Orders on the span of their tick."""

from __future__ import annotations

from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import botobs
from botobs.sinks.provider import ProviderSpans
from botobs.sinks.spans import SpanEncoder
from botobs.stages.orders import name_order
from tests.stages.engines import running


class Hostile:
    def __str__(self):
        raise RuntimeError("hostile")


def value(said):
    return [one.string_value for one in said.array_value.values] or said.string_value


def shown(*names, unusual=False):
    """What both ways out show as `order_id` of a tick that was about these orders."""
    exporter, ours = InMemorySpanExporter(), []
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with running(keep="tail") as bench:
        for way in (
            ProviderSpans(provider, bench.engine, "1"),
            SpanEncoder(bench.engine, lambda _, chunk: ours.extend(ScopeSpans.FromString(chunk).spans)),
        ):
            with botobs.tick("BTC", bar_id=1) as tick:
                for name in names:
                    name_order(tick, name)
                if unusual:
                    tick.set_attribute("a", 1)
            way(bench.kept.pop())
        assert not bench.faults.errors
    provider.shutdown()
    (theirs,) = exporter.get_finished_spans()
    (own,) = ours
    found = {pair.key: pair.value for pair in own.attributes}
    assert "order" in found["kept"].string_value
    assert theirs.attributes["outcome"] == found["outcome"].string_value == "ok"
    said = theirs.attributes.get("order_id")
    said = list(said) if isinstance(said, tuple) else said
    assert said == (value(found["order_id"]) if "order_id" in found else None)
    return said


def test_one_is_a_text_and_several_are_a_list():
    for unusual in (False, True):
        assert shown(None, unusual=unusual) is None
        assert shown("o-1", unusual=unusual) == "o-1"
        assert shown("o-1", None, "o-1", unusual=unusual) == "o-1"
        assert shown("o-1", "o-2", "o-1", "o-3", "o-2", unusual=unusual) == ["o-1", "o-2", "o-3"]


def test_whatever_an_id_is_and_however_many_there_are():
    assert shown(7, "ö\ud800") == ["7", "ö?"]
    assert shown(Hostile()) == "<unprintable Hostile>"
    assert shown("") == ""
    assert shown(*map(str, range(100))) == [str(n) for n in range(64)]


def test_a_stage_s_order_does_not_wipe_them_out():
    with running(keep="tail") as bench:
        with botobs.tick("BTC") as tick:
            name_order(tick, "o-1")
            with botobs.execution(order="o-1"):
                pass
            assert tick.why == {"order": "o-1"}
        for n in range(10):  # more reasons than are kept
            tick.keep(str(n))
        assert not bench.faults.errors
    with running(keep="none"), botobs.tick("BTC") as tick:
        name_order(tick, "o-1")
    assert tick.trace_id == 0
