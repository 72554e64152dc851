"""Signals, latency, and which traces are kept."""

from __future__ import annotations

import json
import math
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import botobs
from botobs.stages.latency import TOTAL
from tests.stages.engines import running

FIVE = ["feature_calc_ms", "model_inference_ms", "decision_logic_ms", "risk_check_ms", "execution_ms"]


def test_a_signal_says_what_was_seen_where_and_how_long_it_took():
    now = [0]
    with running(clock=lambda: now[0]) as bench:
        with botobs.tick("BTC-USD", bar_id=7, bid=99.5, ask=100.5) as tick:
            features = {"rsi": 55.5}
            with botobs.feature():
                now[0] += 2_000_000
                with botobs.stage("inner"):
                    now[0] += 500_000
            with botobs.model("lgbm"):
                now[0] += 1_000_000
            with botobs.stage("rank"):
                now[0] += 250_000
            tick.signal(
                features=features,
                model=0.25,
                decision={"dir": "buy"},
                source="bma",
                pred_bps=4.2,
                strength=0.7,
                mood="calm",
                ts="mine",
            )
            features["rsi"] = 0  # taken at the call
            with botobs.execution():
                now[0] += 4_000_000
    ((stream, record),) = bench.lines
    assert stream == "signals"
    latency = record.pop("latency")
    assert latency == {
        "feature_calc_ms": 2.5, "model_inference_ms": 1.0, "decision_logic_ms": 0.0, "risk_check_ms": 0.0,
        "execution_ms": 4.0, "rank_ms": 0.25, "total_latency_ms": 7.75,
    }  # fmt: skip
    assert record == {
        "ts": "2026-01-02T03:04:05.003750Z", "schema": "v1", "bot": "test", "run_id": "r", "symbol": "BTC-USD",
        "bar_id": 7, "trace_id": tick.id, "source": "bma", "pred_bps": 4.2, "strength": 0.7,
        "features": {"rsi": 55.5}, "model": 0.25, "decision": {"dir": "buy"}, "mood": "calm", "fields": {"ts": "mine"},
    }  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["feature", "model", "decision", "risk", "execution", "own"]), st.integers(0, 10**10)
        ),
        max_size=30,
    )
)
def test_the_total_is_the_exact_sum_in_binary_and_in_decimal(stages):
    now = [0]
    with running(clock=lambda: now[0]) as bench:
        with botobs.tick("BTC") as tick:
            tick.signal()
            for kind, took in stages:
                with botobs.stage("own") if kind == "own" else getattr(botobs, kind)():
                    now[0] += took
    latency = bench.lines[0][1]["latency"]
    total = latency.pop(TOTAL)
    assert set(FIVE) <= set(latency)
    assert total == sum(latency.values()) == math.fsum(latency.values())
    assert Decimal(repr(total)) == sum((Decimal(repr(value)) for value in latency.values()), Decimal(0))
    assert abs(total - sum(took for _, took in stages) / 1e6) <= 0.0005 * max(len(stages), 1)


def test_a_stage_in_somebody_else_s_span_counts_once_as_does_one_that_still_runs_or_is_left_out():
    import contextlib

    from opentelemetry.trace import INVALID_SPAN, use_span

    now = [0]
    with running(clock=lambda: now[0]) as bench:
        with botobs.tick("BTC") as tick:
            tick.signal()
            with use_span(INVALID_SPAN), botobs.feature():
                now[0] += 1_000_000
            with botobs.risk(), use_span(INVALID_SPAN), botobs.model():  # inside: not for itself
                now[0] += 2_000_000
        with botobs.tick("BTC") as tick:
            tick.signal()
            for _ in range(300):  # each of them less than the least that is told
                with botobs.feature():
                    now[0] += 400
        with contextlib.ExitStack() as stack:
            with botobs.tick("BTC") as tick:
                tick.signal()
                with botobs.decision():
                    now[0] += 3_000_000
                stack.enter_context(botobs.feature())
                now[0] += 1_000_000
    found = [
        {key: took for key, took in record["latency"].items() if took and key != TOTAL} for _, record in bench.lines
    ]
    assert found == [
        {"feature_calc_ms": 1.0, "risk_check_ms": 2.0}, {"feature_calc_ms": 0.1201171875}, {"decision_logic_ms": 3.0},
    ]  # fmt: skip


def test_concurrent_stages_of_a_tick_are_outermost_each():
    import asyncio

    now = [0]

    async def main():
        async def one():
            with botobs.feature():
                await asyncio.sleep(0)

        with botobs.tick("BTC") as tick:
            tick.signal()
            await asyncio.gather(one(), one())

    with running(clock=lambda: now.__setitem__(0, now[0] + 1_000_000) or now[0]) as bench:
        asyncio.run(main())
    assert bench.lines[0][1]["latency"]["feature_calc_ms"] > 1


def test_several_signals_one_after_the_end_and_odd_bars():
    with running() as bench:
        with botobs.tick("BTC", bar_id={"o": 1}) as tick:
            tick.signal(source="a")
            tick.signal(source="b")
            assert bench.lines == []
        tick.signal(source="late")
        with botobs.tick(None, bar_id="2026-01-01") as second:
            second.signal()
        with botobs.tick(12345) as third:
            third.signal()
    records = [record for _, record in bench.lines]
    assert [record.get("source") for record in records] == ["a", "b", "late", None, None]
    assert "latency" not in records[2]
    assert records[0]["bar_id"] == {"o": 1}
    assert "symbol" not in records[3]
    assert records[4]["symbol"] == "12345"


def test_a_stage_named_as_the_total_does_not_hide_it():
    with running() as bench:
        with botobs.tick("BTC") as tick:
            tick.signal()
            with botobs.stage("total_latency"):
                pass
        assert "stage_total_latency_ms" in bench.lines[0][1]["latency"]


class TestKeep:
    turns = 0

    def run(self, bench, durations, now, *, base=10**9):
        bench.engine.base_every = base
        for took in durations:
            with botobs.tick("BTC", self.turns):
                now[0] += took
            self.turns += 1
        return len(bench.kept)

    def test_the_slow_tail_of_each_kind(self):
        import random

        rng = random.Random(5)
        now = [0]
        with running(clock=lambda: now[0]) as bench:
            kept = self.run(bench, [int(rng.lognormvariate(12, 0.5)) for _ in range(20_000)], now)
            assert 0.005 * 20_000 < kept < 0.02 * 20_000
            before = len(bench.kept)
            # everything takes ten times as long from now on: in a while that is the new normal
            self.run(bench, [int(10 * rng.lognormvariate(12, 0.5)) for _ in range(2_000)], now)
            settled = len(bench.kept)
            assert settled - before < 200
            kept = self.run(bench, [int(10 * rng.lognormvariate(12, 0.5)) for _ in range(20_000)], now) - settled
            assert 0.005 * 20_000 < kept < 0.02 * 20_000

    def test_steady_durations_do_not_keep_everything(self):
        now = [0]
        with running(clock=lambda: now[0]) as bench:
            assert self.run(bench, [100_000] * 10_000, now) <= 250
            assert self.run(bench, [0] * 10_000, now) <= 600

    def test_the_base_rate_and_the_first(self):
        now = [0]
        with running(clock=lambda: now[0]) as bench:
            # each so much shorter than the one before that none is slow
            self.run(bench, [int(1e9 * 0.999**i) for i in range(1_000)], now, base=100)
            assert [tick.bar_id for tick in bench.kept] == list(range(0, 1_000, 100))
            assert all(list(tick.why) == ["sample"] for tick in bench.kept)

    @pytest.mark.parametrize("why", ["asked", "error", "handed_out", "order", "halt"])
    def test_reasons(self, why):
        with running() as bench:
            bench.engine.cells.of("BTC", b'"BTC"')["tick"].left = 10**9
            for reason in (None, why):
                try:
                    with botobs.tick("BTC") as tick:
                        if reason == "asked":
                            tick.keep()
                        elif reason == "error":
                            raise KeyError
                        elif reason == "handed_out":
                            tick.root.get_span_context()
                        elif reason == "order":
                            with botobs.execution(order="o-1"):
                                pass
                        elif reason == "halt":
                            raise botobs.TradingHalted
                except (KeyError, botobs.TradingHalted):
                    pass
            assert [list(tick.why) for tick in bench.kept] == [[why]]
            assert bench.engine.kept_by == {why: 1}

    def test_all_and_none(self):
        with running(keep="all") as bench:
            for _ in range(50):
                with botobs.tick("BTC"):
                    pass
                with botobs.stage("alone"):
                    pass
            assert len(bench.kept) == 100
        with running(keep="none") as bench:
            for _ in range(50):
                with pytest.raises(KeyError), botobs.tick("BTC") as tick:
                    tick.signal()
                    raise KeyError
            assert bench.kept == []
            assert "trace_id" not in bench.lines[0][1]

    def test_stages_outside_a_tick_are_chosen_alike(self):
        now = [0]
        with running(clock=lambda: now[0]) as bench:
            for i in range(2_000):
                with botobs.stage("alone"):
                    now[0] += 1_000 + (100_000 if i % 200 == 150 else 0)
                with pytest.raises(KeyError) if i == 1_500 else _nothing(), botobs.stage("other"):
                    if i == 1_500:
                        raise KeyError
            why = [next(iter(tick.why)) for tick in bench.kept]
            assert "slow" in why
            assert why.count("error") == 1
            assert len(why) < 100

    def test_stages_outside_a_tick_are_chosen_soon(self):
        import random

        rng = random.Random(5)
        now = [0]
        with running(clock=lambda: now[0]) as bench:
            for n in range(6_000):
                with botobs.stage("alone"):
                    now[0] += int(rng.lognormvariate(12, 0.5))
                if n == 1_000:
                    before = len(bench.kept)
            assert 0.005 * 5_000 <= len(bench.kept) - before <= 0.02 * 5_000

    def test_more_ordinary_ones_than_anybody_reads_are_passed_over_not_dropped(self):
        with running() as bench:
            bench.engine.export = None
            bench.engine.base_every = 1
            for _ in range(1_000):
                with botobs.tick("BTC"):
                    pass
            assert len(bench.engine.kept) == 500
            for _ in range(2_000):
                with pytest.raises(KeyError), botobs.tick("BTC"):
                    raise KeyError
            assert len(bench.engine.kept) == 2_000
            assert dict(bench.faults.drops) == {"traces": 500}
            kept = bench.engine.kept_by
            assert kept.get("sample", 0) + kept.get("slow", 0) == 500
            assert kept["error"] == 1_500

    def test_nested_ticks_share_a_trace(self):
        with running(keep="all") as bench:
            with botobs.tick("BTC") as outer, botobs.tick("ETH") as inner:
                pass
            assert inner.trace_id == outer.trace_id
            assert inner.upstream.span_id == outer.root.own_span_id()
            assert len(bench.kept) == 2


def _nothing():
    import contextlib

    return contextlib.nullcontext()


def test_a_misspelt_field_of_a_signal_is_told_and_kept(tmp_path, caplog):
    with botobs.start("b", data_dir=tmp_path, strict=True) as obs, obs.tick("BTC-USD") as tick:
        tick.signal(featurs={"rsi": 55}, mood="calm", candidates={})
        tick.signal(features={"rsi": 55}, featurs={"rsi": 54})  # it was said: the other is something else
    said = [record.getMessage() for record in caplog.records]
    assert said == ["botobs: signal does not know 'featurs' (did you mean 'features'?); it is kept as context"]
    signals = [json.loads(line) for line in (tmp_path / "logs/signals.jsonl").read_text().splitlines()]
    assert [(one["featurs"], one.get("mood")) for one in signals] == [({"rsi": 55}, "calm"), ({"rsi": 54}, None)]


def test_a_bot_that_makes_names_up_is_not_followed(tmp_path, caplog):
    with botobs.start("b", data_dir=tmp_path, strict=True) as obs:
        for n in range(1_200):
            with obs.tick("BTC-USD") as tick:
                tick.signal(**{f"mode{n}": n})
        names = obs._own.names
        assert len(names.known) == 1_000
        assert obs.flush(60).delivered
        assert not names._waiting
    assert len((tmp_path / "logs/signals.jsonl").read_text().splitlines()) == 1_200
    assert len(caplog.records) == 10  # of one kind it is enough
