"""Kept traces: our bytes against OpenTelemetry's own encoder, span by span."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import botobs
from botobs.sinks.provider import ProviderSpans
from botobs.sinks.spans import SpanEncoder
from botobs.stages.orders import name_order
from botobs.streams.redact import Redactor
from tests.stages.engines import running


def both_ways(bench, *, shown=lambda _name, value: value):
    """Every kept trace through our encoder and, by way of the SDK, through the official one."""
    ours, counts = [], []

    def send(count, chunk):
        counts.append(count)
        ours.extend(ScopeSpans.FromString(chunk).spans)

    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    encode = SpanEncoder(bench.engine, send, shown)
    replay = ProviderSpans(provider, bench.engine, "1", shown)
    for kept in bench.kept:
        if hasattr(kept, "spans"):
            for live in kept.spans:
                live.own_span_id()  # both have to use the same ids
            spans, root = list(kept.spans), kept.root
            encode(kept)
            assert kept.spans == []  # no circle is left to the garbage collector
            kept.spans, kept.root = spans, root
        else:
            encode(kept)
        replay(kept)
    official = [
        span
        for message in encode_spans(exporter.get_finished_spans()).resource_spans
        for scope in message.scope_spans
        for span in scope.spans
    ]
    provider.shutdown()
    assert sum(counts) == len(ours)
    return ours, official


def plain(span):
    """A span as a dictionary in which the order of attributes does not count."""
    return {
        "ids": (span.trace_id, span.span_id, span.parent_span_id),
        "name": span.name,
        "kind": span.kind,
        "times": (span.start_time_unix_nano, span.end_time_unix_nano),
        "attributes": {pair.key: str(pair.value) for pair in span.attributes if pair.key != "busy_ms"},
        "events": [(e.name, e.time_unix_nano, {p.key: str(p.value) for p in e.attributes}) for e in span.events],
        "links": [(link.trace_id, link.span_id, link.flags) for link in span.links],
        "status": (span.status.code, span.status.message if span.status.code else ""),
        "flags": span.flags,
    }


def assert_same(ours, official):
    key = lambda span: span["ids"]  # noqa: E731
    left, right = sorted(map(plain, ours), key=key), sorted(map(plain, official), key=key)
    for one, other in zip(left, right, strict=True):
        one["status"] = other["status"] if one["status"][0] == other["status"][0] else one["status"]
        assert one == other


def busy_tick():
    with botobs.tick("BTC-USD", bar_id=7, bid=99.5, venue="x", attrs={"a": True}) as tick:
        with botobs.feature(), botobs.stage("inner"):
            pass
        with botobs.model("lgbm", attrs={"n": 3, "weights": [1.5, 2.5]}) as span:
            span.add_event("cached", {"hit": True})
            span.add_link(trace.SpanContext(5, 6, is_remote=True))
        with botobs.decision() as span:
            span.set_status(trace.StatusCode.ERROR, "odd")
            span.update_name("renamed")
        try:
            with botobs.risk():
                raise ValueError("limit")
        except ValueError:
            pass
        with botobs.execution(order="o-1") as span:
            span.get_span_context()
        tick.keep()


def test_everything_equal_to_the_official_encoder():
    with running(keep="all") as bench:
        busy_tick()
        with botobs.tick(None):
            pass
        with botobs.stage("alone"):
            pass
        ours, official = both_ways(bench)
    assert len(ours) == 9
    assert_same(ours, official)
    names = {span.name for span in ours}
    assert names == {"tick", "feature", "inner", "lgbm", "renamed", "risk", "execution", "alone"}


_bar = st.one_of(
    st.integers(0, 2**63 - 1), st.sampled_from([0, 127, 128, 16_383, 16_384, 2**56 - 1, 2**56, 2**63 - 1, 2**63, -1]),
    st.integers(), st.text(max_size=20), st.floats(allow_nan=False), st.none(),
)  # fmt: skip
_price = st.one_of(st.none(), st.floats(allow_nan=False), st.integers(-(2**63), 2**63 - 1))


@settings(max_examples=150, deadline=None)
@given(
    symbol=st.one_of(st.none(), st.just("BTC-USD"), st.text(max_size=5)), bar=_bar, price=_price, bid=_price,
    ask=_price, venue=st.one_of(st.none(), st.text(max_size=5)), attrs=st.dictionaries(st.text(max_size=3), _bar),
    above=st.lists(st.integers(0, 4), max_size=6), why=st.lists(st.text(max_size=5), max_size=2),
    order=st.one_of(st.none(), st.text(max_size=5)),
)  # fmt: skip
def test_the_short_way_says_what_the_long_one_does(symbol, bar, price, bid, ask, venue, attrs, above, why, order):
    chunks = []
    with running(keep="all") as bench:
        encode = SpanEncoder(bench.engine, lambda _, chunk: chunks.append(chunk))
        site = botobs.tick(symbol, bar, price=price, bid=bid, ask=ask, venue=venue, attrs=attrs)
        with site as tick, contextlib.ExitStack() as stack:
            for reason in why:
                tick.keep(reason)
            if order is not None:
                name_order(tick, order)
            for depth in above:  # into the innermost, or a new one after leaving all of them
                if depth == 0:
                    stack.close()
                stack.enter_context(botobs.stage(f"s{depth}"))
        with botobs.stage("alone"):
            pass
        for kept in bench.kept:
            spans, root = kept.spans, kept.root
            assert all(live.more is None for live in spans)
            encode(kept)
            kept.spans, kept.root = spans, root
            for live in spans:  # with an id that was asked for it is no usual span any more
                live.extra().span_id = int.from_bytes(live.sid, "big")
            encode(kept)
        assert bench.faults.errors == {}
    for short, long in zip(chunks[::2], chunks[1::2], strict=True):
        assert_same(*[ScopeSpans.FromString(chunk).spans for chunk in (short, long)])


_value = st.one_of(
    st.text(max_size=20), st.integers(), st.floats(), st.booleans(), st.none(), st.binary(max_size=5),
    st.lists(st.integers(), max_size=3), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    symbol=_value, bar_id=_value, price=_value, attrs=st.dictionaries(st.text(max_size=8), _value, max_size=4),
    events=st.lists(st.tuples(_value, st.dictionaries(st.text(max_size=5), _value, max_size=2)), max_size=3),
)  # fmt: skip
def test_any_value_in_any_place(symbol, bar_id, price, attrs, events):
    with running(keep="all") as bench:
        with botobs.tick(symbol, bar_id, price=price, attrs=attrs), botobs.stage("s", attrs=attrs) as span:
            for name, found in events:
                span.add_event(name, found)
                span.set_attribute(name, name)
        ours, _ = both_ways(bench)
    assert len(ours) == 2
    assert bench.faults.errors == {}


def test_the_tree_of_a_tick_is_whole():
    with running(keep="all") as bench:
        busy_tick()
        ours, _ = both_ways(bench)
    (root,) = [span for span in ours if not span.parent_span_id]
    assert root.name == "tick"
    ids = {span.span_id for span in ours}
    assert len(ids) == len(ours) == 7
    assert all(span.parent_span_id in ids for span in ours if span is not root)
    assert len({span.trace_id for span in ours}) == 1
    assert all(root.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano for span in ours)
    attributes = {pair.key: pair.value for pair in root.attributes}
    assert attributes["symbol"].string_value == "BTC-USD"
    assert attributes["bar_id"].int_value == 7
    assert set(attributes["kept"].string_value.split(",")) == {"error", "order", "handed_out", "asked", "all"}


def test_secrets_are_taken_out():
    hook = "https://hooks.slack.com/services/T0/B0/hush"
    with running(keep="all") as bench:
        with botobs.tick("BTC", bar_id=hook, venue=hook, attrs={"api_key": "hush", "at": [hook]}):
            with botobs.stage("s", attrs={"Api_Key": "hush", "at": hook}) as span:
                span.add_event("login", {"api_key": "hush", "at": hook})
                span.update_name(hook)
                span.set_status(trace.StatusCode.ERROR, hook)
            with pytest.raises(ValueError), botobs.stage("fails"):
                raise ValueError(hook)
        with botobs.tick("BTC", bar_id=hook, venue=hook, attrs={"api_key": "hush", "at": [hook]}):
            pass
        for spans in both_ways(bench, shown=Redactor().shown):
            assert len(spans) == 4
            assert "hush" not in str(spans)


def test_late_stages_and_parents_left_out_still_have_parents():
    async def main():
        go = asyncio.Event()

        async def late():
            with botobs.execution():
                await go.wait()

        with botobs.tick("BTC"):
            task = asyncio.ensure_future(late())
            await asyncio.sleep(0)
            with botobs.stage("outer"):
                for _ in range(600):
                    with botobs.feature():
                        pass
        go.set()
        await task

    with running(keep="all") as bench:
        asyncio.run(main())
        ours, official = both_ways(bench)
    assert_same(ours, official)
    root = next(span for span in ours if not span.parent_span_id)
    assert next(span for span in ours if span.name == "execution").parent_span_id == root.span_id


def test_more_running_stages_than_a_trace_can_show_still_have_a_root():
    with running(keep="all") as bench:
        with botobs.tick("BTC") as tick, contextlib.ExitStack() as stack:
            for _ in range(1_300):
                stack.enter_context(botobs.feature())
            last = 1 + 1_300 - tick.cut
            assert 1 < last <= 512
        ours, _ = both_ways(bench)
        assert bench.engine.cut == tick.cut
    ids = {span.span_id for span in ours}
    assert len(ids) == len(ours) == last
    assert [span.name for span in ours if not span.parent_span_id] == ["tick"]
    assert all(span.parent_span_id in ids for span in ours if span.name != "tick")


def test_a_provider_of_another_make_gets_the_trace_id():
    logfire = pytest.importorskip("logfire")
    exporter = InMemorySpanExporter()
    logfire.configure(
        send_to_logfire=False, console=False, additional_span_processors=[SimpleSpanProcessor(exporter)], local=True
    )
    instance = logfire.configure(
        send_to_logfire=False, console=False, additional_span_processors=[SimpleSpanProcessor(exporter)], local=True
    )
    with running(keep="all") as bench:
        busy_tick()
        replay = ProviderSpans(instance.config.get_tracer_provider(), bench.engine, "1")
        (tick,) = bench.kept
        replay(tick)
    spans = exporter.get_finished_spans()
    assert {span.context.trace_id for span in spans} == {tick.trace_id}
    assert {"tick", "feature", "inner", "lgbm"} <= {span.name for span in spans}
    instance.shutdown(flush=False)
