"""The line: what it learns, what throws it and what does not."""

from __future__ import annotations

import json
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs.insight.line import Line, t_quantile
from botobs.insight.track import Track

_bps = st.one_of(st.floats(-1e6, 1e6), st.sampled_from([0.0, 1.0, -1.0, 5.0, 1e6, 1e-300]))


def gauss(rng):
    return rng.gauss(0, 10)


def student(rng):
    return 10 * rng.gauss(0, 1) / math.sqrt(rng.gammavariate(1.5, 2) / 3)


def laplace(rng):
    return rng.expovariate(0.1) * rng.choice((1, -1))


def with_outliers(rng):
    return rng.choice((1e5, -1e5)) if rng.random() < 0.05 else rng.gauss(0, 10)


def one_sided(rng):
    return 1_000.0 if rng.random() < 0.05 else rng.gauss(0, 10)


def run(noise, n, *, a=2.0, b=0.5, seed=1, line=None):
    rng, line = random.Random(seed), line or Line()
    hits = []
    for _ in range(n):
        pred = rng.gauss(0, 10)
        move = a + b * pred + noise(rng)
        found = line.forecast(pred)
        if found.low is not None:
            hits.append(found.low <= move <= found.high)
        line.learn(pred, move)
    return line, sum(hits) / len(hits)


def test_at_first_a_prediction_is_what_it_says():
    line = Line()
    assert (line.a, line.b, line.n) == (0.0, 1.0, 0)
    assert line.forecast(7.5) == (7.5, None, None)
    assert line.spread() is None


@pytest.mark.parametrize("noise", [gauss, student, laplace, with_outliers, one_sided], ids=lambda fn: fn.__name__)
def test_recovers_the_line_and_its_band_holds_what_it_states(noise):
    line, rate = run(noise, 2_500)
    a_sd, b_sd = line.spread()
    assert abs(line.a - 2.0) < 4 * a_sd < 3.0
    assert abs(line.b - 0.5) < 4 * b_sd < 0.3
    ordinary = 0.95 if noise in (with_outliers, one_sided) else 1.0
    assert rate == pytest.approx(0.8 * ordinary, abs=0.03 if ordinary == 1.0 else 0.12)


@pytest.mark.parametrize("first", [1e6, -1e6, 1e4])
def test_it_does_not_matter_whether_the_outlier_comes_first(first):
    line = Line()
    line.learn(5.0, first)
    run(gauss, 40, line=line)
    assert abs(line.b - 0.5) < 0.6
    assert line.noise < 20


def test_a_prediction_that_is_an_outlier_itself_tells_nothing():
    line, _ = run(gauss, 500)
    before = line.a, line.b
    assert not line.learn(1e6, 3.0)
    assert line.outliers == 1
    assert (line.a, line.b) == pytest.approx(before, abs=0.02)


def test_outliers_that_do_not_end_are_another_market():
    line, _ = run(gauss, 1_000)
    for _ in range(3):  # the line turns round and the noise is thirty times what it was
        run(lambda rng: 30 * gauss(rng), 300, a=0.0, b=-1.0, seed=7, line=line)
    assert 200 < line.noise < 400
    assert abs(line.b + 1.0) < 4 * line.spread()[1]
    run(gauss, 1_500, a=0.0, b=1.5, seed=8, line=line)
    assert line.noise < 20
    assert line.b == pytest.approx(1.5, abs=0.3)


def test_old_predictions_are_forgotten():
    line, _ = run(gauss, 1_000, b=2.0)
    run(gauss, 1_500, b=0.0, seed=2, line=line)
    assert abs(line.b) < 0.25


def test_predictions_without_news_leave_the_slope_alone():
    line = Line()
    for n in range(600):
        line.learn(0.0, 3.0 + (n % 3 - 1))
    assert line.a == pytest.approx(3.0, abs=0.15)
    assert line.b == 1.0
    for _ in range(600):  # always the same one: neither can be told from the other, and nothing blows up
        line.learn(4.0, 8.0)
    assert line.forecast(4.0).value == pytest.approx(8.0, abs=0.6)


def test_an_exact_model_is_left_as_it_is():
    line = Line()
    for n in range(300):
        line.learn(n % 11 - 5.0, n % 11 - 5.0)
    assert (line.a, line.b, line.noise) == (0.0, 1.0, 0.0)
    assert line.forecast(3.0) == (3.0, 3.0, 3.0)
    assert not line.learn(1.0, 50.0)
    rng = random.Random(3)
    for _ in range(200):  # then it is not exact any more
        pred = rng.gauss(0, 10)
        line.learn(pred, pred + rng.gauss(0, 10))
    assert 5 < line.noise < 20


def test_is_what_plain_sums_over_all_that_was_seen_come_to():
    rng, line, seen = random.Random(5), Line(100), []
    fade = 1 - 1 / 100
    for n in range(400):
        pred = rng.gauss(0, 10)
        move = 1 + 0.3 * pred + rng.gauss(0, 10)
        left = abs(move - line.a - line.b * pred)
        noise = line.noise
        line.learn(pred, move)
        if n == 31:  # what the first ones weighed is taken as it is
            base, start = list(line._sums), n
        if n > 31:
            seen.append((pred, move - pred, 9 / (8 + (left / noise) ** 2)))
            old = fade ** (n - start)
            weights = [w * fade ** (len(seen) - 1 - at) for at, (_, _, w) in enumerate(seen)]
            one, x, xx, e, xe = (
                base[at] * old + sum(w * part for w, part in zip(weights, parts, strict=True))
                for at, parts in enumerate(
                    (
                        [1.0 for _ in seen], [p for p, _, _ in seen], [p * p for p, _, _ in seen],
                        [m for _, m, _ in seen], [p * m for p, m, _ in seen],
                    )
                )
            )  # fmt: skip
            usual = xx / one
            top, bottom = one + 10, xx + 10 * usual
            whole = top * bottom - x * x
            assert line.a == pytest.approx((bottom * e - x * xe) / whole, abs=1e-9)
            assert line.b == pytest.approx(1 + (top * xe - x * e) / whole, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(_bps, _bps), max_size=80))
def test_nothing_makes_it_lose_its_numbers(pairs):
    line = Line()
    for pred, move in pairs:
        found = line.forecast(pred)
        assert all(math.isfinite(one) for one in found if one is not None)
        if found.low is not None:
            assert found.low <= found.value <= found.high
        line.learn(pred, move)
    assert all(map(math.isfinite, (line.a, line.b, line.noise)))
    again = Line.of_state(json.loads(json.dumps(line.state())))
    assert (again.a, again.b, again.noise, again.n) == (line.a, line.b, line.noise, line.n)
    for pred, move in pairs[:5]:
        assert line.learn(pred, move) == again.learn(pred, move)
    assert again.state() == line.state()


@pytest.mark.parametrize(
    "state",
    [[], [1], ["x", 0, [0.0] * 7, None, []], [1, 0, [math.nan] * 7, None, []], [1, 0, [-1.0] * 7, None, []],
     [1, 0, [0.0] * 6, None, []], [1, 0, [0.0] * 7, [1], []], [1, 0, [0.0] * 7, None, [math.inf]]],
)  # fmt: skip
def test_a_damaged_state_is_none(state):
    with pytest.raises((ValueError, TypeError)):
        Line.of_state(state)


def test_quantiles_are_those_of_the_tables():
    for share, freedom, value in ((0.9, 4, 1.533), (0.9, 8, 1.397), (0.95, 8, 1.860), (0.975, 30, 2.042)):
        assert t_quantile(share, freedom) == pytest.approx(value, abs=0.004)


# -- how it does


def judged(track, n, rate, seed=1):
    rng = random.Random(seed)
    for _ in range(n):
        track.add(in_band=rng.random() < rate, adjusted_miss=1.0, raw_miss=2.0)
    return track


def test_drift_is_undefined_then_nothing_then_told():
    track = Track()
    assert (track.in_band_rate, track.drift, track.miss_bps) == (None, None, None)
    judged(track, 19, 0.8)
    assert track.drift is None
    assert (track.miss_bps, track.raw_miss_bps) == (1.0, 2.0)
    judged(track, 500, 0.55)
    assert track.in_band_rate == pytest.approx(0.55, abs=0.1)
    assert track.drift > 0.05


def test_chance_is_no_drift():
    for seed in range(10):  # at every one of 500 looks
        track = Track()
        rng = random.Random(seed)
        for _ in range(500):
            track.add(in_band=rng.random() < 0.8, adjusted_miss=0.0, raw_miss=0.0)
            assert (track.drift or 0.0) < 0.05


def test_a_track_goes_on_after_a_restart_and_begins_anew_for_another_band():
    track = judged(Track(), 100, 0.7)
    again = Track.of_state(json.loads(json.dumps(track.state())), 0.8)
    assert (again.in_band_rate, again.drift) == (track.in_band_rate, track.drift)
    assert Track.of_state(track.state(), 0.9).in_band_rate is None
    for state in ([0.8, "1", [0.0] * 6], [0.8, 1, [math.nan] * 6], [0.8, 1, []]):
        with pytest.raises(ValueError, match="not the state"):
            Track.of_state(state, 0.8)
