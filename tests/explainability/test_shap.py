"""With the real SHAP; the only tests that load it, which takes seconds. What it has to say is known: the model is linear."""

from __future__ import annotations

import importlib.util
import threading

import numpy as np
import pytest

import botobs
from botobs.testing import Clock

if importlib.util.find_spec("shap") is None:
    pytest.skip("SHAP is an extra", allow_module_level=True)

COEF, INTERCEPT = np.array([2.0, -1.0, 0.5]), 10.0
TYPICAL = np.array([[n % 7, n % 3, (n * n) % 11] for n in range(40)], float)
ROW = np.array([1.0, 2.0, 3.0])
EXACT = COEF * (ROW - TYPICAL.mean(axis=0))
BASE = float(TYPICAL.mean(axis=0) @ COEF + INTERCEPT)
NAMES = ["rsi", "trend", "volume"]


class Linear:
    """SHAP knows it by its coefficients."""

    coef_, intercept_ = COEF, INTERCEPT

    def predict(self, x):
        assert threading.current_thread().name in ("MainThread", "botobs-explain")
        return np.asarray(x, float) @ COEF + INTERCEPT


def explain(wrapped, given):
    with botobs.start("models", mode="backtest", data_dir=None, clock=Clock(), strict=True) as obs:
        answer = wrapped(given)
        [event] = obs.explainability.latest()
        return answer, event


def is_exact(event):
    assert list(event.contributions.values()) == pytest.approx(sorted(EXACT, key=lambda each: -abs(each)), abs=1e-9)
    assert event.base == pytest.approx(BASE)
    assert event.residual == pytest.approx(0, abs=1e-9)
    assert sum(event.contributions.values(), event.base) + event.other == pytest.approx(event.prediction)


def test_in_the_background_where_it_is_loaded_too(tmp_path):
    model = botobs.explain_model(Linear(), TYPICAL, name="linear", features=NAMES)
    with botobs.start("models", data_dir=tmp_path, strict=True) as obs:
        with obs.tick("BTC-USD"):
            assert model.predict(ROW.reshape(1, -1)).tolist() == [11.5]
        obs.flush(60)
        assert obs.faults.errors == {}
        [event] = obs.explainability.latest()
        is_exact(event)
        assert set(event.contributions) == set(NAMES)
        assert type(model.__dict__["predict"]) is type(explain)


@pytest.mark.parametrize("form", ["frame", "series"])
def test_frames_of_pandas(form):
    pd = pytest.importorskip("pandas")

    def predict(x):
        assert type(x) is (pd.DataFrame if form == "frame" else pd.Series)
        return x[NAMES].to_numpy() @ COEF + INTERCEPT

    given = pd.Series(ROW, index=NAMES) if form == "series" else pd.DataFrame([ROW * 0, ROW], columns=NAMES)
    typical = pd.DataFrame(TYPICAL, columns=NAMES)
    _, event = explain(botobs.explain_model(predict, typical, every=1), given)
    is_exact(event)
    assert event.features == {name: dict(zip(NAMES, ROW))[name] for name in event.contributions}


class Odds(Linear):
    """What SHAP's explainer for its kind explains is not what it answers."""

    def predict(self, x):
        return 1 / (1 + np.exp(-(np.asarray(x, float) @ COEF) / 10))


def test_an_explainer_of_its_kind_that_explains_something_else_is_not_used():
    answer, event = explain(botobs.explain_model(Odds(), TYPICAL, every=1), ROW.reshape(1, -1))
    assert event.prediction == answer[0]
    assert 0 < event.base < 1
    assert event.residual == pytest.approx(0, abs=1e-9)


def test_one_of_the_bots_own():
    import shap

    own = shap.LinearExplainer(Linear(), TYPICAL)
    is_exact(explain(botobs.explain_model(Linear().predict, explainer=own, every=1), ROW)[1])
    is_exact(explain(botobs.explain_model(Linear(), explainer=own, every=1), ROW.reshape(1, -1))[1])


def test_trees_need_no_background():
    ensemble = pytest.importorskip("sklearn.tree")
    tree = ensemble.DecisionTreeRegressor(max_depth=3, random_state=0).fit(TYPICAL, TYPICAL @ COEF)
    _, event = explain(botobs.explain_model(tree, every=1), ROW.reshape(1, -1))
    assert event.prediction == tree.predict(ROW.reshape(1, -1))[0]
    assert event.residual == pytest.approx(0, abs=1e-9)
    assert event.base == pytest.approx((TYPICAL @ COEF).mean())
