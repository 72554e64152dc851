"""What is usual for a market, and what is not."""

from __future__ import annotations

import json
import math
import random
import statistics

import pytest

from botobs.insight.price_events.moves import MINUTE, Bar, Minute, Moves, Scale

S = 1_000_000_000
T0 = 1_767_323_040 * S


def walk(n, draw, *, per=12, seed=1):
    """Bars of a random walk: each has a size of its own (`draw`), in bps."""
    rng, price, found = random.Random(seed), 100.0, []
    for at in range(n):
        size = draw(rng) / 1e4 / math.sqrt(per)
        path = [price]
        for _ in range(per):
            path.append(path[-1] * math.exp(size * rng.gauss(0, 1)))
        price = path[-1]
        found.append(Bar(path[0], max(path), min(path), price, T0 + at * 60 * S))
    return found


def told(moves, bars):
    """Which bars are spikes, and which have a gap before them."""
    spikes, gaps = [], []
    for at, bar in enumerate(bars):
        hole = moves.missing(bar.at) > 0
        gap = moves.begins(bar.open, bar.at, sure=bar.low < bar.high)
        apart = gap is not None or hole
        spike = moves.large(bar.high, bar.low, bar.close, opened=bar.open if apart else None)
        moves.ended(bar, apart=apart)
        if spike is not None:
            spikes.append((at, spike))
        if gap is not None:
            gaps.append((at, gap))
    return spikes, gaps


def quiet(n=60, seed=3):
    return walk(n, lambda rng: 10.0, seed=seed)


def shifted(bars, bps):
    by = math.exp(bps / 1e4)
    return [Bar(one.open * by, one.high * by, one.low * by, one.close * by, one.at) for one in bars]


@pytest.mark.parametrize(
    ("kind", "draw", "most"),
    [
        ("gauss", lambda rng: 10.0, 0),
        ("t4", lambda rng: 10.0 * math.sqrt(4 / rng.gammavariate(2, 2)), 20),
        ("t3", lambda rng: 10.0 * math.sqrt(3 / rng.gammavariate(1.5, 2)), 45),
    ],
)
def test_noise_is_rarely_taken_for_a_spike(kind, draw, most):
    """The page states these rates: none, about one bar of 400, about one of 180."""
    spikes, gaps = told(Moves(5.0, 2.0, 1e-9), walk(5_000, draw))
    assert gaps == []
    assert len(spikes) <= most
    assert bool(spikes) is (kind != "gauss")


def test_a_crash_is_told_once_until_it_calms_and_does_not_hide_the_next():
    bars, crash = quiet(80), quiet(6, seed=4)
    last = bars[-1].close / crash[0].open
    first = Bar(bars[-1].close, bars[-1].close, bars[-1].close * 0.97, bars[-1].close * 0.971, T0 + 80 * 60 * S)
    again = Bar(first.close, first.close, first.close * 0.97, first.close * 0.97, T0 + 81 * 60 * S)
    calm = shifted(crash, math.log(again.close / crash[0].open) * 1e4)
    calm = [Bar(*one[:4], T0 + (82 + n) * 60 * S) for n, one in enumerate(calm)]
    third = Bar(calm[-1].close, calm[-1].close * 1.02, calm[-1].close, calm[-1].close * 1.001, T0 + 88 * 60 * S)
    moves = Moves(5.0, 2.0, 1e-3)
    spikes, _ = told(moves, [*bars, first, again, *calm, third])
    assert [at for at, _ in spikes] == [80, 88]
    assert last
    fall, wick = spikes[0][1], spikes[1][1]
    assert fall.move == pytest.approx(math.log(0.971))
    assert fall.range == pytest.approx(-math.log(0.97))
    assert wick.move == pytest.approx(math.log(1.001))  # it came back, and is a spike all the same
    assert wick.range == pytest.approx(math.log(1.02))
    assert moves.scale.value < 2.2 * fall.usual  # 13 usual ones twice, and little is left of it


def test_the_usual_is_the_median_of_the_first_and_then_a_mean_that_fades():
    rng, scale, plain = random.Random(2), Scale(), []
    sizes = [rng.uniform(1, 2) for _ in range(100)]
    for size in sizes:
        scale.learn(size, 5.0)
        plain.append(size)
        if len(plain) == 20:
            value = statistics.median(plain)
        elif len(plain) > 20:
            value += (size - value) / 30
    assert scale.value == pytest.approx(value)
    flat = Scale()
    for _ in range(25):
        flat.learn(0.0, 5.0)
    assert flat.value == 0.0
    for _ in range(20):
        flat.learn(1.0, 5.0)
    assert flat.value == 1.0  # a market that begins to move is learned anew


def test_nothing_is_said_while_nothing_is_usual_and_nothing_small():
    spikes, gaps = told(Moves(5.0, 2.0, 1e-3), [*quiet(19), Bar(100, 200, 50, 150, T0 + 1_200 * S)])
    assert (spikes, gaps) == ([], [])
    still = [Bar(1.0, 1.0, 1.0, 1.0, T0 + n * 60 * S) for n in range(30)]
    depeg = [Bar(1.0, 1.0, 0.9995, 0.9995, T0 + 30 * 60 * S), Bar(0.9995, 0.9995, 0.98, 0.98, T0 + 31 * 60 * S)]
    spikes, _ = told(Moves(5.0, 2.0, 1e-3), [*still, *depeg[:1]])
    assert spikes == []  # 5 bps of a market that never moved
    spikes, _ = told(Moves(5.0, 2.0, 1e-3), [*still, depeg[1]])
    assert len(spikes) == 1


def test_a_jump_between_bars_is_a_gap_and_no_spike_as_well():
    bars = quiet(60)
    rest = [Bar(*one[:4], T0 + (60 + n) * 60 * S) for n, one in enumerate(shifted(quiet(10, seed=5), 300))]
    moves = Moves(5.0, 2.0, 1e-3)
    spikes, gaps = told(moves, [*bars, *rest])
    [(at, gap)] = gaps
    assert at == 60
    assert gap.move == pytest.approx(math.log(rest[0].open / bars[-1].close))
    assert (gap.missing, spikes) == (0, [])
    assert moves.scale.value < 1.5 * gap.usual


def test_bars_that_only_repeat_their_close_have_no_jumps():
    rng, price, bars = random.Random(1), 100.0, []
    for n in range(300):
        price *= math.exp(rng.gauss(0, 1e-3))
        bars.append(Bar(price, price, price, price, T0 + n * 60 * S))
    assert told(Moves(5.0, 2.0, 1e-3), bars) == ([], [])


def test_missing_time_is_told_when_it_is_over_and_a_new_pace_is_learned():
    at, moves, holes = 0, Moves(5.0, 2.0, 1e-3), []
    for n, bar in enumerate(quiet(80)):
        at += 60 if n < 30 else 600 if n == 30 else 60 if n < 50 else 300  # ten minutes once; then bars of five
        _, gaps = told(moves, [Bar(*bar[:4], T0 + at * S)])
        holes += [(n, gap.missing / S) for _, gap in gaps]
    assert holes[0] == (30, 540.0)
    assert [n for n, _ in holes[1:]] == list(range(50, 50 + len(holes) - 1))
    assert 4 <= len(holes) - 1 <= 5
    assert moves.usual_ns == 300 * S


def test_a_burst_of_bars_without_a_time_and_a_clock_set_back_are_no_gaps():
    burst = [Bar(*bar[:4], T0 + n * 1_000) for n, bar in enumerate(quiet(60))]
    after = [Bar(*bar[:4], T0 + 60 * S * n) for n, bar in enumerate(quiet(20, seed=9), 1)]
    moves = Moves(5.0, 1_000.0, 1e-3)
    assert told(moves, [*burst, *after])[1] == []
    back = [Bar(*bar[:4], bar.at - 86_400 * S) for bar in after]
    assert told(moves, back)[1] == []


def test_minutes_tell_a_gap_only_where_price_and_time_are_missing():
    moves = Moves(5.0, 2.0, 1e-3, MINUTE)
    for bar in quiet(40):
        moves.ended(bar, apart=False)
    end, close = moves.since, moves.close
    assert moves.begins(close * 1.05, end + S) is None  # seconds later: within the minute it is a spike
    assert moves.begins(close, end + 600 * S) is None
    gap = moves.begins(close * 1.05, end + 600 * S)
    assert gap.missing == 540 * S
    minute = Minute(100.0, T0)
    assert [minute.price(one) for one in (100.0, 101.0, 100.5, 99.0)] == [False, True, False, True]
    assert minute.bar() == Bar(100.0, 101.0, 99.0, 99.0, T0 + 60 * S)


def test_what_is_turned_off_says_nothing():
    bars = [*quiet(40), Bar(300, 400, 200, 350, T0 + 40 * 60 * S), Bar(100, 100, 90, 95, T0 + 400 * 60 * S)]
    assert told(Moves(0.0, 0.0, 1e-3), bars) == ([], [])


def test_it_goes_on_after_a_restart_as_if_there_had_been_none():
    bars = [*walk(60, lambda rng: 10.0), *(Bar(*one[:4], one.at + 90 * 60 * S) for one in walk(40, lambda r: 60.0))]
    for cut in (0, 7, 25, 62, 63, 80):
        whole, first, second = Moves(5.0, 2.0, 1e-3), Moves(5.0, 2.0, 1e-3), Moves(5.0, 2.0, 1e-3)
        expected = told(whole, bars)
        before = told(first, bars[:cut])
        second.restore(json.loads(json.dumps(first.state())))
        after = told(second, bars[cut:])
        assert [one for _, one in [*before[0], *after[0]]] == [one for _, one in expected[0]]
        assert [one for _, one in [*before[1], *after[1]]] == [one for _, one in expected[1]]
        assert second.state() == whole.state()
    for damaged in (None, [], [1], [-1.0, 0, False, [], None, []], [1.0, "0", False, [], None, []],
                    [1.0, 0, False, [1], None, []], [1.0, 0, False, [], -1.0, []], [1.0, 0, False, [], None, ["x"]],
                    [math.nan, 0, False, [], None, []], [1.0, 0, False, [], None, [1.0] * 20]):  # fmt: skip
        with pytest.raises((ValueError, TypeError)):
            Moves(5.0, 2.0, 1e-3).restore(damaged)
