"""The equity curve against a plain one: lived drawdowns, segments that join exactly, returns by bucket, samples."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import math
import statistics
import zoneinfo
from decimal import Decimal
from fractions import Fraction

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botobs.accounting.calendar import Calendar
from botobs.accounting.curve import Curve, CurveSampler
from botobs.accounting.segments import Fall, Segment

NS = 10**9
HOUR, DAY = 3600 * NS, 86_400 * NS
D = Decimal

money = st.one_of(st.integers(-40, 60), st.integers(900, 1100)).map(lambda cents: D(cents) / 4)
steps = st.lists(
    st.one_of(st.tuples(st.just("feed"), money), st.tuples(st.just("transfer"), st.integers(-300, 300).map(D))),
    max_size=40,
)


class Plain:
    """All of it, kept in a list; fractions of a peak are exact."""

    def __init__(self, start):
        self.points = [(Fraction(start), Fraction(start))]  # equity, peak
        self.moved = Fraction(0)

    def step(self, kind, value):
        equity, peak = self.points[-1]
        value = Fraction(value)
        if kind == "feed":
            self.points.append((value, max(peak, value)))
        else:
            self.points.append((equity + value, peak + value))
            self.moved += value

    def drop(self):
        return max(peak - equity for equity, peak in self.points)

    def pct(self):
        found = [(peak - equity) / peak for equity, peak in self.points if peak > 0]
        return max(found, default=None)


def run(curve, step, ts=0):
    kind, value = step
    getattr(curve, kind)(ts, value)


def same(found, expected):
    return found is None if expected is None else found == float(expected)


@settings(max_examples=300, deadline=None)
@given(start=money, done=steps)
def test_drawdowns_are_those_of_the_plain_curve(start, done):
    curve, plain = Curve(start), Plain(start)
    for step in done:
        run(curve, step)
        plain.step(*step)
        equity, peak = plain.points[-1]
        assert (curve.equity, curve.peak, curve.drawdown) == (equity, peak, peak - equity)
        assert curve.max_drawdown == plain.drop()
        assert same(curve.drawdown_pct, (peak - equity) / peak if peak > 0 else None)
        assert same(curve.max_drawdown_pct, plain.pct())
        assert set(curve.reasons()) == {
            name for name in ("drawdown_pct", "max_drawdown_pct") if getattr(curve, name) is None
        }


def cut_at(start, done, places):
    """The curve's segments, cut at `places`, beside the plain windows between them."""
    curve = Curve(start)
    cuts = []
    for place, step in enumerate(done):
        if place in places:
            cuts.append(curve.cut())
        run(curve, step)
    return [*cuts, curve.segment]


@settings(max_examples=400, deadline=None)
@given(start=money, done=steps, data=st.data())
def test_segments_join_to_the_whole_wherever_they_are_cut(start, done, data):
    places = data.draw(st.sets(st.integers(0, len(done))))
    whole, parts = cut_at(start, done, ())[0], cut_at(start, done, places)
    assert Segment.joined(parts) == whole
    # in any grouping
    while len(parts) > 1:
        at = data.draw(st.integers(0, len(parts) - 2))
        parts[at : at + 2] = [parts[at].join(parts[at + 1])]
    assert parts == [whole]
    plain = Plain(start)
    for step in done:
        plain.step(*step)
    assert whole.drop == plain.drop()
    assert same(whole.drop_pct(), plain.pct())
    assert whole.end == plain.points[-1][0]
    assert whole.profit == plain.points[-1][0] - plain.points[0][0] - plain.moved
    assert Segment.of_record(json.loads(json.dumps(whole.record()))) == whole


@settings(max_examples=200, deadline=None)
@given(start=money, done=steps, before=steps, data=st.data())
def test_a_window_begins_with_its_own_equity_as_the_peak(start, done, before, data):
    curve = Curve(start)
    for step in before:
        run(curve, step)
    curve.cut()
    plain = Plain(curve.equity)
    for step in done:
        run(curve, step)
        plain.step(*step)
    assert curve.segment.drop == plain.drop()
    assert same(curve.segment.drop_pct(), plain.pct())


@settings(max_examples=200, deadline=None)
@given(start=money, done=steps, data=st.data())
def test_a_curve_is_put_together_again_from_its_segments(start, done, data):
    lived = Curve(start)
    again = Curve(start)
    for place in range(0, len(done), 3):
        for step in done[place : place + 3]:
            run(lived, step, place * DAY)
        again.absorb(place * DAY, Segment.of_record(lived.cut().record()))
    for name in ("equity", "peak", "drawdown", "max_drawdown", "max_drawdown_pct"):
        assert getattr(again, name) == getattr(lived, name), name
    assert again.sharpe(100 * DAY) == lived.sharpe(100 * DAY)


def test_falls_stay_few_while_there_is_money():
    curve = Curve(D(1000))
    for place in range(500):
        curve.feed(0, D(1000 + place * (1 if place % 2 else -1)))
    assert len(curve._falls) <= 33
    assert len(curve.segment.falls) <= 2


def test_falls_stay_few_while_they_grow_deeper_from_ever_higher_peaks():
    curve, peak = Curve(D(100)), D(100)
    for place in range(1, 20):
        peak *= 2
        curve.feed(0, peak)
        curve.feed(0, peak * (100 - place) / 100)
    assert curve.segment.falls == (Fall(D(100), D(100)), Fall(peak, peak * 81 / 100))


def test_of_equal_lows_the_one_from_the_higher_peak_counts():
    parts = [Segment.of([D(10), D(8)]), Segment.of([D(20), D(8)])]
    assert Segment.joined(parts).falls == (Fall(D(20), D(8)),)
    parts = [Segment.of([D(10), D(-5)]), Segment.of([D(20), D(-5)])]  # below zero it is the other way round
    assert Segment.joined(parts).falls == (Fall(D(10), D(-5)),)


def test_a_peak_above_zero_is_remembered_from_where_it_began():
    curve = Curve(D(0))
    for equity in (-1, 1, 2):
        curve.feed(0, D(equity))
    assert curve.segment.falls == (Fall(D(0), D(-1)), Fall(D(1), D(1)))


def test_an_unchanged_bucket_that_began_with_nothing_is_undefined_too():
    curve = Curve(D(100))
    curve.feed(0, D(-1))
    curve.feed(DAY, D(-1))
    assert "not above zero" in curve.sharpe(2 * DAY).reason
    curve.feed(3 * DAY, D(-1))  # so is one before the open one
    curve.feed(3 * DAY, D(50))
    assert "not above zero" in curve.sharpe(3 * DAY).reason


def test_the_first_loss_is_a_drawdown_and_it_may_exceed_everything():
    curve = Curve(D(100))
    curve.feed(0, D(90))
    assert (curve.drawdown, curve.drawdown_pct) == (D(10), 0.1)
    curve.feed(0, D(-50))
    assert (curve.max_drawdown, curve.max_drawdown_pct) == (D(150), 1.5)


def test_each_maximum_is_its_own():
    curve = Curve(D(100))
    for equity in (80, 1000, 900):  # 20 % of 100, then 100 of 1000
        curve.feed(0, D(equity))
    assert (curve.max_drawdown, curve.max_drawdown_pct) == (D(100), 0.2)


def test_a_transfer_is_no_profit_and_no_drawdown():
    curve = Curve(D(1000))
    curve.transfer(0, D(-400))
    curve.transfer(DAY, D(900))
    assert (curve.equity, curve.peak, curve.max_drawdown, curve.max_drawdown_pct) == (D(1500), D(1500), 0, 0.0)
    curve.feed(2 * DAY, D(1500))
    found = curve.sharpe(4 * DAY)
    assert (found.n, found.mean, found.vol, found.annualized) == (4, 0.0, 0.0, None)


def test_without_a_starting_equity_fractions_wait_for_a_peak():
    curve = Curve()
    curve.feed(0, D(-5))
    assert (curve.drawdown, curve.drawdown_pct, curve.max_drawdown_pct) == (D(5), None, None)
    assert "starting_equity" in curve.reasons()["drawdown_pct"]
    assert "not above zero" in curve.sharpe(3 * DAY).reason
    curve.feed(0, D(10))
    assert (curve.drawdown_pct, curve.reasons()) == (0.0, {})


def test_digits_are_kept_whatever_the_context_of_the_bot():
    with decimal.localcontext(prec=3):
        curve = Curve(D("10000.00000000000000000000000000000001"))
        curve.feed(0, D("9999"))
        curve.transfer(0, D("0.5"))
        assert curve.max_drawdown == D("1.00000000000000000000000000000001")
        assert curve.cut().drop == D("1.00000000000000000000000000000001")


# --- Sharpe ---------------------------------------------------------------------------------------------------------


def plain_sharpe(start, feeds, tz, bucket, now):
    """By a walk over every minute-free hour: equity at the end of each bucket, then returns."""
    zone = zoneinfo.ZoneInfo(tz)

    def key(ns):
        local = dt.datetime.fromtimestamp(ns // NS, zone)
        return (local.date(),) if bucket == "day" else (local.date(), local.hour, local.utcoffset())

    ends, reached, equity = {}, 0, start
    todo = list(feeds)
    at = feeds[0][0] // HOUR * HOUR
    while at <= now:
        while todo and todo[0][0] < at + HOUR:
            equity = todo.pop(0)[1]
        ends[key(at)] = equity
        at += HOUR
    del ends[key(now)]
    returns, base = [], start
    for end in ends.values():
        returns.append(float((Fraction(end) - Fraction(base)) / Fraction(base)))
        base = end
    return returns


@settings(max_examples=80, deadline=None)
@given(
    tz=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo"]),
    bucket=st.sampled_from(["day", "hour"]),
    begun=st.sampled_from(["2017-10-10", "2018-02-10", "2018-03-05", "2018-03-20", "2018-10-25"]),
    gaps=st.lists(st.tuples(st.integers(0, 60 * 3600), st.integers(500, 1500)), min_size=1, max_size=25),
    rest=st.integers(0, 100 * 3600),
)
def test_returns_by_bucket_are_those_of_a_walk(tz, bucket, begun, gaps, rest):
    at = int(dt.datetime.fromisoformat(begun).replace(tzinfo=dt.UTC).timestamp()) * NS
    curve, feeds = Curve(D(1000), tz, bucket, 252), []
    for gap, equity in gaps:
        at += gap * NS
        curve.feed(at, D(equity))
        feeds.append((at, D(equity)))
    now = at + rest * NS
    expected = plain_sharpe(D(1000), feeds, tz, bucket, now)
    found = curve.sharpe(now)
    assert found.n == len(expected)
    if len(expected) < 2:
        assert found.annualized is None
        assert "fewer than 2" in found.reason
        return
    assert found.mean == pytest.approx(statistics.fmean(expected), abs=1e-15)
    assert found.vol == pytest.approx(statistics.stdev(expected), abs=1e-15)
    if len(set(expected)) == 1:
        assert (found.annualized, found.reason) == (None, "no volatility")
    else:
        per_year = 252 * (24 if bucket == "hour" else 1)
        assert found.annualized == pytest.approx(found.mean / found.vol * math.sqrt(per_year))


def test_a_window_takes_whole_buckets_only():
    curve = Curve(D(1000))
    for day, equity in enumerate((1000, 1100, 990, 1188)):
        curve.feed(day * DAY + HOUR, D(equity))
    whole = curve.sharpe(4 * DAY)
    assert whole.n == 4
    assert curve.sharpe(4 * DAY - 1).n == 3, "the open bucket has not ended"
    part = curve.sharpe(4 * DAY, DAY + 1)
    assert (part.n, part.mean) == (2, pytest.approx((-0.1 + 0.2) / 2))
    assert curve.sharpe(4 * DAY, 2 * DAY) == part
    assert curve.sharpe(4 * DAY, DAY).n == 3
    assert curve.sharpe(4 * DAY, 9 * DAY).n == 0
    assert curve.sharpe(0).n == 3, "what has ended stays so when the clock is set back"


def test_a_bucket_that_has_ended_stays_as_it_was():
    curve = Curve(D(1000))
    curve.feed(0, D(1100))
    curve.feed(DAY, D(1100))
    before = curve.sharpe(DAY)
    curve.feed(HOUR, D(550))  # late: counts for the open one
    assert curve.sharpe(DAY) == before
    curve.feed(2 * DAY, D(550))
    assert curve.sharpe(2 * DAY).mean == pytest.approx((0.1 - 0.5) / 2)


def test_a_clock_that_went_mad_and_came_back_does_not_stop_the_returns():
    curve = Curve(D(1000))
    curve.feed(10 * DAY, D(1100))
    curve.feed(30_000 * DAY, D(1100))
    curve.feed(11 * DAY, D(1210))
    curve.feed(12 * DAY, D(1210))
    found = curve.sharpe(12 * DAY)
    assert (found.n, found.mean) == (2, pytest.approx(0.1))


@pytest.mark.parametrize("mad", [-(10**40), 10**40, 2**63, -(2**63), 0])
@pytest.mark.parametrize("bucket", ["day", "hour"])
def test_mad_clocks_raise_nothing_and_heal(mad, bucket):
    curve = Curve(D(1000), "Europe/Berlin", bucket)
    for place in range(4):
        curve.feed(mad + place * 30 * DAY, D(1100 + place))
        curve.transfer(mad, D(1))
        curve.sharpe(mad, -mad)
        curve.sharpe(-mad, mad)
        said = json.loads(orjson.dumps(curve.state()))
        assert Curve.of_state(said).state() == said
    now = 20_000 * DAY
    for place in range(4):
        curve.feed(now + place * DAY, D(1200 + place % 2))
    found = curve.sharpe(now + 3 * DAY, now)
    assert found.reason is None
    assert found.n in (2, 3, 3 * 24)


def test_buckets_without_equity_leave_sharpe_undefined():
    idle = Curve(D(100))
    idle.feed(0, D(100))
    idle.feed(HOUR, D(-1))
    assert idle.sharpe(DAY).n == 1
    assert idle.sharpe(DAY).reason == "fewer than 2 finished days"
    assert "not above zero" in idle.sharpe(3 * DAY).reason  # two days that began with nothing, and did nothing
    idle.feed(5 * DAY, D(50))
    assert "not above zero" in idle.sharpe(6 * DAY).reason
    idle.feed(6 * DAY, D(60))
    idle.feed(7 * DAY, D(70))
    found = idle.sharpe(8 * DAY, 6 * DAY)  # a window after it is well
    assert (found.n, found.reason) == (2, None)


def test_the_same_return_each_day_is_no_volatility():
    curve = Curve(D(1))
    equity = D(1)
    for day in range(30):
        equity *= D("1.1")
        curve.feed(day * DAY, equity)
    found = curve.sharpe(30 * DAY)
    assert (found.vol, found.annualized, found.reason) == (0.0, None, "no volatility")


def test_sums_beyond_floats_are_no_numbers_and_raise_nothing():
    curve = Curve(D("1e-300"))
    for day in range(4):
        curve.feed(day * DAY, D("1e300") if day % 2 else D("1e-300"))
    assert curve.sharpe(4 * DAY).reason == "returns beyond any market"


def test_nothing_fed_is_no_equity():
    found = Curve(D(1)).sharpe(0)
    assert (found.n, found.mean, found.reason) == (0, None, "no equity yet")


def test_many_buckets_cost_little():
    from time import thread_time

    curve = Curve(D(1000), "Europe/Berlin", "hour")
    for hour in range(26_000):
        curve.feed(hour * HOUR, D(1000 + hour % 7))
    took = min(timed(thread_time, lambda: curve.sharpe(26_000 * HOUR)) for _ in range(5))
    assert curve.sharpe(26_000 * HOUR).n == 26_000
    assert took < 0.1


def timed(clock, fn):
    begun = clock()
    fn()
    return clock() - begun


# --- keeping --------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(start=st.none() | money, done=steps, then=steps, bucket=st.sampled_from(["day", "hour"]))
def test_a_curve_goes_on_from_its_state_as_if_nothing_had_been(start, done, then, bucket):
    curve = Curve(start, "Europe/Berlin", bucket, 252.5)
    for place, step in enumerate(done):
        run(curve, step, place * 7 * HOUR)
    said = json.loads(json.dumps(curve.state()))
    again = Curve.of_state(said)
    assert again.state() == said
    for place, step in enumerate(then):
        for one in (curve, again):
            run(one, step, (len(done) + place) * 7 * HOUR)
    assert again.state() == curve.state()
    assert again.segment == curve.segment
    assert again.sharpe(90 * DAY) == curve.sharpe(90 * DAY)


def test_another_timezone_begins_the_returns_anew_and_keeps_the_drawdown():
    curve = Curve(D(100))
    for day, equity in enumerate((90, 200, 100)):
        curve.feed(day * DAY, D(equity))
    same_buckets = Curve.of_state(curve.state(), days_per_year=252)
    assert same_buckets.sharpe(3 * DAY).n == 3
    again = Curve.of_state(curve.state(), tz="Europe/Berlin")
    assert (again.max_drawdown, again.max_drawdown_pct, again.sharpe(3 * DAY).n) == (D(100), 0.5, 0)
    again.feed(3 * DAY, D(110))
    assert again.sharpe(4 * DAY).n == 1


@pytest.mark.parametrize(
    "damage",
    [
        {},
        {"version": 2},
        [],
        None,
        "x",
        {"version": 1},
        pytest.param(lambda state: state.update(peak="12x"), id="peak"),
        pytest.param(lambda state: state.update(peak=None), id="none"),
        pytest.param(lambda state: state.update(returns=None), id="returns"),
        pytest.param(lambda state: state.update(tz="Nowhere/At_All"), id="tz"),
        pytest.param(lambda state: state["returns"].update(starts=[1, 2, 3]), id="starts"),
        pytest.param(lambda state: state["segment"].update(falls=[["1"]]), id="falls"),
        pytest.param(lambda state: state.update(equity="NaN"), id="nan"),
        pytest.param(lambda state: state["returns"].update(first=9**9), id="first"),
        pytest.param(lambda state: state["returns"].update(until="soon"), id="until"),
    ],
)
def test_a_damaged_state_is_refused(damage):
    state = Curve(D(1)).state()
    if callable(damage):
        curve = Curve(D(1))
        curve.feed(0, D(2))
        state = curve.state()
        damage(state)
    else:
        state = damage
    with pytest.raises(ValueError):
        Curve.of_state(state)


@pytest.mark.parametrize("said", [{}, None, [], {"first": "1"}, {**Segment.of([D(1)]).record(), "falls": [["x"]]}])
def test_a_damaged_segment_is_refused(said):
    with pytest.raises(ValueError):
        Segment.of_record(said)


def test_no_segment_is_no_window():
    with pytest.raises(ValueError, match="no segment"):
        Segment.joined([])
    assert Fall(D(0), D(-1)).pct() is None


# --- samples --------------------------------------------------------------------------------------------------------


def sampler(threshold_bps=1):
    found = CurveSampler(Calendar(), threshold_bps)
    assert found.due(0, D(10_000)) == "start"
    found.taken(0, D(10_000))
    return found


def test_a_change_is_due_from_one_basis_point_and_a_second_on():
    one = sampler()
    assert one.due(2 * NS, D("10000.99")) is None
    assert one.due(NS - 1, D(10_001)) is None
    assert one.due(NS, D(10_001)) == "change"
    one.taken(NS, D(10_001))
    assert one.due(3 * NS, D("9999.9999")) == "change"
    assert one.due(3 * NS, D("10001")) == "change", "due until it was taken"


def test_a_change_that_had_to_wait_goes_out_at_the_next_chance_even_when_it_is_gone():
    one = sampler()
    assert one.due(NS // 2, D(9_000)) is None
    assert one.overdue(NS - 1) is None
    assert one.overdue(NS) == "change"
    assert one.due(NS, D(10_000)) == "change"
    one.taken(NS, D(10_000))
    assert one.overdue(2 * NS) is None


def test_every_hour_is_due_once():
    one = CurveSampler(Calendar("Asia/Kolkata"))
    one.taken(0, D(10_000))  # 05:30 there
    assert one.due(HOUR // 2 - 1, D(10_000)) is None
    assert one.due(HOUR // 2, D(10_000)) == "hour"
    assert one.overdue(HOUR) == "hour"
    one.taken(HOUR, D(10_000))
    assert one.overdue(HOUR + HOUR // 2 - 1) is None
    assert one.overdue(HOUR + HOUR // 2) == "hour"


def test_nothing_is_due_by_itself_before_the_first():
    assert CurveSampler(Calendar()).overdue(10**18) is None


def test_a_clock_set_back_does_not_silence_the_samples():
    one = CurveSampler(Calendar())
    one.taken(100 * DAY, D(10_000))
    assert one.due(50 * DAY, D(9_000)) is None
    assert one.due(50 * DAY + NS, D(9_000)) == "change"
    one.taken(50 * DAY + NS, D(9_000))
    one.taken(100 * DAY, D(9_000))
    assert one.overdue(50 * DAY) is None
    assert one.overdue(50 * DAY + HOUR) == "hour"


def test_from_zero_every_change_counts_and_no_change_does_not():
    one = CurveSampler(Calendar())
    one.taken(0, D(0))
    assert one.due(5 * NS, D("0.00")) is None
    assert one.due(5 * NS, D("0.01")) == "change"
    below = CurveSampler(Calendar())
    below.taken(0, D(-10_000))
    assert below.due(5 * NS, D("-10000.5")) is None
    assert below.due(5 * NS, D("-10001")) == "change"
    every = sampler(0)
    assert every.due(5 * NS, D("10000.0000")) is None
    assert every.due(5 * NS, D("10000.0001")) == "change"


@settings(max_examples=100, deadline=None)
@given(feeds=st.lists(st.tuples(st.integers(0, 900), st.integers(9_990, 10_010)), max_size=60))
def test_samples_are_a_second_apart_and_miss_no_extreme(feeds):
    one, curve, at = sampler(), Curve(D(10_000)), 0
    taken, seen, samples = [D(10_000)], {D(10_000)}, [0]
    for gap, equity in feeds:
        at += gap * NS // 1_000
        curve.feed(at, D(equity))
        seen.add(D(equity))
        if one.due(at, D(equity)):
            one.taken(at, D(equity))
            samples.append(at)
            segment = curve.cut()
            taken += [segment.high, segment.low]
    assert all(later - before >= NS for before, later in zip(samples, samples[1:], strict=False))
    taken += [curve.segment.high, curve.segment.low]
    assert (max(taken), min(taken)) == (max(seen), min(seen))
