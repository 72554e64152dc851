"""A model that is explained: what the bot notices of it (nothing), and what is written."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import json
import math
import os
import pickle
import runpy
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

import botobs
from botobs.events import PredictionExplained
from botobs.explainability import Explained
from botobs.testing import Clock
from tests.explainability.test_rows import Frame
from tests.slack import SLACK_S

WEIGHTS = np.array([2.0, -1.0, 0.5])


def linear(x):
    """A model whose contributions are known: weight times value, on 10."""
    return float(np.asarray(x, float).ravel() @ WEIGHTS) + 10.0


def parts(row):
    return np.asarray(row, float) * WEIGHTS, 10.0


class Model:
    """As a library's."""

    feature_names_in_ = ("rsi", "trend", "volume")

    def __init__(self):
        self.calls = []

    def predict(self, x):
        self.calls.append(threading.current_thread().name)
        return np.asarray(x, float) @ WEIGHTS + 10.0

    def score(self):
        return 0.7


def records(folder, stream="explanations"):
    path = folder / "logs" / f"{stream}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def backtest(tmp_path):
    clock = Clock()
    with botobs.start("models", mode="backtest", data_dir=tmp_path, clock=clock, strict=True) as obs:
        yield obs, clock


# -- what the bot notices


def test_before_start_it_is_the_model_and_nothing_else():
    asked = []
    predict = botobs.explain_model(linear, explainer=asked.append, every=1)
    assert predict([1, 2, 3]) == linear([1, 2, 3])
    assert (predict.__name__, predict.__wrapped__) == ("linear", linear)
    assert asked == []


def test_a_model_is_what_it_was(backtest):
    model = Model()
    wrapped = botobs.explain_model(model, explainer=parts, every=1)
    x = np.ones((2, 3))
    assert isinstance(wrapped, Explained)
    assert wrapped(x).tolist() == wrapped.predict(x).tolist() == [11.5, 11.5]
    assert (wrapped.score(), wrapped.feature_names_in_, wrapped.__wrapped__) == (0.7, model.feature_names_in_, model)
    wrapped.extra = 3
    assert model.extra == 3
    del wrapped.extra
    assert not hasattr(model, "extra")
    assert (repr(wrapped), dir(wrapped)) == (repr(model), dir(model))
    assert type(pickle.loads(pickle.dumps(wrapped))) is type(copy.copy(wrapped)) is Model
    with pytest.raises(AttributeError, match="nothing_such"):
        wrapped.nothing_such
    obs, _ = backtest
    assert obs.explainability.latest()[0].model == "Model"
    assert list(obs.explainability.latest()[0].contributions) == ["rsi", "trend", "volume"]


def test_what_it_answers_and_raises_is_the_models_own(backtest):
    answer = object()
    assert botobs.explain_model(lambda _x: answer, explainer=lambda _x: [1.0], every=1)([1]) is answer

    @botobs.explain_model(explainer=parts)
    def fails(x, *, flag):
        raise LookupError(x, flag)

    with pytest.raises(LookupError) as raised:
        fails(1, flag=2)
    assert raised.value.args == (1, 2)
    assert fails.__name__ == "fails"


def test_an_async_model_is_explained_by_an_explainer_of_its_own(backtest, caplog):
    obs, _ = backtest

    @botobs.explain_model(explainer=parts, every=1)
    async def predict(x):
        await asyncio.sleep(0)
        return linear(x)

    async def turn():
        with obs.tick("BTC-USD", bar_id=4):
            return await predict([1, 2, 3])

    assert asyncio.run(turn()) == linear([1, 2, 3])
    [event] = obs.explainability.latest()
    assert (event.symbol, event.bar_id, event.prediction, event.residual) == ("BTC-USD", 4, 11.5, 0.0)
    alone = botobs.explain_model(predict.__wrapped__, [[0, 0, 0]], every=1)
    assert asyncio.run(alone([1, 2, 3])) == 11.5
    assert "predict is async" in caplog.text


class Strategy:
    @botobs.explain_model(explainer=parts, name="in a class", every=1)
    def predict(self, x):
        return linear(x)

    @botobs.explain_model(explainer=parts, every=1)
    @staticmethod
    def static(x):
        return linear(x)

    @botobs.explain_model(explainer=parts, every=1)
    @classmethod
    def of_class(cls, x):
        return linear(x) if cls is Strategy else None


def test_a_method_a_partial_a_keyword_and_an_own_observer(backtest):
    obs, _ = backtest
    assert Strategy().predict([1, 2, 3]) == 11.5
    assert botobs.explain_model(functools.partial(linear), explainer=parts, every=1)([1, 2, 3]) == 11.5
    assert obs.explain_model(linear, explainer=parts, every=1)(x=[1, 2, 3]) == 11.5
    assert Strategy.static([1, 2, 3]) == Strategy().static([1, 2, 3]) == Strategy.of_class([1, 2, 3]) == 11.5
    assert botobs.explain_model(Model().predict, [[0, 0, 0]], every=1)([[1, 2, 3]]) == 11.5
    told = obs.explainability.latest(9)
    assert [event.model for event in told] == ["in a class", "linear", "linear", "static", "of_class", "Model"]
    assert {event.residual for event in told} == {0.0}
    assert set(told[-1].contributions) == {"rsi", "trend", "volume"}


def test_the_table_that_a_row_stood_in_is_let_go(tmp_path):
    gate, table = threading.Event(), np.zeros((1000, 3))
    table_is_there = weakref.ref(table)

    def explainer(row):
        gate.wait(5)
        return parts(row)

    predict = botobs.explain_model(lambda x, scale: linear(x[-1]) * scale, explainer=explainer)
    with live(tmp_path) as obs:
        with obs.tick("BTC-USD"):
            assert predict(table, scale=1) == 10.0
        del table
        gc.collect()
        assert table_is_there() is None
        gate.set()
        assert obs.flush()
        assert obs.explainability.explained == 1


@pytest.mark.parametrize("model", [3, "text", None.__class__, object(), Model])
def test_what_is_no_model_is_a_type_error(model):
    with pytest.raises(TypeError):
        botobs.explain_model(model)


@pytest.mark.parametrize(
    ("more", "error"),
    [({"every": 0}, ValueError), ({"every": 1.5}, TypeError), ({"most_per_s": 0}, ValueError), ({"most_per_s": math.nan}, ValueError),
     ({"most_per_s": "1"}, TypeError), ({"rows": 65}, ValueError), ({"top": True}, TypeError), ({"window": "x"}, ValueError),
     ({"window": 0}, ValueError), ({"features": "abc"}, TypeError), ({"evry": 1}, TypeError)],
)  # fmt: skip
def test_a_wrong_setting_is_told_where_it_is_said(more, error):
    with pytest.raises(error):
        botobs.explain_model(linear, **more)


# -- what is written


def test_a_record_adds_up(backtest, tmp_path):
    obs, clock = backtest
    predict = botobs.explain_model(
        linear, name="lgbm", explainer=parts, features=["rsi", "api_token", "volume"], top=2, every=1
    )
    heard = []
    obs.bus.subscribe(PredictionExplained, heard.append, immediate=True)
    with obs.tick("BTC-USD", bar_id=7) as tick:
        predict([1.0, 2.0, 3.0])
        tick.signal(model="lgbm")
    clock.advance("1m")
    obs.flush()
    [record], [signal] = records(tmp_path), records(tmp_path, "signals")
    assert record["trace_id"] == signal["trace_id"]
    assert {key: value for key, value in record.items() if key not in ("run_id", "trace_id")} == {
        "ts": "2026-01-02T03:04:05.000000Z", "schema": "v1", "bot": "models", "symbol": "BTC-USD", "bar_id": 7,
        "model": "lgbm", "why": "sample", "predicted_ts": "2026-01-02T03:04:05.000000Z", "prediction": 11.5, "base": 10.0,
        "contributions": {"rsi": 2.0, "api_token": "[redacted]"}, "features": {"rsi": 1.0, "api_token": "[redacted]"},
        "other": 1.5, "residual": 0.0, "n_features": 3, "took_ms": 0.0,
    }  # fmt: skip
    assert heard == list(obs.explainability.latest())
    assert [(row.feature, row.share) for row in obs.explainability.importance("lgbm")] == [
        ("api_token", 2 / 5.5), ("rsi", 2 / 5.5), ("volume", 1.5 / 5.5),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "given",
    [[1.0, 2.0, 3.0], (1.0, 2.0, 3.0), np.array([1.0, 2.0, 3.0]), [[9, 9, 9], [1.0, 2.0, 3.0]],
     np.array([[9, 9, 9], [1.0, 2.0, 3.0]]), Frame([[9, 9, 9], [1.0, 2.0, 3.0]], "abc"), {"a": 1.0, "b": 2.0, "c": 3.0}],
    ids=lambda given: type(given).__name__,
)  # fmt: skip
def test_an_input_of_every_kind_is_explained(backtest, given):
    obs, _ = backtest

    def model(x):
        rows = x.rows if isinstance(x, Frame) else list(x.values()) if isinstance(x, dict) else x
        table = np.atleast_2d(np.asarray(rows, float)) @ WEIGHTS + 10.0
        return table if len(table) > 1 else float(table[0])

    def explainer(row):
        return parts(list(row.values()) if isinstance(row, dict) else row)

    botobs.explain_model(model, explainer=explainer, every=1)(given)
    [event] = obs.explainability.latest()
    assert list(event.contributions.values()) == [2.0, -2.0, 1.5]
    assert list(event.features.values()) == [1.0, 2.0, 3.0]
    assert (event.prediction, event.residual) == (11.5, 0.0)
    named = isinstance(given, (Frame, dict))
    assert list(event.contributions) == (["a", "b", "c"] if named else ["f0", "f1", "f2"])


def test_of_several_outputs_the_largest_is_told(backtest):
    obs, _ = backtest

    class Classifier:
        classes_ = np.array(["sell", "buy"])

        def predict_proba(self, x):
            return np.array([[0.2, 0.8]] * len(x))

    class Old:
        expected_value = (0.5, 0.5)

        def shap_values(self, x):
            return [np.array([[-0.3, 0.0]]), np.array([[0.3, 0.0]])]

    model = botobs.explain_model(Classifier(), explainer=Old(), every=1)
    model(np.zeros((1, 2)))
    model.predict_proba(np.zeros((3, 2)))
    for event in obs.explainability.latest(2):
        assert (event.output, event.prediction, event.base) == ("buy", 0.8, 0.5)
        assert event.contributions == {"f0": 0.3, "f1": 0.0}
        assert event.residual == pytest.approx(0)


def test_what_an_explainer_leaves_open_is_left_open(backtest):
    obs, _ = backtest
    botobs.explain_model(linear, explainer=lambda row: row * WEIGHTS, every=1)(np.ones(3))
    botobs.explain_model(lambda _x: "buy", explainer=parts, every=1)([1, 2, 3])
    some = botobs.explain_model(lambda row: 1.0, explainer=lambda row: {"rsi": 0.25}, every=1)
    some({"rsi": 3.0, "name": "BTC"})
    no_base, no_number, partly = obs.explainability.latest(3)
    assert (no_base.base, no_base.residual, no_base.prediction) == (None, None, 11.5)
    assert (no_number.prediction, no_number.residual, no_number.base) == (None, None, 10.0)
    assert (partly.contributions, partly.features, partly.n_features) == ({"rsi": 0.25}, {"rsi": 3.0}, 1)


# -- which ones


def test_every_nth_and_no_more_than_so_many_a_second(backtest):
    obs, clock = backtest

    def told(**more):
        before = obs.explainability.explained
        predict = botobs.explain_model(linear, explainer=parts, **more)
        for _ in range(40):
            predict([1, 2, 3])
            clock.advance(0.25)
        return obs.explainability.explained - before

    assert told(every=1) == 10
    assert told(every=1, most_per_s=2) == 20
    assert told(every=8, most_per_s=None) == 5
    assert told(every=6) == 7  # whatever comes later of the two
    assert told() == 1  # a backtest has many, and nobody waits for each
    assert told(every=1, most_per_s=None) == 40


def test_a_table_is_explained_row_by_row_if_that_is_asked_for(backtest):
    obs, _ = backtest
    botobs.explain_model(Model(), explainer=parts, rows=2, every=1)(np.arange(9.0).reshape(3, 3))
    assert [event.features["rsi"] for event in obs.explainability.latest(5)] == [3.0, 6.0]
    assert [event.residual for event in obs.explainability.latest(5)] == [0.0, 0.0]


def test_what_an_order_came_from_is_always_explained(backtest, tmp_path):
    obs, clock = backtest
    predict = botobs.explain_model(linear, explainer=parts, every=1)
    rare = botobs.explain_model(linear, name="rare", explainer=parts, orders=False)
    rare([1, 2, 3])
    orders = []
    for n in range(4):
        with obs.tick("BTC-USD", bar_id=n):
            predict([n, 0, 0])
            rare([n, 0, 0])
            if n != 1:
                orders.append(obs.order("BTC-USD", "buy", 1, decision_px=100))
                obs.order("BTC-USD", "buy", 1, decision_px=100)
    obs.order("BTC-USD", "buy", 1, decision_px=100)  # outside of any tick
    obs.flush()
    told = [(one["bar_id"], one["why"], one.get("order_id")) for one in records(tmp_path) if one["model"] == "linear"]
    assert told == [
        (0, "sample", None), (0, "order", orders[0]), (2, "order", orders[1]), (3, "order", orders[2]),
    ]  # fmt: skip
    [row, *_] = obs.explainability.importance("linear")
    assert row.n == 1  # what orders came from is no fair sample
    assert obs.explainability.importance("rare")[0].n == 1


def test_ticks_that_run_at_once_are_told_apart(backtest):
    obs, _ = backtest
    predict = botobs.explain_model(linear, explainer=parts, every=1)
    predict([0, 0, 0])

    async def turn(n):
        with obs.tick(f"S{n}"):
            predict([n, 0, 0])
            await asyncio.sleep(0)
            obs.order(f"S{n}", "buy", 1, decision_px=100, order_id=f"o{n}")

    async def all_of_them():
        await asyncio.gather(*(turn(n) for n in range(12)))

    asyncio.run(all_of_them())
    told = {
        event.order_id: (event.symbol, event.prediction) for event in obs.explainability.latest(50) if event.order_id
    }
    assert told == {f"o{n}": (f"S{n}", 10.0 + 2 * n) for n in range(12)}


def test_each_observer_has_its_own(tmp_path):
    predict = botobs.explain_model(linear, explainer=parts, every=1)
    first_clock, second_clock = Clock(), Clock("2030-01-01T00:00:00Z")
    with botobs.start("a", mode="backtest", data_dir=None, clock=first_clock) as first:
        with botobs.start("b", mode="backtest", data_dir=None, clock=second_clock) as second:
            for _ in range(3):
                for obs in (first, second):
                    with obs.tick("X"):
                        predict([1, 2, 3])
            assert (first.explainability.explained, second.explainability.explained) == (1, 1)
            second_clock.advance(1)
            for obs in (first, second):
                with obs.tick("X"):
                    predict([1, 2, 3])
            assert (first.explainability.explained, second.explainability.explained) == (1, 2)
        predict([1, 2, 3])
        first_clock.advance(2)
        predict([1, 2, 3])
        assert first.explainability.explained == 2


def test_a_model_does_not_hold_on_to_what_has_ended():
    predict = botobs.explain_model(linear, explainer=parts, every=1)
    with botobs.start("a", mode="backtest", data_dir=None, clock=Clock()) as obs:
        with obs.tick("X"):
            predict([1, 2, 3])
        gone = weakref.ref(obs.explainability)
    assert predict([1, 2, 3]) == 11.5
    del obs
    gc.collect()
    assert gone() is None


def test_names_go_with_the_values_that_they_were_said_with(backtest, caplog):
    obs, _ = backtest

    def explainer(row):
        return {name: row[name] * 2 for name in ("trend", "rsi")}

    botobs.explain_model(lambda row: 6.0, explainer=explainer, every=1)({"rsi": 1.0, "trend": 2.0})
    [event] = obs.explainability.latest()
    assert event.contributions == {"trend": 4.0, "rsi": 2.0}
    assert event.features == {"trend": 2.0, "rsi": 1.0}
    few = botobs.explain_model(linear, explainer=parts, features=["a"], every=1)
    with pytest.raises(ValueError, match="3 contributions for 1 features"):  # strict
        few([1, 2, 3])


def test_the_clock_set_back_or_far_ahead_breaks_nothing(backtest):
    obs, clock = backtest
    predict = botobs.explain_model(linear, explainer=parts, every=1)
    for when in ("2026-01-02T03:04:05Z", "2020-01-01T00:00:00Z", "2090-01-01T00:00:00Z", "2026-01-02T03:04:06Z"):
        clock.set(when)
        predict([1, 2, 3])
        clock.advance(1)
        assert obs.explainability.importance()[0].n >= 1
    assert obs.explainability.explained >= 3


# -- what goes wrong


class Hostile:
    columns = property(lambda self: 1 / 0)
    __len__ = __float__ = __getitem__ = __iter__ = __str__ = __repr__ = lambda self, *_: 1 / 0


@pytest.mark.parametrize("given", [None, "text", Hostile(), [], np.zeros((2, 2, 2)), ["a", "b", "c"], [Hostile()] * 3])
def test_an_odd_input_is_counted_and_the_model_answers(given):
    with botobs.start("models", mode="backtest", data_dir=None, clock=Clock()) as obs:
        predict = botobs.explain_model(lambda *_x: 5, [[0.0] * 3], explainer=parts, every=1, most_per_s=None)
        assert predict(given) == predict() == 5
        assert obs.faults.errors["explainability"] == 2
        assert obs.explainability.latest() == ()


@pytest.mark.parametrize(
    "explainer",
    [lambda _row: 1 / 0, lambda _row: None, lambda _row: [math.nan], lambda _row: Hostile(), lambda: [1.0], 3, Hostile(),
     lambda _row: {Hostile(): 1.0, "b": Hostile()}],
)  # fmt: skip
def test_an_explainer_that_fails_is_counted_and_the_model_answers(explainer):
    with botobs.start("models", mode="backtest", data_dir=None, clock=Clock()) as obs:
        predict = botobs.explain_model(linear, explainer=explainer, every=1, most_per_s=None)
        with obs.tick("BTC-USD"):
            assert predict([1, 2, 3]) == 11.5
            obs.order("BTC-USD", "buy", 1, decision_px=100)
        assert obs.faults.errors["explainability"] >= 1
        assert obs.explainability.failed >= 1
        assert obs.explainability.explained == 0


@pytest.mark.parametrize(("background", "explained"), [(None, 0), ([[0, 0, 0]], 20)])
def test_without_shap_one_message_says_what_to_do(monkeypatch, caplog, background, explained):
    monkeypatch.setitem(sys.modules, "shap", None)

    class Known(Model):
        coef_ = WEIGHTS

    with botobs.start("models", mode="backtest", data_dir=None, clock=Clock()) as obs:
        predict = botobs.explain_model(Known(), background, every=1, most_per_s=None)
        assert [float(predict([[1, 2, 3]])[0]) for _ in range(20)] == [11.5] * 20
        assert caplog.text.count("install botobs[shap]") == 1
        assert obs.explainability.explained == explained
        assert (obs.explainability.failed, obs.faults.errors) == (0 if explained else 1, {})


def test_a_model_of_no_known_kind_loads_no_shap(monkeypatch, backtest):
    monkeypatch.setitem(sys.modules, "shap", None)
    botobs.explain_model(Model(), [[0, 0, 0]], every=1)([[1, 2, 3]])
    [event] = backtest[0].explainability.latest()
    assert event.contributions == pytest.approx({"rsi": 2.0, "trend": -2.0, "volume": 1.5})


# -- live


def live(tmp_path, **more):
    return botobs.start("models", data_dir=tmp_path, **more)


def test_in_the_background_from_what_the_model_saw(tmp_path):
    threads = []

    def explainer(row):
        threads.append(threading.current_thread().name)
        return parts(row)

    predict = botobs.explain_model(linear, explainer=explainer, most_per_s=None)
    with live(tmp_path) as obs:
        x = np.zeros(3)
        for n in range(5):
            x[:] = n
            with obs.tick("BTC-USD", bar_id=n):
                predict(x)
            x[:] = 99  # the bot uses its array again
        assert obs.flush()
        assert obs.explainability.explained == 5
        assert [event.features["f0"] for event in obs.explainability.latest(5)] == [0.0, 1.0, 2.0, 3.0, 4.0]
        assert {event.residual for event in obs.explainability.latest(5)} == {0.0}
        with obs.tick("BTC-USD"):
            predict(x)
            order = obs.order("BTC-USD", "buy", 1, decision_px=100)
    told = records(tmp_path)
    assert set(threads) == {"botobs-explain"}
    assert len(told) in (6, 7)  # a sample that was told before the order came is told again with it
    assert (told[-1]["why"], told[-1]["order_id"]) == ("order", order)
    with live(tmp_path) as obs:  # over a restart
        assert obs.explainability.importance("linear")[0].n == 6


def test_many_threads_and_a_slow_explainer_lose_samples_and_nothing_else(tmp_path):
    gate = threading.Event()

    def explainer(row):
        gate.wait(5)
        return parts(row)

    predict = botobs.explain_model(linear, explainer=explainer, most_per_s=None)
    with live(tmp_path) as obs:

        def turns(n):
            for k in range(50):
                with obs.tick(f"S{n}", bar_id=k):
                    assert predict([n, k, 0]) == 10.0 + 2 * n - k
                    if k % 10 == 0:
                        obs.order(f"S{n}", "buy", 1, decision_px=100)

        workers = [threading.Thread(target=turns, args=(n,)) for n in range(4)]
        [worker.start() for worker in workers]
        [worker.join() for worker in workers]
        explainability = obs.explainability
        assert explainability.passed > 100
        assert explainability._worker.waiting <= 8 + 64 + 1
        gate.set()
        assert obs.flush()
        told = [event for event in explainability.latest(100) if event.why == "order"]
        assert len(told) == 20
        assert all(event.residual == 0 for event in explainability.latest(100))
        assert "explanations" not in obs.faults.drops
        assert obs.faults.errors == {}


def test_an_explainer_that_hangs_delays_no_end(tmp_path):
    hang = threading.Event()
    predict = botobs.explain_model(linear, explainer=lambda _row: hang.wait(20) and None, most_per_s=None)
    obs = live(tmp_path)
    for n in range(80):
        with obs.tick("BTC-USD"):
            predict([n, 2, 3])
            obs.order("BTC-USD", "buy", 1, decision_px=100)
    assert obs.faults.drops["explanations"] >= 80 - 64 - 8 - 1
    begun = time.monotonic()
    assert not obs.flush(0.1).delivered
    report = obs.shutdown(0.2)
    assert time.monotonic() - begun < 0.3 + SLACK_S
    assert not report.delivered  # what orders came from had to go
    assert obs.faults.drops["explanations"] == 80
    hang.set()
    assert records(tmp_path) == []


def test_an_explainer_that_raises_is_counted_and_the_thread_lives_on(tmp_path):
    fails = [True]

    def explainer(row):
        if fails.pop() if fails else False:
            raise LookupError("no")
        return parts(row)

    predict = botobs.explain_model(linear, explainer=explainer, most_per_s=None)
    with live(tmp_path, strict=True) as obs:
        predict([1, 2, 3])
        predict([1, 2, 3])
        obs.flush()
        assert (obs.explainability.explained, obs.explainability.failed) == (1, 1)
        assert obs.faults.errors == {"explainability": 1}


def test_it_rests_nineteen_times_as_long_as_it_works(tmp_path):
    from botobs.explainability.worker import Worker
    from botobs.faults import Faults

    worker = Worker(lambda task: 0, Faults())
    rests = []
    done = threading.Event()

    class Hurry:
        def wait(self, seconds):
            rests.append(seconds)
            done.set()

        def set(self):
            pass

        clear = set

    class Busy:
        urgent = False

    def busy(task):
        until = time.thread_time_ns() + 20_000_000
        while time.thread_time_ns() < until:
            pass
        return 15_000_000  # of that, making the explainer

    worker._hurry, worker._do = Hurry(), busy
    assert worker.put(Busy())
    assert done.wait(20)
    assert rests[0] == pytest.approx(19 * 0.005, rel=0.3)
    worker.close(time.monotonic() + 1)


def test_no_thread_to_be_had_is_counted_and_one_that_is_late_is_told(monkeypatch, caplog):
    from botobs.explainability.worker import Worker
    from botobs.faults import Faults

    predict = botobs.explain_model(linear, explainer=parts, most_per_s=None)
    with live(None, mode="backtest", clock=Clock()) as obs:
        explainability = obs.explainability
        explainability.threaded = True
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", lambda _self: exec("raise RuntimeError('no')"))
            assert [predict([1, 2, 3]) for _ in range(20)] == [11.5] * 20
        assert obs.faults.errors == {"explainability": 20}
        assert explainability._worker.waiting == 0
        predict([1, 2, 3])
        assert obs.flush()
        assert explainability.explained == 1
    worker = Worker(int, Faults())
    worker.look()
    worker._busy, worker._since = "lgbm", time.monotonic() - 61
    worker.look()
    assert "has not answered for 60 s: lgbm" in caplog.text


def test_a_child_of_a_fork_has_none_of_it(tmp_path):
    gate = threading.Event()
    gate.set()

    def explainer(row):
        gate.wait(5)
        return parts(row)

    predict = botobs.explain_model(linear, explainer=explainer, most_per_s=None)
    with live(tmp_path) as obs:
        predict([1, 2, 3])
        obs.flush()
        gate.clear()
        predict([1, 2, 3])  # waits when the fork comes
        explainability = obs.explainability
        explainability._lock.acquire()  # as if the thread were in the middle of something
        pid = os.fork()
        if not pid:
            try:
                ok = predict([1, 2, 3]) == 11.5 and explainability.importance()[0].n == 1 and explainability.flush(1e18)
                obs.shutdown()
                os._exit(0 if ok else 1)
            finally:
                os._exit(2)
        explainability._lock.release()
        gate.set()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        predict([1, 2, 3])
        obs.flush()
        assert obs.explainability.explained == 3
    assert len(records(tmp_path)) == 3


def test_a_metric_tells_of_the_ten_largest(tmp_path):
    with botobs.start("models", mode="backtest", data_dir=None, clock=Clock()) as obs:
        explainability = obs.explainability
        for n in range(12):
            explainability.learn("lgbm", {f"f{k}": float(k) for k in range(12)})
        said = list(explainability.measured())
        assert len(said) == 10
        assert said[0] == ("bot_feature_importance", 11 / 66, ("lgbm", "f11"))


def test_the_picture_of_the_page_is_of_this_code(tmp_path):
    docs = Path(__file__).resolve().parents[2] / "docs"
    runpy.run_path(str(docs / "pictures/explainability.py"))["main"](tmp_path)
    drawn = (tmp_path / "explainability.svg").read_text("utf-8")
    assert (docs / "_static/explainability.svg").read_text("utf-8") == drawn, "run docs/pictures/explainability.py"
