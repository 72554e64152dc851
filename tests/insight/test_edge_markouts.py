"""Prices after decisions: never from outside of the horizon, with intervals that hold, and half-lives that are found."""

from __future__ import annotations

import json
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs.insight.edge.curve import Moves, Spread
from botobs.insight.edge.half_life import half_life
from botobs.insight.edge.markouts import Markouts
from botobs.insight.edge.pending import Decision, Pending
from botobs.insight.edge.terms import EdgeTerms
from botobs.insight.terms import Horizon

S = 1_000_000_000
T0 = 1_767_323_000 * S


def horizons(*texts):
    return tuple(Horizon.parse(text) for text in texts)


def moves(*looks, after=("10s", "1m"), price=100.0):
    """What a decision at 100 comes to by these looks: (price, when the loop turned, when it was looked at)."""
    pending = Pending(horizons(*after))
    decision = Decision("BTC", 1, price, T0)
    assert pending.put(decision)
    done = []
    for px, turned, now in looks:
        done += pending.price("BTC", px, T0 + round(turned * S), T0 + round(now * S))
    assert bool(done) == (len(pending) == 0) == (len(decision.moves) == len(after))
    return [None if one is None else round(one) for one in decision.moves]


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        ([(101, 9, 9.5), (102, 9.9, 10.5), (103, 11, 11.5)], [200]),  # the last look; a horizon ends a tenth late
        ([(101, 9, 9.5), (102, 11, 11.5)], [100]),  # never a later one
        ([(101, 10, 10), (105, 12, 12)], [100]),
        ([(101, 2, 2.5), (101, 2, 11.5)], [None]),  # the loop stood still for more than half of the horizon
        ([(101, 5.9, 6.5), (101, 5.9, 11.5)], [None]),
        ([(101, 6, 6.5), (101, 6, 11.5)], [100]),
        ([(100, 0.1, 9.5), (105, 11, 11.5)], [None]),  # it may be the decision's own
        ([(100, 6, 9.5), (105, 11, 11.5)], [None]),  # of a turn that took its time
        ([(100, 6, 6.5), (100, 9, 9.5), (105, 11, 11.5)], [0]),  # that of a later turn is not
        ([(101, 9, 9), (102, 30, 30), (103, 59, 59), (104, 62, 62)], [100, 300]),
        ([(101, 9, 9), (104, 90, 90)], [100, None]),
        ([(103, 9, 9), (104, -3600, -3600)], [None, None]),  # a clock that was set back
        ([(103, 9, 9), (104, 8, 8), (105, 12, 12)], [300]),  # what came late from another thread
    ],
)
def test_a_move_is_that_of_the_last_look_within_its_horizon(looks, expected):
    assert moves(*looks) == expected


def test_bars_are_prices_from_their_end_on_and_never_before_they_came():
    pending = Pending(horizons("1m", "2m"))
    decision = Decision("BTC", -1, 100.0, T0)
    pending.put(decision)
    list(pending.bar("BTC", 90.0, T0 - S, T0 + 59 * S))  # one that ended before
    list(pending.bar("BTC", 95.0, T0 + 70 * S, T0 + 70 * S))
    assert decision.moves == [None]
    list(pending.bar("BTC", 99.0, T0 + 100 * S, T0 + 119 * S))
    [done] = pending.bar("BTC", 80.0, T0 + 100 * S, T0 + 180 * S)  # it came too late, whatever it says of itself
    assert done.moves == [None, pytest.approx(100.0)]
    assert list(pending.bar("BTC", 80.0, None, T0)) == []


_path = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 20)), min_size=1, max_size=30)


@settings(max_examples=80, deadline=None)
@given(_path, st.lists(st.integers(2, 200), min_size=1, max_size=3, unique=True))
def test_no_price_from_before_the_decision_or_after_its_horizon_is_used(path, spans):
    """Prices tell the time at which they were made, so that what was used can be read off the move."""
    spans.sort()
    pending = Pending(horizons(*(f"{span}s" for span in spans)))
    decision = Decision("BTC", 1, 1.0, T0)
    pending.put(decision)
    now = turned = 0
    seen = [(0, -1)]
    for step, lag in path:
        now += step
        turned = max(turned, now - lag)
        list(pending.price("BTC", 1.0 + turned, T0 + turned * S, T0 + now * S))
        seen.append((now, turned))
    for span, move in zip(spans, decision.moves, strict=False):
        late = min(span / 10, 1)
        if move is not None:
            used = round(move / 1e4)
            assert 0 < used <= span + late
            assert used >= span / 2
            newest = max(made for looked, made in seen if looked <= span + late)  # a plain model: the newest one known
            assert used == newest
    ended = [span for span in spans if now > span + min(span / 10, 1)]
    assert len(decision.moves) == len(ended)


@settings(max_examples=40, deadline=None)
@given(_path, st.data())
def test_prices_beyond_a_horizon_change_nothing(path, data):
    looks, now = [], 0.0
    for step, _ in path:
        now += step + 0.5
        looks.append((100.0 + data.draw(st.integers(-5, 5)), now, now))
    plain = moves(*looks, after=("20s",))
    other = [(px if at <= 21 else px + 7, turned, at) for px, turned, at in looks]
    assert moves(*other, after=("20s",)) == plain


def test_a_decision_that_was_handed_on_late_does_not_meet_a_price_from_after_its_horizon():
    pending = Pending(horizons("10s"))
    pending.put(Decision("BTC", 1, 100.0, T0 + 9 * S))
    list(pending.price("BTC", 101.0, T0 + 14 * S, T0 + 14 * S))
    late = Decision("BTC", 1, 100.0, T0)
    pending.put(late)
    assert list(pending.price("BTC", 102.0, T0 + 15 * S, T0 + 15 * S)) == [late]
    assert late.moves == [None]


def test_the_first_look_after_a_decision_counts_if_the_price_is_another():
    pending = Pending(horizons("1s"))
    decisions = [Decision("BTC", 1, 100.0, T0 - S // 2), Decision("BTC", 1, 99.0, T0, mark=100.0)]
    assert pending.put(decisions[0])
    list(pending.price("BTC", 100.5, T0 - S // 5, T0 - S // 5))
    assert pending.put(decisions[1])
    list(pending.price("BTC", 101.0, T0 + S * 4 // 5, T0 + S * 4 // 5))
    assert len(list(pending.price("BTC", 102.0, T0 + 2 * S, T0 + 2 * S))) == 1
    assert [one.moves for one in decisions] == [[None], [pytest.approx(202.0, abs=0.1)]]
    same = Pending(horizons("1s"))
    for mark, expected in ((100.0, None), (100.0 + 1e-12, None), (99.9, 0)):
        one = Decision("BTC", 1, 100.0, T0, mark=mark)
        same.put(Decision("BTC", 1, 100.0, T0 - S // 2))
        list(same.price("BTC", 100.0, T0 - S // 5, T0 - S // 5))
        same.put(one)
        list(same.price("BTC", 100.0, T0 + S * 4 // 5, T0 + S * 4 // 5))
        list(same.price("BTC", 100.0, T0 + 2 * S, T0 + 2 * S))
        assert one.moves == [expected]


def test_what_nobody_sees_a_price_for_is_lost():
    pending = Pending(horizons("10s", "1h"))
    decision = Decision("BTC", 1, 1.0, T0)
    pending.put(decision)
    assert list(pending.expire(T0 + 60 * S)) == []
    assert list(pending.expire(T0 + 80 * S)) == []
    assert (decision.moves, len(pending)) == ([None], 1)
    assert list(pending.expire(T0 + 3700 * S)) == [decision]
    assert (decision.moves, len(pending), pending.symbols) == ([None, None], 0, [])


def test_there_is_room_for_so_many():
    pending = Pending(horizons("1h"))
    assert sum(pending.put(Decision("BTC", 1, 1.0, T0)) for _ in range(600)) == 512
    assert sum(pending.put(Decision(f"S{n % 100}", 1, 1.0, T0)) for n in range(5_000)) == 4_000 - 512
    assert pending.left_out == 600 + 5_000 - 4_000
    assert len(pending) == 4_000
    for symbol in pending.symbols:
        list(pending.price(symbol, 1.0, T0, T0 + 7200 * S))
    assert (len(pending), pending.symbols) == (0, [])
    full = Markouts(horizons("1m"))
    for n in range(700):
        full.decided(f"S{n}", 1, 1.0, T0, source="m")
    assert len(full.keys) == 1_000
    assert full.no_room == 700 * 4 - (700 - 1) * 2 - 1_000


def test_a_curve_is_what_plain_sums_over_blocks_come_to():
    rng, cell, seen = random.Random(2), Moves(Horizon.parse("10s"), memory=50), []
    for _ in range(300):
        since = T0 + rng.randrange(6_000) // 25 * 25 * S
        seen.append((since, rng.gauss(1, 5)))
    seen.sort()
    for since, move in seen:
        cell.add(move, since)
    blocks = {}
    for since, move in seen:
        blocks.setdefault(since // (40 * S), []).append(move)
    weight, left = 1.0, []
    for block in reversed(blocks.values()):
        left.append((weight if left else 1.0, block))
        weight = left[-1][0] * (1 - 1 / 50) ** len(block)
    total = sum(w * len(block) for w, block in left)
    mean = sum(w * sum(block) for w, block in left) / total
    square = sum((w * (sum(block) - mean * len(block))) ** 2 for w, block in left) / total**2
    count = total**2 / sum((w * len(block)) ** 2 for w, block in left)
    assert cell.mean == pytest.approx(mean)
    assert cell.spread == pytest.approx((mean, square * count / (count - 1), count))
    again = Moves(Horizon.parse("10s"), memory=50)
    again.restore(json.loads(json.dumps(cell.state())))
    assert again.spread == cell.spread


def overlapping(seed, *, n=120, gap=5, after=60, stay=0.0):
    """The moves over a minute after decisions every five seconds, on a random walk."""
    rng, cell = random.Random(seed), Moves(Horizon.parse(f"{after}s"))
    walk = [0.0]
    for _ in range(n * gap + after):
        walk.append(walk[-1] + rng.gauss(0, 1))
    sign = 1
    for at in range(0, n * gap, gap):
        sign = sign if rng.random() < stay else rng.choice((1, -1))
        cell.add(sign * (walk[at + after] - walk[at]), T0 + at * S)
    return cell.told()


@pytest.mark.parametrize("stay", [0.0, 0.97])
def test_the_interval_holds_though_decisions_overlap(stay):
    found = [overlapping(seed, n=600, stay=stay) for seed in range(40)]
    held = sum(one.low_bps <= 0 <= one.high_bps for one in found)
    assert held >= 34  # of 40, 38 are expected
    naive = sum(abs(one.mean_bps) <= 1.96 * math.sqrt(60 / one.n) for one in found)
    assert naive < 30 or not stay  # what counting each as news would make of it


def test_an_interval_takes_stretches_that_do_not_overlap():
    cell = Moves(Horizon.parse("1h"))
    assert (cell.told().mean_bps, cell.told().reason) == (None, "no decision came due")
    for n in range(500):
        cell.add(5.0, T0 + n * S)
    told = cell.told()
    assert (told.mean_bps, told.low_bps, told.n) == (5.0, None, 500)
    assert "fewer than 8 stretches" in told.reason


def market(after, whole, n, *, gap=20, seed=1, noise=1.0, spans=("1s", "5s", "30s", "1m", "5m")):
    """A market into which each decision goes with a half-life of `after` seconds."""
    rng, made, going = random.Random(seed), Markouts(horizons(*spans)), 0.0
    keep, price = 0.5 ** (1 / after), 0.0
    for second in range(n * gap):
        now = T0 + second * S
        price += going * (1 - keep) + rng.gauss(0, noise)
        going *= keep
        made.price("BTC", 100 * math.exp(price / 1e4), now, now)
        if second % gap == 0:
            sign = rng.choice((1, -1))
            made.decided("BTC", sign, 100 * math.exp(price / 1e4), now, source="lgbm")
            going += sign * whole
    return made


@pytest.mark.parametrize("after", [4, 25])
def test_a_known_half_life_is_found(after):
    several = [market(after, 6.0, 500, seed=seed) for seed in range(5)]
    halves = [made.half_life(("BTC", "lgbm", None)) for made in several]
    assert sum(one.low < after < one.high for one in halves) >= 4
    made, found = several[0], halves[0]
    assert sorted(one.seconds for one in halves)[2] == pytest.approx(after, rel=0.2)
    assert found.edge_bps == pytest.approx(6.0, rel=0.35)
    assert made.half_life(("BTC", "other", None)).reason == "no decision came due"
    for point in made.curve((None, None, None)).points[:4]:
        came = 6.0 * (1 - 0.5 ** (point.seconds / after))
        assert point.low_bps - 0.3 < came < point.high_bps + 0.3


def curve(shape, *, wide=0.1, spans=(1, 5, 30, 60, 300, 900)):
    return [(span, Spread(shape(span), wide * wide * span / 60, 100)) for span in spans]


@pytest.mark.parametrize(
    ("shape", "n", "reason"),
    [
        (lambda t: 0.01 * math.sqrt(t), 500, "the moves cannot be told from chance"),
        (lambda t: -5 * (1 - 0.5 ** (t / 30)), 500, "prices go against the decisions"),
        (lambda t: 0.05 * t, 500, "the move goes on beyond the longest horizon that can be told"),
        (lambda _: 5.0, 500, "half of the move has come before the shortest horizon can tell"),
        (lambda t: 5 * (1 - 0.5 ** (t / 30)), 29, "fewer than 30 decisions came due"),
    ],
)
def test_a_half_life_that_cannot_be_told_is_none_with_a_reason(shape, n, reason):
    found = half_life(curve(shape), n)
    assert (found.seconds, found.reason) == (None, reason)
    few = half_life(curve(shape)[:2], 500)
    assert (few.seconds, few.reason) == (None, "fewer than 3 horizons can be told")


def test_moves_without_noise_and_without_end_do_no_harm():
    exact = half_life(curve(lambda t: 5 * (1 - 0.5 ** (t / 30)), wide=0.0), 500)
    assert exact.seconds == pytest.approx(30, rel=0.01)
    assert half_life(curve(lambda _: 0.0, wide=0.0), 500).reason == "the moves cannot be told from chance"


def test_a_curve_goes_on_where_its_state_was_taken_with_the_horizons_of_now():
    made = market(5, 6.0, 60)
    kept = json.loads(json.dumps(made.state()))
    again = Markouts(horizons("5s", "30s", "2m"))
    assert again.restore([*kept, ["BTC"], [1, None, None, []], ["X", None, None, [["5s", 1, 1, [math.inf] * 5, 0, 0, 0.0]]]]) == [
        "a curve of markouts: ValueError"
    ] * 3  # fmt: skip
    key = ("BTC", "lgbm", None)
    before = {point.after: point for point in made.curve(key).points}
    after = {point.after: point for point in again.curve(key).points}
    assert after["5s"] == before["5s"]
    assert after["30s"] == before["30s"]
    assert (after["2m"].n, list(after)) == (0, ["5s", "30s", "2m"])
    assert EdgeTerms().markouts[0].text == "1s"
