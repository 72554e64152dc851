"""Inside a stage, OpenTelemetry's current span is the stage."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry import baggage, context, propagate, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode

import botobs
from tests.stages.engines import running


@pytest.fixture
def others():
    """Another library's tracer and what it exported."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider.get_tracer("aiohttp"), exporter
    provider.shutdown()


def test_a_span_of_another_library_is_the_stages_child(others):
    tracer, exporter = others
    with running() as bench:
        with botobs.tick("BTC") as tick, botobs.execution() as stage, tracer.start_as_current_span("POST /order"):
            with tracer.start_as_current_span("tls"):
                pass
        assert trace.get_current_span() is stage or not trace.get_current_span().get_span_context().is_valid
    inner, outer = exporter.get_finished_spans()
    assert outer.parent.span_id == stage.own_span_id()
    assert outer.context.trace_id == inner.context.trace_id == tick.trace_id
    assert inner.parent.span_id == outer.context.span_id
    assert bench.kept == [tick]
    assert list(tick.why)[0] == "handed_out"


def test_a_stage_inside_another_librarys_span_inside_a_tick(others):
    tracer, exporter = others
    with running() as bench:
        with botobs.tick("BTC") as tick, tracer.start_as_current_span("request") as foreign:
            with botobs.decision() as stage:
                assert trace.get_current_span() is stage
            assert trace.get_current_span() is foreign
        assert stage.tick is tick
        assert stage.more.upstream.span_id == foreign.get_span_context().span_id
        assert bench.counts() == {("decision", "BTC"): 1, ("tick", "BTC"): 1}


def test_a_tick_inside_somebodys_sampled_span_joins_its_trace_and_is_kept(others):
    tracer, _ = others
    with running() as bench, tracer.start_as_current_span("job") as job:
        for _ in range(3):
            with botobs.tick("BTC") as tick:
                pass
            assert tick.trace_id == job.get_span_context().trace_id
            assert tick.upstream.span_id == job.get_span_context().span_id
        assert len(bench.kept) == 3


def test_a_foreign_context_left_lying_does_not_confuse(others):
    tracer, _ = others
    with running() as bench:
        with botobs.tick("BTC"), botobs.decision():
            context.attach(trace.set_span_in_context(tracer.start_span("forgotten")))
        assert not trace.get_current_span().get_span_context().is_valid
        assert bench.counts() == {("decision", "BTC"): 1, ("tick", "BTC"): 1}


def test_the_context_is_a_context():
    with running():
        token = context.attach(baggage.set_baggage("desk", "nine"))
        with botobs.tick("BTC"), botobs.decision() as stage:
            now = context.get_current()
            assert isinstance(now, context.Context)
            assert bool(now)
            assert baggage.get_baggage("desk") == "nine"
            assert dict(now) == now.copy() == {**now}
            assert set(now) == set(now.keys())
            assert len(now) == len(list(now.items())) == len(list(now.values()))
            assert trace.get_current_span(now) is stage
            with pytest.raises(ValueError):
                now["a"] = 1
            inner = context.attach(baggage.set_baggage("book", "7"))
            assert (baggage.get_baggage("desk"), baggage.get_baggage("book")) == ("nine", "7")
            assert trace.get_current_span() is stage
            context.detach(inner)
        context.detach(token)


def test_propagation_carries_the_stage_and_marks_the_trace_as_kept():
    with running() as bench:
        with botobs.tick("BTC") as tick, botobs.execution() as stage:
            carrier = {}
            propagate.inject(carrier)
        assert carrier["traceparent"] == f"00-{tick.trace_id:032x}-{stage.own_span_id():016x}-01"
        assert bench.kept == [tick]
    with running(keep="none") as bench:
        with botobs.tick("BTC"):
            propagate.inject(carrier)
        assert carrier["traceparent"].endswith("-00")
        assert bench.kept == []


def test_everything_a_span_can_be_told():
    with running(keep="all") as bench:
        with botobs.tick("BTC"), botobs.stage("s") as span:
            assert span.is_recording()
            span.set_attribute("int", 2**80)
            span.set_attributes({"list": [1, 2], "mixed": [1, "a"], "odd": object, "nan": float("nan")})
            span.add_event("seen", {"n": 1})
            span.add_link(trace.SpanContext(1, 2, is_remote=True))
            span.update_name("renamed")
            span.set_status(Status(StatusCode.ERROR, "bad"))
            span.set_status(StatusCode.UNSET)
            span.record_exception(ValueError("x"), attributes={"a": 1})
            span.end()
            assert span.is_recording()
        assert not span.is_recording()
        span.set_attribute("late", 1)
        more = span.more
        assert more.attributes["int"] == str(2**80)
        assert more.attributes["mixed"] == ["1", "a"]
        assert "late" not in more.attributes
        assert [event.name for event in more.events] == ["seen", "exception"]
        assert more.status.description == "bad"
        assert "error" in bench.kept[0].why


def test_hundreds_of_attributes_and_events_are_bounded():
    with running(keep="all"):
        with botobs.stage("s") as span:
            for i in range(1_000):
                span.set_attribute(f"a{i}", i)
                span.add_event("e")
                span.add_event("e", None)
        assert len(span.more.attributes) == len(span.more.events) == 128


def test_ids_are_the_same_from_a_seed_and_differ_without():
    def ids(seed):
        with running(seed=seed):
            with botobs.tick("BTC") as tick, botobs.stage("s") as span:
                return tick.id, span.get_span_context().span_id

    assert ids(7) == ids(7)
    assert len({ids(None) for _ in range(10)}) == 10


def test_use_span_and_tasks_see_the_stage():
    async def child():
        return trace.get_current_span()

    async def main():
        with botobs.tick("BTC"), botobs.decision() as stage:
            assert await asyncio.ensure_future(child()) is stage
            with trace.use_span(stage):
                assert trace.get_current_span() is stage

    with running():
        asyncio.run(main())
