"""Every form of every stage, and that nothing changes what the bot's functions do."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import threading

import pytest
from opentelemetry import trace

import botobs
from botobs.stages.live import get_context
from tests.stages.engines import running

KINDS = ["feature", "model", "decision", "risk", "execution"]


def current_name():
    span = trace.get_current_span()
    return getattr(getattr(span, "stage", None), "label", None)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_in_each_form(kind):
    verb = getattr(botobs, kind)

    @verb
    def bare(x):
        return x, current_name()

    @verb("named", attrs={"a": 1})
    def named(x):
        return x, current_name()

    @verb()
    async def called(x):
        await asyncio.sleep(0)
        return x, current_name()

    @verb
    def generate(n):
        for i in range(n):
            yield i, current_name()

    @verb
    async def agenerate(n):
        for i in range(n):
            await asyncio.sleep(0)
            yield i, current_name()

    async def all_async():
        return await called(3), [pair async for pair in agenerate(2)]

    with running() as bench:
        assert bare(1) == (1, kind)
        assert named(2) == (2, "named")
        assert asyncio.run(all_async()) == ((3, kind), [(0, kind), (1, kind)])
        assert list(generate(2)) == [(0, kind), (1, kind)]
        with verb():
            assert current_name() == kind
        with verb("own"):
            assert current_name() == "own"
        assert current_name() is None
        counts = bench.counts()
    assert counts == {(kind, "all"): 5, ("named", "all"): 1, ("own", "all"): 1} or counts == {
        (kind, "all"): 5, ("own", "all"): 1, ("named", "all"): 1,
    }  # fmt: skip


def test_stage_and_tick_in_each_form():
    @botobs.stage
    def rank():
        return current_name()

    @botobs.tick
    def on_bar(bar):
        assert botobs.current_tick().symbol == bar.symbol
        return rank()

    @botobs.tick("ETH-USD", venue="x")
    async def on_quote():
        return botobs.current_tick().symbol

    class Bar:
        symbol = "BTC-USD"
        bar_id = 5

    with running() as bench:
        assert on_bar(Bar()) == "rank"
        assert asyncio.run(on_quote()) == "ETH-USD"
        with botobs.stage("rank"), botobs.tick("BTC-USD") as tick:
            assert tick.symbol == "BTC-USD"
            assert botobs.current_tick() is tick
        assert bench.counts() == {
            ("rank", "BTC-USD"): 1, ("tick", "BTC-USD"): 2, ("tick", "ETH-USD"): 1, ("rank", "all"): 1,
        }  # fmt: skip


def test_kind_signature_and_descriptors_stay():
    @botobs.feature
    async def coroutine(a: int, *, b: str = "x") -> str:
        """Doc."""
        return b

    @botobs.feature
    async def agen():
        yield 1

    @botobs.feature
    def gen():
        yield 1

    class Strategy:
        @botobs.feature
        def method(self):
            return self

        @botobs.feature
        @staticmethod
        def static(x):
            return x

        @botobs.feature
        @classmethod
        def klass(cls):
            return cls

    assert inspect.iscoroutinefunction(coroutine)
    assert inspect.isasyncgenfunction(agen)
    assert inspect.isgeneratorfunction(gen)
    assert str(inspect.signature(coroutine)) == str(inspect.signature(coroutine.__wrapped__))
    assert coroutine.__doc__ == "Doc."
    with running():
        strategy = Strategy()
        assert strategy.method() is strategy
        assert Strategy.static(3) == strategy.static(3) == 3
        assert Strategy.klass() is Strategy
        assert botobs.feature(functools.partial(lambda a, b: a + b, 1))(2) == 3


def test_what_is_no_function_is_refused_where_the_stage_is_made():
    with pytest.raises(TypeError):
        botobs.stage("x")(5)
    with pytest.raises(TypeError):
        botobs.stage("x", atrs={})
    with pytest.raises(TypeError):
        botobs.execution(reduce=True)


def test_before_start_nothing_is_kept_and_functions_run():
    @botobs.feature
    def double(x):
        assert get_context() == {}
        return 2 * x

    assert double(2) == 4
    with botobs.tick("BTC") as tick, botobs.decision() as stage:
        tick.signal(features={"a": 1})
        tick.set_attribute("a", 1)
        tick.keep()
        stage.set_attribute("a", 1)
        assert not stage.get_span_context().is_valid
        assert tick.id == ""


def test_exceptions_are_recorded_and_raised_untouched():
    error = ValueError("boom")

    @botobs.model
    def predict():
        raise error

    with running() as bench:
        with pytest.raises(ValueError, match="boom") as caught, botobs.tick("BTC"), botobs.decision():
            predict()
        assert caught.value is error
        assert error.__context__ is None
        assert error.__cause__ is None
        (tick,) = bench.kept
        assert "error" in tick.why
        by_name = {live.stage.label: live.more for live in tick.spans}
        assert {name: more.outcome for name, more in by_name.items()} == dict.fromkeys(by_name, "error")
        stack = by_name["model"].events[0].attributes
        assert stack["exception.type"] == "ValueError"
        assert "predict" in stack["exception.stacktrace"]
        assert "exception.stacktrace" not in by_name["tick"].events[0].attributes


@pytest.mark.parametrize("hostile", [True, False])
def test_an_exception_that_cannot_be_shown(hostile):
    class Odd(Exception):
        def __str__(self):
            if hostile:
                raise RuntimeError("no")
            return "\ud800" * 10_000

    with running() as bench:
        with pytest.raises(Odd), botobs.stage("x"):
            raise Odd
        assert len(bench.kept) == 1


def test_nested_and_recursive():
    @botobs.feature
    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    with running(keep="all") as bench, botobs.tick("BTC"):
        assert fib(6) == 8
    assert bench.counts()["feature", "BTC"] == 25
    assert max(_depth(live) for live in bench.kept[0].spans) == 7  # the tick, six calls deep from fib(6) to fib(1)


def _depth(live):
    depth = 0
    while live is not None:
        live, depth = live.above(), depth + 1
    return depth


def test_one_site_reused_and_shared_by_threads_and_tasks():
    site = botobs.stage("shared")
    with running(keep="all") as bench:
        with site, site, site:
            pass
        barrier = threading.Barrier(4)

        def work():
            barrier.wait(10)
            for _ in range(500):
                with site:
                    assert current_name() == "shared"
            assert current_name() is None

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)

        async def task(symbol):
            with botobs.tick(symbol) as tick:
                for _ in range(20):
                    with site:
                        await asyncio.sleep(0)
                        assert botobs.current_tick() is tick

        async def main():
            await asyncio.gather(*(task(f"S{i}") for i in range(10)))

        asyncio.run(main())
        counts = bench.counts()
        assert counts["shared", "all"] == 3 + 4 * 500
        assert all(counts["shared", f"S{i}"] == 20 for i in range(10))
        for tick in bench.kept:
            if tick.symbol:
                assert len(tick.spans) == 21


class TestGenerators:
    def test_send_throw_close_and_return_reach_the_body(self):
        log = []

        @botobs.feature
        def body():
            try:
                got = yield "first"
                log.append(got)
                try:
                    yield "second"
                except KeyError as error:
                    log.append(error)
                yield "third"
            finally:
                log.append("closed")
            return "unreached"

        @botobs.feature
        def returns():
            yield 1
            return "value"

        def outer():
            log.append((yield from returns()))

        with running() as bench:
            gen = body()
            assert next(gen) == "first"
            assert current_name() is None
            assert gen.send("hello") == "second"
            error = KeyError("k")
            assert gen.throw(error) == "third"
            gen.close()
            assert log == ["hello", error, "closed"]
            assert list(outer()) == [1]
            assert log[-1] == "value"
            assert bench.counts() == {("feature", "all"): 2}

    def test_errors_and_gc_of_a_suspended_one(self):
        @botobs.feature
        def fails():
            yield 1
            raise ZeroDivisionError

        with running() as bench:
            with pytest.raises(ZeroDivisionError):
                list(fails())
            suspended = fails()
            next(suspended)
            del suspended
            assert current_name() is None
            assert bench.counts() == {("feature", "all"): 2}
            assert any("error" in tick.why for tick in bench.kept)

    def test_the_time_of_the_consumer_is_not_the_generators(self):
        now = [0]

        def clock():
            return now[0]

        @botobs.feature
        def body():
            for _ in range(3):
                now[0] += 1_000_000
                yield

        with running(clock=clock, keep="all") as bench:
            with botobs.tick("BTC") as tick:
                for _ in body():
                    now[0] += 50_000_000
                    with botobs.decision():
                        now[0] += 2_000_000
                tick.signal()
            (_, record) = bench.lines[0]
            assert record["latency"]["feature_calc_ms"] == 3.0
            assert record["latency"]["decision_logic_ms"] == 6.0
            assert record["latency"]["total_latency_ms"] == 9.0

    def test_a_stage_open_across_a_yield_is_current_in_the_body_only(self):
        @botobs.feature
        def body():
            with botobs.stage("inner"):
                yield current_name()
                yield current_name()

        with running(), botobs.decision():
            assert [(name, current_name()) for name in body()] == [("inner", "decision")] * 2

    def test_plain_generators_interleaved_with_stages_leave_the_context_clean(self):
        def undecorated():
            with botobs.stage("held"):
                yield 1

        with running() as bench:
            with botobs.tick("BTC"):
                gen = undecorated()
                next(gen)
                with botobs.decision():
                    assert list(gen) == []
                assert current_name() == "tick"
            assert current_name() is None
            assert bench.counts() == {("held", "BTC"): 1, ("decision", "BTC"): 1, ("tick", "BTC"): 1}

    def test_async_generators_are_driven(self):
        log = []

        @botobs.feature
        async def body():
            try:
                got = yield "first"
                log.append(got)
                try:
                    yield "second"
                except KeyError:
                    log.append("thrown")
                yield current_name()
            finally:
                await asyncio.sleep(0)
                log.append("closed")

        async def main():
            gen = body()
            assert await gen.asend(None) == "first"
            assert current_name() is None
            assert await gen.asend("hello") == "second"
            assert await gen.athrow(KeyError("k")) == "feature"
            await gen.aclose()
            with pytest.raises(StopAsyncIteration):
                await gen.asend(None)

        with running() as bench:
            asyncio.run(main())
            assert log == ["hello", "thrown", "closed"]
            assert bench.counts() == {("feature", "all"): 1}


def test_cancelled_is_not_an_error():
    @botobs.execution
    async def send():
        await asyncio.Event().wait()

    async def main():
        task = asyncio.ensure_future(send())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with running(keep="all") as bench:
        asyncio.run(main())
        (tick,) = bench.kept
        assert tick.root.more.outcome == "cancelled"
        assert list(tick.why) == ["all"]


def test_to_thread_belongs_to_the_tick():
    async def main():
        with botobs.tick("BTC"):
            await asyncio.to_thread(lambda: botobs.feature(lambda: None)())

    with running(keep="all") as bench:
        asyncio.run(main())
        assert bench.names() == [[("tick", None), ("feature", "tick")]]


def test_a_stage_that_ends_after_its_tick_counts_and_is_linked():
    async def main():
        go = asyncio.Event()

        @botobs.execution
        async def late():
            await go.wait()

        with botobs.tick("BTC"):
            task = asyncio.ensure_future(late())
            await asyncio.sleep(0)
        go.set()
        await task

    with running(keep="all") as bench:
        asyncio.run(main())
        tick, live = bench.kept
        assert live.tick is tick
        assert live.above() is tick.root
        assert bench.counts() == {("tick", "BTC"): 1, ("execution", "BTC"): 1}


def test_a_stage_begun_after_its_tick_is_a_trace_of_its_own_with_a_link():
    async def main():
        go = asyncio.Event()

        async def background():
            await go.wait()
            with botobs.stage("later"):
                pass

        with botobs.tick("BTC"):
            task = asyncio.ensure_future(background())
        go.set()
        await task

    with running(keep="all") as bench:
        asyncio.run(main())
        first, second = bench.kept
        assert second.trace_id != first.trace_id
        assert [context.trace_id for context, _ in second.root.more.links] == [first.trace_id]


def test_observer_started_inside_a_stage_and_gone_inside_one():
    with botobs.stage("a"):
        with running() as bench:
            with botobs.stage("b"):
                pass
            inner = botobs.stage("c")
            inner.__enter__()
        assert bench.counts() == {("b", "all"): 1}
    inner.__exit__(None, None, None)
    assert contextvars.copy_context().run(current_name) is None


def test_a_trace_with_too_many_stages_is_cut_and_its_latency_is_not():
    now = [0]

    with running(clock=lambda: now[0], keep="all") as bench:
        with botobs.tick("BTC") as tick:
            tick.signal()
            for _ in range(5_000):
                with botobs.feature():
                    now[0] += 1_000_000
        assert len(bench.kept[0].spans) <= 512
        assert bench.kept[0].cut + len(bench.kept[0].spans) == 5_001
        assert bench.lines[0][1]["latency"]["feature_calc_ms"] == 5_000.0
        assert bench.counts()["feature", "BTC"] == 5_000
